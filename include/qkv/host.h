/* The same in one call on plain float arrays, for programs that have no cl_mem. */
#ifndef QKV_HOST_H
#define QKV_HOST_H

#include "layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * These upload, run on the context's queue, download, and return when the results are there. Arrays
 * are dense and row-major. They build nothing twice, but they do move and repack everything at each call: a
 * program that runs the same weights again uses qkv_linear, qkv_attention or qkv_layer.
 * Not to be had here: a mask, scores or log-sum-exp of a layer, which qkv_layer has; of attention, what its struct below
 * has no field for: softcaps, windows, lengths, ALiBi, sinks, a past, reports, other storage than F32; qkv_attention has
 * them.
 * Safe to call from several threads. Errors: those of the objects they stand for. On an error the
 * output arrays' contents are undefined.
 */

/* y (rows, out_features) = x (rows, in_features) times weight, plus bias (out_features) unless NULL. */
QKV_API qkv_status qkv_host_linear(float *y, qkv_context *context, const float *x, size_t rows,
                                   size_t in_features, const float *weight, size_t out_features,
                                   qkv_weight_layout layout, const float *bias);

typedef struct qkv_host_attention_args {
    size_t struct_size;
    size_t batch, seq_q, seq_kv;
    size_t num_heads, num_kv_heads; /* num_kv_heads 0: num_heads */
    size_t head_dim, value_dim;     /* value_dim 0: head_dim */
    const float *q;                 /* (batch, num_heads, seq_q, head_dim) */
    const float *k;                 /* (batch, num_kv_heads, seq_kv, head_dim) */
    const float *v;                 /* (batch, num_kv_heads, seq_kv, value_dim) */
    /* At most one mask; mask_shape: each of the four axes of (batch, num_heads, seq_q, seq_kv) or 1.
     * mask_bool holds bytes, nonzero: attend. mask_add is added to the scores. */
    const unsigned char *mask_bool;
    const float *mask_add;
    size_t mask_shape[4];
    float scale;                    /* 0: 1 / sqrt(head_dim) */
    qkv_causal causal;
    float *weights;                 /* out, or NULL: (batch, num_heads, seq_q, seq_kv) */
    float *logsumexp;               /* out, or NULL: (batch, num_heads, seq_q) */
} qkv_host_attention_args;

#define QKV_HOST_ATTENTION_ARGS_INIT                                                                 \
    {sizeof(qkv_host_attention_args), 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, {0, 0, 0, 0}, \
     0.0f, QKV_CAUSAL_OFF, NULL, NULL}

/* out: (batch, num_heads, seq_q, value_dim). */
QKV_API qkv_status qkv_host_attention(float *out, qkv_context *context,
                                      const qkv_host_attention_args *args);

typedef struct qkv_host_layer_args {
    size_t struct_size;
    size_t batch, seq_q;
    const float *x;           /* (batch, seq_q, embed_dim) */
    size_t seq_kv;            /* of kv; 0 where kv is NULL */
    const float *kv;          /* (batch, seq_kv, kv_embed_dim), with desc.cross; NULL: x */
    float scale;
    qkv_causal causal;
    float *q, *k, *v;         /* out, or NULL: (batch, heads, seq, dim) as in qkv_layer_args */
    float *heads;
    float *weights;
} qkv_host_layer_args;

#define QKV_HOST_LAYER_ARGS_INIT                                                                     \
    {sizeof(qkv_host_layer_args), 0, 0, NULL, 0, NULL, 0.0f, QKV_CAUSAL_OFF, NULL, NULL, NULL, NULL, \
     NULL}

/*
 * out: (batch, seq_q, out_dim). The limits and features in desc are ignored: this call's own sizes and
 * wishes take their place.
 */
QKV_API qkv_status qkv_host_layer(float *out, qkv_context *context, const qkv_layer_desc *desc,
                                  const qkv_host_layer_args *args);

#ifdef __cplusplus
}
#endif

#endif
