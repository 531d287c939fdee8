/* CLBlast as GEMM backend: right where it is there, replaced where it is absent or wrong. Every test runs in a process
 * of its own (the library opens CLBlast once), forked before OpenCL is touched. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qkv.h"

enum { ROWS = 7, IN = 33, OUT = 21 };

static char messages[16384];
static int warnings;

static void collect(void *user, qkv_log_level level, const char *message) {
    (void)user;
    warnings += level == QKV_LOG_WARNING;
    size_t used = strlen(messages);
    (void)snprintf(messages + used, sizeof messages - used, "%s\n", message);
}

static qkv_context *open_context(const char *gemm) {
    qkv_context *context = NULL;
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    options.log = collect;
    options.gemm = gemm;
    ck_assert_msg(qkv_context_create(&context, NULL, &options) == QKV_OK, "%s", qkv_error_message());
    return context;
}

/* Against double, under the bound of qkv/linear.h. */
static void check_product(qkv_context *context) {
    static float x[ROWS * IN], w[OUT * IN], b[OUT], y[ROWS * OUT];
    for (int i = 0; i < ROWS * IN; i++) x[i] = (float)(i * 37 % 101) / 50.0f - 1.0f;
    for (int i = 0; i < OUT * IN; i++) w[i] = (float)(i * 53 % 97) / 48.0f - 1.0f;
    for (int i = 0; i < OUT; i++) b[i] = (float)i / OUT;
    ck_assert_msg(qkv_host_linear(y, context, x, ROWS, IN, w, OUT, QKV_WEIGHT_OUT_IN, b) == QKV_OK, "%s",
                  qkv_error_message());
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < OUT; c++) {
            double sum = (double)b[c], size = fabs((double)b[c]);
            for (int k = 0; k < IN; k++) {
                double product = (double)x[r * IN + k] * (double)w[c * IN + k];
                sum += product;
                size += fabs(product);
            }
            ck_assert_double_le(fabs((double)y[r * OUT + c] - sum), 1.01 * (IN + 2) * ldexp(1, -24) * size);
        }
}

START_TEST(used_where_it_is_there) {
    qkv_context *context = open_context("clblast");
    check_product(context);
    if (strstr(messages, "CLBlast cannot be used") || strstr(messages, "loops are cut short"))
        printf("skip: CLBlast is not to be had on this device: %s", messages);
    else
        ck_assert_msg(strstr(messages, "linear=clblast") != NULL, "%s", messages);
    qkv_context_destroy(context);
}
END_TEST

START_TEST(not_taken_unasked) {
    qkv_context *context = open_context(NULL);
    check_product(context);
    ck_assert_msg(strstr(messages, "clblast") == NULL, "%s", messages);
    qkv_context_destroy(context);
}
END_TEST

START_TEST(absence_is_normal) {
    (void)setenv("QKV_CLBLAST", "no-such-library.so", 1);
    qkv_context *context = open_context("clblast");
    check_product(context);
    ck_assert_msg(warnings == 0 || strstr(messages, "loops early"), "%s", messages);
    qkv_context_destroy(context);
}
END_TEST

START_TEST(wrong_answers_are_caught_and_replaced) {
    char path[4096];
    const char *build = getenv("BUILD");
    (void)snprintf(path, sizeof path, "%s/tests/standins/wrong_clblast.so", build ? build : "build");
    (void)setenv("QKV_CLBLAST", path, 1);
    qkv_context *context = open_context("clblast");
    check_product(context);
    if (strstr(messages, "loops are cut short"))
        printf("skip: CLBlast is not used on a device that cuts loops short\n");
    else
        ck_assert_msg(strstr(messages, "solver linear=clblast: self-test") && warnings > 0, "%s", messages);
    qkv_context_destroy(context);
}
END_TEST

