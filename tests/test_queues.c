/* Queues and events: the caller's own OpenCL objects, wait lists that gate, events that cover all. */
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/layer_job.h"

/* An OpenCL context of the caller's with a queue for the library's runs and one for the test's transfers. */
struct own {
    cl_context cl;
    cl_command_queue queue, side;
    qkv_context *context;
};

static cl_command_queue make_queue(cl_context cl, cl_command_queue_properties properties) {
    cl_int error = CL_SUCCESS;
    cl_command_queue queue = clCreateCommandQueue(cl, qkv_context_cl_device(test_context()), properties, &error);
    TEST_CL(error);
    return queue;
}

/* false after a counted skip. */
static bool own_open(struct own *own, bool out_of_order) {
    cl_device_id device = qkv_context_cl_device(test_context());
    cl_command_queue_properties can = 0, wanted = out_of_order ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0;
    cl_int error = CL_SUCCESS;
    TEST_CL(clGetDeviceInfo(device, CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL));
    if ((can & wanted) != wanted) {
        test_skip("the device has no out-of-order queues");
        return false;
    }
    own->cl = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    TEST_CL(error);
    own->queue = make_queue(own->cl, wanted);
    own->side = make_queue(own->cl, 0);
    TEST_OK(qkv_context_wrap(&own->context, own->cl, device, own->queue, NULL));
    TEST_TRUE(qkv_context_cl_context(own->context) == own->cl && qkv_context_cl_queue(own->context) == own->queue);
    TEST_TRUE(qkv_context_cl_device(own->context) == device);
    ck_assert_str_eq(qkv_context_device(own->context)->selector, "");
    return true;
}

static void own_close(struct own *own) {
    qkv_context_destroy(own->context);
    TEST_CL(clReleaseCommandQueue(own->queue));
    TEST_CL(clReleaseCommandQueue(own->side));
    TEST_CL(clReleaseContext(own->cl));
}

static cl_int status_of(cl_event event) {
    cl_int status = -1;
    TEST_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL));
    return status;
}

/* Sends the gated commands off; a simulator would wait in there for the gate that the test opens afterwards. */
static void flush_gated(cl_command_queue queue) {
    if (!test_is_simulator()) TEST_CL(clFlush(queue));
}

/* In order and out of order: a user event holds the run back; the input arrives only then; the returned event covers
 * the last kernel, so that another queue may read after it. */
START_TEST(wait_list_and_event) {
    struct own own;
    struct job job;
    cl_int error = CL_SUCCESS;
    cl_event done = NULL;
    if (!own_open(&own, _i == 1)) return;
    job_open(&job, own.context, own.side, 1);
    cl_event gates[2] = {clCreateUserEvent(own.cl, &error), NULL};
    TEST_CL(error);
    gates[1] = clCreateUserEvent(own.cl, &error);
    TEST_CL(error);
    TEST_OK(qkv_layer_run(job.layer, own.queue, &job.args, 2, gates, &done));
    TEST_TRUE(done != NULL);
    flush_gated(own.queue);
    TEST_CL(clSetUserEventStatus(gates[0], CL_COMPLETE));
    TEST_TRUE(status_of(done) > CL_COMPLETE);
    test_memory_upload(&job.x); /* on the side queue, while the run waits */
    TEST_CL(clSetUserEventStatus(gates[1], CL_COMPLETE));
    TEST_CL(clWaitForEvents(1, &done));
    TEST_TRUE(status_of(done) == CL_COMPLETE);
    job_check(&job);
    TEST_CL(clFinish(own.queue));
    TEST_CL(clReleaseEvent(gates[0]));
    TEST_CL(clReleaseEvent(gates[1]));
    TEST_CL(clReleaseEvent(done));
    job_close(&job);
    own_close(&own);
}
END_TEST

