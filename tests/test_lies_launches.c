/*
 * Whatever a plan can launch was tried before the plan was handed out: by the layer of liar/liar.h, which notes what is
 * made and what is launched, for plans of each kind, by each solver, on devices of several kinds.
 */
#include "support/lie_trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- every kernel ---- */

struct heads {
    size_t dim, value_dim, num, num_kv, max_seq_q, max_seq_kv;
    uint64_t features;
};
static const struct heads heads[] = {
    {64, 0, 8, 2, 512, 2048, 0},                 /* keys to split */
    {20, 36, 6, 1, 40, 300, QKV_ATTENTION_MASK}, /* no whole vectors */
    {16, 0, 2, 0, 8, 8, QKV_ATTENTION_WEIGHTS},  /* lengths below those of the known answers */
    {128, 64, 40, 40, 16, 4096,                  /* heads enough for every core */
     QKV_ATTENTION_MASK | QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_WINDOW | QKV_ATTENTION_LENGTHS | QKV_ATTENTION_ALIBI |
         QKV_ATTENTION_SINKS | QKV_ATTENTION_PAST | QKV_ATTENTION_REDUCED},
};

/* Of the test at work. */
static const struct heads *its_heads;

static qkv_status plan_attention(char *out, size_t bytes, qkv_context *context, const char *solver) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = its_heads->dim;
    desc.value_dim = its_heads->value_dim;
    desc.num_heads = its_heads->num;
    desc.num_kv_heads = its_heads->num_kv;
    desc.max_batch = 2;
    desc.max_seq_q = its_heads->max_seq_q;
    desc.max_seq_kv = its_heads->max_seq_kv;
    desc.features = its_heads->features;
    desc.solver = solver;
    return lie_plan_described(out, bytes, context, &desc);
}

static qkv_status plan_linear(char *out, size_t bytes, qkv_context *context, const char *solver) {
    static const float weight[64 * 64] = {0};
    const qkv_linear_output output = {.out_features = 64, .weight = weight};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    qkv_linear *linear = NULL;
    desc.in_features = 64;
    desc.num_outputs = 1;
    desc.outputs = &output;
    desc.solver = solver;
    qkv_status status = qkv_linear_create(&linear, context, &desc);
    if (!status) lie_plan_made(out, bytes, qkv_linear_describe(linear));
    qkv_linear_destroy(linear);
    return status;
}

static const struct kind {
    const char *lies, *limits;
} kinds[] = {
    {"", ""},
    {"device=TYPE:4; device=MAX_COMPUTE_UNITS:64", ""},
    {"device=TYPE:4; device=MAX_COMPUTE_UNITS:2", "local-8k"},
    {"device=TYPE:2; device=NATIVE_VECTOR_WIDTH_FLOAT:4; device=MAX_COMPUTE_UNITS:3", "small"},
    {"", "apple-cpu"},
};

/* Kernels that a plan has and that were never launched, as it is handed out. */
static char unlaunched[65536];
static void note_unlaunched(void) {
    (void)liar_meet()->kernels(unlaunched, sizeof unlaunched, false);
}

/* Plans that the device's limits leave nothing for are no matter here, nor what a compiler makes of another device's code. */
static void check_launches(lie_plan plan, const char *solver, const char *lies) {
    static char list[65536];
    struct lie_trial trial;
    const struct liar_interface *liar = liar_meet();
    liar_tell("%s", lies);
    *unlaunched = '\0';
    lie_planned = note_unlaunched;
    lie_try(&trial, QKV_LOG_WARNING, NULL, plan, solver);
    lie_planned = NULL;
    if (trial.status && trial.status != QKV_UNSUPPORTED && !(*lies && trial.status == QKV_SELF_TEST_FAILED))
        test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(trial.status), trial.message);
    if (!trial.status && liar->kernels(list, sizeof list, true) == 0)
        test_fail(__FILE__, __LINE__, "nothing was launched for %s", trial.description);
    if (!trial.status && *unlaunched)
        test_fail(__FILE__, __LINE__, "%s: never launched: %s", trial.description, unlaunched);
    liar_tell("%s", "");
}

START_TEST(every_kernel_is_tried_before_use) {
    const struct kind *kind = &kinds[_i];
    if (!liar_meet()) return;
    TEST_TRUE(setenv("QKV_LIMITS", kind->limits, 1) == 0);
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        if (test_leaves_out(s + (size_t)_i)) continue;
        test_note("%s, limits \"%s\", \"%s\"", test_solver(s) ? test_solver(s) : "any solver", kind->limits,
                  kind->lies);
        check_launches(lie_plan_layer, test_solver(s), kind->lies);
        check_launches(lie_plan_rotary, test_solver(s), kind->lies);
        for (its_heads = heads; its_heads < heads + TEST_COUNT(heads); its_heads++)
            check_launches(plan_attention, test_solver(s), kind->lies);
    }
    TEST_TRUE(unsetenv("QKV_LIMITS") == 0);
}
END_TEST

/* ---- launches that do nothing, one at a time, and those that fail after they were enqueued ---- */

