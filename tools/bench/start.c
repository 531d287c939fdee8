/*
 * How long a user waits before the first result: plan and first run in a new process, with nothing kept of earlier
 * builds, or with what the driver kept of the last.
 */
#define _XOPEN_SOURCE 700 /* nftw */
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 5

extern char **environ;

int bench_start_once(qkv_context *context, const char *name)
{
    char error[600] = "";
    const struct bench_case *found = bench_case_find(name);
    if (!found || found->kind != BENCH_START) {
        fprintf(stderr, "qkv-bench: --start: '%s' is not a start case\n", name);
        return 2;
    }
    struct bench_case c = *found;
    c.kind = c.start_of;
    double begin = tool_clock_seconds();
    struct bench_subject *subject = bench_subject_create(context, &c, error, sizeof error);
    bool good = subject && bench_subject_run(subject, error, sizeof error);
    double seconds = tool_clock_seconds() - begin;
    bench_subject_destroy(subject);
    if (!good) {
        fprintf(stderr, "qkv-bench: %s\n", error);
        return 1;
    }
    printf("%.1f\n", seconds * 1e6);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* Microseconds as a new process says; 0 on failure. */
static double spawn_once(const struct bench *bench, const struct bench_case *c)
{
    int ends[2];
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    char *arguments[] = {(char *)(uintptr_t)bench->program, (char *)(uintptr_t) "--start", (char *)(uintptr_t)c->name,
                         (char *)(uintptr_t)(bench->device ? "-d" : NULL), (char *)(uintptr_t)bench->device, NULL};
    if (pipe(ends) != 0) {
        return 0;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    int code = posix_spawnp(&child, bench->program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    char text[64] = "";
    size_t length = 0;
    ssize_t got = 0;
    while (code == 0 && length + 1 < sizeof text &&
           (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0) {
        length += (size_t)got;
    }
    close(ends[0]);
    int status = 1;
    while (code == 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return code == 0 && status == 0 ? strtod(text, NULL) : 0;
}

/* Where drivers keep what they built: an empty folder is a cold start. */
static const char *const caches[] = {"POCL_CACHE_DIR", "MESA_SHADER_CACHE_DIR", "CUDA_CACHE_PATH"};
#define NUM_CACHES (sizeof caches / sizeof caches[0])

static void save_caches(char *saved[NUM_CACHES])
{
    for (size_t i = 0; i < NUM_CACHES; ++i) {
        const char *value = getenv(caches[i]);
        saved[i] = value ? strdup(value) : NULL;
    }
}

static void restore_caches(char *saved[NUM_CACHES])
{
    for (size_t i = 0; i < NUM_CACHES; ++i) {
        if (saved[i]) {
            setenv(caches[i], saved[i], 1);
        } else {
            unsetenv(caches[i]);
        }
        free(saved[i]);
    }
}

/* One process with an empty cache, and for a warm start a second one with what the first left. */
static double start_once(const struct bench *bench, const struct bench_case *c)
{
    const char *temporary = getenv("TMPDIR");
    char folder[512];
    snprintf(folder, sizeof folder, "%s/qkv-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) {
        return 0;
    }
    for (size_t i = 0; i < NUM_CACHES; ++i) {
        setenv(caches[i], folder, 1);
    }
    double us = spawn_once(bench, c);
    if (us > 0 && !c->cold) {
        us = spawn_once(bench, c);
    }
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return us;
}

void bench_start_measure(const struct bench *bench, const struct bench_case *c, struct bench_result *result)
{
    struct tool_series us = {NULL, 0, 0};
    char *saved[NUM_CACHES];
    memset(result, 0, sizeof *result);
    result->spec = c;
    save_caches(saved);
    for (int round = 0; round < ROUNDS && !result->failed; ++round) {
        double once = start_once(bench, c);
        result->failed = !(once > 0);
        tool_series_add(&us, once);
    }
    restore_caches(saved);
    if (result->failed) {
        snprintf(result->note, sizeof result->note, "a new process of %s failed", bench->program);
    }
    result->us = tool_series_quartiles(&us);
    result->runs = us.count;
    tool_series_free(&us);
}
