/*
 * Devices with odd limits, and ones that nobody knows, by the layer of liar/liar.h: what a device does not take is not
 * asked of it where that can be known before, and is no reason to give up where something else does the same.
 */
#include "support/lie_trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kernels with all arguments there are. */
static qkv_status plan_attention(char *out, size_t bytes, qkv_context *context, const char *solver) {
    return lie_plan_attention(out, bytes, context, solver,
                              QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS | QKV_ATTENTION_SOFTCAP |
                                  QKV_ATTENTION_WINDOW | QKV_ATTENTION_LENGTHS | QKV_ATTENTION_ALIBI |
                                  QKV_ATTENTION_SINKS | QKV_ATTENTION_PAST | QKV_ATTENTION_REDUCED);
}

/* A simulator gets one row of a table. */
static bool is_repeated(int row) {
    if (row == 0 || !test_is_pressed()) return false;
    test_skip("row %d: a simulator gets the first one", row);
    return true;
}

static void try_plan(struct lie_trial *trial, lie_plan plan, const char *solver, const char *lies) {
    test_note("%s, %s", solver ? solver : "any solver", lies);
    liar_tell("%s", lies);
    lie_try(trial, QKV_LOG_INFO, solver, plan, NULL);
    liar_tell("%s", "");
}

/* ---- work-groups ---- */

static const char *const group_lies[] = {
    "device=MAX_WORK_ITEM_SIZES:128; most=item:128",
    "device=MAX_WORK_ITEM_SIZES:64,1,1; most=item:64,1,1",
};

/* Fewer work-items along an axis than a group may have altogether. */
START_TEST(short_axes) {
    struct problem p;
    struct outcome out;
    if (!liar_meet() || is_repeated(_i)) return;
    problem_open(&p);
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        if (test_leaves_out(s + (size_t)_i)) continue;
        test_note("%s, %s", test_solver(s) ? test_solver(s) : "any solver", group_lies[_i]);
        liar_tell("%s", "");
        try_layer(&out, &p, test_solver(s));
        if (test_solver_refused(out.status, test_solver(s))) continue;
        liar_tell("%s", group_lies[_i]);
        try_layer(&out, &p, test_solver(s));
        if (out.status || (test_solver(s) && strcmp(out.solvers[1], test_solver(s))))
            test_fail(__FILE__, __LINE__, "%s%s%s", out.message, out.solvers[1], out.log);
    }
    problem_close(&p);
}
END_TEST

/* ---- bytes of arguments ---- */

/* Every device but an embedded one has as many, whether it says so or not. */
static const char *const argument_lies[] = {
    "device=MAX_PARAMETER_SIZE:1024; most=arguments:1024",
    "device=MAX_PARAMETER_SIZE:0; most=arguments:1024",
    "device=MAX_PARAMETER_SIZE:fail; most=arguments:1024",
};

START_TEST(least_arguments) {
    struct lie_trial trial;
    if (!liar_meet() || is_repeated(_i)) return;
    const char *lies = argument_lies[_i];
    try_plan(&trial, lie_plan_layer, NULL, "");
    const bool refused = test_solver_refused(trial.status, NULL), whole = lie_is_whole(&trial);
    if (!refused) {
        try_plan(&trial, lie_plan_layer, NULL, lies);
        if (trial.status || lie_is_whole(&trial) != whole)
            test_fail(__FILE__, __LINE__, "%s%s", trial.message, trial.description);
    }
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        if (test_leaves_out(s + (size_t)_i)) continue;
        try_plan(&trial, plan_attention, test_solver(s), "");
        if (test_solver_refused(trial.status, test_solver(s))) continue;
        try_plan(&trial, plan_attention, test_solver(s), lies);
        if (trial.status) test_fail(__FILE__, __LINE__, "%s", trial.message);
    }
}
END_TEST

/* Enough for each step and too few for all in one launch, of which a driver's only word may be that of a lost device. */
#define FOR_STEPS "700"
static const struct {
    const char *lies, *word;
} few_arguments[] = {
    {"device=MAX_PARAMETER_SIZE:" FOR_STEPS "; most=arguments:" FOR_STEPS, "the device " FOR_STEPS " at most"},
    {"device=MAX_PARAMETER_SIZE:1024; most=arguments:" FOR_STEPS, "CL_OUT_OF_RESOURCES"},
};

START_TEST(whole_layer_takes_too_many_arguments) {
    struct lie_trial trial;
    if (!liar_meet()) return;
    try_plan(&trial, lie_plan_layer, NULL, "");
    if (test_solver_refused(trial.status, NULL)) return;
    if (!lie_is_whole(&trial)) {
        test_skip("a layer in one launch: this device takes the steps");
        return;
    }
    try_plan(&trial, lie_plan_layer, NULL, few_arguments[_i].lies);
    if (trial.status || lie_is_whole(&trial) || !strstr(trial.log, "kernel layer_vector") ||
        !strstr(trial.log, few_arguments[_i].word))
        test_fail(__FILE__, __LINE__, "%s%s%s", trial.message, trial.description, trial.log);
}
END_TEST

START_TEST(too_few_arguments_for_anything) {
    struct lie_trial trial;
    if (!liar_meet()) return;
    try_plan(&trial, lie_plan_layer, NULL, "device=MAX_PARAMETER_SIZE:256; most=arguments:256");
    if (trial.status != QKV_UNSUPPORTED || !strstr(trial.message, "bytes of arguments, the device 256 at most"))
        test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(trial.status), trial.message);
}
END_TEST

/* ---- compilers that nobody knows ---- */

/* Work-groups of one launch tell each other nothing where only a device's name says that this is safe: a simulator, which
 * it is not for, may have any. */
START_TEST(unknown_simulator) {
    struct lie_trial trial;
    if (!liar_meet()) return;
    if (!test_is_simulator()) {
        test_skip("a simulator under another name: this is none");
        return;
    }
    try_plan(&trial, lie_plan_layer, NULL, "");
    if (test_solver_refused(trial.status, NULL)) return;
    if (!lie_is_whole(&trial)) {
        test_skip("a layer in one launch: the solver that is forced has none");
        return;
    }
    try_plan(&trial, lie_plan_layer, NULL,
             "device=NAME:Processor; device=PLATFORM:fail; device=TYPE:2; device=MAX_COMPUTE_UNITS:2");
    if (test_solver_refused(trial.status, NULL)) return;
    if (trial.status || lie_is_whole(&trial) || !strstr(trial.log, "work-groups can tell each other nothing"))
        test_fail(__FILE__, __LINE__, "%s%s%s", trial.message, trial.description, trial.log);
}
END_TEST

int main(int argc, char **argv) {
    (void)argc;
    liar_place(argv[0]);
    Suite *suite = suite_create("lies about limits");
    TCase *tcase = tcase_create("limits");
    tcase_add_loop_test(tcase, short_axes, 0, TEST_COUNT(group_lies));
    tcase_add_loop_test(tcase, least_arguments, 0, TEST_COUNT(argument_lies));
    tcase_add_loop_test(tcase, whole_layer_takes_too_many_arguments, 0, TEST_COUNT(few_arguments));
    tcase_add_test(tcase, too_few_arguments_for_anything);
    tcase_add_test(tcase, unknown_simulator);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
