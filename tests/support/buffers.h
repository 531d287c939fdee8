/* Device memory with guard bands: everything outside the views a run may write must keep its pattern. */
#ifndef TEST_BUFFERS_H
#define TEST_BUFFERS_H

#include "support/fixture.h"
#include "support/random.h"

/*
 * One cl_mem and what the test knows of it. It starts filled with a NaN pattern, so that reading outside an
 * input's view poisons the result and writing outside an output's view is seen.
 */
struct test_memory {
    cl_mem mem;
    cl_command_queue queue;
    size_t bytes;
    unsigned char *image;    /* what the device has before the run */
    unsigned char *writable; /* for each byte: may the run change it? */
    unsigned char *result;   /* what the device has after the run */
};

void test_memory_create(struct test_memory *memory, size_t bytes); /* in the shared context */
void test_memory_create_in(struct test_memory *memory, cl_context context, cl_command_queue queue, size_t bytes);
void test_memory_free(struct test_memory *memory);
/* `dense`: the view's elements in row-major order, float or unsigned char after its dtype. */
void test_memory_put(struct test_memory *memory, const qkv_tensor *view, const void *dense);
void test_memory_allow(struct test_memory *memory, const qkv_tensor *view);
void test_memory_upload(struct test_memory *memory);
/* Reads everything back; the first byte that changed and that no allowed view covers, `bytes` where there is none. */
size_t test_memory_fetch(struct test_memory *memory);
/* Reads everything back and fails if a byte changed that no allowed view covers. */
#define TEST_DOWNLOAD(memory) test_memory_download((memory), __FILE__, __LINE__)
void test_memory_download(struct test_memory *memory, const char *file, int line);
/* A view's elements, from `image` or `result`. */
void test_memory_get(const unsigned char *bytes, const qkv_tensor *view, void *dense);

/* How a view lies in its buffer. All zero: dense, row-major, from element `front`. */
struct test_layout {
    size_t order[QKV_MAX_RANK]; /* axes from outermost to innermost, where `permuted` */
    size_t gap[QKV_MAX_RANK];   /* unused elements after each extent of axis i */
    size_t step;                /* stride of the innermost axis; 0: 1 */
    size_t front;               /* elements before the view */
    unsigned reversed;          /* bit i: axis i has a negative stride */
    unsigned repeated;          /* bit i: axis i has stride 0 */
    bool permuted;
};

struct test_layout test_layout_random(struct test_random *random, size_t rank);

/* The view (without its buffer), and the elements its buffer needs. */
void test_view_make(qkv_tensor *view, size_t *elements, const struct test_layout *layout, qkv_dtype dtype, size_t rank,
                    const size_t *shape);
/* Element number of a view's nth element in row-major order. */
size_t test_view_element(const qkv_tensor *view, size_t nth);

/* One view in a memory of its own. */
struct test_array {
    struct test_memory memory;
    qkv_tensor view;
};

/* layout NULL: dense. An axis that repeats takes one of its values: `dense` is updated to what the view shows. */
void test_array_input(struct test_array *array, qkv_dtype dtype, size_t rank, const size_t *shape,
                      const struct test_layout *layout, void *dense);
/* F32. */
void test_array_output(struct test_array *array, size_t rank, const size_t *shape, const struct test_layout *layout);
void test_array_output_of(struct test_array *array, qkv_dtype dtype, size_t rank, const size_t *shape,
                          const struct test_layout *layout);
/* Checks the guard bands; returns the elements, malloc'ed. */
#define TEST_READ(array) test_array_read((array), __FILE__, __LINE__)
float *test_array_read(struct test_array *array, const char *file, int line);
void test_array_free(struct test_array *array);

#endif
