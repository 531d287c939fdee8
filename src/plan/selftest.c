#include "plan/selftest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

double qkvi_selftest_dot(const float *a, const float *b, size_t count) {
    double sums[4] = {0};
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (size_t j = 0; j < 4; j++)
            sums[j] += (double)a[i + j] * (double)b[i + j];
    for (; i < count; i++)
        sums[0] += (double)a[i] * (double)b[i];
    return sums[0] + sums[1] + sums[2] + sums[3];
}

qkv_status qkvi_selftest_renew(cl_mem *buffer, const struct qkvi_runtime *rt, const void *data, size_t bytes) {
    qkvi_buffer_release(*buffer);
    *buffer = NULL;
    return qkvi_buffer_create_from(buffer, rt, data, bytes, "self-test");
}

qkv_status qkvi_selftest_upload(cl_mem *out, const struct qkvi_runtime *rt, const float *data, size_t count) {
    return qkvi_selftest_renew(out, rt, data, count * sizeof *data);
}

/* The upper half of a float's bits: exact in BF16, and in F16 as long as it is no subnormal there. */
static float round_value(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return fabsf(x) < 0x1p-10f ? 0.0f : x;
}

static uint16_t to_storage(float x, qkv_dtype dtype) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 31 << 15, rest = bits & 0x7fffffffu;
    if (dtype == QKV_BF16) return (uint16_t)(bits >> 16);
    return (uint16_t)(sign | (rest ? (rest >> 13) - (112u << 10) : 0));
}

static float from_storage(uint16_t stored, qkv_dtype dtype) {
    const uint32_t exponent = stored >> 10 & 31, fraction = stored & 1023;
    if (dtype == QKV_F16) {
        const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                           : exponent == 0 ? ldexpf((float)fraction, -24)
                                           : ldexpf((float)(fraction + 1024), (int)exponent - 25);
        return stored >> 15 ? -size : size;
    }
    const uint32_t bits = (uint32_t)stored << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

qkv_status qkvi_selftest_upload_as(cl_mem *out, const struct qkvi_runtime *rt, qkv_dtype dtype, float *data,
                                   size_t count) {
    if (dtype == QKV_F32) return qkvi_selftest_upload(out, rt, data, count);
    uint16_t *stored = malloc(count * sizeof *stored);
    if (!stored) return qkvi_fail_memory("self-test");
    for (size_t i = 0; i < count; i++) {
        data[i] = round_value(data[i]);
        stored[i] = to_storage(data[i], dtype);
    }
    qkv_status status = qkvi_selftest_renew(out, rt, stored, count * sizeof *stored);
    free(stored);
    return status;
}

qkv_status qkvi_selftest_read_as(float *data, const struct qkvi_runtime *rt, qkv_dtype dtype, cl_mem buffer,
                                 size_t count) {
    if (dtype == QKV_F32) return qkvi_buffer_read(rt, data, buffer, 0, count * sizeof *data);
    uint16_t *stored = malloc(count * sizeof *stored);
    if (!stored) return qkvi_fail_memory("self-test");
    qkv_status status = qkvi_buffer_read(rt, stored, buffer, 0, count * sizeof *stored);
    for (size_t i = 0; !status && i < count; i++)
        data[i] = from_storage(stored[i], dtype);
    free(stored);
    return status;
}

/* Large as float, BF16 and integer, none as F16. Counters above zero do no harm, below it they would. */
#define POISON 0x7f

qkv_status qkvi_selftest_poison(cl_mem *buffer, const struct qkvi_runtime *rt, size_t bytes) {
    unsigned char *data = malloc(bytes);
    if (!data) return qkvi_fail_memory("self-test");
    memset(data, POISON, bytes);
    qkv_status status = qkvi_selftest_renew(buffer, rt, data, bytes);
    free(data);
    return status;
}

qkv_status qkvi_selftest_poison_weights(struct qkvi_linear_weights *w, const struct qkvi_runtime *rt) {
    const size_t bytes = w->num_panels * w->panel * sizeof(float);
    qkv_status status = qkvi_selftest_poison(&w->bias, rt, bytes);
    return status ? status : qkvi_selftest_poison(&w->packed, rt, bytes * w->in_features);
}

qkv_status qkvi_selftest_run(const struct qkvi_runtime *rt, const struct qkvi_solver *solver, const void *state,
                             const void *run) {
    struct qkvi_chain chain;
    cl_event done = NULL;
    qkv_status status = qkvi_chain_begin(&chain, NULL, rt->queue, 0, NULL, &done);
    if (!status) status = qkvi_chain_end(&chain, solver->run(state, &chain, run));
    /* A wrapped context's queue may be out of order: what reads the result comes after this. */
    return qkvi_runtime_wait(rt, done, status);
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
