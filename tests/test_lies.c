/*
 * Drivers that lie, by the layer of liar/liar.h: whatever they say and whichever call they refuse, there is a right result
 * or an error that says why, and nothing stays behind.
 */
#include "support/lie_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where an implementation is slow a run takes a part of a table, the seed says which, unless time is no matter. */
static bool is_left_out(int row, size_t rows, const char *what) {
    enum { PARTS = 4 };
    if (!test_is_slow() || test_is_thorough()) return false;
    if (row == 0) test_skip("%zu of %zu %s: this implementation is slow", rows - rows / PARTS, rows, what);
    return (uint64_t)row % PARTS != test_seed() % PARTS;
}

/* ---- every call of a whole layer, from creating the context to destroying it ---- */

START_TEST(every_call) {
    static const struct sweep sweep = {"context and host layer", play_host, false, EVERY_CALL};
    struct job job;
    struct stage stage;
    if (!liar_meet() || is_left_out(_i, NUM_CALLS, "kinds of calls")) return;
    stage_open(&stage, &liar_saboteur, &job, 0);
    sweep_call(&sweep, &stage, (enum cl_call)_i);
    stage_close(&stage);
}
END_TEST

/* ---- kernels that compute something else, or do not build ---- */

static const struct bad_solver {
    const char *operation, *solver;
    const char *kernels[4];
} bad_solvers[] = {
    {"linear", "vector", {"linear_vector"}},
    {"linear", "tile", {"linear_tile"}},
    {"linear", "plain", {"linear_plain"}},
    {"attention", "vector", {"attention_vector", "attention_decode", "attention_merge"}},
    {"attention", "tile", {"attention_tile", "attention_tile_merge"}},
    {"attention", "plain", {"attention_plain"}},
};

/* Keys; plans for fewer have nothing to merge. */
#define ENOUGH_TO_SPLIT 1024

/* Is it false to say that this device can use the solver? */
static bool is_refused(const struct problem *p, const char *choice) {
    struct outcome honest;
    liar_tell("%s", "");
    try_layer(&honest, p, choice);
    if (test_solver_refused(honest.status, choice)) return true;
    if (honest.status) test_fail(__FILE__, __LINE__, "honest, %s: %s", choice, honest.message);
    return false;
}

/* A solver taken by name has nobody to stand in for it: its failure is the error. */
START_TEST(bad_forced_solver) {
    const struct bad_solver *bad = &bad_solvers[_i];
    struct problem p;
    struct outcome out;
    char choice[48];
    if (!liar_meet()) return;
    problem_open(&p);
    (void)snprintf(choice, sizeof choice, "%s=%s", bad->operation, bad->solver);
    bool refused = is_refused(&p, choice);
    for (size_t w = 0; w < LIE_WAYS && !refused; w++)
        for (size_t k = 0; k < TEST_COUNT(bad->kernels) && bad->kernels[k]; k++) {
            if (test_leaves_out(w + k + (size_t)_i)) continue;
            test_note("%s=%s%s", lie_ways[w].lie, bad->kernels[k], lie_ways[w].how);
            liar_tell("%s=%s%s", lie_ways[w].lie, bad->kernels[k], lie_ways[w].how);
            p.max_seq = strstr(bad->kernels[k], "merge") ? ENOUGH_TO_SPLIT : 0;
            try_layer(&out, &p, choice);
            /* So many keys may be beyond what the device's loops can do. */
            if (p.max_seq && test_solver_refused(out.status, choice)) continue;
            if (out.status != lie_ways[w].status || !strstr(out.message, choice) ||
                !strstr(out.message, lie_ways[w].word))
                test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(out.status), out.message);
        }
    problem_close(&p);
}
END_TEST

/* What a plan may be asked for beside its result is tested as well: weights, scores, log-sum-exp. */
START_TEST(bad_side_outputs) {
    static const char *const solvers[] = {"plain", "vector", "tile"};
    enum { FIRST_ARGUMENT = 5, LAST_ARGUMENT = 7 }; /* of all attention kernels, in this order */
    struct problem p;
    struct outcome out;
    char choice[48];
    if (!liar_meet()) return;
    problem_open(&p);
    (void)snprintf(choice, sizeof choice, "attention=%s", solvers[_i]);
    bool refused = is_refused(&p, choice);
    p.weights = test_alloc(p.c.batch * p.c.num_heads * p.c.seq_q * p.c.seq_q, sizeof(float));
    for (int argument = FIRST_ARGUMENT; argument <= LAST_ARGUMENT && !refused; argument++) {
        liar_tell("wrong=attention_%s:0.01:%d", solvers[_i], argument);
        test_note("wrong=attention_%s:0.01:%d", solvers[_i], argument);
        try_layer(&out, &p, choice);
        if (out.status != QKV_SELF_TEST_FAILED)
            test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(out.status), out.message);
    }
    free(p.weights);
    problem_close(&p);
}
END_TEST

