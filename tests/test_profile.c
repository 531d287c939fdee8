/* Seeing inside a run: each kernel's name and event reach the caller, and with a profiling queue their times. */
#include <string.h>

#include "support/compare.h"
#include "support/layer_job.h"

#define MAX_KERNELS 32

struct seen {
    size_t count;
    char names[MAX_KERNELS][40];
    cl_event events[MAX_KERNELS];
};

static void watch(void *user, const char *kernel, cl_event event) {
    struct seen *seen = user;
    TEST_TRUE(seen->count < MAX_KERNELS && event != NULL);
    (void)strncpy(seen->names[seen->count], kernel, sizeof seen->names[0] - 1);
    TEST_CL(clRetainEvent(event));
    seen->events[seen->count++] = event;
}

START_TEST(kernels_are_named_and_timed) {
    cl_device_id device = qkv_context_cl_device(test_context());
    cl_int error = CL_SUCCESS;
    cl_command_queue queue = clCreateCommandQueue(test_cl_context(), device, CL_QUEUE_PROFILING_ENABLE, &error);
    TEST_CL(error);
    struct seen seen = {.count = 0};
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    options.kernel = watch;
    options.kernel_user = &seen;
    qkv_context *context = NULL;
    struct job job;
    TEST_OK(qkv_context_wrap(&context, test_cl_context(), device, queue, &options));
    job_open(&job, context, queue, 1);
    test_memory_upload(&job.x);
    TEST_TRUE(seen.count == 0); /* self-tests and the packing of weights are nobody's run */
    TEST_OK(qkv_layer_run(job.layer, queue, &job.args, 0, NULL, NULL));
    TEST_CL(clFinish(queue));
    TEST_TRUE(seen.count >= 3);
    TEST_TRUE(strstr(seen.names[0], "linear") != NULL && strstr(seen.names[seen.count - 1], "linear") != NULL);
    TEST_TRUE(strstr(seen.names[1], "attention") != NULL);
    cl_ulong last = 0;
    for (size_t i = 0; i < seen.count; i++) {
        cl_ulong begin = 0, end = 0;
        TEST_CL(clGetEventProfilingInfo(seen.events[i], CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL));
        TEST_CL(clGetEventProfilingInfo(seen.events[i], CL_PROFILING_COMMAND_END, sizeof end, &end, NULL));
        TEST_TRUE(begin <= end && last <= end);
        last = end;
        TEST_CL(clReleaseEvent(seen.events[i]));
    }
    job_close(&job);
    qkv_context_destroy(context);
    TEST_CL(clReleaseCommandQueue(queue));
}
END_TEST

START_TEST(descriptions_and_memory) {
    struct job job;
    job_open(&job, test_context(), test_queue(), 1);
    const char *text = qkv_layer_describe(job.layer);
    TEST_TRUE(strstr(text, "linear=") && strstr(text, "attention=") && strstr(text, "workspace"));
    TEST_TRUE(qkv_layer_memory_bytes(job.layer) > 0);
    TEST_TRUE(qkv_layer_memory_bytes(NULL) == 0);
    ck_assert_str_eq(qkv_layer_describe(NULL), "");
    job_close(&job);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("profile");
    TCase *tests = tcase_create("profile");
    tcase_add_test(tests, kernels_are_named_and_timed);
    tcase_add_test(tests, descriptions_and_memory);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
