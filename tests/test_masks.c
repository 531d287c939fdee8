/* What excluding a key means: masks of every rank, rows without keys, NaN and infinity that stay where they are. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/attention_case.h"

/* One shape for most of this file, so that a solver's programs are built once. */
static struct attention_case base_case(void) {
    size_t kv_heads = test_is_pressed() ? 1 : 2;
    struct attention_case c = {.batch = 2,
                               .num_heads = 2 * kv_heads,
                               .num_kv_heads = kv_heads,
                               .seq_q = 7,
                               .seq_kv = 19,
                               .head_dim = 12,
                               .value_dim = 9,
                               .mask = TEST_MASK_BOOL,
                               .mask_axes = 15,
                               .weights = true,
                               .scores = true,
                               .logsumexp = true};
    return c;
}

/* Ranks 1 to 4, every axis full or broadcast, both dtypes, with and without causal. */
START_TEST(broadcast) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    qkv_attention *plan = attention_plan(&c, solver);
    size_t number = 0;
    for (size_t rank = 1; plan && rank <= 4; rank++)
        for (unsigned axes = 0; axes < 1u << rank; axes++) {
            c.mask_rank = rank;
            c.mask_axes = axes << (4 - rank);
            c.mask = number % 2 ? TEST_MASK_ADD : TEST_MASK_BOOL;
            c.causal = (qkv_causal)(number % 3);
            c.views = number % 4 == 3;
            attention_random_check(plan, &c, solver, number++);
            if (test_is_slow() && rank < 4) axes++;
            if (test_is_pressed() && rank == 4) axes += 2; /* both ends stay: nothing full, everything full */
        }
    qkv_attention_destroy(plan);
}
END_TEST

/* What a plan can do is not what a run must ask for. */
START_TEST(plan_with_mask_runs_without) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    qkv_attention *plan = attention_plan(&c, solver);
    c.mask = TEST_MASK_NONE, c.weights = c.scores = false;
    if (plan) attention_random_check(plan, &c, solver, 0);
    qkv_attention_destroy(plan);
}
END_TEST

static bool excluded_by(const struct attention_case *c, const struct attention_data *data, size_t b, size_t h, size_t i,
                        size_t j) {
    size_t at = ((b * c->num_heads + h) * c->seq_q + i) * c->seq_kv + j;
    return (data->mask_bool && !data->mask_bool[at]) || (data->mask_add && data->mask_add[at] == -INFINITY);
}

/* Rows 0, 3 and the last with nothing to attend to, in one head only. */
START_TEST(rows_without_keys) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    qkv_attention *plan = attention_plan(&c, solver);
    for (int mask = TEST_MASK_BOOL; plan && mask <= TEST_MASK_ADD; mask++) {
        static const size_t rows[] = {0, 3, 6};
        struct test_random random = test_random_start(test_seed(), (uint64_t)mask);
        struct attention_data data;
        struct attention_result result;
        c.mask = (enum test_mask)mask;
        attention_note(&c, solver, (size_t)mask);
        attention_data_make(&data, &c, &random);
        size_t head = (c.num_heads + 1) * c.seq_q; /* batch 1, head 1 */
        for (size_t n = 0; n < TEST_COUNT(rows); n++)
            for (size_t j = 0; j < c.seq_kv; j++) {
                size_t at = (head + rows[n]) * c.seq_kv + j;
                if (data.mask_bool)
                    data.mask_bool[at] = 0;
                else
                    data.mask_add[at] = -INFINITY;
            }
        attention_check_keep(&result, plan, &c, &data, &random);
        for (size_t n = 0; n < TEST_COUNT(rows); n++) {
            size_t row = head + rows[n];
            TEST_TRUE(result.logsumexp[row] == -INFINITY);
            for (size_t d = 0; d < c.value_dim; d++)
                TEST_TRUE(result.out[row * c.value_dim + d] == 0);
            for (size_t j = 0; j < c.seq_kv; j++)
                TEST_TRUE(result.weights[row * c.seq_kv + j] == 0 && result.scores[row * c.seq_kv + j] == -INFINITY);
        }
        attention_result_free(&result);
        attention_data_free(&data);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* Every key excluded for every query. */
START_TEST(all_masked) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    struct test_random random = test_random_start(test_seed(), 3);
    struct attention_data data;
    c.mask_rank = 1, c.mask_axes = 8;
    attention_note(&c, solver, 3);
    attention_data_make(&data, &c, &random);
    memset(data.mask_bool, 0, c.seq_kv);
    qkv_attention *plan = attention_plan(&c, solver);
    if (plan) attention_check(plan, &c, &data, &random);
    qkv_attention_destroy(plan);
    attention_data_free(&data);
}
END_TEST

