/*
 * Keys and values brought together on a CPU: one work-item a run of rows, in vectors where their elements lie side by
 * side, and as one piece where the rows do too.
 *
 * At most rows_per_group * (dim / 16 + dim % 16 + 2) iterations of loops, or rows_per_group * (dim + 2).
 * NDRange: (runs of rows_per_group rows, of the part with more; batch * heads; 2), local 1: the keys, then the values.
 * See copy.clh.
 */
#include "copy.clh"

#define COPY_LINE(T)                                                                                                  \
    static void copy_line_##T(global T *to, long to_step, global const T *from, long step, long count)                \
    {                                                                                                                 \
        long d = 0;                                                                                                   \
        if (to_step == 1 && step == 1)                                                                                \
            for (; d + 16 <= count; d += 16)                                                                          \
                vstore16(vload16(0, from + d), 0, to + d);                                                            \
        for (; d < count; d++)                                                                                        \
            to[d * to_step] = from[d * step];                                                                         \
    }
COPY_LINE(ushort)
COPY_LINE(uint)

kernel void copy_vector(COPY_ARGS, long rows_per_group)
{
    const struct part part = COPY_PART(get_global_id(2) == 1);
    const long plane = (long)get_global_id(1), seq_past = SHAPE_PAST(shape);
    const long batch = plane / SHAPE_HEADS(shape), head = plane % SHAPE_HEADS(shape);
    const long to_step = part.present_view.s4, to_row = part.present_view.s3;
    long row = part.first + (long)get_global_id(0) * rows_per_group, lines;
    const long end = min(row + rows_per_group, SHAPE_ROWS(shape));
    for (; row < end; row += lines) {
        long from, step;
        global const void *source = copy_source(&part, batch, head, row, seq_past, &from, &step);
        const long from_row = row < seq_past ? part.past_view.s3 : part.fresh_view.s3;
        const long to = copy_target(&part, batch, head, row);
        const bool whole = step == 1 && to_step == 1 && from_row == part.width && to_row == part.width;
        lines = whole ? (row < seq_past ? min(end, seq_past) : end) - row : 1;
        if (part.bytes == 2)
            copy_line_ushort((global ushort *)part.present + to, to_step, (global const ushort *)source + from, step,
                             lines * part.width);
        else
            copy_line_uint((global uint *)part.present + to, to_step, (global const uint *)source + from, step,
                           lines * part.width);
    }
}
