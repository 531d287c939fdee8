#include "support/report_case.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/storage.h"

/* Half a unit in the last place of 1, and what may be flushed to zero. */
#define U 0x1p-24
#define TINY ((double)FLT_MIN)
#define FIRST_ORDER 1.01

static qkv_dtype dtype_or(qkv_dtype dtype) {
    return (int)dtype ? dtype : QKV_F32;
}

qkv_attention *report_plan_make(const struct report_plan *plan, const char *solver) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention *attention = NULL;
    desc.head_dim = plan->head_dim;
    desc.num_heads = plan->num_heads;
    desc.num_kv_heads = plan->num_kv_heads;
    desc.max_batch = REPORT_BATCH;
    desc.max_seq_q = desc.max_seq_kv = REPORT_SEQ;
    desc.features = QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS | QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_WINDOW |
                    QKV_ATTENTION_LENGTHS | QKV_ATTENTION_ALIBI | QKV_ATTENTION_SINKS | QKV_ATTENTION_REDUCED;
    desc.q_dtype = plan->q_dtype;
    desc.k_dtype = plan->k_dtype;
    desc.weights_dtype = plan->weights_dtype;
    desc.solver = solver;
    const qkv_status status = qkv_attention_create(&attention, test_context(), &desc);
    if (test_solver_refused(status, solver)) return NULL;
    TEST_OK(status);
    return attention;
}

void report_note(const struct report_plan *plan, const struct report_case *c, const char *solver) {
    test_note("solver %s, head_dim %zu, heads %zu/%zu, dtypes %d %d %d, batch %zu, seq_q %zu, seq_kv %zu, top %zu, "
              "mask %d to %zu shared %d, causal %d, window %d %lld %lld, offset %lld, softcap %g, alibi %d, sinks %d, "
              "lengths %d, views %d, equal %d, nan %d, stage %d, scores %d, weights %d, received %d",
              solver ? solver : "(default)", plan->head_dim, plan->num_heads, plan->num_kv_heads, (int)plan->q_dtype,
              (int)plan->k_dtype, (int)plan->weights_dtype, c->batch, c->seq_q, c->seq_kv, c->top, (int)c->mask,
              c->mask_keys, c->mask_shared, (int)c->causal, c->windowed, (long long)c->window.left,
              (long long)c->window.right, (long long)c->query_offset, (double)c->softcap, c->alibi, c->sinks,
              c->lengths, c->views, c->equal_keys, c->nan_query, (int)c->stage, c->scores, c->weights, c->received);
}

/* ---- data ---- */

struct data {
    double *q, *k; /* what their dtypes hold */
    void *q_stored, *k_stored;
    float *v, *mask_add, *slopes, *sinks;
    unsigned char *mask_bool;
    int32_t lengths[REPORT_BATCH];
    size_t mask_keys, mask_planes;
};

static double *stored_values(void **stored, struct test_random *random, size_t n, qkv_dtype dtype, size_t repeat) {
    double *values = test_alloc(n, sizeof(double));
    for (size_t i = 0; i < n; i++)
        values[i] = i < repeat || !repeat ? (double)test_random_float(random) : values[i % repeat];
    *stored = storage_from(values, n, dtype);
    free(values);
    return storage_values(*stored, n, dtype);
}

static void data_make(struct data *d, const struct report_plan *p, const struct report_case *c,
                      struct test_random *random) {
    memset(d, 0, sizeof *d);
    const size_t q = c->batch * p->num_heads * c->seq_q * p->head_dim;
    const size_t k = c->batch * p->num_kv_heads * c->seq_kv * p->head_dim;
    d->q = stored_values(&d->q_stored, random, q, dtype_or(p->q_dtype), 0);
    d->k = stored_values(&d->k_stored, random, k, dtype_or(p->k_dtype), c->equal_keys ? p->head_dim : 0);
    for (size_t row = 0; c->nan_query && c->seq_q && row < q / p->head_dim; row += c->seq_q) {
        d->q[row * p->head_dim] = NAN;
        free(d->q_stored);
        d->q_stored = storage_from(d->q, q, dtype_or(p->q_dtype));
    }
    d->v = test_random_floats(random, k, 1);
    d->slopes = test_random_floats(random, p->num_heads, 0.2f);
    d->sinks = test_random_floats(random, p->num_heads, 2);
    for (size_t b = 0; b < REPORT_BATCH; b++) /* beyond both ends too */
        d->lengths[b] = (int32_t)test_random_below(random, c->seq_kv + 3) - 1;
    d->mask_keys = c->mask_keys ? c->mask_keys : c->seq_kv;
    d->mask_planes = c->mask_shared ? 1 : c->batch * p->num_heads;
    const size_t m = d->mask_planes * c->seq_q * d->mask_keys;
    d->mask_add = test_random_floats(random, m, 2);
    d->mask_bool = test_alloc(m, 1);
    for (size_t i = 0; i < m; i++) {
        d->mask_bool[i] = !test_random_once_in(random, 3);
        if (!d->mask_bool[i]) d->mask_add[i] = -INFINITY;
    }
}

