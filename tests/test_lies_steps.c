/*
 * Drivers that lie, by the layer of liar/liar.h, about the steps beside linear layers and attention itself: rotary
 * positions, the copy of a cache, reports, and a whole layer at once. None of their kernels can be wrong unnoticed.
 */
#include "support/lie_trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static qkv_status plan_copy(char *out, size_t bytes, qkv_context *context, const char *solver) {
    return lie_plan_attention(out, bytes, context, solver, QKV_ATTENTION_PAST);
}

static qkv_status plan_report(char *out, size_t bytes, qkv_context *context, const char *solver) {
    return lie_plan_attention(out, bytes, context, solver, QKV_ATTENTION_REDUCED);
}

static const struct step {
    const char *solver;
    lie_plan plan;
    const char *kernels[4];
} steps[] = {
    {"rotary=vector", lie_plan_rotary, {"rotary_vector"}},
    {"rotary=plain", lie_plan_rotary, {"rotary_plain"}},
    {"copy=vector", plan_copy, {"copy_vector"}},
    {"copy=plain", plan_copy, {"copy_plain"}},
    {"report=vector", plan_report, {"report_keys", "report_queries"}},
    {"report=plain", plan_report, {"report_pairs", "report_received", "report_top"}},
};

static void try_step(struct lie_trial *trial, const struct step *step, const char *solver) {
    lie_try(trial, QKV_LOG_WARNING, NULL, step->plan, solver);
}

/* A solver taken by name has nobody to stand in for it: its failure is the error. */
START_TEST(bad_forced_step) {
    const struct step *step = &steps[_i];
    struct lie_trial trial;
    if (!liar_meet()) return;
    liar_tell("%s", "");
    try_step(&trial, step, step->solver);
    if (test_solver_refused(trial.status, step->solver)) return;
    TEST_TRUE(trial.status == QKV_OK);
    for (size_t w = 0; w < LIE_WAYS; w++)
        for (size_t k = 0; k < TEST_COUNT(step->kernels) && step->kernels[k]; k++) {
            if (test_leaves_out(w + k + (size_t)_i)) continue;
            test_note("%s=%s%s", lie_ways[w].lie, step->kernels[k], lie_ways[w].how);
            liar_tell("%s=%s%s", lie_ways[w].lie, step->kernels[k], lie_ways[w].how);
            try_step(&trial, step, step->solver);
            if (trial.status != lie_ways[w].status || !strstr(trial.message, step->solver) ||
                !strstr(trial.message, lie_ways[w].word))
                test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(trial.status), trial.message);
        }
    liar_tell("%s", "");
}
END_TEST

/* Else the next one in the table is taken, and the log told. */
START_TEST(bad_step_is_replaced) {
    const struct step *step = &steps[_i];
    const struct lie_way *way = &lie_ways[_i % LIE_WAYS];
    const char *forced = getenv("QKV_SOLVER");
    struct lie_trial trial;
    if (!liar_meet()) return;
    if (forced && *forced) {
        test_skip("QKV_SOLVER leaves no other solver to fall back to");
        return;
    }
    liar_tell("%s", "");
    try_step(&trial, step, NULL);
    TEST_TRUE(trial.status == QKV_OK);
    char operation[16];
    (void)snprintf(operation, sizeof operation, "%.*s=", (int)strcspn(step->solver, "="), step->solver);
    TEST_TRUE(strstr(trial.description, operation) != NULL);
    if (!strstr(trial.description, step->solver)) return; /* another row's */
    test_note("%s=%s%s", way->lie, step->kernels[0], way->how);
    liar_tell("%s=%s%s", way->lie, step->kernels[0], way->how);
    try_step(&trial, step, NULL);
    if (trial.status || strstr(trial.description, step->solver) || !strstr(trial.log, step->solver))
        test_fail(__FILE__, __LINE__, "%s%s%s", trial.message, trial.description, trial.log);
    liar_tell("%s", "");
}
END_TEST

/* A layer in one launch has its steps to stand in for it. */
START_TEST(bad_whole_layer_is_left_to_the_steps) {
    static const struct step step = {"layer=vector", lie_plan_layer, {"layer_vector"}};
    struct lie_trial trial;
    if (!liar_meet()) return;
    liar_tell("%s", "");
    try_step(&trial, &step, NULL);
    if (test_solver_refused(trial.status, NULL)) return;
    TEST_TRUE(trial.status == QKV_OK);
    if (!strstr(trial.description, step.solver)) {
        test_skip("a layer in one launch: this device takes the steps");
        return;
    }
    for (size_t w = 0; w < LIE_WAYS; w++) {
        test_note("%s=layer_vector%s", lie_ways[w].lie, lie_ways[w].how);
        liar_tell("%s=layer_vector%s", lie_ways[w].lie, lie_ways[w].how);
        try_step(&trial, &step, NULL);
        /* The work-groups that are left do the others' work. */
        if (!strcmp(lie_ways[w].lie, "short") && !trial.status && lie_is_whole(&trial)) continue;
        if (trial.status || lie_is_whole(&trial) || !strstr(trial.log, step.solver) ||
            !strstr(trial.log, lie_ways[w].word))
            test_fail(__FILE__, __LINE__, "%s%s%s", trial.message, trial.description, trial.log);
    }
    liar_tell("%s", "");
}
END_TEST

int main(int argc, char **argv) {
    (void)argc;
    liar_place(argv[0]);
    Suite *suite = suite_create("lies about steps");
    TCase *tcase = tcase_create("steps");
    tcase_add_loop_test(tcase, bad_forced_step, 0, TEST_COUNT(steps));
    tcase_add_loop_test(tcase, bad_step_is_replaced, 0, TEST_COUNT(steps));
    tcase_add_test(tcase, bad_whole_layer_is_left_to_the_steps);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
