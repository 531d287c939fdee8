#include "plan/selftest.h"

#include <math.h>

float qkvi_selftest_value(size_t seed, size_t index) {
    uint32_t x = (uint32_t)(index * 2654435761u + seed * 40503u + 12345u);
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (float)(x >> 8) / 8388608.0f - 1.0f;
}

void qkvi_selftest_fill(float *data, size_t count, size_t seed) {
    for (size_t i = 0; i < count; i++)
        data[i] = qkvi_selftest_value(seed, i);
}

qkv_status qkvi_selftest_upload(cl_mem *out, const struct qkvi_runtime *rt, const float *data, size_t count) {
    qkv_status status = qkvi_buffer_create(out, rt, count * sizeof *data, "self-test");
    return status ? status : qkvi_buffer_write(rt, *out, 0, data, count * sizeof *data);
}

qkv_status qkvi_selftest_run(const struct qkvi_runtime *rt, const struct qkvi_solver *solver, const void *state,
                             const void *run) {
    struct qkvi_chain chain;
    qkv_status status = qkvi_chain_begin(&chain, NULL, rt->queue, 0, NULL, NULL);
    if (!status) status = qkvi_chain_end(&chain, solver->run(state, &chain, run));
    /* A wrapped context's queue may be out of order: what reads the result comes after this. */
    return status ? status : qkvi_runtime_finish(rt);
}

qkv_status qkvi_selftest_compare(const float *got, const double *expected, size_t count, double tolerance,
                                 const char *what) {
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)got[i] - expected[i]);
        if ((double)got[i] == expected[i]) continue; /* infinities too */
        if (!(error <= tolerance * (1 + fabs(expected[i]))))
            return qkvi_fail(QKV_SELF_TEST_FAILED, "self-test %s: element %zu is %.9g instead of %.9g", what, i,
                             (double)got[i], expected[i]);
    }
    return QKV_OK;
}
