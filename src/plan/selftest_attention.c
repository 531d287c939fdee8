#include "plan/selftest.h"

#include <math.h>
#include <stdlib.h>

/* Lengths that reach the decode and the general regime, more than one block of each kind, and their tails. */
#define MAX_Q 35
#define MAX_KV 300
/* What plans for no more keys are tried with: what only longer ones need is then not built. */
#define FEW_KV 256
#define MAX_BATCH 2
#define MAX_HEADS 4
/* Batches, heads and rows of one shape: of their outputs, and of pairs of these with keys. */
#define MOST_ROWS (MAX_HEADS * MAX_Q)
#define MOST_PAIRS (MOST_ROWS * MAX_Q)

struct shape {
    size_t batch, seq_q, seq_kv;
    bool causal, pairs; /* pairs: with weights and scores, where the plan has them */
    /* In the regime that the solver chooses, and then in each, the additive masks are of these dtypes; 0: a boolean one. */
    qkv_dtype mask[3];
    size_t regimes;
    /* Of plans with terms; lengths and offsets: 0 for none. */
    int64_t left, right, offset;
    qkv_dtype lengths, offsets;
    bool from_end;
};
static const struct shape shapes[] = {
    /* Long enough for a solver that splits the keys. */
    {.batch = 1, .seq_q = 1, .seq_kv = MAX_KV, .left = 300, .right = QKVI_UNBOUNDED, .offset = 7},
    {.batch = MAX_BATCH,
     .seq_q = 2,
     .seq_kv = 140,
     .mask = {QKV_F16, QKV_F32, QKV_BF16},
     .regimes = 2,
     .left = 90,
     .right = 3,
     .offset = 80,
     .lengths = QKV_I32,
     .offsets = QKV_I64},
    {.batch = 1,
     .seq_q = 17,
     .seq_kv = 40,
     .pairs = true,
     .left = 25,
     .right = QKVI_UNBOUNDED,
     .lengths = QKV_I64,
     .from_end = true},
    {.batch = 1,
     .seq_q = MAX_Q,
     .seq_kv = MAX_Q,
     .causal = true,
     .pairs = true,
     .mask = {QKV_BF16},
     .left = 20,
     .offsets = QKV_I32},
};

/* Inputs begin at row 1; those of the next batch and head, and the next query's mask, lie so many rows further on, on top of
 * each other: what one head reads no other one does, and there are no more values to make than for one. */
enum { FIRST = 1, Q_BATCH = 7, Q_HEAD = 3, KV_BATCH = 5, KV_HEAD = 11, MORE_ROWS = 20, MASK_HEAD = 2, MASK_QUERY = 3 };
#define MASK_VALUES (MAX_KV + MAX_Q * MASK_QUERY)

static const float scale = 0.3f, softcap = 3.0f;
static const float slopes[MAX_HEADS] = {0.05f, 0.03f, 0.02f, 0.01f}, sinks[MAX_HEADS] = {0.5f, 1.0f, -0.5f, 0.0f};

/* One trial's inputs and outputs on the host and the device. */
struct buffers {
    const struct qkvi_attention_problem *like;
    size_t d, dv, heads, group;     /* heads of a key head */
    float *q, *k, *v, *out, *pairs; /* pairs: (batch, head, query, key), as weights and scores are */
    float lse[MOST_ROWS], additive[MASK_VALUES];
    double *expected, *expected_scores, *expected_weights, expected_lse[MOST_ROWS];
    unsigned char seen[MASK_VALUES];
    int64_t lengths[MAX_BATCH], offsets[MAX_BATCH];
    cl_mem dq, dk, dv_, dout, dlse, dseen, dadditive[3], dweights, dscores, dslopes, dsinks, dlengths, doffsets;
    cl_mem workspace;
    size_t workspace_bytes;
};

/* One shape in one regime. */
struct trial {
    const struct shape *shape;
    size_t regime;
    qkv_dtype mask; /* 0: boolean */
    size_t mask_keys;
};

static bool is_additive(qkv_dtype mask) {
    return mask != 0;
}

