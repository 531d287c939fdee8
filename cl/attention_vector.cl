/*
 * Scaled dot-product attention for CPU devices, general regime.
 *
 *   out[r,:] = sum_j exp(score[r,j] - lse[r]) v[j,:],  score[r,j] = scale * q[r,:].k[j,:] + mask[r,j]
 *
 * Online softmax (Milakov and Gimelshein 2018) over blocks of keys (Dao et al. 2022, FlashAttention). Query rows lie
 * along the vector lanes: scores are computed transposed, K[j][d] and V[j][d] are scalars broadcast from memory where
 * they lie, and the softmax needs no reduction across lanes. Only Q and out are transposed, once per work-group.
 *
 * NDRange: (row blocks, heads or key heads, batch), local size 1: ROWS = TQ * VW query rows a work-item.
 * `shape` and the views: see attention_args.clh. In a packed run (FLAG_PACKED) the query rows of a key head's
 * whole group are numbered through, so that K and V are read once a group.
 *
 * Macros: VW lanes, TK x TQ register tile (keys or dims x vectors of queries), KB keys a block, UNROLL 4 or 1 steps of
 * the inner loops at once, MAX_DIM the largest of head_dim and value_dim, MASK and WEIGHTS the features.
 */
#include "common.clh"
#include "exp2.clh"
#include "transpose.clh"
#include "attention_args.clh"

#ifndef TQ
#define TQ 4
#endif
#ifndef TK
#define TK 4
#endif
#ifndef KB
#define KB 64
#endif
#ifndef UNROLL
#define UNROLL 4
#endif
#ifndef MAX_DIM
#define MAX_DIM 64
#endif
#ifndef MASK
#define MASK 0
#endif
#ifndef WEIGHTS
#define WEIGHTS 0
#endif
#define ROWS (TQ * VW)

#if TQ == 1
#define EACH_Q(m, t) m(t, 0)
#elif TQ == 2
#define EACH_Q(m, t) m(t, 0) m(t, 1)
#elif TQ == 3
#define EACH_Q(m, t) m(t, 0) m(t, 1) m(t, 2)
#else
#define EACH_Q(m, t) m(t, 0) m(t, 1) m(t, 2) m(t, 3)
#endif
#if TK == 2
#define EACH_T(m) m(0) m(1)
#elif TK == 3
#define EACH_T(m) m(0) m(1) m(2)
#elif TK == 4
#define EACH_T(m) m(0) m(1) m(2) m(3)
#else
#define EACH_T(m) m(0) m(1) m(2) m(3) m(4) m(5)
#endif

#define NATURAL_UNITS (MASK || WEIGHTS)
#include "attention_units.clh"

/* What a work-item knows about its rows. */
struct block {
    long row;         /* first */
    int rows;         /* at most ROWS */
    long batch, head; /* head of row 0 */
    long seq_q;
    long first;         /* lowest query in the block */
    long last;          /* highest */
    ivec query[TQ];     /* each lane's query less `first` */
};

static long row_base(const struct block *b, long8 view, int lane)
{
    return attention_row(view, b->batch, b->head, b->row + min(lane, b->rows - 1), b->seq_q);
}

static void block_init(struct block *b, long8 shape)
{
    const int flags = SHAPE_FLAGS(shape);
    const long packed = (flags & FLAG_PACKED) != 0;
    const long group = SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape);
    const long total = SHAPE_SEQ_Q(shape) * (packed ? group : 1);
    const long n = (long)get_num_groups(0);
    long i = (long)get_group_id(0);
    /* Implementations hand their threads contiguous runs of groups: alternate cheap and dear ones. */
    if (flags & FLAG_PAIRED)
        i = i % 2 ? n - 1 - i / 2 : i / 2;
    b->row = i * ROWS;
    b->rows = (int)min((long)ROWS, total - b->row);
    b->batch = (long)get_group_id(2);
    b->head = (long)get_group_id(1) * (packed ? group : 1);
    b->seq_q = SHAPE_SEQ_Q(shape);
    b->first = b->row % b->seq_q;
    b->last = b->first + b->rows - 1;
    if (b->last >= b->seq_q) {
        b->first = 0;
        b->last = b->seq_q - 1;
    }
    for (int r = 0; r < ROWS; r++)
        ((int *)b->query)[r] = (int)((b->row + min(r, b->rows - 1)) % b->seq_q - b->first);
}

/* x[d][r] = factor * q[r][d] */
static void load_queries(vec *x, const struct block *b, global const float *q, long8 view, int dim, float factor)
{
    for (int v = 0; v < TQ; v++) {
        int d = 0;
        if (view.s4 == 1)
            for (; d + VW <= dim; d += VW) {
                vec t[VW];
                for (int r = 0; r < VW; r++)
                    t[r] = QKV_VLOAD(q + row_base(b, view, v * VW + r) + d) * (vec)(factor);
                qkv_transpose(t);
                for (int r = 0; r < VW; r++)
                    x[(d + r) * TQ + v] = t[r];
            }
        for (int r = 0; r < VW && d < dim; r++) {
            const long base = row_base(b, view, v * VW + r);
            for (int e = d; e < dim; e++)
                ((float *)x)[(e * TQ + v) * VW + r] = q[base + e * view.s4] * factor;
        }
    }
}