/* NaN and infinity in keys and values that no query of the head may see. */
static void set_traps(struct attention_data *data, const struct attention_case *c, size_t first_key) {
    static const float traps[] = {NAN, INFINITY, -INFINITY, FLT_MAX};
    for (size_t row = 0; row < c->batch * c->num_kv_heads; row++)
        for (size_t j = first_key; j < c->seq_kv; j++) {
            for (size_t d = 0; d < c->head_dim; d++)
                data->k[(row * c->seq_kv + j) * c->head_dim + d] = traps[(j + d) % 4];
            for (size_t d = 0; d < c->value_dim; d++)
                data->v[(row * c->seq_kv + j) * c->value_dim + d] = traps[(j + d + 1) % 3];
        }
}

/* The reference multiplies no excluded value either, so finite results are compared with finite ones. */
START_TEST(traps_behind_a_mask) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    qkv_attention *plan = attention_plan(&c, solver);
    for (size_t n = 0; plan && n < 6; n++) {
        struct test_random random = test_random_start(test_seed(), n);
        struct attention_data data;
        size_t first = n < 2 ? c.seq_kv - 3 : n < 4 ? c.seq_kv / 2 : 1;
        c.mask = n % 2 ? TEST_MASK_ADD : TEST_MASK_BOOL;
        c.mask_rank = 1, c.mask_axes = 8;
        c.views = n >= 4;
        attention_note(&c, solver, n);
        attention_data_make(&data, &c, &random);
        for (size_t j = first; j < c.seq_kv; j++) {
            if (data.mask_bool)
                data.mask_bool[j] = 0;
            else
                data.mask_add[j] = -INFINITY;
        }
        set_traps(&data, &c, first);
        attention_check(plan, &c, &data, &random);
        attention_data_free(&data);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* Behind causal, each query sees one key more: a trap at key t is hidden from the queries before it only, so the
 * queries are few enough that the traps stay hidden from all. */
START_TEST(traps_behind_causal) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    c.mask = TEST_MASK_NONE, c.causal = QKV_CAUSAL_FIRST;
    qkv_attention *plan = attention_plan(&c, solver);
    struct test_random random = test_random_start(test_seed(), 0);
    struct attention_data data;
    attention_note(&c, solver, 0);
    attention_data_make(&data, &c, &random);
    set_traps(&data, &c, c.seq_q);
    if (plan) attention_check(plan, &c, &data, &random);
    attention_data_free(&data);
    qkv_attention_destroy(plan);
}
END_TEST

/* A NaN that some queries see: they become NaN, as the formula says; for the others it is not there. */
START_TEST(trap_seen_by_some) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    c.mask = TEST_MASK_NONE, c.causal = QKV_CAUSAL_FIRST, c.seq_q = c.seq_kv = 19;
    qkv_attention *plan = attention_plan(&c, solver);
    for (size_t trap = 1; plan && trap < 19; trap += 5) {
        struct test_random random = test_random_start(test_seed(), trap);
        struct attention_data data;
        attention_note(&c, solver, trap);
        attention_data_make(&data, &c, &random);
        for (size_t row = 0; row < c.batch * c.num_kv_heads; row++)
            for (size_t d = 0; d < c.head_dim; d++)
                data.k[(row * c.seq_kv + trap) * c.head_dim + d] = NAN;
        attention_check(plan, &c, &data, &random);
        attention_data_free(&data);
    }
    qkv_attention_destroy(plan);
}
END_TEST

