/* The size of tests where nobody sets it; tools/run-checks asks this program's first line for that size. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/fixture.h"
#include "support/speed.h"

START_TEST(faster_is_never_smaller) {
    double last = test_scale_of(1e-3);
    for (double speed = 1e-3; speed < 1e15; speed *= 1.1) {
        const double scale = test_scale_of(speed);
        if (!(scale >= last)) test_fail(__FILE__, __LINE__, "%g at %g steps/s, less than %g", scale, speed, last);
        last = scale;
    }
}
END_TEST

START_TEST(between_its_bounds) {
    ck_assert_double_eq(test_scale_of(1), 0.05);
    ck_assert_double_eq(test_scale_of(1e12), 1);
    ck_assert_double_eq(test_scale_of(0), 1); /* not known */
}
END_TEST

START_TEST(is_measured) {
    const qkv_context *context = test_context();
    const double speed = test_speed(test_cl_context(), qkv_context_cl_device(context), test_queue());
    printf("%.3g million steps a second\n", speed * 1e-6);
    TEST_TRUE(speed > 0 && isfinite(speed));
}
END_TEST

/* What is not set is measured once, and those whom a suite starts inherit it. */
START_TEST(is_told) {
    const double given = test_scale();
    TEST_TRUE(given > 0);
    unsetenv("QKV_TEST_SCALE");
    const double measured = test_scale();
    const char *told = getenv("QKV_TEST_SCALE");
    TEST_TRUE(told != NULL);
    TEST_TRUE(measured >= 0.05 && measured <= 1);
    ck_assert_double_eq(strtod(told, NULL), measured);
    setenv("QKV_TEST_SCALE", "0.375", 1);
    ck_assert_double_eq(test_scale(), 0.375);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("scale");
    TCase *tests = tcase_create("scale");
    tcase_add_test(tests, is_measured);
    tcase_add_test(tests, faster_is_never_smaller);
    tcase_add_test(tests, between_its_bounds);
    tcase_add_test(tests, is_told);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
