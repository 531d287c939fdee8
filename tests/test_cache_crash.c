/* Processes that share a cache: one that dies while it builds quarantines the solver, one that lives does not. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plan/plan.h"
#include "support/cache_log.h"
#include "support/fixture.h"
#include "support/store_files.h"
#include "support/tiny_model.h"

static char *program; /* this one, to be started again */

struct worker {
    pid_t pid;
    int in, out; /* its standard streams' other ends */
};

static void start_worker(struct worker *w, const char *what, const char *folder) {
    int in[2], out[2];
    posix_spawn_file_actions_t actions;
    char *arguments[] = {program, (char *)(uintptr_t)what, (char *)(uintptr_t)folder, NULL};
    TEST_TRUE(pipe(in) == 0 && pipe(out) == 0);
    TEST_TRUE(posix_spawn_file_actions_init(&actions) == 0);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, in[1]);
    posix_spawn_file_actions_addclose(&actions, out[0]);
    w->pid = cache_start_process(arguments, &actions);
    (void)close(in[0]);
    (void)close(out[1]);
    w->in = in[1];
    w->out = out[0];
}

/* Until it says that it is in the middle of a build. */
static void await_worker(const struct worker *w) {
    char byte = 0;
    TEST_TRUE(read(w->out, &byte, 1) == 1 && byte == 'w');
}

/* Its exit status, -1 where a signal ended it. */
static int end_worker(struct worker *w) {
    int status = 0;
    char rest[256];
    (void)close(w->in);
    while (read(w->out, rest, sizeof rest) > 0) {}
    (void)close(w->out);
    TEST_TRUE(waitpid(w->pid, &status, 0) == w->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define WORKERS_DIM 64 /* as in src/plan/selftest_all.c */

/* A driver that crashes while it compiles. */
static void die(const char *what) {
    (void)what;
    _exit(9);
}

/* One that takes long. */
static void wait_once(const char *what) {
    char byte = 'w';
    (void)what;
    cache_log.on_build = NULL;
    if (write(STDOUT_FILENO, &byte, 1) == 1) (void)!read(STDIN_FILENO, &byte, 1);
}

static int work(const char *what, const char *folder) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention *attention = NULL;
    qkv_context *context = cache_context(folder);
    if (!strcmp(what, "die")) cache_log.on_build = die;
    if (!strcmp(what, "wait")) cache_log.on_build = wait_once;
    desc.head_dim = WORKERS_DIM;
    desc.num_heads = desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_kv = 4;
    qkv_status status = qkv_attention_create(&attention, context, &desc);
    qkv_attention_destroy(attention);
    qkv_context_destroy(context);
    bool warm = !strcmp(what, "warm");
    return status == QKV_OK && cache_log.quarantined == 0 && (cache_log.built == 0 || !warm) ? 0 : 1;
}

static int run_worker(const char *what, const char *folder) {
    struct worker w;
    start_worker(&w, what, folder);
    return end_worker(&w);
}

/* The plan of the problem that workers make, for its description; the caller destroys it. */
static qkv_attention *make_attention(qkv_context *context, size_t head_dim) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention *attention = NULL;
    desc.head_dim = head_dim;
    desc.num_heads = desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_kv = 4;
    TEST_OK(qkv_attention_create(&attention, context, &desc));
    return attention;
}

static void check_plan(const char *folder, size_t head_dim, bool quarantined, const char *solver, bool same) {
    qkv_context *context = cache_context(folder);
    qkv_attention *attention = make_attention(context, head_dim);
    const char *description = qkv_attention_describe(attention);
    ck_assert_uint_eq(cache_log.quarantined, quarantined);
    if ((strncmp(description, solver, strlen(solver)) == 0) != same)
        test_fail(__FILE__, __LINE__, "the plan is %s, the first one was %s", description, solver);
    qkv_attention_destroy(attention);
    qkv_context_destroy(context);
}

static void first_choice(char out[64]) {
    qkv_context *context = cache_context("");
    qkv_attention *attention = make_attention(context, WORKERS_DIM);
    (void)snprintf(out, 64, "%.*s", (int)strcspn(qkv_attention_describe(attention), " "),
                   qkv_attention_describe(attention));
    qkv_attention_destroy(attention);
    qkv_context_destroy(context);
}

static bool nobody_takes_over(void) {
    const char *forced = getenv("QKV_SOLVER");
    if (!forced || !*forced) return false;
    test_skip("QKV_SOLVER leaves no other solver to take over from one that crashed");
    return true;
}

START_TEST(a_crash_is_not_repeated) {
    if (nobody_takes_over()) return;
    char *folder = test_folder_create(), solver[64], path[4400];
    first_choice(solver);
    ck_assert_int_eq(run_worker("die", folder), 9);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 1);
    TEST_TRUE(store_file(path, folder, "mark"));
    check_plan(folder, WORKERS_DIM, true, solver, false);
    TEST_TRUE(strstr(cache_log.warning, solver) && strstr(cache_log.warning, path));
    test_note("another problem's kernels are not concerned");
    check_plan(folder, 40, false, solver, true);
    test_note("the file is gone");
    TEST_TRUE(unlink(path) == 0);
    check_plan(folder, WORKERS_DIM, false, solver, true);
    test_folder_remove(folder);
}
END_TEST

