#include "plan/selftest.h"

#include <math.h>
#include <stdlib.h>

/* More queries and keys than a vector solver's tile, and tails of both. */
#define SEQ_Q 70
#define SEQ_KV 75
#define PAIRS (SEQ_Q * SEQ_KV)
#define MOST_TOP 64

/* Where the plan has terms: all that bear on a score at once. */
static const float slope = 0.05f, softcap = 3.0f, scale = 0.3f;
#define LEFT 30

struct buffers {
    const struct qkvi_attention_problem *like;
    size_t d, seq_q, seq_kv;
    int64_t left;
    float *q, *k, lse[SEQ_Q], got[PAIRS];
    double stage[3][PAIRS], weight[PAIRS], received[SEQ_KV];
    int32_t keys[SEQ_Q * MOST_TOP];
    float top[SEQ_Q * MOST_TOP];
    unsigned char seen[SEQ_KV]; /* a mask for all queries: 1 everywhere where the plan takes none */
    cl_mem dq, dk, dlse, dmask, dslope, dscores, dweights, dreceived, dkeys, dtop;
};

static bool is_seen(const struct buffers *t, size_t i, size_t j) {
    const int64_t distance = (int64_t)i - (int64_t)j;
    return t->seen[j] && (!t->like->terms || (distance >= 0 && distance <= t->left));
}

static void reference_row(struct buffers *t, size_t i) {
    double sum = 0;
    for (size_t j = 0; j < t->seq_kv; j++) {
        const size_t at = i * t->seq_kv + j;
        double x = (double)scale * qkvi_selftest_dot(t->q + i * t->d, t->k + j * t->d, t->d);
        t->stage[QKV_SCORES_RAW][at] = x;
        if (t->like->terms) x = (double)softcap * tanh(x / (double)softcap);
        t->stage[QKV_SCORES_CAPPED][at] = x;
        if (t->like->terms) x -= (double)slope * fabs((double)i - (double)j);
        t->stage[QKV_SCORES_MASKED][at] = is_seen(t, i, j) ? x : -INFINITY;
        sum += exp(t->stage[QKV_SCORES_MASKED][at]);
    }
    t->lse[i] = (float)log(sum);
    for (size_t j = 0; j < t->seq_kv; j++) {
        t->weight[i * t->seq_kv + j] = exp(t->stage[QKV_SCORES_MASKED][i * t->seq_kv + j] - log(sum));
        t->received[j] += t->weight[i * t->seq_kv + j];
    }
}

static qkv_status prepare(struct buffers *t, const struct qkvi_runtime *rt) {
    t->q = malloc(SEQ_Q * t->d * sizeof(float));
    t->k = malloc(SEQ_KV * t->d * sizeof(float));
    if (!t->q || !t->k) return qkvi_fail_memory("self-test");
    qkvi_selftest_fill(t->q, SEQ_Q * t->d, 1);
    qkvi_selftest_fill(t->k, SEQ_KV * t->d, 2);
    for (size_t j = 0; j < SEQ_KV; j++)
        t->seen[j] = !t->like->mask || j % 5 != 3;
    qkv_status status = qkvi_selftest_upload_as(&t->dq, rt, t->like->q_dtype, t->q, SEQ_Q * t->d);
    if (!status) status = qkvi_selftest_upload_as(&t->dk, rt, t->like->k_dtype, t->k, SEQ_KV * t->d);
    for (size_t i = 0; i < t->seq_q; i++)
        reference_row(t, i);
    if (!status) status = qkvi_selftest_upload(&t->dlse, rt, t->lse, SEQ_Q);
    if (!status && t->like->terms) status = qkvi_selftest_upload(&t->dslope, rt, &slope, 1);
    if (!status && t->like->mask) status = qkvi_selftest_renew(&t->dmask, rt, t->seen, SEQ_KV);
    return status;
}

static qkv_status poison(struct buffers *t, const struct qkvi_runtime *rt) {
    cl_mem *const outputs[] = {&t->dscores, &t->dweights, &t->dreceived, &t->dkeys, &t->dtop};
    qkv_status status = QKV_OK;
    for (size_t i = 0; !status && i < QKVI_COUNT(outputs); i++)
        status = qkvi_selftest_poison(outputs[i], rt, SEQ_Q * SEQ_KV * sizeof(float));
    return status;
}

static void release(struct buffers *t) {
    cl_mem all[] = {t->dq,      t->dk,       t->dlse,      t->dmask, t->dslope,
                    t->dscores, t->dweights, t->dreceived, t->dkeys, t->dtop};
    for (size_t i = 0; i < QKVI_COUNT(all); i++)
        qkvi_buffer_release(all[i]);
    free(t->q);
    free(t->k);
    free(t);
}

static struct qkvi_view4 rows_of(cl_mem buffer, size_t width) {
    return (struct qkvi_view4){.buffer = buffer, .stride = {0, 0, (int64_t)width, 1}};
}

