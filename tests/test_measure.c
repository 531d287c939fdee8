/* qkv-devices --measure, without its options: what is measured, told and kept. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/measure.h"
#include "support/fixture.h"
#include "support/liar_client.h"
#include "support/peak.h"

static char folder[] = "/tmp/qkv-measure-XXXXXX";

static struct measurement made_up(void) {
    struct measurement m = {
        .selector = "3:1", .device = "Device", .platform = "Platform", .driver = "1.2", .kept = "kept"};
    for (int row = 0; row < MEASURE_ROWS; row++) {
        m.rows[row].value = row == MEASURE_FP16 ? 0 : 1000 + row;
        snprintf(m.rows[row].note, sizeof m.rows[row].note, "note %d.", row);
    }
    m.native_ratio = 0.5;
    m.others = 0.25;
    m.seconds = 7.25;
    return m;
}

/* What measure_print() writes; the caller frees it. */
static char *printed(const struct measurement *m) {
    FILE *file = tmpfile();
    char *text = test_alloc(8192, 1);
    TEST_TRUE(file != NULL);
    measure_print(file, m);
    rewind(file);
    TEST_TRUE(fread(text, 1, 8191, file) > 0);
    fclose(file);
    return text;
}

START_TEST(every_row_is_printed) {
    struct measurement m = made_up();
    char *text = printed(&m), word[16];
    for (int row = 0; row < MEASURE_ROWS; row++) {
        snprintf(word, sizeof word, "note %d.", row);
        TEST_TRUE(strstr(text, word) != NULL);
        snprintf(word, sizeof word, "%d", 1000 + row);
        TEST_TRUE((strstr(text, word) != NULL) == (row != MEASURE_FP16));
    }
    TEST_TRUE(strstr(text, "3:1  Device (Platform)") && strstr(text, "kept\n"));
    free(text);
    snprintf(m.error, sizeof m.error, "the reason");
    text = printed(&m);
    ck_assert_str_eq(text, "3:1  not measured: the reason\n");
    free(text);
}
END_TEST

/* A device that is a thousand times slower than another has figures all the same. */
START_TEST(small_figures_are_figures) {
    static const struct {
        double value;
        const char *shown;
    } cases[] = {{412.4, " 412 "},   {41.24, " 41.2 "},    {4.124, " 4.1 "},
                 {0.4124, " 0.41 "}, {0.04124, " 0.041 "}, {0.004124, " 0.00412 "}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct measurement m = made_up();
        m.rows[MEASURE_PREFILL].value = cases[i].value;
        char *text = printed(&m);
        test_note("%g", cases[i].value);
        TEST_TRUE(strstr(text, cases[i].shown) != NULL);
        free(text);
    }
}
END_TEST

/* From process to process as JSON: nothing is lost, and nothing there is needed. */
START_TEST(json_and_back) {
    struct measurement m = made_up(), back, again;
    json_t *json = measure_json(&m);
    measure_from_json(&back, json);
    TEST_TRUE(json_is_null(json_object_get(json, "error")) && json_is_null(json_object_get(json, "fp16_gflops")));
    for (int row = 0; row < MEASURE_ROWS; row++) {
        TEST_TRUE(back.rows[row].value == m.rows[row].value);
        ck_assert_str_eq(back.rows[row].note, m.rows[row].note);
    }
    ck_assert_str_eq(back.selector, m.selector);
    ck_assert_str_eq(back.driver, m.driver);
    TEST_TRUE(back.native_ratio == m.native_ratio && back.others == m.others && back.seconds == m.seconds);
    char *before = printed(&m), *after = printed(&back);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    json_decref(json);
    json = json_object();
    measure_from_json(&again, json);
    TEST_TRUE(again.rows[0].value == 0 && again.error[0] == '\0' && again.rows[MEASURE_DECODE].note[0] == '\0');
    json_decref(json);
}
END_TEST

struct told {
    size_t count;
    bool ended;
};

static void listen(void *user, const char *what) {
    struct told *told = user;
    TEST_TRUE(!told->ended);
    told->ended = what == NULL;
    if (what) TEST_TRUE(what[0] != '\0');
    told->count++;
}

static void check_rows(const struct measurement *m, bool cpu) {
    for (int row = 0; row < MEASURE_ROWS; row++) {
        bool may_lack = row == MEASURE_FP16 || (row == MEASURE_NATIVE && !cpu);
        test_note("row %d: %g, %s", row, m->rows[row].value, m->rows[row].note);
        TEST_TRUE(m->rows[row].note[0] != '\0');
        TEST_TRUE(may_lack || m->rows[row].value > 0);
    }
    /* How large the figures are is no matter of a test: the machine may be busy. */
    TEST_TRUE((m->native_ratio > 0) == cpu);
}

static void check_kept(const struct measurement *m) {
    qkv_device_list *list = NULL;
    size_t index = 0;
    TEST_OK(qkv_device_list_create(&list));
    TEST_OK(qkv_device_list_select(&index, list, m->selector));
    const qkv_device_info *info = qkv_device_list_device(list, index);
    /* Whole flops and bytes are kept. */
    TEST_TRUE(info->projection_gflops - m->rows[MEASURE_PROJECTION].value < 1e-8 &&
              info->projection_gflops - m->rows[MEASURE_PROJECTION].value > -1e-8);
    TEST_TRUE(info->prefill_gflops > 0 && info->decode_gbps > 0);
    json_t *best = measure_best_json(list);
    const char *selector = json_string_value(json_object_get(json_object_get(best, "decode"), "selector"));
    if (qkv_device_list_num_devices(list) == 1) {
        ck_assert_str_eq(selector, m->selector);
        TEST_TRUE(json_is_true(json_object_get(json_object_get(best, "decode"), "measured")));
    }
    json_decref(best);
    qkv_device_list_destroy(list);
}

