#include "support/fixture.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/speed.h"

static qkv_context *shared_context;
static size_t num_skips;
static char note[512];

static qkv_status open_context(void) {
    if (shared_context) return QKV_OK;
    qkv_status status = qkv_context_create(&shared_context, NULL, NULL);
    if (status) return status;
    const qkv_device_info *device = qkv_context_device(shared_context);
    printf("device: %s; %s; driver %s; %s; test scale %g\n", device->name, device->platform_name,
           device->driver_version, device->device_version, test_scale());
    return QKV_OK;
}

qkv_context *test_context(void) {
    /* Check allocates at every assertion, which tests of faults make fail. */
    if (!shared_context) TEST_OK(open_context());
    return shared_context;
}

cl_context test_cl_context(void) {
    return qkv_context_cl_context(test_context());
}

cl_command_queue test_queue(void) {
    return qkv_context_cl_queue(test_context());
}

bool test_is_simulator(void) {
    return qkv_context_device(test_context())->kind == QKV_DEVICE_SIMULATOR;
}

/* QKV_SOLVER as the suite found it: some tests change it. */
static char forced_solver[64];

int test_main(Suite *suite) {
    const char *forced = getenv("QKV_SOLVER");
    snprintf(forced_solver, sizeof forced_solver, "%s", forced ? forced : "");
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    setvbuf(stdout, NULL, _IOLBF, 0);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    qkv_context_destroy(shared_context);
    shared_context = NULL;
    printf("skips: %zu\n", num_skips);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Where nobody has said it: measured on the device once and told the environment, so that programs which the suite starts
 * need not measure again. 1 without a device. */
static double measure_scale(void) {
    char text[32];
    if (open_context()) return 1;
    const char *known = getenv("QKV_TEST_SCALE"); /* opening it for its line has asked for the scale */
    if (known && *known) return strtod(known, NULL);
    double scale = test_scale_of(test_speed(test_cl_context(), qkv_context_cl_device(shared_context), test_queue()));
    (void)snprintf(text, sizeof text, "%g", scale);
    (void)setenv("QKV_TEST_SCALE", text, 1);
    return scale;
}

double test_scale(void) {
    const char *text = getenv("QKV_TEST_SCALE");
    double scale = text && *text ? strtod(text, NULL) : measure_scale();
    return scale > 0 && scale <= 100 ? scale : 1.0;
}

bool test_is_slow(void) {
    return test_scale() < 0.5;
}

bool test_is_thorough(void) {
    const char *text = getenv("QKV_TEST_THOROUGH");
    return text && *text;
}

bool test_is_pressed(void) {
    return test_is_simulator() && !test_is_thorough();
}

bool test_leaves_out(size_t row) {
    return test_is_slow() && !test_is_thorough() && row % 2 != test_seed() % 2;
}

uint64_t test_seed(void) {
    const char *text = getenv("QKV_TEST_SEED");
    return text && *text ? strtoull(text, NULL, 0) : 1;
}

size_t test_cases(size_t n) {
    double scaled = (double)n * test_scale();
    return scaled < 1 ? 1 : (size_t)scaled;
}

size_t test_cap(size_t n) {
    double scaled = (double)n * (test_scale() < 1 ? test_scale() : 1);
    return scaled < 5 ? 5 : (size_t)scaled;
}

void *test_alloc(size_t n, size_t size) {
    void *memory = calloc(n ? n : 1, size);
    if (!memory) {
        fprintf(stderr, "out of memory: %zu times %zu bytes\n", n, size);
        exit(EXIT_FAILURE);
    }
    return memory;
}

void test_note(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(note, sizeof note, format, list);
    va_end(list);
}

const char *test_note_text(void) {
    return note;
}

void test_skip(const char *format, ...) {
    va_list list;
    va_start(list, format);
    printf("skip: ");
    vprintf(format, list);
    printf("\n");
    va_end(list);
    num_skips++;
}

void test_fail(const char *file, int line, const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ck_abort_msg("%s:%d: %s%s%s%s", file, line, text, note[0] ? " [" : "", note, note[0] ? "]" : "");
    abort();
}

void test_expect_ok(qkv_status status, const char *call, const char *file, int line) {
    if (status != QKV_OK) test_fail(file, line, "%s: %s: %s", call, qkv_status_name(status), qkv_error_message());
    mark_point();
}

void test_expect_failure(qkv_status status, qkv_status expected, const char *word, const char *call, const char *file,
                         int line) {
    if (status != expected)
        test_fail(file, line, "%s: got %s, expected %s; message: \"%s\"", call, qkv_status_name(status),
                  qkv_status_name(expected), qkv_error_message());
    if (word ? !test_has_word(qkv_error_message(), word) : qkv_error_message()[0] == '\0')
        test_fail(file, line, "%s: %s, but its message does not name \"%s\": \"%s\"", call, qkv_status_name(status),
                  word ? word : "", qkv_error_message());
    mark_point();
}

void test_expect_cl(cl_int error, const char *call, const char *file, int line) {
    if (error != CL_SUCCESS) test_fail(file, line, "%s: OpenCL error %d", call, (int)error);
    mark_point();
}

static bool in_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

bool test_has_word(const char *text, const char *word) {
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        if ((at == text || !in_word(at[-1])) && !in_word(at[length])) return true;
    return false;
}

static const char *const solvers[TEST_MOST_SOLVERS] = {NULL, "plain", "vector", "tile"};

unsigned char test_num_solvers(void) {
    const char *forced = forced_solver[0] ? forced_solver : getenv("QKV_SOLVER");
    return forced && *forced ? 1 : (unsigned char)TEST_COUNT(solvers);
}

const char *test_solver(size_t index) {
    return solvers[index];
}

bool test_solver_refused(qkv_status status, const char *solver) {
    if (!solver) solver = forced_solver;
    if (status != QKV_UNSUPPORTED || !*solver) return false;
    test_skip("solver %s: %s%s%s%s", solver, qkv_error_message(), note[0] ? " [" : "", note, note[0] ? "]" : "");
    return true;
}
