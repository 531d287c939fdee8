/*
 * Two ways of asking for the same thing give the same: each line of `equivalences` turns a random case into another that
 * must agree with it, within the two references' bounds or, where the plain kernel's arithmetic is the same, exactly.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/semantics_case.h"
#include "support/storage.h"

struct side {
    struct semantics_case c;
    struct semantics_data data;
};

/* Makes the second case from the first: `to` begins as a copy of `from`. */
typedef void (*rewrite)(struct side *to, const struct side *from);

/* Whatever excludes keys or is added to scores as one additive mask of full shape. */
static void as_mask(struct side *to, const struct side *from) {
    const struct semantics_case *c = &from->c;
    const size_t rows = c->batch * c->num_heads * c->seq_q;
    double *mask = test_alloc(rows * c->seq_kv, sizeof *mask);
    for (size_t at = 0; at < rows * c->seq_kv; at++) {
        const size_t j = at % c->seq_kv, row = at / c->seq_kv, i = row % c->seq_q;
        const size_t h = row / c->seq_q % c->num_heads, b = row / c->seq_q / c->num_heads;
        const struct semantics_reach reach = semantics_reach(c, &from->data, b, i);
        double add = 0;
        const bool masked = semantics_masked(c, &from->data, b, h, i, j, &add);
        const double alibi = c->slopes ? from->data.slopes[h] * fabs(reach.position - (double)j) : 0;
        mask[at] =
            masked || (double)j < reach.first || (double)j >= reach.end ? -INFINITY : (double)(float)(add - alibi);
    }
    double **const gone[] = {&to->data.mask, &to->data.lengths, &to->data.offsets, &to->data.slopes};
    for (size_t n = 0; n < TEST_COUNT(gone); n++) {
        free(*gone[n]);
        *gone[n] = NULL;
    }
    to->data.mask = mask;
    memcpy(to->data.mask_shape, (size_t[]){c->batch, c->num_heads, c->seq_q, c->seq_kv}, sizeof to->data.mask_shape);
    to->c.mask = QKV_F32, to->c.mask_rank = 4, to->c.mask_axes = 15, to->c.mask_missing = 0;
    to->c.causal = QKV_CAUSAL_OFF, to->c.windowed = false, to->c.slopes = false, to->c.query_offset = 0;
    to->c.lengths = to->c.offsets = (qkv_dtype)0;
}

/* rows of `width` elements of `seq_kv` keys each, for every query head instead of every key head. */
static double *repeated(const double *values, const struct semantics_case *c, size_t width) {
    const size_t head = c->seq_kv * width, group = c->num_heads / c->num_kv_heads;
    double *to = test_alloc(c->batch * c->num_heads * head, sizeof *to);
    for (size_t h = 0; h < c->batch * c->num_heads; h++)
        memcpy(to + h * head, values + h / group * head, head * sizeof *to);
    return to;
}

static void as_repeated_heads(struct side *to, const struct side *from) {
    free(to->data.k);
    free(to->data.v);
    to->data.k = repeated(from->data.k, &from->c, from->c.head_dim);
    to->data.v = repeated(from->data.v, &from->c, from->c.value_dim);
    to->c.num_kv_heads = to->c.num_heads;
}

static void as_f32(struct side *to, const struct side *from) {
    (void)from;
    to->c.q_dtype = to->c.k_dtype = to->c.v_dtype = to->c.out_dtype = QKV_F32;
}

static void without_softcap(struct side *to, const struct side *from) {
    (void)from;
    to->c.softcap = 0;
}

static void without_sinks(struct side *to, const struct side *from) {
    (void)from;
    free(to->data.sinks);
    to->data.sinks = NULL;
    to->c.sinks = false;
}

static void sinks_to_none(struct side *from) {
    for (size_t h = 0; h < from->c.num_heads; h++)
        from->data.sinks[h] = -INFINITY;
}

/* Each head's keys and one more, of zeros. */
static double *with_zero_key(const double *values, const struct semantics_case *c, size_t width) {
    const size_t head = c->seq_kv * width;
    double *to = test_alloc(c->batch * c->num_kv_heads * (head + width), sizeof *to);
    for (size_t h = 0; h < c->batch * c->num_kv_heads; h++)
        memcpy(to + h * (head + width), values + h * head, head * sizeof *to);
    return to;
}

