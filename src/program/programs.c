#include "program/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

qkv_status qkvi_programs_open(struct qkvi_programs *programs, const struct qkvi_runtime *rt) {
    *programs = (struct qkvi_programs){.rt = rt, .limits = rt->limits};
    atomic_init(&programs->cache.afresh, false);
    if (pthread_mutex_init(&programs->lock, NULL) != 0) return qkvi_fail_memory("program cache");
    (void)snprintf(programs->base_options, sizeof programs->base_options, "-cl-std=CL1.2");
    return QKV_OK;
}

static void free_entry(struct qkvi_program_entry *entry) {
    qkvi_module_release(entry->program);
    free(entry->key);
    free(entry->cache_key);
    free(entry->failure);
    free(entry);
}

void qkvi_programs_close(struct qkvi_programs *programs) {
    struct qkvi_program_entry *next;
    for (struct qkvi_program_entry *entry = programs->first; entry; entry = next) {
        next = entry->next;
        free_entry(entry);
    }
    struct qkvi_ledger_entry *follow;
    for (struct qkvi_ledger_entry *line = programs->ledger; line; line = follow) {
        follow = line->next;
        free(line);
    }
    qkvi_store_close(programs->cache.store);
    free(programs->cache.identity);
    (void)pthread_mutex_destroy(&programs->lock);
}

static const struct qkvi_source *find_source(const char *stem) {
    for (size_t i = 0; i < qkvi_num_sources; i++)
        if (!strcmp(qkvi_sources[i].stem, stem)) return &qkvi_sources[i];
    return NULL;
}

static struct qkvi_program_entry *find(struct qkvi_programs *programs, const char *key) {
    struct qkvi_program_entry *entry = programs->first;
    while (entry && strcmp(entry->key, key))
        entry = entry->next;
    return entry;
}

static char *make_key(const char *stem, const char *options) {
    struct qkvi_text text = {0};
    qkvi_text_add(&text, "%s %s", stem, options);
    if (text.failed) qkvi_text_free(&text);
    return text.data;
}

/* A driver that refuses a kernel refuses it again: the failure is kept and told again. `text` receives what to log. */
static void build(struct qkvi_program_entry *entry, const struct qkvi_programs *programs, const char *stem,
                  const char *options, struct qkvi_text *text) {
    const struct qkvi_source *source = find_source(stem);
    struct qkvi_text log = {0}, all = {0};
    bool loaded = false;
    qkvi_text_add(&all, "%s %s", programs->base_options, options);
    if (!source) {
        entry->status = qkvi_fail(QKV_BUILD_FAILED, "kernel file %s is not part of this library", stem);
    } else {
        (void)pthread_mutex_lock(&qkvi_build_mutex);
        loaded = qkvi_cache_load(&entry->program, &entry->cache_key, programs, source, qkvi_text_get(&all));
        if (!loaded)
            entry->status = qkvi_module_build(&entry->program, programs->rt, source->text, source->length,
                                              qkvi_text_get(&all), &log);
        (void)pthread_mutex_unlock(&qkvi_build_mutex);
    }
    if (entry->status) {
        qkvi_text_add(text, "building %s (%s) for %s: %s%s%s", stem, qkvi_text_get(&all), programs->rt->info.name,
                      qkv_error_message(), log.length ? "\n" : "", qkvi_text_get(&log));
        entry->failure = qkvi_strdup(qkvi_text_get(text));
    } else {
        qkvi_text_add(text, "%s %s with %s", loaded ? "loaded" : "built", stem, qkvi_text_get(&all));
    }
    qkvi_text_free(&log);
    qkvi_text_free(&all);
}

qkv_status qkvi_program_get(struct qkvi_program_entry **out, struct qkvi_programs *programs, const char *stem,
                            const char *options) {
    struct qkvi_text message = {0};
    char *key = make_key(stem, options);
    struct qkvi_program_entry *entry = key ? calloc(1, sizeof *entry) : NULL;
    if (!entry) {
        free(key);
        return qkvi_fail_memory("program cache");
    }
    bool passing = false;
    (void)pthread_mutex_lock(&programs->lock);
    struct qkvi_program_entry *known = find(programs, key);
    qkv_status refused = known ? QKV_OK : qkvi_attempt_mark();
    if (known || refused) {
        free(key);
        free(entry);
        entry = known;
    } else {
        entry->key = key;
        build(entry, programs, stem, options, &message);
        /* A driver that ran out of something may have it next time; only its refusal is for good. */
        passing = entry->status && entry->status != QKV_BUILD_FAILED;
        if (!passing) {
            entry->next = programs->first;
            programs->first = entry;
        }
    }
    (void)pthread_mutex_unlock(&programs->lock);
    if (refused) return refused;
    /* Only now, without a lock: a log function may take locks of the application's. */
    if (message.length)
        qkvi_log(&programs->rt->log, entry->status ? QKV_LOG_WARNING : QKV_LOG_DEBUG, "%s", qkvi_text_get(&message));
    qkvi_text_free(&message);
    qkv_status status = entry->status;
    if (status)
        (void)qkvi_fail(status, "%s", entry->failure ? entry->failure : stem);
    else
        *out = entry;
    if (passing) free_entry(entry);
    return status;
}
