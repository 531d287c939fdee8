/*
 * Scaled dot-product attention for CPU devices, few query rows against many keys: decoding with a KV cache.
 *
 *   out[r,:] = sum_j exp(score[r,j] - lse[r]) v[j,:],  score[r,j] = scale * q[r,:].k[j,:] + mask[r,j]
 *
 * Dims lie along the vector lanes, so that K and V stream from memory as they lie; the dot products of VW keys are
 * reduced together. The rows of a key head's whole group share one pass. Where there are few heads the keys are
 * split over several work-items, each with a maximum and sum of its own, and attention_merge brings the parts
 * together (Flash-Decoding, Dao et al. 2023).
 *
 * NDRange of attention_decode: (splits, key heads, batch), of attention_merge: (rows, key heads, batch); local size 1.
 * part[((batch * num_kv_heads + kv_head) * splits + split) * rows + row][value_dim + VW] holds a part's output, then
 * its maximum, sum, and whether it saw a key. `shape` and the views: see attention_args.clh; dims of K and V are
 * adjacent, head_dim and value_dim multiples of VW.
 *
 * Macros: VW lanes, MAX_ROWS query rows, KB keys a block, MAX_DIM, MASK.
 */
#include "common.clh"
#include "exp2.clh"
#include "attention_args.clh"

#ifndef MAX_ROWS
#define MAX_ROWS 16
#endif
#ifndef KB
#define KB 64
#endif
#ifndef MAX_DIM
#define MAX_DIM 64
#endif
#ifndef MASK
#define MASK 0
#endif
#define CHUNKS (MAX_DIM / VW)
#define GROUPS (KB / VW)
#if VW == 4
#define KEY_STEP 4
#define REDUCE_STAGES 2
#else
#define KEY_STEP 8
#if VW == 8
#define REDUCE_STAGES 3
#else
#define REDUCE_STAGES 4
#endif
#endif

#define NATURAL_UNITS MASK
#include "attention_units.clh"

static vec lane_numbers(void)
{
    int n[VW];
    for (int i = 0; i < VW; i++)
        n[i] = i;
    return QKV_PASTE(convert_float, VW)(QKV_PASTE(vload, VW)(0, n));
}

static float exp2_one(float x)
{
    return qkv_exp2((vec)(x)).s0;
}

static float finite_top(float top)
{
    return top == -INFINITY ? 0.0f : top;
}

/* Lane t: the sum of acc[t]'s lanes. */
static vec reduce_together(vec *acc)
{
#pragma unroll
    for (int stage = 1; stage <= REDUCE_STAGES; stage++) {
#pragma unroll
        for (int i = 0; i < VW >> stage; i++) {
            const vec a = acc[i], b = acc[i + (VW >> stage)];
            vec low, high;
            low.even = a.lo;
            low.odd = b.lo;
            high.even = a.hi;
            high.odd = b.hi;
            acc[i] = low + high;
        }
    }
    return acc[0];
}

/* Lane t: x . k[t][:]; keys past n repeat the last one. */
static vec score_keys(const vec *x, global const float *k, long key_stride, int n, int chunks)
{
    vec acc[VW];
#pragma unroll
    for (int first = 0; first < VW; first += KEY_STEP) {
        global const float *row[KEY_STEP];
        vec part[KEY_STEP];
#pragma unroll
        for (int t = 0; t < KEY_STEP; t++) {
            row[t] = k + min(first + t, n - 1) * key_stride;
            part[t] = (vec)(0.0f);
        }
        for (int c = 0; c < chunks; c++) {
            const vec y = x[c];
#pragma unroll
            for (int t = 0; t < KEY_STEP; t++)
                part[t] = QKV_FMA(y, QKV_VLOAD(row[t] + c * VW), part[t]);
        }
#pragma unroll
        for (int t = 0; t < KEY_STEP; t++)
            acc[first + t] = part[t];
    }
    return reduce_together(acc);
}

#if MASK
/* What the mask adds for VW keys; those past n repeat the last one. */
static vec load_mask(global const void *mask, int flags, long base, long step, int n)
{
    float add[VW];
    if (step == 1 && n >= VW && flags & FLAG_MASK_ADD)
        return QKV_VLOAD((global const float *)mask + base);
    for (int t = 0; t < VW; t++)
        add[t] = attention_mask(mask, flags, base + min(t, n - 1) * step);
    return QKV_VLOAD(add);
}
#endif