START_TEST(the_device_here) {
    struct measurement m;
    struct told told = {0, false};
    bool cpu = qkv_context_device(test_context())->kind == QKV_DEVICE_CPU;
    if (test_is_slow() && !test_is_simulator()) {
        test_skip("measuring takes too long on a slow implementation");
        return;
    }
    setenv("QKV_CACHE_DIR", folder, 1);
    const bool lie = !test_is_simulator() && liar_meet() != NULL;
    if (lie)
        liar_tell("device=GLOBAL_MEM_SIZE:%zu; device=GLOBAL_MEM_CACHE_SIZE:%zu", (size_t)2 << 30, (size_t)80 << 20);
    int status = measure_device(&m, qkv_context_device(test_context())->selector, listen, &told);
    if (lie) liar_tell("%s", "");
    test_note("%s", m.error);
    TEST_TRUE(status == 0 && told.ended);
    if (test_is_simulator()) {
        TEST_TRUE(strstr(m.error, "simulator") != NULL && m.rows[MEASURE_PROJECTION].value == 0);
    } else {
        TEST_TRUE(m.error[0] == '\0' && told.count > 8);
        check_rows(&m, cpu);
        /* 64 MiB each, twice the cache of a CPU, 512 MiB of a GPU: that is a quarter of the memory. */
        const char *const caches = qkv_context_device(test_context())->kind == QKV_DEVICE_GPU ? ", 8 such" : ", 3 such";
        if (lie) TEST_TRUE(strstr(m.rows[MEASURE_DECODE].note, caches) != NULL);
        /* What a busy machine gave is not kept. */
        TEST_TRUE(m.others >= 0 && m.others < 1);
        TEST_TRUE((strstr(m.kept, folder) != NULL) == !(m.others > 0.1));
        TEST_TRUE((strstr(m.kept, "other processes") != NULL) == (m.others > 0.1));
        if (!(m.others > 0.1)) check_kept(&m);
    }
    unsetenv("QKV_CACHE_DIR");
}
END_TEST

/* Of a driver that does not say how large a work-group may be; no CPU, where groups have one item. */
START_TEST(no_group_size) {
    char error[160] = "";
    qkv_context *context = NULL;
    if (test_is_simulator() || !liar_meet()) return;
    liar_tell("device=TYPE:4; device=MAX_WORK_GROUP_SIZE:%s", _i ? "fail" : "0");
    TEST_OK(qkv_context_create(&context, NULL, NULL));
    TEST_TRUE(qkv_context_device(context)->max_work_group_size == 0);
    struct tool_peak *peak = tool_peak_create(context, error, sizeof error);
    test_note("%s", error);
    TEST_TRUE(peak != NULL);
    TEST_TRUE(tool_peak_run(peak) > 0 && tool_peak_read(peak, 0, 1) > 0 && tool_peak_copy(peak, 2) > 0);
    tool_peak_destroy(peak);
    qkv_context_destroy(context);
    liar_tell("%s", "");
}
END_TEST

START_TEST(no_such_device) {
    struct measurement m;
    TEST_TRUE(measure_device(&m, "no such device", NULL, NULL) == -1);
    TEST_TRUE(strstr(m.error, "no such device") != NULL);
    char *text = printed(&m);
    TEST_TRUE(strncmp(text, "not measured: ", 14) == 0);
    free(text);
}
END_TEST

/* Out comes the selector alone, so that a shell can take it. */
START_TEST(best_device) {
    qkv_device_list *list = NULL;
    static const char *const works[] = {"projection", "prefill", "decode"};
    char line[64], expected[64];
    size_t index = 0;
    TEST_OK(qkv_device_list_create(&list));
    json_t *best = measure_best_json(list);
    for (size_t w = 0; w < TEST_COUNT(works); w++) {
        FILE *out = tmpfile(), *log = tmpfile();
        TEST_TRUE(out && log && measure_best_print(out, log, best, works[w]) == 0);
        TEST_TRUE(ftell(log) > 0);
        rewind(out);
        TEST_TRUE(fgets(line, sizeof line, out) != NULL && getc(out) == EOF);
        TEST_OK(qkv_device_list_best(&index, NULL, list, (qkv_device_work)(w + 1)));
        snprintf(expected, sizeof expected, "%s\n", qkv_device_list_device(list, index)->selector);
        ck_assert_str_eq(line, expected);
        fclose(out);
        fclose(log);
    }
    json_decref(best);
    best = json_pack("{s:n}", "decode");
    FILE *log = tmpfile();
    TEST_TRUE(log && measure_best_print(stdout, log, best, "decode") == -1 && ftell(log) > 0);
    fclose(log);
    json_decref(best);
    qkv_device_list_destroy(list);
}
END_TEST

int main(int argc, char **argv) {
    Suite *suite = suite_create("measure");
    TCase *tcase = tcase_create("measure");
    char command[sizeof folder + 8];
    if (argc > 0) liar_place(argv[0]);
    if (!mkdtemp(folder)) {
        perror(folder);
        return EXIT_FAILURE;
    }
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, every_row_is_printed);
    tcase_add_test(tcase, small_figures_are_figures);
    tcase_add_test(tcase, json_and_back);
    tcase_add_test(tcase, the_device_here);
    tcase_add_loop_test(tcase, no_group_size, 0, 2);
    tcase_add_test(tcase, no_such_device);
    tcase_add_test(tcase, best_device);
    suite_add_tcase(suite, tcase);
    int status = test_main(suite);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", folder);
    return status;
}