/* One solver after the other goes bad: each time the next one is taken, the result is right and the log told; when none is
 * left, the error names each of them. */
static void spoil_in_turn(const struct problem *p, const struct lie_way *way, int operation) {
    static const char *const operations[] = {"linear", "attention"};
    char lies[1024] = "", bad[4][32];
    size_t num_bad = 0;
    struct outcome out;
    for (;;) {
        liar_tell("%s", lies);
        test_note("%s", lies);
        try_layer(&out, p, NULL);
        for (size_t i = 0; i < num_bad; i++)
            if (!strstr(out.status ? out.message : out.log, bad[i]))
                test_fail(__FILE__, __LINE__, "nothing says that %s is bad: %s%s", bad[i], out.message, out.log);
        if (out.status || num_bad == TEST_COUNT(bad)) break;
        const char *solver = out.solvers[operation];
        (void)snprintf(bad[num_bad++], sizeof bad[0], "%s=%s", operations[operation], solver);
        size_t before = strlen(lies);
        for (size_t i = 0; i < TEST_COUNT(bad_solvers); i++)
            for (size_t k = 0; k < 4 && bad_solvers[i].kernels[k]; k++)
                if (!strcmp(bad_solvers[i].operation, operations[operation]) && !strcmp(bad_solvers[i].solver, solver))
                    (void)snprintf(lies + strlen(lies), sizeof lies - strlen(lies), "%s=%s%s;", way->lie,
                                   bad_solvers[i].kernels[k], way->how);
        if (strlen(lies) == before) test_fail(__FILE__, __LINE__, "solver \"%s\" has no row in bad_solvers", solver);
    }
    if (out.status != way->status || num_bad < 2)
        test_fail(__FILE__, __LINE__, "after %zu solvers %s: %s", num_bad, qkv_status_name(out.status), out.message);
}

START_TEST(bad_solvers_in_turn) {
    struct problem p;
    const char *forced = getenv("QKV_SOLVER");
    if (!liar_meet()) return;
    if (test_leaves_out((size_t)(_i / 2 + _i))) {
        test_skip("%s %s: this implementation is slow", _i % 2 ? "attention" : "linear", lie_ways[_i / 2].lie);
        return;
    }
    if (forced && *forced) {
        test_skip("QKV_SOLVER leaves no other solver to fall back to");
        return;
    }
    problem_open(&p);
    spoil_in_turn(&p, &lie_ways[_i / 2], _i % 2);
    problem_close(&p);
}
END_TEST

/* ---- what drivers say, and what they refuse ---- */