/* A scaled product, with what mask and terms make of it: -inf where they exclude it. */
static double score_of(const struct buffers *t, const struct trial *trial, double x, size_t b, size_t h, size_t i,
                       size_t j) {
    const struct shape *s = trial->shape;
    const size_t at = FIRST + h * MASK_HEAD + i * MASK_QUERY + j;
    const int64_t end = t->like->terms && s->lengths ? t->lengths[b] : (int64_t)s->seq_kv;
    const int64_t first = (s->from_end ? end - (int64_t)s->seq_q : s->offset) + (s->offsets ? t->offsets[b] : 0);
    const int64_t distance = first + (int64_t)i - (int64_t)j;
    if (t->like->mask && (j >= trial->mask_keys || (!is_additive(trial->mask) && !t->seen[at]))) return -INFINITY;
    if (!t->like->terms && s->causal && j > i) return -INFINITY;
    if (t->like->terms && ((int64_t)j >= end || distance > s->left || -distance > s->right)) return -INFINITY;
    if (t->like->terms) x = (double)softcap * tanh(x / (double)softcap) - (double)slopes[h] * fabs((double)distance);
    return t->like->mask && is_additive(trial->mask) ? x + (double)t->additive[at] : x;
}

/* One query of one head. */
static void reference_row(struct buffers *t, const struct trial *trial, size_t b, size_t h, size_t i) {
    const struct shape *s = trial->shape;
    const size_t row = (b * t->heads + h) * s->seq_q + i, first = FIRST + b * KV_BATCH + h / t->group * KV_HEAD;
    const float *q = t->q + (FIRST + b * Q_BATCH + h * Q_HEAD + i) * t->d;
    const float *k = t->k + first * t->d, *v = t->v + first * t->dv;
    double *score = t->expected_scores + row * s->seq_kv, *weight = t->expected_weights + row * s->seq_kv;
    double *out = t->expected + row * t->dv, max = t->like->terms ? (double)sinks[h] : -INFINITY, sum = 0;
    for (size_t j = 0; j < s->seq_kv; j++) {
        const double x = (double)scale * qkvi_selftest_dot(q, k + j * t->d, t->d);
        score[j] = score_of(t, trial, x, b, h, i, j);
        if (score[j] > max) max = score[j];
    }
    for (size_t j = 0; j < s->seq_kv; j++)
        sum += weight[j] = exp(score[j] - max);
    if (t->like->terms) sum += exp((double)sinks[h] - max);
    for (size_t c = 0; c < t->dv; c++)
        out[c] = 0;
    for (size_t j = 0; j < s->seq_kv; j++) {
        weight[j] /= sum;
        for (size_t c = 0; weight[j] > 0 && c < t->dv; c++)
            out[c] += weight[j] * (double)v[j * t->dv + c];
    }
    t->expected_lse[row] = max + log(sum);
}

static void reference(struct buffers *t, const struct trial *trial) {
    for (size_t b = 0; b < trial->shape->batch; b++)
        for (size_t h = 0; h < t->heads; h++)
            for (size_t i = 0; i < trial->shape->seq_q; i++)
                reference_row(t, trial, b, h, i);
}

static bool allocate(struct buffers *t) {
    t->q = malloc((MAX_Q + MORE_ROWS) * t->d * sizeof(float));
    t->k = malloc((MAX_KV + MORE_ROWS) * t->d * sizeof(float));
    t->v = malloc((MAX_KV + MORE_ROWS) * t->dv * sizeof(float));
    t->out = malloc((FIRST + MOST_ROWS) * t->dv * sizeof(float));
    t->pairs = malloc(MOST_PAIRS * sizeof(float));
    t->expected = malloc(MOST_ROWS * t->dv * sizeof(double));
    t->expected_scores = malloc(MOST_PAIRS * sizeof(double));
    t->expected_weights = malloc(MOST_PAIRS * sizeof(double));
    return t->q && t->k && t->v && t->out && t->pairs && t->expected && t->expected_scores && t->expected_weights;
}

