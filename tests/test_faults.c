/*
 * What the library calls fails, each call in its turn: the failure is told, nothing leaks, nothing is left running,
 * and the context goes on working.
 */
#include "support/interpose.h"

#include <pthread.h>

#include "support/compare.h"
#include "support/layer_job.h"

/* What an error makes of a call that nothing can stand in for. */
static const struct fault_error {
    cl_int error;
    qkv_status status;
} errors[] = {
    {CL_OUT_OF_HOST_MEMORY, QKV_OUT_OF_MEMORY},
    {CL_OUT_OF_RESOURCES, QKV_DEVICE_LOST},
    {CL_INVALID_VALUE, QKV_OPENCL_ERROR},
};

/* The objects of a sequence of calls that some fault is to strike. */
struct stage {
    struct job *job; /* data, reference, buffers */
    cl_command_queue queue;
    qkv_context *context; /* NULL: the sequence makes one */
    cl_mem scratch;
};

static int anything;
/* What an output variable holds before a call, and after one that fails. */
#define UNTOUCHED ((void *)&anything)

/* Takes over a new object, or NULL where the call failed. */
#define TAKE(variable, status)                                                                                         \
    do {                                                                                                               \
        if (status) {                                                                                                  \
            if ((void *)(variable) != UNTOUCHED)                                                                       \
                test_fail(__FILE__, __LINE__, "%s was changed by a failure", #variable);                               \
            (variable) = NULL;                                                                                         \
        }                                                                                                              \
    } while (0)

/* ---- sequences; each can be played again on what the one before left in `stage` ---- */

static qkv_status play_host(struct stage *stage) {
    const struct job *job = stage->job;
    qkv_status status = QKV_OK;
    if (!stage->context) {
        stage->context = UNTOUCHED;
        IN_LIBRARY(status = qkv_context_create(&stage->context, NULL, NULL));
        TAKE(stage->context, status);
    }
    if (status) return status;
    size_t count = job->c.batch * job->c.seq_q * job->c.out_dim;
    float *out = test_alloc(count, sizeof(float));
    qkv_layer_desc desc = layer_desc(&job->c, &job->data);
    qkv_host_layer_args args = QKV_HOST_LAYER_ARGS_INIT;
    args.batch = job->c.batch;
    args.seq_q = job->c.seq_q;
    args.x = job->data.x;
    args.causal = job->c.causal;
    IN_LIBRARY(status = qkv_host_layer(out, stage->context, &desc, &args));
    if (!status) TEST_CLOSE("out", out, job->reference.out, job->reference.dout, count);
    free(out);
    return status;
}

static qkv_status play_wrap(struct stage *stage) {
    qkv_workspace *workspace = NULL;
    qkv_status status = QKV_OK;
    if (!stage->context) {
        stage->context = UNTOUCHED;
        IN_LIBRARY(status = qkv_context_wrap(&stage->context, test_cl_context(), qkv_context_cl_device(test_context()),
                                             stage->queue, NULL));
        TAKE(stage->context, status);
    }
    for (int i = 0; i < 2 && !status; i++) {
        workspace = UNTOUCHED;
        IN_LIBRARY(status = i ? qkv_workspace_create(&workspace, stage->context, 256)
                              : qkv_workspace_wrap(&workspace, stage->context, stage->scratch, 0, 256));
        TAKE(workspace, status);
        IN_LIBRARY(qkv_workspace_destroy(workspace));
    }
    return status;
}

static qkv_status run_layer(struct stage *stage, const qkv_layer *layer, qkv_workspace *workspace) {
    qkv_layer_args args = stage->job->args;
    cl_event done = UNTOUCHED;
    qkv_status status;
    args.workspace = workspace;
    test_memory_upload(&stage->job->out); /* so that an earlier result cannot pass for this one */
    IN_LIBRARY(status = qkv_layer_run(layer, stage->queue, &args, 0, NULL, &done));
    TAKE(done, status);
    if (status) return status;
    TEST_CL(clWaitForEvents(1, &done));
    TEST_CL(clReleaseEvent(done));
    job_check(stage->job);
    return QKV_OK;
}

static qkv_status play_layer(struct stage *stage) {
    qkv_layer_desc desc = layer_desc(&stage->job->c, &stage->job->data);
    qkv_layer *layer = UNTOUCHED;
    qkv_workspace *workspace = NULL;
    qkv_status status;
    desc.max_batch = stage->job->c.batch;
    desc.max_seq_q = stage->job->c.seq_q;
    IN_LIBRARY(status = qkv_layer_create(&layer, stage->context, &desc));
    TAKE(layer, status);
    if (!status) {
        workspace = UNTOUCHED;
        IN_LIBRARY(status = qkv_workspace_create(&workspace, stage->context, qkv_layer_workspace_bytes(layer)));
        TAKE(workspace, status);
    }
    if (!status) status = run_layer(stage, layer, workspace);
    IN_LIBRARY(qkv_workspace_destroy(workspace));
    IN_LIBRARY(qkv_layer_destroy(layer));
    return status;
}

/* ---- one fault after the other ---- */

struct sweep {
    const char *name;
    qkv_status (*play)(struct stage *stage);
    bool shared; /* on a context that has everything built already */
    bool all;    /* every n, with every error; else fewer as n grows */
};

/* Answers the library can do without, or in its own words. */
static bool is_query(enum interposed_call call) {
    return call == CALL_clGetPlatformIDs || call == CALL_clGetPlatformInfo || call == CALL_clGetDeviceIDs ||
           call == CALL_clGetDeviceInfo || call == CALL_clGetKernelWorkGroupInfo || call == CALL_clGetProgramBuildInfo;
}

static void expect_told(enum interposed_call call, const struct fault_error *e, qkv_status status) {
    const char *message = qkv_error_message();
    TEST_TRUE(message[0] != '\0');
    if (is_query(call)) return;
    if (call == CALL_ALLOCATION) {
        TEST_TRUE(status == QKV_OUT_OF_MEMORY);
        return;
    }
    qkv_status expected = call == CALL_clBuildProgram && e->status == QKV_OPENCL_ERROR ? QKV_BUILD_FAILED : e->status;
    if (status != expected || !test_has_word(message, interposed_names[call]))
        test_fail(__FILE__, __LINE__, "%s instead of %s, or the call is not named: %s", qkv_status_name(status),
                  qkv_status_name(expected), message);
}

/* false where the sequence makes fewer than n such calls. */
static bool strike(const struct sweep *sweep, struct stage *stage, enum interposed_call call, size_t n,
                   const struct fault_error *e) {
    test_note("%s: %s number %zu fails with %d", sweep->name, interposed_names[call], n, (int)e->error);
    if (!sweep->shared) {
        stage->context = NULL;
    } else if (is_query(call)) { /* what is built and tested for another answer stays in the context */
        interpose_fault(call, n, e->error);
        (void)sweep->play(stage);
        (void)interpose_disarm();
    }
    struct interposed_balance before = interpose_balance();
    interpose_fault(call, n, e->error);
    qkv_status status = sweep->play(stage);
    bool fired = interpose_disarm();
    if (status && !fired) test_fail(__FILE__, __LINE__, "failed for no reason: %s", qkv_error_message());
    if (status) expect_told(call, e, status);
    if (fired) { /* a compiler's refusal is remembered; all else was that one time's */
        status = sweep->play(stage);
        if (status && !(call == CALL_clBuildProgram && status == QKV_BUILD_FAILED))
            test_fail(__FILE__, __LINE__, "afterwards %s: %s", qkv_status_name(status), qkv_error_message());
    }
    if (!sweep->shared) {
        IN_LIBRARY(qkv_context_destroy(stage->context));
        stage->context = NULL;
    }
    interpose_check_balance(&before);
    return fired;
}

/* Cold contexts take a second on some implementations: for them, and where everything is slow, n grows in leaps. */
static void sweep_call(const struct sweep *sweep, struct stage *stage, enum interposed_call call) {
    bool sparse = !sweep->all || test_is_slow();
    size_t factor = !sparse ? 1 : test_is_slow() ? 8 : 3, turn = 0;
    for (size_t n = factor == 8 ? 1 + call % 4 : 1;; n = factor * n + 1, turn++) {
        bool fired = false;
        for (size_t i = 0; i < TEST_COUNT(errors); i++)
            if (!sparse || i == (turn + call) % TEST_COUNT(errors)) fired = strike(sweep, stage, call, n, &errors[i]);
        if (!fired || (!sweep->all && test_is_slow())) return;
    }
}

static void stage_open(struct stage *stage, struct job *job, cl_command_queue_properties properties) {
    cl_int error = CL_SUCCESS;
    cl_device_id device = qkv_context_cl_device(test_context());
    memset(stage, 0, sizeof *stage);
    job_open(job, test_context(), test_queue(), 30);
    test_memory_upload(&job->x);
    stage->job = job;
    stage->queue = clCreateCommandQueue(test_cl_context(), device, properties, &error);
    TEST_CL(error);
    stage->scratch = clCreateBuffer(test_cl_context(), CL_MEM_READ_WRITE, 256, NULL, &error);
    TEST_CL(error);
}

static void stage_close(struct stage *stage) {
    TEST_CL(clReleaseMemObject(stage->scratch));
    TEST_CL(clReleaseCommandQueue(stage->queue));
    job_close(stage->job);
}

static const struct sweep sweeps[] = {
    {"context and host layer", play_host, false, false},
    {"wrapped context", play_wrap, false, true},
    {"layer", play_layer, true, true},
};

/* A shared context has built what each solver needs, so that falling back to another one adds nothing to it. */
static void stage_share(struct stage *stage) {
    for (size_t i = 0; i < TEST_NUM_SOLVERS; i++) {
        qkv_layer *layer = NULL;
        qkv_layer_desc desc = layer_desc(&stage->job->c, &stage->job->data);
        desc.max_batch = stage->job->c.batch;
        desc.max_seq_q = stage->job->c.seq_q;
        desc.solver = test_solver(i);
        qkv_status status;
        IN_LIBRARY(status = qkv_layer_create(&layer, test_context(), &desc));
        if (!test_solver_refused(status, desc.solver)) TEST_OK(status);
        IN_LIBRARY(qkv_layer_destroy(layer));
    }
    stage->context = test_context();
}

START_TEST(every_call) {
    struct job job;
    struct stage stage;
    stage_open(&stage, &job, 0);
    if (sweeps[_i].shared) stage_share(&stage);
    for (size_t call = 0; call < NUM_CALLS; call++)
        sweep_call(&sweeps[_i], &stage, (enum interposed_call)call);
    stage_close(&stage);
}
END_TEST

START_TEST(every_allocation) {
    struct job job;
    struct stage stage;
    if (!INTERPOSED_ALLOCATOR) {
        test_skip("this C library's allocator, or a sanitizer's, cannot be interposed");
        return;
    }
    stage_open(&stage, &job, 0);
    if (sweeps[_i].shared) stage_share(&stage);
    sweep_call(&sweeps[_i], &stage, CALL_ALLOCATION);
    stage_close(&stage);
}
END_TEST

/* ---- runs that fail in the middle ---- */

/* Opens a run's wait list a little later, from another thread: until then its commands cannot be complete. */
struct gate {
    cl_event event;
    atomic_bool open;
    pthread_t thread;
};

static void *open_gate(void *argument) {
    struct gate *gate = argument;
    const struct timespec delay = {0, 8000000};
    (void)nanosleep(&delay, NULL);
    atomic_store(&gate->open, true);
    (void)clSetUserEventStatus(gate->event, CL_COMPLETE);
    return NULL;
}

/* The simulator executes while one waits, and takes calls from one thread only. */
static bool can_gate(void) {
    return qkv_context_device(test_context())->kind != QKV_DEVICE_SIMULATOR;
}

struct mode {
    const char *name;
    cl_command_queue_properties properties;
    bool event;
    enum interposed_call second; /* fails too; NUM_CALLS: none */
};

static qkv_status run_gated(struct stage *stage, const struct mode *mode, struct gate *gate, cl_event *done) {
    cl_int error = CL_SUCCESS;
    qkv_status status;
    bool gated = can_gate();
    atomic_store(&gate->open, !gated);
    if (gated) {
        gate->event = clCreateUserEvent(test_cl_context(), &error);
        TEST_CL(error);
        TEST_TRUE(pthread_create(&gate->thread, NULL, open_gate, gate) == 0);
    }
    interpose_track_begin();
    IN_LIBRARY(status = qkv_layer_run(stage->job->layer, stage->queue, &stage->job->args, gated ? 1 : 0,
                                      gated ? &gate->event : NULL, mode->event ? done : NULL));
    bool waited = atomic_load(&gate->open);
    size_t unfinished = 0, commands = interpose_track_end(&unfinished);
    if (gated) {
        (void)pthread_join(gate->thread, NULL);
        TEST_CL(clReleaseEvent(gate->event));
    }
    if (status && commands > 0 && (unfinished > 0 || !waited))
        test_fail(__FILE__, __LINE__, "%zu of %zu commands are left running", unfinished, commands);
    return status;
}

static bool strike_run(struct stage *stage, const struct mode *mode, enum interposed_call call, size_t n,
                       const struct fault_error *e) {
    struct interposed_balance before = interpose_balance();
    struct gate gate;
    cl_event done = UNTOUCHED;
    test_note("run, %s: %s number %zu fails with %d", mode->name, interposed_names[call], n, (int)e->error);
    interpose_fault(call, n, e->error);
    if (mode->second != NUM_CALLS) {
        interposed_second_fault.call = mode->second;
        interposed_second_fault.error = CL_INVALID_VALUE;
        interposed_second_fault.nth = 1;
    }
    qkv_status status = run_gated(stage, mode, &gate, &done);
    bool fired = interpose_disarm();
    if (mode->event) TAKE(done, status);
    if (status && !fired) test_fail(__FILE__, __LINE__, "failed for no reason: %s", qkv_error_message());
    if (fired && call != CALL_clReleaseEvent) {
        TEST_TRUE(status != QKV_OK);
        expect_told(call, e, status);
    }
    TEST_CL(clFinish(stage->queue));
    if (mode->event && done) TEST_CL(clReleaseEvent(done));
    interpose_check_balance(&before);
    TEST_OK(run_layer(stage, stage->job->layer, stage->job->args.workspace));
    return fired;
}

static const struct mode modes[] = {
    {"in order", 0, false, NUM_CALLS},
    {"in order, event", 0, true, NUM_CALLS},
    {"out of order", CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, false, NUM_CALLS},
    {"out of order, event", CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, true, NUM_CALLS},
    {"in order, no marker either", 0, false, CALL_clEnqueueMarkerWithWaitList},
    {"in order, no waiting either", 0, true, CALL_clWaitForEvents},
};

START_TEST(every_call_of_a_run) {
    static const enum interposed_call calls[] = {CALL_clEnqueueNDRangeKernel, CALL_clSetKernelArg,
                                                 CALL_clGetMemObjectInfo, CALL_clGetCommandQueueInfo,
                                                 CALL_clReleaseEvent};
    const struct mode *mode = &modes[_i];
    struct job job;
    struct stage stage;
    cl_command_queue_properties can = 0;
    TEST_CL(clGetDeviceInfo(qkv_context_cl_device(test_context()), CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL));
    if ((can & mode->properties) != mode->properties) {
        test_skip("the device has no out-of-order queues");
        return;
    }
    stage_open(&stage, &job, mode->properties);
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        bool fired = true;
        for (size_t n = 1; fired; n += i > 0 && test_is_slow() ? 7 : 1)
            for (size_t e = 0; e < TEST_COUNT(errors); e++)
                if (i == 0 || e == n % TEST_COUNT(errors)) fired = strike_run(&stage, mode, calls[i], n, &errors[e]);
    }
    stage_close(&stage);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("faults");
    TCase *runs = tcase_create("runs"), *calls = tcase_create("calls"), *allocations = tcase_create("allocations");
    tcase_add_loop_test(runs, every_call_of_a_run, 0, TEST_COUNT(modes));
    tcase_add_loop_test(calls, every_call, 0, TEST_COUNT(sweeps));
    tcase_add_loop_test(allocations, every_allocation, 0, TEST_COUNT(sweeps));
    suite_add_tcase(suite, runs);
    suite_add_tcase(suite, calls);
    suite_add_tcase(suite, allocations);
    return test_main(suite);
}
