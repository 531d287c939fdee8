#include "plan/selftest.h"

#include <math.h>
#include <stdlib.h>

/* Lengths that reach the decode and the general regime, more than one block of each kind, and their tails. */
#define MAX_Q 35
#define MAX_KV 600
/* What plans for no more keys are tried with: what only longer ones need is then not built. */
#define FEW_KV 256

struct shape {
    size_t seq_q, seq_kv;
    int64_t causal_offset;
};
static const struct shape shapes[] = {
    {1, MAX_KV, INT64_MAX / 2}, /* long enough for a solver that splits the keys */
    {2, 33, 31},
    {MAX_Q, 70, INT64_MAX / 2},
    {MAX_Q, MAX_Q, 0},
};

/* Tried in every regime, not only in the one that the solver chooses. */
#define SHAPE_OF_REGIMES 1

/* Where the plan has terms: all of them at once. A window to the left is taken with what causality leaves. */
static const float slope = 0.05f, sink = 0.5f, softcap = 3.0f;
static const int64_t left = 300;

struct buffers {
    const struct qkvi_attention_problem *like;
    size_t d, dv;
    float *q, *k, *v, *out, *pairs; /* pairs: (query, key), as weights and scores are */
    float lse[MAX_Q];
    double *expected, *expected_scores, *expected_weights, expected_lse[MAX_Q];
    unsigned char seen[MAX_KV]; /* a mask for all queries: 1 everywhere where the plan takes none */
    cl_mem dq, dk, dv_, dout, dlse, dmask, dweights, dscores, dslope, dsink, workspace;
};

/* The position of query 0. */
static int64_t first_position(const struct shape *s) {
    return s->causal_offset < MAX_KV ? s->causal_offset : 7;
}

/* What becomes of a scaled product. */
static double term(const struct buffers *t, const struct shape *s, double x, size_t i, size_t j) {
    const int64_t distance = (int64_t)i + first_position(s) - (int64_t)j;
    if (!t->like->terms) return x;
    if (distance > left) return -INFINITY;
    return (double)softcap * tanh(x / (double)softcap) - (double)slope * fabs((double)distance);
}

/* One head, one query. */
static void reference_row(struct buffers *t, const struct shape *s, size_t i, double scale) {
    double *score = t->expected_scores + i * s->seq_kv, *weight = t->expected_weights + i * s->seq_kv;
    double max = t->like->terms ? (double)sink : -INFINITY, sum = 0;
    for (size_t j = 0; j < s->seq_kv; j++) {
        score[j] = -INFINITY;
        if (!t->seen[j] || (int64_t)j > (int64_t)i + s->causal_offset) continue;
        score[j] = 0;
        for (size_t c = 0; c < t->d; c++)
            score[j] += (double)t->q[i * t->d + c] * t->k[j * t->d + c];
        score[j] = term(t, s, score[j] * scale, i, j);
        if (score[j] > max) max = score[j];
    }
    for (size_t j = 0; j < s->seq_kv; j++)
        sum += weight[j] = exp(score[j] - max);
    if (t->like->terms) sum += exp((double)sink - max);
    for (size_t c = 0; c < t->dv; c++)
        t->expected[i * t->dv + c] = 0;
    for (size_t j = 0; j < s->seq_kv; j++) {
        weight[j] /= sum;
        for (size_t c = 0; weight[j] > 0 && c < t->dv; c++)
            t->expected[i * t->dv + c] += weight[j] * t->v[j * t->dv + c];
    }
    t->expected_lse[i] = max + log(sum);
}