/* A key of zeros whose score is the sink, by the mask. */
static void sinks_as_keys(struct side *to, const struct side *from) {
    const struct semantics_case *c = &from->c;
    struct side flat = {*c, {0}};
    semantics_data_copy(&flat.data, &from->data, c);
    as_mask(&flat, from);
    as_mask(to, from);
    const size_t rows = c->batch * c->num_heads * c->seq_q, wide = c->seq_kv + 1;
    double *mask = test_alloc(rows * wide, sizeof *mask);
    for (size_t row = 0; row < rows; row++) {
        memcpy(mask + row * wide, flat.data.mask + row * c->seq_kv, c->seq_kv * sizeof *mask);
        mask[row * wide + c->seq_kv] = from->data.sinks[row / c->seq_q % c->num_heads];
    }
    semantics_data_free(&flat.data);
    free(to->data.mask);
    free(to->data.k);
    free(to->data.v);
    to->data.mask = mask;
    to->data.mask_shape[3] = wide;
    to->data.k = with_zero_key(from->data.k, c, c->head_dim);
    to->data.v = with_zero_key(from->data.v, c, c->value_dim);
    to->c.seq_kv = wide;
    without_sinks(to, from);
}

/* The last key's alignment by hand: a batch's offset is its length less seq_q. */
static void last_as_offsets(struct side *to, const struct side *from) {
    const struct semantics_case *c = &from->c;
    to->data.offsets = test_alloc(c->batch, sizeof(double));
    for (size_t b = 0; b < c->batch; b++)
        to->data.offsets[b] = semantics_reach(c, &from->data, b, 0).position;
    to->c.causal = QKV_CAUSAL_FIRST;
    to->c.offsets = QKV_I64;
}

/* Keys in two parts as keys in one, whose queries stand as many further. */
static void past_as_keys(struct side *to, const struct side *from) {
    if (from->c.causal != QKV_CAUSAL_LAST) to->c.query_offset += (int64_t)from->c.past;
    to->c.past = 0;
    to->c.present = to->c.in_place = false;
}

static const struct equivalence {
    const char *name;
    uint64_t with; /* features of the case, besides any others of `may` */
    uint64_t may;
    rewrite rewrite;
    void (*prepare)(struct side *from);
    enum { ANY, OFF, FIRST, LAST } causal;
    bool exact; /* with the plain kernel */
    bool stored;
} equivalences[] = {
#define MASK QKV_ATTENTION_MASK
#define WINDOW QKV_ATTENTION_WINDOW
#define LENGTHS QKV_ATTENTION_LENGTHS
#define ALIBI QKV_ATTENTION_ALIBI
#define SINKS QKV_ATTENTION_SINKS
#define SOFTCAP QKV_ATTENTION_SOFTCAP
#define PAST QKV_ATTENTION_PAST
#define TERMS (WINDOW | LENGTHS | ALIBI | SINKS | SOFTCAP)
    {"a window as a mask", WINDOW, SINKS | SOFTCAP | LENGTHS, as_mask, NULL, ANY, true, false},
    {"kv_lengths and query_offsets as a mask", LENGTHS, SINKS | SOFTCAP, as_mask, NULL, ANY, true, false},
    {"causal with an offset as a mask", 0, SINKS | SOFTCAP, as_mask, NULL, FIRST, true, false},
    {"any mask as one of full shape", MASK, TERMS & ~ALIBI, as_mask, NULL, ANY, true, false},
    {"ALiBi as a mask", ALIBI, MASK | TERMS, as_mask, NULL, ANY, false, false},
    {"grouped heads as repeated ones", 0, MASK | TERMS, as_repeated_heads, NULL, ANY, true, false},
    {"storage as rounded fp32", 0, MASK | TERMS, as_f32, NULL, ANY, true, true},
    {"a softcap far off as none", SOFTCAP, MASK | TERMS, without_softcap, NULL, ANY, false, false},
    {"sinks of -inf as none", SINKS, MASK | TERMS, without_sinks, sinks_to_none, ANY, true, false},
    {"a sink as a key without a value", SINKS, MASK | TERMS, sinks_as_keys, NULL, ANY, false, false},
    {"last as first with offsets", LENGTHS, MASK | TERMS, last_as_offsets, NULL, LAST, true, false},
    {"a past as keys in one piece", PAST, MASK | TERMS, past_as_keys, NULL, ANY, true, false},
    {"a past as keys in one piece, stored", PAST, MASK | TERMS, past_as_keys, NULL, ANY, true, true},
};