/* y[r][first + d] = x[d][r] * factor[r] for d < n, in a buffer that the rows of the block own. */
static void store_rows(global float *y, long8 view, long first, const struct block *b, const vec *x, int n,
                       const vec *factor)
{
    for (int v = 0; v < TQ && v * VW < b->rows; v++) {
        const int rows = min(VW, b->rows - v * VW);
        int d = 0;
        if (view.s4 == 1)
            for (; d + VW <= n; d += VW) {
                vec t[VW];
                for (int r = 0; r < VW; r++)
                    t[r] = x[(d + r) * TQ + v] * factor[v];
                qkv_transpose(t);
                for (int r = 0; r < rows; r++)
                    QKV_VSTORE(t[r], y + row_base(b, view, v * VW + r) + first + d);
            }
        for (int r = 0; r < rows && d < n; r++) {
            const long base = row_base(b, view, v * VW + r);
            for (int e = d; e < n; e++)
                y[base + (first + e) * view.s4] =
                    ((const float *)x)[(e * TQ + v) * VW + r] * ((const float *)factor)[v * VW + r];
        }
    }
}

#include "attention_vector_scores.clh"
#include "attention_vector_values.clh"
#if WEIGHTS
#include "attention_vector_weights.clh"
#endif

/* Scores, sums and output of one block of rows. */
__kernel void attention_vector(global const float *q, global const float *k, global const float *v,
                               global float *out, global const void *mask, global float *weights,
                               global float *scores, global float *lse, long8 q_view, long8 k_view, long8 v_view,
                               long8 out_view, long8 mask_view, long8 weights_view, long8 scores_view,
                               long8 lse_view, long8 shape, float scale)
{
    vec x[MAX_DIM * TQ], o[(MAX_DIM + TK) * TQ], s[KB * TQ];
    vec top[TQ], sum[TQ], alpha[TQ];
    ivec any[TQ];
    struct block b;
    block_init(&b, shape);
    const int head_dim = SHAPE_HEAD_DIM(shape), value_dim = SHAPE_VALUE_DIM(shape), flags = SHAPE_FLAGS(shape);
    const long kv_head = b.head / (SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape));
    const long keys = clamp(b.last + SHAPE_OFFSET(shape) + 1, 0L, SHAPE_SEQ_KV(shape));
    k += k_view.s0 + b.batch * k_view.s1 + kv_head * k_view.s2;
    v += v_view.s0 + b.batch * v_view.s1 + kv_head * v_view.s2;
    load_queries(x, &b, q, q_view, head_dim, scale * UNIT);
    for (int i = 0; i < (value_dim + TK - 1) / TK * TK * TQ; i++)
        o[i] = (vec)(0.0f);
    for (int i = 0; i < TQ; i++) {
        top[i] = (vec)(-INFINITY);
        sum[i] = (vec)(0.0f);
        any[i] = (ivec)(0);
    }
    for (long first = 0; first < keys; first += KB) {
        const int n = (int)min((long)KB, keys - first);
        global const float *values = v + first * v_view.s3;
        vec old[TQ];
        for (int i = 0; i < TQ; i++)
            old[i] = top[i];
        const bool edge = block_scores(s, top, any, x, &b, k + first * k_view.s3, k_view, mask, mask_view, shape, first,
                                       n);
        block_softmax(s, sum, alpha, old, top, n, edge);
        if (edge && !all_finite(values, v_view, n, value_dim))
            add_values_selected(o, s, alpha, values, v_view, n, value_dim);
        else
            add_values(o, s, alpha, values, v_view, n, value_dim);
    }
    vec inverse[TQ];
    for (int i = 0; i < TQ; i++)
        inverse[i] = any[i] ? (vec)(1.0f) / sum[i] : (vec)(0.0f);
    store_rows(out, out_view, 0, &b, o, value_dim, inverse);
    if (flags & FLAG_LSE)
        for (int r = 0; r < b.rows; r++)
            lse[row_base(&b, lse_view, r)] =
                ((const int *)any)[r] ? ((const float *)top)[r] * TO_NATURAL
                                            + log(((const float *)sum)[r])
                                      : -INFINITY;
#if WEIGHTS
    /* One call: the compiler inlines the whole computation of scores into it. */
    for (int pass = 0; pass < 2; pass++)
        if (flags & (pass ? FLAG_WEIGHTS : FLAG_SCORES))
            store_weights(s, top, inverse, x, &b, k, k_view, mask, mask_view, pass ? weights : scores,
                          pass ? weights_view : scores_view, shape, keys, pass);
#endif
}
