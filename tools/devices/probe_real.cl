/*
 * fp16 and fp64 arithmetic: rounding tells them from fp32. One work-item.
 *   buffer 0: float out[]   buffer 1: the caller's float numbers
 *   -DREAL=half or double
 */
#ifndef REAL
#define REAL float
#endif
#ifdef cl_khr_fp16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

/* in: big, small, huge, one: big + small, huge + huge, one * small + big, -(huge + huge). */
kernel void rounding(global float *out, global const float *in) {
    REAL big = (REAL)in[0], small = (REAL)in[1], huge_ = (REAL)in[2], one = (REAL)in[3];
    REAL sum = big + small;
    out[0] = (float)(sum - big);
    out[1] = (float)(huge_ + huge_);
    out[2] = (float)(one * small - small * (REAL)2);
    out[3] = (float)sqrt(one + one + one + one);
}
