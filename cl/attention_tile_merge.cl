/*
 * Combines what attention_tile.cl left for each split of a row's keys ("Flash-Decoding", Dao et al. 2023):
 *
 *   M = max_s m[s],  L = sum_s exp(m[s] - M) l[s],  out = sum_s exp(m[s] - M) o[s] / L,  lse = M + log(L)
 *
 * over the splits s with a key that is not excluded (l[s] is -1 in the others) and, with TERMS, the row's sink, which
 * has no value.
 *
 * NDRange: (value_dim rounded up to the group, batch * num_heads * seq_q). Row R's split s lies at
 * partial_offset + (R * num_splits + s) * (value_dim + 2): m, l, o. `shape` and the views: see attention_args.clh.
 */
#include "common.clh"
#include "storage.clh"
#include "attention_args.clh"

#if TERMS
#define MERGE_PARAMS , global const float *sinks, long8 term_views, long8 reach
#else
#define MERGE_PARAMS
#endif

kernel void attention_tile_merge(global const float *partial, long partial_offset, long num_splits,
                                 global out_type *out, long8 out_view, global float *lse, long8 lse_view,
                                 long8 shape MERGE_PARAMS)
{
    const long row = (long)get_global_id(1), i = row % SHAPE_SEQ_Q(shape);
    const long above = row / SHAPE_SEQ_Q(shape), head = above % SHAPE_HEADS(shape), batch = above / SHAPE_HEADS(shape);
    const int d = (int)get_global_id(0), value_dim = SHAPE_VALUE_DIM(shape);
    if (d >= value_dim)
        return;
    const long step = value_dim + 2;
    global const float *from = partial + partial_offset + row * num_splits * step;
    bool any = false;
    float top = -INFINITY, sum = 0.0f, value = 0.0f;
    for (long s = 0; s < num_splits; s++) {
        const float m = from[s * step];
        any = any || !(from[s * step + 1] < 0.0f);
        top = m > top ? m : top;
    }
#if TERMS
    const float sink = HEAD_SINK(head);
    if (sink != -INFINITY) {
        any = true;
        sum = sink > top ? 1.0f : exp(sink - top);
        top = sink > top ? sink : top;
    }
#endif
    top = top == -INFINITY ? 0.0f : top;
    for (long s = 0; s < num_splits; s++) {
        const float w = exp(from[s * step] - top), l = from[s * step + 1], o = from[s * step + 2 + d];
        sum = l < 0.0f ? sum : QKV_FMA(w, l, sum);
        value = l < 0.0f ? value : QKV_FMA(w, o, value);
    }
    storage_store(out, out_view.s0 + batch * out_view.s1 + head * out_view.s2 + i * out_view.s3 + d * out_view.s4,
                  any ? value / sum : 0.0f, OUT_DTYPE);
    if (d == 0 && (SHAPE_FLAGS(shape) & FLAG_LSE))
        lse[lse_view.s0 + batch * lse_view.s1 + head * lse_view.s2 + i * lse_view.s3] =
            any ? top + log(sum) : -INFINITY;
}
