/*
 * Scaled dot-product attention for GPUs.
 *
 *   out[r,:] = sum_j exp(score[r,j] - lse[r]) v[j,:],  score[r,j] = scale * q[r,:].k[j,:] + mask[r,j]
 *
 * and with TERMS as in include/qkv/attention.h.
 * Online softmax (Milakov and Gimelshein 2018) over blocks of keys (Dao et al. 2022, FlashAttention). A work-group owns
 * BQ query rows of one head, or, in a packed run (FLAG_PACKED), of a key head's whole group numbered through, and walks
 * over the keys in blocks of BK. Q stays in local memory; K and V pass through it in slices of CHUNK elements, the next
 * one being read from global memory while the present one is used. Scores and values are sums over register tiles
 * of TQ x TK and TQ x TV; the scores go through local memory, where PARTS work-items share a row's softmax.
 * With num_splits > 1 a group does keys_per_split keys only (with TERMS its part of those in reach) and leaves its sums
 * in `partial`, which attention_tile_merge.cl combines ("Flash-Decoding", Dao et al. 2023).
 *
 * NDRange: (row blocks * THREADS, heads or key heads, batch * num_splits), local (THREADS, 1, 1).
 * `shape` and the views: see attention_args.clh. Split s of row R = (batch * heads + head) * seq_q + i leaves its
 * maximum, sum (-1 where every key is excluded) and value_dim values at ((R * num_splits + s) * (value_dim + 2)).
 * Floats read from global memory by a group that sees n of the keys, with n, head_dim and value_dim rounded up to BK,
 * DC and DMAX:  BQ * head_dim + n * (head_dim + value_dim);  n * head_dim more where weights are asked for; the mask.
 * Local memory in floats: DMAX * BQ + BK * LDP + max(DC * LDK, KC * DMAX) + THREADS + (TERMS ? 9 : 6) * BQ + 1.
 *
 * Macros: DMAX the largest of head_dim and value_dim, rounded up to a power of two; TX x TY work-items; TQ, TK the
 * register tile of scores; CHUNK; and those of attention_args.clh.
 */
#include "common.clh"
#include "storage.clh"
#include "attention_args.clh"
#include "attention_tile_block.clh"
#include "attention_tile_scores.clh"
#include "attention_tile_values.clh"

/* The row's sum over its PARTS work-items; -1 where each of them saw excluded keys only. */
static inline float total_sum(local const float *exchange, int row)
{
    float total = -1.0f;
    for (int part = 0; part < PARTS; part++) {
        const float x = exchange[part * BQ + row];
        if (!(x < 0.0f))
            total = total < 0.0f ? x : total + x;
    }
    return total;
}

#if TERMS
/* A sink takes part in a row's softmax as a key without a value would, and a row has its sink even where it has no key.
 * Returns what brings there what was gathered under the maximum without it. */
static inline float add_sink(float *top, float *total, float sink)
{
    const float old = *top;
    if (sink == -INFINITY)
        return 1.0f;
    if (!(sink > old)) {
        *total += exp(sink - old);
        return 1.0f;
    }
    const float alpha = old == -INFINITY ? 0.0f : exp(old - sink);
    *top = sink;
    *total = (*total < 0.0f ? 0.0f : *total * alpha) + 1.0f;
    return alpha;
}
#endif

static inline void store_values(global out_type *out, long8 view, const struct block *b, const float *sums,
                                local const float *factor, int value_dim, int ty, int tx)
{
    TILE_UNROLL
    for (int r = 0; r < TQ; r++) {
        const bool real = ty * TQ + r < b->rows;
        const long base = block_row(b, view, ty * TQ + r);
        const float f = factor[ty * TQ + r];
        TILE_UNROLL
        for (int c = 0; c < TV; c++)
            if (real && VALUE_COLUMN(c, tx) < value_dim)
                storage_store(out, base + VALUE_COLUMN(c, tx) * view.s4, sums[r * TV + c] * f, OUT_DTYPE);
    }
}

