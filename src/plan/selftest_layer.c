#include "plan/selftest.h"

#include <math.h>
#include <stdlib.h>

/* Two sequences, more tokens than the widest vectors; two heads on one key head; dims are the problem's. */
#define BATCH 2
#define SEQ 19
#define ROWS (BATCH * SEQ)
#define HEADS 2
#define EMBED 36
#define OUT_DIM 40

enum { Q, K, V, NUM_PROJECTIONS };

struct buffers {
    size_t dim[NUM_PROJECTIONS], features[NUM_PROJECTIONS]; /* of a head, of all */
    float *x, *w[NUM_PROJECTIONS], *wo, *got;
    double *projected[NUM_PROJECTIONS], *heads, *expected;
    cl_mem dx, dw[NUM_PROJECTIONS], dwo, dq[NUM_PROJECTIONS], dheads, dout, workspace;
};

/* y = x W^T, W as (n, k). */
static void multiply(double *y, const double *x, const float *w, size_t n, size_t k) {
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < n; c++) {
            y[r * n + c] = 0;
            for (size_t i = 0; i < k; i++)
                y[r * n + c] += x[r * k + i] * (double)w[c * k + i];
        }
}

/* One query's heads: every row of its sequence is a key. */
static void attend(struct buffers *t, size_t row, size_t head, double scale) {
    const size_t d = t->dim[K], dv = t->dim[V], first = row / SEQ * SEQ;
    const double *q = t->projected[Q] + row * t->features[Q] + head * d;
    double weight[SEQ], max = -INFINITY, sum = 0, *out = t->heads + (row * HEADS + head) * dv;
    for (size_t j = 0; j < SEQ; j++) {
        weight[j] = 0;
        for (size_t i = 0; i < d; i++)
            weight[j] += scale * q[i] * t->projected[K][(first + j) * d + i];
        max = fmax(max, weight[j]);
    }
    for (size_t j = 0; j < SEQ; j++)
        sum += weight[j] = exp(weight[j] - max);
    for (size_t i = 0; i < dv; i++) {
        out[i] = 0;
        for (size_t j = 0; j < SEQ; j++)
            out[i] += weight[j] / sum * t->projected[V][(first + j) * dv + i];
    }
}

static qkv_status reference(struct buffers *t, double scale) {
    double *x = malloc(ROWS * EMBED * sizeof *x);
    if (!x) return qkvi_fail_memory("self-test");
    for (size_t i = 0; i < (size_t)ROWS * EMBED; i++)
        x[i] = (double)t->x[i];
    for (size_t p = 0; p < NUM_PROJECTIONS; p++)
        multiply(t->projected[p], x, t->w[p], t->features[p], EMBED);
    free(x);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t head = 0; head < HEADS; head++)
            attend(t, row, head, scale);
    multiply(t->expected, t->heads, t->wo, OUT_DIM, HEADS * t->dim[V]);
    return QKV_OK;
}

static bool allocate(struct buffers *t) {
    const size_t width = HEADS * t->dim[V];
    bool good = (t->x = malloc(ROWS * EMBED * sizeof(float))) != NULL;
    good = (t->wo = malloc(OUT_DIM * width * sizeof(float))) != NULL && good;
    good = (t->got = calloc(ROWS * OUT_DIM, sizeof(float))) != NULL && good;
    good = (t->heads = malloc(ROWS * width * sizeof(double))) != NULL && good;
    good = (t->expected = malloc(ROWS * OUT_DIM * sizeof(double))) != NULL && good;
    for (size_t p = 0; p < NUM_PROJECTIONS; p++) {
        good = (t->w[p] = malloc(t->features[p] * EMBED * sizeof(float))) != NULL && good;
        good = (t->projected[p] = malloc(ROWS * t->features[p] * sizeof(double))) != NULL && good;
    }
    return good;
}

static qkv_status prepare(struct buffers *t, const struct qkvi_runtime *rt, size_t workspace, double scale) {
    const size_t width = HEADS * t->dim[V];
    if (!allocate(t)) return qkvi_fail_memory("self-test");
    qkvi_selftest_fill(t->x, ROWS * EMBED, 1);
    qkvi_selftest_fill(t->wo, OUT_DIM * width, 2);
    for (size_t p = 0; p < NUM_PROJECTIONS; p++)
        qkvi_selftest_fill(t->w[p], t->features[p] * EMBED, 3 + p);
    qkv_status status = reference(t, scale);
    if (!status) status = qkvi_selftest_upload(&t->dx, rt, t->x, ROWS * EMBED);
    if (!status) status = qkvi_selftest_upload(&t->dwo, rt, t->wo, OUT_DIM * width);
    if (!status) status = qkvi_selftest_upload(&t->dout, rt, t->got, ROWS * OUT_DIM);
    if (!status) status = qkvi_buffer_create(&t->dheads, rt, ROWS * width * sizeof(float), "self-test");
    /* Phases with jobs taken that nobody did. */
    if (!status) status = qkvi_selftest_poison(&t->workspace, rt, workspace);
    for (size_t p = 0; !status && p < NUM_PROJECTIONS; p++) {
        status = qkvi_selftest_upload(&t->dw[p], rt, t->w[p], t->features[p] * EMBED);
        if (!status) status = qkvi_buffer_create(&t->dq[p], rt, ROWS * t->features[p] * sizeof(float), "self-test");
    }
    return status;
}