static void data_free(struct data *d) {
    void *all[] = {d->q, d->k, d->q_stored, d->k_stored, d->v, d->mask_add, d->slopes, d->sinks, d->mask_bool};
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        free(all[i]);
}

/* ---- the reference ---- */

struct pair {
    double stage[3], dstage[3]; /* by qkv_scores_stage */
    double weight, dweight;
    bool seen;
};

struct reference {
    struct pair *pairs; /* (batch, head, query, key) */
    double *lse, *dlse; /* (batch, head, query) */
};

/* What the mask adds; -INFINITY where anything excludes the key. */
static double admit(const struct data *d, const struct report_plan *p, const struct report_case *c, size_t plane,
                    size_t i, size_t j) {
    const size_t b = plane / p->num_heads;
    int64_t end = (int64_t)c->seq_kv, position = (int64_t)i + c->query_offset, key = (int64_t)j;
    if (c->lengths) end = d->lengths[b] < 0 ? 0 : d->lengths[b] > end ? end : d->lengths[b];
    if (c->causal == QKV_CAUSAL_LAST) position = (int64_t)i + end - (int64_t)c->seq_q;
    if (key >= end || (c->causal != QKV_CAUSAL_OFF && key > position)) return -INFINITY;
    if (c->windowed && c->window.left >= 0 && key < position - c->window.left) return -INFINITY;
    if (c->windowed && c->window.right >= 0 && key > position + c->window.right) return -INFINITY;
    if (c->mask == REPORT_MASK_NONE) return 0;
    if (j >= d->mask_keys) return -INFINITY;
    const size_t at = ((c->mask_shared ? 0 : plane) * c->seq_q + i) * d->mask_keys + j;
    return c->mask == REPORT_MASK_ADD ? (double)d->mask_add[at] : d->mask_bool[at] ? 0 : -INFINITY;
}

/*
 * A scaled product's error is (head_dim + 3) u scale sum |q k| + 4 u |product|, as in reference.c. The softcap's slope is
 * 1 at most, so that carries over; its division, tanh() (5 units in the last place) and product add (5 + 10 + 2) u.
 * ALiBi's product and difference: 2 u of each; the mask's sum likewise.
 */
static void score(struct pair *out, const struct data *d, const struct report_plan *p, const struct report_case *c,
                  size_t plane, size_t i, size_t j) {
    const size_t b = plane / p->num_heads, h = plane % p->num_heads, kv = h / (p->num_heads / p->num_kv_heads);
    const double *q = d->q + (plane * c->seq_q + i) * p->head_dim;
    const double *k = d->k + ((b * p->num_kv_heads + kv) * c->seq_kv + j) * p->head_dim;
    const double scale = 1 / sqrt((double)p->head_dim), add = admit(d, p, c, plane, i, j);
    double x = 0, magnitude = 0;
    for (size_t e = 0; e < p->head_dim; e++) {
        x += scale * q[e] * k[e];
        magnitude += scale * fabs(q[e] * k[e]);
    }
    double dx = FIRST_ORDER * (((double)p->head_dim + 3) * U * magnitude + 4 * U * fabs(x)) + TINY;
    out->seen = add != -INFINITY;
    out->stage[QKV_SCORES_RAW] = x, out->dstage[QKV_SCORES_RAW] = dx;
    if (c->softcap != 0) {
        x = (double)c->softcap * tanh(x / (double)c->softcap);
        dx += FIRST_ORDER * 17 * U * fabs(x);
    }
    out->stage[QKV_SCORES_CAPPED] = x, out->dstage[QKV_SCORES_CAPPED] = dx;
    if (c->alibi) {
        int64_t end = (int64_t)c->seq_kv;
        if (c->lengths) end = d->lengths[b] < 0 ? 0 : d->lengths[b] > end ? end : d->lengths[b];
        const int64_t position =
            c->causal == QKV_CAUSAL_LAST ? (int64_t)i + end - (int64_t)c->seq_q : (int64_t)i + c->query_offset;
        const double bias = (double)d->slopes[h] * fabs((double)(position - (int64_t)j));
        x -= bias;
        dx += FIRST_ORDER * 2 * U * (fabs(bias) + fabs(x));
    }
    out->stage[QKV_SCORES_MASKED] = x + add;
    out->dstage[QKV_SCORES_MASKED] = out->seen ? dx + FIRST_ORDER * 2 * U * (fabs(x) + fabs(add)) : 0;
}