static const struct semantics_limits limits = {.batch = 3, .seq_q = 80, .seq_kv = 200, .work = 1e5};
#define FEATURES (MASK | TERMS | PAST | QKV_ATTENTION_WEIGHTS | QKV_ATTENTION_REDUCED)

static struct side first_side(const struct equivalence *e, const struct semantics_case *plan,
                              struct test_random *random) {
    struct side side;
    const uint64_t features = e->with | (e->may & test_random_bits(random));
    struct semantics_limits smaller = limits;
    smaller.seq_kv--; /* room for a key more */
    do
        side.c = semantics_case_random(random, plan, features, &smaller);
    while ((semantics_features(&side.c) & e->with) != e->with ||
           (e->causal == FIRST && side.c.causal != QKV_CAUSAL_FIRST) ||
           (e->causal == LAST && side.c.causal != QKV_CAUSAL_LAST));
    if (e->rewrite == without_softcap) side.c.softcap = 1e30f;
    side.c.traps = side.c.traps && e->rewrite != sinks_as_keys;
    side.c.logsumexp = true;
    semantics_data_make(&side.data, &side.c);
    if (e->prepare) e->prepare(&side);
    return side;
}

static void expect_same(const char *what, const double *a, const double *b, const double *da, const double *db,
                        size_t n, qkv_dtype dtype, bool exact) {
    void *stored = storage_from(b, n, dtype);
    double *rounded = storage_values(stored, n, dtype);
    free(stored);
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) && isnan(b[i])) continue;
        if (a[i] == (exact ? rounded[i] : b[i])) continue;
        const double rounding = dtype == QKV_F32 ? 0 : storage_error(fabs(b[i]) + da[i] + db[i], dtype);
        if (exact || !(fabs(a[i] - b[i]) <= da[i] + db[i] + rounding))
            test_fail(__FILE__, __LINE__, "%s: element %zu is %.9g and %.9g, bounds %.3g and %.3g%s", what, i, a[i],
                      b[i], da[i], db[i], exact ? ", but must be equal" : "");
    }
    free(rounded);
}

static void compare(const struct side *a, const struct side *b, const qkv_attention *plan_a,
                    const qkv_attention *plan_b, bool exact) {
    struct semantics_reference ra, rb;
    struct semantics_result got_a, got_b;
    const size_t rows = a->c.batch * a->c.num_heads * a->c.seq_q;
    semantics_reference_make(&ra, &a->c, &a->data);
    semantics_reference_make(&rb, &b->c, &b->data);
    semantics_run(&got_a, plan_a, &a->c, &a->data);
    semantics_run(&got_b, plan_b, &b->c, &b->data);
    if (got_a.error[0] || got_b.error[0]) test_fail(__FILE__, __LINE__, "%s%s", got_a.error, got_b.error);
    expect_same("out", got_a.out, got_b.out, ra.dout, rb.dout, rows * a->c.value_dim, a->c.out_dtype, exact);
    expect_same("logsumexp", got_a.logsumexp, got_b.logsumexp, ra.dlogsumexp, rb.dlogsumexp, rows, QKV_F32, exact);
    semantics_result_free(&got_a);
    semantics_result_free(&got_b);
    semantics_reference_free(&ra);
    semantics_reference_free(&rb);
}

/* What the reduced outputs say of the weights that came with them. */
static void check_sums(const struct side *a, const struct semantics_result *got, const struct semantics_reference *r) {
    const struct semantics_case *c = &a->c;
    for (size_t plane = 0; plane < c->batch * c->num_heads; plane++)
        for (size_t j = 0; j < c->seq_kv; j++) {
            double sum = 0, bound = 0;
            for (size_t i = 0; i < c->seq_q; i++) {
                const size_t at = (plane * c->seq_q + i) * c->seq_kv + j;
                sum += got->weights[at];
                bound += r->dweights[at] + r->dreports[at] + (double)c->seq_q * 0x1p-23 * got->weights[at];
            }
            if (!(fabs(got->received[plane * c->seq_kv + j] - sum) <= bound))
                test_fail(__FILE__, __LINE__, "received: key %zu of head %zu has %.9g, its weights add up to %.9g", j,
                          plane, got->received[plane * c->seq_kv + j], sum);
        }
    for (size_t at = 0; at < c->batch * c->num_heads * c->seq_q * c->top; at++) {
        if (got->top_keys[at] < 0) continue;
        const size_t pair = at / c->top * c->seq_kv + (size_t)got->top_keys[at];
        if (!(fabs(got->top_weights[at] - got->weights[pair]) <= r->dweights[pair] + r->dreports[pair]))
            test_fail(__FILE__, __LINE__, "top_weights: element %zu is %.9g, its key's weight %.9g", at,
                      got->top_weights[at], got->weights[pair]);
    }
}

