/*
 * What is derived from scores and weights, for CPU devices, from the log-sum-exp of every query. See report_args.clh.
 *
 *   report_keys     LANES keys a work-item, along the vector lanes: their scores' stages and weights in a storage dtype,
 *                   and their weights summed over the queries that see any of them, in their order
 *   report_queries  LANES queries a work-item, along the lanes: for each the n keys of largest weight, in lists
 *                   that are kept sorted for all lanes at once
 *
 * No two work-items write one element, so results do not depend on how they are scheduled. Loops make at most
 * seq * (head_dim + 12 * LANES + MOST_TOP * TQ) + LANES * (head_dim + 2 * MOST_TOP) iterations, seq that of the other
 * side.
 *
 * NDRange: (blocks of LANES keys or queries, heads, batch), local size 1.
 *
 * Macros: VW lanes, TK x TQ register tile (rows x vectors of lanes), UNROLL 4 or 1 steps of the inner loop at once,
 * MAX_DIM the largest head_dim, and those of attention_args.clh.
 */
#include "common.clh"
#include "storage.clh"
#include "exp2.clh"
#include "attention_args.clh"
#include "attention_dot.clh"
#include "report_args.clh"
#include "register_tile.clh"

#define TILE_NAME(name) name##_keys
#define LANE_DTYPE K_DTYPE
#define ROW_DTYPE Q_DTYPE
#include "report_tile.clh"
#undef TILE_NAME
#undef LANE_DTYPE
#undef ROW_DTYPE
#define TILE_NAME(name) name##_queries
#define LANE_DTYPE Q_DTYPE
#define ROW_DTYPE K_DTYPE
#include "report_tile.clh"

/* The lanes' numbers in vector i. */
static ivec lane_numbers(int i)
{
    int lanes[VW];
    for (int e = 0; e < VW; e++)
        lanes[e] = i * VW + e;
    return QKV_PASTE(vload, VW)(0, lanes);
}

/* What the mask adds to each of the lanes, `step` apart from `base` on; lanes past n repeat the last. */
static void lanes_mask(vec *add, const struct head *h, long base, long step, int n)
{
    const bool floats = (h->flags & (FLAG_MASK_ADD | FLAG_MASK_F16 | FLAG_MASK_BF16)) == FLAG_MASK_ADD;
    const float first = attention_mask(h->mask, h->flags, base);
    for (int i = 0; i < TQ; i++) {
        if (step == 0) {
            add[i] = (vec)(first);
        } else if (step == 1 && n == LANES && floats) {
            add[i] = QKV_VLOAD((global const float *)h->mask + base + i * VW);
        } else if (step == 1 && n == LANES && (h->flags & FLAG_MASK_BOOL)) {
            const ivec keep =
                QKV_PASTE(convert_int, VW)(QKV_PASTE(vload, VW)(0, (global const uchar *)h->mask + base + i * VW));
            add[i] = keep != 0 ? (vec)(0.0f) : (vec)(-INFINITY);
        } else {
            for (int e = 0; e < VW; e++)
                ((float *)add)[i * VW + e] =
                    attention_mask(h->mask, h->flags, base + min(i * VW + e, n - 1) * step);
        }
    }
}

/* A row of the tile as scores: at a stage before the mask; key and query are `distance` + sign * lane apart. */
static vec lanes_stage(vec raw, const struct head *h, float distance, float sign, ivec lane, int stage)
{
#if TERMS
    if (stage != STAGE_RAW && h->softcap != 0.0f)
        raw = (vec)(h->softcap) * tanh(raw / (vec)(h->softcap));
    if (stage == STAGE_MASKED && h->slope != 0.0f) {
        const vec away = (vec)(distance) + (vec)(sign) * QKV_PASTE(convert_float, VW)(lane);
        raw -= (vec)(h->slope) * fabs(away);
    }
#endif
    return raw;
}

static void lanes_store(global void *p, long at, long step, vec value, int first, int n, int dtype)
{
    float one[VW];
    if (step == 1 && first + VW <= n) {
        QKV_PASTE(storage_store, VW)(p, at + first, value, dtype);
        return;
    }
    QKV_VSTORE(value, one);
    for (int e = 0; e < VW && first + e < n; e++)
        storage_store(p, at + (first + e) * step, one[e], dtype);
}

