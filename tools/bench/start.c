/*
 * How long a user waits before the first result in a new process, with nothing kept of earlier builds or with what the
 * last one left: plan and first run by the driver's cache alone ("start"), or everything from the start of the process
 * with this library's cache too ("process"), held against a program that runs one empty kernel.
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
    double end = tool_clock_seconds();
    bench_subject_destroy(subject);
    if (!good) {
        fprintf(stderr, "qkv-bench: %s\n", error);
        return 1;
    }
    printf("%.1f %.6f\n", (end - begin) * 1e6, end);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* Microseconds as a new process says, or until it said so; 0 on failure. */
static double spawn_once(const struct bench *bench, const char *name, bool process)
{
    int ends[2];
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    char *arguments[] = {(char *)(uintptr_t)bench->program, (char *)(uintptr_t) "--start", (char *)(uintptr_t)name,
                         (char *)"-d", (char *)(uintptr_t)qkv_context_device(bench->context)->selector, NULL};
    if (pipe(ends) != 0) {
        return 0;
    }
    double begin = tool_clock_seconds();
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
    char *second = NULL;
    double us = strtod(text, &second), end = strtod(second, NULL);
    return code != 0 || status != 0 ? 0 : process ? (end - begin) * 1e6 : us;
}

/* Where drivers keep what they built: an empty folder is a cold start. */
static const char *const caches[] = {"POCL_CACHE_DIR", "MESA_SHADER_CACHE_DIR", "CUDA_CACHE_PATH", "QKV_CACHE_DIR"};
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

/* An empty folder for everything that is kept. */
static bool make_caches(char *folder, size_t size, const struct bench_case *c)
{
    const char *temporary = getenv("TMPDIR");
    char file[600];
    snprintf(folder, size, "%s/qkv-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) {
        return false;
    }
    for (size_t i = 0; i < NUM_CACHES; ++i) {
        setenv(caches[i], folder, 1);
    }
    if (!c->process) {
        setenv("QKV_CACHE_DIR", "", 1);
    }
    snprintf(file, sizeof file, "%s/empty", folder);
    setenv(BENCH_EMPTY_FILE, file, 1);
    return true;
}

static void remove_caches(const char *folder)
{
    unsetenv(BENCH_EMPTY_FILE);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

struct once {
    double us, empty; /* empty: of the program to compare with */
};

static struct once start_once(const struct bench *bench, const struct bench_case *c)
{
    struct once once = {0, 0};
    once.empty = c->process ? spawn_once(bench, "empty", true) : 0;
    once.us = spawn_once(bench, c->name, c->process);
    return once;
}

/* Paired, as starts depend on what else the machine does. */
static void compare_with_empty(struct bench_result *result, const struct tool_series *empty,
                               const struct tool_series *above, const struct tool_series *ratio)
{
    struct bench_peer_result *peer = &result->peers[result->num_peers++];
    peer->name = "empty kernel";
    peer->median_us = tool_series_quartiles(empty).median;
    peer->ratio = tool_series_quartiles(ratio);
    snprintf(result->note, sizeof result->note, "%.1f ms above a program that runs one empty kernel (%.1f ms)",
             tool_series_quartiles(above).median / 1e3, peer->median_us / 1e3);
}

/* A warm round starts with what an untimed one left, a cold one with nothing. */
static struct once measure_round(const struct bench *bench, const struct bench_case *c, int round, char *folder,
                                 size_t size)
{
    const struct once failed = {0, 0};
    if (c->cold && round > 0) {
        remove_caches(folder);
    }
    if ((c->cold || round == 0) && !make_caches(folder, size, c)) {
        return failed;
    }
    if (!c->cold && round == 0) {
        (void)start_once(bench, c);
    }
    return start_once(bench, c);
}

void bench_start_measure(const struct bench *bench, const struct bench_case *c, struct bench_result *result)
{
    struct tool_series us = {NULL, 0, 0}, empties = {NULL, 0, 0}, above = {NULL, 0, 0}, ratio = {NULL, 0, 0};
    char *saved[NUM_CACHES], folder[512] = "";
    memset(result, 0, sizeof *result);
    result->spec = c;
    save_caches(saved);
    for (int round = 0; round < ROUNDS && !result->failed; ++round) {
        struct once once = measure_round(bench, c, round, folder, sizeof folder);
        result->failed = !(once.us > 0) || (c->process && !(once.empty > 0));
        tool_series_add(&us, once.us);
        tool_series_add(&empties, once.empty);
        tool_series_add(&above, once.us - once.empty);
        tool_series_add(&ratio, once.us > 0 ? once.empty / once.us : 0);
    }
    remove_caches(folder);
    restore_caches(saved);
    if (result->failed) {
        snprintf(result->note, sizeof result->note, "a new process of %s failed", bench->program);
    } else if (c->process) {
        compare_with_empty(result, &empties, &above, &ratio);
    }
    result->us = tool_series_quartiles(&us);
    result->runs = us.count;
    tool_series_free(&us);
    tool_series_free(&empties);
    tool_series_free(&above);
    tool_series_free(&ratio);
}
