/* Multi-head attention layer: x through Wq, Wk, Wv, attention, Wo. */
#ifndef QKV_LAYER_H
#define QKV_LAYER_H

#include "attention.h"
#include "linear.h"
#include "rotary.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A weight matrix in host memory with its bias. */
typedef struct qkv_layer_weight {
    const float *weight; /* dense, in the layer's layout */
    const float *bias;   /* NULL: none */
} qkv_layer_weight;

/*
 * Sizes of the matrices, as (in, out): wq (embed_dim, num_heads * head_dim),
 * wk (kv_embed_dim, num_kv_heads * head_dim), wv (kv_embed_dim, num_kv_heads * value_dim),
 * wo (num_heads * value_dim, out_dim).
 */
typedef struct qkv_layer_desc {
    size_t struct_size;
    size_t embed_dim;
    size_t kv_embed_dim;  /* features of the second input; 0: embed_dim */
    size_t num_heads;
    size_t num_kv_heads;  /* 0: num_heads */
    size_t head_dim;      /* 0: embed_dim / num_heads, which must divide */
    size_t value_dim;     /* 0: head_dim */
    size_t out_dim;       /* 0: embed_dim */
    qkv_weight_layout layout;
    qkv_layer_weight wq, wk, wv;
    qkv_layer_weight wo;  /* weight NULL: no output projection; out is the heads side by side */
    int cross;            /* 1: K and V come from args.kv; Q and K, V are projected separately */
    size_t max_batch;     /* limits, each at least 1 */
    size_t max_seq_q;
    size_t max_seq_kv;    /* 0: max_seq_q */
    uint64_t features;    /* QKV_ATTENTION_* bits */
    const char *solver;   /* as in qkv_context_options; NULL: the context's choice */
    const qkv_rotary_desc *rotary; /* Q and K are turned by their positions before the attention; its head_dim and
                                    * solver may be left out. Not with cross. NULL: off */
} qkv_layer_desc;

/* Everything 0 or NULL but the size and the layout QKV_WEIGHT_OUT_IN. */
#define QKV_LAYER_DESC_INIT                                                                          \
    {sizeof(qkv_layer_desc), 0, 0, 0, 0, 0, 0, 0, QKV_WEIGHT_OUT_IN, {NULL, NULL}, {NULL, NULL},     \
     {NULL, NULL}, {NULL, NULL}, 0, 0, 0, 0, 0, NULL, NULL}

/* Immutable; may be run from several threads at once, each run with a workspace of its own. */
typedef struct qkv_layer qkv_layer;

/* Errors: those of qkv_linear_create() and qkv_attention_create(). Host weights may be freed on return. */
QKV_API qkv_status qkv_layer_create(qkv_layer **out, qkv_context *context, const qkv_layer_desc *desc);

/* NULL is allowed. Runs in flight are not disturbed. */
QKV_API void qkv_layer_destroy(qkv_layer *layer);

/*
 * x and out are needed, and kv where desc.cross is set and K and V are not to come from x; everything
 * else is off when NULL. An intermediate that is asked for is written there; otherwise it
 * lives in the workspace.
 */
typedef struct qkv_layer_args {
    size_t struct_size;
    const qkv_tensor *x;         /* (batch, seq_q, embed_dim) */
    const qkv_tensor *kv;        /* (batch, seq_kv, kv_embed_dim); only with desc.cross; NULL: x */
    const qkv_tensor *out;       /* (batch, seq_q, out_dim), or without wo (.., num_heads * value_dim) */
    const qkv_tensor *q;         /* out: (batch, num_heads, seq_q, head_dim), after wq, its bias and the turn */
    const qkv_tensor *k;         /* out: (batch, num_kv_heads, seq_kv, head_dim) */
    const qkv_tensor *v;         /* out: (batch, num_kv_heads, seq_kv, value_dim) */
    const qkv_tensor *heads;     /* out: (batch, num_heads, seq_q, value_dim), before wo; without wo
                                  * out is the same in another axis order, and asking for both costs a second attention */
    const qkv_tensor *mask;      /* these as in qkv_attention_args */
    const qkv_tensor *weights;
    const qkv_tensor *scores;
    const qkv_tensor *logsumexp;
    float scale;
    qkv_causal causal;
    qkv_workspace *workspace;    /* of at least qkv_layer_workspace_bytes(); NULL where that is 0 */
    const qkv_tensor *positions; /* with desc.rotary: as in qkv_rotary_args, of the tokens of x */
    int64_t first_position;      /* without positions: token t is at first_position + the past's length + t */
    /* The rest of what attention takes: window, softcap, alibi_slopes, sinks, kv_lengths, query_offset(s), past and
     * present, scores_stage, received, top_keys, top_weights, as the features of desc allow. Its other fields are left off.
     * K and V are projected straight into present, and turned there, where past is its beginning in place (or there is
     * none) and neither k nor v is asked for: a decoder's step moves no cache. */
    const qkv_attention_args *attention;
} qkv_layer_args;

#define QKV_LAYER_ARGS_INIT                                                                         \
    {sizeof(qkv_layer_args), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.0f, \
     QKV_CAUSAL_OFF, NULL, NULL, 0, NULL}

/* Enqueues the whole layer, after checking all of it: step by step or, on CPUs, in one launch where up to 64 tokens all
 * see each other, nothing but out, q, k, v and heads is asked for, and the plan is for max_batch * max_seq_q of at most
 * 512 (qkv_layer_describe() has a line for it). No output may share elements with another argument or the workspace.
 * Queue, wait list, event and errors: as qkv_linear_run(). */
QKV_API qkv_status qkv_layer_run(const qkv_layer *layer, cl_command_queue queue,
                                 const qkv_layer_args *args, cl_uint num_wait,
                                 const cl_event *wait_list, cl_event *event);

/* Scratch bytes one run needs, at most, within the limits. */
QKV_API size_t qkv_layer_workspace_bytes(const qkv_layer *layer);

/* Device bytes the layer holds: packed weights and biases. */
QKV_API size_t qkv_layer_memory_bytes(const qkv_layer *layer);

/* Some lines: each step's solver, tile and workspace. Lives as long as the layer. Never NULL. */
QKV_API const char *qkv_layer_describe(const qkv_layer *layer);

#ifdef __cplusplus
}
#endif

#endif