static inline void store_partial(global float *partial, const struct block *b, int value_dim, const float *sums, int ty,
                                 int tx)
{
    TILE_UNROLL
    for (int r = 0; r < TQ; r++) {
        const bool real = ty * TQ + r < b->rows;
        global float *to = partial + block_partial(b, ty * TQ + r) * (value_dim + 2) + 2;
        TILE_UNROLL
        for (int c = 0; c < TV; c++)
            if (real && VALUE_COLUMN(c, tx) < value_dim)
                to[VALUE_COLUMN(c, tx)] = sums[r * TV + c];
    }
}

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void
attention_tile(global const q_type *q, global const k_type *k, global const v_type *v, global out_type *out,
               global const void *mask, global float *weights, global float *scores, global float *lse, long8 q_view,
               long8 k_view, long8 v_view, long8 out_view, long8 mask_view, long8 weights_view, long8 scores_view,
               long8 lse_view, long8 shape, float scale TERMS_PARAMS, global float *partial, long partial_offset,
               long keys_per_split, long num_splits)
{
    local float4 qs4[(DMAX * BQ + 3) / 4], slice4[(SLICE + 3) / 4];
    local int4 ps4[(BK * LDP + 3) / 4]; /* scores and weights as bits; nowhere read as floats, lest compilers reorder */
    local float exchange[THREADS], factor[BQ], final_top[BQ];
    local long rows[ROW_LONGS * BQ];
    local int odd;
#if TERMS
    local float slope[BQ];
#endif
    local float *qs = (local float *)qs4, *slice = (local float *)slice4;
    local int *ps = (local int *)ps4;
    const int lid = (int)get_local_id(0), ty = lid / TX, tx = lid % TX, row = lid % BQ, part = lid / BQ;
    const int head_dim = SHAPE_HEAD_DIM(shape), value_dim = SHAPE_VALUE_DIM(shape), flags = SHAPE_FLAGS(shape);
    const bool masked = (flags & MASK_FLAGS) != 0;
    struct block b;
    block_init(&b, shape, num_splits);
    const struct reach r = ATTENTION_REACH(b.batch);
    block_keys(&b, &r, keys_per_split);
    const long kv_head = b.head / (SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape));
    k += k_view.s0 + b.batch * k_view.s1 + kv_head * k_view.s2;
    v += v_view.s0 + b.batch * v_view.s1 + kv_head * v_view.s2;
    partial += partial_offset;
    load_queries(qs, &b, q, q_view, head_dim, lid);
    if (part == 0) {
        ROW_SEEN(rows, row) = min(block_query(&b, row) + r.high + 1, r.end);
        if (masked)
            ROW_MASK(rows, row) = block_row(&b, mask_view, row);
#if TERMS
        ROW_POSITION(rows, row) = block_query(&b, row) + r.offset;
        slope[row] = HEAD_SLOPE(block_head(&b, row));
#endif
    }

    float next[PER], sums[TQ * TV], top = -INFINITY, sum = 0.0f;
    bool any = false;
    int turn = 0;
    TILE_UNROLL
    for (int i = 0; i < TQ * TV; i++)
        sums[i] = 0.0f;
    if (lid == 0)
        odd = 0;
    /* The second pass is for weights and scores: the same scores again, under the final maximum and sum. */
    const int passes = WEIGHTS && (flags & (FLAG_WEIGHTS | FLAG_SCORES)) ? 2 : 1;
    for (int pass = 0; pass < passes; pass++) {
#if WEIGHTS
        if (pass == 1)
            store_excluded(weights, weights_view, scores, scores_view, &b, SHAPE_SEQ_KV(shape), flags, lid);
#endif
        if (b.start < b.end)
            fetch_keys(next, k, k_view, &b, b.start, 0, head_dim, lid);
        for (long key = b.start; key < b.end; key += BK) {
            const bool edge = masked || block_is_edge(&b, key);
            float acc[TQ * TK];
            int bits[TQ * TK];
            TILE_UNROLL
            for (int i = 0; i < TQ * TK; i++)
                acc[i] = 0.0f;
            for (int d = 0; d < head_dim; d += DC) {
                barrier(CLK_LOCAL_MEM_FENCE);
                keep_keys(slice, next, lid);
                barrier(CLK_LOCAL_MEM_FENCE);
                if (d + DC < head_dim)
                    fetch_keys(next, k, k_view, &b, key, d + DC, head_dim, lid);
                else if (pass == 0)
                    fetch_values(next, v, v_view, &b, key, value_dim, lid);
                else if (key + BK < b.end)
                    fetch_keys(next, k, k_view, &b, key + BK, 0, head_dim, lid);
                add_scores(acc, qs + d * BQ, slice, ty, tx);
            }
#if TERMS
            scale_terms(acc, key, scale, softcap, rows, slope, ty, tx);
#endif
            finish_scores(bits, acc, b.num_keys, key, edge, scale, mask, mask_view.s4, rows, ROW_LEFT, flags, ty, tx);
#if WEIGHTS
            if (pass == 1) {
                store_scores(weights, weights_view, scores, scores_view, bits, &b, SHAPE_SEQ_KV(shape), key, flags,
                             final_top, factor, ty, tx);
                continue;
            }
#endif
            keep_scores(ps, bits, ty, tx);
            barrier(CLK_LOCAL_MEM_FENCE);
            exchange[lid] = part_top(&any, ps, part, row);
            barrier(CLK_LOCAL_MEM_FENCE);
            const float alpha = part_softmax(&top, &sum, ps, exchange, part, row);
            if (part == 0)
                factor[row] = alpha;
            for (int j = 0; j < BK; j += KC) {
                /* An excluded weight must not meet NaN or infinity: a slice that has one is marked by its turn. */
                turn++;
                barrier(CLK_LOCAL_MEM_FENCE);
                if (keep_values(slice, next, lid) && edge)
                    atomic_xchg(&odd, turn);
                barrier(CLK_LOCAL_MEM_FENCE);
                if (j + KC < BK)
                    fetch_values(next, v, v_view, &b, key + j + KC, value_dim, lid);
                else if (key + BK < b.end)
                    fetch_keys(next, k, k_view, &b, key + BK, 0, head_dim, lid);
                if (j == 0)
                    rescale(sums, factor, ty);
                if (edge && odd == turn)
                    add_values_selected(sums, ps + j * LDP, slice, ty, tx);
                else
                    add_values(sums, ps + j * LDP, slice, ty, tx);
            }
        }
        if (pass == 1)
            break;
        barrier(CLK_LOCAL_MEM_FENCE);
        exchange[lid] = any ? sum : -1.0f;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (part == 0) {
            float total = total_sum(exchange, row), alpha = 1.0f;
            final_top[row] = finite_top(top);
#if TERMS
            if (num_splits == 1)
                alpha = add_sink(&top, &total, HEAD_SINK(block_head(&b, row)));
#endif
            factor[row] = total < 0.0f ? 0.0f : alpha / total;
            if (row < b.rows && num_splits > 1) {
                global float *to = partial + block_partial(&b, row) * (value_dim + 2);
                to[0] = top;
                to[1] = total;
            } else if (row < b.rows && (flags & FLAG_LSE)) {
                lse[block_row(&b, lse_view, row)] = total < 0.0f ? -INFINITY : finite_top(top) + log(total);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (num_splits > 1)
            store_partial(partial, &b, value_dim, sums, ty, tx);
        else
            store_values(out, out_view, &b, sums, factor, value_dim, ty, tx);
    }
}
