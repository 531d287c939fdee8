/* What is derived from scores and weights: stages, other dtypes, weight received, top keys. */
#include <string.h>

#include "support/report_case.h"

static const struct report_plan plans[] = {
    {.head_dim = 16, .num_heads = 2, .num_kv_heads = 1},
    {.head_dim = 39,
     .num_heads = 2,
     .num_kv_heads = 2,
     .q_dtype = QKV_F16,
     .k_dtype = QKV_BF16,
     .weights_dtype = QKV_F16},
    {.head_dim = 64, .num_heads = 4, .num_kv_heads = 2, .weights_dtype = QKV_BF16},
};

/* The choice of attention's solver is the library's: it may lack what these plans ask for. */
static const char *const solvers[] = {NULL, "report=plain", "report=vector", "plain"};

#define ALL .scores = true, .weights = true, .logsumexp = true, .received = true

/* A simulator takes a thousand times as long: mixed storage there, and each report's solver once. */
static bool is_left_out(size_t plan, size_t solver) {
    return test_is_simulator() && (plan != 1 || !solvers[solver] || !strchr(solvers[solver], '='));
}

/* Runs a list of cases on every plan and solver. */
static void check_all(const struct report_case *cases, size_t n) {
    for (size_t p = 0; p < TEST_COUNT(plans); p++)
        for (size_t s = 0; s < TEST_COUNT(solvers); s++) {
            if (is_left_out(p, s)) continue;
            test_note("head_dim %zu, solver %s", plans[p].head_dim, solvers[s] ? solvers[s] : "(default)");
            qkv_attention *attention = report_plan_make(&plans[p], solvers[s]);
            for (size_t i = 0; attention && i < n; i++) {
                struct test_random random = test_random_start(test_seed(), i);
                report_note(&plans[p], &cases[i], solvers[s]);
                report_check(attention, &plans[p], &cases[i], &random);
            }
            qkv_attention_destroy(attention);
        }
}

START_TEST(stages) {
    const struct report_case cases[] = {
        {.batch = 1, .seq_q = 7, .seq_kv = 19, .stage = QKV_SCORES_RAW, .top = 3, ALL},
        {.batch = 2, .seq_q = 5, .seq_kv = 18, .stage = QKV_SCORES_RAW, .mask = REPORT_MASK_BOOL, .softcap = 0.5f, ALL},
        {.batch = 2,
         .seq_q = 5,
         .seq_kv = 18,
         .stage = QKV_SCORES_CAPPED,
         .softcap = 0.5f,
         .alibi = true,
         .causal = QKV_CAUSAL_LAST,
         ALL},
        {.batch = 2, .seq_q = 5, .seq_kv = 18, .stage = QKV_SCORES_CAPPED, .mask = REPORT_MASK_ADD, ALL},
        {.batch = 2,
         .seq_q = 5,
         .seq_kv = 18,
         .stage = QKV_SCORES_MASKED,
         .softcap = 0.5f,
         .alibi = true,
         .mask = REPORT_MASK_ADD,
         .sinks = true,
         ALL},
        {.batch = 1,
         .seq_q = 6,
         .seq_kv = 9,
         .stage = QKV_SCORES_MASKED,
         .mask = REPORT_MASK_BOOL,
         .mask_keys = 4,
         ALL},
    };
    check_all(cases, TEST_COUNT(cases));
}
END_TEST

START_TEST(alone) {
    const struct report_case cases[] = {
        {.batch = 2, .seq_q = 9, .seq_kv = 21, .received = true},
        {.batch = 2, .seq_q = 9, .seq_kv = 21, .top = 1},
        {.batch = 2, .seq_q = 9, .seq_kv = 21, .top = 64},
        {.batch = 2, .seq_q = 9, .seq_kv = 21, .scores = true, .stage = QKV_SCORES_RAW},
        {.batch = 2, .seq_q = 9, .seq_kv = 21, .weights = true},
    };
    check_all(cases, TEST_COUNT(cases));
}
END_TEST

/* Tiles, their tails, and everything that keeps a query from a key. */
START_TEST(reaches) {
    const size_t n = test_cap(133);
    const struct report_case cases[] = {
        {.batch = 1, .seq_q = n, .seq_kv = n, .causal = QKV_CAUSAL_FIRST, .top = 10, ALL},
        {.batch = 1, .seq_q = n, .seq_kv = n + 7, .windowed = true, .window = {.left = 20, .right = 3}, .top = 64, ALL},
        {.batch = 1,
         .seq_q = n,
         .seq_kv = n - 2,
         .windowed = true,
         .window = {.left = -1, .right = 0},
         .sinks = true,
         .top = 5,
         ALL},
        {.batch = 2, .seq_q = 3, .seq_kv = n, .causal = QKV_CAUSAL_LAST, .lengths = true, .alibi = true, .top = 7, ALL},
        {.batch = 1, .seq_q = n, .seq_kv = 5, .query_offset = -9, .causal = QKV_CAUSAL_FIRST, .top = 2, ALL},
        {.batch = 1,
         .seq_q = 1,
         .seq_kv = n,
         .query_offset = 50,
         .windowed = true,
         .window = {.left = 20, .right = 20},
         .top = 33,
         ALL},
    };
    check_all(cases, TEST_COUNT(cases));
}
END_TEST