/* A run that has nothing to do still gives an event, which waits for its wait list. */
START_TEST(empty_run_has_an_event) {
    struct own own;
    struct job job;
    cl_int error = CL_SUCCESS;
    cl_event done = NULL;
    if (!own_open(&own, _i == 1)) return;
    job_open(&job, own.context, own.side, 1);
    job.x_view.shape[0] = job.out_view.shape[0] = 0;
    cl_event gate = clCreateUserEvent(own.cl, &error);
    TEST_CL(error);
    TEST_OK(qkv_layer_run(job.layer, own.queue, &job.args, 1, &gate, &done));
    TEST_TRUE(done != NULL);
    flush_gated(own.queue);
    TEST_TRUE(status_of(done) > CL_COMPLETE);
    TEST_CL(clSetUserEventStatus(gate, CL_COMPLETE));
    TEST_CL(clWaitForEvents(1, &done));
    TEST_CL(clFinish(own.queue));
    TEST_CL(clReleaseEvent(gate));
    TEST_CL(clReleaseEvent(done));
    job_close(&job);
    own_close(&own);
}
END_TEST

/* Many runs chained by events on an out-of-order queue, each reading what the one before wrote. */
START_TEST(chained_runs) {
    enum { STEPS = 12 };
    struct own own;
    cl_event last = NULL;
    static const size_t shape[] = {1, 4};
    /* a rotation: after n steps every element has moved n places */
    static const float rotate[] = {0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0};
    float values[] = {1, 2, 3, 4};
    if (!own_open(&own, true)) return;
    qkv_linear_output output = {.out_features = 4, .weight = rotate};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    qkv_linear *linear = NULL;
    struct test_memory memory;
    qkv_tensor views[STEPS + 1];
    test_note("chained_runs");
    desc.in_features = 4, desc.num_outputs = 1, desc.outputs = &output, desc.max_rows = 1;
    TEST_OK(qkv_linear_create(&linear, own.context, &desc));
    test_memory_create_in(&memory, own.cl, own.side, (STEPS + 1) * sizeof values);
    for (size_t n = 0; n <= STEPS; n++) {
        TEST_OK(qkv_tensor_dense(&views[n], memory.mem, QKV_F32, 2, shape));
        views[n].offset = 4 * n;
        if (n) test_memory_allow(&memory, &views[n]);
    }
    test_memory_put(&memory, &views[0], values);
    test_memory_upload(&memory);
    qkv_workspace *workspace = NULL;
    TEST_OK(qkv_workspace_create(&workspace, own.context, qkv_linear_workspace_bytes(linear)));
    for (size_t n = 0; n < STEPS; n++) {
        qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
        cl_event next = NULL;
        args.x = &views[n], args.outputs[0] = &views[n + 1], args.workspace = workspace;
        TEST_OK(qkv_linear_run(linear, own.queue, &args, last ? 1 : 0, last ? &last : NULL, &next));
        if (last) TEST_CL(clReleaseEvent(last));
        last = next;
    }
    TEST_CL(clFlush(own.queue));
    TEST_CL(clWaitForEvents(1, &last));
    TEST_CL(clReleaseEvent(last));
    TEST_DOWNLOAD(&memory);
    for (size_t n = 0; n <= STEPS; n++) {
        float got[4];
        test_memory_get(memory.result, &views[n], got);
        for (size_t i = 0; i < 4; i++)
            TEST_TRUE(got[i] == values[(i + n) % 4]);
    }
    qkv_workspace_destroy(workspace);
    qkv_linear_destroy(linear);
    test_memory_free(&memory);
    own_close(&own);
}
END_TEST

