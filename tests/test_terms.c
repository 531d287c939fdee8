/*
 * Windows and what goes with them where kernels change over: blocks of keys and of query rows, a key head's rows numbered
 * through, keys split. NaN and infinity lie where no query looks, so also just outside each window.
 */
#include "support/semantics_case.h"

/* Kernels' blocks are 16 to 64 rows or keys. */
static const size_t queries[] = {1, 2, 5, 20, 63, 64, 65, 130};
static const size_t keys[] = {1, 31, 64, 65, 127, 129, 300, 600};
static const int64_t sides[] = {0, 1, 16, 31, 63, 64, 65, 200, -1};

#define PICK(random, array) ((array)[test_random_below((random), TEST_COUNT(array))])

static struct semantics_limits limits_of_run(void) {
    return (struct semantics_limits){.batch = 2, .seq_q = test_cap(130), .seq_kv = test_cap(600), .work = 1e6};
}

struct setting {
    struct semantics_case like;
    uint64_t features;
};
#define TERMS                                                                                                          \
    (QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_WINDOW | QKV_ATTENTION_LENGTHS | QKV_ATTENTION_ALIBI | QKV_ATTENTION_SINKS)
static const struct setting settings[] = {
    {{.num_heads = 6, .num_kv_heads = 2, .head_dim = 16, .value_dim = 16, .q_dtype = QKV_F32, .k_dtype = QKV_F32,
      .v_dtype = QKV_F32, .out_dtype = QKV_F32, .weights_dtype = QKV_F32},
     TERMS},
    {{.num_heads = 3, .num_kv_heads = 1, .head_dim = 20, .value_dim = 12, .q_dtype = QKV_F32, .k_dtype = QKV_F16,
      .v_dtype = QKV_BF16, .out_dtype = QKV_F16, .weights_dtype = QKV_F32},
     TERMS | QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS},
};

static struct semantics_case random_case(const struct setting *setting, struct test_random *random) {
    struct semantics_case c = setting->like;
    c.batch = test_random_between(random, 1, 2);
    c.seq_q = test_cap(PICK(random, queries));
    c.seq_kv = test_cap(PICK(random, keys));
    c.magnitude = test_random_once_in(random, 4) ? 8.0f : 1.0f;
    c.causal = (qkv_causal)test_random_below(random, 3);
    if (c.causal != QKV_CAUSAL_LAST && test_random_once_in(random, 3))
        c.query_offset = (int64_t)test_random_below(random, 200) - 60;
    if (test_random_once_in(random, 3)) c.lengths = QKV_I32;
    c.windowed = !test_random_once_in(random, 5);
    c.window = (qkv_window){PICK(random, sides), PICK(random, sides)};
    if (test_random_once_in(random, 3)) c.softcap = 2.5f;
    c.slopes = test_random_once_in(random, 3);
    c.sinks = test_random_once_in(random, 3);
    c.logsumexp = true;
    if (setting->features & QKV_ATTENTION_MASK) {
        static const qkv_dtype masks[] = {(qkv_dtype)0, QKV_BOOL, QKV_F32, QKV_F16, QKV_BF16};
        c.mask = PICK(random, masks);
        c.mask_rank = 4;
        c.mask_axes = 12;
        c.mask_missing = test_random_once_in(random, 2) ? 0 : test_random_below(random, c.seq_kv);
        c.weights = test_random_once_in(random, 4);
        c.scores = test_random_once_in(random, 4);
    }
    c.traps = true;
    c.layout = (enum semantics_layout)test_random_below(random, 3);
    c.stream = test_random_bits(random);
    return c;
}

static void check_case(const qkv_attention *plan, const struct semantics_case *c, const char *solver, size_t number) {
    char text[512], error[400];
    struct semantics_data data;
    struct semantics_reference reference;
    semantics_describe(text, sizeof text, c);
    test_note("seed %llu, case %zu, solver %s: %s", (unsigned long long)test_seed(), number,
              solver ? solver : "(default)", text);
    semantics_data_make(&data, c);
    semantics_reference_make(&reference, c, &data);
    if (!semantics_check(plan, c, &data, &reference, error, sizeof error)) test_fail(__FILE__, __LINE__, "%s", error);
    semantics_reference_free(&reference);
    semantics_data_free(&data);
}

START_TEST(borders) {
    const char *solver = test_solver((size_t)_i % TEST_NUM_SOLVERS);
    const struct setting *setting = &settings[(size_t)_i / TEST_NUM_SOLVERS];
    const struct semantics_limits limits = limits_of_run();
    qkv_attention *plan = NULL;
    const qkv_status status = semantics_plan_create(&plan, &setting->like, setting->features, &limits, solver);
    if (test_solver_refused(status, solver)) return;
    TEST_OK(status);
    for (size_t n = 0; n < test_cases(60); n++) {
        struct test_random random = test_random_start(test_seed(), n);
        const struct semantics_case c = random_case(setting, &random);
        check_case(plan, &c, solver, n);
    }
    qkv_attention_destroy(plan);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("terms");
    TCase *tcase = tcase_create("terms");
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, borders, 0, (int)(TEST_COUNT(settings) * TEST_NUM_SOLVERS));
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
