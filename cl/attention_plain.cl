/*
 * Scaled dot-product attention, the reference on the device and the fallback.
 *
 *   out[i,:] = sum_j weight[i,j] v[j,:],  weight[i,j] = exp(score[i,j]) / sum_j' exp(score[i,j']),
 *   score[i,j] = scale * q[i,:].k[j,:] + mask[i,j]
 *
 * (Vaswani et al. 2017, eq. 1; with TERMS as in include/qkv/attention.h), over the keys j not excluded. One work-item does
 * CHUNK values of one query of one head: maximum and sum in one pass (Milakov and Gimelshein 2018), then the output
 * with the scores computed again: no scratch memory, whatever the sizes, and at most
 * 3 * seq_kv * (head_dim / 16 + head_dim % 16 / 4 + head_dim % 4 + 1) + CHUNK iterations of loops, which some devices
 * count (cl/probe.cl); 2 instead of 3 without weights and scores.
 *
 * NDRange: (batch * num_heads * seq_q, rounded up; value_dim / CHUNK, rounded up), local size (any, 1). `shape` and the views: see attention_args.clh.
 */
#include "common.clh"
#include "storage.clh"
#include "attention_args.clh"
#include "attention_dot.clh"

#define CHUNK 16

struct row {
    global const q_type *q;
    global const k_type *k;
    global const v_type *v;
    global const void *mask;
    long q_step, k_row, k_step, v_row, v_step;
    long mask_base, mask_step;
    long first, visible; /* the keys from `first` and below `visible` are within reach */
    int head_dim, flags;
    float scale;
#if TERMS
    long position;
    float softcap, slope, sink;
#endif
};

/* False where the key is excluded. */
static bool row_score(float *out, const struct row *row, long j)
{
    float add = 0.0f;
    if (row->flags & (FLAG_MASK_BOOL | FLAG_MASK_ADD))
        add = attention_mask(row->mask, row->flags, row->mask_base + j * row->mask_step);
    if (add == -INFINITY)
        return false;
    const float dot = attention_dot(row->q, row->q_step, row->k + j * row->k_row, row->k_step, row->head_dim);
#if TERMS
    *out = attention_score(row->scale * dot, row->softcap, row->slope, row->position - j) + add;
#else
    *out = row->scale * dot + add;
#endif
    return true;
}

/* top: the maximum, 0 where it is -inf. False where every key is excluded and there is no sink. */
static bool row_sum(float *top, float *sum, const struct row *row)
{
    bool any = false;
    float m = -INFINITY, l = 0.0f, s;
#if TERMS
    if (row->sink != -INFINITY) {
        any = true;
        m = row->sink;
        l = 1.0f;
    }
#endif
    for (long j = row->first; j < row->visible; j++) {
        if (!row_score(&s, row, j))
            continue;
        any = true;
        if (s > m) {
            l *= exp(m - s);
            m = s;
        }
        l += exp(s - (m == -INFINITY ? 0.0f : m));
    }
    *top = m == -INFINITY ? 0.0f : m;
    *sum = l;
    return any;
}

static void row_values(global out_type *out, long step, const struct row *row, float top, float inverse, int first,
                       int value_dim)
{
    const int last = min(CHUNK, value_dim - first) - 1;
    global const v_type *v = row->v + row->first * row->v_row + first * row->v_step;
    float16 acc = (float16)(0.0f);
    float lane[CHUNK], s;
#define VALUE(d) STORAGE_AT(V_DTYPE, v + min(d, last) * row->v_step)
    for (long j = row->first; j < row->visible; j++, v += row->v_row)
        if (row_score(&s, row, j)) {
            const float16 value =
                (float16)(VALUE(0), VALUE(1), VALUE(2), VALUE(3), VALUE(4), VALUE(5), VALUE(6), VALUE(7), VALUE(8),
                          VALUE(9), VALUE(10), VALUE(11), VALUE(12), VALUE(13), VALUE(14), VALUE(15));
            acc = QKV_FMA((float16)(exp(s - top) * inverse), value, acc);
        }
    vstore16(acc, 0, lane);
    for (int d = 0; d <= last; d++)
        storage_store(out, (first + d) * step, lane[d], OUT_DTYPE);
}

__kernel void attention_plain(global const q_type *q, global const k_type *k, global const v_type *v,
                              global out_type *out,
                              global const void *mask, global float *weights, global float *scores,
                              global float *lse, long8 q_view, long8 k_view, long8 v_view, long8 out_view,
                              long8 mask_view, long8 weights_view, long8 scores_view, long8 lse_view, long8 shape,
                              float scale TERMS_PARAMS, long rows)
{
    const long index = (long)get_global_id(0);
    if (index >= rows)
        return;
    const long seq_q = SHAPE_SEQ_Q(shape), seq_kv = SHAPE_SEQ_KV(shape), heads = SHAPE_HEADS(shape);
    const long i = index % seq_q, head = index / seq_q % heads, batch = index / seq_q / heads;
    const long kv_head = head / (heads / SHAPE_KV_HEADS(shape));
    struct row row;
    row.q = q + attention_row(q_view, batch, head, i, seq_q);
    row.k = k + attention_row(k_view, batch, kv_head, 0, 1);
    row.v = v + attention_row(v_view, batch, kv_head, 0, 1);
    row.mask = mask;
    row.mask_base = attention_row(mask_view, batch, head, i, seq_q);
    row.mask_step = mask_view.s4;
    row.q_step = q_view.s4;
    row.k_row = k_view.s3;
    row.k_step = k_view.s4;
    row.v_row = v_view.s3;
    row.v_step = v_view.s4;
    const struct reach r = ATTENTION_REACH(batch);
    row.first = clamp(i + r.low, 0L, r.end);
    row.visible = clamp(i + r.high + 1, 0L, r.end);
    row.head_dim = SHAPE_HEAD_DIM(shape);
    row.flags = SHAPE_FLAGS(shape);
    row.scale = scale;
#if TERMS
    row.position = i + r.offset;
    row.softcap = softcap;
    row.slope = HEAD_SLOPE(head);
    row.sink = HEAD_SINK(head);
#endif

    float top, sum, s;
    const bool any = row_sum(&top, &sum, &row);
    const float inverse = any ? 1.0f / sum : 0.0f;
    row_values(out + attention_row(out_view, batch, head, i, seq_q), out_view.s4, &row, top, inverse,
               (int)get_global_id(1) * CHUNK, SHAPE_VALUE_DIM(shape));
    if (get_global_id(1) > 0)
        return;
    if (row.flags & FLAG_LSE)
        lse[attention_row(lse_view, batch, head, i, seq_q)] = any ? top + log(sum) : -INFINITY;
    if (!(row.flags & (FLAG_WEIGHTS | FLAG_SCORES)))
        return;
    for (long j = 0; j < seq_kv; j++) {
        const bool seen = j >= row.first && j < row.visible && row_score(&s, &row, j);
        if (row.flags & FLAG_SCORES)
            scores[attention_row(scores_view, batch, head, i, seq_q) + j * scores_view.s4] = seen ? s : -INFINITY;
        if (row.flags & FLAG_WEIGHTS)
            weights[attention_row(weights_view, batch, head, i, seq_q) + j * weights_view.s4] =
                seen ? exp(s - top) * inverse : 0.0f;
    }
}
