/*
 * Linear layers on any device: out_i[r][c] = sum_k x[r][k] * W_i[k][c] + b_i[c] for up to four outputs i, one
 * work-item an element, one chain of multiply-adds over increasing k and then the bias, as in linear_vector.cl.
 *
 * W: panels of PANEL columns: element (k, c) of panel p lies at (p * in_features + k) * PANEL + c; b: p * PANEL + c.
 * NDRange: (columns of all panels, rows), both rounded up to the group.
 */
#include "common.clh"
#include "linear.clh"

#ifndef PANEL
#define PANEL 16
#endif

kernel void linear_plain(LINEAR_ARGS)
{
    LINEAR_DECLARE
    const long panel = (long)get_global_id(0) / PANEL;
    const long lane = (long)get_global_id(0) % PANEL;
    const long row = (long)get_global_id(1);
    if (panel >= sizes.s2 || row >= rows)
        return;
    LINEAR_SELECT_OUTPUT(panel)
    const long column = (panel - first) * PANEL + lane;
    if (column >= features)
        return;

    global const float *w = packed + panel * in_features * PANEL + lane;
    long run = linear_row_offset(x_view, row); /* columns lie in runs of col_inner */
    float sum = 0.0f;
    for (long k = 0; k < in_features; run += x_view.s5)
        for (long inner = 0; inner < x_view.s4 && k < in_features; inner++, k++)
            sum = QKV_FMA(x[run + inner * x_view.s6], w[k * PANEL], sum);
    out[linear_row_offset(view, row) + column / view.s4 * view.s5 + column % view.s4 * view.s6] =
        sum + bias[panel * PANEL + lane];
}
