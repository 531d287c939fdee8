/* CPU devices run kernels on their threads' stacks, which are small on some systems: 128 KiB with musl. A work-item's arrays
 * have to fit there, for an overflow ends the process. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/cache_log.h"
#include "support/fixture.h"

#define STACK_BYTES ((rlim_t)128 << 10)

static char *program; /* this one, to be started again */

enum {
    ANYTHING =
        QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS | QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_SINKS | QKV_ATTENTION_REDUCED
};

/* What a process of its own makes a plan for, and so runs each of its kernels. */
static const struct stack_row {
    const char *name, *solver;
    size_t dim;
    qkv_dtype dtype;
    uint64_t features;
    bool layer;
} rows[] = {
    {.name = "plain kernel", .solver = "plain", .dim = 1},
    {.name = "fp32, 512 dims, all features", .dim = 512, .features = ANYTHING},
    {.name = "bf16, 512 dims, all features", .dim = 512, .dtype = QKV_BF16, .features = ANYTHING},
    {.name = "fp16, 512 dims", .dim = 512, .dtype = QKV_F16},
    {.name = "fp32, 128 dims, all features", .dim = 128, .features = ANYTHING},
    {.name = "bf16, 128 dims", .dim = 128, .dtype = QKV_BF16},
    {.name = "layer of 512 dims", .dim = 512, .layer = true},
};
enum { PLAIN = 0 };

#ifdef __SANITIZE_THREAD__
#define WATCHES_THREADS true
#else
#define WATCHES_THREADS false
#endif

#define EXIT_UNSUPPORTED 77 /* a forced solver that cannot do the problem on this device */

static qkv_status make_attention(qkv_context *context, const struct stack_row *row) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention *attention = NULL;
    desc.head_dim = row->dim;
    desc.num_heads = desc.max_batch = 1;
    desc.max_seq_q = 64;
    desc.max_seq_kv = 200;
    desc.q_dtype = desc.k_dtype = desc.v_dtype = desc.out_dtype = row->dtype;
    desc.features = row->features;
    desc.solver = row->solver;
    const qkv_status status = qkv_attention_create(&attention, context, &desc);
    qkv_attention_destroy(attention);
    return status;
}

static qkv_status make_layer(qkv_context *context, const struct stack_row *row) {
    enum { EMBED = 16 };
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    qkv_layer *layer = NULL;
    float *weights = test_alloc(EMBED * row->dim, sizeof *weights);
    desc.embed_dim = desc.out_dim = EMBED;
    desc.num_heads = desc.max_batch = 1;
    desc.head_dim = row->dim;
    desc.max_seq_q = desc.max_seq_kv = 64;
    desc.wq.weight = desc.wk.weight = desc.wv.weight = desc.wo.weight = weights;
    const qkv_status status = qkv_layer_create(&layer, context, &desc);
    qkv_layer_destroy(layer);
    free(weights);
    return status;
}

/* In a process whose threads get the small stack; its first thread, where the driver compiles, need not do with it. */
static int run_row(const struct stack_row *row) {
    struct rlimit limit;
    qkv_context *context = NULL;
    if (getrlimit(RLIMIT_STACK, &limit)) return EXIT_FAILURE;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_STACK, &limit)) return EXIT_FAILURE;
    qkv_status status = qkv_context_create(&context, NULL, NULL);
    if (!status) status = row->layer ? make_layer(context, row) : make_attention(context, row);
    if (status) printf("%s: %s\n", row->name, qkv_error_message());
    qkv_context_destroy(context);
    return status == QKV_UNSUPPORTED ? EXIT_UNSUPPORTED : status ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* What a thread is given is settled when a program starts. */
static int start_limited(const char *number) {
    char *arguments[] = {program, (char *)(uintptr_t) "run", (char *)(uintptr_t)number, NULL};
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit)) return EXIT_FAILURE;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > STACK_BYTES) limit.rlim_cur = STACK_BYTES;
    /* A solver that crashed earlier is not taken again where that is remembered. */
    if (setrlimit(RLIMIT_STACK, &limit) || setenv("QKV_CACHE_DIR", "", 1)) return EXIT_FAILURE;
    (void)execv(program, arguments);
    return EXIT_FAILURE;
}

static pid_t start_row(size_t row) {
    char number[24];
    char *arguments[] = {program, (char *)(uintptr_t) "start", number, NULL};
    posix_spawn_file_actions_t actions;
    (void)snprintf(number, sizeof number, "%zu", row);
    TEST_TRUE(posix_spawn_file_actions_init(&actions) == 0);
    return cache_start_process(arguments, &actions);
}

/* The signal that ended it; 0: none, and all went well. */
static int end_row(pid_t pid) {
    int status = 0;
    TEST_TRUE(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) return WTERMSIG(status);
    TEST_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == EXIT_UNSUPPORTED)
        test_skip("a row of small stacks: the solver cannot do it on this device");
    else
        ck_assert_int_eq(WEXITSTATUS(status), EXIT_SUCCESS);
    return 0;
}

static bool is_out_of_place(void) {
    const char *forced = getenv("QKV_SOLVER");
    if (WATCHES_THREADS) {
        test_skip("ThreadSanitizer's own functions take more stack than that");
    } else if (test_is_simulator()) {
        test_skip("a simulator's private memory is on no stack");
    } else if (forced && strstr(forced, "tile")) {
        test_skip("work-groups of the solver tile have more than one work-item; CPU devices are given it only where "
                  "vector fails");
    } else {
        const int signal = end_row(start_row(PLAIN));
        if (signal == 0) return false;
        test_skip("with stacks of %d KiB a plain kernel ends with signal %d", (int)(STACK_BYTES >> 10), signal);
    }
    return true;
}

START_TEST(arrays_fit_small_stacks) {
    pid_t pids[TEST_COUNT(rows)];
    int signals[TEST_COUNT(rows)];
    if (is_out_of_place()) return;
    /* Compiling is what takes the time: all at once. */
    for (size_t i = 1; i < TEST_COUNT(rows); i++)
        pids[i] = start_row(i);
    for (size_t i = 1; i < TEST_COUNT(rows); i++)
        signals[i] = end_row(pids[i]);
    for (size_t i = 1; i < TEST_COUNT(rows); i++) {
        test_note("%s, stacks of %d KiB", rows[i].name, (int)(STACK_BYTES >> 10));
        if (signals[i]) test_fail(__FILE__, __LINE__, "signal %d", signals[i]);
    }
}
END_TEST

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 3) {
        const size_t row = (size_t)strtoul(argv[2], NULL, 10);
        if (row >= TEST_COUNT(rows)) return EXIT_FAILURE;
        return strcmp(argv[1], "start") ? run_row(&rows[row]) : start_limited(argv[2]);
    }
    Suite *suite = suite_create("stack");
    TCase *tcase = tcase_create("stack");
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, arrays_fit_small_stacks);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
