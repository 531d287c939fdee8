/*
 * What the library calls fails, each call in its turn: the failure is told, nothing leaks, nothing is left running,
 * and the context goes on working.
 */
#include "support/interpose.h"

#include <pthread.h>

#include "support/sweep.h"

static void step(int more) {
    interposed_depth += more;
}

static const struct saboteur inside = {step, interpose_fault, interpose_disarm, interpose_balance};

static const struct sweep sweeps[] = {
    {"context and host layer", play_host, false, SAMPLED_CALLS},
    {"wrapped context", play_wrap, false, EVERY_ERROR},
    {"layer", play_layer, true, EVERY_ERROR},
};

START_TEST(every_call) {
    struct job job;
    struct stage stage;
    stage_open(&stage, &inside, &job, 0);
    if (sweeps[_i].shared) stage_share(&stage);
    bool halved = sweeps[_i].depth == SAMPLED_CALLS && (test_leaves_out(0) || test_leaves_out(1));
    if (halved) test_skip("half the kinds of calls: this implementation is slow");
    for (size_t call = 0; call < NUM_CALLS; call++)
        if (!halved || !test_leaves_out(call)) sweep_call(&sweeps[_i], &stage, (enum cl_call)call);
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
    stage_open(&stage, &inside, &job, 0);
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
    enum cl_call second; /* fails too; NUM_CALLS: none */
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

/* Where the work-items of a kernel share nothing, a refused size of groups is not the end: the driver chooses another. */
static bool may_be_launched_again(enum cl_call call, cl_int error) {
    return call == CALL_clEnqueueNDRangeKernel && (error == CL_INVALID_WORK_GROUP_SIZE ||
                                                   error == CL_INVALID_WORK_ITEM_SIZE || error == CL_OUT_OF_RESOURCES);
}

static bool strike_run(struct stage *stage, const struct mode *mode, enum cl_call call, size_t n,
                       const struct fault_error *e) {
    struct cl_balance before = interpose_balance();
    struct gate gate;
    cl_event done = UNTOUCHED;
    test_note("run, %s: %s number %zu fails with %d", mode->name, cl_call_names[call], n, (int)e->error);
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
    const bool again = fired && status == QKV_OK && may_be_launched_again(call, e->error);
    if (fired && call != CALL_clReleaseEvent && !again) {
        TEST_TRUE(status != QKV_OK);
        sweep_expect_told(call, e, status);
    }
    TEST_CL(clFinish(stage->queue));
    if (again) job_check(stage->job);
    if (mode->event && done) TEST_CL(clReleaseEvent(done));
    interpose_check_balance(&before);
    TEST_OK(play_run(stage, stage->job->layer, stage->job->args.workspace));
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
    static const enum cl_call calls[] = {CALL_clEnqueueNDRangeKernel, CALL_clSetKernelArg, CALL_clGetMemObjectInfo,
                                         CALL_clGetCommandQueueInfo, CALL_clReleaseEvent};
    const struct mode *mode = &modes[_i];
    struct job job;
    struct stage stage;
    cl_command_queue_properties can = 0;
    TEST_CL(clGetDeviceInfo(qkv_context_cl_device(test_context()), CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL));
    if ((can & mode->properties) != mode->properties) {
        test_skip("the device has no out-of-order queues");
        return;
    }
    stage_open(&stage, &inside, &job, mode->properties);
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        bool fired = true;
        for (size_t n = 1; fired; n += i > 0 && test_is_slow() ? 7 : 1)
            for (size_t e = 0; e < NUM_FAULT_ERRORS; e++)
                if (i == 0 || e == n % NUM_FAULT_ERRORS)
                    fired = strike_run(&stage, mode, calls[i], n, &fault_errors[e]);
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