/* A whole entry with what no driver gave away: refused, or the end of the process, after which it is not believed. */
START_TEST(a_forged_program_is_made_again) {
    char *folder = test_folder_create();
    ck_assert_int_eq(run_worker("go", folder), 0);
    store_files_spoil(folder, "program", false);
    int status = run_worker("go", folder);
    if (status != 0) {
        test_note("the driver did not survive it (exit status %d)", status);
        ck_assert_int_eq(run_worker("go", folder), 0);
    }
    ck_assert_int_eq(run_worker("warm", folder), 0);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 0);
    test_folder_remove(folder);
}
END_TEST

static void remove_programs(const char *folder) {
    char path[4400];
    while (store_file_nth(path, folder, "program-", 0))
        TEST_TRUE(unlink(path) == 0);
}

/* Whoever stopped the process may have been its user: a solver that has worked is not given up for that. */
START_TEST(what_has_worked_is_forgiven_once) {
    if (nobody_takes_over()) return;
    char *folder = test_folder_create(), solver[64];
    first_choice(solver);
    ck_assert_int_eq(run_worker("go", folder), 0);
    remove_programs(folder);
    ck_assert_int_eq(run_worker("die", folder), 9);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 1);
    check_plan(folder, WORKERS_DIM, false, solver, true);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 0);
    test_note("twice in a row");
    for (int i = 0; i < 2; i++) {
        remove_programs(folder);
        ck_assert_int_eq(run_worker("die", folder), 9);
    }
    check_plan(folder, WORKERS_DIM, true, solver, false);
    test_folder_remove(folder);
}
END_TEST

/* First starts take seconds, and a user who stops each of them must not end with a library that refuses. */
START_TEST(something_is_always_left) {
    char *folder = test_folder_create();
    const char *forced = getenv("QKV_SOLVER");
    const size_t most = forced && *forced ? 1 : qkvi_num_solvers;
    size_t marks = 0;
    while (marks < most && run_worker("die", folder) == 9 && store_file_count(folder, "mark-") > marks)
        marks++;
    TEST_TRUE(marks > 0);
    qkv_context *context = cache_context(folder);
    qkv_attention *attention = make_attention(context, WORKERS_DIM);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), marks - 1);
    qkv_attention_destroy(attention);
    qkv_context_destroy(context);
    test_folder_remove(folder);
}
END_TEST

/* A plan whose kernels are there writes nothing and says nothing that was said before. */
START_TEST(later_plans_cost_nothing) {
    char *folder = test_folder_create();
    struct stat before, after;
    ck_assert_int_eq(run_worker("die", folder), 9);
    qkv_context *context = cache_context(folder);
    qkv_attention_destroy(make_attention(context, WORKERS_DIM));
    size_t quarantined = cache_log.quarantined;
    store_file_age(folder, 1000);
    TEST_TRUE(stat(folder, &before) == 0);
    for (int i = 0; i < 3; i++)
        qkv_attention_destroy(make_attention(context, WORKERS_DIM));
    TEST_TRUE(stat(folder, &after) == 0 && after.st_mtime == before.st_mtime);
    ck_assert_uint_eq(cache_log.quarantined, quarantined);
    qkv_context_destroy(context);
    test_folder_remove(folder);
}
END_TEST

START_TEST(a_living_process_is_no_crash) {
    char *folder = test_folder_create(), solver[64];
    struct worker w;
    first_choice(solver);
    start_worker(&w, "wait", folder);
    await_worker(&w);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 1);
    check_plan(folder, WORKERS_DIM, false, solver, true);
    ck_assert_int_eq(end_worker(&w), 0);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 0);
    test_folder_remove(folder);
}
END_TEST

struct rows {
    size_t tried[QKVI_NUM_OPERATIONS][16]; /* by the solver's place in qkvi_solvers */
    size_t problems;                       /* of whatever operation */
    const char *operation, *variant;       /* the last problem */
    size_t wholes; /* of these: whole layers, which have steps to fall back on instead of a plain solver */
    size_t passed, plain, failed;
    const char *last; /* being tried */
};

static void count_trial(struct rows *rows, const qkv_self_test_result *result) {
    if (!rows->operation || strcmp(rows->operation, result->operation) || strcmp(rows->variant, result->variant))
        rows->problems++, rows->wholes += !strcmp(result->operation, "layer");
    rows->operation = result->operation;
    rows->variant = result->variant;
    for (size_t i = 0; i < qkvi_num_solvers; i++) {
        enum qkvi_operation operation = qkvi_solvers[i]->operation;
        if (!strcmp(qkvi_operation_name(operation), result->operation) &&
            !strcmp(qkvi_solvers[i]->name, result->solver))
            rows->tried[operation][i]++;
    }
}

