/*
 * Scaled dot-product attention for CPU devices, few query rows against many keys: decoding with a KV cache.
 *
 *   out[r,:] = sum_j exp(score[r,j] - lse[r]) v[j,:],  score[r,j] = scale * q[r,:].k[j,:] + mask[r,j],
 *
 * with TERMS as in include/qkv/attention.h; keys before and behind every row's window are not touched.
 * Dims lie along the vector lanes, so that K and V stream from memory as they lie; dot products are reduced VW at a
 * time. The rows of a key head's whole group share one pass, four at a time in registers (attention_decode_tile.clh);
 * since a tile computes long on what it reads, it asks for the values while it works on the keys and for the next keys
 * while it works on the values. Where there are few heads the keys are split over several work-items, each with a
 * maximum and sum of its own, and attention_merge brings the parts together (Flash-Decoding, Dao et al. 2023).
 *
 * NDRange of attention_decode: (splits, key heads, batch), of attention_merge: (rows, key heads, batch); local size 1.
 * part[((batch * num_kv_heads + kv_head) * splits + split) * rows + row][VALUE_DIM + VW] holds a part's output, then
 * its maximum, sum, and whether it saw a key. `shape` and the views: see attention_args.clh; dims of K and V are
 * adjacent.
 *
 * Macros: VW lanes, HEAD_DIM and VALUE_DIM (multiples of VW), MAX_ROWS query rows (a multiple of 4); features and
 * storage: attention_args.clh.
 */
#include "common.clh"
#include "storage.clh"
#include "exp2.clh"
#include "softcap.clh"
#include "attention_args.clh"

#ifndef MAX_ROWS
#define MAX_ROWS 16
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef VALUE_DIM
#define VALUE_DIM 64
#endif
#define CHUNKS (HEAD_DIM / VW)
#define VALUE_CHUNKS (VALUE_DIM / VW)
#define PART (VALUE_DIM + VW) /* floats a row's part takes */
/* Rows of a tile, unless there is one row alone. */
#define TILE 4
/* Keys a block. What a tile works on stays in the first cache beside what it fetches ahead. */
#define BLOCK 32
#define GROUPS (BLOCK / VW)

#define NATURAL_UNITS (MASK || TERMS)
#include "attention_units.clh"

#if VW == 16
#define LANE_NUMBERS ((ivec)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#elif VW == 8
#define LANE_NUMBERS ((ivec)(0, 1, 2, 3, 4, 5, 6, 7))
#else
#define LANE_NUMBERS ((ivec)(0, 1, 2, 3))
#endif

static float exp2_one(float x)
{
    return qkv_exp2((vec)(x)).s0;
}

static float finite_top(float top)
{
    return top == -INFINITY ? 0.0f : top;
}

/* Lanes whose number has the bit `distance` take from b, the others from a: each the sum of its own and of the lane
 * at that distance. */
#define FOLD(a, b, swap, distance) \
    (select(a, b, (lane & distance) != 0) + select(b, a, (lane & distance) != 0).swap)
#if VW == 16
#define SWAP1 s1032547698badcfe
#define SWAP2 s23016745ab89efcd
#define SWAP4 s45670123cdef89ab
#define SWAP8 s89abcdef01234567
#elif VW == 8
#define SWAP1 s10325476
#define SWAP2 s23016745
#define SWAP4 s45670123
#else
#define SWAP1 s1032
#define SWAP2 s2301
#endif

/* Lane t: the sum of acc[t]'s lanes. */
static vec reduce_together(const vec *acc)
{
    const ivec lane = LANE_NUMBERS;
    vec ones[VW / 2], twos[VW / 4];
#pragma unroll
    for (int i = 0; i < VW / 2; i++)
        ones[i] = FOLD(acc[2 * i], acc[2 * i + 1], SWAP1, 1);
#pragma unroll
    for (int i = 0; i < VW / 4; i++)
        twos[i] = FOLD(ones[2 * i], ones[2 * i + 1], SWAP2, 2);
#if VW == 4
    return twos[0];
#else
    const vec low = FOLD(twos[0], twos[1], SWAP4, 4);
#if VW == 8
    return low;
#else
    const vec high = FOLD(twos[2], twos[3], SWAP4, 4);
    return FOLD(low, high, SWAP8, 8);
#endif
#endif
}

/* The largest lane; none is NaN. */
static float largest_lane(vec v)
{
    v = v > v.SWAP1 ? v : v.SWAP1;
    v = v > v.SWAP2 ? v : v.SWAP2;
#if VW > 4
    v = v > v.SWAP4 ? v : v.SWAP4;
#endif
#if VW > 8
    v = v > v.SWAP8 ? v : v.SWAP8;
#endif
    return v.s0;
}

