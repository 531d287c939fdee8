/*
 * A solver is one way to do one operation: its conditions, its estimate, its kernels' arguments, its enqueue.
 * One file each; src/plan/table.c lists them all. Arguments were validated by src/api: nothing here re-checks.
 */
#ifndef QKVI_SOLVER_H
#define QKVI_SOLVER_H

#include "program/program.h"

enum qkvi_operation { QKVI_LINEAR, QKVI_ATTENTION, QKVI_ROTARY, QKVI_COPY, QKVI_REPORT, QKVI_LAYER };

/* ---- linear ---- */

/*
 * Packed weights: the outputs' columns side by side, each output padded with zero columns to whole panels of
 * `panel` columns; panel p is stored as [in_features][panel], panel after panel. Biases are packed
 * the same way: [panels][panel]. This is packed format "panel<N>", the only one so far.
 */
struct qkvi_linear_weights {
    cl_mem packed;
    cl_mem bias;
    size_t in_features;
    size_t panel;
    size_t num_panels;
    size_t num_outputs;
    size_t out_features[QKV_LINEAR_MAX_OUTPUTS];
    size_t first_panel[QKV_LINEAR_MAX_OUTPUTS];
};

struct qkvi_linear_problem {
    size_t in_features;
    size_t num_outputs;
    size_t out_features[QKV_LINEAR_MAX_OUTPUTS];
    size_t max_rows; /* SIZE_MAX: no limit */
};

/*
 * A matrix whose rows and columns may each be split in two: element (r, c) lies at
 *   offset + (r / row_inner) * row_outer_stride + (r % row_inner) * row_stride
 *          + (c / col_inner) * col_outer_stride + (c % col_inner) * col_stride.
 * The api merges what can be merged: col_inner == number of columns where columns are not split.
 */
struct qkvi_matrix {
    cl_mem buffer;
    int64_t offset;
    int64_t row_inner, row_outer_stride, row_stride;
    int64_t col_inner, col_outer_stride, col_stride;
};
/* As a kernel takes it: long8 (offset, row_inner, row_outer_stride, row_stride, col_inner, col_outer_stride,
 * col_stride, 0). */
cl_long8 qkvi_matrix_pack(const struct qkvi_matrix *m);

struct qkvi_linear_run {
    const struct qkvi_linear_weights *weights;
    size_t rows; /* at least 1 */
    size_t regime; /* see struct qkvi_solver */
    struct qkvi_matrix x;
    struct qkvi_matrix outputs[QKV_LINEAR_MAX_OUTPUTS];
};

/* ---- attention ---- */

struct qkvi_attention_problem {
    size_t head_dim, value_dim, num_heads, num_kv_heads;
    size_t max_batch, max_seq_q, max_seq_kv;
    bool mask;    /* a mask may be given at run time */
    bool weights; /* weights or scores may be asked for at run time, in fp32 */
    bool terms;   /* struct qkvi_attention_terms may say anything at run time */
    qkv_dtype q_dtype, k_dtype, v_dtype, out_dtype; /* F32, F16 or BF16 */
    qkv_dtype report_dtype;                         /* of reports' scores and weights */
};

/* The larger of head_dim and value_dim. */
size_t qkvi_larger_dim(const struct qkvi_attention_problem *problem);

/* offset and strides over (batch, head, seq, dim), in elements. */
struct qkvi_view4 {
    cl_mem buffer; /* NULL: absent */
    int64_t offset;
    int64_t stride[4];
};
/* As a kernel takes it: long8 (offset, s0, s1, s2, s3, 0, 0, 0). */
cl_long8 qkvi_view4_pack(const struct qkvi_view4 *v);

enum qkvi_mask_kind { QKVI_MASK_NONE = 0, QKVI_MASK_BOOL = 1, QKVI_MASK_ADD = 2 };

/*
 * What a plan without `terms` does not know. Query i of batch b is at position p = i + query_offset (+ offsets[b]), or,
 * from_end, p = i + end - seq_q, and sees the keys p - left <= j <= p + right below end, which is lengths[b], or seq_kv.
 */
