/* The choice of a device: made-up machines, and measurements that are kept. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/list.h"
#include "support/fixture.h"

/* ---- machines that are not here ---- */

struct made_up {
    const char *name;
    size_t platform;
    const char *platform_name;
    qkv_device_kind kind;
    uint32_t units, clock;
    const char *pci, *uuid;
    double measured[3]; /* projection, prefill, decode */
    bool refused;
};

#define MOST 4
struct machine {
    const char *name;
    struct made_up devices[MOST]; /* until one without a name */
    size_t best[4];               /* by qkv_device_work */
    bool measured[4];
    size_t twin_of[MOST]; /* each one's representative under "auto" */
    const char *reasons[MOST];
};

#define NVIDIA "NVIDIA CUDA"
#define POCL "Portable Computing Language"

static const struct machine machines[] = {
    {"nothing usable",
     {{"old", 0, "Old", QKV_DEVICE_GPU, 9, 900, "", "", {0}, true}},
     {QKVI_NO_INDEX, QKVI_NO_INDEX, QKVI_NO_INDEX, QKVI_NO_INDEX},
     {0},
     {0},
     {"made up"}},
    {"kinds before numbers",
     {{"cpu", 0, POCL, QKV_DEVICE_CPU, 64, 4000, "", "", {0}, false},
      {"igpu", 1, "Intel", QKV_DEVICE_GPU, 24, 300, "0000:00:02.0", "", {0}, false},
      {"pipe", 2, "rusticl", QKV_DEVICE_SOFTWARE_GPU, 64, 4000, "", "", {0}, false}},
     {1, 1, 1, 1},
     {0},
     {0, 1, 2},
     {"auto prefers a GPU (1:1)", "taken by auto: the best GPU", "auto prefers a GPU"}},
    {"compute units times clock, and a refused one that had more",
     {{"small", 0, "Intel", QKV_DEVICE_GPU, 10, 2000, "0000:00:02.0", "", {0}, false},
      {"large", 1, NVIDIA, QKV_DEVICE_GPU, 30, 1500, "0000:01:00.0", "", {0}, false},
      {"broken", 2, "AMD", QKV_DEVICE_GPU, 90, 2000, "0000:02:00.0", "", {0}, true}},
     {1, 1, 1, 1},
     {0},
     {0, 1, 2},
     {"1:1 has more compute units times clock (large)", "taken by auto", "made up"}},
    /* A clock that a CPU's driver reports changes from one start to the next. */
    {"a CPU's clock does not count",
     {{"one", 0, POCL, QKV_DEVICE_CPU, 8, 2000, "", "", {0}, false},
      {"other", 1, "Intel", QKV_DEVICE_CPU, 8, 3000, "", "", {0}, false}},
     {0, 0, 0, 0},
     {0},
     {0, 1},
     {"taken by auto", "0:0 is listed first"}},
    {"one GPU through two platforms by its address, the vendor's platform listed last",
     {{"mesa", 0, "rusticl", QKV_DEVICE_GPU, 60, 2500, "0000:03:00.0", "aa", {0}, false},
      {"rocm", 1, "AMD Accelerated Parallel Processing", QKV_DEVICE_GPU, 30, 2500, "0000:03:00.0", "bb", {0}, false}},
     {1, 1, 1, 1},
     {0},
     {1, 1},
     {"the same hardware as 1:1 (AMD Accelerated Parallel Processing), whose platform is preferred", "taken by auto"}},
    {"one GPU through two platforms by its UUID, where one does not tell its address",
     {{"pocl", 0, POCL, QKV_DEVICE_GPU, 60, 2500, "", "cc", {0}, false},
      {"cuda", 1, NVIDIA, QKV_DEVICE_GPU, 60, 2500, "0000:03:00.0", "cc", {0}, false}},
     {1, 1, 1, 1},
     {0},
     {1, 1},
     {"the same hardware as 1:1", "taken by auto"}},
    {"one GPU through two platforms, both measured: the faster for each work",
     {{"mesa", 0, "rusticl", QKV_DEVICE_GPU, 60, 2500, "0000:03:00.0", "", {4000, 3000, 500}, false},
      {"rocm", 1, "AMD", QKV_DEVICE_GPU, 60, 2500, "0000:03:00.0", "", {1000, 1500, 600}, false}},
     {0, 0, 0, 1},
     {true, true, true, true},
     {0, 0},
     {"taken by auto: the fastest measured here", "the same hardware as 0:0 (rusticl), which is 1.88 times as fast"}},
    {"two equal cards are two",
     {{"card", 0, NVIDIA, QKV_DEVICE_GPU, 60, 2500, "0000:03:00.0", "aa", {0}, false},
      {"card", 0, NVIDIA, QKV_DEVICE_GPU, 60, 2500, "0000:04:00.0", "bb", {0}, false}},
     {0, 0, 0, 0},
     {0},
     {0, 1},
     {"taken by auto", "0:0 is listed first"}},
    {"the parts of one card in one platform are devices of their own",
     {{"part", 0, NVIDIA, QKV_DEVICE_GPU, 14, 2500, "0000:03:00.0", "aa", {0}, false},
      {"part", 0, NVIDIA, QKV_DEVICE_GPU, 28, 2500, "0000:03:00.0", "aa", {0}, false}},
     {1, 1, 1, 1},
     {0},
     {0, 1},
     {"0:1 has more compute units", "taken by auto"}},
    {"measured against the estimate: the CPU is faster",
     {{"igpu", 0, "Intel", QKV_DEVICE_GPU, 24, 300, "0000:00:02.0", "", {100, 90, 20}, false},
      {"cpu", 1, POCL, QKV_DEVICE_CPU, 64, 4000, "", "", {800, 700, 19}, false}},
     {1, 1, 1, 0},
     {true, true, true, true},
     {0, 1},
     {"1:1 (cpu) is 3.9 times as fast as measured", "taken by auto: the fastest measured here (projection 800, prefill "
                                                    "700 GFLOP/s, decode 19 GB/s)"}},
    {"only one is measured: the estimate decides between it and the rest",
     {{"gpu", 0, NVIDIA, QKV_DEVICE_GPU, 60, 2500, "0000:03:00.0", "", {0}, false},
      {"cpu", 1, POCL, QKV_DEVICE_CPU, 64, 4000, "", "", {800, 700, 19}, false}},
     {0, 0, 0, 0},
     {0},
     {0, 1},
     {"taken by auto: the best GPU", "auto prefers a GPU (0:0)"}},
    /* a beats b as measured, b beats c by estimate, c beats a by estimate: compared in pairs they go round. */
    {"no circle",
     {{"a", 0, "A", QKV_DEVICE_GPU, 10, 1000, "0000:01:00.0", "", {100, 100, 100}, false},
      {"b", 1, "B", QKV_DEVICE_GPU, 30, 1000, "0000:02:00.0", "", {90, 90, 90}, false},
      {"c", 2, "C", QKV_DEVICE_GPU, 20, 1000, "0000:03:00.0", "", {0}, false}},
     {2, 2, 2, 2},
     {0},
     {0, 1, 2},
     {"2:2 has more compute units", "0:0 (a) is 1.11 times as fast", "taken by auto"}},
    {"measured for one work only: auto estimates, that work does not",
     {{"gpu", 0, "Intel", QKV_DEVICE_GPU, 24, 300, "", "", {0, 0, 20}, false},
      {"cpu", 1, POCL, QKV_DEVICE_CPU, 64, 4000, "", "", {0, 0, 30}, false}},
     {0, 0, 0, 1},
     {false, false, false, true},
     {0, 1},
     {"taken by auto: the best GPU", "auto prefers a GPU"}},
};

