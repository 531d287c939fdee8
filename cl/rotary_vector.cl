/*
 * Rotary embeddings for devices that are CPUs: out[i] = x[i] cos - x[j] sin, out[j] = x[j] cos + x[i] sin (Su et al.
 * 2021, RoFormer). A work-group is one work-item: it turns a block of tokens in some heads with vectors of VW features,
 * down to 4 and 1 at the end of a line (one token of one head), in the order in which lines lie in memory. Cosines and
 * sines of a token are made once for all heads that follow each other, as floats in private memory.
 *
 * NDRange: (blocks of tokens_per_group tokens, chunks of heads_per_group heads, batch), local (1, 1, 1).
 */
#include "common.clh"
#include "storage.clh"
#include "rotary.clh"

/* As in src/api: a head has at most 512 features. */
#define MAX_PAIRS 256

struct line {
    global const void *x;
    global void *out;
    long from, to, x_step, out_step;
    int x_dtype, out_dtype;
    int half_dim, rotary_dim, head_dim, flags;
};

#define NAME _f32
#define FROM STORAGE_F32
#define TO STORAGE_F32
#include "rotary_line.clh"
#define NAME _f16
#define FROM STORAGE_F16
#define TO STORAGE_F16
#include "rotary_line.clh"
#define NAME _bf16
#define FROM STORAGE_BF16
#define TO STORAGE_BF16
#include "rotary_line.clh"
#define NAME _mixed
#define FROM l->x_dtype
#define TO l->out_dtype
#include "rotary_line.clh"

static void line_turn(const struct line *l, const vec *c, const vec *s)
{
    if (l->x_dtype != l->out_dtype)
        line_turn_mixed(l, c, s);
    else if (l->x_dtype == STORAGE_F32)
        line_turn_f32(l, c, s);
    else if (l->x_dtype == STORAGE_F16)
        line_turn_f16(l, c, s);
    else
        line_turn_bf16(l, c, s);
}

/* As vectors, for what is stored in parts and read whole at once is waited for. A table's rows are padded to whole
 * vectors; what a run is given is not. */
static void stage_row(vec *c, vec *s, global const void *cosines, global const void *sines, long4 cos_view,
                      long4 sin_view, int4 dtypes, int flags, const struct rotary_row *row, int half_dim)
{
    if (flags & ROTARY_TABLE && !row->outside) {
        global const float *c1 = (global const float *)cosines + row->cos_at;
        global const float *s1 = (global const float *)sines + row->sin_at;
        global const float *c2 = (global const float *)cosines + row->cos_high;
        global const float *s2 = (global const float *)sines + row->sin_high;
        for (int i = 0; i * VW < half_dim; i++) {
            vec cv, sv;
            ROTARY_COMBINE(cv, sv, QKV_VLOAD(c1 + i * VW), QKV_VLOAD(s1 + i * VW), QKV_VLOAD(c2 + i * VW),
                           QKV_VLOAD(s2 + i * VW))
            c[i] = cv;
            s[i] = flags & ROTARY_INVERSE ? -sv : sv;
        }
        return;
    }
    for (int p = 0; p < half_dim; p++) {
        const float2 angle = rotary_angle(cosines, sines, cos_view, sin_view, dtypes, flags, row, p);
        ((float *)c)[p] = angle.x;
        ((float *)s)[p] = angle.y;
    }
}

kernel void rotary_vector(ROTARY_ARGS, long tokens_per_group, long heads_per_group, int heads_inside)
{
    const long batch = (long)get_global_id(2), first_token = (long)get_global_id(0) * tokens_per_group;
    const long first_head = (long)get_global_id(1) * heads_per_group;
    const long tokens = min(tokens_per_group, SHAPE_SEQ(shape) - first_token);
    const long heads = min(heads_per_group, SHAPE_HEADS(shape) - first_head);
    const long outer = heads_inside ? tokens : heads, inner = heads_inside ? heads : tokens;
    const long x_inner = heads_inside ? x_view.s2 : x_view.s3, out_inner = heads_inside ? out_view.s2 : out_view.s3;
    vec c[MAX_PAIRS / VW], s[MAX_PAIRS / VW];
    struct line line = {x, out, 0, 0, x_view.s4, out_view.s4, dtypes.x, dtypes.y, SHAPE_ROTARY_DIM(shape) / 2,
                        SHAPE_ROTARY_DIM(shape), SHAPE_HEAD_DIM(shape), SHAPE_FLAGS(shape)};
    for (long o = 0; o < outer; o++) {
        const long head = first_head + (heads_inside ? 0 : o);
        long token = first_token + (heads_inside ? o : 0);
        line.from = x_view.s0 + batch * x_view.s1 + head * x_view.s2 + token * x_view.s3;
        line.to = out_view.s0 + batch * out_view.s1 + head * out_view.s2 + token * out_view.s3;
        for (long i = 0; i < inner; i++) {
            if (!heads_inside || i == 0) {
                const struct rotary_row row =
                    rotary_find_row(positions, cos_view, sin_view, position_view, shape, batch, token++);
                stage_row(c, s, cosines, sines, cos_view, sin_view, dtypes, line.flags, &row, line.half_dim);
            }
            line_turn(&line, c, s);
            line.from += x_inner;
            line.to += out_inner;
        }
    }
}
