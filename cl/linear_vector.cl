/*
 * Linear layers on CPU devices, see linear_vector.clh.
 *
 * NDRange: (chunks of a band, column groups, bands), one work-item per work-group. The chunks are the fast index.
 */
#include "common.clh"
#include "linear.clh"
#include "linear_vector.clh"

kernel void linear_vector(LINEAR_ARGS)
{
    linear_group(x, packed, bias, out0, out1, out2, out3, views_x0, views_12, view_3_widths, sizes,
                 (long)get_group_id(0), (long)get_num_groups(0), (long)get_group_id(1), (long)get_group_id(2));
}