static void release(struct buffers *t) {
    cl_mem all[] = {t->dx, t->dwo, t->dheads, t->dout, t->workspace};
    for (size_t i = 0; i < QKVI_COUNT(all); i++)
        qkvi_buffer_release(all[i]);
    for (size_t p = 0; p < NUM_PROJECTIONS; p++) {
        qkvi_buffer_release(t->dw[p]);
        qkvi_buffer_release(t->dq[p]);
        free(t->w[p]);
        free(t->projected[p]);
    }
    free(t->x);
    free(t->wo);
    free(t->got);
    free(t->heads);
    free(t->expected);
}

static qkv_status pack(struct qkvi_weights *out, struct qkvi_programs *programs, size_t panel, size_t in_features,
                       const size_t *features, const cl_mem *weights, size_t count) {
    struct qkvi_linear_problem problem = {.in_features = in_features, .num_outputs = count, .max_rows = ROWS};
    struct qkvi_chain chain;
    cl_event done = NULL;
    for (size_t i = 0; i < count; i++)
        problem.out_features[i] = features[i];
    qkv_status status = qkvi_weights_create(out, programs, &problem, panel);
    if (!status) status = qkvi_selftest_poison_weights(&out->packed, programs->rt);
    if (!status) status = qkvi_chain_begin(&chain, NULL, programs->rt->queue, 0, NULL, &done);
    if (status) return status;
    for (size_t i = 0; !status && i < count; i++) {
        status = qkvi_weights_pack(out, &chain, i, weights[i], 0, 1, (int64_t)in_features);
        if (!status) status = qkvi_weights_pack_bias(out, &chain, i, NULL, 0, 0);
    }
    status = qkvi_chain_end(&chain, status);
    return qkvi_runtime_wait(programs->rt, done, status);
}

/* Rows one after the other. */
static struct qkvi_matrix matrix(cl_mem buffer, size_t width) {
    return (struct qkvi_matrix){.buffer = buffer,
                                .row_inner = ROWS,
                                .row_stride = (int64_t)width,
                                .col_inner = (int64_t)width,
                                .col_stride = 1};
}

/* The same as (batch, head, token, dim). */
static struct qkvi_view4 view(cl_mem buffer, size_t width, size_t dim) {
    return (struct qkvi_view4){.buffer = buffer, .stride = {(int64_t)(SEQ * width), (int64_t)dim, (int64_t)width, 1}};
}

static qkv_status check(struct buffers *t, struct qkvi_programs *programs, const struct qkvi_solver *solver,
                        const void *state, float scale, struct qkvi_weights weights[2]) {
    const struct qkvi_runtime *rt = programs->rt;
    const size_t panel = rt->limits.vector_width, width = HEADS * t->dim[V], out_dim = OUT_DIM;
    qkv_status status = pack(&weights[0], programs, panel, EMBED, t->features, t->dw, NUM_PROJECTIONS);
    if (!status) status = pack(&weights[1], programs, panel, width, &out_dim, &t->dwo, 1);
    if (status) return status;
    struct qkvi_linear_run in = {.weights = &weights[0].packed, .rows = ROWS, .x = matrix(t->dx, EMBED)};
    for (size_t p = 0; p < NUM_PROJECTIONS; p++)
        in.outputs[p] = matrix(t->dq[p], t->features[p]);
    const struct qkvi_linear_run out = {.weights = &weights[1].packed,
                                        .rows = ROWS,
                                        .x = matrix(t->dheads, width),
                                        .outputs = {matrix(t->dout, OUT_DIM)}};
    const struct qkvi_attention_run attention = {.batch = BATCH,
                                                 .seq_q = SEQ,
                                                 .seq_kv = SEQ,
                                                 .q = view(t->dq[Q], t->features[Q], t->dim[Q]),
                                                 .k = view(t->dq[K], t->features[K], t->dim[K]),
                                                 .v = view(t->dq[V], t->features[V], t->dim[V]),
                                                 .out = view(t->dheads, width, t->dim[V]),
                                                 .scale = scale};
    const struct qkvi_layer_run run = {.in = &in, .out = &out, .attention = &attention, .workspace = t->workspace};
    status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status) status = qkvi_buffer_read(rt, t->got, t->dout, 0, ROWS * OUT_DIM * sizeof(float));
    return status ? status : qkvi_selftest_compare(t->got, t->expected, ROWS * OUT_DIM, 1e-4, "of a layer");
}

qkv_status qkvi_selftest_layer(struct qkvi_programs *programs, const struct qkvi_solver *solver,
                               const struct qkvi_layer_problem *like) {
    const struct qkvi_problem problem = {.operation = QKVI_LAYER,
                                         .u.layer = {.in_features = EMBED,
                                                     .head_dim = like->head_dim,
                                                     .value_dim = like->value_dim,
                                                     .num_heads = HEADS,
                                                     .num_kv_heads = 1}};
    struct buffers t = {.dim = {like->head_dim, like->head_dim, like->value_dim},
                        .features = {HEADS * like->head_dim, like->head_dim, like->value_dim}};
    /* Scores of size 1: long rows of values below 1 would leave softmax one key. */
    const float scale = (float)(3.0 / ((double)EMBED * sqrt((double)like->head_dim)));
    struct qkvi_weights weights[2] = {0};
    void *state = NULL;
    size_t workspace = 0;
    qkv_status status = solver->create(&state, programs, &problem);
    if (!status) status = qkvi_plan_workspace(&workspace, solver, state, &problem);
    if (!status) status = prepare(&t, programs->rt, workspace, (double)scale);
    if (!status) status = check(&t, programs, solver, state, scale, weights);
    qkvi_weights_destroy(&weights[0]);
    qkvi_weights_destroy(&weights[1]);
    release(&t);
    if (state) solver->destroy(state);
    return status;
}
