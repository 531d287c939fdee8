/* Between engine.c, which prepares, and engine_run.c, which runs. */
#ifndef ATTEND_ENGINE_INTERNAL_H
#define ATTEND_ENGINE_INTERNAL_H

#include "engine.h"

typedef struct attend_norm {
    float *gain, *bias;
} attend_norm;

typedef struct attend_device_layer {
    qkv_layer *attention; /* Wq, Wk, Wv, attention, Wo */
    qkv_linear *intermediate, *final;
    attend_norm attention_norm, final_norm;
} attend_device_layer;

/* Device memory for the longest text. */
typedef struct attend_buffers {
    cl_mem x, out;          /* (max_tokens, hidden_size) */
    cl_mem wide;            /* (max_tokens, intermediate_size) */
    cl_mem q, k, v, heads;  /* (max_tokens, hidden_size), of the layer shown */
    cl_mem scores, weights; /* (num_heads, max_tokens, max_tokens), of the layer shown */
} attend_buffers;

struct attend_engine {
    const attend_model *model;
    qkv_context *context;
    qkv_workspace *workspace; /* one for all: the runs follow each other on an in-order queue */
    size_t layer, max_tokens;
    attend_norm embedding_norm;
    float *type_row; /* the embedding of segment 0 */
    attend_device_layer *layers;
    attend_buffers buffers;
    float *hidden, *scratch, *wide; /* host copies: two of (max_tokens, hidden), one of (.., intermediate) */
};

#endif
