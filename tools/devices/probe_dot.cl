/*
 * The dot product of four bytes with four. One work-item.
 *   buffer 0: int out[2]   buffer 1: uint in[2], four signed bytes in each
 * By cl_khr_integer_dot_product, or ARM's older extension where only that is there.
 */
#ifdef cl_khr_integer_dot_product
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#endif
#ifdef cl_arm_integer_dot_product_int8
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_int8 : enable
#endif

kernel void dot_product(global int *out, global const uint *in) {
#if defined(cl_khr_integer_dot_product) || !defined(cl_arm_integer_dot_product_int8)
    out[0] = dot_4x8packed_ss_int(in[0], in[1]);
    out[1] = (int)dot_4x8packed_uu_uint(in[0], in[1]);
#else
    out[0] = arm_dot(as_char4(in[0]), as_char4(in[1]));
    out[1] = (int)arm_dot(as_uchar4(in[0]), as_uchar4(in[1]));
#endif
}