/*
 * The log-sum-exp's error as in reference.c. A report's weight is exp(score - lse), whose relative error is that of its
 * argument, 3 u |score - lse| for the difference and a change of base, and 3 units in the last place of exp().
 */
static void softmax(struct reference *r, const struct data *d, const struct report_plan *p, const struct report_case *c,
                    size_t row) {
    const double sink = c->sinks ? (double)d->sinks[row / c->seq_q % p->num_heads] : -INFINITY;
    const double n = (double)c->seq_kv + 1;
    struct pair *pairs = r->pairs + row * c->seq_kv;
    double m = sink, l = 0, el = (6 + 9 * n) * U;
    for (size_t j = 0; j < c->seq_kv; j++)
        m = pairs[j].seen && !(pairs[j].stage[0] <= m) ? pairs[j].stage[0] : m;
    r->lse[row] = m;
    if (m == -INFINITY) return;
    l = sink == -INFINITY ? 0 : exp(sink - m);
    for (size_t j = 0; j < c->seq_kv; j++)
        l += pairs[j].seen ? exp(pairs[j].stage[0] - m) : 0;
    for (size_t j = 0; j < c->seq_kv; j++)
        if (pairs[j].seen)
            el += exp(pairs[j].stage[0] - m) / l * (pairs[j].dstage[0] + 3 * U * (m - pairs[j].stage[0]));
    r->lse[row] = m + log(l);
    r->dlse[row] = FIRST_ORDER * (expm1(el) + 4 * U * (fabs(m) + log(l)) + 6 * U * log(l)) + TINY;
    for (size_t j = 0; j < c->seq_kv; j++) {
        if (!pairs[j].seen) continue;
        const double x = pairs[j].stage[0] - r->lse[row];
        pairs[j].weight = exp(x);
        pairs[j].dweight =
            FIRST_ORDER * exp(x) * expm1(pairs[j].dstage[0] + r->dlse[row] + 3 * U * fabs(x) + 6 * U) + 2 * TINY;
    }
}

static void reference_make(struct reference *r, const struct data *d, const struct report_plan *p,
                           const struct report_case *c) {
    const size_t rows = c->batch * p->num_heads * c->seq_q;
    r->pairs = test_alloc(rows * c->seq_kv, sizeof *r->pairs);
    r->lse = test_alloc(rows, sizeof(double));
    r->dlse = test_alloc(rows, sizeof(double));
    for (size_t row = 0; row < rows; row++) {
        for (size_t j = 0; j < c->seq_kv; j++)
            score(r->pairs + row * c->seq_kv + j, d, p, c, row / c->seq_q, row % c->seq_q, j);
        softmax(r, d, p, c, row);
    }
}

/* ---- the run ---- */

enum slot {
    SQ,
    SK,
    SV,
    SOUT,
    SMASK,
    SSLOPES,
    SSINKS,
    SLENGTHS,
    SSCORES,
    SWEIGHTS,
    SLSE,
    SRECEIVED,
    SKEYS,
    STOP,
    SLOTS
};