START_TEST(a_forced_wrong_one_is_an_error) {
    char path[4096];
    const char *build = getenv("BUILD");
    (void)snprintf(path, sizeof path, "%s/tests/standins/wrong_clblast.so", build ? build : "build");
    (void)setenv("QKV_CLBLAST", path, 1);
    qkv_context *context = open_context(NULL);
    const float w[4] = {1, 2, 3, 4};
    const qkv_linear_output output = {.out_features = 2, .weight = w};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = 2;
    desc.num_outputs = 1;
    desc.outputs = &output;
    desc.solver = "clblast";
    qkv_linear *linear = NULL;
    qkv_status status = qkv_linear_create(&linear, context, &desc);
    ck_assert_msg(status == QKV_SELF_TEST_FAILED || status == QKV_UNSUPPORTED, "%s", qkv_status_name(status));
    ck_assert_ptr_null(linear);
    qkv_context_destroy(context);
}
END_TEST

START_TEST(unknown_backends_are_refused) {
    qkv_context *context = NULL;
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    options.gemm = "cublas";
    ck_assert_int_eq(qkv_context_create(&context, NULL, &options), QKV_INVALID_ARGUMENT);
    ck_assert_msg(strstr(qkv_error_message(), "options.gemm") != NULL, "%s", qkv_error_message());
    ck_assert_ptr_null(context);
}
END_TEST

START_TEST(auto_takes_what_was_faster) {
    double seconds[2] = {-1, -1};
    qkv_context *context = open_context("auto");
    ck_assert_int_eq(qkv_context_measure_gemm(NULL, context, 8, 64, 64), QKV_INVALID_ARGUMENT);
    ck_assert_int_eq(qkv_context_measure_gemm(seconds, context, 0, 64, 64), QKV_INVALID_ARGUMENT);
    ck_assert_msg(qkv_context_measure_gemm(seconds, context, 8, 64, 64) == QKV_OK, "%s", qkv_error_message());
    ck_assert(seconds[0] > 0 && seconds[1] >= 0);
    messages[0] = '\0';
    check_product(context);
    bool faster = seconds[1] > 0 && seconds[1] < seconds[0];
    ck_assert_msg((strstr(messages, "linear=clblast") != NULL) == faster, "%g %g %s", seconds[0], seconds[1], messages);
    qkv_context_destroy(context);

    context = open_context("native");
    ck_assert_int_eq(qkv_context_measure_gemm(seconds, context, 8, 64, 64), QKV_INVALID_ARGUMENT);
    qkv_context_destroy(context);
}
END_TEST

/* The stand-in that does nothing is the fastest of all, and still not taken. */
START_TEST(a_wrong_one_wins_no_race) {
    char path[4096];
    double seconds[2];
    const char *build = getenv("BUILD");
    (void)snprintf(path, sizeof path, "%s/tests/standins/wrong_clblast.so", build ? build : "build");
    (void)setenv("QKV_CLBLAST", path, 1);
    qkv_context *context = open_context(NULL);
    ck_assert_msg(qkv_context_measure_gemm(seconds, context, 8, 64, 64) == QKV_OK, "%s", qkv_error_message());
    ck_assert(seconds[0] > 0 && seconds[1] == 0);
    check_product(context);
    qkv_context_destroy(context);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("clblast");
    TCase *tests = tcase_create("clblast");
    /* CLBlast compiles for seconds at its first call, far longer on weak machines. */
    tcase_set_timeout(tests, 240);
    tcase_add_test(tests, used_where_it_is_there);
    tcase_add_test(tests, not_taken_unasked);
    tcase_add_test(tests, absence_is_normal);
    tcase_add_test(tests, wrong_answers_are_caught_and_replaced);
    tcase_add_test(tests, a_forced_wrong_one_is_an_error);
    tcase_add_test(tests, auto_takes_what_was_faster);
    tcase_add_test(tests, a_wrong_one_wins_no_race);
    tcase_add_test(tests, unknown_backends_are_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_FORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
