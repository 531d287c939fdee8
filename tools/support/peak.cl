/*
 * What a device can do at most: multiply-adds in registers, reading, copying.
 *   -DWIDTH=N      lanes of a vector: 4, 8 or 16
 *   -DOPERATION=N  how a multiply-add is spelled: 0 fma, 1 mad, 2 a * b + c
 *   -DHALF=1       in fp16; then only multiply_add and round_half are there
 * NDRange: one dimension; on CPUs work-groups of one item.
 */
#ifndef WIDTH
#define WIDTH 4
#endif
#ifndef OPERATION
#define OPERATION 1
#endif
#ifndef HALF
#define HALF 0
#endif

#if HALF
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
typedef half scalar;
#define VECTOR2(width) half##width
#else
typedef float scalar;
#define VECTOR2(width) float##width
#endif
#define VECTOR(width) VECTOR2(width)
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
typedef VECTOR(WIDTH) vec;

#if OPERATION == 0
#define MULTIPLY_ADD(x, a, b) fma(x, a, b)
#elif OPERATION == 1
#define MULTIPLY_ADD(x, a, b) mad(x, a, b)
#else
#define MULTIPLY_ADD(x, a, b) ((x) * (a) + (b))
#endif

/* Twelve independent chains: two units with a latency of four or five cycles need eight to ten. */
#define TWELVE(ONE) ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9) ONE(10) ONE(11)
#define DECLARE(i) vec x##i = (vec)((scalar)(get_global_id(0) & 7) + (scalar)i);
#define STEP(i) x##i = MULTIPLY_ADD(x##i, a, b);
#define TOTAL(i) total += x##i;

/* out (items vectors) = the sum of twelve chains x = x * factor + term, each 4 * steps long. */
kernel void multiply_add(global scalar *out, uint steps, float factor, float term) {
    vec a = (vec)((scalar)factor), b = (vec)((scalar)term), total = (vec)((scalar)0);
    TWELVE(DECLARE)
    for (uint n = 0; n < steps; ++n) {
        TWELVE(STEP) TWELVE(STEP) TWELVE(STEP) TWELVE(STEP)
    }
    TWELVE(TOTAL)
    JOIN(vstore, WIDTH)(total, get_global_id(0), out);
}

kernel void nothing(global scalar *out) {
}

#if HALF
/* Tells fp16 from fp32 in disguise: out[0] = big + one, out[1] = huge + huge, out[2] = one * one + one. The caller's
 * numbers, so that nothing is worked out when this is compiled. */
kernel void round_half(global float *out, float big, float huge_, float one) {
    half b = (half)big, h = (half)huge_, o = (half)one;
    out[0] = (float)(half)(b + o);
    out[1] = (float)(half)(h + h);
    out[2] = (float)(half)(o * o + o);
}
#else
/* out (items vectors) = sums over `chunk` vectors of in: a run of them for each work-item on CPUs (stride 1), every
 * stride-th on GPUs, so that neighbours read neighbours. */
kernel void read(global const float *in, global float *out, uint chunk, uint stride) {
    size_t item = get_global_id(0);
    size_t first = stride == 1 ? item * chunk : item;
    vec s0 = (vec)(0.0f), s1 = s0, s2 = s0, s3 = s0;
    for (uint n = 0; n < chunk; n += 4) {
        s0 += JOIN(vload, WIDTH)(first + (size_t)n * stride, in);
        s1 += JOIN(vload, WIDTH)(first + (size_t)(n + 1) * stride, in);
        s2 += JOIN(vload, WIDTH)(first + (size_t)(n + 2) * stride, in);
        s3 += JOIN(vload, WIDTH)(first + (size_t)(n + 3) * stride, in);
    }
    JOIN(vstore, WIDTH)((s0 + s1) + (s2 + s3), item, out);
}

/* The first half of data to the second, which begins at vector `distance`; chunk and stride as above. */
kernel void copy(global float *data, ulong distance, uint chunk, uint stride) {
    size_t item = get_global_id(0);
    size_t first = stride == 1 ? item * chunk : item;
    for (uint n = 0; n < chunk; n += 4) {
        /* Four on their way before the first is stored, which the compiler cannot tell to be elsewhere. */
        size_t i0 = first + (size_t)n * stride, i1 = i0 + stride, i2 = i1 + stride, i3 = i2 + stride;
        vec v0 = JOIN(vload, WIDTH)(i0, data), v1 = JOIN(vload, WIDTH)(i1, data);
        vec v2 = JOIN(vload, WIDTH)(i2, data), v3 = JOIN(vload, WIDTH)(i3, data);
        JOIN(vstore, WIDTH)(v0, i0 + distance, data);
        JOIN(vstore, WIDTH)(v1, i1 + distance, data);
        JOIN(vstore, WIDTH)(v2, i2 + distance, data);
        JOIN(vstore, WIDTH)(v3, i3 + distance, data);
    }
}
#endif
