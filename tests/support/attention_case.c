#include "support/attention_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"

static size_t features_of(const struct attention_case *c) {
    return (c->mask ? (size_t)QKV_ATTENTION_MASK : 0) | (c->weights || c->scores ? (size_t)QKV_ATTENTION_WEIGHTS : 0);
}

qkv_attention_desc attention_desc(const struct attention_case *limits, const char *solver) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = limits->head_dim;
    desc.value_dim = limits->value_dim;
    desc.num_heads = limits->num_heads;
    desc.num_kv_heads = limits->num_kv_heads;
    desc.max_batch = limits->batch ? limits->batch : 1;
    desc.max_seq_q = limits->seq_q ? limits->seq_q : 1;
    desc.max_seq_kv = limits->seq_kv ? limits->seq_kv : 1;
    desc.features = features_of(limits);
    desc.solver = solver;
    return desc;
}

qkv_attention *attention_plan(const struct attention_case *limits, const char *solver) {
    const qkv_attention_desc desc = attention_desc(limits, solver);
    qkv_attention *plan = NULL;
    qkv_status status = qkv_attention_create(&plan, test_context(), &desc);
    if (test_solver_refused(status, solver)) return NULL;
    TEST_OK(status);
    return plan;
}

void attention_note(const struct attention_case *c, const char *solver, size_t number) {
    test_note("seed %llu, case %zu, solver %s: batch %zu, heads %zu/%zu, seq_q %zu, seq_kv %zu, head_dim %zu, "
              "value_dim %zu, causal %d, mask %d (rank %zu, axes %u), scale %g, magnitude %g, "
              "weights %d, scores %d, lse %d, views %d",
              (unsigned long long)test_seed(), number, solver ? solver : "(default)", c->batch, c->num_heads,
              c->num_kv_heads, c->seq_q, c->seq_kv, c->head_dim, c->value_dim, (int)c->causal, (int)c->mask,
              c->mask_rank, c->mask_axes, (double)c->scale, (double)c->magnitude, c->weights, c->scores, c->logsumexp,
              c->views);
}

static size_t mask_count(const size_t *shape) {
    return shape[0] * shape[1] * shape[2] * shape[3];
}

void attention_data_make(struct attention_data *data, const struct attention_case *c, struct test_random *random) {
    const size_t full[4] = {c->batch, c->num_heads, c->seq_q, c->seq_kv};
    float magnitude = c->magnitude != 0 ? c->magnitude : 1;
    memset(data, 0, sizeof *data);
    data->q = test_random_floats(random, c->batch * c->num_heads * c->seq_q * c->head_dim, magnitude);
    data->k = test_random_floats(random, c->batch * c->num_kv_heads * c->seq_kv * c->head_dim, magnitude);
    data->v = test_random_floats(random, c->batch * c->num_kv_heads * c->seq_kv * c->value_dim, 1);
    size_t rank = c->mask_rank ? c->mask_rank : 4;
    for (size_t axis = 0; axis < 4; axis++)
        data->mask_shape[axis] = axis + rank >= 4 && (c->mask_axes & (1u << axis)) ? full[axis] : 1;
    size_t count = mask_count(data->mask_shape);
    if (c->mask == TEST_MASK_ADD) data->mask_add = test_random_floats(random, count, 3);
    if (c->mask == TEST_MASK_BOOL) data->mask_bool = test_alloc(count, 1);
    for (size_t i = 0; c->mask && i < count; i++) {
        bool excluded = test_random_once_in(random, 3);
        if (data->mask_add && excluded) data->mask_add[i] = -INFINITY;
        if (data->mask_bool) data->mask_bool[i] = excluded ? 0 : (unsigned char)test_random_between(random, 1, 255);
    }
}

void attention_data_free(struct attention_data *data) {
    free(data->q);
    free(data->k);
    free(data->v);
    free(data->mask_bool);
    free(data->mask_add);
    memset(data, 0, sizeof *data);
}

struct attention_arrays {
    struct test_array q, k, v, mask, out, weights, scores, logsumexp;
};