/* Falling weights, each of which its key has, and none that is left out larger: ties leave the keys open. */
static qkv_status check_row(const struct buffers *t, size_t i, size_t n) {
    const double *weight = t->weight + i * t->seq_kv;
    double sum = 0, above = 0;
    size_t better = 0;
    for (size_t r = 0; r < n; r++) {
        const int32_t key = t->keys[i * n + r];
        const double top = (double)t->top[i * n + r], last = r ? (double)t->top[i * n + r - 1] : 1.1;
        const bool fits = key < 0 ? key == -1 && top == 0
                                  : (size_t)key < t->seq_kv && is_seen(t, i, (size_t)key) &&
                                        fabs(top - weight[key]) <= 1e-4 && top <= last;
        if (!fits)
            return qkvi_fail(QKV_SELF_TEST_FAILED, "self-test of top keys: rank %zu of query %zu is key %d, weight %g",
                             r, i, (int)key, top);
        sum += top;
    }
    for (size_t j = 0; j < t->seq_kv; j++)
        if (weight[j] > (double)t->top[i * n + n - 1] + 1e-4) better++, above += weight[j];
    if (better > n || above > sum + 1e-3)
        return qkvi_fail(QKV_SELF_TEST_FAILED, "self-test of top keys: query %zu lacks one of the %zu best", i, n);
    return QKV_OK;
}

static qkv_status check_top(struct buffers *t, const struct qkvi_runtime *rt, size_t n) {
    qkv_status status = qkvi_buffer_read(rt, t->keys, t->dkeys, 0, t->seq_q * n * sizeof(int32_t));
    if (!status) status = qkvi_buffer_read(rt, t->top, t->dtop, 0, t->seq_q * n * sizeof(float));
    for (size_t i = 0; !status && i < t->seq_q; i++)
        status = check_row(t, i, n);
    return status;
}

static qkv_status check_pairs(struct buffers *t, const struct qkvi_runtime *rt, cl_mem buffer, const double *expected,
                              const char *what) {
    const qkv_dtype stored = t->like->report_dtype;
    const double tolerance = stored == QKV_F32 ? 1e-4 : stored == QKV_F16 ? 1e-3 : 8e-3;
    qkv_status status = qkvi_selftest_read_as(t->got, rt, stored, buffer, t->seq_q * t->seq_kv);
    return status ? status : qkvi_selftest_compare(t->got, expected, t->seq_q * t->seq_kv, tolerance, what);
}

static qkv_status check(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_solver *solver,
                        const void *state, qkv_scores_stage stage, size_t n) {
    qkv_status status = poison(t, rt);
    if (status) return status;
    const struct qkvi_attention_run run = {
        .batch = 1,
        .seq_q = t->seq_q,
        .seq_kv = t->seq_kv,
        .q = rows_of(t->dq, t->d),
        .k = rows_of(t->dk, t->d),
        .v = rows_of(t->dk, t->d),
        .out = rows_of(t->dtop, 1), /* never touched, but no NULL may be passed on */
        .logsumexp = rows_of(t->dlse, 1),
        .mask = {.buffer = t->dmask, .stride = {0, 0, 0, 1}},
        .mask_kind = t->dmask ? QKVI_MASK_BOOL : QKVI_MASK_NONE,
        .mask_keys = t->seq_kv,
        .scale = scale,
        .causal_offset = t->like->terms ? 0 : INT64_MAX / 2,
        .terms = {.left = t->left, .right = 0, .slopes = {.buffer = t->dslope}, .softcap = softcap},
        .reports = {.wanted = true,
                    .stage = stage,
                    .scores = rows_of(t->dscores, t->seq_kv),
                    .weights = rows_of(t->dweights, t->seq_kv),
                    .received = {.buffer = t->dreceived, .stride = {0, 0, 1, 0}},
                    .top_keys = rows_of(t->dkeys, n),
                    .top_weights = rows_of(t->dtop, n),
                    .top = n},
    };
    status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status) status = check_pairs(t, rt, t->dscores, t->stage[stage], "of reported scores");
    if (!status) status = check_pairs(t, rt, t->dweights, t->weight, "of reported weights");
    if (!status) status = qkvi_buffer_read(rt, t->got, t->dreceived, 0, t->seq_kv * sizeof(float));
    if (!status) status = qkvi_selftest_compare(t->got, t->received, t->seq_kv, 1e-4, "of received weights");
    return status ? status : check_top(t, rt, n);
}

qkv_status qkvi_selftest_report(struct qkvi_programs *programs, const struct qkvi_solver *solver,
                                const struct qkvi_attention_problem *like) {
    struct qkvi_problem problem = {.operation = QKVI_REPORT, .u.attention = *like};
    struct buffers *t = calloc(1, sizeof *t);
    if (!t) return qkvi_fail_memory("self-test");
    /* A simulator takes a thousand times as long, and is there to find other faults than wrong sums. */
    const size_t part = programs->limits.simulator ? 4 : solver->independent ? 3 : 1;
    problem.u.attention.num_heads = problem.u.attention.num_kv_heads = problem.u.attention.max_batch = 1;
    problem.u.attention.max_seq_q = t->seq_q = SEQ_Q / part;
    problem.u.attention.max_seq_kv = t->seq_kv = SEQ_KV / part;
    t->left = (int64_t)(LEFT / part);
    t->like = like;
    t->d = like->head_dim;
    void *state = NULL;
    qkv_status status = prepare(t, programs->rt);
    if (!status) status = solver->create(&state, programs, &problem);
    if (!status) status = check(t, programs->rt, solver, state, QKV_SCORES_RAW, 3);
    if (!status) status = check(t, programs->rt, solver, state, QKV_SCORES_CAPPED, 1);
    if (!status) status = check(t, programs->rt, solver, state, QKV_SCORES_MASKED, MOST_TOP);
    release(t);
    if (state) solver->destroy(state);
    return status;
}
