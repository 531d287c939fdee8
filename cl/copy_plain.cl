/*
 * Keys and values brought together on any device: one work-item an element, neighbours on neighbours. No loops.
 *
 * NDRange: (rows to write * dim, the larger of keys' and values', rounded up; batch * heads; 2), local (any, 1, 1): the
 * keys, then the values. See copy.clh.
 */
#include "copy.clh"

kernel void copy_plain(COPY_ARGS)
{
    const struct part part = COPY_PART(get_global_id(2) == 1);
    const long index = (long)get_global_id(0), plane = (long)get_global_id(1);
    const long row = part.first + index / part.width, dim = index % part.width;
    if (row >= SHAPE_ROWS(shape))
        return;
    const long batch = plane / SHAPE_HEADS(shape), head = plane % SHAPE_HEADS(shape);
    long from, step;
    global const void *source = copy_source(&part, batch, head, row, SHAPE_PAST(shape), &from, &step);
    const long to = copy_target(&part, batch, head, row) + dim * part.present_view.s4;
    if (part.bytes == 2)
        ((global ushort *)part.present)[to] = ((global const ushort *)source)[from + dim * step];
    else
        ((global uint *)part.present)[to] = ((global const uint *)source)[from + dim * step];
}