static const struct lie_case {
    const char *lies;
    qkv_status status; /* QKV_OK: a right result */
    const char *word;  /* of the error */
} lie_cases[] = {
    {"device=MAX_COMPUTE_UNITS:0", QKV_OK, NULL},
    {"device=MAX_COMPUTE_UNITS:4294967295", QKV_OK, NULL},
    {"device=MAX_COMPUTE_UNITS:fail", QKV_OK, NULL},
    {"device=MAX_CLOCK_FREQUENCY:0", QKV_OK, NULL},
    {"device=MAX_CLOCK_FREQUENCY:4294967295", QKV_OK, NULL},
    {"device=NATIVE_VECTOR_WIDTH_FLOAT:0", QKV_OK, NULL},
    {"device=NATIVE_VECTOR_WIDTH_FLOAT:3", QKV_OK, NULL},
    {"device=NATIVE_VECTOR_WIDTH_FLOAT:4294967295", QKV_OK, NULL},
    {"device=NATIVE_VECTOR_WIDTH_FLOAT:fail", QKV_OK, NULL},
    {"device=MAX_WORK_GROUP_SIZE:0", QKV_OK, NULL},
    {"device=MAX_WORK_GROUP_SIZE:fail", QKV_OK, NULL},
    {"device=MAX_WORK_GROUP_SIZE:1", QKV_OK, NULL},
    {"device=MAX_WORK_GROUP_SIZE:18446744073709551615; kernel=WORK_GROUP_SIZE:18446744073709551615; most=group:16",
     QKV_OK, NULL},
    {"kernel=WORK_GROUP_SIZE:0", QKV_OK, NULL},
    {"kernel=WORK_GROUP_SIZE:fail", QKV_OK, NULL},
    {"kernel=WORK_GROUP_SIZE:7", QKV_OK, NULL},
    {"most=group:16", QKV_OK, NULL},
    {"most=group:1", QKV_OK, NULL},
    {"device=MAX_WORK_ITEM_SIZES:0", QKV_OK, NULL},
    {"device=MAX_WORK_ITEM_SIZES:1", QKV_OK, NULL},
    {"device=MAX_WORK_ITEM_SIZES:fail", QKV_OK, NULL},
    {"device=MAX_WORK_ITEM_SIZES:18446744073709551615", QKV_OK, NULL},
    {"device=LOCAL_MEM_SIZE:0", QKV_OK, NULL},
    {"device=LOCAL_MEM_SIZE:fail", QKV_OK, NULL},
    {"device=LOCAL_MEM_SIZE:18446744073709551615", QKV_OK, NULL},
    {"device=LOCAL_MEM_SIZE:18446744073709551615; most=local:1024", QKV_OK, NULL},
    {"kernel=LOCAL_MEM_SIZE:0; most=local:1024", QKV_OK, NULL},
    {"kernel=LOCAL_MEM_SIZE:18446744073709551615", QKV_OK, NULL},
    {"kernel=LOCAL_MEM_SIZE:fail", QKV_OK, NULL},
    {"device=GLOBAL_MEM_SIZE:0", QKV_OK, NULL},
    {"device=GLOBAL_MEM_SIZE:fail", QKV_OK, NULL},
    {"device=MAX_MEM_ALLOC_SIZE:0", QKV_OK, NULL},
    {"device=MAX_MEM_ALLOC_SIZE:fail", QKV_OK, NULL},
    {"device=MAX_MEM_ALLOC_SIZE:18446744073709551615", QKV_OK, NULL},
    {"device=MAX_MEM_ALLOC_SIZE:64", QKV_OUT_OF_DEVICE_MEMORY, "64"},
    {"most=allocation:64", QKV_OUT_OF_DEVICE_MEMORY, "clCreateBuffer"},
    {"device=TYPE:0", QKV_OK, NULL},
    {"device=TYPE:fail", QKV_OK, NULL},
    {"device=TYPE:4", QKV_OK, NULL},
    {"device=PLATFORM:fail", QKV_OK, NULL},
    {"device=NAME:fail", QKV_OK, NULL},
    {"device=NAME:", QKV_OK, NULL},
    {"device=VERSION:fail", QKV_OK, NULL},
    {"device=VERSION:nonsense", QKV_OK, NULL},
    {"device=VERSION:OpenCL 1.1 old", QKV_NO_DEVICE, "older than OpenCL 1.2"},
    {"device=OPENCL_C_VERSION:fail", QKV_OK, NULL},
    {"device=EXTENSIONS:fail; device=DRIVER_VERSION:fail; device=VENDOR:fail", QKV_OK, NULL},
    {"size=NAME:18446744073709551615", QKV_OK, NULL},
    {"size=NAME:0", QKV_OK, NULL},
    {"size=DRIVER_VERSION:9223372036854775807", QKV_OK, NULL},
    {"size=MAX_COMPUTE_UNITS:3", QKV_OK, NULL},
    {"device=AVAILABLE:0", QKV_NO_DEVICE, "not available"},
    {"device=AVAILABLE:fail", QKV_OK, NULL},
    {"device=COMPILER_AVAILABLE:0", QKV_NO_DEVICE, "compiler"},
    {"device=ENDIAN_LITTLE:0", QKV_NO_DEVICE, "big-endian"},
    {"device=PROFILE:EMBEDDED_PROFILE", QKV_NO_DEVICE, "cles_khr_int64"},
    {"device=PROFILE:EMBEDDED_PROFILE; device=EXTENSIONS:fail", QKV_NO_DEVICE, "64-bit integers"},
    {"device=PROFILE:EMBEDDED_PROFILE; device=EXTENSIONS:cl_khr_icd cles_khr_int64", QKV_OK, NULL},
    {"device=PROFILE:fail", QKV_OK, NULL},
    {"device=QUEUE_PROPERTIES:0", QKV_OK, NULL},
    {"hide=*", QKV_NO_DEVICE, "none"},
    {"refuse=*", QKV_BUILD_FAILED, "refused by the liar"},
    {"refuse=probe", QKV_BUILD_FAILED, "probe"},
    {"lack=half; lack=vload_half; lack=vstore_half", QKV_OK, NULL},
    {"reject=-cl-std", QKV_OK, NULL},
    {"reject=-cl-std; lack=vload_half; lack=vstore_half", QKV_OK, NULL},
    {"lack=vload_half; lack=vstore_half; reject=SOFT_HALF", QKV_BUILD_FAILED, "zload_half"},
    {"lack=get_", QKV_BUILD_FAILED, "zet_"},
    {"reject=-D", QKV_BUILD_FAILED, "CL_INVALID_BUILD_OPTIONS"},
    {"lazy=probe", QKV_SELF_TEST_FAILED, "loop"},
    {"wrong=probe", QKV_SELF_TEST_FAILED, "loop"},
    {"wrong=linear_pack", QKV_SELF_TEST_FAILED, "self-test"},
    {"wrong=*", QKV_SELF_TEST_FAILED, NULL},
    {"delay=clBuildProgram:20000; delay=clEnqueueNDRangeKernel:500; delay=clGetDeviceInfo:1000", QKV_OK, NULL},
};