/* o[:] += sum_j p[j] v[j][:] for 8, 4 or 1 vectors of dims. */
static void add_chunks(vec *o, const float *p, global const float *v, long key_stride, int n, const int count)
{
    vec acc[8];
#pragma unroll
    for (int t = 0; t < 8; t++)
        acc[t] = t < count ? o[t] : (vec)(0.0f);
    for (int j = 0; j < n; j++) {
        const vec y = (vec)(p[j]);
#pragma unroll
        for (int t = 0; t < 8; t++)
            if (t < count)
                acc[t] = QKV_FMA(y, QKV_VLOAD(v + t * VW), acc[t]);
        v += key_stride;
    }
#pragma unroll
    for (int t = 0; t < 8; t++)
        if (t < count)
            o[t] = acc[t];
}

/* The same for all dims. In a block with excluded keys these are passed over. */
static void add_values(vec *o, const float *p, global const float *v, long key_stride, int n, int chunks, bool edge)
{
    int c = 0;
    if (edge) {
        for (int j = 0; j < n; j++)
            for (int e = 0; e < chunks && as_int(p[j]) != MINUS_ZERO; e++)
                o[e] = QKV_FMA((vec)(p[j]), QKV_VLOAD(v + j * key_stride + e * VW), o[e]);
        return;
    }
    for (; c + 8 <= chunks; c += 8)
        add_chunks(o + c, p, v + c * VW, key_stride, n, 8);
    for (; c + 4 <= chunks; c += 4)
        add_chunks(o + c, p, v + c * VW, key_stride, n, 4);
    for (; c < chunks; c++)
        add_chunks(o + c, p, v + c * VW, key_stride, n, 1);
}

/* What one row has gathered. */
struct gathered {
    float top;
    vec sum;
    bool any;
};

/* Scores, weights and values of one block of n keys for one row. The block's keys below `visible` pass causality. */
static void add_block(struct gathered *row, vec *o, const vec *x, global const float *k, long k_stride,
                      global const float *v, long v_stride, int n, int visible, long8 shape, global const void *mask,
                      long mask_base, long mask_step)
{
    const int chunks = SHAPE_HEAD_DIM(shape) / VW, value_chunks = SHAPE_VALUE_DIM(shape) / VW;
    const vec lane = lane_numbers();
    vec s[GROUPS], best = (vec)(-INFINITY);
    ivec out_of[GROUPS], some = (ivec)(0);
    const int groups = (n + VW - 1) / VW;
    for (int g = 0; g < groups; g++) {
        const int left = n - g * VW;
        vec score = score_keys(x, k + g * VW * k_stride, k_stride, left, chunks);
        ivec excluded = lane >= (vec)((float)(min(n, visible) - g * VW));
#if MASK
        if (SHAPE_FLAGS(shape) & (FLAG_MASK_BOOL | FLAG_MASK_ADD)) {
            const vec add = load_mask(mask, SHAPE_FLAGS(shape), mask_base + g * VW * mask_step, mask_step, left);
            excluded |= add == (vec)(-INFINITY);
            score += add;
        }
#endif
        best = (score > best) & ~excluded ? score : best;
        some |= excluded;
        row->any |= any(~excluded);
        s[g] = score;
        out_of[g] = excluded;
    }
    float top = row->top;
    for (int t = 0; t < VW; t++)
        top = fmax(top, ((const float *)&best)[t]);
    const float alpha = exp2_one(TO_LOG2((vec)(row->top - finite_top(top))).s0);
    row->sum *= (vec)(alpha);
    row->top = top;
    for (int g = 0; g < groups; g++) {
        const vec p = qkv_exp2(TO_LOG2(s[g] - (vec)(finite_top(top))));
        s[g] = out_of[g] ? QKV_AS_VEC((ivec)(MINUS_ZERO)) : p;
        row->sum += s[g];
    }
    for (int c = 0; c < value_chunks; c++)
        o[c] *= (vec)(alpha);
    add_values(o, (const float *)s, v, v_stride, n, value_chunks, any(some) != 0);
}

/* out[r,:] = factor * o and, where asked for, the row's log-sum-exp. */
static void finish_row(global float *out, long8 out_view, global float *lse, long8 lse_view, const vec *o, float top,
                       float sum, bool any, long row, long8 shape)
{
    const long batch = (long)get_group_id(2);
    const long head = (long)get_group_id(1) * (SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape));
    const long base = attention_row(out_view, batch, head, row, SHAPE_SEQ_Q(shape));
    const float inverse = any ? 1.0f / sum : 0.0f;
    for (int d = 0; d < SHAPE_VALUE_DIM(shape); d++)
        out[base + d * out_view.s4] = ((const float *)o)[d] * inverse;
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