struct qkvi_attention_terms {
    int64_t left, right; /* at least 0, or QKVI_UNBOUNDED; `right` has causality in it */
    int64_t query_offset;
    bool from_end;
    /* Of one axis, stride[0]: over the batch, over the batch, over the heads, over the heads. */
    struct qkvi_view4 lengths, offsets, slopes, sinks;
    qkv_dtype lengths_dtype, offsets_dtype; /* I32 or I64; the others are F32 */
    float softcap;                          /* 0: off */
};
#define QKVI_UNBOUNDED ((int64_t)1 << 60)

/* Keys and values that are brought together before: run.k and run.v are what receives them. */
struct qkvi_attention_past {
    bool wanted;
    size_t seq_past, seq_new; /* either may be 0 */
    struct qkvi_view4 past_k, past_v; /* no buffer: nothing of the past is to be copied */
    struct qkvi_view4 new_k, new_v;
};

/* What is derived from scores, with the log-sum-exp known, afterwards. */
struct qkvi_attention_reports {
    bool wanted;
    qkv_scores_stage stage;
    struct qkvi_view4 scores, weights; /* over (batch, head, query, key), in the dtype the problem names */
    struct qkvi_view4 received;        /* over (batch, head, key, -) */
    struct qkvi_view4 top_keys, top_weights; /* over (batch, head, query, rank) */
    size_t top;                        /* ranks; 0 where neither is wanted */
};

struct qkvi_attention_run {
    size_t batch, seq_q, seq_kv; /* batch and seq_q at least 1; seq_kv may be 0 */
    size_t regime;               /* see struct qkvi_solver */
    struct qkvi_view4 q, k, v, out;
    struct qkvi_view4 mask; /* strides over (batch, head, query, key), 0 where broadcast */
    enum qkvi_mask_kind mask_kind;
    qkv_dtype mask_dtype; /* of QKVI_MASK_ADD */
    size_t mask_keys;     /* keys from here on are excluded: the mask's last axis; seq_kv where none are */
    struct qkvi_view4 weights, scores; /* over (batch, head, query, key) */
    struct qkvi_view4 logsumexp;       /* over (batch, head, query, -) */
    float scale;
    /* Query i may see keys j <= i + causal_offset. INT64_MAX/2 or more where causal is off. With terms it says no more
     * than the terms do, and may say less where what they depend on is on the device. */
    int64_t causal_offset;
    struct qkvi_attention_terms terms; /* filled in where the problem has `terms` */
    struct qkvi_attention_past past;   /* not for attention's solvers, nor the next */
    struct qkvi_attention_reports reports;
    cl_mem workspace;
    size_t workspace_offset; /* bytes, a multiple of 256 */
};

/*
 * Two operations beside attention take its problem and its run: before it, QKVI_COPY does what `past` says; after it,
 * QKVI_REPORT what `reports` says, from the log-sum-exp, which is there then.
 */

/* ---- rotary ---- */

struct qkvi_rotary_problem {
    size_t head_dim, rotary_dim;
    bool interleaved;
};

/*
 * Cosines and sines in two levels: position = high * block + low, block = 1 << block_bits. Row r of the buffer is
 * 2 * width floats, the cosines of all pairs and then the sines, each padded to `width`; rows 0 .. block-1 belong to the
 * lows and have the magnitude in them, row block + h to the high h.
 */
struct qkvi_rotary_table {
    cl_mem buffer; /* NULL: none */
    size_t width;
    size_t max_position;
    unsigned block_bits;
    size_t bytes;
};

/* Cosines or sines that a run is given: pair p of row r at offset + batch * stride_batch + r * stride_row + p * stride. */
struct qkvi_rotary_given {
    cl_mem buffer; /* NULL: the plan's table */
    int64_t offset, stride_batch, stride_row, stride;
    qkv_dtype dtype;
};

struct qkvi_rotary_run {
    size_t batch, num_heads, seq; /* each at least 1 */
    struct qkvi_view4 x, out;     /* over (batch, head, token, dim) */
    qkv_dtype x_dtype, out_dtype;
    bool in_place; /* x and out are one view */
    bool inverse;
    struct qkvi_view4 positions; /* over (batch, token, -, -); without a buffer first_position + token */
    qkv_dtype positions_dtype;
    int64_t first_position;
    const struct qkvi_rotary_table *table;
    struct qkvi_rotary_given cos, sin;
    size_t num_rows; /* positions are below it: of the table or of what is given */
};

