#include "plan/selftest.h"

#include <stdlib.h>

/* Two fused outputs, neither a whole panel; the row counts and the number of panels of any width reach the tails of every
 * regime, each of which does a whole block of any solver's besides. */
#define K 37
#define N0 21
#define N1 77
#define MAX_ROWS 131
/* A simulator takes a thousand times as long, and is there to find other faults than wrong sums. */
#define FEW_ROWS 41
#define FEW_STEPS 9

static const size_t row_counts[] = {1, 2, 3, 5, 9, 17, FEW_ROWS};

struct buffers {
    float x[MAX_ROWS * K], w0[N0 * K], w1[N1 * K], b1[N1], y0[MAX_ROWS * N0], y1[MAX_ROWS * N1];
    double e0[MAX_ROWS * N0], e1[MAX_ROWS * N1];
    cl_mem dx, dw0, dw1, db1, dy0, dy1;
};

static void reference(double *y, const float *x, const float *w, const float *b, size_t n, size_t steps) {
    for (size_t r = 0; r < MAX_ROWS; r++)
        for (size_t c = 0; c < n; c++)
            y[r * n + c] = (b ? (double)b[c] : 0) + qkvi_selftest_dot(x + r * K, w + c * K, steps);
}

static qkv_status prepare(struct buffers *t, const struct qkvi_runtime *rt) {
    qkvi_selftest_fill(t->x, QKVI_COUNT(t->x), 1);
    qkvi_selftest_fill(t->w0, QKVI_COUNT(t->w0), 2);
    qkvi_selftest_fill(t->w1, QKVI_COUNT(t->w1), 3);
    qkvi_selftest_fill(t->b1, QKVI_COUNT(t->b1), 4);
    reference(t->e0, t->x, t->w0, NULL, N0, K);
    reference(t->e1, t->x, t->w1, t->b1, N1, K);
    qkv_status status = qkvi_selftest_upload(&t->dx, rt, t->x, QKVI_COUNT(t->x));
    if (!status) status = qkvi_selftest_upload(&t->dw0, rt, t->w0, QKVI_COUNT(t->w0));
    if (!status) status = qkvi_selftest_upload(&t->dw1, rt, t->w1, QKVI_COUNT(t->w1));
    return status ? status : qkvi_selftest_upload(&t->db1, rt, t->b1, QKVI_COUNT(t->b1));
}

static void release(struct buffers *t) {
    cl_mem all[] = {t->dx, t->dw0, t->dw1, t->db1, t->dy0, t->dy1};
    for (size_t i = 0; i < QKVI_COUNT(all); i++)
        qkvi_buffer_release(all[i]);
    free(t);
}

static qkv_status pack(const struct buffers *t, const struct qkvi_runtime *rt, struct qkvi_weights *weights) {
    struct qkvi_chain chain;
    cl_event done = NULL;
    qkv_status status = qkvi_selftest_poison_weights(&weights->packed, rt);
    if (!status) status = qkvi_chain_begin(&chain, NULL, rt->queue, 0, NULL, &done);
    if (status) return status;
    status = qkvi_weights_pack(weights, &chain, 0, t->dw0, 0, 1, K);
    if (!status) status = qkvi_weights_pack_bias(weights, &chain, 0, NULL, 0, 0);
    if (!status) status = qkvi_weights_pack(weights, &chain, 1, t->dw1, 0, 1, K);
    if (!status) status = qkvi_weights_pack_bias(weights, &chain, 1, t->db1, 0, 1);
    status = qkvi_chain_end(&chain, status);
    return qkvi_runtime_wait(rt, done, status);
}

static struct qkvi_matrix matrix(cl_mem buffer, size_t rows, size_t cols) {
    return (struct qkvi_matrix){.buffer = buffer,
                                .row_inner = (int64_t)rows,
                                .row_stride = (int64_t)cols,
                                .col_inner = (int64_t)cols,
                                .col_stride = 1};
}

