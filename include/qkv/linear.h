/* Linear layers: y = x W^T + b and y = x W + b, several outputs in one pass over x. */
#ifndef QKV_LINEAR_H
#define QKV_LINEAR_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a weight matrix lies in memory, row-major. */
typedef enum qkv_weight_layout {
    /* (out_features, in_features), y = x W^T: PyTorch's nn.Linear.weight and in_proj_weight */
    QKV_WEIGHT_OUT_IN = 1,
    /* (in_features, out_features), y = x W: the textbook's Q = X Wq, GPT-2's Conv1D, ONNX MatMul */
    QKV_WEIGHT_IN_OUT = 2
} qkv_weight_layout;

#define QKV_LINEAR_MAX_OUTPUTS 4

/* One of the outputs computed from the same x. A multi-head projection is one
 * output of num_heads * head_dim features: head h owns features h*head_dim to
 * (h+1)*head_dim - 1, so each head has its own weights. */
typedef struct qkv_linear_output {
    size_t out_features;
    const float *weight;  /* host, dense, in the layer's layout; NULL: zeros until qkv_linear_update() */
    const float *bias;    /* host, (out_features); NULL: zeros */
    const void *reserved[5];
} qkv_linear_output;

typedef struct qkv_linear_desc {
    size_t struct_size;
    size_t in_features;
    qkv_weight_layout layout;  /* of every output's weight */
    size_t num_outputs;        /* 1 to QKV_LINEAR_MAX_OUTPUTS */
    const qkv_linear_output *outputs;
    size_t max_rows;           /* the most rows (batch * seq) of one run; 0: no limit */
    const char *solver;        /* as in qkv_context_options; NULL, and what it does not name: the context's choice */
} qkv_linear_desc;

#define QKV_LINEAR_DESC_INIT \
    {sizeof(qkv_linear_desc), 0, QKV_WEIGHT_OUT_IN, 0, NULL, 0, NULL}

/*
 * A linear layer prepared for the context's device: weights are uploaded and repacked once, the
 * kernels are built and tried. Immutable but for qkv_linear_update(); may be run from several
 * threads at once.
 */
typedef struct qkv_linear qkv_linear;

/*
 * Prepares a layer; returns when it is ready to run. The host's weights may be freed on return.
 * Errors: QKV_INVALID_ARGUMENT, QKV_OVERFLOW, QKV_UNSUPPORTED, QKV_OUT_OF_MEMORY,
 * QKV_OUT_OF_DEVICE_MEMORY, QKV_BUILD_FAILED, QKV_SELF_TEST_FAILED, QKV_DEVICE_LOST, QKV_OPENCL_ERROR.
 */
QKV_API qkv_status qkv_linear_create(qkv_linear **out, qkv_context *context,
                                     const qkv_linear_desc *desc);

/* NULL is allowed. Runs in flight are not disturbed. */
QKV_API void qkv_linear_destroy(qkv_linear *linear);

/*
 * x and outputs[i] are F32 views of
 *   rank 2 (rows, features),
 *   rank 3 (batch, seq, features), or
 *   rank 4 (batch, num_heads, seq, head_dim) with features = num_heads * head_dim: attention's own
 *          axis order, so a projection writes straight into what attention reads.
 * All have the same number of rows; where x and an output both have batch and seq, these agree.
 * Zero rows is a success that writes nothing.
 */
typedef struct qkv_linear_args {
    size_t struct_size;
    const qkv_tensor *x;
    const qkv_tensor *outputs[QKV_LINEAR_MAX_OUTPUTS]; /* the first num_outputs are used, none NULL */
    qkv_workspace *workspace; /* of at least qkv_linear_workspace_bytes(); NULL where that is 0 */
} qkv_linear_args;

#define QKV_LINEAR_ARGS_INIT {sizeof(qkv_linear_args), NULL, {NULL, NULL, NULL, NULL}, NULL}

/*
 * Enqueues outputs[i] = x W_i + b_i. Each element is one fp32 sum over in_features, in an order that
 * depends neither on the number of rows nor on the number of threads; the error against exact
 * arithmetic is at most (in_features + 2) * 2^-24 * (sum |x w| + |b|), to first order.
 * No output may share elements with another argument; they may lie interleaved in one cl_mem.
 * queue: any queue of the context and device, in order or not.
 * event: NULL, or receives an event (the caller releases it) that completes when every output is written.
 * Errors: QKV_INVALID_ARGUMENT, QKV_INVALID_SHAPE, QKV_INVALID_DTYPE, QKV_OUT_OF_BOUNDS, QKV_OVERLAP,
 * QKV_WRONG_CONTEXT, QKV_UNSUPPORTED, QKV_DEVICE_LOST, QKV_OPENCL_ERROR. On an error nothing is
 * left running.
 */
QKV_API qkv_status qkv_linear_run(const qkv_linear *linear, cl_command_queue queue,
                                  const qkv_linear_args *args, cl_uint num_wait,
                                  const cl_event *wait_list, cl_event *event);

/*
 * Enqueues new weights for one output from device memory: nothing is built. Not to be in flight
 * together with a run of the same layer, unless events order them.
 * weight: F32, rank 2, in the layer's layout (any strides); NULL keeps the present ones.
 * bias: F32, rank 1 (out_features); NULL keeps the present one.
 * Errors: as qkv_linear_run().
 */
QKV_API qkv_status qkv_linear_update(qkv_linear *linear, cl_command_queue queue, size_t output,
                                     const qkv_tensor *weight, const qkv_tensor *bias, cl_uint num_wait,
                                     const cl_event *wait_list, cl_event *event);

/* Scratch bytes one run needs, at most, for max_rows rows. */
QKV_API size_t qkv_linear_workspace_bytes(const qkv_linear *linear);

/* Device bytes the layer holds: packed weights and biases. */
QKV_API size_t qkv_linear_memory_bytes(const qkv_linear *linear);

/* One line: solver, tile, packed format. Lives as long as the layer. Never NULL. */
QKV_API const char *qkv_linear_describe(const qkv_linear *linear);

#ifdef __cplusplus
}
#endif

#endif