START_TEST(one_lie) {
    const struct lie_case *c = &lie_cases[_i];
    struct problem p;
    struct outcome out;
    if (!liar_meet() || is_left_out(_i, TEST_COUNT(lie_cases), "lies")) return;
    if (test_is_simulator() && strstr(c->lies, "=probe")) {
        test_skip("%s: a simulator is not probed", c->lies);
        return;
    }
    problem_open(&p);
    liar_tell("%s", c->lies);
    test_note("%s", c->lies);
    try_layer(&out, &p, NULL);
    /* A solver by force has nobody to fall back to. */
    const char *forced = getenv("QKV_SOLVER");
    bool told = forced && *forced && strstr(c->lies, "most=") && strstr(out.message, forced);
    if ((out.status != c->status && !told) || (c->word && !strstr(out.message, c->word)))
        test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(out.status), out.message);
    liar_tell("%s", "");
    if (_i % 8 == 0) try_layer(&out, &p, NULL); /* nothing of it is remembered outside of its context */
    if (_i % 8 == 0 && out.status)
        test_fail(__FILE__, __LINE__, "afterwards %s: %s", qkv_status_name(out.status), out.message);
    problem_close(&p);
}
END_TEST

/* ---- a part of a device, of which drivers say even less ---- */

/* Drivers that divide nothing may lack the function itself, and the loader then jumps to address 0. */
static bool divides(cl_device_id whole) {
    cl_device_partition_property ways[16] = {0};
    size_t bytes = 0;
    if (clGetDeviceInfo(whole, CL_DEVICE_PARTITION_PROPERTIES, sizeof ways, ways, &bytes) != CL_SUCCESS) return false;
    for (size_t i = 0; i < bytes / sizeof *ways; i++)
        if (ways[i] == CL_DEVICE_PARTITION_EQUALLY) return true;
    return false;
}

static cl_device_id part_of(cl_device_id whole) {
    const cl_device_partition_property one_each[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    cl_device_id parts[64] = {NULL};
    cl_uint count = 0;
    if (!divides(whole)) return NULL;
    if (clCreateSubDevices(whole, one_each, TEST_COUNT(parts), parts, &count) != CL_SUCCESS) return NULL;
    for (cl_uint i = 1; i < count && i < TEST_COUNT(parts); i++)
        TEST_CL(clReleaseDevice(parts[i]));
    return parts[0];
}

START_TEST(sub_device) {
    struct problem p;
    qkv_context *context = NULL;
    cl_int error = CL_SUCCESS;
    if (!liar_meet()) return;
    cl_device_id part = part_of(qkv_context_cl_device(test_context()));
    if (!part) {
        test_skip("the device cannot be divided into parts of one compute unit");
        return;
    }
    problem_open(&p);
    struct cl_balance before = liar_saboteur.balance();
    cl_context its_own = clCreateContext(NULL, 1, &part, NULL, NULL, &error);
    TEST_CL(error);
    liar_tell("device=MAX_COMPUTE_UNITS:0; device=PLATFORM:fail; device=MAX_MEM_ALLOC_SIZE:fail");
    TEST_OK(qkv_context_wrap(&context, its_own, part, NULL, NULL));
    TEST_OK(problem_run(&p, context));
    qkv_context_destroy(context);
    TEST_CL(clReleaseContext(its_own));
    struct cl_balance now = liar_saboteur.balance();
    sweep_check_balance(&before, &now);
    TEST_CL(clReleaseDevice(part));
    problem_close(&p);
}
END_TEST

int main(int argc, char **argv) {
    (void)argc;
    liar_place(argv[0]);
    Suite *suite = suite_create("lies");
    TCase *solvers = tcase_create("solvers"), *lies = tcase_create("lies"), *calls = tcase_create("calls");
    tcase_add_loop_test(solvers, bad_forced_solver, 0, TEST_COUNT(bad_solvers));
    tcase_add_loop_test(solvers, bad_side_outputs, 0, 3);
    tcase_add_loop_test(solvers, bad_solvers_in_turn, 0, 2 * LIE_WAYS);
    tcase_add_loop_test(lies, one_lie, 0, TEST_COUNT(lie_cases));
    tcase_add_test(lies, sub_device);
    tcase_add_loop_test(calls, every_call, 0, NUM_CALLS);
    suite_add_tcase(suite, solvers);
    suite_add_tcase(suite, lies);
    suite_add_tcase(suite, calls);
    return test_main(suite);
}