static qkv_status check_rows(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_solver *solver,
                             const void *state, const struct qkvi_weights *weights, size_t rows, size_t regime) {
    struct qkvi_linear_run run = {
        .weights = &weights->packed, .rows = rows, .regime = regime, .x = matrix(t->dx, rows, K)};
    qkv_status status = qkvi_selftest_poison(&t->dy0, rt, rows * N0 * sizeof(float));
    if (!status) status = qkvi_selftest_poison(&t->dy1, rt, rows * N1 * sizeof(float));
    run.outputs[0] = matrix(t->dy0, rows, N0);
    run.outputs[1] = matrix(t->dy1, rows, N1);
    if (!status) status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status) status = qkvi_buffer_read(rt, t->y0, t->dy0, 0, rows * N0 * sizeof(float));
    if (!status) status = qkvi_buffer_read(rt, t->y1, t->dy1, 0, rows * N1 * sizeof(float));
    if (!status) status = qkvi_selftest_compare(t->y0, t->e0, rows * N0, 1e-5, "of the first output");
    if (!status) status = qkvi_selftest_compare(t->y1, t->e1, rows * N1, 1e-5, "of the second output");
    return status;
}

/* The first output by the largest regime, over a part of K: as little as a simulator can be given of it. */
static qkv_status check_part(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_solver *solver,
                             const void *state, const struct qkvi_weights *weights, size_t regime) {
    struct qkvi_linear_weights part = weights->packed;
    part.num_outputs = 1;
    part.num_panels = qkvi_div_up(N0, part.panel);
    part.in_features = part.num_panels == 1 ? FEW_STEPS : K;
    struct qkvi_linear_run run = {
        .weights = &part, .rows = FEW_ROWS, .regime = regime, .x = matrix(t->dx, FEW_ROWS, K)};
    reference(t->e0, t->x, t->w0, NULL, N0, part.in_features);
    qkv_status status = qkvi_selftest_poison(&t->dy0, rt, FEW_ROWS * N0 * sizeof(float));
    run.outputs[0] = matrix(t->dy0, FEW_ROWS, N0);
    if (!status) status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status) status = qkvi_buffer_read(rt, t->y0, t->dy0, 0, FEW_ROWS * N0 * sizeof(float));
    return status ? status : qkvi_selftest_compare(t->y0, t->e0, FEW_ROWS * N0, 1e-5, "of a part of the first output");
}

qkv_status qkvi_selftest_linear(struct qkvi_programs *programs, const struct qkvi_solver *solver) {
    const struct qkvi_problem problem = {
        .operation = QKVI_LINEAR,
        .u.linear = {.in_features = K, .num_outputs = 2, .out_features = {N0, N1}, .max_rows = MAX_ROWS},
    };
    struct buffers *t = calloc(1, sizeof *t);
    if (!t) return qkvi_fail_memory("self-test");
    struct qkvi_weights weights = {0};
    void *state = NULL;
    qkv_status status = prepare(t, programs->rt);
    if (!status) status = solver->create(&state, programs, &problem);
    if (!status) status = qkvi_weights_create(&weights, programs, &problem.u.linear, solver->panel(state));
    if (!status) status = pack(t, programs->rt, &weights);
    for (size_t i = 0; !status && i < QKVI_COUNT(row_counts); i++)
        status = check_rows(t, programs->rt, solver, state, &weights, row_counts[i], 0);
    const size_t regimes = !status && solver->regimes ? solver->regimes(state) : 0;
    const bool simulator = programs->limits.simulator;
    for (size_t regime = 1; !status && !simulator && regime <= regimes; regime++)
        status = check_rows(t, programs->rt, solver, state, &weights, MAX_ROWS, regime);
    if (!status && simulator && regimes) status = check_part(t, programs->rt, solver, state, &weights, regimes);
    qkvi_weights_destroy(&weights);
    if (state) solver->destroy(state);
    release(t);
    return status;
}
