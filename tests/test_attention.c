/* Scaled dot-product attention: shapes, lengths, causality, grouped heads, scale. Masks and views have their own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/attention_case.h"
#include "support/compare.h"

/* Lengths on both sides of every tile, many runs on one plan: lengths are arguments of a run. */
START_TEST(random_shapes) {
    static const size_t dims[][2] = {{1, 1},   {3, 5},   {16, 16},   {17, 31},  {33, 15}, {47, 49},
                                     {64, 64}, {80, 65}, {128, 128}, {63, 127}, {64, 1}};
    static const size_t heads[][2] = {{1, 1}, {4, 2}, {3, 3}, {6, 1}, {2, 2}};
    const char *solver = test_solver((size_t)_i);
    size_t cap = test_cap(130), per_plan = test_cases(6);
    size_t num_dims = test_is_simulator() ? 4 : test_is_slow() ? 8 : TEST_COUNT(dims);
    /* Each builds programs of its own; the seed says which half. */
    size_t step = test_is_thorough() ? 1 : 2;
    for (size_t d = test_seed() % step; d < num_dims; d += step) {
        const size_t *h = heads[d % TEST_COUNT(heads)];
        struct attention_case limits = {.batch = 3,
                                        .num_heads = h[0],
                                        .num_kv_heads = h[1],
                                        .seq_q = cap,
                                        .seq_kv = cap,
                                        .head_dim = dims[d][0],
                                        .value_dim = dims[d][1]};
        limits.mask = d % 3 == 1 ? TEST_MASK_BOOL : TEST_MASK_NONE;
        limits.weights = d / 2 % 2 == 0;
        attention_note(&limits, solver, d);
        qkv_attention *plan = attention_plan(&limits, solver);
        for (size_t n = 0; plan && n < per_plan; n++) {
            struct test_random random = test_random_start(test_seed() + 77, 100 * d + n);
            struct attention_case c = limits;
            c.batch = test_random_between(&random, 1, 3);
            c.seq_q = test_random_size(&random, cap);
            c.seq_kv = test_random_size(&random, cap);
            c.causal = (qkv_causal)test_random_below(&random, 3);
            c.mask = limits.mask ? (enum test_mask)test_random_below(&random, 3) : TEST_MASK_NONE;
            c.mask_rank = test_random_between(&random, 1, 4);
            c.mask_axes = (unsigned)test_random_below(&random, 16);
            c.weights = limits.weights && test_random_once_in(&random, 2);
            c.scores = limits.weights && test_random_once_in(&random, 2);
            c.logsumexp = test_random_once_in(&random, 2);
            c.views = test_random_once_in(&random, 2);
            c.magnitude = test_random_once_in(&random, 4) ? 6 : 1;
            attention_random_check(plan, &c, solver, 100 * d + n);
        }
        qkv_attention_destroy(plan);
    }
}
END_TEST

