/*
 * Rotary embeddings for devices that are CPUs: out[i] = x[i] cos - x[j] sin, out[j] = x[j] cos + x[i] sin (Su et al.
 * 2021, RoFormer). A work-group is one work-item: it makes the cosines and sines of a block of tokens once, as floats
 * in private memory, and turns these tokens in its heads with vectors of VW features, down to 4 and 1 at the end
 * of a row. Whichever of token and head lies closer together in memory is the inner loop.
 *
 * NDRange: (blocks of tokens_per_group tokens, chunks of heads_per_group heads, batch), local (1, 1, 1).
 * tokens_per_group * (rotary_dim / 2 rounded up to VW) is at most STAGE.
 */
#include "common.clh"
#include "storage.clh"
#include "rotary.clh"

#ifndef STAGE
#define STAGE 2048
#endif

/* One token of one head. */
struct line {
    global const void *x;
    global void *out;
    long from, to, x_step, out_step;
    int x_dtype, out_dtype;
    int half_dim, rotary_dim, head_dim, flags;
};

/* N pairs from pair p on; unit steps only. */
#define LINE_PAIRS(N)                                                                             \
    static void line_pairs##N(const struct line *l, const float *c, const float *s, int p)        \
    {                                                                                             \
        const float##N cv = vload##N(0, c + p), sv = vload##N(0, s + p);                          \
        if (l->flags & ROTARY_INTERLEAVED) {                                                      \
            const float##N u = storage_load##N(l->x, l->from + 2 * p, l->x_dtype);                \
            const float##N v = storage_load##N(l->x, l->from + 2 * p + N, l->x_dtype);            \
            const float##N a = (float##N)(u.even, v.even), b = (float##N)(u.odd, v.odd);          \
            const float##N y = QKV_FMA(a, cv, -(b * sv)), z = QKV_FMA(b, cv, a * sv);             \
            float##N first, second;                                                               \
            first.even = y.lo, first.odd = z.lo;                                                  \
            second.even = y.hi, second.odd = z.hi;                                                \
            storage_store##N(l->out, l->to + 2 * p, first, l->out_dtype);                         \
            storage_store##N(l->out, l->to + 2 * p + N, second, l->out_dtype);                    \
        } else {                                                                                  \
            const float##N a = storage_load##N(l->x, l->from + p, l->x_dtype);                    \
            const float##N b = storage_load##N(l->x, l->from + l->half_dim + p, l->x_dtype);      \
            storage_store##N(l->out, l->to + p, QKV_FMA(a, cv, -(b * sv)), l->out_dtype);         \
            storage_store##N(l->out, l->to + l->half_dim + p, QKV_FMA(b, cv, a * sv), l->out_dtype); \
        }                                                                                         \
    }
LINE_PAIRS(4)
#if VW != 4
#define LINE_PAIRS_OF(N) LINE_PAIRS(N)
LINE_PAIRS_OF(VW)
#endif

static void line_pair(const struct line *l, float c, float s, int p)
{
    const int i = l->flags & ROTARY_INTERLEAVED ? 2 * p : p;
    const int j = l->flags & ROTARY_INTERLEAVED ? i + 1 : p + l->half_dim;
    const float a = storage_load(l->x, l->from + i * l->x_step, l->x_dtype);
    const float b = storage_load(l->x, l->from + j * l->x_step, l->x_dtype);
    storage_store(l->out, l->to + i * l->out_step, QKV_FMA(a, c, -(b * s)), l->out_dtype);
    storage_store(l->out, l->to + j * l->out_step, QKV_FMA(b, c, a * s), l->out_dtype);
}

