/* Rotary position embeddings (RoPE). */
#ifndef QKV_ROTARY_H
#define QKV_ROTARY_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Turns each pair of features of a query or key by an angle that grows with the token's position, so that the product
 * of a query and a key depends on how far they are apart (Su et al. 2021, "RoFormer", section 3.2.2; the operator as
 * ONNX's RotaryEmbedding, opset 23, has it). For each batch, head and token, and each pair p < rotary_dim / 2:
 *
 *   out[i] = x[i] * cos - x[j] * sin
 *   out[j] = x[j] * cos + x[i] * sin        angle = position * position_scale * frequency[p]
 *
 *   i, j = p, p + rotary_dim / 2            half-split: GPT-NeoX, Llama in the form of Hugging Face, ONNX's default
 *   i, j = 2 p, 2 p + 1                     interleaved: RoFormer itself, GPT-J, Llama in Meta's form
 *
 * Features from rotary_dim on pass through. What models call scaling of the context is in three numbers:
 *   linear (Chen et al. 2023, position interpolation)       position_scale = 1 / factor
 *   NTK-aware, Llama 3, LongRoPE, YaRN's ramp               frequencies, as the model's recipe computes them
 *   YaRN's attention factor (Peng et al. 2023, section 3.4) magnitude, which multiplies cos and sin
 */

typedef struct qkv_rotary_desc {
    size_t struct_size;
    size_t head_dim;     /* of x and out, 1 to 512 */
    size_t rotary_dim;   /* how many features of a head turn, from the first on: even, at most head_dim; 0: head_dim */
    int interleaved;     /* 0: half-split, 1: interleaved */
    double base;         /* 0: 10000 */
    double position_scale;     /* positions are multiplied by it; 0: 1 */
    const double *frequencies; /* host, (rotary_dim / 2), radians a position, copied; NULL: base^(-2 p / rotary_dim) */
    double magnitude;    /* multiplies the cosines and sines, not those that a run is given; 0: 1 */
    size_t max_position; /* positions of a run are below it; 0: every run is given its cosines and sines */
    const char *solver;  /* as in qkv_context_options; NULL, and what it does not name: the context's choice */
} qkv_rotary_desc;

#define QKV_ROTARY_DESC_INIT {sizeof(qkv_rotary_desc), 0, 0, 0, 0.0, 0.0, NULL, 0.0, 0, NULL}

/*
 * A plan: tables of cosines and sines on the context's device, kernels built and tried. Number of heads, lengths and
 * dtypes are read from a run's tensors, so one plan serves Q and the fewer heads of K, prompts and single tokens.
 * Immutable; may be run from several threads at once, on any queues of its context and device.
 */
typedef struct qkv_rotary qkv_rotary;

/*
 * The tables are computed here, in double precision, in two levels (a position is a multiple of a block and a rest):
 * their memory grows with the square root of max_position, half a megabyte for 2^18 positions of 128 features.
 * Whatever the position, a computed cosine or sine is within magnitude * 2^-22 of the exact one for the angle
 * position * (position_scale * frequency), the product in brackets rounded to double. (An angle in fp32, as many
 * programs compute it, is off by position * 2^-24 radians: 0.06 at 10^6.)
 * Errors: QKV_INVALID_ARGUMENT, QKV_OVERFLOW, QKV_UNSUPPORTED, QKV_OUT_OF_MEMORY, QKV_OUT_OF_DEVICE_MEMORY,
 * QKV_BUILD_FAILED, QKV_SELF_TEST_FAILED, QKV_DEVICE_LOST, QKV_OPENCL_ERROR.
 */
QKV_API qkv_status qkv_rotary_create(qkv_rotary **out, qkv_context *context, const qkv_rotary_desc *desc);

/* NULL is allowed. Runs in flight are not disturbed. */
QKV_API void qkv_rotary_destroy(qkv_rotary *rotary);

/*
 * x, out, cos and sin are each F32, F16 or BF16, mixed as you like; arithmetic is fp32, and what is stored is rounded to
 * nearest, ties to even. NULL is off.
 */
typedef struct qkv_rotary_args {
    size_t struct_size;
    const qkv_tensor *x;   /* (batch, num_heads, seq, head_dim) */
    const qkv_tensor *out; /* the same shape. The same view as x (buffer, offset, strides, dtype): in place, exactly, and what
                            * passes through is not touched; else it shares no elements with x */
    /* I32 or I64, (batch, seq), (1, seq) or (seq): the position of each token. Data on the device is not checked: a position
     * that is negative or past the last one makes the turned features of its token NaN, and reads nothing outside. */
    const qkv_tensor *positions;
    int64_t first_position; /* without positions: that of seq's element 0, the others follow; with positions: 0 */
    /* Both or none. Rank 2, (rows, rotary_dim / 2): row r belongs to position r, in the place of the plan's tables.
     * Rank 3, (batch or 1, seq, rotary_dim / 2), without positions: row s belongs to token s. Used as they are:
     * base, scale, frequencies and magnitude are not applied. */
    const qkv_tensor *cos;
    const qkv_tensor *sin;
    int inverse;           /* 1: by the opposite angle, which takes a turn back (with magnitude 1) and carries gradients */
} qkv_rotary_args;

#define QKV_ROTARY_ARGS_INIT {sizeof(qkv_rotary_args), NULL, NULL, NULL, 0, NULL, NULL, 0}

/*
 * Enqueues one turn of x. Against cosines and sines that are exact, out is within 2^-23 (|x[i] cos| + |x[j] sin|), to
 * first order, before it is rounded for storage; where the plan computes them, their error (see qkv_rotary_create())
 * times |x[i]| + |x[j]| comes on top. No workspace is needed. Nothing depends on the number of threads.
 * out may share elements with x only as told above, and with no other argument.
 * Queue, wait list, event and errors: as qkv_linear_run(); QKV_INVALID_SHAPE also when first_position + seq exceeds
 * max_position or the rows of cos.
 */
QKV_API qkv_status qkv_rotary_run(const qkv_rotary *rotary, cl_command_queue queue, const qkv_rotary_args *args,
                                  cl_uint num_wait, const cl_event *wait_list, cl_event *event);

/* Device bytes the plan holds: its tables. */
QKV_API size_t qkv_rotary_memory_bytes(const qkv_rotary *rotary);

/* One line: solver, tables. Lives as long as the plan. Never NULL. */
QKV_API const char *qkv_rotary_describe(const qkv_rotary *rotary);

#ifdef __cplusplus
}
#endif

#endif