START_TEST(nothing_to_see) {
    const struct report_case cases[] = {
        {.batch = 2, .seq_q = 4, .seq_kv = 0, .top = 3, ALL},
        {.batch = 2, .seq_q = 0, .seq_kv = 9, .top = 3, ALL},
        {.batch = 0, .seq_q = 4, .seq_kv = 9, .top = 3, ALL},
        {.batch = 1, .seq_q = 4, .seq_kv = 9, .query_offset = -20, .causal = QKV_CAUSAL_FIRST, .top = 3, ALL},
        {.batch = 1,
         .seq_q = 4,
         .seq_kv = 9,
         .query_offset = -20,
         .causal = QKV_CAUSAL_FIRST,
         .sinks = true,
         .top = 3,
         ALL},
    };
    check_all(cases, TEST_COUNT(cases));
}
END_TEST

/* Equal keys have equal weights to the last bit, and the lower index comes first. */
START_TEST(ties) {
    const struct report_case cases[] = {
        {.batch = 1, .seq_q = 6, .seq_kv = 40, .equal_keys = true, .top = 9, ALL},
        {.batch = 1, .seq_q = 70, .seq_kv = 70, .equal_keys = true, .top = 64, .mask = REPORT_MASK_BOOL, ALL},
        {.batch = 1, .seq_q = 70, .seq_kv = 70, .equal_keys = true, .top = 5, .causal = QKV_CAUSAL_FIRST, ALL},
    };
    check_all(cases, TEST_COUNT(cases));
}
END_TEST

START_TEST(not_a_number) {
    const struct report_case cases[] = {
        {.batch = 1, .seq_q = 6, .seq_kv = 40, .nan_query = true, .top = 9, .received = true},
        {.batch = 1,
         .seq_q = 70,
         .seq_kv = 90,
         .nan_query = true,
         .top = 64,
         .mask = REPORT_MASK_BOOL,
         .received = true},
        {.batch = 1,
         .seq_q = 70,
         .seq_kv = 70,
         .nan_query = true,
         .top = 5,
         .causal = QKV_CAUSAL_FIRST,
         .received = true},
    };
    check_all(cases, TEST_COUNT(cases));
}
END_TEST

static struct report_case random_case(struct test_random *random) {
    struct report_case c = {.batch = test_random_between(random, 1, REPORT_BATCH)};
    c.seq_q = test_random_size(random, test_cap(REPORT_SEQ));
    c.seq_kv = test_random_size(random, test_cap(REPORT_SEQ));
    c.top = test_random_once_in(random, 3) ? 0 : test_random_between(random, 1, 64);
    c.mask = (enum report_mask)test_random_below(random, 3);
    if (test_random_once_in(random, 3)) c.mask_keys = test_random_between(random, 1, c.seq_kv);
    if (c.mask_keys == 1) c.mask_keys = 0; /* that is broadcast */
    if (c.seq_kv == 1) c.mask_keys = 0;
    c.mask_shared = test_random_once_in(random, 2);
    c.causal = (qkv_causal)test_random_below(random, 3);
    c.windowed = test_random_once_in(random, 2);
    c.window = (qkv_window)QKV_WINDOW_INIT;
    if (test_random_once_in(random, 2)) c.window.left = (int64_t)test_random_below(random, c.seq_kv);
    if (test_random_once_in(random, 2)) c.window.right = (int64_t)test_random_below(random, c.seq_kv);
    if (c.causal != QKV_CAUSAL_LAST && test_random_once_in(random, 2))
        c.query_offset = (int64_t)test_random_below(random, 40) - 20;
    if (test_random_once_in(random, 2)) c.softcap = 0.5f + 2 * (1 + test_random_float(random));
    c.alibi = test_random_once_in(random, 2);
    c.sinks = test_random_once_in(random, 2);
    c.lengths = test_random_once_in(random, 3);
    c.views = test_random_once_in(random, 2);
    c.stage = (qkv_scores_stage)test_random_below(random, 3);
    c.scores = test_random_once_in(random, 2);
    c.weights = test_random_once_in(random, 2);
    c.logsumexp = test_random_once_in(random, 2);
    c.received = !test_random_once_in(random, 3);
    return c;
}

START_TEST(any) {
    for (size_t p = 0; p < TEST_COUNT(plans); p++)
        for (size_t s = 0; s < TEST_COUNT(solvers); s++) {
            qkv_attention *attention = is_left_out(p, s) ? NULL : report_plan_make(&plans[p], solvers[s]);
            for (size_t i = 0; attention && i < test_cases(25); i++) {
                struct test_random random = test_random_start(test_seed(), 1000 + i);
                const struct report_case c = random_case(&random);
                report_note(&plans[p], &c, solvers[s]);
                report_check(attention, &plans[p], &c, &random);
            }
            qkv_attention_destroy(attention);
        }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("reports");
    TCase *tcase = tcase_create("reports");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, stages);
    tcase_add_test(tcase, alone);
    tcase_add_test(tcase, reaches);
    tcase_add_test(tcase, nothing_to_see);
    tcase_add_test(tcase, ties);
    tcase_add_test(tcase, not_a_number);
    tcase_add_test(tcase, any);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