/* A launch that was left out is seen, whichever it is: outputs hold nothing of the launch before it. */
static void skip_each(lie_plan plan, const char *solver, const char *kernel) {
    enum { MOST = 64 };
    static char list[65536];
    struct lie_trial trial;
    const struct liar_interface *liar = liar_meet();
    const size_t step = test_is_slow() ? 3 : 1;
    liar_tell("%s", "");
    lie_try(&trial, QKV_LOG_WARNING, NULL, plan, solver);
    if (test_solver_refused(trial.status, solver)) return;
    TEST_TRUE(trial.status == QKV_OK);
    TEST_TRUE(liar->kernels(list, sizeof list, true) > 0);
    if (!strstr(list, kernel)) return; /* made where it is needed only */
    for (size_t n = 1; n <= MOST; n += step) {
        test_note("skip=%s:%zu", kernel, n);
        liar_tell("skip=%s:%zu", kernel, n);
        lie_try(&trial, QKV_LOG_WARNING, NULL, plan, solver);
        if (!liar->fired()) break; /* so many there are not */
        if (trial.status != QKV_SELF_TEST_FAILED)
            test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(trial.status), trial.message);
    }
    liar_tell("%s", "");
}

static const struct skipped {
    const char *solver, *kernel;
    lie_plan plan;
    const struct heads *heads;
} skipped[] = {
    {"linear=plain", "linear_plain", plan_linear, NULL},
    {"linear=vector", "linear_vector", plan_linear, NULL},
    {"linear=tile", "linear_tile", plan_linear, NULL},
    {"attention=plain", "attention_plain", plan_attention, &heads[0]},
    {"attention=vector", "attention_vector", plan_attention, &heads[0]},
    {"attention=vector", "attention_decode", plan_attention, &heads[0]},
    {"attention=vector", "attention_merge", plan_attention, &heads[0]},
    {"attention=tile", "attention_tile", plan_attention, &heads[0]},
    {"attention=tile", "attention_tile_merge", plan_attention, &heads[0]},
    {"rotary=plain", "rotary_plain", lie_plan_rotary, NULL},
    {"rotary=vector", "rotary_vector", lie_plan_rotary, NULL},
    {"copy=plain", "copy_plain", plan_attention, &heads[3]},
    {"copy=vector", "copy_vector", plan_attention, &heads[3]},
    {"report=plain", "report_pairs", plan_attention, &heads[3]},
    {"report=plain", "report_received", plan_attention, &heads[3]},
    {"report=plain", "report_top", plan_attention, &heads[3]},
    {"report=vector", "report_keys", plan_attention, &heads[3]},
    {"report=vector", "report_queries", plan_attention, &heads[3]},
};

START_TEST(every_launch_counts) {
    const struct skipped *s = &skipped[_i];
    if (!liar_meet()) return;
    if (test_leaves_out((size_t)_i)) {
        test_skip("%s: this implementation is slow", s->kernel);
        return;
    }
    its_heads = s->heads;
    skip_each(s->plan, s->solver, s->kernel);
}
END_TEST

/* Variants that only some runs take are tried as well. */
static const struct part {
    const char *solver, *lies;
    lie_plan plan;
} parts[] = {
    {"linear=tile", "wrong=linear_tile; only=-DBM=128", plan_linear},
    {"attention=vector", "wrong=attention_vector; many=1", plan_attention},
    {"attention=vector", "wrong=attention_vector; many=2", plan_attention},
    {"attention=vector", "wrong=attention_decode; many=1", plan_attention},
    {"attention=tile", "wrong=attention_tile; many=1", plan_attention},
};

START_TEST(wrong_in_part) {
    const struct part *part = &parts[_i];
    struct lie_trial trial;
    if (!liar_meet()) return;
    if (test_is_simulator()) {
        test_skip("%s: a simulator gets one head of one sequence", part->lies);
        return;
    }
    its_heads = &heads[0];
    liar_tell("%s", "");
    lie_try(&trial, QKV_LOG_WARNING, NULL, part->plan, part->solver);
    if (test_solver_refused(trial.status, part->solver)) return;
    if (strstr(part->lies, "-DBM=128") && !strstr(trial.description, "128x128"))
        return; /* smaller tiles are all that fits */
    test_note("%s, %s", part->solver, part->lies);
    liar_tell("%s", part->lies);
    lie_try(&trial, QKV_LOG_WARNING, NULL, part->plan, part->solver);
    if (trial.status != QKV_SELF_TEST_FAILED)
        test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(trial.status), trial.message);
    liar_tell("%s", "");
}
END_TEST

/* What clFinish() does not tell. */
START_TEST(late_failure) {
    float x[8] = {1}, w[64] = {0}, y[8];
    qkv_context *context = NULL;
    if (!liar_meet()) return;
    liar_tell("%s", "");
    TEST_OK(qkv_context_create(&context, NULL, NULL));
    TEST_OK(qkv_host_linear(y, context, x, 1, 8, w, 8, QKV_WEIGHT_OUT_IN, NULL));
    liar_tell("late=*:-59");
    TEST_FAILS(QKV_OPENCL_ERROR, "CL_INVALID_OPERATION",
               qkv_host_linear(y, context, x, 1, 8, w, 8, QKV_WEIGHT_OUT_IN, NULL));
    liar_tell("%s", "");
    TEST_OK(qkv_host_linear(y, context, x, 1, 8, w, 8, QKV_WEIGHT_OUT_IN, NULL));
    qkv_context_destroy(context);
}
END_TEST

int main(int argc, char **argv) {
    (void)argc;
    liar_place(argv[0]);
    Suite *suite = suite_create("lies about launches");
    TCase *tcase = tcase_create("launches");
    tcase_add_loop_test(tcase, every_kernel_is_tried_before_use, 0, TEST_COUNT(kinds));
    tcase_add_loop_test(tcase, every_launch_counts, 0, TEST_COUNT(skipped));
    tcase_add_loop_test(tcase, wrong_in_part, 0, TEST_COUNT(parts));
    tcase_add_test(tcase, late_failure);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
