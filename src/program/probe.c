#include "program/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A chain of dependent operations long enough to be timed over the noise of a launch. */
#define PROBE_STEPS 100000
#define PROBE_REPEATS 8
/* More steps in all than the one limit known (65535, see cl/probe.cl). */
#define PROBE_OUTER 300
#define PROBE_INNER 300

enum kind { LOOPS = 0, MAD = 1, FMA = 2 }; /* as in cl/probe.cl */

struct probe {
    struct qkvi_programs *programs;
    struct qkvi_kernel *kernel;
    cl_mem out;
};

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static qkv_status run(const struct probe *probe, enum kind kind, cl_int outer, cl_int inner) {
    const struct qkvi_runtime *rt = probe->programs->rt;
    const cl_int which = (cl_int)kind;
    const struct qkvi_arg args[] = {QKVI_ARG(probe->out), QKVI_ARG(which), QKVI_ARG(outer), QKVI_ARG(inner)};
    const size_t one = 1;
    struct qkvi_chain chain;
    qkv_status status = qkvi_chain_begin(&chain, NULL, rt->queue, 0, NULL, NULL);
    if (!status) status = qkvi_chain_end(&chain, qkvi_kernel_run(probe->kernel, &chain, args, 4, 1, &one, &one));
    return status ? status : qkvi_runtime_finish(rt);
}

/* In turns, so that a busy machine is as unkind to the one as to the other; the best of each counts. */
static qkv_status time_both(double best[2], const struct probe *probe) {
    best[0] = best[1] = 1e30;
    for (int i = 0; i < 2 * PROBE_REPEATS; i++) {
        const double begin = now();
        qkv_status status = run(probe, i % 2 ? FMA : MAD, PROBE_STEPS, 1);
        const double seconds = now() - begin;
        if (status) return status;
        if (seconds < best[i % 2]) best[i % 2] = seconds;
    }
    return QKV_OK;
}

/*
 * fma() is one instruction on one device and a software routine on another, and what drivers say of it is not
 * reliable. mad() may be split into two operations, which costs up to twice: so fma() unless it is slower than that.
 */
static qkv_status measure_fma(bool *fast, const struct probe *probe) {
    const struct qkvi_runtime *rt = probe->programs->rt;
    double best[2];
    qkv_status status = time_both(best, probe);
    if (status) return status;
    *fast = best[1] < 2 * best[0];
    qkvi_log(&rt->log, QKV_LOG_INFO, "fma() is %s on %s (%.2f times mad())", *fast ? "fast" : "slow", rt->info.name,
             best[1] / best[0]);
    return QKV_OK;
}

/* SIZE_MAX where loops run to their end, else how many iterations a work-item may count on. */
static qkv_status measure_loops(size_t *limit, const struct probe *probe) {
    const struct qkvi_runtime *rt = probe->programs->rt;
    cl_uint value, x = 1;
    size_t steps = 0;
    *limit = SIZE_MAX;
    qkv_status status = run(probe, LOOPS, PROBE_OUTER, PROBE_INNER);
    if (!status) status = qkvi_buffer_read(rt, &value, probe->out, 0, sizeof value);
    if (status) return status;
    for (; steps < (size_t)PROBE_OUTER * PROBE_INNER && x != value; steps++)
        x = x * 1664525u + 1013904223u;
    if (steps == (size_t)PROBE_OUTER * PROBE_INNER && x == value) return QKV_OK;
    if (x != value)
        return qkvi_fail(QKV_SELF_TEST_FAILED, "a loop of %d steps computes nonsense on %s", PROBE_OUTER * PROBE_INNER,
                         rt->info.name);
    *limit = steps - steps / 8;
    return QKV_OK;
}

static bool is_probed(struct qkvi_programs *programs) {
    (void)pthread_mutex_lock(&programs->lock);
    bool probed = programs->probed;
    (void)pthread_mutex_unlock(&programs->lock);
    return probed;
}

struct findings {
    bool fma_is_fast;
    size_t iterations; /* SIZE_MAX: no limit */
};

/* Loops first, so that the kernel was compiled when it is timed. */
static qkv_status measure(struct findings *found, struct qkvi_programs *programs, bool with_fma) {
    struct probe probe = {.programs = programs};
    qkv_status status = qkvi_buffer_create(&probe.out, programs->rt, 4 * sizeof(cl_uint), "probe");
    if (!status) status = qkvi_kernel_create(&probe.kernel, programs, "probe", "", "probe");
    if (!status) status = measure_loops(&found->iterations, &probe);
    if (!status && with_fma) status = measure_fma(&found->fma_is_fast, &probe);
    qkvi_kernel_destroy(probe.kernel);
    qkvi_buffer_release(probe.out);
    return status;
}

#define FINDINGS "fma %d, loops %zu"

/* What an earlier process found out. */
static bool recall(struct findings *found, const struct qkvi_programs *programs) {
    char *key = qkvi_cache_key(programs, "probe\n"), *text = NULL;
    size_t size;
    int fast = 0;
    bool known = key && !atomic_load(&programs->cache.afresh) &&
                 qkvi_store_get(&text, &size, programs->cache.store, "probe", key) &&
                 sscanf(text, FINDINGS, &fast, &found->iterations) == 2;
    found->fma_is_fast = fast != 0;
    free(text);
    free(key);
    return known;
}

static void keep(const struct findings *found, const struct qkvi_programs *programs) {
    char *key = qkvi_cache_key(programs, "probe\n");
    struct qkvi_text text = {0};
    qkvi_text_add(&text, FINDINGS, found->fma_is_fast, found->iterations);
    if (key && !text.failed) (void)qkvi_store_put(programs->cache.store, "probe", key, text.data, text.length);
    qkvi_text_free(&text);
    free(key);
}

qkv_status qkvi_programs_probe(struct qkvi_programs *programs) {
    if (is_probed(programs)) return QKV_OK;
    const char *forced = programs->forced_fma;
    struct findings found = {.fma_is_fast = true, .iterations = SIZE_MAX};
    /* A simulator runs everything to its end, and its times say nothing. */
    if (!programs->rt->limits.simulator && !recall(&found, programs)) {
        qkv_status status = measure(&found, programs, !forced);
        if (status) return status;
        if (!forced) keep(&found, programs);
    }
    if (forced) found.fma_is_fast = !strcmp(forced, "fma");
    /* Of two threads that measured at once the first one's answer holds for all builds. */
    (void)pthread_mutex_lock(&programs->lock);
    const bool first = !programs->probed;
    if (first) {
        programs->probed = true;
        programs->limits.max_iterations = found.iterations;
        (void)snprintf(programs->base_options, sizeof programs->base_options, "-DQKV_USE_FMA=%d", found.fma_is_fast);
    }
    (void)pthread_mutex_unlock(&programs->lock);
    if (first && found.iterations != SIZE_MAX)
        qkvi_log(&programs->rt->log, QKV_LOG_WARNING,
                 "%s leaves a work-item's loops early: solvers keep below %zu iterations", programs->rt->info.name,
                 found.iterations);
    return QKV_OK;
}