static qkv_status prepare_masks(struct buffers *t, const struct qkvi_runtime *rt) {
    static const qkv_dtype dtypes[] = {QKV_F16, QKV_BF16, QKV_F32}; /* the first rounds for all */
    /* The first keys stay, so that no row is empty. */
    for (size_t j = 0; j < MASK_VALUES; j++)
        t->seen[j] = j % 5 != 3;
    qkvi_selftest_fill(t->additive, MASK_VALUES, 4);
    qkv_status status = qkvi_selftest_renew(&t->dseen, rt, t->seen, MASK_VALUES);
    for (size_t i = 0; !status && i < QKVI_COUNT(dtypes); i++)
        status = qkvi_selftest_upload_as(&t->dadditive[i], rt, dtypes[i], t->additive, MASK_VALUES);
    return status;
}

static qkv_status prepare_terms(struct buffers *t, const struct qkvi_runtime *rt) {
    qkv_status status = qkvi_selftest_upload(&t->dslopes, rt, slopes, MAX_HEADS);
    return status ? status : qkvi_selftest_upload(&t->dsinks, rt, sinks, MAX_HEADS);
}

static qkv_status prepare(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_attention_problem *like) {
    if (!allocate(t)) return qkvi_fail_memory("self-test");
    const size_t num_q = (MAX_Q + MORE_ROWS) * t->d, num_k = (MAX_KV + MORE_ROWS) * t->d;
    const size_t num_v = (MAX_KV + MORE_ROWS) * t->dv;
    qkvi_selftest_fill(t->q, num_q, 1);
    qkvi_selftest_fill(t->k, num_k, 2);
    qkvi_selftest_fill(t->v, num_v, 3);
    qkv_status status = qkvi_selftest_upload_as(&t->dq, rt, like->q_dtype, t->q, num_q);
    if (!status) status = qkvi_selftest_upload_as(&t->dk, rt, like->k_dtype, t->k, num_k);
    if (!status) status = qkvi_selftest_upload_as(&t->dv_, rt, like->v_dtype, t->v, num_v);
    if (!status && like->mask) status = prepare_masks(t, rt);
    if (!status && like->terms) status = prepare_terms(t, rt);
    return status;
}

