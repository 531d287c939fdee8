/*
 * Random attention problems over everything that qkv/attention.h lets a run ask for, against the reference in double.
 * Cases share plans, since plans take a compiler; a case that fails is shrunk and printed with what makes it again.
 */
#include <stdio.h>

#include "support/semantics_case.h"

static size_t num_plans(void) {
    return test_is_thorough() ? 16 : test_is_slow() ? 4 : 6;
}

static struct semantics_limits limits_of_run(void) {
    const double work = test_is_simulator() ? 2e3 : test_is_slow() ? 2e5 : 6e5;
    return (struct semantics_limits){.batch = 3, .seq_q = test_cap(300), .seq_kv = test_cap(300), .work = work};
}

/* Plans of one specification, and how many of its cases each has run. */
struct plans {
    qkv_attention *plan[TEST_MOST_SOLVERS];
    size_t runs[TEST_MOST_SOLVERS];
};

static void check_case(const struct plans *plans, const struct semantics_case *c, uint64_t features,
                       const struct semantics_limits *limits, size_t number, size_t which) {
    char text[512], error[400];
    const char *solver = test_solver(which);
    struct semantics_data data;
    struct semantics_reference reference;
    semantics_data_make(&data, c);
    semantics_reference_make(&reference, c, &data);
    const bool right = semantics_check(plans->plan[which], c, &data, &reference, error, sizeof error);
    semantics_reference_free(&reference);
    semantics_data_free(&data);
    if (right) return;
    semantics_describe(text, sizeof text, c);
    printf("  failing: %s\n  with %s\n", error, text);
    const struct semantics_case least = semantics_shrink(c, features, limits, solver, error, sizeof error);
    semantics_describe(text, sizeof text, &least);
    test_note("seed %llu, case %zu, solver %s, features 0x%llx: %s", (unsigned long long)test_seed(), number,
              solver ? solver : "(default)", (unsigned long long)features, text);
    test_fail(__FILE__, __LINE__, "%s", error);
}

/* In turn; the library's own choice (0) is always there. */
static size_t next_solver(const struct plans *plans, size_t s) {
    do
        s = (s + 1) % TEST_NUM_SOLVERS;
    while (!plans->plan[s]);
    return s;
}

START_TEST(random_problems) {
    const struct semantics_limits limits = limits_of_run();
    const size_t cases = test_cases(test_is_thorough() ? 16000 : 4000) / num_plans() + 1;
    struct test_random random = test_random_start(test_seed(), (uint64_t)_i);
    struct plans plans = {0};
    uint64_t features;
    const struct semantics_case plan = semantics_plan_random(&random, (size_t)_i, &features);
    char text[512];
    semantics_describe(text, sizeof text, &plan);
    test_note("plan %d, features 0x%llx: %s", _i, (unsigned long long)features, text);
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        const qkv_status status = semantics_plan_create(&plans.plan[s], &plan, features, &limits, test_solver(s));
        if (!test_solver_refused(status, test_solver(s))) TEST_OK(status);
    }
    /* Without the default there is none: it is a solver by force, and cannot do this. */
    for (size_t n = 0, s = 0; plans.plan[0] && n < cases; n++, s = next_solver(&plans, s)) {
        const struct semantics_case c = semantics_case_random(&random, &plan, features, &limits);
        check_case(&plans, &c, features, &limits, n, s);
        plans.runs[s]++;
    }
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        qkv_attention_destroy(plans.plan[s]);
        if (plans.runs[s])
            printf("plan %d, %s: %zu cases\n", _i, test_solver(s) ? test_solver(s) : "default", plans.runs[s]);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("semantics");
    TCase *tcase = tcase_create("semantics");
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, random_problems, 0, (int)num_plans());
    suite_add_tcase(suite, tcase);
    printf("seed %llu\n", (unsigned long long)test_seed());
    return test_main(suite);
}
