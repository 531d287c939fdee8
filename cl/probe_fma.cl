/*
 * Is fma() fast here? `steps` dependent multiply-adds on four lanes in one work-item.
 *   buffer 0: float out[4]   argument 1: int steps   NDRange: 1 x local 1
 */
#include "common.clh"

__kernel void probe_fma(__global float *out, const int steps) {
    float4 x = (float4)(0.1f, 0.2f, 0.3f, 0.4f);
    const float4 a = (float4)(0.999f);
    const float4 b = (float4)(0.001f * (float)steps);
    for (int i = 0; i < steps; i++) x = QKV_FMA(x, a, b);
    vstore4(x, 0, out);
}