static qkv_status prepare(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_attention_problem *like,
                          size_t workspace_bytes) {
    t->q = malloc(MAX_Q * t->d * sizeof(float));
    t->k = malloc(MAX_KV * t->d * sizeof(float));
    t->v = malloc(MAX_KV * t->dv * sizeof(float));
    t->out = calloc(MAX_Q * t->dv, sizeof(float));
    t->pairs = malloc(MAX_Q * MAX_KV * sizeof(float));
    t->expected = malloc(MAX_Q * t->dv * sizeof(double));
    t->expected_scores = malloc(MAX_Q * MAX_KV * sizeof(double));
    t->expected_weights = malloc(MAX_Q * MAX_KV * sizeof(double));
    if (!t->q || !t->k || !t->v || !t->out || !t->pairs || !t->expected || !t->expected_scores || !t->expected_weights)
        return qkvi_fail_memory("self-test");
    qkvi_selftest_fill(t->q, MAX_Q * t->d, 1);
    qkvi_selftest_fill(t->k, MAX_KV * t->d, 2);
    qkvi_selftest_fill(t->v, MAX_KV * t->dv, 3);
    /* The first key stays, so that no row is empty. */
    for (size_t j = 0; j < MAX_KV; j++)
        t->seen[j] = !like->mask || j % 5 != 3;
    qkv_status status = qkvi_selftest_upload_as(&t->dq, rt, like->q_dtype, t->q, MAX_Q * t->d);
    if (!status) status = qkvi_selftest_upload_as(&t->dk, rt, like->k_dtype, t->k, MAX_KV * t->d);
    if (!status) status = qkvi_selftest_upload_as(&t->dv_, rt, like->v_dtype, t->v, MAX_KV * t->dv);
    if (!status && like->terms) status = qkvi_selftest_upload(&t->dslope, rt, &slope, 1);
    if (!status && like->terms) status = qkvi_selftest_upload(&t->dsink, rt, &sink, 1);
    if (!status) status = qkvi_selftest_upload(&t->dout, rt, t->out, MAX_Q * t->dv);
    if (!status) status = qkvi_selftest_upload(&t->dlse, rt, t->lse, MAX_Q);
    if (!status && like->mask) status = qkvi_buffer_create(&t->dmask, rt, MAX_KV, "self-test");
    if (!status && like->mask) status = qkvi_buffer_write(rt, t->dmask, 0, t->seen, MAX_KV);
    if (!status && like->weights)
        status = qkvi_buffer_create(&t->dweights, rt, MAX_Q * MAX_KV * sizeof(float), "self-test");
    if (!status && like->weights)
        status = qkvi_buffer_create(&t->dscores, rt, MAX_Q * MAX_KV * sizeof(float), "self-test");
    if (!status && workspace_bytes) status = qkvi_buffer_create(&t->workspace, rt, workspace_bytes, "self-test");
    return status;
}

static void release(struct buffers *t) {
    cl_mem all[] = {t->dq,       t->dk,      t->dv_,    t->dout,  t->dlse,     t->dmask,
                    t->dweights, t->dscores, t->dslope, t->dsink, t->workspace};
    for (size_t i = 0; i < QKVI_COUNT(all); i++)
        qkvi_buffer_release(all[i]);
    free(t->q);
    free(t->k);
    free(t->v);
    free(t->out);
    free(t->pairs);
    free(t->expected);
    free(t->expected_scores);
    free(t->expected_weights);
}

static struct qkvi_view4 rows_of(cl_mem buffer, size_t width) {
    return (struct qkvi_view4){.buffer = buffer, .stride = {0, 0, (int64_t)width, 1}};
}

static qkv_status check_pairs(struct buffers *t, const struct qkvi_runtime *rt, cl_mem got, const double *expected,
                              size_t count, const char *what) {
    qkv_status status = qkvi_buffer_read(rt, t->pairs, got, 0, count * sizeof(float));
    return status ? status : qkvi_selftest_compare(t->pairs, expected, count, 1e-4, what);
}

static qkv_status poison(const struct buffers *t, const struct qkvi_runtime *rt) {
    qkv_status status = qkvi_selftest_poison(rt, t->dout, MAX_Q * t->dv * qkv_dtype_size(t->like->out_dtype));
    if (!status) status = qkvi_selftest_poison(rt, t->dlse, MAX_Q * sizeof(float));
    if (!status && t->dweights) status = qkvi_selftest_poison(rt, t->dweights, MAX_Q * MAX_KV * sizeof(float));
    if (!status && t->dscores) status = qkvi_selftest_poison(rt, t->dscores, MAX_Q * MAX_KV * sizeof(float));
    return status;
}