static void arrays_make(struct attention_arrays *a, const struct attention_case *c, struct attention_data *data,
                        struct test_random *random) {
    const size_t q[4] = {c->batch, c->num_heads, c->seq_q, c->head_dim};
    const size_t k[4] = {c->batch, c->num_kv_heads, c->seq_kv, c->head_dim};
    const size_t v[4] = {c->batch, c->num_kv_heads, c->seq_kv, c->value_dim};
    const size_t out[4] = {c->batch, c->num_heads, c->seq_q, c->value_dim};
    const size_t weights[4] = {c->batch, c->num_heads, c->seq_q, c->seq_kv};
    size_t rank = c->mask_rank ? c->mask_rank : 4;
    struct test_layout layouts[8];
    for (size_t i = 0; i < 8; i++)
        layouts[i] = c->views ? test_layout_random(random, i == 3   ? rank
                                                           : i == 7 ? 3
                                                                    : 4)
                              : (struct test_layout){.step = 1};
    memset(a, 0, sizeof *a);
    test_array_input(&a->q, QKV_F32, 4, q, &layouts[0], data->q);
    test_array_input(&a->k, QKV_F32, 4, k, &layouts[1], data->k);
    test_array_input(&a->v, QKV_F32, 4, v, &layouts[2], data->v);
    if (c->mask == TEST_MASK_BOOL)
        test_array_input(&a->mask, QKV_BOOL, rank, data->mask_shape + 4 - rank, &layouts[3], data->mask_bool);
    if (c->mask == TEST_MASK_ADD)
        test_array_input(&a->mask, QKV_F32, rank, data->mask_shape + 4 - rank, &layouts[3], data->mask_add);
    test_array_output(&a->out, 4, out, &layouts[4]);
    if (c->weights) test_array_output(&a->weights, 4, weights, &layouts[5]);
    if (c->scores) test_array_output(&a->scores, 4, weights, &layouts[6]);
    if (c->logsumexp) test_array_output(&a->logsumexp, 3, weights, &layouts[7]);
}

static void arrays_free(struct attention_arrays *a) {
    struct test_array *all[] = {&a->q, &a->k, &a->v, &a->mask, &a->out, &a->weights, &a->scores, &a->logsumexp};
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        if (all[i]->memory.mem) test_array_free(all[i]);
}

static void run(const qkv_attention *plan, const struct attention_case *c, const struct attention_arrays *a) {
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    args.q = &a->q.view;
    args.k = &a->k.view;
    args.v = &a->v.view;
    args.out = &a->out.view;
    args.mask = c->mask ? &a->mask.view : NULL;
    args.weights = c->weights ? &a->weights.view : NULL;
    args.scores = c->scores ? &a->scores.view : NULL;
    args.logsumexp = c->logsumexp ? &a->logsumexp.view : NULL;
    args.scale = c->scale;
    args.causal = c->causal;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_attention_workspace_bytes(plan)));
    TEST_OK(qkv_attention_run(plan, test_queue(), &args, 0, NULL, NULL));
    TEST_CL(clFinish(test_queue()));
    qkv_workspace_destroy(args.workspace);
}

static void reference_make(struct ref_attention *r, const struct attention_case *c, const struct attention_data *data) {
    *r = (struct ref_attention){.batch = c->batch,
                                .num_heads = c->num_heads,
                                .num_kv_heads = c->num_kv_heads,
                                .seq_q = c->seq_q,
                                .seq_kv = c->seq_kv,
                                .head_dim = c->head_dim,
                                .value_dim = c->value_dim,
                                .mask_bool = data->mask_bool,
                                .mask_add = data->mask_add,
                                .scale = c->scale,
                                .causal = c->causal};
    double *q = ref_doubles(data->q, c->batch * c->num_heads * c->seq_q * c->head_dim);
    double *k = ref_doubles(data->k, c->batch * c->num_kv_heads * c->seq_kv * c->head_dim);
    double *v = ref_doubles(data->v, c->batch * c->num_kv_heads * c->seq_kv * c->value_dim);
    memcpy(r->mask_shape, data->mask_shape, sizeof r->mask_shape);
    r->q = q, r->k = k, r->v = v;
    ref_attention_run(r);
    free(q);
    free(k);
    free(v);
    r->q = r->k = r->v = NULL;
}