/* New weights between two runs, ordered by events alone. */
START_TEST(update_between_runs) {
    static const float first[] = {1, 10, 0, -1}, second[] = {2, 0, 0, 2};
    static const size_t row[] = {1, 2}, square[] = {2, 2};
    float values[] = {2, 3}, got[2];
    struct own own;
    if (!own_open(&own, true)) return;
    qkv_linear_output output = {.out_features = 2, .weight = first};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    qkv_linear *linear = NULL;
    struct test_memory memory;
    qkv_tensor x, before, after, weight;
    cl_event events[3] = {NULL};
    test_note("update_between_runs");
    desc.in_features = 2, desc.num_outputs = 1, desc.outputs = &output, desc.layout = QKV_WEIGHT_IN_OUT;
    desc.max_rows = 1;
    TEST_OK(qkv_linear_create(&linear, own.context, &desc));
    test_memory_create_in(&memory, own.cl, own.side, 10 * sizeof(float));
    TEST_OK(qkv_tensor_dense(&x, memory.mem, QKV_F32, 2, row));
    TEST_OK(qkv_tensor_dense(&weight, memory.mem, QKV_F32, 2, square));
    before = after = x;
    before.offset = 2, after.offset = 4, weight.offset = 6;
    test_memory_put(&memory, &x, values);
    test_memory_put(&memory, &weight, second);
    test_memory_allow(&memory, &before);
    test_memory_allow(&memory, &after);
    test_memory_upload(&memory);
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    TEST_OK(qkv_workspace_create(&args.workspace, own.context, qkv_linear_workspace_bytes(linear)));
    args.x = &x, args.outputs[0] = &before;
    TEST_OK(qkv_linear_run(linear, own.queue, &args, 0, NULL, &events[0]));
    TEST_OK(qkv_linear_update(linear, own.queue, 0, &weight, NULL, 1, &events[0], &events[1]));
    args.outputs[0] = &after;
    TEST_OK(qkv_linear_run(linear, own.queue, &args, 1, &events[1], &events[2]));
    TEST_CL(clFlush(own.queue));
    TEST_CL(clWaitForEvents(1, &events[2]));
    TEST_DOWNLOAD(&memory);
    test_memory_get(memory.result, &before, got);
    TEST_TRUE(got[0] == 2 && got[1] == 17);
    test_memory_get(memory.result, &after, got);
    TEST_TRUE(got[0] == 4 && got[1] == 6);
    for (size_t i = 0; i < 3; i++)
        TEST_CL(clReleaseEvent(events[i]));
    qkv_workspace_destroy(args.workspace);
    qkv_linear_destroy(linear);
    test_memory_free(&memory);
    own_close(&own);
}
END_TEST

/* The caller's queue is retained, and one is made where there is none. */
START_TEST(wrapping) {
    struct own own;
    qkv_context *context = NULL;
    test_note("wrapping");
    TEST_TRUE(own_open(&own, false));
    cl_device_id device = qkv_context_cl_device(own.context);
    TEST_OK(qkv_context_wrap(&context, own.cl, device, NULL, NULL));
    TEST_TRUE(qkv_context_cl_queue(context) != NULL && qkv_context_cl_queue(context) != own.queue);
    qkv_context_destroy(context);
    context = NULL;
    TEST_FAILS(QKV_WRONG_CONTEXT, "queue", qkv_context_wrap(&context, own.cl, device, test_queue(), NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_context_wrap(&context, NULL, device, NULL, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "device", qkv_context_wrap(&context, own.cl, NULL, NULL, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_context_wrap(NULL, own.cl, device, NULL, NULL));
    TEST_TRUE(context == NULL);
    own_close(&own);
}
END_TEST

/* Everything of the caller's that was wrapped may be released while the plan lives. */
START_TEST(wrapped_objects_are_retained) {
    struct own own;
    struct job job;
    TEST_TRUE(own_open(&own, false));
    job_open(&job, own.context, own.side, 3);
    test_memory_upload(&job.x);
    TEST_CL(clRetainCommandQueue(own.side));
    cl_command_queue queue = qkv_context_cl_queue(own.context), side = own.side;
    TEST_CL(clReleaseCommandQueue(own.queue));
    TEST_CL(clReleaseCommandQueue(own.side));
    TEST_CL(clReleaseContext(own.cl));
    TEST_OK(qkv_layer_run(job.layer, queue, &job.args, 0, NULL, NULL));
    TEST_CL(clFinish(queue));
    job_check(&job);
    qkv_context_destroy(own.context);
    job_close(&job);
    TEST_CL(clReleaseCommandQueue(side));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("queues");
    TCase *tcase = tcase_create("queues");
    tcase_add_loop_test(tcase, wait_list_and_event, 0, 2);
    tcase_add_loop_test(tcase, empty_run_has_an_event, 0, 2);
    tcase_add_test(tcase, chained_runs);
    tcase_add_test(tcase, update_between_runs);
    tcase_add_test(tcase, wrapping);
    tcase_add_test(tcase, wrapped_objects_are_retained);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