static qkv_status check(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_solver *solver,
                        const void *state, const struct shape *shape, size_t regime) {
    const float scale = 0.3f;
    const size_t pairs = shape->seq_q * shape->seq_kv;
    /* Not with few queries: what does those may not write weights. */
    const bool weights = t->dweights && shape->seq_q > 2;
    const struct qkvi_attention_run run = {
        .batch = 1,
        .seq_q = shape->seq_q,
        .seq_kv = shape->seq_kv,
        .regime = regime,
        .q = rows_of(t->dq, t->d),
        .k = rows_of(t->dk, t->d),
        .v = rows_of(t->dv_, t->dv),
        .out = rows_of(t->dout, t->dv),
        .logsumexp = rows_of(t->dlse, 1),
        .mask = {.buffer = t->dmask, .stride = {0, 0, 0, 1}},
        .mask_kind = t->dmask ? QKVI_MASK_BOOL : QKVI_MASK_NONE,
        .weights = rows_of(weights ? t->dweights : NULL, shape->seq_kv),
        .scores = rows_of(weights ? t->dscores : NULL, shape->seq_kv),
        .mask_keys = shape->seq_kv,
        .scale = scale,
        .causal_offset = shape->causal_offset,
        .terms = {.left = left,
                  .right = shape->causal_offset < MAX_KV ? 0 : QKVI_UNBOUNDED,
                  .query_offset = first_position(shape),
                  .slopes = {.buffer = t->dslope},
                  .sinks = {.buffer = t->dsink},
                  .softcap = softcap},
        .workspace = t->workspace,
    };
    for (size_t i = 0; i < shape->seq_q; i++)
        reference_row(t, shape, i, (double)scale);
    qkv_status status = poison(t, rt);
    if (!status) status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status) status = qkvi_selftest_read_as(t->out, rt, t->like->out_dtype, t->dout, shape->seq_q * t->dv);
    if (!status) status = qkvi_buffer_read(rt, t->lse, t->dlse, 0, shape->seq_q * sizeof(float));
    const qkv_dtype stored = t->like->out_dtype;
    const double tolerance = stored == QKV_F32 ? 1e-4 : stored == QKV_F16 ? 1e-3 : 8e-3;
    if (!status) status = qkvi_selftest_compare(t->out, t->expected, shape->seq_q * t->dv, tolerance, "of out");
    if (!status) status = qkvi_selftest_compare(t->lse, t->expected_lse, shape->seq_q, 1e-4, "of logsumexp");
    if (!status && weights) status = check_pairs(t, rt, t->dweights, t->expected_weights, pairs, "of weights");
    if (!status && weights) status = check_pairs(t, rt, t->dscores, t->expected_scores, pairs, "of scores");
    return status;
}

/* A simulator takes a thousand times as long, and is there to find other faults than wrong sums. */
static struct shape fit(const struct shape *shape, size_t max_seq_kv, bool simulator) {
    struct shape s = *shape;
    if (simulator) s.seq_q = qkvi_div_up(s.seq_q, 8), s.seq_kv = qkvi_div_up(s.seq_kv, 8);
    if (s.seq_kv > max_seq_kv) s.seq_kv = max_seq_kv;
    return s;
}

/* Devices that cut loops short may allow the plan's keys and not the test's. */
static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_solver *solver,
                         const struct qkvi_problem *problem) {
    const qkv_status status = qkvi_plan_applicable(solver, problem, &programs->limits);
    return status ? status : solver->create(state, programs, problem);
}

qkv_status qkvi_selftest_attention(struct qkvi_programs *programs, const struct qkvi_solver *solver,
                                   const struct qkvi_attention_problem *like) {
    struct qkvi_problem problem = {.operation = QKVI_ATTENTION, .u.attention = *like};
    problem.u.attention.num_heads = problem.u.attention.num_kv_heads = problem.u.attention.max_batch = 1;
    problem.u.attention.max_seq_q = MAX_Q;
    problem.u.attention.max_seq_kv = like->max_seq_kv > FEW_KV ? MAX_KV : FEW_KV;
    struct buffers t = {.like = like, .d = like->head_dim, .dv = like->value_dim};
    void *state = NULL;
    size_t workspace = 0;
    qkv_status status = create(&state, programs, solver, &problem);
    if (status == QKV_UNSUPPORTED && like->max_seq_kv < problem.u.attention.max_seq_kv) {
        problem.u.attention.max_seq_kv = like->max_seq_kv;
        status = create(&state, programs, solver, &problem);
    }
    if (!status) status = qkvi_plan_workspace(&workspace, solver, state, &problem);
    if (!status) status = prepare(&t, programs->rt, like, workspace);
    const size_t regimes = !status && solver->regimes ? solver->regimes(state) : 0;
    for (size_t i = 0; !status && i < QKVI_COUNT(shapes); i++) {
        struct shape shape = fit(&shapes[i], problem.u.attention.max_seq_kv, programs->limits.simulator);
        status = check(&t, programs->rt, solver, state, &shape, 0);
        for (size_t regime = 1; !status && i == SHAPE_OF_REGIMES && regime <= regimes; regime++)
            status = check(&t, programs->rt, solver, state, &shape, regime);
    }
    release(&t);
    if (state) solver->destroy(state);
    return status;
}
