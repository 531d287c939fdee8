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

bool qkvi_cache_load(cl_program *out, char **key, const struct qkvi_programs *programs,
                     const struct qkvi_source *source, const char *options) {
    const struct qkvi_cache *cache = &programs->cache;
    char *data;
    size_t size;
    /* What the probes found is kept, so their programs need not be. */
    bool keeps = strncmp(source->stem, "probe", strlen("probe")) != 0;
    *key = keeps ? qkvi_cache_key(programs, "program %s\noptions %s\n%s", source->stem, options, source->text) : NULL;
    if (*key && atomic_load(&cache->afresh)) {
        /* What is used is replaced; what is built to be tested alone need not be kept. */
        if (!qkvi_store_remove(cache->store, "program", *key)) {
            free(*key);
            *key = NULL;
        }
        return false;
    }
    if (!*key || qkvi_attempt_was_deadly()) return false;
    if (!qkvi_store_get(&data, &size, cache->store, "program", *key)) return false;
    bool loaded = qkvi_module_load(out, programs->rt, data, size, options);
    free(data);
    if (loaded) {
        free(*key);
        *key = NULL;
    }
    return loaded;
}

/* The next program that is not on disk, and its key, which the caller frees. */
static cl_program take_one(char **key, struct qkvi_programs *programs) {
    cl_program program = NULL;
    (void)pthread_mutex_lock(&programs->lock);
    for (struct qkvi_program_entry *entry = programs->first; entry && !program; entry = entry->next) {
        if (!entry->cache_key || entry->status) continue;
        program = entry->program;
        *key = entry->cache_key;
        entry->cache_key = NULL;
    }
    (void)pthread_mutex_unlock(&programs->lock);
    return program;
}

void qkvi_cache_keep(struct qkvi_programs *programs) {
    char *key, *data;
    size_t size;
    cl_program program;
    while ((program = take_one(&key, programs)) != NULL) {
        (void)pthread_mutex_lock(&qkvi_build_mutex);
        bool good = qkvi_module_binary(&data, &size, programs->rt, program);
        (void)pthread_mutex_unlock(&qkvi_build_mutex);
        if (good) {
            (void)qkvi_store_put(programs->cache.store, "program", key, data, size);
            free(data);
        }
        free(key);
    }
}
