/*
 * Rotary embeddings on any device: out[i] = x[i] cos - x[j] sin, out[j] = x[j] cos + x[i] sin (Su et al. 2021,
 * RoFormer), one work-item a pair (i, j) of one token and head, neighbours on neighbours; then, unless in place, one
 * work-item each feature that passes through.
 *
 * Index: unit + units * (token + seq * batch), below num_items; units = rotary_dim / 2 and what passes through.
 * NDRange: (num_items rounded up, num_heads), local (any, 1).
 */
#include "common.clh"
#include "storage.clh"
#include "rotary.clh"

kernel void rotary_plain(ROTARY_ARGS, long units, long num_items)
{
    const long index = (long)get_global_id(0), head = (long)get_global_id(1);
    if (index >= num_items)
        return;
    const long row = rotary_divide(index, units), batch = rotary_divide(row, SHAPE_SEQ(shape));
    const long token = row - batch * SHAPE_SEQ(shape);
    const int unit = (int)(index - row * units), half_dim = SHAPE_ROTARY_DIM(shape) / 2, flags = SHAPE_FLAGS(shape);
    const long from = x_view.s0 + batch * x_view.s1 + head * x_view.s2 + token * x_view.s3;
    const long to = out_view.s0 + batch * out_view.s1 + head * out_view.s2 + token * out_view.s3;

    if (unit >= half_dim) {
        const int dim = half_dim + unit;
        storage_store(out, to + dim * out_view.s4, storage_load(x, from + dim * x_view.s4, dtypes.x), dtypes.y);
        return;
    }
    const struct rotary_row turn =
        rotary_find_row(positions, cos_view, sin_view, position_view, shape, batch, token);
    const float2 angle = rotary_angle(cosines, sines, cos_view, sin_view, dtypes, flags, &turn, unit);
    const int i = flags & ROTARY_INTERLEAVED ? 2 * unit : unit;
    const int j = flags & ROTARY_INTERLEAVED ? i + 1 : unit + half_dim;
    const float a = storage_load(x, from + i * x_view.s4, dtypes.x);
    const float b = storage_load(x, from + j * x_view.s4, dtypes.x);
    storage_store(out, to + i * out_view.s4, QKV_FMA(a, angle.x, -(b * angle.y)), dtypes.y);
    storage_store(out, to + j * out_view.s4, QKV_FMA(b, angle.x, a * angle.y), dtypes.y);
}
