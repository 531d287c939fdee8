/*
 * Writes the bias of every column of output `output` into each row: out[r][c] = b[c], for a GEMM that then adds to it.
 *
 * b: the output's first column is element `first`. NDRange: (columns, rows), both rounded up to the group.
 */
#include "common.clh"
#include "linear.clh"

__kernel void linear_bias(__global const float *bias, __global float *out, const long8 view, const long first,
                          const long columns, const long rows) {
    const long column = (long)get_global_id(0), row = (long)get_global_id(1);
    if (column >= columns || row >= rows) return;
    out[linear_row_offset(view, row) + column / view.s4 * view.s5 + column % view.s4 * view.s6] = bias[first + column];
}
