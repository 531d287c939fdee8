/*
 * What is derived from scores and weights on any device, from the log-sum-exp of every query. See report_args.clh.
 *
 *   report_pairs     one work-item a query and key: a score's stage, a weight, in a storage dtype
 *   report_received  one work-item a key: its weights, summed over the queries that see it in their order
 *   report_top       one work-item a query: the n keys of largest weight
 *
 * No two work-items write one element, so results do not depend on how they are scheduled. With
 * d = head_dim / 16 + head_dim % 16 / 4 + head_dim % 4 iterations for a product, loops make at most
 * seq_q * (d + 1) and seq_kv * (d + 7) + 9 * MOST_TOP.
 *
 * NDRange: (keys; queries, or queries times batches and heads), (keys; batches and heads) and (queries; batches and
 * heads), the first of each rounded up; local size (any, 1).
 */
#include "common.clh"
#include "storage.clh"
#include "attention_args.clh"
#include "attention_dot.clh"
#include "report_args.clh"
#include "report_heap.clh"

kernel void report_pairs(REPORT_ARGS, int stage, int dtype)
{
    const long j = (long)get_global_id(0), row = (long)get_global_id(1), seq_q = SHAPE_SEQ_Q(shape);
    if (j >= SHAPE_SEQ_KV(shape))
        return;
    const long i = row % seq_q, plane = row / seq_q;
    const long head = plane % SHAPE_HEADS(shape), batch = plane / SHAPE_HEADS(shape);
    struct head h;
    HEAD_SET(h, batch, head)
    const float add = head_mask(&h, i, j);
    const bool seen = add != -INFINITY;
    float raw = 0.0f;
    if (seen || stage != STAGE_MASKED)
        raw = head_raw(&h, i, j);
    if (h.flags & FLAG_SCORES)
        storage_store(scores, attention_row(scores_view, batch, head, i, seq_q) + j * scores_view.s4,
                      seen || stage != STAGE_MASKED ? head_stage(&h, raw, add, i, j, stage) : -INFINITY, dtype);
    if (h.flags & FLAG_WEIGHTS)
        storage_store(weights, attention_row(weights_view, batch, head, i, seq_q) + j * weights_view.s4,
                      seen ? exp(head_stage(&h, raw, add, i, j, STAGE_MASKED) - h.lse[i * h.lse_row]) : 0.0f, dtype);
}

kernel void report_received(REPORT_ARGS, global float *received, long8 received_view)
{
    const long j = (long)get_global_id(0), plane = (long)get_global_id(1);
    if (j >= SHAPE_SEQ_KV(shape))
        return;
    const long head = plane % SHAPE_HEADS(shape), batch = plane / SHAPE_HEADS(shape);
    struct head h;
    HEAD_SET(h, batch, head)
    const long last = j < h.reach.end ? min(SHAPE_SEQ_Q(shape) - 1, j - h.reach.low) : -1;
    float sum = 0.0f;
    for (long i = max(0L, j - h.reach.high); i <= last; i++) {
        const float weight = head_weight(&h, i, j);
        sum += weight == -1.0f ? 0.0f : weight;
    }
    received[attention_row(received_view, batch, head, j, SHAPE_SEQ_KV(shape))] = sum;
}

kernel void report_top(REPORT_ARGS, int n)
{
    const long i = (long)get_global_id(0), plane = (long)get_global_id(1);
    if (i >= SHAPE_SEQ_Q(shape))
        return;
    const long head = plane % SHAPE_HEADS(shape), batch = plane / SHAPE_HEADS(shape);
    struct head h;
    HEAD_SET(h, batch, head)
    struct heap heap;
    heap_clear(&heap, n);
    const long last = min(h.reach.end - 1, i + h.reach.high);
    for (long j = max(0L, i + h.reach.low); j <= last; j++) {
        const float weight = head_weight(&h, i, j);
        heap_add(&heap, isnan(weight) ? INFINITY : weight, (int)j);
    }
    heap_sort(&heap);
    const long keys_at = attention_row(scores_view, batch, head, i, SHAPE_SEQ_Q(shape));
    const long weights_at = attention_row(weights_view, batch, head, i, SHAPE_SEQ_Q(shape));
    for (int r = 0; r < n; r++)
        top_write(scores, keys_at + r * scores_view.s4, weights, weights_at + r * weights_view.s4, heap.weight[r],
                  heap.key[r], h.flags);
}
