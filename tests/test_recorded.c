/* Measurements that are kept from one list of devices to the next. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fixture.h"

static char folder[] = "/tmp/qkv-recorded-XXXXXX";

static qkv_device_info first_device(qkv_device_list **list) {
    TEST_OK(qkv_device_list_create(list));
    const qkv_device_info *info = qkv_device_list_device(*list, 0);
    TEST_TRUE(info != NULL);
    return *info;
}

static void expect_recorded(double projection, double prefill, double decode) {
    qkv_device_list *list = NULL;
    qkv_device_info info = first_device(&list);
    /* Kept in whole flops and bytes a second. */
    TEST_TRUE(fabs(info.projection_gflops - projection) <= 1e-9);
    TEST_TRUE(fabs(info.prefill_gflops - prefill) <= 1e-9);
    TEST_TRUE(fabs(info.decode_gbps - decode) <= 1e-9);
    qkv_device_list_destroy(list);
}

static qkv_device_measurement figures(double projection, double prefill, double decode) {
    qkv_device_measurement m = QKV_DEVICE_MEASUREMENT_INIT;
    m.projection_gflops = projection, m.prefill_gflops = prefill, m.decode_gbps = decode;
    return m;
}

START_TEST(a_measurement_is_kept) {
    qkv_device_list *list = NULL;
    setenv("QKV_CACHE_DIR", folder, 1);
    qkv_device_info info = first_device(&list), other = info;
    expect_recorded(0, 0, 0);
    qkv_device_measurement m = figures(123.456789012, 0.000000001, 987654.5);
    TEST_OK(qkv_device_record_measurement(&info, &m));
    expect_recorded(123.456789012, 0.000000001, 987654.5);
    m = figures(3, 2, 1);
    TEST_OK(qkv_device_record_measurement(&info, &m));
    expect_recorded(3, 2, 1);
    /* Of another driver, another platform, a device with other compute units: another record. */
    m = figures(7, 7, 7);
    other.driver_version = "another driver";
    TEST_OK(qkv_device_record_measurement(&other, &m));
    other = info, other.platform_name = "another platform";
    TEST_OK(qkv_device_record_measurement(&other, &m));
    other = info, other.compute_units++;
    TEST_OK(qkv_device_record_measurement(&other, &m));
    expect_recorded(3, 2, 1);
    /* Without the folder nothing is known; in it everything still is. */
    unsetenv("QKV_CACHE_DIR");
    expect_recorded(0, 0, 0);
    TEST_FAILS(QKV_UNSUPPORTED, "QKV_CACHE_DIR", qkv_device_record_measurement(&info, &m));
    setenv("QKV_CACHE_DIR", folder, 1);
    expect_recorded(3, 2, 1);
    m = figures(0, 0, 0);
    TEST_OK(qkv_device_record_measurement(&info, &m));
    expect_recorded(0, 0, 0);
    unsetenv("QKV_CACHE_DIR");
    qkv_device_list_destroy(list);
}
END_TEST

/* The folder a context is given counts, not the environment's; "" is none. */
static void check_cache_dir(const char *selector) {
    qkv_context *context = NULL;
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    options.cache_dir = "";
    TEST_OK(qkv_context_create(&context, selector, &options));
    TEST_TRUE(qkv_context_device(context)->prefill_gflops == 0);
    qkv_context_destroy(context);
    unsetenv("QKV_CACHE_DIR");
    options.cache_dir = folder;
    TEST_OK(qkv_context_create(&context, selector, &options));
    TEST_TRUE(qkv_context_device(context)->prefill_gflops == 2);
    qkv_context_destroy(context);
    setenv("QKV_CACHE_DIR", folder, 1);
}

/* A context knows what its list knew; the list's choice shows it. */
START_TEST(a_context_tells_of_it) {
    qkv_device_list *before = NULL, *after = NULL;
    qkv_context *context = NULL;
    size_t chosen = 77;
    int measured = 77;
    setenv("QKV_CACHE_DIR", folder, 1);
    qkv_device_info info = first_device(&before);
    qkv_device_measurement m = figures(3, 2, 1);
    TEST_OK(qkv_device_record_measurement(&info, &m));
    TEST_OK(qkv_context_create(&context, info.selector, NULL));
    TEST_TRUE(qkv_context_device(context)->prefill_gflops == 2);
    qkv_context_destroy(context);
    check_cache_dir(info.selector);
    TEST_OK(qkv_device_list_create(&after));
    TEST_OK(qkv_device_list_best(&chosen, &measured, after, QKV_DEVICE_ANY));
    const qkv_device_info *taken = qkv_device_list_device(after, chosen);
    TEST_TRUE(measured == (qkv_device_list_num_devices(after) == 1));
    TEST_TRUE(taken->is_auto);
    ck_assert_str_eq(taken->verdict, "use");
    if (measured) TEST_TRUE(strstr(taken->reason, "fastest measured") != NULL);
    m = figures(0, 0, 0);
    TEST_OK(qkv_device_record_measurement(&info, &m));
    qkv_device_list_destroy(before);
    qkv_device_list_destroy(after);
    unsetenv("QKV_CACHE_DIR");
}
END_TEST

START_TEST(measurements_that_cannot_be) {
    qkv_device_list *list = NULL;
    setenv("QKV_CACHE_DIR", folder, 1);
    qkv_device_info info = first_device(&list), bad = info;
    qkv_device_measurement m = figures(1, -1, 1);
    TEST_FAILS(QKV_INVALID_ARGUMENT, "measurement", qkv_device_record_measurement(&info, &m));
    m = figures(1, 1, NAN);
    TEST_FAILS(QKV_INVALID_ARGUMENT, "measurement", qkv_device_record_measurement(&info, &m));
    m = figures(INFINITY, 1, 1);
    TEST_FAILS(QKV_INVALID_ARGUMENT, "measurement", qkv_device_record_measurement(&info, &m));
    m = figures(1, 1, 1);
    TEST_FAILS(QKV_INVALID_ARGUMENT, "device", qkv_device_record_measurement(NULL, &m));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "measurement", qkv_device_record_measurement(&info, NULL));
    m.struct_size = 3;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "struct_size", qkv_device_record_measurement(&info, &m));
    m = figures(1, 1, 1);
    bad.driver_version = NULL;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "device", qkv_device_record_measurement(&bad, &m));
    expect_recorded(0, 0, 0);
    /* A file where a folder should be: recording says so, listing goes on without. */
    setenv("QKV_CACHE_DIR", "/dev/null", 1);
    TEST_FAILS(QKV_UNSUPPORTED, NULL, qkv_device_record_measurement(&info, &m));
    expect_recorded(0, 0, 0);
    unsetenv("QKV_CACHE_DIR");
    qkv_device_list_destroy(list);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("recorded");
    TCase *tcase = tcase_create("recorded");
    char command[sizeof folder + 8];
    if (!mkdtemp(folder)) {
        perror(folder);
        return EXIT_FAILURE;
    }
    tcase_add_test(tcase, a_measurement_is_kept);
    tcase_add_test(tcase, a_context_tells_of_it);
    tcase_add_test(tcase, measurements_that_cannot_be);
    suite_add_tcase(suite, tcase);
    int status = test_main(suite);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", folder);
    return status;
}