static void release(struct buffers *t) {
    cl_mem all[] = {t->dq,           t->dk,           t->dv_,          t->dout,     t->dlse,    t->dseen,
                    t->dadditive[0], t->dadditive[1], t->dadditive[2], t->dweights, t->dscores, t->dslopes,
                    t->dsinks,       t->dlengths,     t->doffsets,     t->workspace};
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

/* One of a batch, behind another one. */
static qkv_status upload_integers(cl_mem *out, const struct qkvi_runtime *rt, qkv_dtype dtype, const int64_t *values) {
    int32_t narrow[FIRST + MAX_BATCH] = {-1};
    int64_t wide[FIRST + MAX_BATCH] = {-1};
    for (size_t i = 0; i < MAX_BATCH; i++)
        narrow[FIRST + i] = (int32_t)(wide[FIRST + i] = values[i]);
    return dtype == QKV_I64 ? qkvi_selftest_renew(out, rt, wide, sizeof wide)
                            : qkvi_selftest_renew(out, rt, narrow, sizeof narrow);
}

/* What the outputs hold before a launch, and what it depends on. */
static qkv_status set_up(struct buffers *t, const struct qkvi_runtime *rt, const struct shape *s, bool pairs) {
    const size_t rows = s->batch * t->heads * s->seq_q;
    for (size_t b = 0; b < MAX_BATCH; b++) {
        const int64_t length = (int64_t)s->seq_kv - 2 - 3 * (int64_t)b;
        t->lengths[b] = length > 1 ? length : 1;
        t->offsets[b] = 2 - (int64_t)b;
    }
    const size_t out = (FIRST + rows) * t->dv * qkv_dtype_size(t->like->out_dtype);
    qkv_status status = qkvi_selftest_poison(&t->dout, rt, out);
    if (!status) status = qkvi_selftest_poison(&t->dlse, rt, (FIRST + rows) * sizeof(float));
    if (!status && pairs) status = qkvi_selftest_poison(&t->dweights, rt, rows * s->seq_kv * sizeof(float));
    if (!status && pairs) status = qkvi_selftest_poison(&t->dscores, rt, rows * s->seq_kv * sizeof(float));
    if (!status && t->workspace_bytes) status = qkvi_selftest_poison(&t->workspace, rt, t->workspace_bytes);
    if (!status && t->like->terms && s->lengths) status = upload_integers(&t->dlengths, rt, s->lengths, t->lengths);
    if (!status && t->like->terms && s->offsets) status = upload_integers(&t->doffsets, rt, s->offsets, t->offsets);
    return status;
}

static struct qkvi_view4 rows_of(cl_mem buffer, size_t width, size_t batch, size_t head) {
    return (struct qkvi_view4){.buffer = buffer,
                               .offset = (int64_t)(FIRST * width),
                               .stride = {(int64_t)(batch * width), (int64_t)(head * width), (int64_t)width, 1}};
}

static void set_mask(struct qkvi_attention_run *run, const struct buffers *t, const struct trial *trial) {
    const bool additive = is_additive(trial->mask);
    const size_t nth = trial->mask == QKV_F16 ? 0 : trial->mask == QKV_BF16 ? 1 : 2;
    run->mask_keys = t->like->mask ? trial->mask_keys : run->seq_kv;
    if (!t->like->mask) return;
    run->mask = (struct qkvi_view4){
        .buffer = additive ? t->dadditive[nth] : t->dseen, .offset = FIRST, .stride = {0, MASK_HEAD, MASK_QUERY, 1}};
    run->mask_kind = additive ? QKVI_MASK_ADD : QKVI_MASK_BOOL;
    run->mask_dtype = trial->mask;
}

static void set_terms(struct qkvi_attention_run *run, const struct buffers *t, const struct shape *s) {
    run->causal_offset = s->causal && !t->like->terms ? 0 : INT64_MAX / 2;
    if (!t->like->terms) return;
    run->terms = (struct qkvi_attention_terms){
        .left = s->left,
        .right = s->right,
        .query_offset = s->offset,
        .from_end = s->from_end,
        .lengths = {.buffer = s->lengths ? t->dlengths : NULL, .offset = FIRST, .stride = {1}},
        .offsets = {.buffer = s->offsets ? t->doffsets : NULL, .offset = FIRST, .stride = {1}},
        .slopes = {.buffer = t->dslopes, .stride = {1}},
        .sinks = {.buffer = t->dsinks, .stride = {1}},
        .lengths_dtype = s->lengths,
        .offsets_dtype = s->offsets,
        .softcap = softcap,
    };
}

static qkv_status check_pairs(struct buffers *t, const struct qkvi_runtime *rt, cl_mem got, const double *expected,
                              size_t count, const char *what) {
    qkv_status status = qkvi_buffer_read(rt, t->pairs, got, 0, count * sizeof(float));
    return status ? status : qkvi_selftest_compare(t->pairs, expected, count, 1e-4, what);
}

static qkv_status compare(struct buffers *t, const struct qkvi_runtime *rt, const struct shape *s, bool pairs) {
    const size_t rows = s->batch * t->heads * s->seq_q, count = rows * s->seq_kv;
    const qkv_dtype stored = t->like->out_dtype;
    const double tolerance = stored == QKV_F32 ? 1e-4 : stored == QKV_F16 ? 1e-3 : 8e-3;
    qkv_status status = qkvi_selftest_read_as(t->out, rt, stored, t->dout, (FIRST + rows) * t->dv);
    if (!status) status = qkvi_buffer_read(rt, t->lse, t->dlse, FIRST * sizeof(float), rows * sizeof(float));
    if (!status) status = qkvi_selftest_compare(t->out + FIRST * t->dv, t->expected, rows * t->dv, tolerance, "of out");
    if (!status) status = qkvi_selftest_compare(t->lse, t->expected_lse, rows, 1e-4, "of logsumexp");
    if (!status && pairs) status = check_pairs(t, rt, t->dweights, t->expected_weights, count, "of weights");
    if (!status && pairs) status = check_pairs(t, rt, t->dscores, t->expected_scores, count, "of scores");
    return status;
}

static qkv_status check(struct buffers *t, const struct qkvi_runtime *rt, const struct qkvi_solver *solver,
                        const void *state, const struct shape *shape, size_t regime) {
    const struct trial trial = {shape, regime, shape->mask[regime], shape->seq_kv - (shape->seq_kv > 8)};
    /* What does few queries may not write weights: where it was asked for none, it is tried. */
    const bool pairs = t->like->weights && (shape->pairs || regime > 0);
    const size_t plane = shape->seq_q * shape->seq_kv;
    qkv_status status = set_up(t, rt, shape, pairs);
    if (status) return status;
    struct qkvi_attention_run run = {
        .batch = shape->batch,
        .seq_q = shape->seq_q,
        .seq_kv = shape->seq_kv,
        .regime = regime,
        .q = rows_of(t->dq, t->d, Q_BATCH, Q_HEAD),
        .k = rows_of(t->dk, t->d, KV_BATCH, KV_HEAD),
        .v = rows_of(t->dv_, t->dv, KV_BATCH, KV_HEAD),
        .out = rows_of(t->dout, t->dv, t->heads * shape->seq_q, shape->seq_q),
        .logsumexp = rows_of(t->dlse, 1, t->heads * shape->seq_q, shape->seq_q),
        .scale = scale,
        .workspace = t->workspace,
    };
    const struct qkvi_view4 dense = {
        .stride = {(int64_t)(t->heads * plane), (int64_t)plane, (int64_t)shape->seq_kv, 1}};
    run.weights = run.scores = dense;
    run.weights.buffer = pairs ? t->dweights : NULL;
    run.scores.buffer = pairs ? t->dscores : NULL;
    set_mask(&run, t, &trial);
    set_terms(&run, t, shape);
    reference(t, &trial);
    status = qkvi_selftest_run(rt, solver, state, &run);
    return status ? status : compare(t, rt, shape, pairs);
}

/* The same, a quarter as long: what a window or an offset leaves out is so too. */
static struct shape shorten(const struct shape *shape) {
    struct shape s = *shape;
    s.seq_q = qkvi_div_up(s.seq_q, 4);
    s.seq_kv = qkvi_div_up(s.seq_kv, 4);
    s.left /= 4;
    s.offset /= 4;
    return s;
}

/* A simulator takes a thousand times as long, and is there to find other faults than wrong sums. */
static struct shape fit(const struct shape *shape, size_t max_seq_kv, bool simulator, bool independent) {
    struct shape s = independent && !simulator ? shorten(shape) : *shape;
    /* With one query alone there are as many keys as it takes to split them. */
    if (simulator && s.seq_q > 1) s.batch = 1, s.seq_q = qkvi_div_up(s.seq_q, 9), s.seq_kv = qkvi_div_up(s.seq_kv, 8);
    /* The first one is that of many queries, which so few of them do not reach by themselves. */
    if (simulator && s.regimes) s.regimes = 1;
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
    const bool simulator = programs->limits.simulator;
    struct buffers t = {.like = like, .d = like->head_dim, .dv = like->value_dim, .group = 2};
    t.heads = simulator ? MAX_HEADS / 2 : MAX_HEADS;
    problem.u.attention.num_heads = t.heads;
    problem.u.attention.num_kv_heads = t.heads / t.group;
    problem.u.attention.max_batch = MAX_BATCH;
    problem.u.attention.max_seq_q = MAX_Q;
    problem.u.attention.max_seq_kv = like->max_seq_kv > FEW_KV ? MAX_KV : FEW_KV;
    void *state = NULL;
    qkv_status status = create(&state, programs, solver, &problem);
    if (status == QKV_UNSUPPORTED && like->max_seq_kv < problem.u.attention.max_seq_kv) {
        problem.u.attention.max_seq_kv = like->max_seq_kv;
        status = create(&state, programs, solver, &problem);
    }
    if (!status) status = qkvi_plan_workspace(&t.workspace_bytes, solver, state, &problem);
    if (!status) status = prepare(&t, programs->rt, like);
    const size_t regimes = !status && solver->regimes ? solver->regimes(state) : 0;
    for (size_t i = 0; !status && i < QKVI_COUNT(shapes); i++) {
        const struct shape shape = fit(&shapes[i], problem.u.attention.max_seq_kv, simulator, solver->independent);
        status = check(&t, programs->rt, solver, state, &shape, 0);
        for (size_t r = 1; !status && r <= shape.regimes && r <= regimes; r++)
            status = check(&t, programs->rt, solver, state, &shape, r);
    }
    release(&t);
    if (state) solver->destroy(state);
    return status;
}
