/* One node with its inputs: what it works on, and what its outputs should be. */
#ifndef ONNX_NODE_H
#define ONNX_NODE_H

#include "onnx/model.h"

/* The sizes of an Attention node; positions in `inputs` are the operator's. */
typedef struct onnx_attention {
    const onnx_attributes *attributes;
    const onnx_tensor *q, *k, *v, *mask, *past_k, *past_v, *lengths; /* NULL: not given */
    size_t batch, num_heads, num_kv_heads, seq_q, seq_new, seq_past, seq_kv, head_dim, value_dim;
    bool packed; /* (batch, seq, heads * dim) */
} onnx_attention;

typedef struct onnx_rotary {
    const onnx_attributes *attributes;
    const onnx_tensor *x, *cos, *sin, *positions;
    size_t batch, num_heads, seq, head_dim, rotary_dim;
    bool packed;
} onnx_rotary;

/* inputs: NULL where the node has none. Fails where the shapes do not fit together. */
bool onnx_attention_open(onnx_attention *out, const onnx_attributes *attributes, const onnx_tensor *const *inputs,
                         tool_error *error);
bool onnx_rotary_open(onnx_rotary *out, const onnx_attributes *attributes, const onnx_tensor *const *inputs,
                      tool_error *error);

/*
 * An output in double precision, by the operator's text (opset 25), and how far from it arithmetic may be. The bounds
 * follow from dtypes and lengths: `ours` in fp32, `given` where each step is rounded to the coarsest dtype among the
 * node's, softmax_precision included, as ONNX's reference does it. Neither has the rounding of the stored result.
 */
typedef struct onnx_values {
    size_t count;
    double *value, *ours, *given;
    /* NULL, or where NaN is as good as the value, since the text adds -inf to exclude a key: excluded scores that were
     * NaN or infinite, excluded keys' weights in a row of NaN. */
    bool *either;
} onnx_values;

/* `out`: Y, present_key, present_value, qk_matmul_output. What is not `wanted` stays empty. */
bool onnx_attention_evaluate(onnx_values *out, const onnx_attention *node, const bool *wanted, tool_error *error);
bool onnx_rotary_evaluate(onnx_values *out, const onnx_rotary *node, tool_error *error);
void onnx_values_free(onnx_values *values);

/* The library's 0 is the default; the operator's 0 is nearly this. */
#define ONNX_SCALE_ZERO 0x1p-126

/* Half a unit in the last place of 1. */
double onnx_roundoff(qkv_dtype dtype);
/* The distance of the dtype's numbers around a value. */
double onnx_spacing(qkv_dtype dtype, double value);

#endif
