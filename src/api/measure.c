#include "api/internal.h"

#include <time.h>

#define REPEATS 5

/* One backend's layer of zeros: how long a product takes does not depend on the numbers. */
struct contender {
    qkv_linear *linear; /* NULL: it cannot be had here */
    double best;        /* seconds */
};

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static qkv_status enter(struct contender *c, qkv_context *context, const char *solver, size_t in_features,
                        size_t out_features) {
    const qkv_linear_output output = {.out_features = out_features};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = in_features;
    desc.num_outputs = 1;
    desc.outputs = &output;
    desc.solver = solver;
    *c = (struct contender){.best = 1e300};
    return qkv_linear_create(&c->linear, context, &desc);
}

static qkv_status run_once(struct contender *c, qkv_context *context, const qkv_linear_args *args, bool counts) {
    if (!c->linear) return QKV_OK;
    double begin = now();
    qkv_status status = qkv_linear_run(c->linear, context->rt.queue, args, 0, NULL, NULL);
    if (!status) status = qkvi_runtime_finish(&context->rt);
    double seconds = now() - begin;
    if (counts && seconds < c->best) c->best = seconds;
    return status;
}

/* In turns, after a run of each that may still compile. */
static qkv_status race(struct contender c[2], qkv_context *context, const qkv_linear_args *args) {
    qkv_status status = QKV_OK;
    for (int i = 0; !status && i <= REPEATS; i++) {
        status = run_once(&c[0], context, args, i > 0);
        if (!status) status = run_once(&c[1], context, args, i > 0);
    }
    return status;
}

static qkv_status measure(struct contender c[2], qkv_context *context, size_t rows, size_t in_features,
                          size_t out_features) {
    const size_t x_shape[] = {rows, in_features}, y_shape[] = {rows, out_features};
    size_t x_bytes, y_bytes;
    cl_mem x = NULL, y = NULL;
    qkv_tensor x_tensor, y_tensor;
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    if (!qkvi_product(&x_bytes, x_shape, 2) || !qkvi_mul(&x_bytes, x_bytes, sizeof(float)) ||
        !qkvi_product(&y_bytes, y_shape, 2) || !qkvi_mul(&y_bytes, y_bytes, sizeof(float)))
        return qkvi_fail(QKV_OVERFLOW, "rows times in_features or out_features overflows");
    qkv_status status = qkvi_buffer_create(&x, &context->rt, x_bytes, "x");
    if (!status) status = qkvi_buffer_create(&y, &context->rt, y_bytes, "y");
    if (!status) status = qkv_tensor_dense(&x_tensor, x, QKV_F32, 2, x_shape);
    if (!status) status = qkv_tensor_dense(&y_tensor, y, QKV_F32, 2, y_shape);
    args.x = &x_tensor;
    args.outputs[0] = &y_tensor;
    if (!status) status = race(c, context, &args);
    qkvi_buffer_release(x);
    qkvi_buffer_release(y);
    return status;
}

qkv_status qkv_context_measure_gemm(double out_seconds[2], qkv_context *context, size_t rows, size_t in_features,
                                    size_t out_features) {
    struct contender c[2] = {{.best = 0}, {.best = 0}};
    if (!out_seconds) return qkvi_fail(QKV_INVALID_ARGUMENT, "out_seconds is NULL");
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    if (rows == 0 || in_features == 0 || out_features == 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "rows, in_features and out_features must be at least 1");
    if (!context->gemm_auto)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "context: its gemm is not auto, so there is nothing to choose");
    /* Measured afresh: what an earlier call found must not choose for this one. */
    atomic_store(&context->clblast_faster, false);
    qkv_status status = enter(&c[0], context, NULL, in_features, out_features);
    if (!status) {
        qkv_status other = enter(&c[1], context, "linear=clblast", in_features, out_features);
        /* One that does not build or run here is absent, as the header says. */
        if (other == QKV_OUT_OF_MEMORY || other == QKV_OUT_OF_DEVICE_MEMORY || other == QKV_DEVICE_LOST) status = other;
    }
    if (!status) status = measure(c, context, rows, in_features, out_features);
    if (!status) {
        out_seconds[0] = c[0].best;
        out_seconds[1] = c[1].linear ? c[1].best : 0;
        bool faster = c[1].linear && c[1].best < c[0].best;
        atomic_store(&context->clblast_faster, faster);
        qkvi_log(&context->rt.log, QKV_LOG_INFO, "GEMM %zu x %zu x %zu: native %.3g s, CLBlast %.3g s; auto takes %s",
                 rows, in_features, out_features, out_seconds[0], out_seconds[1], faster ? "CLBlast" : "native");
    }
    qkv_linear_destroy(c[0].linear);
    qkv_linear_destroy(c[1].linear);
    return status;
}
