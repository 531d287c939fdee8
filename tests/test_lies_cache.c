/*
 * The cache between starts with drivers that lie, by the layer of liar/liar.h: one that ends the process in the middle of a
 * call is not met twice by the same solver, and what another driver or device left is not used.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/cache_log.h"
#include "support/liar_client.h"
#include "support/store_files.h"
#include "support/tiny_model.h"

static char *program; /* this one, to be started again */

/* A plan in a context that knows nothing but what the folder holds; its solver. */
static qkv_status start(char solver[64], const char *folder) {
    qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
    qkv_rotary *rotary = NULL;
    qkv_context *context = cache_context(folder);
    if (!context) return QKV_NO_DEVICE;
    desc.head_dim = 64;
    desc.max_position = 16;
    qkv_status status = qkv_rotary_create(&rotary, context, &desc);
    if (!status) {
        const char *text = qkv_rotary_describe(rotary);
        (void)snprintf(solver, 64, "%.*s", (int)strcspn(text, " "), text);
    }
    qkv_rotary_destroy(rotary);
    qkv_context_destroy(context);
    return status;
}

/* ---- a driver that crashes ---- */

/* The same in a process of its own, under these lies: its exit status, -1 where a signal ended it. */
static int start_apart(const char *folder, const char *lies) {
    posix_spawn_file_actions_t actions;
    char *arguments[] = {program, (char *)(uintptr_t)folder, NULL};
    int status = 0;
    TEST_TRUE(setenv("LIAR", lies, 1) == 0);
    TEST_TRUE(posix_spawn_file_actions_init(&actions) == 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const pid_t pid = cache_start_process(arguments, &actions);
    TEST_TRUE(unsetenv("LIAR") == 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Marks that were left by attempts whose name begins so. */
static size_t count_marks(const char *folder, const char *what) {
    char path[4400], beginning[80];
    size_t count = 0, size;
    (void)snprintf(beginning, sizeof beginning, "attempt %s", what);
    for (size_t i = 0; store_file_nth(path, folder, "mark-", i); i++) {
        char *text = store_file_read(&size, path);
        count += text && strstr(text, beginning) != NULL;
        free(text);
    }
    return count;
}

/* false where the process makes fewer than n such calls. */
static bool crash_at(const char *call, unsigned n, const char *first, size_t *quarantined) {
    char *folder = test_folder_create(), lies[80], solver[64];
    (void)snprintf(lies, sizeof lies, "crash=%s:%u", call, n);
    test_note("%s", lies);
    int status = start_apart(folder, lies);
    if (status != 0 && status != -1) test_fail(__FILE__, __LINE__, "exit status %d", status);
    size_t marks = count_marks(folder, "rotary="), all = store_file_count(folder, "mark-");
    TEST_TRUE(marks <= all && all <= (status == -1));
    liar_tell("%s", "");
    TEST_OK(start(solver, folder));
    /* What it did not survive is left alone; what it was not about to try is not blamed, nor a solver for its binaries. */
    TEST_TRUE(cache_log.quarantined == marks && (strcmp(solver, first) == 0) == (marks == 0));
    *quarantined += marks;
    if (all == 0) {
        TEST_OK(start(solver, folder));
        TEST_TRUE(cache_log.built == 0 && cache_log.tested == 0);
    }
    test_folder_remove(folder);
    return status == -1;
}

START_TEST(a_driver_that_crashes_is_met_once) {
    static const char *const calls[] = {"clBuildProgram", "clCreateKernel", "clEnqueueNDRangeKernel", "clWaitForEvents",
                                        "clGetProgramInfo"};
    const char *forced = getenv("QKV_SOLVER");
    char first[64];
    size_t quarantined = 0;
    if (!liar_meet()) return;
    if (forced && *forced) {
        test_skip("QKV_SOLVER leaves no other solver to take over from one that crashed");
        return;
    }
    liar_tell("%s", "");
    TEST_OK(start(first, ""));
    unsigned crashes = 0;
    for (unsigned n = 1; crash_at(calls[_i], n, first, &quarantined); crashes++)
        n += test_is_slow() ? n : n >= 8 ? 2 : 1;
    TEST_TRUE(crashes > 0);
    /* The solver's own build and launches are among them, unless they fall between the ones tried; programs are asked
     * for their binaries when it has passed. */
    if (_i < 4 && !test_is_slow()) TEST_TRUE(quarantined > 0);
}
END_TEST

/* The user ended the process in the middle of the one solver that does build here. */
START_TEST(the_only_solver_is_not_given_up) {
    const char *forced = getenv("QKV_SOLVER");
    char first[64], solver[64], lies[80];
    if (!liar_meet()) return;
    if (forced && *forced) {
        test_skip("QKV_SOLVER leaves no other solver that could fail last");
        return;
    }
    char *folder = test_folder_create();
    liar_tell("%s", "");
    TEST_OK(start(first, ""));
    int status = -1;
    for (unsigned n = 1; status == -1 && count_marks(folder, "rotary=") == 0; n++) {
        (void)snprintf(lies, sizeof lies, "crash=clCreateKernel:%u", n);
        status = start_apart(folder, lies);
    }
    ck_assert_uint_eq(count_marks(folder, first), 1);
    liar_tell("refuse=rotary_%s", strcmp(first, "rotary=plain") == 0 ? "vector" : "plain");
    TEST_OK(start(solver, folder));
    ck_assert_str_eq(solver, first);
    test_folder_remove(folder);
}
END_TEST

/* ---- a driver whose binaries are no good ---- */

/* It ends every process that asks it for a binary, or gives it one: after two ends, or one, nobody does. */
START_TEST(a_driver_that_dies_of_binaries_is_let_be) {
    static const struct {
        const char *lies;
        int ends;
    } cases[] = {{"crash=clGetProgramInfo:1", 2}, {"crash=clCreateProgramWithBinary:1", 1}};
    char first[64], solver[64];
    if (!liar_meet()) return;
    char *folder = test_folder_create();
    liar_tell("%s", "");
    TEST_OK(start(first, ""));
    test_note("%s", cases[_i].lies);
    for (int i = 0; i < cases[_i].ends; i++)
        ck_assert_int_eq(start_apart(folder, cases[_i].lies), -1);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(start_apart(folder, cases[_i].lies), 0);
    TEST_OK(start(solver, folder));
    ck_assert_str_eq(solver, first);
    ck_assert_uint_eq(cache_log.quarantined, 0);
    test_folder_remove(folder);
}
END_TEST

START_TEST(binaries_that_are_wrong_are_not_kept) {
    static const char *const ways[] = {"wrong", "absent"};
    char first[64], solver[64];
    if (!liar_meet()) return;
    char *folder = test_folder_create();
    liar_tell("%s", "");
    TEST_OK(start(first, ""));
    for (int i = 0; i < 2; i++) {
        liar_tell("loaded=*:%s", ways[_i]);
        test_note("loaded=*:%s, %d", ways[_i], i);
        TEST_OK(start(solver, folder));
        ck_assert_str_eq(solver, first);
        TEST_TRUE(cache_log.built > 0 && cache_log.loaded == 0 && cache_log.untrusted == 1);
        ck_assert_uint_eq(store_file_count(folder, "program-"), 0);
    }
    liar_tell("%s", "");
    TEST_OK(start(solver, folder));
    TEST_TRUE(store_file_count(folder, "program-") > 0);
    test_folder_remove(folder);
}
END_TEST

/* Kept while they were good: then found out where a kernel is not to be had, or where nobody vouches for them. */
START_TEST(binaries_that_went_bad_are_built_again) {
    static const char *const ways[] = {"wrong", "absent"};
    char first[64], solver[64];
    if (!liar_meet()) return;
    char *folder = test_folder_create();
    liar_tell("%s", "");
    TEST_OK(start(first, folder));
    store_files_spoil(folder, "ledger", true);
    liar_tell("loaded=*:%s", ways[_i]);
    test_note("loaded=*:%s", ways[_i]);
    TEST_OK(start(solver, folder));
    ck_assert_str_eq(solver, first);
    TEST_TRUE(cache_log.built > 0 && cache_log.loaded > 0 && cache_log.quarantined == 0);
    ck_assert_uint_eq(store_file_count(folder, "program-"), 0);
    test_folder_remove(folder);
}
END_TEST

/* ---- a driver that is another one than before ---- */

START_TEST(another_driver_has_its_own_entries) {
    static const char *const others[] = {"device=DRIVER_VERSION:another 9.9", "device=NAME:another device",
                                         "device=VENDOR:another vendor", "device=VERSION:OpenCL 1.2 another",
                                         "device=MAX_COMPUTE_UNITS:77"};
    char solver[64];
    if (!liar_meet()) return;
    char *folder = test_folder_create();
    liar_tell("%s", "");
    TEST_OK(start(solver, folder));
    TEST_TRUE(cache_log.built > 0);
    for (size_t i = 0; i < TEST_COUNT(others); i++) {
        test_note("%s", others[i]);
        liar_tell("%s", others[i]);
        TEST_OK(start(solver, folder));
        TEST_TRUE(cache_log.built > 0 && cache_log.tested > 0 && cache_log.loaded == 0);
        liar_tell("%s", "");
        TEST_OK(start(solver, folder));
        TEST_TRUE(cache_log.built == 0 && cache_log.tested == 0);
    }
    test_folder_remove(folder);
}
END_TEST

START_TEST(a_compiler_that_lacks_things_has_its_own_entries) {
    char solver[64];
    if (!liar_meet()) return;
    char *folder = test_folder_create();
    for (int again = 0; again < 2; again++) {
        test_note("lacking, %d", again);
        liar_tell("reject=-cl-std; lack=half; lack=vload_half; lack=vstore_half");
        TEST_OK(start(solver, folder));
        TEST_TRUE(cache_log.lacking == 2 &&
                  (again ? cache_log.built == 0 && cache_log.tested == 0 && cache_log.loaded > 0
                         : cache_log.built > 0 && cache_log.tested > 0));
        /* What was tested without is known; what was built without is not taken by who can do with. */
        test_note("whole, %d", again);
        liar_tell("%s", "");
        TEST_OK(start(solver, folder));
        TEST_TRUE(cache_log.lacking == 0 && (cache_log.built > 0) == !again && (cache_log.loaded > 0) == again);
    }
    test_folder_remove(folder);
}
END_TEST

int main(int argc, char **argv) {
    char solver[64];
    program = argv[0];
    if (argc == 2) return start(solver, argv[1]) == QKV_OK ? 0 : 1;
    liar_place(argv[0]);
    Suite *suite = suite_create("lies and the cache");
    TCase *tcase = tcase_create("cache");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, a_driver_that_crashes_is_met_once, 0, 5);
    tcase_add_test(tcase, the_only_solver_is_not_given_up);
    tcase_add_loop_test(tcase, a_driver_that_dies_of_binaries_is_let_be, 0, 2);
    tcase_add_loop_test(tcase, binaries_that_are_wrong_are_not_kept, 0, 2);
    tcase_add_loop_test(tcase, binaries_that_went_bad_are_built_again, 0, 2);
    tcase_add_test(tcase, another_driver_has_its_own_entries);
    tcase_add_test(tcase, a_compiler_that_lacks_things_has_its_own_entries);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