#define ROWS 1
#define KEYS VW
#define KEY_STEP 1
#define CHUNK_UNROLL 8
#define TILED(name) name##_single
#include "attention_decode_tile.clh"
#undef ROWS
#undef KEYS
#undef KEY_STEP
#undef CHUNK_UNROLL
#undef TILED
#define ROWS TILE
#define KEYS 4
#define KEY_STEP 4
#define CHUNK_UNROLL 1
#define TILED(name) name##_tile
#include "attention_decode_tile.clh"

#include "attention_decode_rows.clh"

/* out[r,:] = o / sum and, where asked for, the row's log-sum-exp. */
static void finish_row(global out_type *out, long8 out_view, global float *lse, long8 lse_view, const vec *o, float top,
                       float sum, bool any, long row, long8 shape)
{
    const long batch = (long)get_group_id(2);
    const long head = (long)get_group_id(1) * (SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape));
    const long base = attention_row(out_view, batch, head, row, SHAPE_SEQ_Q(shape));
    const float inverse = any ? 1.0f / sum : 0.0f;
    if (out_view.s4 == 1)
        for (int c = 0; c < VALUE_CHUNKS; c++)
            QKV_PASTE(storage_store, VW)(out, base + c * VW, o[c] * (vec)(inverse), OUT_DTYPE);
    else
        for (int d = 0; d < VALUE_DIM; d++)
            storage_store(out, base + d * out_view.s4, ((const float *)o)[d] * inverse, OUT_DTYPE);
    if (SHAPE_FLAGS(shape) & FLAG_LSE)
        lse[attention_row(lse_view, batch, head, row, SHAPE_SEQ_Q(shape))] =
            any ? top * TO_NATURAL + log(sum) : -INFINITY;
}

static float lane_sum(vec v)
{
    float sum = 0.0f;
    for (int t = 0; t < VW; t++)
        sum += ((const float *)&v)[t];
    return sum;
}

/* Rows past the last are zeros, so that every tile is full. */
static void load_rows(vec *x, global const q_type *q, long8 q_view, long batch, long head, int rows, long8 shape,
                      float factor)
{
    for (int r = 0; r < rows; r++) {
        global const q_type *row = q + attention_row(q_view, batch, head, r, SHAPE_SEQ_Q(shape));
        float *to = (float *)(x + r * CHUNKS);
        if (q_view.s4 == 1)
            for (int c = 0; c < CHUNKS; c++)
                x[r * CHUNKS + c] = STORAGE_VEC(Q_DTYPE, row + c * VW) * (vec)(factor);
        else
            for (int d = 0; d < HEAD_DIM; d++)
                to[d] = STORAGE_AT(Q_DTYPE, row + d * q_view.s4) * factor;
    }
    for (int i = rows * CHUNKS; i < (rows + TILE - 1) / TILE * TILE * CHUNKS; i++)
        x[i] = (vec)(0.0f);
}

#if TERMS
/* The keys of one of `splits` parts: how many there are is known here only. */
static long share_keys(long keys, long splits)
{
    return ((keys + splits - 1) / splits + BLOCK - 1) / BLOCK * BLOCK;
}
#endif

/* Where the parts are merged: the row's output, maximum, sum and whether it saw a key. */
static void store_part(global float *part, const vec *o, float top, float sum, bool any)
{
    for (int c = 0; c < VALUE_CHUNKS; c++)
        QKV_VSTORE(o[c], part + c * VW);
    part[VALUE_DIM] = top;
    part[VALUE_DIM + 1] = sum;
    part[VALUE_DIM + 2] = any ? 1.0f : 0.0f;
}

__kernel void attention_decode(global const q_type *q, global const k_type *k, global const v_type *v,
                               global out_type *out, global const void *mask, global float *weights, global float *scores,
                               global float *lse, long8 q_view, long8 k_view, long8 v_view, long8 out_view,
                               long8 mask_view, long8 weights_view, long8 scores_view, long8 lse_view, long8 shape,
                               float scale TERMS_PARAMS, global float *part, long part_offset, long keys_per_split)
{
    vec x[MAX_ROWS * CHUNKS], o[MAX_ROWS * VALUE_CHUNKS];
    float s[TILE * BLOCK];
    struct gathered gathered[MAX_ROWS];
    const long seq_q = SHAPE_SEQ_Q(shape), group = SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape);
    const int rows = (int)(group * seq_q);
    const long splits = (long)get_num_groups(0), split = (long)get_group_id(0), kv_head = (long)get_group_id(1), batch = (long)get_group_id(2);
    const struct reach far = ATTENTION_REACH(batch);
    const long seen = min(far.end, seq_q + far.high); /* by the last query */
    long from = split * keys_per_split;
