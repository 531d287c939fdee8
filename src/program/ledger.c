#include "program/internal.h"

#include <stdlib.h>
#include <string.h>

static struct qkvi_ledger_entry *find(struct qkvi_programs *programs, const char *key) {
    struct qkvi_ledger_entry *line = programs->ledger;
    while (line && strcmp(line->key, key))
        line = line->next;
    return line;
}

enum qkvi_verdict qkvi_ledger_get(struct qkvi_programs *programs, const char *key) {
    (void)pthread_mutex_lock(&programs->lock);
    const struct qkvi_ledger_entry *line = find(programs, key);
    enum qkvi_verdict verdict = line ? line->verdict : QKVI_UNTRIED;
    (void)pthread_mutex_unlock(&programs->lock);
    return verdict;
}

void qkvi_ledger_set(struct qkvi_programs *programs, const char *key, enum qkvi_verdict verdict) {
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
