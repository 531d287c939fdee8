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
    return qkvi_cache_key(programs, "self-test %s; %s; limits %zu %zu %zu %zu %u\n", key, programs->base_options,
                          l->max_work_group_size, l->max_group_rows, l->local_memory, l->max_iterations,
                          (unsigned)l->vector_width);
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

qkv_status qkvi_attempt_begin(struct qkvi_attempt *attempt, struct qkvi_programs *programs, const char *what) {
    struct qkvi_cache *cache = &programs->cache;
    char *key = qkvi_cache_key(programs, "attempt %s\n", what);
    *attempt = (struct qkvi_attempt){.marked = false};
    if (!key) return QKV_OK;
    qkv_status status = QKV_OK;
    enum qkvi_mark_state state = qkvi_mark_begin(&attempt->mark, cache->store, key);
    attempt->marked = state == QKVI_MARK_HELD;
    if (state == QKVI_MARK_LEFT) {
        struct qkvi_text path = {0};
        qkvi_mark_path(&path, cache->store, key);
        status = qkvi_fail(QKV_SELF_TEST_FAILED,
                           "an earlier process ended while it was built and tested on %s, so it is not tried again; "
                           "to try it all the same, run \"qkv-devices --self-test\" or delete %s",
                           programs->rt->info.name, qkvi_text_get(&path));
        qkvi_text_free(&path);
    }
    free(key);
    return status;
}

void qkvi_attempt_end(struct qkvi_attempt *attempt) {
    if (attempt->marked) qkvi_mark_end(&attempt->mark);
    attempt->marked = false;
}