/*
 * The header's promise about the rows of the weights, however large the scores' own errors are: they sum to 1 or 0.
 * What remains when the same scores give the exps and their sum is reference.c's e[j] and el without ds.
 */
static void check_sums(const struct attention_result *result, const struct attention_case *c) {
    const struct ref_attention *r = &result->reference;
    for (size_t row = 0; row < c->batch * c->num_heads * c->seq_q; row++) {
        double sum = 0, expected = r->logsumexp[row] == -INFINITY ? 0 : 1, bound = 18 * (double)c->seq_kv + 16;
        for (size_t j = 0; j < c->seq_kv; j++) {
            double w = r->weights[row * c->seq_kv + j];
            sum += (double)result->weights[row * c->seq_kv + j];
            bound += w > 0 ? 6 * w * (r->logsumexp[row] - r->scores[row * c->seq_kv + j]) : 0;
        }
        bound *= 1.01 * 0x1p-24;
        if (!isnan(r->logsumexp[row]) && !(fabs(sum - expected) <= bound))
            test_fail(__FILE__, __LINE__, "weights of row %zu sum to %.9g, not %g within %.3g", row, sum, expected,
                      bound);
    }
}

static void compare(const struct attention_result *result, const struct attention_case *c) {
    const struct ref_attention *r = &result->reference;
    size_t rows = c->batch * c->num_heads * c->seq_q;
    TEST_CLOSE("out", result->out, r->out, r->dout, rows * c->value_dim);
    if (c->weights) {
        TEST_CLOSE("weights", result->weights, r->weights, r->dweights, rows * c->seq_kv);
        check_sums(result, c);
    }
    if (c->scores) TEST_CLOSE("scores", result->scores, r->scores, r->dscores, rows * c->seq_kv);
    if (c->logsumexp) TEST_CLOSE("logsumexp", result->logsumexp, r->logsumexp, r->dlogsumexp, rows);
}

void attention_check_keep(struct attention_result *result, const qkv_attention *plan, const struct attention_case *c,
                          struct attention_data *data, struct test_random *random) {
    struct attention_arrays arrays;
    memset(result, 0, sizeof *result);
    arrays_make(&arrays, c, data, random);
    run(plan, c, &arrays);
    result->out = TEST_READ(&arrays.out);
    result->weights = c->weights ? TEST_READ(&arrays.weights) : NULL;
    result->scores = c->scores ? TEST_READ(&arrays.scores) : NULL;
    result->logsumexp = c->logsumexp ? TEST_READ(&arrays.logsumexp) : NULL;
    arrays_free(&arrays);
    reference_make(&result->reference, c, data);
    compare(result, c);
}

void attention_result_free(struct attention_result *result) {
    free(result->out);
    free(result->weights);
    free(result->scores);
    free(result->logsumexp);
    ref_attention_free(&result->reference);
    memset(result, 0, sizeof *result);
}

void attention_check(const qkv_attention *plan, const struct attention_case *c, struct attention_data *data,
                     struct test_random *random) {
    struct attention_result result;
    attention_check_keep(&result, plan, c, data, random);
    attention_result_free(&result);
}

void attention_random_check(const qkv_attention *plan, const struct attention_case *c, const char *solver,
                            size_t number) {
    struct test_random random = test_random_start(test_seed(), number);
    struct attention_data data;
    attention_note(c, solver, number);
    attention_data_make(&data, c, &random);
    attention_check(plan, c, &data, &random);
    attention_data_free(&data);
}

void attention_check_solvers(const struct attention_case *c, size_t number) {
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        attention_note(c, test_solver(s), number);
        qkv_attention *plan = attention_plan(c, test_solver(s));
        if (plan) attention_random_check(plan, c, test_solver(s), number);
        qkv_attention_destroy(plan);
    }
}
