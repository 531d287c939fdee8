/* Scaled dot-product attention. */
#ifndef QKV_ATTENTION_H
#define QKV_ATTENTION_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * For batch b, query head h, query i at position p = i + offset, and key j (Vaswani et al. 2017, "Attention Is All You
 * Need", eq. 1; online softmax after Milakov and Gimelshein 2018, in blocks after Dao et al. 2022, FlashAttention):
 *
 *   x         = scale * sum_d q[b,h,i,d] * k[b,g,j,d]
 *   x         = softcap * tanh(x / softcap)                      where softcap is not 0 (Gemma 2, 2024)
 *   score[j]  = x - alibi_slopes[h] * |p - j| + mask[b,h,i,j]    (ALiBi: Press et al. 2022)
 *   weight[j] = exp(score[j]) / (sum_j' exp(score[j']) + exp(sinks[h]))     over the keys j not excluded
 *   out[b,h,i,:] = sum_j weight[j] * v[b,g,j,:]
 *
 * g = h / (num_heads / num_kv_heads): each key head serves a group of consecutive query heads (Ainslie et al. 2023).
 * What is not given is left out of the formula. This is the order of ONNX's Attention (opset 25): softcap, then masks.
 *
 * A key is excluded for a query by a boolean mask's false, an additive mask's -inf, the mask's end before it, `causal`,
 * `window` or kv_lengths; all that are given must admit it. A large negative number in a mask is not -inf: where a row has
 * nothing else, its keys share the weight.
 * Excluded keys are left out, not multiplied by zero: NaN or infinity in an excluded key or value
 * never reaches the output. NaN in a query makes that query's row NaN and no other; NaN in a key makes the rows NaN that
 * see it, NaN in a value its element of their out, however small the weight; NaN or +inf in a mask the rows that it is
 * added to.
 * A query with every key excluded (or seq_kv = 0), whatever it holds, gives out = 0, weights = 0 and logsumexp = -inf
 * (sinks[h] where there are sinks).
 *
 * Accuracy, against exact arithmetic on what the tensors hold, to first order, u = 2^-24, n = seq_kv, m the row's maximum:
 *   score[j]   (head_dim + 3) u scale sum |q k| + 6 u (|x| + |alibi| + |mask|); a softcap shrinks this and adds 16 u |x|
 *   weight[j]  relative: r[j] + sum_j' weight[j'] r[j'] + (n + 4) u,  r[j] = score[j]'s + 3 u (m - score[j]) + (8 n + 6) u
 *   out        sum_j weight[j] |v[j]| (weight[j]'s + n u)
 * and half a unit in the last place of the storage type. The tests hold every solver to it.
 *
 * Any of batch, seq_q and seq_kv may be 0. Without a batch nothing is written; without queries only present, and
 * received, which is then 0.
 */

/* What a plan must be able to do; args that need a bit the plan lacks are QKV_UNSUPPORTED. Bits cost nothing but
 * compile time and, in kernels, what is said; the plain path is compiled without them. */
enum {
    QKV_ATTENTION_MASK = 1,     /* args.mask */
    QKV_ATTENTION_WEIGHTS = 2,  /* args.weights, args.scores */
    QKV_ATTENTION_SOFTCAP = 4,  /* args.softcap */
    QKV_ATTENTION_WINDOW = 8,   /* args.window */
    QKV_ATTENTION_LENGTHS = 16, /* args.kv_lengths, args.query_offsets */
    QKV_ATTENTION_ALIBI = 32,   /* args.alibi_slopes */
    QKV_ATTENTION_SINKS = 64,   /* args.sinks */
    QKV_ATTENTION_PAST = 128,   /* args.past_k, past_v, present_k, present_v */
    QKV_ATTENTION_REDUCED = 256 /* args.received, top_keys, top_weights, and any scores_stage but QKV_SCORES_MASKED */
};

/*
 * Where the queries stand, and whether they see what comes after them. Positions count from key 0. With a query before the
 * first key (p < 0) every key comes after it, so under `causal` it has nothing to attend to: so have the first
 * seq_q - seq_kv queries, or seq_q - kv_lengths[b], of QKV_CAUSAL_LAST where there are more queries than keys.
 */
typedef enum qkv_causal {
    QKV_CAUSAL_OFF = 0,   /* every key; p, as for FIRST, matters to `window` and alibi_slopes only */
    QKV_CAUSAL_FIRST = 1, /* query i attends to keys j <= p = i + query_offset (+ the past's length): aligned at the
                             first key (top left) */
    QKV_CAUSAL_LAST = 2   /* j <= p = i + seq_kv - seq_q: aligned at the last key (bottom right), as a decoder with a KV
                             cache needs it; with kv_lengths at each batch's last: p = i + kv_lengths[b] - seq_q */
} qkv_causal;

/* The keys p - left <= j <= p + right; -1 leaves a side unbounded, 0 ends it at p (Beltagy et al. 2020; ONNX Attention
 * opset 25). Under `causal` right changes nothing. p is the query's position among the keys: with a KV cache and `causal`
 * off, query_offset has to say where the queries begin.
 * Blocks of keys outside are skipped: time grows with seq_q * (left + right + 1). */
typedef struct qkv_window {
    int64_t left, right;
} qkv_window;

#define QKV_WINDOW_INIT {-1, -1}

/* Which of a score's stages args.scores receives, of all keys, excluded ones included, unless it says otherwise (an
 * excluded key that holds NaN or infinity has such a score).
 * ONNX's qk_matmul_output_mode 0, 1 and 2 are RAW, CAPPED and MASKED; mode 3 is args.weights. */
typedef enum qkv_scores_stage {
    QKV_SCORES_MASKED = 0, /* what the softmax sees; -inf where excluded */
    QKV_SCORES_RAW = 1,    /* scale * q . k */
    QKV_SCORES_CAPPED = 2  /* that under the softcap, where there is one */
} qkv_scores_stage;

typedef struct qkv_attention_desc {
    size_t struct_size;
    size_t head_dim;      /* of q and k, 1 to 512 */
    size_t value_dim;     /* of v and out, 1 to 512; 0: head_dim */
    size_t num_heads;
    size_t num_kv_heads;  /* divides num_heads; 0: num_heads */
    size_t max_batch;     /* limits of later runs, each at least 1 */
    size_t max_seq_q;
    size_t max_seq_kv;    /* the past's keys included */
    uint64_t features;    /* QKV_ATTENTION_* bits */
    const char *solver;   /* as in qkv_context_options; NULL, and what it does not name: the context's choice */
    /* Storage: F32, F16 or BF16, 0 is F32. Arithmetic is fp32 on every device, and what is stored is rounded to nearest
     * even; none of them needs cl_khr_fp16. weights_dtype: of weights and scores. */
    qkv_dtype q_dtype, k_dtype, v_dtype, out_dtype, weights_dtype;
} qkv_attention_desc;

#define QKV_ATTENTION_DESC_INIT                                                                                        \
    {sizeof(qkv_attention_desc), 0, 0, 0, 0, 0, 0, 0, 0, NULL, (qkv_dtype)0, (qkv_dtype)0, (qkv_dtype)0, (qkv_dtype)0, \
     (qkv_dtype)0}

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

/* The tensors' dtypes are the plan's, or as said here; batch and the lengths are read from the shapes and may differ
 * from run to run within the plan's limits. NULL and 0 are off. */
typedef struct qkv_attention_args {
    size_t struct_size;
    const qkv_tensor *q;   /* (batch, num_heads, seq_q, head_dim) */
    const qkv_tensor *k;   /* (batch, num_kv_heads, seq_kv, head_dim); with past_k the keys that are new */
    const qkv_tensor *v;   /* (batch, num_kv_heads, seq_kv, value_dim); likewise */
    const qkv_tensor *out; /* (batch, num_heads, seq_q, value_dim) */
    /* QKV_BOOL (true: attend), or F32, F16 or BF16 (added to the scores), rank 1 to 4, broadcast from the right to
     * (batch, num_heads, seq_q, seq_kv): each axis has that size or 1. The last may be shorter than seq_kv: the keys
     * past it are excluded; of size 1, it is broadcast; of size 0, nothing is left. */
    const qkv_tensor *mask;
    const qkv_tensor *weights;   /* out: (batch, num_heads, seq_q, seq_kv), rows sum to 1 (less with sinks) or 0 */
    const qkv_tensor *scores;    /* out: the same shape; see scores_stage */
    const qkv_tensor *logsumexp; /* out: F32 (batch, num_heads, seq_q), the natural logarithm of the weights' divisor */
    float scale;                 /* finite, may be negative; 0: 1 / sqrt(head_dim). A temperature T is
                                    scale = 1 / (T sqrt(head_dim)) */
    qkv_causal causal;
    qkv_workspace *workspace;    /* of at least qkv_attention_workspace_bytes(); NULL where that is 0 */
    /*
     * A cache that grows: present = past, then k and v, along seq; all keys of present are attended to, seq_kv above is
     * its length and positions begin after the past. past_k (batch, num_kv_heads, seq_past, head_dim), present_k
     * (batch, num_kv_heads, seq_past + seq_kv, head_dim), past_v and present_v alike. Both or none of k and v; without
     * past, present is a copy of k and v. Where past is the beginning of present in place (memory, offset, strides),
     * only what is new is written. Elements are copied as the bits that they are. past without present is
     * QKV_INVALID_ARGUMENT, past with kv_lengths too. A past of no keys is as none.
     */
    const qkv_tensor *past_k, *past_v, *present_k, *present_v;
    /* A cache with padding: I32 or I64 (batch), the keys from kv_lengths[b] on are excluded. Data on the device is not
     * checked: below 0 counts as 0, above seq_kv as seq_kv. */
    const qkv_tensor *kv_lengths;
    const qkv_tensor *query_offsets; /* I32 or I64 (batch): added to query_offset; not with QKV_CAUSAL_LAST. Beyond 2^40
                                        from 0 it counts as 2^40 */
    const qkv_tensor *alibi_slopes;  /* F32 (num_heads): finite; 0 is none */
    const qkv_tensor *sinks;         /* F32 (num_heads): a logit that takes part in the softmax without a value (gpt-oss);
                                        finite, or -inf for none */
    const qkv_window *window;
    int64_t query_offset; /* the position of query 0, less the past's length, within 2^40 of 0 and negative too;
                             QKV_CAUSAL_LAST places the queries itself and demands 0 */
    float softcap;        /* finite and above 0; 0: off */
    qkv_scores_stage scores_stage; /* without args.scores it changes nothing */
    /*
     * Reduced views of the weights, which stay O(seq). They, and scores and weights in other dtypes than F32 or at other
     * stages, are computed from the log-sum-exp in a pass of their own over the keys, which reads no values.
     * A query whose weights are NaN (one that has NaN, or sees a key that has) makes `received` NaN for all keys that it
     * sees, and has the first n of these keys in top_keys, with weights NaN.
     */
    const qkv_tensor *received;    /* out: F32 (batch, num_heads, seq_kv): each key's weights summed over the queries
                                      (H2O: Zhang et al. 2023); sinks receive what is missing to seq_q */
    const qkv_tensor *top_keys;    /* out: I32 (batch, num_heads, seq_q, n): the n keys of largest weight, falling, the
                                      lower index first among equals; -1 where fewer are not excluded. n is 1 to 64 and
                                      may exceed seq_kv */
    const qkv_tensor *top_weights; /* out: F32, the same shape: their weights, 0 at -1. Either may be had alone */
} qkv_attention_args;

#define QKV_ATTENTION_ARGS_INIT                                                                                      \
    {sizeof(qkv_attention_args), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.0f, QKV_CAUSAL_OFF, NULL, NULL,   \
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0.0f, QKV_SCORES_MASKED, NULL, NULL, NULL}

/*
 * Enqueues one attention. Results do not depend on the number of threads. Memory grows with seq, not
 * with seq * seq, unless weights or scores are asked for.
 * No output may share elements with another argument or the workspace, but present with past as said above; inputs may
 * share with each other.
 * Queue, wait list, event and errors: as qkv_linear_run(); QKV_INVALID_SHAPE also when a size exceeds
 * the plan's limit.
 */
QKV_API qkv_status qkv_attention_run(const qkv_attention *attention, cl_command_queue queue,
                                     const qkv_attention_args *args, cl_uint num_wait,
                                     const cl_event *wait_list, cl_event *event);

/* Scratch bytes one run needs, at most, within the plan's limits. Where reports start from the log-sum-exp, this has room
 * for it, max_batch * num_heads * max_seq_q floats. */
QKV_API size_t qkv_attention_workspace_bytes(const qkv_attention *attention);

/* One line: solver, tile, regimes; then what copies a past and computes reports, where features need them. Lives as long
 * as the plan. Never NULL. */
QKV_API const char *qkv_attention_describe(const qkv_attention *attention);

#ifdef __cplusplus
}
#endif

#endif