__kernel void attention_decode(global const float *q, global const float *k, global const float *v, global float *out,
                               global const void *mask, global float *weights, global float *scores,
                               global float *lse, long8 q_view, long8 k_view, long8 v_view, long8 out_view,
                               long8 mask_view, long8 weights_view, long8 scores_view, long8 lse_view, long8 shape,
                               float scale, global float *part, long part_offset, long keys_per_split)
{
    vec x[MAX_ROWS * CHUNKS], o[MAX_ROWS * CHUNKS];
    struct gathered gathered[MAX_ROWS];
    const long seq_q = SHAPE_SEQ_Q(shape), group = SHAPE_HEADS(shape) / SHAPE_KV_HEADS(shape);
    const int rows = (int)(group * seq_q);
    const long split = (long)get_group_id(0), kv_head = (long)get_group_id(1), batch = (long)get_group_id(2);
    const long from = split * keys_per_split, to = min(from + keys_per_split, SHAPE_SEQ_KV(shape));
    k += k_view.s0 + batch * k_view.s1 + kv_head * k_view.s2;
    v += v_view.s0 + batch * v_view.s1 + kv_head * v_view.s2;
    for (int r = 0; r < rows; r++) {
        const long base = attention_row(q_view, batch, kv_head * group, r, seq_q);
        for (int d = 0; d < SHAPE_HEAD_DIM(shape); d++)
            ((float *)(x + r * CHUNKS))[d] = q[base + d * q_view.s4] * (scale * UNIT);
        for (int c = 0; c < CHUNKS; c++)
            o[r * CHUNKS + c] = (vec)(0.0f);
        gathered[r].top = -INFINITY;
        gathered[r].sum = (vec)(0.0f);
        gathered[r].any = false;
    }
    for (long first = from; first < to; first += KB) {
        const int n = (int)min((long)KB, to - first);
        for (int r = 0; r < rows; r++) {
            const int visible = (int)clamp(r % seq_q + SHAPE_OFFSET(shape) + 1 - first, 0L, (long)KB);
            if (visible > 0)
                add_block(gathered + r, o + r * CHUNKS, x + r * CHUNKS, k + first * k_view.s3, k_view.s3,
                          v + first * v_view.s3, v_view.s3, n, visible, shape, mask,
                          attention_row(mask_view, batch, kv_head * group, r, seq_q) + first * mask_view.s4,
                          mask_view.s4);
        }
    }
    const long stride = SHAPE_VALUE_DIM(shape) + VW, splits = (long)get_num_groups(0);
    part += part_offset + ((batch * SHAPE_KV_HEADS(shape) + kv_head) * splits + split) * rows * stride;
    for (int r = 0; r < rows; r++) {
        const vec *row = o + r * CHUNKS;
        const float sum = lane_sum(gathered[r].sum);
        if (splits == 1) {
            finish_row(out, out_view, lse, lse_view, row, gathered[r].top, sum, gathered[r].any, r, shape);
            continue;
        }
        for (int d = 0; d < SHAPE_VALUE_DIM(shape); d += VW)
            QKV_VSTORE(row[d / VW], part + r * stride + d);
        part[(r + 1) * stride - VW] = gathered[r].top;
        part[(r + 1) * stride - VW + 1] = sum;
        part[(r + 1) * stride - VW + 2] = gathered[r].any ? 1.0f : 0.0f;
    }
}

__kernel void attention_merge(global float *out, global float *lse, long8 out_view, long8 lse_view, long8 shape,
                              global const float *part, long part_offset, long splits)
{
    vec o[CHUNKS];
    const long row = (long)get_group_id(0), rows = (long)get_num_groups(0);
    const long head = (long)get_group_id(2) * SHAPE_KV_HEADS(shape) + (long)get_group_id(1);
    const int dim = SHAPE_VALUE_DIM(shape);
    const long stride = (dim + VW) * rows;
    float top = -INFINITY, sum = 0.0f;
    bool any = false;
    part += part_offset + (head * splits * rows + row) * (dim + VW);
    for (long s = 0; s < splits; s++) {
        top = fmax(top, part[s * stride + dim]);
        any |= part[s * stride + dim + 2] != 0.0f;
    }
    for (int c = 0; c < dim / VW; c++)
        o[c] = (vec)(0.0f);
    for (long s = 0; s < splits; s++) {
        const float alpha = exp2_one(TO_LOG2((vec)(part[s * stride + dim] - finite_top(top))).s0);
        sum = QKV_FMA(alpha, part[s * stride + dim + 1], sum);
        for (int c = 0; c < dim / VW; c++)
            o[c] = QKV_FMA((vec)(alpha), QKV_VLOAD(part + s * stride + c * VW), o[c]);
    }
    finish_row(out, out_view, lse, lse_view, o, top, sum, any, row, shape);
}