kernel void report_keys(REPORT_ARGS, int stage, int dtype, global float *received, long8 received_view, int wanted)
{
    const long head = (long)get_global_id(1), batch = (long)get_global_id(2), j0 = (long)get_global_id(0) * LANES;
    const long seq_q = SHAPE_SEQ_Q(shape);
    const int n = (int)min((long)LANES, SHAPE_SEQ_KV(shape) - j0);
    vec x[MAX_DIM * TQ], products[TK * TQ], sum[TQ], add[TQ];
    ivec lane[TQ];
    struct head h;
    HEAD_SET(h, batch, head)
    const bool masked = (h.flags & (FLAG_MASK_BOOL | FLAG_MASK_ADD)) != 0;
    const bool pairs = (h.flags & (FLAG_SCORES | FLAG_WEIGHTS)) != 0;
    load_keys(x, h.k + j0 * h.k_row, h.k_row, h.k_step, n, h.head_dim);
    for (int i = 0; i < TQ; i++) {
        sum[i] = add[i] = (vec)(0.0f);
        lane[i] = lane_numbers(i);
    }
    /* Where pairs are wanted every query is visited: they are written where nothing is seen, too. */
    const long last = min(j0 + n, h.reach.end) - 1;
    const long first = pairs ? 0 : max(0L, j0 - h.reach.high);
    const long end = pairs ? seq_q : last < j0 ? 0 : min(seq_q, last - h.reach.low + 1);
    for (long i0 = first; i0 < end; i0 += TK) {
        const int rows = (int)min((long)TK, end - i0);
        products_keys(products, x, h.q + i0 * h.q_row, h.q_row, h.q_step, rows, h.head_dim);
        for (int t = 0; t < rows; t++) {
            const long query = i0 + t;
            const ivec low = (ivec)((int)clamp(query + h.reach.low - j0, 0L, (long)LANES));
            const ivec high = (ivec)((int)clamp(min(query + h.reach.high + 1, h.reach.end) - j0, 0L, (long)n));
            const vec lse_row = (vec)(h.lse[query * h.lse_row]);
            const float distance = (float)(query + h.reach.offset - j0);
            if (masked && j0 < h.reach.end)
                lanes_mask(add, &h, h.mask_base + query * h.mask_row + j0 * h.mask_step, h.mask_step,
                           (int)min(h.reach.end - j0, (long)n));
            for (int i = 0; i < TQ; i++) {
                const vec raw = products[t * TQ + i] * (vec)(h.scale);
                const ivec seen = (lane[i] >= low) & (lane[i] < high) & (add[i] != (vec)(-INFINITY));
                const vec score = lanes_stage(raw, &h, distance, -1.0f, lane[i], STAGE_MASKED) + add[i];
                const vec weight = seen ? qkv_exp2((score - lse_row) * (vec)(QKV_LOG2E)) : (vec)(0.0f);
                sum[i] += weight;
                if (h.flags & FLAG_WEIGHTS)
                    lanes_store(weights, attention_row(weights_view, batch, head, query, seq_q) + j0 * weights_view.s4,
                                weights_view.s4, weight, i * VW, n, dtype);
                if (h.flags & FLAG_SCORES)
                    lanes_store(scores, attention_row(scores_view, batch, head, query, seq_q) + j0 * scores_view.s4,
                                scores_view.s4,
                                stage != STAGE_MASKED ? lanes_stage(raw, &h, distance, -1.0f, lane[i], stage)
                                                      : (seen ? score : (vec)(-INFINITY)),
                                i * VW, n, dtype);
            }
        }
    }
    if (wanted)
        for (int i = 0; i < TQ; i++)
            lanes_store(received, attention_row(received_view, batch, head, j0, SHAPE_SEQ_KV(shape)), received_view.s3,
                        sum[i], i * VW, n, STORAGE_F32);
}

/* Puts a key where it belongs in the lanes' lists, one that is TQ vectors apart for each rank: it is better than the
 * last, and comes behind equals, for keys come in rising order. */
