#include "plan/selftest.h"

#include <math.h>
#include <stdlib.h>

/* Whole vectors, a part of one and single features of both what turns and what passes through; positions on both sides
 * of a border between the table's blocks. */
#define HEAD_DIM 53
#define ROTARY_DIM 42
#define PAIRS (ROTARY_DIM / 2)
#define HEADS 2
#define SEQ 6
#define FIRST 29
#define COUNT (HEADS * SEQ * HEAD_DIM)

struct buffers {
    float x[COUNT], out[COUNT];
    double frequencies[PAIRS], expected[COUNT], original[COUNT];
    cl_mem dx, dout, dstored;
    struct qkvi_rotary_table table;
};

static void reference(struct buffers *t, bool interleaved) {
    for (size_t line = 0; line < HEADS * SEQ; line++) {
        const float *x = t->x + line * HEAD_DIM;
        double *y = t->expected + line * HEAD_DIM, position = (double)(FIRST + line % SEQ);
        for (size_t d = ROTARY_DIM; d < HEAD_DIM; d++)
            y[d] = (double)x[d];
        for (size_t p = 0; p < PAIRS; p++) {
            const size_t i = interleaved ? 2 * p : p, j = interleaved ? i + 1 : p + PAIRS;
            const double c = cos(position * t->frequencies[p]), s = sin(position * t->frequencies[p]);
            y[i] = (double)x[i] * c - (double)x[j] * s;
            y[j] = (double)x[j] * c + (double)x[i] * s;
        }
    }
}

static qkv_status prepare(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_rotary_problem *problem) {
    qkvi_selftest_fill(t->x, COUNT, 1);
    for (size_t i = 0; i < COUNT; i++)
        t->original[i] = (double)t->x[i];
    for (size_t p = 0; p < PAIRS; p++)
        t->frequencies[p] = pow(100, -2.0 * (double)p / ROTARY_DIM);
    qkv_status status = qkvi_selftest_upload(&t->dx, rt, t->x, COUNT);
    if (!status) status = qkvi_rotary_table_create(&t->table, rt, problem, t->frequencies, 1, FIRST + SEQ);
    return status;
}

static void release(struct buffers *t) {
    qkvi_buffer_release(t->dx);
    qkvi_buffer_release(t->dout);
    qkvi_buffer_release(t->dstored);
    qkvi_rotary_table_destroy(&t->table);
    free(t);
}

static struct qkvi_view4 dense(cl_mem buffer) {
    return (struct qkvi_view4){.buffer = buffer, .stride = {0, SEQ * HEAD_DIM, HEAD_DIM, 1}};
}

/* There as floats, which are compared; there in a storage dtype and back from it, which gives x again. */
static qkv_status check_storage(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_solver *solver,
                                const void *state, qkv_dtype dtype, double tolerance) {
    qkv_status status = qkvi_selftest_poison(&t->dstored, rt, sizeof t->out);
    if (!status) status = qkvi_selftest_poison(&t->dout, rt, sizeof t->out);
    if (status) return status;
    struct qkvi_rotary_run run = {
        .batch = 1,
        .num_heads = HEADS,
        .seq = SEQ,
        .x = dense(t->dx),
        .out = dense(t->dstored),
        .x_dtype = QKV_F32,
        .out_dtype = dtype,
        .first_position = FIRST,
        .table = &t->table,
        .num_rows = FIRST + SEQ,
    };
    status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status && dtype == QKV_F32) {
        status = qkvi_buffer_read(rt, t->out, t->dstored, 0, sizeof t->out);
        if (!status) status = qkvi_selftest_compare(t->out, t->expected, COUNT, tolerance, "of what is turned");
    }
    run.x = run.out, run.x_dtype = dtype;
    run.out = dense(t->dout), run.out_dtype = QKV_F32;
    run.inverse = true;
    if (!status) status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status) status = qkvi_buffer_read(rt, t->out, t->dout, 0, sizeof t->out);
    if (!status) status = qkvi_selftest_compare(t->out, t->original, COUNT, tolerance, "of what is turned and back");
    return status;
}

static qkv_status check(struct qkvi_programs *programs, const struct qkvi_solver *solver, bool interleaved) {
    const struct qkvi_problem problem = {
        .operation = QKVI_ROTARY,
        .u.rotary = {.head_dim = HEAD_DIM, .rotary_dim = ROTARY_DIM, .interleaved = interleaved},
    };
    struct buffers *t = calloc(1, sizeof *t);
    if (!t) return qkvi_fail_memory("self-test");
    void *state = NULL;
    qkv_status status = prepare(t, programs->rt, &problem.u.rotary);
    if (!status) status = solver->create(&state, programs, &problem);
    reference(t, interleaved);
    if (!status) status = check_storage(t, programs->rt, solver, state, QKV_F32, 1e-5);
    if (!status) status = check_storage(t, programs->rt, solver, state, QKV_F16, 0x1p-9);
    if (!status) status = check_storage(t, programs->rt, solver, state, QKV_BF16, 0x1p-6);
    if (state) solver->destroy(state);
    release(t);
    return status;
}

qkv_status qkvi_selftest_rotary(struct qkvi_programs *programs, const struct qkvi_solver *solver) {
    qkv_status status = check(programs, solver, false);
    return status ? status : check(programs, solver, true);
}