#if TERMS
    const long begin = clamp(far.low, 0L, max(seen, 0L));
    keys_per_split = share_keys(seen - begin, splits);
    from = begin + split * keys_per_split;
#endif
    const long to = min(from + keys_per_split, seen);
    k += k_view.s0 + batch * k_view.s1 + kv_head * k_view.s2;
    v += v_view.s0 + batch * v_view.s1 + kv_head * v_view.s2;
    load_rows(x, q, q_view, batch, kv_head * group, rows, shape, scale * UNIT);
    for (int i = 0; i < (rows + TILE - 1) / TILE * TILE * VALUE_CHUNKS; i++)
        o[i] = (vec)(0.0f);
    for (int r = 0; r < rows; r++) {
        start_row(gathered + r, (int)(r % seq_q));
#if TERMS
        const long head = kv_head * group + r / seq_q;
        gathered[r].slope = HEAD_SLOPE(head);
        gathered[r].softcap = softcap;
        gathered[r].position = gathered[r].query + far.offset;
        if (split == 0)
            take_sink(gathered + r, HEAD_SINK(head));
#endif
    }
    for (long first = from; first < to; first += BLOCK) {
        const int n = (int)min((long)BLOCK, to - first);
        global const k_type *key = k + first * k_view.s3;
        global const v_type *value = v + first * v_view.s3;
        for (int tile = 0; tile < rows; tile += TILE) {
            const int end = min(tile + TILE, rows);
            bool excluded = false;
            if (rows == 1)
                score_single(s, x, key, k_view.s3, value, v_view.s3, n);
            else
                score_tile(s, x + tile * CHUNKS, key, k_view.s3, value, v_view.s3, n);
            for (int r = tile; r < end; r++)
                excluded |= weigh(gathered + r, o + r * VALUE_CHUNKS, s + (r - tile) * BLOCK, n, first, &far,
                                  SHAPE_FLAGS(shape), mask,
                                  attention_row(mask_view, batch, kv_head * group, r, seq_q) + first * mask_view.s4,
                                  mask_view.s4);
            if (!excluded && rows == 1)
                add_single(o, s, value, v_view.s3, key + BLOCK * k_view.s3, k_view.s3, n);
            else if (!excluded)
                add_tile(o + tile * VALUE_CHUNKS, s, value, v_view.s3, key + BLOCK * k_view.s3, k_view.s3, n);
            else
                for (int r = tile; r < end; r++)
                    add_seen(o + r * VALUE_CHUNKS, s + (r - tile) * BLOCK, value, v_view.s3, n);
        }
    }
    part += part_offset + ((batch * SHAPE_KV_HEADS(shape) + kv_head) * splits + split) * rows * PART;
    for (int r = 0; r < rows; r++) {
        const vec *row = o + r * VALUE_CHUNKS;
        const float sum = lane_sum(gathered[r].sum);
        if (splits == 1)
            finish_row(out, out_view, lse, lse_view, row, gathered[r].top, sum, gathered[r].any, r, shape);
        else
            store_part(part + r * PART, row, gathered[r].top, sum, gathered[r].any);
    }
}

__kernel void attention_merge(global out_type *out, global float *lse, long8 out_view, long8 lse_view, long8 shape,
                              global const float *part, long part_offset, long splits)
{
    vec o[VALUE_CHUNKS];
    const long row = (long)get_group_id(0), rows = (long)get_num_groups(0);
    const long head = (long)get_group_id(2) * SHAPE_KV_HEADS(shape) + (long)get_group_id(1);
    const long stride = PART * rows;
    float top = -INFINITY, sum = 0.0f;
    bool any = false;
    part += part_offset + (head * splits * rows + row) * PART;
    for (long s = 0; s < splits; s++) {
        top = fmax(top, part[s * stride + VALUE_DIM]);
        any |= part[s * stride + VALUE_DIM + 2] != 0.0f;
    }
    for (int c = 0; c < VALUE_CHUNKS; c++)
        o[c] = (vec)(0.0f);
    for (long s = 0; s < splits; s++) {
        const float alpha = exp2_one(TO_LOG2((vec)(part[s * stride + VALUE_DIM] - finite_top(top))).s0);
        sum = QKV_FMA(alpha, part[s * stride + VALUE_DIM + 1], sum);
        for (int c = 0; c < VALUE_CHUNKS; c++)
            o[c] = QKV_FMA((vec)(alpha), QKV_VLOAD(part + s * stride + c * VW), o[c]);
    }
    finish_row(out, out_view, lse, lse_view, o, top, sum, any, row, shape);
}