static char platforms[MOST];

static void build(struct qkv_device_list *list, const struct machine *machine) {
    *list = (struct qkv_device_list){.devices = test_alloc(MOST, sizeof(qkv_device_info)), .num_platforms = MOST};
    list->platforms = test_alloc(MOST, sizeof(qkv_platform_info));
    for (size_t i = 0; i < MOST && machine->devices[i].name; i++) {
        const struct made_up *given = &machine->devices[i];
        qkv_device_info *info = &list->devices[list->num_devices++];
        char selector[16];
        snprintf(selector, sizeof selector, "%zu:%zu", given->platform, i);
        *info = (qkv_device_info){.struct_size = sizeof *info,
                                  .selector = qkvi_strdup(selector),
                                  .name = qkvi_strdup(given->name),
                                  .platform_name = qkvi_strdup(given->platform_name),
                                  .kind = given->kind,
                                  .compute_units = given->units,
                                  .clock_mhz = given->clock,
                                  .usable = !given->refused,
                                  .verdict = given->refused ? "refused" : "usable",
                                  .reason = qkvi_strdup("made up"),
                                  .pci_address = qkvi_strdup(given->pci),
                                  .uuid = qkvi_strdup(given->uuid),
                                  .projection_gflops = given->measured[0],
                                  .prefill_gflops = given->measured[1],
                                  .decode_gbps = given->measured[2]};
        info->platform_id = (cl_platform_id)(void *)&platforms[given->platform];
    }
    TEST_OK(qkvi_list_judge(list));
}

static void destroy(struct qkv_device_list *list) {
    for (size_t i = 0; i < list->num_devices; i++)
        qkvi_device_info_free(&list->devices[i]);
    free(list->devices);
    free(list->platforms);
}