/* ---- a whole layer at once ---- */

/* Projections to q, k and v, attention of every token of a sequence to all of them, and the output projection. */
struct qkvi_layer_problem {
    size_t in_features, head_dim, value_dim, num_heads, num_kv_heads;
};
/* Most rows of a run, and so most keys. */
#define QKVI_LAYER_ROWS 64

/* The steps as they would be taken one after the other: attention without options, its tensors' dims side by side and
 * where the projections have theirs. Weights are packed as qkvi_linear_vector has them. */
struct qkvi_layer_run {
    const struct qkvi_linear_run *in, *out;
    const struct qkvi_attention_run *attention;
    cl_mem workspace;
    size_t workspace_offset; /* bytes, a multiple of 256 */
};

/* ---- the table's row ---- */

struct qkvi_problem {
    enum qkvi_operation operation;
    union {
        struct qkvi_linear_problem linear;
        struct qkvi_attention_problem attention; /* of QKVI_COPY and QKVI_REPORT too */
        struct qkvi_rotary_problem rotary;
        struct qkvi_layer_problem layer;
    } u;
};

struct qkvi_solver {
    const char *name; /* "plain", "vector", "tile": what QKV_SOLVER says */
    enum qkvi_operation operation;
    /* false, and why in a few words, where it cannot do the problem on this device. NULL: it always can. */
    bool (*applicable)(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why);
    /* Relative time; the lowest estimate is tried first. */
    double (*estimate)(const struct qkvi_problem *problem, const struct qkvi_limits *limits);
    /* Builds every kernel any regime needs. *state is the solver's own. QKV_UNSUPPORTED: not applicable after all
     * (a limit found after the build); the message says why. */
    qkv_status (*create)(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem);
    void (*destroy)(void *state);
    /* Columns of a panel (linear only; else NULL). */
    size_t (*panel)(const void *state);
    /* Most scratch bytes any run within the problem's limits needs; false on overflow. NULL: never any. */
    bool (*workspace)(size_t *out_bytes, const void *state, const struct qkvi_problem *problem);
    /* run: const struct qkvi_linear_run *, qkvi_attention_run *, qkvi_rotary_run * or qkvi_layer_run *. Enqueues on the
     * chain only. */
    qkv_status (*run)(const void *state, struct qkvi_chain *chain, const void *run);
    /* How many regimes a run is done in one of: the nth, from 1, where its `regime` says so and it can be done in that one,
     * which only the self-test asks for, else the one the solver chooses. NULL: 1. */
    size_t (*regimes)(const void *state);
    /* Work-items share nothing and know no blocks of rows or keys: known answers of few say as much as those of many. */
    bool independent;
    /* Adds "tile 8x48, regimes ..." to a one-line description. */
    void (*describe)(const void *state, struct qkvi_text *text);
};

/* estimate.c: for `estimate`, by the form of the kernels. */
double qkvi_estimate_plain(const struct qkvi_problem *problem, const struct qkvi_limits *limits);
double qkvi_estimate_vector(const struct qkvi_problem *problem, const struct qkvi_limits *limits);
double qkvi_estimate_tile(const struct qkvi_problem *problem, const struct qkvi_limits *limits);

extern const struct qkvi_solver qkvi_linear_plain, qkvi_linear_vector, qkvi_linear_clblast;
extern const struct qkvi_solver qkvi_attention_plain, qkvi_attention_vector;
extern const struct qkvi_solver qkvi_linear_tile, qkvi_attention_tile;
extern const struct qkvi_solver qkvi_rotary_plain, qkvi_rotary_vector;
extern const struct qkvi_solver qkvi_copy_plain, qkvi_copy_vector;
extern const struct qkvi_solver qkvi_report_plain, qkvi_report_vector;
extern const struct qkvi_solver qkvi_layer_vector;

#endif
