#include "program/internal.h"

#include <stdlib.h>
#include <string.h>

static _Thread_local struct qkvi_attempt *current;

void qkvi_attempt_begin(struct qkvi_attempt *attempt, struct qkvi_programs *programs, const char *what,
                        unsigned forgiven) {
    *attempt = (struct qkvi_attempt){.programs = programs, .what = what, .outer = current, .forgiven = forgiven};
    current = attempt;
}

/* ---- what others did not survive ---- */

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

/* Who forgives anyhow need not know, nor who never does. */
static bool asks_survivors(const struct qkvi_attempt *attempt) {
    return !attempt->forgiven && !attempt->of;
}

qkv_status qkvi_attempt_mark(void) {
    struct qkvi_attempt *attempt = current;
    if (!attempt || attempt->tried) return QKV_OK;
    struct qkvi_store *store = attempt->programs->cache.store;
    char *key = qkvi_cache_key(attempt->programs, "attempt %s\n", attempt->what);
    if (!key) return QKV_OK;
    enum qkvi_mark_state state = qkvi_mark_begin(&attempt->mark, store, key, attempt->forgiven);
    if (state == QKVI_MARK_LEFT && asks_survivors(attempt) && qkvi_ledger_survived(attempt->programs, attempt->what))
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

static void end_mark(struct qkvi_attempt *attempt, qkv_status result) {
    if (!attempt->marked) return;
    qkvi_mark_end(&attempt->mark);
    if (!result && asks_survivors(attempt) && !qkvi_ledger_survived(attempt->programs, attempt->what))
        qkvi_ledger_survives(attempt->programs, attempt->what);
}

/* ---- the programs that it uses ---- */

bool qkvi_attempt_is_of_binaries(void) {
    return current && current->of;
}

const struct qkvi_blob *qkvi_attempt_blob(const struct qkvi_source *source, const char *options) {
    const struct qkvi_attempt *of = current ? current->of : NULL;
    for (size_t i = 0; of && i < of->num_used; i++)
        if (of->blobs[i].data && of->used[i]->source == source && !strcmp(of->used[i]->options, options))
            return &of->blobs[i];
    return NULL;
}

struct qkvi_program_entry *qkvi_attempt_find(const char *key) {
    for (size_t i = 0; current && i < current->num_used; i++)
        if (!strcmp(current->used[i]->key, key)) return current->used[i];
    return NULL;
}

bool qkvi_attempt_uses(struct qkvi_program_entry *entry) {
    struct qkvi_attempt *attempt = current;
    for (size_t i = 0; attempt && i < attempt->num_used; i++)
        if (attempt->used[i] == entry) return true;
    if (!attempt || attempt->num_used == QKVI_ATTEMPT_PROGRAMS) return false;
    attempt->used[attempt->num_used++] = entry;
    return true;
}

void qkvi_attempt_add(struct qkvi_text *text) {
    for (size_t i = 0; current && i < current->num_used; i++) {
        const struct qkvi_program_entry *entry = current->used[i];
        qkvi_text_add(text, "%s%s%s%s", i ? " " : "; programs ", entry->loaded ? "loaded" : "built",
                      entry->dialect.soft_half ? "-soft-half" : "", entry->dialect.no_standard ? "-no-std" : "");
    }
}

bool qkvi_attempt_forget(struct qkvi_attempt *attempt) {
    struct qkvi_programs *programs = attempt->programs;
    bool forgotten = false;
    (void)pthread_mutex_lock(&programs->lock);
    for (size_t i = 0; i < attempt->num_used; i++) {
        if (!attempt->used[i]->loaded) continue;
        qkvi_cache_drop(programs, attempt->used[i]);
        forgotten = true;
    }
    attempt->num_used = 0;
    (void)pthread_mutex_unlock(&programs->lock);
    return forgotten;
}

void qkvi_attempt_end(struct qkvi_attempt *attempt, qkv_status result) {
    current = attempt->outer;
    for (size_t i = 0; i < attempt->num_used; i++)
        if (attempt->used[i]->lent) qkvi_program_free(attempt->used[i]);
    end_mark(attempt, result);
}
