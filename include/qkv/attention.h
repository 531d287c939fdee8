/* Scaled dot-product attention. */
#ifndef QKV_ATTENTION_H
#define QKV_ATTENTION_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * For batch b, query head h, query i (Vaswani et al. 2017, "Attention Is All You Need", eq. 1;
 * online softmax after Milakov and Gimelshein 2018, in blocks after Dao et al. 2022, FlashAttention):
 *
 *   score[j]  = scale * sum_d q[b,h,i,d] * k[b,g,j,d] + mask[b,h,i,j]
 *   weight[j] = exp(score[j]) / sum_j' exp(score[j'])          over the keys j not excluded
 *   out[b,h,i,:] = sum_j weight[j] * v[b,g,j,:]
 *
 * g = h / (num_heads / num_kv_heads): each key head serves a group of consecutive query heads.
 *
 * A key is excluded for a query by a boolean mask's false, an additive mask's -inf, or `causal`.
 * Excluded keys are left out, not multiplied by zero: NaN or infinity in an excluded key or value
 * never reaches the output. NaN in a query makes that query's row NaN and no other.
 * A query with every key excluded (or seq_kv = 0) gives out = 0, weights = 0 and logsumexp = -inf.
 */

/* What a plan must be able to do; args that need a bit the plan lacks are QKV_UNSUPPORTED. */
enum {
    QKV_ATTENTION_MASK = 1,   /* args.mask */
    QKV_ATTENTION_WEIGHTS = 2 /* args.weights, args.scores */
};

typedef enum qkv_causal {
    QKV_CAUSAL_OFF = 0,
    QKV_CAUSAL_FIRST = 1, /* query i attends to keys j <= i: aligned at the first key (top left) */
    QKV_CAUSAL_LAST = 2   /* j <= i + seq_kv - seq_q: aligned at the last key (bottom right), as a
                             decoder with a KV cache needs it */
} qkv_causal;

typedef struct qkv_attention_desc {
    size_t struct_size;
    size_t head_dim;      /* of q and k, 1 to 512 */
    size_t value_dim;     /* of v and out, 1 to 512; 0: head_dim */
    size_t num_heads;
    size_t num_kv_heads;  /* divides num_heads; 0: num_heads */
    size_t max_batch;     /* limits of later runs, each at least 1 */
    size_t max_seq_q;
    size_t max_seq_kv;
    uint64_t features;    /* QKV_ATTENTION_* bits */
    const char *solver;   /* as in qkv_context_options; NULL, and what it does not name: the context's choice */
} qkv_attention_desc;

#define QKV_ATTENTION_DESC_INIT {sizeof(qkv_attention_desc), 0, 0, 0, 0, 0, 0, 0, 0, NULL}

/* A plan: kernels chosen, built and tried for one device. Immutable; may be run from several threads
 * at once, on any queues of its context and device, each run with a workspace of its own. */
typedef struct qkv_attention qkv_attention;

/*
 * Errors: QKV_INVALID_ARGUMENT, QKV_OVERFLOW, QKV_UNSUPPORTED, QKV_OUT_OF_MEMORY,
 * QKV_OUT_OF_DEVICE_MEMORY, QKV_BUILD_FAILED, QKV_SELF_TEST_FAILED, QKV_DEVICE_LOST, QKV_OPENCL_ERROR.
 */
QKV_API qkv_status qkv_attention_create(qkv_attention **out, qkv_context *context,
                                        const qkv_attention_desc *desc);

/* NULL is allowed. Runs in flight are not disturbed. */
QKV_API void qkv_attention_destroy(qkv_attention *attention);

/* Every tensor is F32 unless it says otherwise; batch and the lengths are read from the shapes and may
 * differ from run to run within the plan's limits. NULL is off. */
typedef struct qkv_attention_args {
    size_t struct_size;
    const qkv_tensor *q;   /* (batch, num_heads, seq_q, head_dim) */
    const qkv_tensor *k;   /* (batch, num_kv_heads, seq_kv, head_dim) */
    const qkv_tensor *v;   /* (batch, num_kv_heads, seq_kv, value_dim) */
    const qkv_tensor *out; /* (batch, num_heads, seq_q, value_dim) */
    /* QKV_BOOL (true: attend) or F32 (added to the scores), rank 1 to 4, broadcast from the right to
     * (batch, num_heads, seq_q, seq_kv): each axis has that size or 1. Together with `causal`, a key
     * must pass both. */
    const qkv_tensor *mask;
    const qkv_tensor *weights;   /* out: (batch, num_heads, seq_q, seq_kv), rows sum to 1 or 0 */
    const qkv_tensor *scores;    /* out: the same shape, what the softmax sees; -inf where excluded */
    const qkv_tensor *logsumexp; /* out: (batch, num_heads, seq_q), natural logarithm of sum_j exp(score[j]) */
    float scale;                 /* 0: 1 / sqrt(head_dim); a temperature T is scale = 1 / (T sqrt(head_dim)) */
    qkv_causal causal;
    qkv_workspace *workspace;    /* of at least qkv_attention_workspace_bytes(); NULL where that is 0 */
} qkv_attention_args;

#define QKV_ATTENTION_ARGS_INIT                                                                 \
    {sizeof(qkv_attention_args), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.0f,          \
     QKV_CAUSAL_OFF, NULL}

/*
 * Enqueues one attention. Results do not depend on the number of threads. Memory grows with seq, not
 * with seq * seq, unless weights or scores are asked for.
 * No output (out, weights, scores, logsumexp) may share elements with another argument or the workspace; inputs may share
 * with each other.
 * Queue, wait list, event and errors: as qkv_linear_run(); QKV_INVALID_SHAPE also when a size exceeds
 * the plan's limit.
 */
QKV_API qkv_status qkv_attention_run(const qkv_attention *attention, cl_command_queue queue,
                                     const qkv_attention_args *args, cl_uint num_wait,
                                     const cl_event *wait_list, cl_event *event);

/* Scratch bytes one run needs, at most, within the plan's limits. */
QKV_API size_t qkv_attention_workspace_bytes(const qkv_attention *attention);

/* One line: solver, tile, regimes, workspace. Lives as long as the plan. Never NULL. */
QKV_API const char *qkv_attention_describe(const qkv_attention *attention);

#ifdef __cplusplus
}
#endif

#endif
