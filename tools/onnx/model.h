/* A model of one node, as ONNX's backend tests have them. */
#ifndef ONNX_MODEL_H
#define ONNX_MODEL_H

#include "onnx/tensor.h"

enum { ONNX_MAX_INPUTS = 7, ONNX_MAX_OUTPUTS = 4 };

typedef enum onnx_operator { ONNX_ATTENTION = 1, ONNX_ROTARY_EMBEDDING = 2 } onnx_operator;

/* What is not given has the operator's default. */
typedef struct onnx_attributes {
    double scale, softcap;
    bool has_scale;
    int64_t is_causal, q_num_heads, kv_num_heads, softmax_precision, qk_matmul_output_mode;
    int64_t left_window_size, right_window_size;
    int64_t interleaved, rotary_embedding_dim, num_heads;
} onnx_attributes;

/* Where a node's input or output is. */
typedef struct onnx_slot {
    bool given;
    long file; /* i of input_i.pb or output_i.pb; -1: a constant, or an output that the graph does not return */
    onnx_tensor constant; /* of an input */
} onnx_slot;

typedef struct onnx_model {
    onnx_operator op;
    onnx_attributes attributes;
    onnx_slot inputs[ONNX_MAX_INPUTS], outputs[ONNX_MAX_OUTPUTS];
    size_t num_outputs; /* of the graph */
} onnx_model;

bool onnx_model_read(onnx_model *out, const char *path, tool_error *error);
void onnx_model_free(onnx_model *model);

#endif