static void slots_make(struct test_array *a, struct data *d, const struct report_plan *p, const struct report_case *c,
                       struct test_random *random) {
    const size_t q[4] = {c->batch, p->num_heads, c->seq_q, p->head_dim};
    const size_t k[4] = {c->batch, p->num_kv_heads, c->seq_kv, p->head_dim};
    const size_t pairs[4] = {c->batch, p->num_heads, c->seq_q, c->seq_kv};
    const size_t ranks[4] = {c->batch, p->num_heads, c->seq_q, c->top};
    const size_t keys[3] = {c->batch, p->num_heads, c->seq_kv};
    const size_t mask[4] = {c->mask_shared ? 1 : c->batch, c->mask_shared ? 1 : p->num_heads, c->seq_q, d->mask_keys};
    struct test_layout l[SLOTS];
    for (int i = 0; i < SLOTS; i++)
        l[i] = c->views ? test_layout_random(random, i == SLSE || i == SRECEIVED     ? 3
                                                     : i >= SSLOPES && i <= SLENGTHS ? 1
                                                                                     : 4)
                        : (struct test_layout){.step = 1};
    memset(a, 0, SLOTS * sizeof *a);
    test_array_input(&a[SQ], dtype_or(p->q_dtype), 4, q, &l[SQ], d->q_stored);
    test_array_input(&a[SK], dtype_or(p->k_dtype), 4, k, &l[SK], d->k_stored);
    test_array_input(&a[SV], QKV_F32, 4, k, &l[SV], d->v);
    test_array_output(&a[SOUT], 4, q, &l[SOUT]);
    if (c->mask == REPORT_MASK_BOOL) test_array_input(&a[SMASK], QKV_BOOL, 4, mask, &l[SMASK], d->mask_bool);
    if (c->mask == REPORT_MASK_ADD) test_array_input(&a[SMASK], QKV_F32, 4, mask, &l[SMASK], d->mask_add);
    if (c->alibi) test_array_input(&a[SSLOPES], QKV_F32, 1, &p->num_heads, &l[SSLOPES], d->slopes);
    if (c->sinks) test_array_input(&a[SSINKS], QKV_F32, 1, &p->num_heads, &l[SSINKS], d->sinks);
    if (c->lengths) test_array_input(&a[SLENGTHS], QKV_I32, 1, &c->batch, &l[SLENGTHS], d->lengths);
    if (c->scores) test_array_output_of(&a[SSCORES], dtype_or(p->weights_dtype), 4, pairs, &l[SSCORES]);
    if (c->weights) test_array_output_of(&a[SWEIGHTS], dtype_or(p->weights_dtype), 4, pairs, &l[SWEIGHTS]);
    if (c->logsumexp) test_array_output(&a[SLSE], 3, q, &l[SLSE]);
    if (c->received) test_array_output(&a[SRECEIVED], 3, keys, &l[SRECEIVED]);
    if (c->top) test_array_output_of(&a[SKEYS], QKV_I32, 4, ranks, &l[SKEYS]);
    if (c->top) test_array_output(&a[STOP], 4, ranks, &l[STOP]);
}

static const qkv_tensor *view(const struct test_array *a) {
    return a->memory.mem ? &a->view : NULL;
}

static void run(const qkv_attention *attention, const struct report_case *c, const struct test_array *a) {
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    const qkv_tensor **slots[SLOTS] = {
        &args.q,        &args.k,          &args.v,      &args.out,     &args.mask,      &args.alibi_slopes,
        &args.sinks,    &args.kv_lengths, &args.scores, &args.weights, &args.logsumexp, &args.received,
        &args.top_keys, &args.top_weights};
    for (int i = 0; i < SLOTS; i++)
        *slots[i] = view(&a[i]);
    args.causal = c->causal;
    args.window = c->windowed ? &c->window : NULL;
    args.query_offset = c->query_offset;
    args.softcap = c->softcap;
    args.scores_stage = c->stage;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_attention_workspace_bytes(attention)));
    TEST_OK(qkv_attention_run(attention, test_queue(), &args, 0, NULL, NULL));
    TEST_CL(clFinish(test_queue()));
    qkv_workspace_destroy(args.workspace);
}

/* ---- comparing ---- */

static void compare_pairs(const char *what, struct test_array *array, const struct reference *r,
                          const struct report_plan *p, int stage) {
    const size_t n = qkv_tensor_count(&array->view);
    const qkv_dtype dtype = dtype_or(p->weights_dtype);
    void *raw = TEST_READ(array);
    double *got = storage_values(raw, n, dtype), *expected = test_alloc(n, sizeof(double)),
           *bound = test_alloc(n, sizeof(double));
    float *floats = test_alloc(n, sizeof(float));
    for (size_t i = 0; i < n; i++) {
        const struct pair *pair = &r->pairs[i];
        expected[i] = stage < 0 ? pair->weight : pair->stage[stage];
        bound[i] = stage < 0 ? pair->dweight : pair->dstage[stage];
        if (isfinite(expected[i])) bound[i] += storage_error(fabs(expected[i]) + bound[i], dtype);
        floats[i] = (float)got[i];
    }
    TEST_CLOSE(what, floats, expected, bound, n);
    free(raw), free(got), free(expected), free(bound), free(floats);
}