static void check_best(const struct qkv_device_list *list, const struct machine *machine) {
    for (int work = QKV_DEVICE_ANY; work <= QKV_DEVICE_DECODE; work++) {
        size_t index = 77;
        int measured = 77;
        test_note("%s: work %d", machine->name, work);
        qkv_status status = qkv_device_list_best(&index, &measured, list, (qkv_device_work)work);
        if (machine->best[work] == QKVI_NO_INDEX) {
            TEST_FAILS(QKV_NO_DEVICE, NULL, status);
            TEST_TRUE(index == 77 && measured == 77);
        } else {
            TEST_OK(status);
            TEST_TRUE(index == machine->best[work]);
            TEST_TRUE(measured == machine->measured[work]);
        }
    }
}

START_TEST(made_up_machines) {
    const struct machine *machine = &machines[_i];
    struct qkv_device_list list;
    size_t chosen = 77;
    build(&list, machine);
    check_best(&list, machine);
    for (size_t i = 0; i < list.num_devices; i++) {
        const qkv_device_info *info = &list.devices[i];
        test_note("%s: device %zu: %s", machine->name, i, info->reason);
        bool is_auto = i == machine->best[QKV_DEVICE_ANY];
        TEST_TRUE(info->is_auto == is_auto);
        ck_assert_str_eq(info->verdict, is_auto ? "use" : info->usable ? "usable" : "refused");
        TEST_TRUE(strstr(info->reason, machine->reasons[i]) != NULL);
        if (info->usable) TEST_TRUE(qkvi_rank_twin(&list, i, QKVI_ALL_KINDS, QKV_DEVICE_ANY) == machine->twin_of[i]);
    }
    /* "auto" as a selector is the same device. */
    test_note("%s", machine->name);
    if (machine->best[QKV_DEVICE_ANY] == QKVI_NO_INDEX) {
        TEST_FAILS(QKV_NO_DEVICE, NULL, qkv_device_list_select(&chosen, &list, "auto"));
    } else {
        TEST_OK(qkv_device_list_select(&chosen, &list, "auto"));
        TEST_TRUE(chosen == machine->best[QKV_DEVICE_ANY]);
    }
    destroy(&list);
}
END_TEST

/* "cpu" and "gpu" follow the rule among their own; every device stays within reach of its own selector. */
START_TEST(selectors_of_a_kind) {
    struct qkv_device_list list;
    size_t index = 77;
    for (size_t m = 1; m < TEST_COUNT(machines); m++) {
        test_note("%s", machines[m].name);
        build(&list, &machines[m]);
        for (size_t i = 0; i < list.num_devices; i++) {
            if (!list.devices[i].usable) continue;
            TEST_OK(qkv_device_list_select(&index, &list, list.devices[i].selector));
            TEST_TRUE(index == i);
        }
        if (!strcmp(machines[m].name, "kinds before numbers")) {
            TEST_OK(qkv_device_list_select(&index, &list, "cpu"));
            TEST_TRUE(index == 0);
            TEST_OK(qkv_device_list_select(&index, &list, "gpu"));
            TEST_TRUE(index == 1);
        }
        destroy(&list);
    }
}
END_TEST

START_TEST(wrong_arguments) {
    struct qkv_device_list list;
    size_t index = 77;
    build(&list, &machines[1]);
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out_index", qkv_device_list_best(NULL, NULL, &list, QKV_DEVICE_ANY));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "list", qkv_device_list_best(&index, NULL, NULL, QKV_DEVICE_ANY));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "work", qkv_device_list_best(&index, NULL, &list, (qkv_device_work)4));
    TEST_OK(qkv_device_list_best(&index, NULL, &list, QKV_DEVICE_DECODE));
    TEST_TRUE(index == 1 && strlen(qkv_device_rule()) > 100);
    destroy(&list);
}
END_TEST

/* ---- measurements kept from one list to the next ---- */

static char folder[] = "/tmp/qkv-choice-XXXXXX";

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

static void remove_folder(void) {
    char command[sizeof folder + 8];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", folder);
}

int main(void) {
    Suite *suite = suite_create("choice");
    TCase *tcase = tcase_create("choice");
    if (!mkdtemp(folder)) {
        perror(folder);
        return EXIT_FAILURE;
    }
    tcase_add_loop_test(tcase, made_up_machines, 0, (int)TEST_COUNT(machines));
    tcase_add_test(tcase, selectors_of_a_kind);
    tcase_add_test(tcase, wrong_arguments);
    tcase_add_test(tcase, a_measurement_is_kept);
    tcase_add_test(tcase, a_context_tells_of_it);
    tcase_add_test(tcase, measurements_that_cannot_be);
    suite_add_tcase(suite, tcase);
    int status = test_main(suite);
    remove_folder();
    return status;
}
