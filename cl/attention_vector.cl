/*
 * Scaled dot-product attention for CPU devices, general regime.
 *
 *   out[r,:] = sum_j exp(score[r,j] - lse[r]) v[j,:],  score[r,j] = scale * q[r,:].k[j,:] + mask[r,j],
 *
 * with TERMS as in include/qkv/attention.h; keys before and behind every row's window are not touched.
 * Online softmax (Milakov and Gimelshein 2018) over blocks of keys (Dao et al. 2022, FlashAttention). Query rows lie
 * along the vector lanes: scores are computed transposed, K[j][d] and V[j][d] are scalars broadcast from memory where
 * they lie, and the softmax needs no reduction across lanes. Only Q and out are transposed, once per work-group.
 *
 * NDRange: (row blocks, heads or key heads, batch), local size 1: ROWS = TQ * VW query rows a work-item.
 * `shape` and the views: see attention_args.clh. In a packed run (FLAG_PACKED) the query rows of a key head's
 * whole group are numbered through, so that K and V are read once a group.
 *
 * Macros: VW lanes, TK x TQ register tile (keys or dims x vectors of queries), KB keys a block, UNROLL 4 or 1 steps of
 * the inner loops at once, MAX_DIM the largest of head_dim and value_dim; features and storage: attention_args.clh.
 */
#include "common.clh"
#include "storage.clh"
#include "exp2.clh"
#include "softcap.clh"
#include "transpose.clh"
#include "attention_args.clh"
#include "register_tile.clh"

#ifndef KB
#define KB 64
#endif
#define ROWS (TQ * VW)
/* Blocks of keys over which asking for what comes later is spread. */
#define LOOK_AHEAD_PARTS 4

#define NATURAL_UNITS (MASK || WEIGHTS || TERMS)
#include "attention_units.clh"

/* What a work-item knows about its rows. */
struct block {
    long row;         /* first */
    int rows;         /* at most ROWS */
    long batch, head; /* head of row 0 */
    long seq_q;
    bool packed;
    long next;        /* first row of the work-group after this one, as threads usually have them */
    long first;         /* lowest query in the block */
    long last;          /* highest */
    ivec query[TQ];     /* each lane's query less `first` */
#if TERMS
    float softcap;
    bool sloped, bent;    /* ALiBi is on; ALiBi or softcap */
    vec slope[TQ];
    int low;              /* lane r sees keys from low + query[r] on, counted from the block's first */
    vec distance[TQ];     /* from each lane's query to the block's first key */
#endif
};

/* Implementations hand their threads contiguous runs of groups: alternate cheap and dear ones. */
static long block_order(long i, long n, int flags)
{
    return !(flags & FLAG_PAIRED) ? i : i % 2 ? n - 1 - i / 2 : i / 2;
}

static void block_init(struct block *b, long8 shape)
{
    const int flags = SHAPE_FLAGS(shape);
    const long packed = (flags & FLAG_PACKED) != 0;
    const long group = SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape);
    const long total = SHAPE_SEQ_Q(shape) * (packed ? group : 1);
    const long n = (long)get_num_groups(0), i = (long)get_group_id(0);
    b->row = block_order(i, n, flags) * ROWS;
    b->next = block_order(i + 1, n, flags) * ROWS;
    b->rows = (int)min((long)ROWS, total - b->row);
    b->batch = (long)get_group_id(2);
    b->head = (long)get_group_id(1) * (packed ? group : 1);
    b->seq_q = SHAPE_SEQ_Q(shape);
    b->packed = packed != 0;
    b->first = b->row % b->seq_q;
    b->last = b->first + b->rows - 1;
    if (b->last >= b->seq_q) {
        b->first = 0;
        b->last = b->seq_q - 1;
    }
    for (int r = 0; r < ROWS; r++) {
        const int lane = min(r, b->rows - 1);
        ((int *)b->query)[r] = packed ? (int)((b->row + lane) % b->seq_q - b->first) : lane;
    }
}

#include "attention_vector_rows.clh"
#include "attention_vector_staged.clh"
#include "attention_vector_softmax.clh"
#define TILE TQ
#define TILE_NAME(name) name
#include "attention_vector_tile.clh"
#undef TILE
#undef TILE_NAME
/* Half of the vectors of queries by themselves, for where the others have nothing to do. */
#define HALVES (TQ % 2 == 0)
#if HALVES
#define TILE (TQ / 2)
#define TILE_NAME(name) name##_half
#include "attention_vector_tile.clh"
#endif
#include "attention_vector_terms.clh"
#include "attention_vector_scores.clh"
#include "attention_vector_values.clh"
#if WEIGHTS
#include "attention_vector_weights.clh"
#endif

static void store_logsumexp(global float *lse, long8 view, const struct block *b, const struct rows *r)
{
    for (int i = 0; i < b->rows; i++) {
        const float top = ((const float *)r->top)[i], sum = ((const float *)r->sum)[i];
        lse[row_base(b, view, i)] = ((const int *)r->any)[i] ? top * TO_NATURAL + log(sum) : -INFINITY;
    }
}

/*
 * How many of the n keys from `first` on make the next block: what every row sees stays apart from what some rows do. Lane
 * r may see the block's keys up to *limit + query[r]; *edge: some rows do not see all of them.
 */