static void line_turn(const struct line *l, const float *c, const float *s)
{
    const bool dense = l->x_step == 1 && l->out_step == 1;
    int p = 0;
    for (; dense && p + VW <= l->half_dim; p += VW)
        QKV_PASTE(line_pairs, VW)(l, c, s, p);
    for (; dense && p + 4 <= l->half_dim; p += 4)
        line_pairs4(l, c, s, p);
    for (; p < l->half_dim; p++)
        line_pair(l, c[p], s[p], p);
    if (l->flags & ROTARY_IN_PLACE)
        return;
    int d = l->rotary_dim;
    for (; dense && d + 4 <= l->head_dim; d += 4)
        storage_store4(l->out, l->to + d, storage_load4(l->x, l->from + d, l->x_dtype), l->out_dtype);
    for (; d < l->head_dim; d++)
        storage_store(l->out, l->to + d * l->out_step, storage_load(l->x, l->from + d * l->x_step, l->x_dtype),
                      l->out_dtype);
}

/* A table's rows are padded to whole vectors; what a run is given is not. */
static void stage_row(float *c, float *s, global const void *cosines, global const void *sines, long4 cos_view,
                      long4 sin_view, int4 dtypes, int flags, const struct rotary_row *row, int half_dim)
{
    int p = 0;
    if (flags & ROTARY_TABLE && !row->outside)
        for (; p < half_dim; p += VW) {
            global const float *cs = (global const float *)cosines + p, *sn = (global const float *)sines + p;
            const vec c1 = QKV_VLOAD(cs + row->cos_at), s1 = QKV_VLOAD(sn + row->sin_at);
            const vec c2 = QKV_VLOAD(cs + row->cos_high), s2 = QKV_VLOAD(sn + row->sin_high);
            vec cv, sv;
            ROTARY_COMBINE(cv, sv, c1, s1, c2, s2)
            QKV_VSTORE(cv, c + p);
            QKV_VSTORE(flags & ROTARY_INVERSE ? -sv : sv, s + p);
        }
    for (; p < half_dim; p++) {
        const float2 angle = rotary_angle(cosines, sines, cos_view, sin_view, dtypes, flags, row, p);
        c[p] = angle.x;
        s[p] = angle.y;
    }
}

kernel void rotary_vector(ROTARY_ARGS, long tokens_per_group, long heads_per_group)
{
    const long batch = (long)get_global_id(2), first_token = (long)get_global_id(0) * tokens_per_group;
    const long first_head = (long)get_global_id(1) * heads_per_group;
    const int tokens = (int)min(tokens_per_group, SHAPE_SEQ(shape) - first_token);
    const long heads = min(heads_per_group, SHAPE_HEADS(shape) - first_head);
    const int half_dim = SHAPE_ROTARY_DIM(shape) / 2, row = (half_dim + VW - 1) / VW * VW;
    const int flags = SHAPE_FLAGS(shape);
    float c[STAGE], s[STAGE];
    for (int t = 0; t < tokens; t++) {
        const struct rotary_row turn =
            rotary_find_row(positions, cos_view, sin_view, position_view, shape, batch, first_token + t);
        stage_row(c + t * row, s + t * row, cosines, sines, cos_view, sin_view, dtypes, flags, &turn, half_dim);
    }

    struct line line = {x,        out,      0,        0,        x_view.s4,
                        out_view.s4, dtypes.x, dtypes.y, half_dim, SHAPE_ROTARY_DIM(shape),
                        SHAPE_HEAD_DIM(shape), flags};
    const long from = x_view.s0 + batch * x_view.s1 + first_head * x_view.s2 + first_token * x_view.s3;
    const long to = out_view.s0 + batch * out_view.s1 + first_head * out_view.s2 + first_token * out_view.s3;
    const bool heads_inside = abs(x_view.s2) < abs(x_view.s3);
    const long outer = heads_inside ? tokens : heads, inner = heads_inside ? heads : tokens;
    for (long o = 0; o < outer; o++)
        for (long i = 0; i < inner; i++) {
            const long head = heads_inside ? i : o, token = heads_inside ? o : i;
            line.from = from + head * x_view.s2 + token * x_view.s3;
            line.to = to + head * out_view.s2 + token * out_view.s3;
            line_turn(&line, c + token * row, s + token * row);
        }
}