/* A sum of seq_q weights in any order: seq_q u of it besides what they bring. */
static void compare_received(struct test_array *array, const struct reference *r, const struct report_case *c) {
    const size_t n = qkv_tensor_count(&array->view);
    double *expected = test_alloc(n, sizeof(double)), *bound = test_alloc(n, sizeof(double));
    float *got = TEST_READ(array);
    for (size_t at = 0; at < n; at++) {
        const struct pair *first = r->pairs + at / c->seq_kv * c->seq_q * c->seq_kv + at % c->seq_kv;
        for (size_t i = 0; i < c->seq_q; i++) {
            expected[at] += first[i * c->seq_kv].weight;
            bound[at] += first[i * c->seq_kv].dweight;
        }
        bound[at] += (double)c->seq_q * U * expected[at] + TINY;
    }
    TEST_CLOSE("received", got, expected, bound, n);
    free(expected), free(bound), free(got);
}

/*
 * One query: weights fall, the lower index first among equals; each is its key's; no key is there twice; no key that is
 * not there has a larger one; there are n, or all that are not excluded. Of a NaN query: the first keys that it sees.
 */
static bool top_is_right(const struct pair *pairs, size_t seq_kv, const int32_t *keys, const float *weights, size_t n) {
    size_t num_seen = 0, listed = 0;
    for (size_t j = 0; j < seq_kv; j++)
        num_seen += pairs[j].seen;
    for (size_t r = 0; r < n; r++) {
        const int32_t key = keys[r];
        if (r >= num_seen) {
            if (key != -1 || weights[r] != 0) return false;
            continue;
        }
        if (key < 0 || (size_t)key >= seq_kv || !pairs[key].seen) return false;
        const bool nan = isnan(pairs[key].weight);
        if (nan ? !isnan(weights[r]) : !(fabs((double)weights[r] - pairs[key].weight) <= pairs[key].dweight))
            return false;
        if (r &&
            ((!nan && weights[r] > weights[r - 1]) || ((nan || weights[r] == weights[r - 1]) && key <= keys[r - 1])))
            return false;
    }
    const size_t filled = n < num_seen ? n : num_seen;
    for (size_t j = 0; filled && j < seq_kv; j++) {
        bool there = false;
        for (size_t r = 0; r < filled; r++)
            there = there || keys[r] == (int32_t)j;
        listed += there;
        if (there || !pairs[j].seen) continue;
        const bool better = isnan(pairs[j].weight) ? (int32_t)j < keys[filled - 1]
                                                   : pairs[j].weight - pairs[j].dweight > (double)weights[filled - 1];
        if (better) return false;
    }
    return listed == filled;
}

static void compare_top(struct test_array *keys_array, struct test_array *weights_array, const struct reference *r,
                        const struct report_case *c) {
    void *raw = TEST_READ(keys_array);
    const int32_t *keys = raw;
    float *weights = TEST_READ(weights_array);
    for (size_t row = 0; row < qkv_tensor_count(&keys_array->view) / c->top; row++)
        if (!top_is_right(r->pairs + row * c->seq_kv, c->seq_kv, keys + row * c->top, weights + row * c->top, c->top))
            test_fail(__FILE__, __LINE__, "top keys of row %zu are wrong; they begin with key %d, weight %g", row,
                      (int)keys[row * c->top], (double)weights[row * c->top]);
    free(raw), free(weights);
}

static void compare_logsumexp(struct test_array *array, const struct reference *r) {
    float *got = TEST_READ(array);
    TEST_CLOSE("logsumexp", got, r->lse, r->dlse, qkv_tensor_count(&array->view));
    free(got);
}

void report_check(const qkv_attention *attention, const struct report_plan *plan, const struct report_case *c,
                  struct test_random *random) {
    struct test_array arrays[SLOTS];
    struct reference reference;
    struct data data;
    data_make(&data, plan, c, random);
    slots_make(arrays, &data, plan, c, random);
    reference_make(&reference, &data, plan, c);
    run(attention, c, arrays);
    if (c->scores) compare_pairs("scores", &arrays[SSCORES], &reference, plan, (int)c->stage);
    if (c->weights) compare_pairs("weights", &arrays[SWEIGHTS], &reference, plan, -1);
    if (c->logsumexp) compare_logsumexp(&arrays[SLSE], &reference);
    if (c->received) compare_received(&arrays[SRECEIVED], &reference, c);
    if (c->top) compare_top(&arrays[SKEYS], &arrays[STOP], &reference, c);
    for (int i = 0; i < SLOTS; i++)
        if (arrays[i].memory.mem) test_array_free(&arrays[i]);
    free(reference.pairs), free(reference.lse), free(reference.dlse);
    data_free(&data);
}
