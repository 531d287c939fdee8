#include "program/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One work-item, a chain of dependent operations long enough to be timed over the noise of a launch. */
#define PROBE_STEPS 20000
#define PROBE_REPEATS 5

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static qkv_status time_kernel(double *seconds, const struct qkvi_runtime *rt, struct qkvi_kernel *kernel, cl_mem out,
                              cl_int steps) {
    const struct qkvi_arg args[] = {QKVI_ARG(out), QKVI_ARG(steps)};
    const size_t one = 1;
    *seconds = 1e30;
    /* The first run compiles on some implementations: it is not counted. */
    for (int i = 0; i <= PROBE_REPEATS; i++) {
        struct qkvi_chain chain;
        double begin = now();
        qkv_status status = qkvi_chain_begin(&chain, rt->queue, 0, NULL, NULL);
        if (!status) status = qkvi_chain_end(&chain, qkvi_kernel_run(kernel, &chain, args, 2, 1, &one, &one));
        if (!status) status = qkvi_runtime_finish(rt);
        if (status) return status;
        double elapsed = now() - begin;
        if (i > 0 && elapsed < *seconds) *seconds = elapsed;
    }
    return QKV_OK;
}

static qkv_status time_variant(double *seconds, struct qkvi_programs *programs, const char *options, cl_mem out,
                               cl_int steps) {
    struct qkvi_kernel *kernel;
    qkv_status status = qkvi_kernel_create(&kernel, programs, "probe_fma", options, "probe_fma");
    if (status) return status;
    status = time_kernel(seconds, programs->rt, kernel, out, steps);
    qkvi_kernel_destroy(kernel);
    return status;
}

/*
 * fma() is one instruction on one device and a software routine on another, and what drivers say of it is not
 * reliable. mad() may be split into two operations, which costs up to twice: so fma() unless it is slower than that.
 */
static qkv_status measure(bool *fast, struct qkvi_programs *programs) {
    double with_fma = 0, with_mad = 0;
    cl_mem out;
    cl_int steps = programs->rt->limits.simulator ? 200 : PROBE_STEPS;
    qkv_status status = qkvi_buffer_create(&out, programs->rt, 64 * sizeof(float), "fma probe");
    if (status) return status;
    status = time_variant(&with_mad, programs, "-DQKV_USE_FMA=0", out, steps);
    if (!status) status = time_variant(&with_fma, programs, "-DQKV_USE_FMA=1", out, steps);
    qkvi_buffer_release(out);
    if (status) return status;
    *fast = with_fma < 2 * with_mad;
    qkvi_log(&programs->rt->log, QKV_LOG_INFO, "fma() is %s on %s (%.2f times mad())", *fast ? "fast" : "slow",
             programs->rt->info.name, with_fma / with_mad);
    return QKV_OK;
}

qkv_status qkvi_programs_probe(struct qkvi_programs *programs) {
    (void)pthread_mutex_lock(&programs->lock);
    bool known = programs->probed;
    (void)pthread_mutex_unlock(&programs->lock);
    if (known) return QKV_OK;

    const char *forced = getenv("QKV_FMA");
    bool fast = true;
    if (forced && (!strcmp(forced, "fma") || !strcmp(forced, "mad"))) {
        fast = !strcmp(forced, "fma");
    } else {
        qkv_status status = measure(&fast, programs);
        if (status) return status;
    }
    /* Of two threads that measured at once the first one's answer holds for all builds. */
    (void)pthread_mutex_lock(&programs->lock);
    if (!programs->probed) {
        programs->probed = true;
        (void)snprintf(programs->base_options, sizeof programs->base_options, "-cl-std=CL1.2 -DQKV_USE_FMA=%d", fast);
    }
    (void)pthread_mutex_unlock(&programs->lock);
    return QKV_OK;
}
