/* A small layer with its buffers and reference, ready to run again and again on any context. */
#ifndef TEST_LAYER_JOB_H
#define TEST_LAYER_JOB_H

#include "support/layer_case.h"

/* A layer is several kernels after one another: what a wait list must hold back and an event cover. */
struct job {
    struct layer_case c;
    struct layer_data data;
    struct layer_reference reference;
    qkv_layer *layer;
    struct test_memory x, out;
    qkv_tensor x_view, out_view;
    qkv_layer_args args;
};

/* transfers: the queue for the test's reads and writes. The input is not uploaded yet: test_memory_upload(&job->x). */
void job_open(struct job *job, qkv_context *context, cl_command_queue transfers, uint64_t stream);
/* Reads `out` back and compares. */
void job_check(struct job *job);
void job_close(struct job *job);

#endif