static void lists_add(vec *best, ivec *keys, int top, vec weight, ivec hit, int key)
{
    int r = (top - 1) * TQ;
    best[r] = hit ? weight : best[r];
    keys[r] = hit ? (ivec)(key) : keys[r];
    for (; r > 0; r -= TQ) {
        const vec lower = best[r], upper = best[r - TQ];
        const ivec lower_key = keys[r], upper_key = keys[r - TQ], swap = lower > upper;
        if (!any(swap))
            break;
        best[r] = swap ? upper : lower;
        best[r - TQ] = swap ? lower : upper;
        keys[r] = swap ? upper_key : lower_key;
        keys[r - TQ] = swap ? lower_key : upper_key;
    }
}

kernel void report_queries(REPORT_ARGS, int top)
{
    const long head = (long)get_global_id(1), batch = (long)get_global_id(2), i0 = (long)get_global_id(0) * LANES;
    const long seq_q = SHAPE_SEQ_Q(shape);
    const int n = (int)min((long)LANES, seq_q - i0);
    vec x[MAX_DIM * TQ], products[TK * TQ], lse_lanes[TQ], add[TQ], best[MOST_TOP * TQ];
    ivec lane[TQ], best_keys[MOST_TOP * TQ];
    struct head h;
    HEAD_SET(h, batch, head)
    const bool masked = (h.flags & (FLAG_MASK_BOOL | FLAG_MASK_ADD)) != 0;
    load_queries(x, h.q + i0 * h.q_row, h.q_row, h.q_step, n, h.head_dim);
    for (int i = 0; i < TQ; i++) {
        add[i] = (vec)(0.0f);
        lane[i] = lane_numbers(i);
    }
    for (int e = 0; e < LANES; e++)
        ((float *)lse_lanes)[e] = h.lse[(i0 + min(e, n - 1)) * h.lse_row];
    for (int r = 0; r < top * TQ; r++) {
        best[r] = (vec)(-1.0f);
        best_keys[r] = (ivec)(-1);
    }
    const long end = min(h.reach.end, i0 + n + h.reach.high);
    for (long j0 = max(0L, i0 + h.reach.low); j0 < end; j0 += TK) {
        const int rows = (int)min((long)TK, end - j0);
        products_queries(products, x, h.k + j0 * h.k_row, h.k_row, h.k_step, rows, h.head_dim);
        for (int t = 0; t < rows; t++) {
            const long key = j0 + t;
            const ivec low = (ivec)((int)clamp(key - h.reach.high - i0, 0L, (long)LANES));
            const ivec high = (ivec)((int)clamp(key - h.reach.low + 1 - i0, 0L, (long)n));
            const float distance = (float)(i0 + h.reach.offset - key);
            if (masked)
                lanes_mask(add, &h, h.mask_base + i0 * h.mask_row + key * h.mask_step, h.mask_row, n);
            for (int i = 0; i < TQ; i++) {
                const vec score = lanes_stage(products[t * TQ + i] * (vec)(h.scale), &h, distance, 1.0f, lane[i],
                                              STAGE_MASKED) + add[i];
                const ivec seen = (lane[i] >= low) & (lane[i] < high) & (add[i] != (vec)(-INFINITY));
                const vec weight = qkv_exp2((score - lse_lanes[i]) * (vec)(QKV_LOG2E));
                const vec ranked = isnan(weight) ? (vec)(INFINITY) : weight;
                const ivec hit = seen & (ranked > best[(top - 1) * TQ + i]);
                if (any(hit))
                    lists_add(best + i, best_keys + i, top, ranked, hit, (int)key);
            }
        }
    }
    for (int e = 0; e < n; e++) {
        const long keys_at = attention_row(scores_view, batch, head, i0 + e, seq_q);
        const long weights_at = attention_row(weights_view, batch, head, i0 + e, seq_q);
        for (int r = 0; r < top; r++)
            top_write(scores, keys_at + r * scores_view.s4, weights, weights_at + r * weights_view.s4,
                      ((const float *)best)[r * LANES + e], ((const int *)best_keys)[r * LANES + e], h.flags);
    }
}
