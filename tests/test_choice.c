/* The choice of a device on machines that are not here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/list.h"
#include "support/fixture.h"

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
    {"estimates of one vendor, and a refused one that had more",
     {{"small", 0, "Intel", QKV_DEVICE_GPU, 10, 2000, "0000:00:02.0", "", {0}, false},
      {"large", 1, NVIDIA, QKV_DEVICE_GPU, 30, 1500, "0000:01:00.0", "", {0}, false},
      {"broken", 2, "AMD", QKV_DEVICE_GPU, 90, 2000, "0000:02:00.0", "", {0}, true}},
     {1, 1, 1, 1},
     {0},
     {0, 1, 2},
     {"1:1 has more compute units times lanes times clock (large)", "taken by auto", "made up"}},
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

/* GPUs that are found together, as their drivers describe them: the second is taken, whichever is listed first. */
struct gpu {
    const char *name;
    uint32_t vendor, units, clock;
};
static const struct gpu slower_and_faster[][2] = {
    {{"Iris Xe", 0x8086, 96, 1300}, {"RTX 3060 laptop", 0x10de, 30, 1700}},
    {{"UHD 770", 0x8086, 32, 1550}, {"RTX 3050", 0x10de, 20, 1777}},
    {{"Arc of a Core Ultra 7", 0x8086, 128, 2250}, {"RTX 4050 laptop", 0x10de, 20, 2370}},
    {{"Iris Xe", 0x8086, 96, 1300}, {"Arc A770", 0x8086, 512, 2400}},
    {{"UHD 630", 0x8086, 24, 1150}, {"RX 580", 0x1002, 36, 1340}},
    {{"UHD 770", 0x8086, 32, 1550}, {"RX 7600 in pairs of units", 0x1002, 16, 2600}},
    {{"Radeon 780M", 0x1002, 12, 2700}, {"RX 7600", 0x1002, 32, 2600}},
    {{"Radeon 780M", 0x1002, 12, 2700}, {"RX 7600 in pairs of units", 0x1002, 16, 2600}},
    {{"Vega 8", 0x1002, 8, 2000}, {"GTX 1650 laptop", 0x10de, 14, 1560}},
    {{"Radeon 680M", 0x1002, 12, 2400}, {"RTX 3060 laptop", 0x10de, 30, 1700}},
    {{"UHD 630, Apple's driver", 0x01024500, 24, 1150}, {"Radeon Pro 5300M, Apple's driver", 0x01021f00, 20, 1250}},
    {{"HD 4000, Apple's driver", 0x01024400, 16, 1200}, {"GT 650M, Apple's driver", 0x01022700, 2, 900}},
    {{"Iris Xe", 0x8086, 96, 1300}, {"RTX 3060 laptop without a clock", 0x10de, 30, 0}},
    {{"Iris Xe without a clock", 0x8086, 96, 0}, {"RTX 3060 laptop", 0x10de, 30, 1700}},
    {{"two cores, of nobody known", 0, 2, 800}, {"four", 0, 4, 800}},
    {{"no units", 0x10de, 0, 1700}, {"Iris Xe", 0x8086, 96, 1300}},
};

static size_t chosen_of_two(const struct gpu *first, const struct gpu *second) {
    struct machine machine = {.name = "two GPUs"};
    struct qkv_device_list list;
    size_t index = 77;
    int measured = 77;
    for (size_t i = 0; i < 2; i++) {
        const struct gpu *gpu = i ? second : first;
        machine.devices[i] = (struct made_up){.name = gpu->name,
                                              .platform = i,
                                              .platform_name = "vendor's",
                                              .kind = QKV_DEVICE_GPU,
                                              .units = gpu->units,
                                              .clock = gpu->clock,
                                              .pci = "",
                                              .uuid = ""};
    }
    build(&list, &machine);
    list.devices[0].vendor_id = first->vendor;
    list.devices[1].vendor_id = second->vendor;
    TEST_OK(qkvi_list_judge(&list));
    test_note("%s, then %s", first->name, second->name);
    TEST_OK(qkv_device_list_best(&index, &measured, &list, QKV_DEVICE_ANY));
    TEST_TRUE(!measured && index < 2 && list.devices[index].is_auto);
    destroy(&list);
    return index;
}

START_TEST(gpus_of_different_vendors) {
    const struct gpu *pair = slower_and_faster[_i];
    TEST_TRUE(chosen_of_two(&pair[0], &pair[1]) == 1);
    TEST_TRUE(chosen_of_two(&pair[1], &pair[0]) == 0);
    /* Equal ones: the first listed. */
    TEST_TRUE(chosen_of_two(&pair[0], &pair[0]) == 0);
    TEST_TRUE(chosen_of_two(&pair[1], &pair[1]) == 0);
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

static const struct machine named = {
    .name = "names",
    .devices = {{"Radeon RX 7900 XTX", 0, "rusticl", QKV_DEVICE_GPU, 96, 2500, "", "", {0}, false},
                {"Radeon Pro", 0, "rusticl", QKV_DEVICE_GPU, 64, 2500, "", "", {0}, false},
                {"llvmpipe (LLVM 15.0.6, 256 bits)", 1, "Other", QKV_DEVICE_SOFTWARE_GPU, 8, 0, "", "", {0}, false}}};

START_TEST(parts_of_names) {
    static const char *const no_names[] = {"0", "1", "256", "7900", "(", "15.0.6", "-1", " ", ":", "0:", ":0"};
    struct qkv_device_list list;
    size_t index = 77;
    build(&list, &named);
    for (size_t i = 0; i < TEST_COUNT(no_names); i++) {
        test_note("\"%s\"", no_names[i]);
        TEST_FAILS(QKV_NO_DEVICE, "P:D", qkv_device_list_select(&index, &list, no_names[i]));
        TEST_TRUE(index == 77);
    }
    TEST_OK(qkv_device_list_select(&index, &list, "rx 7900"));
    TEST_TRUE(index == 0);
    TEST_OK(qkv_device_list_select(&index, &list, "256 bits"));
    TEST_TRUE(index == 2);
    /* Those that fit are listed, and no others: by the devices' names, and where none fits by the platforms'. */
    TEST_FAILS(QKV_AMBIGUOUS_DEVICE, "Pro", qkv_device_list_select(&index, &list, "radeon"));
    TEST_TRUE(strstr(qkv_error_message(), "0:0 ") && !strstr(qkv_error_message(), "llvmpipe"));
    TEST_FAILS(QKV_AMBIGUOUS_DEVICE, "Pro", qkv_device_list_select(&index, &list, "rusticl"));
    TEST_TRUE(strstr(qkv_error_message(), "0:0 ") && !strstr(qkv_error_message(), "llvmpipe"));
    destroy(&list);
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

int main(void) {
    Suite *suite = suite_create("choice");
    TCase *tcase = tcase_create("choice");
    tcase_add_loop_test(tcase, made_up_machines, 0, (int)TEST_COUNT(machines));
    tcase_add_loop_test(tcase, gpus_of_different_vendors, 0, (int)TEST_COUNT(slower_and_faster));
    tcase_add_test(tcase, selectors_of_a_kind);
    tcase_add_test(tcase, parts_of_names);
    tcase_add_test(tcase, wrong_arguments);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
