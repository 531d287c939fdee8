#include "program/internal.h"

#include <stdlib.h>
#include <string.h>

#define PASSED "passed"

static struct qkvi_ledger_entry *find(struct qkvi_programs *programs, const char *key) {
    struct qkvi_ledger_entry *line = programs->ledger;
    while (line && strcmp(line->key, key))
        line = line->next;
    return line;
}

/* Builds depend on the base options, and what is built on the limits. */
static char *lasting_key(const struct qkvi_programs *programs, const char *key) {
    const struct qkvi_limits *l = &programs->limits;
    return qkvi_cache_key(programs, "self-test %s; %s; limits %zu %zu %zu %zu %zu %zu %u\n", key,
                          programs->base_options, l->max_work_group_size, l->max_group_rows, l->local_memory,
                          l->max_arguments, l->private_bytes, l->max_iterations, (unsigned)l->vector_width);
}

static bool passed_before(const struct qkvi_programs *programs, const char *key) {
    if (atomic_load(&programs->cache.afresh)) return false;
    char *long_key = lasting_key(programs, key), *text = NULL;
    size_t size;
    bool passed =
        long_key && qkvi_store_get(&text, &size, programs->cache.store, "ledger", long_key) && !strcmp(text, PASSED);
    free(text);
    free(long_key);
    return passed;
}

static void remember(struct qkvi_programs *programs, const char *key, enum qkvi_verdict verdict) {
    size_t bytes = strlen(key) + 1;
    (void)pthread_mutex_lock(&programs->lock);
    struct qkvi_ledger_entry *line = find(programs, key);
    if (!line) {
        /* Without memory the test is simply made again next time. */
        line = malloc(sizeof *line + bytes);
        if (line) {
            memcpy(line->key, key, bytes);
            line->next = programs->ledger;
            programs->ledger = line;
        }
    }
    if (line) line->verdict = verdict;
    (void)pthread_mutex_unlock(&programs->lock);
}

enum qkvi_verdict qkvi_ledger_get(struct qkvi_programs *programs, const char *key, bool lasting) {
    (void)pthread_mutex_lock(&programs->lock);
    const struct qkvi_ledger_entry *line = find(programs, key);
    enum qkvi_verdict verdict = line ? line->verdict : QKVI_UNTRIED;
    (void)pthread_mutex_unlock(&programs->lock);
    if (verdict == QKVI_UNTRIED && lasting && passed_before(programs, key)) {
        verdict = QKVI_PASSED;
        remember(programs, key, verdict);
    }
    return verdict;
}

void qkvi_ledger_set(struct qkvi_programs *programs, const char *key, enum qkvi_verdict verdict, bool lasting) {
    remember(programs, key, verdict);
    char *long_key = lasting ? lasting_key(programs, key) : NULL;
    if (long_key && verdict == QKVI_PASSED)
        (void)qkvi_store_put(programs->cache.store, "ledger", long_key, PASSED, strlen(PASSED));
    else if (long_key)
        qkvi_store_remove(programs->cache.store, "ledger", long_key);
    free(long_key);
}

bool qkvi_ledger_first(struct qkvi_programs *programs, const char *key) {
    bool first = qkvi_ledger_get(programs, key, false) == QKVI_UNTRIED;
    if (first) remember(programs, key, QKVI_PASSED);
    return first;
}

/* ---- attempts ---- */

static _Thread_local struct qkvi_attempt *current;

void qkvi_attempt_begin(struct qkvi_attempt *attempt, struct qkvi_programs *programs, const char *what,
                        bool forgiving) {
    *attempt = (struct qkvi_attempt){.programs = programs, .what = what, .outer = current, .forgiving = forgiving};
    current = attempt;
}

static char *survived_key(const struct qkvi_attempt *attempt) {
    return qkvi_cache_key(attempt->programs, "survived %s\n", attempt->what);
}

static bool survived_before(const struct qkvi_attempt *attempt) {
    char *key = survived_key(attempt), *text = NULL;
    size_t size;
    bool survived = key && qkvi_store_get(&text, &size, attempt->programs->cache.store, "ledger", key);
    free(text);
    free(key);
    return survived;
}

static qkv_status refuse(const struct qkvi_attempt *attempt, const char *key) {
    const struct qkvi_programs *programs = attempt->programs;
    struct qkvi_text path = {0};
    qkvi_mark_path(&path, programs->cache.store, key);
    qkv_status status =
        qkvi_fail(QKV_SELF_TEST_FAILED,
                  "an earlier process ended while it was built and tested on %s, so for some time it is "
                  "not tried again; to try it at once, delete %s",
                  programs->rt->info.name, qkvi_text_get(&path));
    qkvi_text_free(&path);
    return status;
}

qkv_status qkvi_attempt_mark(void) {
    struct qkvi_attempt *attempt = current;
    if (!attempt || attempt->tried) return QKV_OK;
    struct qkvi_store *store = attempt->programs->cache.store;
    char *key = qkvi_cache_key(attempt->programs, "attempt %s\n", attempt->what);
    if (!key) return QKV_OK;
    enum qkvi_mark_state state = qkvi_mark_begin(&attempt->mark, store, key, attempt->forgiving);
    if (state == QKVI_MARK_LEFT && !attempt->forgiving && survived_before(attempt))
        state = qkvi_mark_begin(&attempt->mark, store, key, 1);
    attempt->marked = state == QKVI_MARK_HELD;
    attempt->tried = state != QKVI_MARK_LEFT;
    qkv_status status = attempt->tried ? QKV_OK : refuse(attempt, key);
    free(key);
    return status;
}

bool qkvi_attempt_was_deadly(void) {
    return current && current->marked && current->mark.deaths > 0;
}

void qkvi_attempt_end(struct qkvi_attempt *attempt, qkv_status result) {
    current = attempt->outer;
    if (!attempt->marked) return;
    qkvi_mark_end(&attempt->mark);
    if (result || survived_before(attempt)) return;
    char *key = survived_key(attempt);
    if (key) (void)qkvi_store_put(attempt->programs->cache.store, "ledger", key, PASSED, strlen(PASSED));
    free(key);
}