START_TEST(nan_query_stays_in_its_row) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    c.mask_axes = 8;
    qkv_attention *plan = attention_plan(&c, solver);
    for (size_t n = 0; plan && n < 3; n++) {
        struct test_random random = test_random_start(test_seed(), n);
        struct attention_data data;
        struct attention_result result;
        size_t row = (c.num_heads + n % c.num_heads) * c.seq_q + 2 * n;
        c.mask = (enum test_mask)n;
        attention_note(&c, solver, n);
        attention_data_make(&data, &c, &random);
        if (data.mask_bool) data.mask_bool[0] = 1;
        data.q[row * c.head_dim + n] = NAN;
        attention_check_keep(&result, plan, &c, &data, &random);
        TEST_TRUE(isnan(result.out[row * c.value_dim]));
        TEST_TRUE(!isnan(result.out[(row + 1) * c.value_dim]));
        attention_result_free(&result);
        attention_data_free(&data);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* Scores of 1e4: exp() would overflow without the maximum taken off. */
START_TEST(large_scores) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    qkv_attention *plan = attention_plan(&c, solver);
    static const float magnitudes[] = {30, 100};
    for (size_t n = 0; plan && n < 4; n++) {
        c.mask = n < 2 ? TEST_MASK_NONE : TEST_MASK_ADD;
        c.magnitude = magnitudes[n % 2], c.scale = 1;
        attention_random_check(plan, &c, solver, n);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* All scores near +1e4 and near -1e4, in ascending and descending order: each key a new maximum, or none. */
START_TEST(large_scores_in_order) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    c.mask = TEST_MASK_NONE;
    qkv_attention *plan = attention_plan(&c, solver);
    for (size_t n = 0; plan && n < 4; n++) {
        struct test_random random = test_random_start(test_seed(), n);
        struct attention_data data;
        attention_note(&c, solver, n);
        attention_data_make(&data, &c, &random);
        memset(data.q, 0, c.batch * c.num_heads * c.seq_q * c.head_dim * sizeof(float));
        for (size_t i = 0; i < c.batch * c.num_heads * c.seq_q; i++)
            data.q[i * c.head_dim] = n < 2 ? 100 : -100;
        for (size_t j = 0; j < c.batch * c.num_kv_heads * c.seq_kv; j++) {
            float step = (float)(j % c.seq_kv) / 128; /* exact, and 100 * step too */
            data.k[j * c.head_dim] = n % 2 ? 100 - step : 99 + step;
        }
        c.scale = 1;
        attention_check(plan, &c, &data, &random);
        attention_data_free(&data);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/*
 * The scores of most keys are 0 and those of the last ones higher, by anything from next to nothing to what exp() cannot
 * take: whatever a kernel did with the keys before, it must bring to the new maximum. In a plan that could do masks and
 * weights, which are not asked for.
 */
START_TEST(scores_that_rise) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    c.seq_q = 40, c.seq_kv = 150;
    qkv_attention *plan = attention_plan(&c, solver);
    c.mask = TEST_MASK_NONE, c.weights = c.scores = false, c.scale = 1, c.batch = 1;
    for (size_t rise = 1; plan && rise < 200; rise += test_is_slow() ? 20 : 4) {
        struct test_random random = test_random_start(test_seed(), rise);
        struct attention_data data;
        attention_note(&c, solver, rise);
        attention_data_make(&data, &c, &random);
        for (size_t i = 0; i < c.num_heads * c.seq_q * c.head_dim; i++)
            data.q[i] = i % c.head_dim == 0;
        for (size_t j = 0; j < c.num_kv_heads * c.seq_kv; j++)
            data.k[j * c.head_dim] = j % c.seq_kv >= 70 ? (float)rise : 0;
        attention_check(plan, &c, &data, &random);
        attention_data_free(&data);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/*
 * Finite masks as some frameworks write them instead of -inf. A key with one is not excluded: beside other keys its
 * weight vanishes, and a row that has nothing else still sums to 1 (attention_check looks at the sums).
 */
START_TEST(finite_masks) {
    static const float values[] = {-1e4f, -1e9f, -1e30f, -FLT_MAX};
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    c.mask = TEST_MASK_ADD;
    qkv_attention *plan = attention_plan(&c, solver);
    for (size_t n = 0; plan && n < 2 * TEST_COUNT(values); n += n && test_is_pressed() ? 3 : 1) { /* 0, 1, 4, 7 */
        struct test_random random = test_random_start(test_seed(), n);
        struct attention_data data;
        c.mask_rank = 2, c.mask_axes = 12;
        attention_note(&c, solver, n);
        attention_data_make(&data, &c, &random);
        for (size_t i = 0; i < c.seq_q * c.seq_kv; i++) {
            bool whole_row = n % 2 && i / c.seq_kv == 2;
            data.mask_add[i] = whole_row || i % 3 ? values[n / 2] : 0;
        }
        attention_check(plan, &c, &data, &random);
        attention_data_free(&data);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* The test's own helper against the reference: an excluded key's score is -inf and its weight 0, exactly. */
START_TEST(excluded_keys_read_as_excluded) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = base_case();
    struct test_random random = test_random_start(test_seed(), 8);
    struct attention_data data;
    struct attention_result result;
    attention_note(&c, solver, 8);
    attention_data_make(&data, &c, &random);
    qkv_attention *plan = attention_plan(&c, solver);
    if (plan) {
        attention_check_keep(&result, plan, &c, &data, &random);
        for (size_t at = 0; at < c.batch * c.num_heads * c.seq_q * c.seq_kv; at++) {
            size_t j = at % c.seq_kv, i = at / c.seq_kv % c.seq_q, h = at / c.seq_kv / c.seq_q;
            if (excluded_by(&c, &data, h / c.num_heads, h % c.num_heads, i, j))
                TEST_TRUE(result.scores[at] == -INFINITY && result.weights[at] == 0);
            else
                TEST_TRUE(result.scores[at] > -INFINITY && result.weights[at] > 0);
        }
        attention_result_free(&result);
    }
    qkv_attention_destroy(plan);
    attention_data_free(&data);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("masks");
    TCase *tcase = tcase_create("masks");
    tcase_add_loop_test(tcase, broadcast, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, plan_with_mask_runs_without, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, rows_without_keys, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, all_masked, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, excluded_keys_read_as_excluded, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, finite_masks, 0, TEST_NUM_SOLVERS);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("extremes");
    tcase_add_loop_test(tcase, traps_behind_a_mask, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, traps_behind_causal, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, trap_seen_by_some, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, nan_query_stays_in_its_row, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, large_scores, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, large_scores_in_order, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, scores_that_rise, 0, TEST_NUM_SOLVERS);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
