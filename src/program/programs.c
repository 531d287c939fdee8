#include "program/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Its own text: the environment's may change. */
static qkv_status read_fma(const char **out) {
    const char *given = getenv("QKV_FMA");
    *out = !given || !*given ? NULL : !strcmp(given, "fma") ? "fma" : "mad";
    if (!*out || !strcmp(given, *out)) return QKV_OK;
    return qkvi_fail(QKV_INVALID_ARGUMENT, "environment variable QKV_FMA is \"%s\"; it must be fma or mad", given);
}

qkv_status qkvi_programs_open(struct qkvi_programs *programs, const struct qkvi_runtime *rt) {
    *programs = (struct qkvi_programs){.rt = rt, .limits = rt->limits};
    atomic_init(&programs->cache.afresh, false);
    qkv_status status = read_fma(&programs->forced_fma);
    if (status) return status;
    return pthread_mutex_init(&programs->lock, NULL) == 0 ? QKV_OK : qkvi_fail_memory("program cache");
}

void qkvi_program_free(struct qkvi_program_entry *entry) {
    qkvi_module_release(entry->program);
    free(entry->key);
    free(entry->options);
    free(entry->failure);
    free(entry);
}

void qkvi_programs_close(struct qkvi_programs *programs) {
    struct qkvi_program_entry *next;
    for (struct qkvi_program_entry *entry = programs->first; entry; entry = next) {
        next = entry->next;
        qkvi_program_free(entry);
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
    while (entry && (entry->stale || strcmp(entry->key, key)))
        entry = entry->next;
    return entry;
}

static char *make_key(const char *stem, const char *options) {
    struct qkvi_text text = {0};
    qkvi_text_add(&text, "%s %s", stem, options);
    if (text.failed) qkvi_text_free(&text);
    return text.data;
}

/* How far an attempt came; the later the better. FAILED: for another reason, which may have passed next time. */
enum progress { OPTIONS_REFUSED, SOURCE_REFUSED, FAILED, BUILT };

/* One try: from the disk, else by the compiler. */
struct attempt {
    enum progress progress;
    qkv_status status;
    cl_program program;
    enum qkvi_place place;
    struct qkvi_dialect dialect;
    struct qkvi_text options;   /* all of them */
    struct qkvi_text complaint; /* the error, and the compiler's log */
};

/* What a build is made of. */
struct recipe {
    const struct qkvi_programs *programs;
    const struct qkvi_source *source;
    const char *options;
    bool loads_only; /* QKVI_TO_KEEP where there is nothing to load */
};

static struct attempt try_build(const struct recipe *r, struct qkvi_dialect dialect) {
    struct attempt a = {.progress = BUILT, .dialect = dialect};
    struct qkvi_text log = {0};
    bool refused_options = false;
    qkvi_text_add(&a.options, "%s%s%s%s%s", dialect.no_standard ? "" : "-cl-std=CL1.2 ", r->programs->base_options,
                  *r->programs->base_options && *r->options ? " " : "", r->options,
                  dialect.soft_half ? " -DQKV_SOFT_HALF=1" : "");
    a.place = qkvi_cache_load(&a.program, r->programs, r->source, qkvi_text_get(&a.options));
    if (a.place != QKVI_ON_DISK && r->loads_only) {
        a.place = qkvi_attempt_blob(r->source, qkvi_text_get(&a.options)) ? QKVI_NOT_KEPT : QKVI_TO_KEEP;
        a.progress = FAILED;
        a.status = qkvi_fail(QKV_UNSUPPORTED, "the driver does not take back what it gave away of %s", r->source->stem);
    } else if (a.place != QKVI_ON_DISK)
        a.status = qkvi_module_build(&a.program, r->programs->rt, r->source->text, r->source->length,
                                     qkvi_text_get(&a.options), &refused_options, &log);
    if (a.status && !r->loads_only) {
        a.progress = refused_options ? OPTIONS_REFUSED : a.status == QKV_BUILD_FAILED ? SOURCE_REFUSED : FAILED;
        qkvi_text_add(&a.complaint, "%s%s%s", qkv_error_message(), log.length ? "\n" : "", qkvi_text_get(&log));
    }
    qkvi_text_free(&log);
    return a;
}

static void end_attempt(struct attempt *a) {
    qkvi_module_release(a->program);
    qkvi_text_free(&a->options);
    qkvi_text_free(&a->complaint);
}

/* The one that came further stays; of two that came as far the first one. */
static void try_again(struct attempt *a, const struct recipe *r, struct qkvi_dialect dialect) {
    struct attempt again = try_build(r, dialect), *worse = again.progress > a->progress ? a : &again;
    struct attempt dropped = *worse;
    if (worse == a) *a = again;
    end_attempt(&dropped);
}

/*
 * The ladder: with all that OpenCL C 1.2 has; where the driver refuses options, without -cl-std; where the compiler
 * refuses a source that can convert fp16 in integers, with that. `known` is where it begins, and learns what helped.
 */
static struct attempt climb(const struct recipe *r, struct qkvi_dialect *known) {
    const bool stores_half = strstr(r->source->text, "QKV_SOFT_HALF") != NULL;
    struct qkvi_dialect dialect = {known->no_standard, known->soft_half && stores_half};
    struct attempt a = try_build(r, dialect);
    if (a.progress == OPTIONS_REFUSED && !dialect.no_standard) {
        dialect.no_standard = true;
        try_again(&a, r, dialect);
        known->no_standard = a.progress > OPTIONS_REFUSED;
    }
    if (a.progress == SOURCE_REFUSED && stores_half && !dialect.soft_half) {
        dialect.soft_half = true;
        try_again(&a, r, dialect);
        known->soft_half = a.progress == BUILT;
    }
    return a;
}

/* A driver that refuses a kernel refuses it again: the failure is kept and told again. `text` receives what to log. */
static void build(struct qkvi_program_entry *entry, struct qkvi_programs *programs, const char *stem,
                  const char *options, bool loads_only, struct qkvi_text *text) {
    const struct recipe recipe = {programs, find_source(stem), options, loads_only};
    if (!recipe.source) {
        entry->status = qkvi_fail(QKV_BUILD_FAILED, "kernel file %s is not part of this library", stem);
        qkvi_text_add(text, "%s", qkv_error_message());
    } else {
        (void)pthread_mutex_lock(&qkvi_build_mutex);
        struct attempt a = climb(&recipe, &programs->dialect);
        (void)pthread_mutex_unlock(&qkvi_build_mutex);
        if (a.status)
            qkvi_text_add(text, "building %s (%s) for %s: %s", stem, qkvi_text_get(&a.options), programs->rt->info.name,
                          qkvi_text_get(&a.complaint));
        else
            qkvi_text_add(text, "%s %s with %s", a.place == QKVI_ON_DISK ? "loaded" : "built", stem,
                          qkvi_text_get(&a.options));
        entry->source = recipe.source;
        entry->options = a.options.failed ? NULL : a.options.data;
        entry->dialect = a.dialect;
        entry->place = a.place;
        entry->loaded = a.place == QKVI_ON_DISK;
        entry->status = a.status;
        entry->program = a.program;
        a.program = NULL;
        if (entry->options) a.options = (struct qkvi_text){0};
        end_attempt(&a);
    }
    if (entry->status) entry->failure = qkvi_strdup(qkvi_text_get(text));
}

static void tell_what_is_lacking(const struct qkvi_programs *programs, struct qkvi_dialect before,
                                 struct qkvi_dialect now) {
    const struct qkvi_log *log = &programs->rt->log;
    const char *device = programs->rt->info.name;
    if (now.no_standard && !before.no_standard)
        qkvi_log(log, QKV_LOG_INFO, "%s refuses the option -cl-std=CL1.2: programs are built without it", device);
    if (now.soft_half && !before.soft_half)
        qkvi_log(log, QKV_LOG_INFO,
                 "%s builds kernels without vload_half() and vstore_half() only: they convert fp16 in integers",
                 device);
}

static struct qkvi_program_entry *new_entry(char *key) {
    struct qkvi_program_entry *entry = key ? calloc(1, sizeof *entry) : NULL;
    if (entry)
        entry->key = key;
    else
        free(key);
    return entry;
}

/* For the attempt alone. *absent: there is no binary of it, so it is to be had like any other. */
static qkv_status get_loaded(struct qkvi_program_entry **out, bool *absent, struct qkvi_programs *programs,
                             const char *stem, const char *options) {
    struct qkvi_text message = {0};
    char *key = make_key(stem, options);
    struct qkvi_program_entry *known = key ? qkvi_attempt_find(key) : NULL, *entry = known ? known : new_entry(key);
    if (known) free(key);
    *absent = false;
    if (!entry) return qkvi_fail_memory("program cache");
    *out = entry;
    if (known) return QKV_OK;
    qkv_status status = qkvi_attempt_mark();
    if (!status) {
        (void)pthread_mutex_lock(&programs->lock);
        build(entry, programs, stem, options, true, &message);
        (void)pthread_mutex_unlock(&programs->lock);
        *absent = entry->place == QKVI_TO_KEEP;
        status = entry->status;
        qkvi_text_free(&message);
    }
    entry->lent = true;
    if (!status && !qkvi_attempt_uses(entry)) status = qkvi_fail(QKV_UNSUPPORTED, "it uses too many programs");
    if (status) qkvi_program_free(entry);
    return status;
}

/* The caller holds the lock. Is a failure for good? A driver that ran out of something may have it next time. */
static bool enlist(struct qkvi_programs *programs, struct qkvi_program_entry *entry) {
    if (entry->status && entry->status != QKV_BUILD_FAILED) return false;
    entry->next = programs->first;
    programs->first = entry;
    return true;
}

static qkv_status get_shared(struct qkvi_program_entry **out, struct qkvi_programs *programs, const char *stem,
                             const char *options) {
    struct qkvi_text message = {0};
    struct qkvi_program_entry *entry = new_entry(make_key(stem, options));
    if (!entry) return qkvi_fail_memory("program cache");
    bool listed = true;
    (void)pthread_mutex_lock(&programs->lock);
    struct qkvi_program_entry *known = find(programs, entry->key);
    const struct qkvi_dialect before = programs->dialect;
    qkv_status refused = known ? QKV_OK : qkvi_attempt_mark();
    if (known || refused) {
        qkvi_program_free(entry);
        entry = known;
    } else {
        build(entry, programs, stem, options, false, &message);
        listed = enlist(programs, entry);
    }
    if (entry && !entry->status) (void)qkvi_attempt_uses(entry);
    const struct qkvi_dialect now = programs->dialect;
    (void)pthread_mutex_unlock(&programs->lock);
    if (refused) return refused;
    /* Only now, without a lock: a log function may take locks of the application's. */
    tell_what_is_lacking(programs, before, now);
    if (message.length)
        qkvi_log(&programs->rt->log, entry->status ? QKV_LOG_WARNING : QKV_LOG_DEBUG, "%s", qkvi_text_get(&message));
    qkvi_text_free(&message);
    qkv_status status = entry->status;
    if (status)
        (void)qkvi_fail(status, "%s", entry->failure ? entry->failure : stem);
    else
        *out = entry;
    if (!listed) qkvi_program_free(entry);
    return status;
}

qkv_status qkvi_program_get(struct qkvi_program_entry **out, struct qkvi_programs *programs, const char *stem,
                            const char *options) {
    bool absent = true;
    qkv_status status = qkvi_attempt_is_of_binaries() ? get_loaded(out, &absent, programs, stem, options) : QKV_OK;
    return absent ? get_shared(out, programs, stem, options) : status;
}
