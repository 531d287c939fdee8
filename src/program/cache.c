#include "program/internal.h"

#include <stdlib.h>
#include <string.h>

/* Kernels change between two releases: what was found out about others is not about these. */
static uint64_t hash_sources(void) {
    uint64_t hash = 0;
    for (size_t i = 0; i < qkvi_num_sources; i++)
        hash = qkvi_hash(qkvi_sources[i].text, qkvi_sources[i].length, hash);
    return hash;
}

void qkvi_cache_open(struct qkvi_programs *programs, const char *directory) {
    struct qkvi_cache *cache = &programs->cache;
    struct qkvi_text identity = {0};
    if (!directory || !*directory) return;
    if (qkvi_store_open(&cache->store, directory) != QKV_OK) {
        qkvi_log(&programs->rt->log, QKV_LOG_WARNING, "nothing is cached: %s", qkv_error_message());
        return;
    }
    qkvi_device_key(&identity, &programs->rt->info);
    qkvi_text_add(&identity, "kernels %016llx\n", (unsigned long long)hash_sources());
    if (identity.failed) {
        qkvi_text_free(&identity);
        qkvi_store_close(cache->store);
        cache->store = NULL;
        return;
    }
    cache->identity = identity.data;
}

void qkvi_cache_distrust(struct qkvi_programs *programs) {
    struct qkvi_cache *cache = &programs->cache;
    atomic_store(&cache->afresh, true);
    if (cache->store) qkvi_marks_forget(cache->store, cache->identity);
}

void qkvi_cache_trust(struct qkvi_programs *programs) {
    atomic_store(&programs->cache.afresh, false);
}

char *qkvi_cache_key(const struct qkvi_programs *programs, const char *format, ...) {
    struct qkvi_text key = {0};
    va_list list;
    if (!programs->cache.store) return NULL;
    qkvi_text_add(&key, "%s", programs->cache.identity);
    va_start(list, format);
    qkvi_text_add_list(&key, format, list);
    va_end(list);
    if (key.failed) qkvi_text_free(&key);
    return key.data;
}

static char *program_key(const struct qkvi_programs *programs, const struct qkvi_source *source, const char *options) {
    return qkvi_cache_key(programs, "program %s\noptions %s\n%s", source->stem, options, source->text);
}

/* A binary that is about to be kept, or one from the disk. */
static bool load(cl_program *out, const struct qkvi_programs *programs, const struct qkvi_source *source,
                 const char *options, const char *key) {
    const struct qkvi_blob *blob = qkvi_attempt_blob(source, options);
    char *data = NULL;
    size_t size;
    if (blob) return qkvi_module_load(out, programs->rt, blob->data, blob->size, options);
    if (!qkvi_store_get(&data, &size, programs->cache.store, "program", key)) return false;
    const bool loaded = qkvi_module_load(out, programs->rt, data, size, options);
    free(data);
    return loaded;
}

enum qkvi_place qkvi_cache_load(cl_program *out, const struct qkvi_programs *programs, const struct qkvi_source *source,
                                const char *options) {
    const struct qkvi_cache *cache = &programs->cache;
    /* What the probes found is kept, so their programs need not be. */
    const bool keeps = strncmp(source->stem, "probe", strlen("probe")) != 0;
    const bool afresh = atomic_load(&cache->afresh) && !qkvi_attempt_is_of_binaries();
    char *key = keeps ? program_key(programs, source, options) : NULL;
    enum qkvi_place place = QKVI_NOT_KEPT;
    /* Afresh, what is used is replaced; what is built to be tested alone need not be kept. */
    if (key && (!afresh || qkvi_store_remove(cache->store, "program", key))) place = QKVI_TO_KEEP;
    if (key && !afresh && !qkvi_attempt_was_deadly() && load(out, programs, source, options, key)) place = QKVI_ON_DISK;
    free(key);
    return place;
}

void qkvi_cache_drop(const struct qkvi_programs *programs, struct qkvi_program_entry *entry) {
    char *key = entry->options ? program_key(programs, entry->source, entry->options) : NULL;
    if (key) (void)qkvi_store_remove(programs->cache.store, "program", key);
    free(key);
    entry->stale = true;
}

static bool claim(struct qkvi_programs *programs, struct qkvi_program_entry *entry) {
    (void)pthread_mutex_lock(&programs->lock);
    const bool mine = entry->place == QKVI_TO_KEEP && entry->options;
    if (mine) entry->place = QKVI_ON_DISK;
    (void)pthread_mutex_unlock(&programs->lock);
    return mine;
}

/* A driver that does not survive being asked for a binary shall not end every process for a cache's sake: after two ends
 * it is not asked for some time. */
static bool ask(struct qkvi_blob *out, struct qkvi_programs *programs, cl_program program) {
    struct qkvi_attempt asking;
    qkvi_attempt_begin(&asking, programs, "asking for binaries", 1);
    bool good = qkvi_attempt_mark() == QKV_OK;
    (void)pthread_mutex_lock(&qkvi_build_mutex);
    good = good && qkvi_module_binary(&out->data, &out->size, programs->rt, program);
    (void)pthread_mutex_unlock(&qkvi_build_mutex);
    qkvi_attempt_end(&asking, QKV_OK);
    return good;
}

bool qkvi_cache_take(struct qkvi_attempt *attempt) {
    bool any = false;
    for (size_t i = 0; i < attempt->num_used; i++) {
        struct qkvi_program_entry *entry = attempt->used[i];
        if (claim(attempt->programs, entry) && ask(&attempt->blobs[i], attempt->programs, entry->program)) any = true;
    }
    return any;
}

void qkvi_cache_keep(struct qkvi_attempt *attempt, bool good) {
    const struct qkvi_programs *programs = attempt->programs;
    for (size_t i = 0; i < attempt->num_used; i++) {
        struct qkvi_blob *blob = &attempt->blobs[i];
        const struct qkvi_program_entry *entry = attempt->used[i];
        char *key = good && blob->data ? program_key(programs, entry->source, entry->options) : NULL;
        if (key) (void)qkvi_store_put(programs->cache.store, "program", key, blob->data, blob->size);
        free(key);
        free(blob->data);
        *blob = (struct qkvi_blob){0};
    }
}