/* Every multiple of a tile and its neighbours as seq_q and as seq_kv. */
START_TEST(tile_edges) {
    static const size_t edges[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129, 255, 257};
    const char *solver = test_solver((size_t)_i);
    struct attention_case limits = {
        .batch = 1, .num_heads = 2, .num_kv_heads = 1, .seq_q = 257, .seq_kv = 257, .head_dim = 20, .value_dim = 12};
    size_t cap = test_is_simulator() ? 17 : test_is_slow() ? 33 : 257;
    qkv_attention *plan = attention_plan(&limits, solver);
    for (size_t i = 0; plan && i < TEST_COUNT(edges) && edges[i] <= cap; i++) {
        struct attention_case c = limits;
        c.logsumexp = true;
        c.seq_q = edges[i], c.seq_kv = edges[(i * 7 + 3) % TEST_COUNT(edges)];
        c.seq_kv = c.seq_kv > cap ? cap : c.seq_kv;
        attention_random_check(plan, &c, solver, 2 * i);
        c.seq_kv = edges[i], c.seq_q = edges[(i * 5 + 2) % TEST_COUNT(edges)];
        c.seq_q = c.seq_q > cap ? cap : c.seq_q;
        c.causal = QKV_CAUSAL_LAST;
        attention_random_check(plan, &c, solver, 2 * i + 1);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* The largest dims, and odd ones between. */
START_TEST(large_dims) {
    static const size_t dims[][2] = {{512, 512}, {511, 3}, {2, 512}, {257, 192}};
    const char *solver = test_solver((size_t)_i);
    for (size_t d = 0; d < (test_is_slow() ? 1 : TEST_COUNT(dims)); d++) {
        struct attention_case c = {.batch = 1,
                                   .num_heads = test_is_pressed() ? 1 : 2,
                                   .num_kv_heads = 1,
                                   .seq_q = test_cap(19),
                                   .seq_kv = test_cap(35),
                                   .head_dim = dims[d][0],
                                   .value_dim = dims[d][1],
                                   .logsumexp = true,
                                   .views = true};
        attention_note(&c, solver, d);
        qkv_attention *plan = attention_plan(&c, solver);
        if (plan) attention_random_check(plan, &c, solver, d);
        qkv_attention_destroy(plan);
    }
}
END_TEST

START_TEST(causal_alignment) {
    static const size_t lengths[][2] = {{33, 64}, {5, 9}, {9, 9}, {9, 5}, {1, 7}, {7, 1}, {64, 33}, {40, 40}};
    const char *solver = test_solver((size_t)_i);
    size_t count = test_is_pressed() ? 6 : TEST_COUNT(lengths), heads = test_is_pressed() ? 1 : 2;
    struct attention_case c = {.batch = heads,
                               .num_heads = heads,
                               .num_kv_heads = heads,
                               .seq_q = 64,
                               .seq_kv = 64,
                               .head_dim = 8,
                               .value_dim = 8,
                               .weights = true,
                               .scores = true,
                               .logsumexp = true};
    qkv_attention *plan = attention_plan(&c, solver);
    for (size_t n = 0; plan && n < count; n++)
        for (int causal = QKV_CAUSAL_OFF; causal <= QKV_CAUSAL_LAST; causal++) {
            c.seq_q = lengths[n][0], c.seq_kv = lengths[n][1], c.causal = (qkv_causal)causal;
            attention_random_check(plan, &c, solver, 3 * n + (size_t)causal);
        }
    qkv_attention_destroy(plan);
}
END_TEST

/* With seq_q > seq_kv and QKV_CAUSAL_LAST the first queries see nothing: zeros and -inf, said once without a
 * reference in between. */
START_TEST(causal_last_leaves_first_rows_empty) {
    struct attention_case c = {.batch = 1,
                               .num_heads = 1,
                               .num_kv_heads = 1,
                               .seq_q = 5,
                               .seq_kv = 3,
                               .head_dim = 4,
                               .value_dim = 4,
                               .causal = QKV_CAUSAL_LAST,
                               .weights = true,
                               .logsumexp = true};
    struct test_random random = test_random_start(test_seed(), 1);
    struct attention_data data;
    struct attention_result result;
    attention_note(&c, NULL, 0);
    attention_data_make(&data, &c, &random);
    qkv_attention *plan = attention_plan(&c, NULL);
    attention_check_keep(&result, plan, &c, &data, &random);
    for (size_t i = 0; i < 2; i++) {
        TEST_TRUE(result.logsumexp[i] == -INFINITY);
        for (size_t d = 0; d < 4; d++)
            TEST_TRUE(result.out[i * 4 + d] == 0);
        for (size_t j = 0; j < 3; j++)
            TEST_TRUE(result.weights[i * 3 + j] == 0);
    }
    TEST_TRUE(result.weights[2 * 3] == 1 && result.weights[2 * 3 + 1] == 0);
    attention_result_free(&result);
    attention_data_free(&data);
    qkv_attention_destroy(plan);
}
END_TEST

START_TEST(grouped_heads) {
    static const size_t heads[][2] = {{8, 8}, {8, 4}, {8, 2}, {8, 1}, {9, 3}, {1, 1}};
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < TEST_COUNT(heads); n += test_is_pressed() ? 2 : 1) {
        struct attention_case c = {.batch = test_is_pressed() ? 1 : 2,
                                   .num_heads = heads[n][0],
                                   .num_kv_heads = heads[n][1],
                                   .seq_q = 6,
                                   .seq_kv = 10,
                                   .head_dim = 16,
                                   .value_dim = 16,
                                   .logsumexp = true};
        attention_note(&c, solver, n);
        qkv_attention *plan = attention_plan(&c, solver);
        if (plan) attention_random_check(plan, &c, solver, n);
        qkv_attention_destroy(plan);
    }
}
END_TEST

/* num_kv_heads and value_dim of 0 mean num_heads and head_dim. */
START_TEST(defaults_of_the_description) {
    struct attention_case c = {
        .batch = 2, .num_heads = 3, .num_kv_heads = 0, .seq_q = 4, .seq_kv = 6, .head_dim = 8, .value_dim = 0};
    qkv_attention *plan = attention_plan(&c, NULL);
    c.num_kv_heads = 3, c.value_dim = 8;
    attention_random_check(plan, &c, NULL, 0);
    TEST_TRUE(qkv_attention_describe(plan)[0] != '\0');
    qkv_attention_destroy(plan);
}
END_TEST

START_TEST(scale_given) {
    static const float scales[] = {0, 1, 0.125f, 3.5f, -0.7f, 1e-6f};
    const char *solver = test_solver((size_t)_i);
    struct attention_case c = {.batch = 1,
                               .num_heads = 2,
                               .num_kv_heads = 2,
                               .seq_q = 9,
                               .seq_kv = 21,
                               .head_dim = 16,
                               .value_dim = 16,
                               .weights = true,
                               .scores = true,
                               .logsumexp = true};
    qkv_attention *plan = attention_plan(&c, solver);
    for (size_t n = 0; plan && n < TEST_COUNT(scales); n += test_is_pressed() ? 2 : 1) {
        c.scale = scales[n];
        attention_random_check(plan, &c, solver, n);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* A decode loop: one plan, seq_kv grows by one; then the few-queries regime over many keys. */
START_TEST(decode) {
    const char *solver = test_solver((size_t)_i);
    size_t kv_heads = test_is_pressed() ? 1 : 2;
    struct attention_case c = {.batch = kv_heads,
                               .num_heads = 2 * kv_heads,
                               .num_kv_heads = kv_heads,
                               .seq_q = 4,
                               .seq_kv = test_cap(2100),
                               .head_dim = 64,
                               .value_dim = 64};
    size_t longest = c.seq_kv;
    qkv_attention *plan = attention_plan(&c, solver);
    c.causal = QKV_CAUSAL_LAST, c.logsumexp = true, c.seq_q = 1;
    for (c.seq_kv = 1; plan && c.seq_kv <= test_cap(40); c.seq_kv += test_is_slow() ? 4 : 1)
        attention_random_check(plan, &c, solver, c.seq_kv);
    for (c.seq_q = 1; plan && c.seq_q <= 4; c.seq_q += test_is_pressed() ? 3 : 1) {
        c.seq_kv = longest - 7 * (c.seq_q - 1);
        attention_random_check(plan, &c, solver, longest + c.seq_q);
    }
    qkv_attention_destroy(plan);
}
END_TEST

START_TEST(nothing_to_do) {
    const char *solver = test_solver((size_t)_i);
    struct attention_case limits = {.batch = 2,
                                    .num_heads = 2,
                                    .num_kv_heads = 1,
                                    .seq_q = 5,
                                    .seq_kv = 5,
                                    .head_dim = 7,
                                    .value_dim = 3,
                                    .mask = TEST_MASK_BOOL,
                                    .weights = true};
    qkv_attention *plan = attention_plan(&limits, solver);
    for (size_t which = 0; plan && which < 4; which++) {
        struct attention_case c = limits;
        c.mask = TEST_MASK_NONE, c.scores = c.logsumexp = true;
        c.batch = which == 0 ? 0 : 2, c.seq_q = which == 1 ? 0 : 5, c.seq_kv = which >= 2 ? 0 : 5;
        c.causal = which == 3 ? QKV_CAUSAL_LAST : QKV_CAUSAL_OFF;
        attention_random_check(plan, &c, solver, which);
    }
    qkv_attention_destroy(plan);
}
END_TEST

/* One key: its weight is 1 and the output is its value, exactly. */
START_TEST(one_key_is_copied) {
    struct attention_case c = {.batch = 2,
                               .num_heads = 2,
                               .num_kv_heads = 2,
                               .seq_q = 3,
                               .seq_kv = 1,
                               .head_dim = 5,
                               .value_dim = 5,
                               .weights = true};
    struct test_random random = test_random_start(test_seed(), 9);
    struct attention_data data;
    attention_data_make(&data, &c, &random);
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        struct attention_result result;
        attention_note(&c, test_solver(s), 9);
        qkv_attention *plan = attention_plan(&c, test_solver(s));
        if (!plan) continue;
        attention_check_keep(&result, plan, &c, &data, &random);
        for (size_t i = 0; i < 2 * 2 * 3 * 5; i++)
            TEST_TRUE(result.out[i] == data.v[i / 15 * 5 + i % 5]);
        for (size_t i = 0; i < 2 * 2 * 3; i++)
            TEST_TRUE(result.weights[i] == 1);
        attention_result_free(&result);
        qkv_attention_destroy(plan);
    }
    attention_data_free(&data);
}
END_TEST

/* Heads do not mix: changing one head's query, key and value changes that head's output and no bit of another's. */
START_TEST(heads_are_independent) {
    struct attention_case c = {
        .batch = 1, .num_heads = 3, .num_kv_heads = 3, .seq_q = 6, .seq_kv = 11, .head_dim = 10, .value_dim = 10};
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        struct test_random random = test_random_start(test_seed(), 5);
        struct attention_data data;
        struct attention_result before, after;
        attention_note(&c, test_solver(s), 5);
        attention_data_make(&data, &c, &random);
        qkv_attention *plan = attention_plan(&c, test_solver(s));
        if (plan) {
            attention_check_keep(&before, plan, &c, &data, &random);
            for (size_t i = 0; i < 11 * 10; i++)
                data.k[11 * 10 + i] = -data.k[11 * 10 + i], data.v[11 * 10 + i] += 1;
            attention_check_keep(&after, plan, &c, &data, &random);
            TEST_TRUE(memcmp(before.out, after.out, 60 * sizeof(float)) == 0);
            TEST_TRUE(memcmp(before.out + 60, after.out + 60, 60 * sizeof(float)) != 0);
            TEST_TRUE(memcmp(before.out + 120, after.out + 120, 60 * sizeof(float)) == 0);
            attention_result_free(&before);
            attention_result_free(&after);
        }
        qkv_attention_destroy(plan);
        attention_data_free(&data);
    }
}
END_TEST

/* Memory grows with seq, not with seq * seq: doubling both lengths, to 32768, must not make the workspace grow
 * fourfold. */
START_TEST(workspace_grows_with_the_length) {
    const char *solver = test_solver((size_t)_i);
    size_t bytes[2] = {0, 0};
    for (size_t n = 0; n < 2; n++) {
        struct attention_case c = {.batch = 1,
                                   .num_heads = 2,
                                   .num_kv_heads = 2,
                                   .seq_q = (size_t)16384 << n,
                                   .seq_kv = (size_t)16384 << n,
                                   .head_dim = 16,
                                   .value_dim = 16};
        qkv_attention *plan = NULL;
        const qkv_attention_desc desc = attention_desc(&c, solver);
        const qkv_status status = qkv_attention_create(&plan, test_context(), &desc);
        /* A device whose loops are cut short may have no solver at all for so many keys. */
        if (test_solver_refused(status, solver ? solver : "(any)")) return;
        TEST_OK(status);
        bytes[n] = qkv_attention_workspace_bytes(plan);
        qkv_attention_destroy(plan);
    }
    if (bytes[1] > 5 * bytes[0] / 2 + 65536)
        test_fail(__FILE__, __LINE__, "workspace grew from %zu to %zu bytes", bytes[0], bytes[1]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attention");
    TCase *tcase = tcase_create("shapes");
    tcase_add_loop_test(tcase, random_shapes, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, tile_edges, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, large_dims, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, grouped_heads, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, decode, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, nothing_to_do, 0, TEST_NUM_SOLVERS);
    tcase_add_test(tcase, defaults_of_the_description);
    tcase_add_loop_test(tcase, workspace_grows_with_the_length, 0, TEST_NUM_SOLVERS);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("meaning");
    tcase_add_loop_test(tcase, causal_alignment, 0, TEST_NUM_SOLVERS);
    tcase_add_test(tcase, causal_last_leaves_first_rows_empty);
    tcase_add_loop_test(tcase, scale_given, 0, TEST_NUM_SOLVERS);
    tcase_add_test(tcase, one_key_is_copied);
    tcase_add_test(tcase, heads_are_independent);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