static void check_reports(const struct semantics_case *plan, const qkv_attention *attention, size_t cases) {
    struct test_random random = test_random_start(test_seed(), 1000);
    for (size_t n = 0; n < cases; n++) {
        struct side a = {.c = semantics_case_random(&random, plan, MASK | TERMS, &limits)};
        struct semantics_reference reference;
        struct semantics_result got;
        char text[400];
        a.c.weights = a.c.received = true;
        a.c.traps = false;
        a.c.top = test_random_between(&random, 1, 9);
        semantics_describe(text, sizeof text, &a.c);
        test_note("reports, seed %llu, case %zu: %s", (unsigned long long)test_seed(), n, text);
        semantics_data_make(&a.data, &a.c);
        semantics_reference_make(&reference, &a.c, &a.data);
        semantics_run(&got, attention, &a.c, &a.data);
        if (got.error[0]) test_fail(__FILE__, __LINE__, "%s", got.error);
        check_sums(&a, &got, &reference);
        semantics_result_free(&got);
        semantics_reference_free(&reference);
        semantics_data_free(&a.data);
    }
}

enum { BASE, REPEATED, STORED, NUM_PLANS };

static bool make_plans(qkv_attention **plans, struct semantics_case *cases, const char *solver) {
    for (size_t p = 0; p < NUM_PLANS; p++) {
        cases[p] = (struct semantics_case){.num_heads = 4,
                                           .num_kv_heads = 2,
                                           .head_dim = 20,
                                           .value_dim = 12,
                                           .q_dtype = QKV_F32,
                                           .k_dtype = QKV_F32,
                                           .v_dtype = QKV_F32,
                                           .out_dtype = QKV_F32,
                                           .weights_dtype = QKV_F32};
        if (p == REPEATED) cases[p].num_kv_heads = 4;
        if (p == STORED)
            cases[p].q_dtype = cases[p].v_dtype = QKV_F16, cases[p].k_dtype = cases[p].out_dtype = QKV_BF16;
        const qkv_status status = semantics_plan_create(&plans[p], &cases[p], FEATURES, &limits, solver);
        if (test_solver_refused(status, solver)) return false;
        TEST_OK(status);
    }
    return true;
}

START_TEST(equivalent) {
    const char *solver = test_solver((size_t)_i);
    qkv_attention *plans[NUM_PLANS] = {NULL};
    struct semantics_case cases[NUM_PLANS];
    const bool plain = solver && !strcmp(solver, "plain");
    const bool able = make_plans(plans, cases, solver);
    for (size_t n = 0; able && n < TEST_COUNT(equivalences); n++) {
        const struct equivalence *e = &equivalences[n];
        struct test_random random = test_random_start(test_seed(), n);
        for (size_t number = 0; number < test_cases(24) + 4; number++) {
            const size_t p = e->stored ? STORED : BASE;
            struct side a = first_side(e, &cases[p], &random), b = {a.c, {0}};
            char text[400];
            semantics_describe(text, sizeof text, &a.c);
            test_note("%s, seed %llu, case %zu, solver %s: %s", e->name, (unsigned long long)test_seed(), number,
                      solver ? solver : "(default)", text);
            semantics_data_copy(&b.data, &a.data, &a.c);
            e->rewrite(&b, &a);
            const size_t other = e->rewrite == as_repeated_heads ? REPEATED : e->rewrite == past_as_keys ? p : BASE;
            compare(&a, &b, plans[p], plans[other], e->exact && plain);
            semantics_data_free(&a.data);
            semantics_data_free(&b.data);
        }
    }
    if (able) check_reports(&cases[BASE], plans[BASE], test_cases(24) + 4);
    for (size_t p = 0; p < NUM_PLANS; p++)
        qkv_attention_destroy(plans[p]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("equivalences");
    TCase *tcase = tcase_create("equivalences");
    tcase_set_timeout(tcase, 0);
    /* The library's own choice is one of the others, where there are others. */
    tcase_add_loop_test(tcase, equivalent, TEST_NUM_SOLVERS > 1, TEST_NUM_SOLVERS);
    suite_add_tcase(suite, tcase);
    printf("seed %llu\n", (unsigned long long)test_seed());
    return test_main(suite);
}
