/* What runs are given wrongly: tensors with room round them, another context, calls without this or that. */
#ifndef TEST_ERROR_WORLD_H
#define TEST_ERROR_WORLD_H

#include "support/error_case.h"

enum { ERROR_MAX_TENSORS = 20, ERROR_BUFFER_BYTES = 1 << 16 };

/* Another OpenCL context on the same device, with a buffer and a queue. */
extern struct error_world {
    cl_context cl;
    cl_command_queue queue;
    cl_mem buffer;
    cl_mem own[ERROR_MAX_TENSORS]; /* buffers of the context under test, zeros, with room round every tensor */
} error_world;
void error_world_open(void);
void error_world_close(void);

/* F32 in own[which], with room for one more along the last axis, so that a longer one is wrong in nothing but its shape. */
qkv_tensor error_tensor(size_t which, size_t rank, size_t a, size_t b, size_t c, size_t d);

/* A run's event, which must stay as it is when the run fails; after it. Waits for the queue. */
cl_event error_event(void);
qkv_status error_finish(qkv_status status, const cl_event *event);

/* What every run has besides its tensors: handles, queue, wait list. */
struct error_call {
    void *object;
    cl_command_queue queue;
    void *args;
    cl_uint num_wait;
    const cl_event *wait_list;
    error_run run;
};
void error_check_call(struct error_call *call);
/* A workspace of less than is needed, and none. */
void error_check_workspace(struct error_call *call, qkv_workspace **slot, size_t bytes);

#endif
