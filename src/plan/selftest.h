/* What the self-tests share: reproducible values, buffers, running a solver once, comparing. */
#ifndef QKVI_SELFTEST_H
#define QKVI_SELFTEST_H

#include "plan/plan.h"

/* Values in [-1, 1) that repeat neither along rows nor columns. */
float qkvi_selftest_value(size_t seed, size_t index);
void qkvi_selftest_fill(float *data, size_t count, size_t seed);

/* The expected scalar product, in four sums: each step of one would wait for the last. */
double qkvi_selftest_dot(const float *a, const float *b, size_t count);

/* A new device buffer, with `bytes` of `data`, at least 1, in the place of *buffer (NULL: there is none). Memory that was
 * made with its contents takes no command: most of a test's time would go by in waiting for those. */
qkv_status qkvi_selftest_renew(cl_mem *buffer, const struct qkvi_runtime *rt, const void *data, size_t bytes);

/* The same with `count` floats. */
qkv_status qkvi_selftest_upload(cl_mem *out, const struct qkvi_runtime *rt, const float *data, size_t count);

/* Rounds the values to what F16 and BF16 hold alike, unless dtype is F32, and uploads them as it. */
qkv_status qkvi_selftest_upload_as(cl_mem *out, const struct qkvi_runtime *rt, qkv_dtype dtype, float *data,
                                   size_t count);
/* `count` elements of a buffer as floats. */
qkv_status qkvi_selftest_read_as(float *data, const struct qkvi_runtime *rt, qkv_dtype dtype, cl_mem buffer,
                                 size_t count);

/* What no launch writes, into outputs and scratch memory: one that does nothing leaves it there, not what the same test left
 * in memory that was given again. */
qkv_status qkvi_selftest_poison(cl_mem *buffer, const struct qkvi_runtime *rt, size_t bytes);
qkv_status qkvi_selftest_poison_weights(struct qkvi_linear_weights *weights, const struct qkvi_runtime *rt);

/* Runs on the context's own queue and waits. */
qkv_status qkvi_selftest_run(const struct qkvi_runtime *rt, const struct qkvi_solver *solver, const void *state,
                             const void *run);

/* QKV_SELF_TEST_FAILED where |got - expected| > tolerance * (1 + |expected|), or got is NaN. */
qkv_status qkvi_selftest_compare(const float *got, const double *expected, size_t count, double tolerance,
                                 const char *what);

#endif
