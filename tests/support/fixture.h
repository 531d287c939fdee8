/* What every test program shares: one context on the device under test, skips that are counted, expectations. */
#ifndef TEST_FIXTURE_H
#define TEST_FIXTURE_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qkv.h"

#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Runs the suite in this process (OpenCL hangs after fork on some implementations); main()'s return value. */
int test_main(Suite *suite);

/* The context on the device that QKV_DEVICE and OCL_ICD_VENDORS choose, opened at the first call. */
qkv_context *test_context(void);
cl_context test_cl_context(void);
cl_command_queue test_queue(void);

/* A simulator: its clFlush() runs everything before it returns, and it runs one kernel at a time in a process. */
bool test_is_simulator(void);

/* QKV_TEST_SCALE: 1, or less for implementations that are slow; where it is not set, by a measurement (speed.h). */
double test_scale(void);
bool test_is_slow(void);
/* QKV_TEST_THOROUGH: time is no matter. */
bool test_is_thorough(void);
uint64_t test_seed(void); /* QKV_TEST_SEED */
/* A simulator, where a case takes seconds and repeats what others have shown, and where time matters. */
bool test_is_pressed(void);
/* Of rows that show much the same a slow implementation gets every second one, the seed says which, where time matters. */
bool test_leaves_out(size_t row);
/* n cases at scale 1, fewer below, at least 1. */
size_t test_cases(size_t n);
/* A largest size: n at scale 1, smaller below, at least 5. */
size_t test_cap(size_t n);

/* malloc'ed zeros; a failure ends the program. Never NULL. */
void *test_alloc(size_t n, size_t size);

/* The case at hand: every failure below prints it. */
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *test_note_text(void);
/* Prints "skip: ..." and counts it; test_main prints the count. */
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));

#define TEST_TRUE(condition)                                                                                           \
    ((condition) ? (void)mark_point() : test_fail(__FILE__, __LINE__, "not true: %s", #condition))

/* The call succeeds. */
#define TEST_OK(call) test_expect_ok((call), #call, __FILE__, __LINE__)
void test_expect_ok(qkv_status status, const char *call, const char *file, int line);

/* The call fails with this status and its message has `word` as a whole word (NULL: any message). */
#define TEST_FAILS(expected, word, call) test_expect_failure((call), (expected), (word), #call, __FILE__, __LINE__)
void test_expect_failure(qkv_status status, qkv_status expected, const char *word, const char *call, const char *file,
                         int line);

/* An OpenCL call of the test's own. */
#define TEST_CL(call) test_expect_cl((call), #call, __FILE__, __LINE__)
void test_expect_cl(cl_int error, const char *call, const char *file, int line);

/* Does text have `word`, delimited by anything but letters, digits and '_'? */
bool test_has_word(const char *text, const char *word);

/* NULL (the library's own choice) and each solver's name; NULL alone where QKV_SOLVER forces one. */
#define TEST_NUM_SOLVERS test_num_solvers()
#define TEST_MOST_SOLVERS 4
unsigned char test_num_solvers(void); /* fits an int as well as a size_t */
const char *test_solver(size_t index);
/* For a forced solver, by the test or by QKV_SOLVER, that answered QKV_UNSUPPORTED: a counted skip with its reason, and
 * true. */
bool test_solver_refused(qkv_status status, const char *solver);

#endif