/* Each solver on every problem of its operation, which all have the same solvers. */
static void check_all_tried(const struct rows *rows) {
    size_t problems[QKVI_NUM_OPERATIONS] = {0}, sum = 0;
    TEST_TRUE(qkvi_num_solvers <= TEST_COUNT(rows->tried[0]));
    for (size_t i = 0; i < qkvi_num_solvers; i++) {
        enum qkvi_operation operation = qkvi_solvers[i]->operation;
        size_t tried = rows->tried[operation][i];
        if (tried == 0 || (problems[operation] && problems[operation] != tried))
            test_fail(__FILE__, __LINE__, "%s=%s was tried %zu times, another solver %zu times",
                      qkvi_operation_name(operation), qkvi_solvers[i]->name, tried, problems[operation]);
        problems[operation] = tried;
    }
    for (size_t i = 0; i < QKVI_NUM_OPERATIONS; i++)
        sum += problems[i];
    ck_assert_uint_eq(sum, rows->problems);
    ck_assert_uint_eq(rows->plain, rows->problems - rows->wholes);
}

static void count_row(void *user, const qkv_self_test_result *result) {
    struct rows *rows = user;
    test_note("%s=%s %s", result->operation, result->solver, result->variant);
    TEST_TRUE(result->struct_size == sizeof *result);
    if (result->verdict == QKV_VERDICT_TRYING) {
        TEST_TRUE(rows->last == NULL && result->milliseconds == 0 && !*result->reason);
        rows->last = result->solver;
        count_trial(rows, result);
        return;
    }
    TEST_TRUE(rows->last && !strcmp(rows->last, result->solver) && *result->reason);
    rows->last = NULL;
    TEST_TRUE((result->verdict == QKV_VERDICT_PASSED) == (result->status == QKV_OK));
    TEST_TRUE((result->verdict == QKV_VERDICT_NOT_APPLICABLE) == (result->status == QKV_UNSUPPORTED));
    rows->passed += result->verdict == QKV_VERDICT_PASSED;
    rows->plain += result->verdict == QKV_VERDICT_PASSED && !strcmp(result->solver, "plain");
    rows->failed += result->verdict == QKV_VERDICT_FAILED;
}

/* After a crash in the variant that the test has too: what it finds out clears the solver. */
START_TEST(every_solver_is_tried_on_demand) {
    char *folder = test_folder_create(), solver[64];
    struct rows rows = {0};
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_context_self_test(NULL, count_row, &rows));
    /* CLBlast compiles for seconds, and is no solver of this library's. */
    TEST_TRUE(setenv("QKV_CLBLAST", "/nonexistent", 1) == 0);
    first_choice(solver);
    ck_assert_int_eq(run_worker("die", folder), 9);
    qkv_context *context = cache_context(folder);
    TEST_OK(qkv_context_self_test(context, count_row, &rows));
    TEST_TRUE(rows.last == NULL);
    check_all_tried(&rows);
    ck_assert_uint_eq(rows.failed, 0);
    ck_assert_uint_eq(cache_log.tested, rows.passed);
    ck_assert_uint_eq(cache_log.loaded + cache_log.quarantined, 0);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 0);
    test_note("again in the same context");
    size_t tested = cache_log.tested, built = cache_log.built;
    rows = (struct rows){0};
    TEST_OK(qkv_context_self_test(context, count_row, &rows));
    TEST_TRUE(cache_log.tested == 2 * tested && cache_log.built == built);
    qkv_context_destroy(context);
    check_plan(folder, WORKERS_DIM, false, solver, true);
    TEST_TRUE(cache_log.built > 0 && cache_log.tested == 0);
    TEST_TRUE(unsetenv("QKV_CLBLAST") == 0);
    test_folder_remove(folder);
}
END_TEST

START_TEST(processes_start_at_once) {
    char *folder = test_folder_create();
    struct worker w[3];
    for (size_t i = 0; i < TEST_COUNT(w); i++)
        start_worker(&w[i], "go", folder);
    for (size_t i = 0; i < TEST_COUNT(w); i++)
        ck_assert_int_eq(end_worker(&w[i]), 0);
    ck_assert_int_eq(run_worker("warm", folder), 0);
    ck_assert_uint_eq(store_file_count(folder, "mark-"), 0);
    test_folder_remove(folder);
}
END_TEST

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 3) return work(argv[1], argv[2]);
    (void)signal(SIGPIPE, SIG_IGN);
    Suite *suite = suite_create("cache crash");
    TCase *tcase = tcase_create("cache crash");
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, a_crash_is_not_repeated);
    tcase_add_test(tcase, a_forged_program_is_made_again);
    tcase_add_test(tcase, every_solver_is_tried_on_demand);
    tcase_add_test(tcase, a_living_process_is_no_crash);
    tcase_add_test(tcase, what_has_worked_is_forgiven_once);
    tcase_add_test(tcase, something_is_always_left);
    tcase_add_test(tcase, later_plans_cost_nothing);
    tcase_add_test(tcase, processes_start_at_once);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
