#include "support/error_world.h"

#include <stdlib.h>
#include <string.h>

struct error_world error_world;

void error_world_open(void) {
    cl_device_id device = qkv_context_cl_device(test_context());
    cl_int error = CL_SUCCESS;
    error_world.cl = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    TEST_CL(error);
    error_world.queue = clCreateCommandQueue(error_world.cl, device, 0, &error);
    TEST_CL(error);
    error_world.buffer = clCreateBuffer(error_world.cl, CL_MEM_READ_WRITE, ERROR_BUFFER_BYTES, NULL, &error);
    TEST_CL(error);
    void *zeros = test_alloc(ERROR_BUFFER_BYTES, 1);
    for (size_t i = 0; i < ERROR_MAX_TENSORS; i++) {
        error_world.own[i] = clCreateBuffer(test_cl_context(), CL_MEM_READ_WRITE, ERROR_BUFFER_BYTES, NULL, &error);
        TEST_CL(error);
        TEST_CL(clEnqueueWriteBuffer(test_queue(), error_world.own[i], CL_TRUE, 0, ERROR_BUFFER_BYTES, zeros, 0, NULL,
                                     NULL));
    }
    free(zeros);
}

void error_world_close(void) {
    for (size_t i = 0; i < ERROR_MAX_TENSORS; i++)
        clReleaseMemObject(error_world.own[i]);
    clReleaseMemObject(error_world.buffer);
    clReleaseCommandQueue(error_world.queue);
    clReleaseContext(error_world.cl);
}

qkv_tensor error_tensor(size_t which, size_t rank, size_t a, size_t b, size_t c, size_t d) {
    const size_t shape[] = {a, b, c, d};
    qkv_tensor t;
    TEST_OK(qkv_tensor_dense(&t, error_world.own[which], QKV_F32, rank, shape));
    t.offset = 64;
    for (size_t axis = 0; axis + 1 < rank; axis++)
        t.stride[axis] = t.stride[axis] / (int64_t)shape[rank - 1] * (int64_t)(shape[rank - 1] + 1);
    return t;
}

cl_event error_event(void) {
    static int anything;
    return (cl_event)(void *)&anything;
}

qkv_status error_finish(qkv_status status, const cl_event *event) {
    if (status == QKV_OK) {
        TEST_TRUE(*event != error_event());
        TEST_CL(clReleaseEvent(*event));
    } else {
        TEST_TRUE(*event == error_event());
    }
    TEST_CL(clFinish(test_queue()));
    return status;
}

void error_check_call(struct error_call *call) {
    const struct error_call whole = *call;
    static const cl_event none[1] = {NULL};
    call->object = NULL;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, NULL, "NULL object");
    *call = whole, call->queue = NULL;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "queue", "NULL queue");
    *call = whole, call->queue = error_world.queue;
    error_expect(call->run(call), QKV_WRONG_CONTEXT, QKV_WRONG_CONTEXT, "queue", "queue of another context");
    *call = whole, call->args = NULL;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "args", "NULL args");
    *call = whole, call->num_wait = 1;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "wait_list", "NULL wait list");
    call->wait_list = none;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_OPENCL_ERROR, NULL, "NULL event in the wait list");
    *call = whole;
    size_t size, *struct_size = call->args;
    size = *struct_size;
    *struct_size = 0;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "args", "struct_size 0");
    *struct_size = size;
    TEST_OK(call->run(call));
}

void error_check_workspace(struct error_call *call, qkv_workspace **slot, size_t bytes) {
    qkv_workspace *whole = *slot, *small = NULL;
    if (bytes == 0) return;
    *slot = NULL;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "workspace", "no workspace");
    TEST_OK(qkv_workspace_create(&small, test_context(), bytes - 1));
    *slot = small;
    error_expect(call->run(call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "workspace", "workspace too small");
    qkv_workspace_destroy(small);
    *slot = whole;
}
