#include "support/buffers.h"

#include <stdlib.h>
#include <string.h>

/* Bytes before and after the elements a test asks for. */
#define GUARD 64u

void test_memory_create_in(struct test_memory *memory, cl_context context, cl_command_queue queue, size_t bytes) {
    static const unsigned char pattern[4] = {0xa5, 0x5a, 0xd5, 0x7f}; /* a quiet NaN, in either byte order no value */
    cl_int error = CL_SUCCESS;
    memory->bytes = (bytes + 3) / 4 * 4 + GUARD;
    memory->queue = queue;
    memory->image = test_alloc(memory->bytes, 1);
    memory->writable = test_alloc(memory->bytes, 1);
    memory->result = test_alloc(memory->bytes, 1);
    for (size_t i = 0; i < memory->bytes; i++)
        memory->image[i] = pattern[i % sizeof pattern];
    memory->mem = clCreateBuffer(context, CL_MEM_READ_WRITE, memory->bytes, NULL, &error);
    TEST_CL(error);
}

void test_memory_create(struct test_memory *memory, size_t bytes) {
    test_memory_create_in(memory, test_cl_context(), test_queue(), bytes);
}

void test_memory_free(struct test_memory *memory) {
    if (memory->mem) clReleaseMemObject(memory->mem);
    free(memory->image);
    free(memory->writable);
    free(memory->result);
    memset(memory, 0, sizeof *memory);
}

size_t test_view_element(const qkv_tensor *view, size_t nth) {
    int64_t element = (int64_t)view->offset;
    for (size_t axis = view->rank; axis-- > 0;) {
        size_t extent = (size_t)view->shape[axis];
        element += (int64_t)(nth % extent) * view->stride[axis];
        nth /= extent;
    }
    return (size_t)element;
}

void test_memory_put(struct test_memory *memory, const qkv_tensor *view, const void *dense) {
    size_t size = qkv_dtype_size((qkv_dtype)view->dtype), count = qkv_tensor_count(view);
    for (size_t i = 0; i < count; i++)
        memcpy(memory->image + size * test_view_element(view, i), (const unsigned char *)dense + size * i, size);
}

void test_memory_allow(struct test_memory *memory, const qkv_tensor *view) {
    size_t size = qkv_dtype_size((qkv_dtype)view->dtype), count = qkv_tensor_count(view);
    for (size_t i = 0; i < count; i++)
        memset(memory->writable + size * test_view_element(view, i), 1, size);
}

void test_memory_upload(struct test_memory *memory) {
    TEST_CL(clEnqueueWriteBuffer(memory->queue, memory->mem, CL_TRUE, 0, memory->bytes, memory->image, 0, NULL, NULL));
    /* Another queue may use it: a blocking write promises no more than that the host's memory is free again. */
    TEST_CL(clFinish(memory->queue));
}

size_t test_memory_fetch(struct test_memory *memory) {
    TEST_CL(clFinish(memory->queue));
    TEST_CL(clEnqueueReadBuffer(memory->queue, memory->mem, CL_TRUE, 0, memory->bytes, memory->result, 0, NULL, NULL));
    size_t i = 0;
    while (i < memory->bytes && (memory->writable[i] || memory->result[i] == memory->image[i]))
        i++;
    return i;
}

void test_memory_download(struct test_memory *memory, const char *file, int line) {
    const size_t stray = test_memory_fetch(memory);
    if (stray < memory->bytes)
        test_fail(file, line, "byte %zu (element %zu) of a buffer of %zu bytes was written outside every view", stray,
                  stray / sizeof(float), memory->bytes);
}

void test_memory_get(const unsigned char *bytes, const qkv_tensor *view, void *dense) {
    size_t size = qkv_dtype_size((qkv_dtype)view->dtype), count = qkv_tensor_count(view);
    for (size_t i = 0; i < count; i++)
        memcpy((unsigned char *)dense + size * i, bytes + size * test_view_element(view, i), size);
}

struct test_layout test_layout_random(struct test_random *random, size_t rank) {
    struct test_layout layout = {.step = 1};
    if (test_random_once_in(random, 3)) return layout;
    layout.front = test_random_below(random, 20);
    for (size_t axis = 0; axis < rank; axis++) {
        layout.order[axis] = axis;
        if (test_random_once_in(random, 3)) layout.gap[axis] = test_random_between(random, 1, 9);
        if (test_random_once_in(random, 6)) layout.reversed |= 1u << axis;
    }
    layout.permuted = test_random_once_in(random, 2);
    for (size_t axis = rank; layout.permuted && axis > 1; axis--) {
        size_t other = test_random_below(random, axis), swap = layout.order[axis - 1];
        layout.order[axis - 1] = layout.order[other];
        layout.order[other] = swap;
    }
    if (test_random_once_in(random, 4)) layout.step = test_random_between(random, 2, 3);
    return layout;
}

void test_view_make(qkv_tensor *view, size_t *elements, const struct test_layout *layout, qkv_dtype dtype, size_t rank,
                    const size_t *shape) {
    memset(view, 0, sizeof *view);
    view->storage = QKV_STORAGE_BUFFER;
    view->dtype = dtype;
    view->rank = (uint32_t)rank;
    size_t stride = layout->step ? layout->step : 1, offset = layout->front, span = 1;
    for (size_t at = rank; at-- > 0;) {
        size_t axis = layout->permuted ? layout->order[at] : at;
        view->shape[axis] = shape[axis];
        if (layout->repeated & (1u << axis)) continue;
        view->stride[axis] = (int64_t)stride;
        if (shape[axis] && (layout->reversed & (1u << axis))) {
            view->stride[axis] = -(int64_t)stride;
            offset += stride * (shape[axis] - 1);
        }
        if (shape[axis]) span += stride * (shape[axis] - 1);
        stride = stride * (shape[axis] ? shape[axis] : 1) + layout->gap[axis];
    }
    view->offset = offset;
    *elements = layout->front + span;
}

static void array_make(struct test_array *array, qkv_dtype dtype, size_t rank, const size_t *shape,
                       const struct test_layout *layout) {
    static const struct test_layout dense = {.step = 1};
    size_t elements = 0;
    test_view_make(&array->view, &elements, layout ? layout : &dense, dtype, rank, shape);
    test_memory_create(&array->memory, elements * qkv_dtype_size(dtype));
    array->view.memory.buffer = array->memory.mem;
}

void test_array_input(struct test_array *array, qkv_dtype dtype, size_t rank, const size_t *shape,
                      const struct test_layout *layout, void *dense) {
    array_make(array, dtype, rank, shape, layout);
    test_memory_put(&array->memory, &array->view, dense);
    test_memory_get(array->memory.image, &array->view, dense);
    test_memory_upload(&array->memory);
}

void test_array_output(struct test_array *array, size_t rank, const size_t *shape, const struct test_layout *layout) {
    test_array_output_of(array, QKV_F32, rank, shape, layout);
}

void test_array_output_of(struct test_array *array, qkv_dtype dtype, size_t rank, const size_t *shape,
                          const struct test_layout *layout) {
    array_make(array, dtype, rank, shape, layout);
    test_memory_allow(&array->memory, &array->view);
    test_memory_upload(&array->memory);
}

float *test_array_read(struct test_array *array, const char *file, int line) {
    test_memory_download(&array->memory, file, line);
    float *dense = test_alloc(qkv_tensor_count(&array->view), sizeof(float));
    test_memory_get(array->memory.result, &array->view, dense);
    return dense;
}

void test_array_free(struct test_array *array) {
    test_memory_free(&array->memory);
}
