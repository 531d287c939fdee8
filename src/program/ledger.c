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

/* Takes the key. */
static bool is_kept(const struct qkvi_programs *programs, char *key) {
    char *text = NULL;
    size_t size;
    bool kept = key && qkvi_store_get(&text, &size, programs->cache.store, "ledger", key) && !strcmp(text, PASSED);
    free(text);
    free(key);
    return kept;
}

static bool passed_before(const struct qkvi_programs *programs, const char *key) {
    return !atomic_load(&programs->cache.afresh) && is_kept(programs, lasting_key(programs, key));
}

static char *survived_key(const struct qkvi_programs *programs, const char *what) {
    return qkvi_cache_key(programs, "survived %s\n", what);
}

bool qkvi_ledger_survived(const struct qkvi_programs *programs, const char *what) {
    return is_kept(programs, survived_key(programs, what));
}

void qkvi_ledger_survives(const struct qkvi_programs *programs, const char *what) {
    char *key = survived_key(programs, what);
    if (key) (void)qkvi_store_put(programs->cache.store, "ledger", key, PASSED, strlen(PASSED));
    free(key);
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