static int next_keys(int *limit, bool *edge, struct block *b, const struct reach *reach, long first, int n)
{
    int early = 0;
    *limit = (int)clamp(b->first + reach->high - first, -0x40000000L, 0x3fffffffL);
#if TERMS
    early = approach_keys(b, reach, first);
    if (early > 0)
        n = min(n, (early + TK - 1) / TK * TK);
#endif
    if (*limit >= 0 && *limit < n - 1 && *limit + 1 >= TK)
        n = (*limit + 1) / TK * TK;
    *edge = *limit < n - 1 || early > 0;
    return n;
}

/* Scores, sums and output of one block of rows. */
__kernel void attention_vector(global const q_type *q, global const k_type *k, global const v_type *v,
                               global out_type *out, global const void *mask, global float *weights,
                               global float *scores, global float *lse, long8 q_view, long8 k_view, long8 v_view,
                               long8 out_view, long8 mask_view, long8 weights_view, long8 scores_view,
                               long8 lse_view, long8 shape, float scale TERMS_PARAMS)
{
    vec x[MAX_DIM * TQ], o[(MAX_DIM + TK) * TQ], s[KB * TQ], alpha[TQ];
#if STAGED
    float staged[KB * MAX_DIM];
#else
    float *staged = 0;
#endif
    struct rows r;
    struct block b;
    block_init(&b, shape);
    const int head_dim = SHAPE_HEAD_DIM(shape), value_dim = SHAPE_VALUE_DIM(shape), flags = SHAPE_FLAGS(shape);
    const long kv_head = b.head / (SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape));
    const struct reach far = ATTENTION_REACH(b.batch);
    const long keys = clamp(b.last + far.high + 1, 0L, far.end);
    long start = 0;
#if TERMS
    start = clamp(b.first + far.low, 0L, keys);
#endif
    /* Scores on the way to weights wait where the weights will be. */
    const bool keep = (flags & (FLAG_WEIGHTS | FLAG_SCORES)) != 0, own = (flags & FLAG_SCORES) != 0;
    k += k_view.s0 + b.batch * k_view.s1 + kv_head * k_view.s2;
    v += v_view.s0 + b.batch * v_view.s1 + kv_head * v_view.s2;
    load_queries(x, o, &b, q, q_view, head_dim, scale * UNIT);
    for (int i = 0; i < (value_dim + TK - 1) / TK * TK * TQ; i++)
        o[i] = (vec)(0.0f);
#if TERMS
    start_rows_terms(&r, &b, softcap, slopes, sinks, term_views, reach);
#else
    start_rows(&r);
#endif
    int n, part = 0;
    for (long first = start; first < keys; first += n) {
        int limit;
        bool edge, masked = false, bent = false;
        if (part < LOOK_AHEAD_PARTS)
            look_ahead(&b, q, q_view, head_dim, out, out_view, value_dim, part++);
        n = next_keys(&limit, &edge, &b, &far, first, (int)min((long)KB, keys - first));
#if MASK
        masked = (flags & (FLAG_MASK_BOOL | FLAG_MASK_ADD)) != 0;
        if (masked && load_mask(s, mask, flags, &b, mask_view, first, n))
            edge = true;
#endif
#if TERMS
        bent = b.bent;
#endif
        int mode = edge || masked || upper_begin(&b, n) > 0 ? EDGE : SCORES;
        /* A row's only block has its true maximum: one key is copied exactly. */
        if (mode == SCORES && !keep && !bent && n >= TK && keys - start > KB) {
            mode = GUESS;
            n -= n % TK;
        }
        long8 view = k_view;
        KEY_SPACE const float *block_keys = stage_keys(staged, k + first * k_view.s3, &view, n, head_dim);
        block_weights(s, &r, alpha, x, &b, block_keys, view, head_dim, n, mode, limit, masked,
                      keep ? own ? scores : weights : 0, own ? scores_view : weights_view, first);
        rescale(o, alpha, value_dim);
        view = v_view;
        VALUE_SPACE const float *values = stage_values(staged, v + first * v_view.s3, &view, n, value_dim);
        if (edge && !all_finite(values, view, n, value_dim))
            add_values_selected(o, s, values, view, n, value_dim);
        else
            add_block_values(o, s, values, view, n, value_dim, mode == EDGE ? upper_begin(&b, n) : 0,
                             mode == EDGE ? lower_end(&b, limit, n) : n);
    }
    vec inverse[TQ];
    for (int i = 0; i < TQ; i++)
        inverse[i] = r.any[i] ? (vec)(1.0f) / r.sum[i] : (vec)(0.0f);
    store_rows(out, OUT_DTYPE, out_view, 0, &b, o, x, value_dim, inverse);
    if (flags & FLAG_LSE)
        store_logsumexp(lse, lse_view, &b, &r);
#if WEIGHTS
    if (own)
        fill_rows(scores, scores_view, &b, start, keys, SHAPE_SEQ_KV(shape), -INFINITY);
    if (flags & FLAG_WEIGHTS) {
        finish_weights(weights, weights_view, own ? scores : weights, own ? scores_view : weights_view, &b, &r, inverse,
                       start, keys);
        fill_rows(weights, weights_view, &b, start, keys, SHAPE_SEQ_KV(shape), 0.0f);
    }
#endif
}
