/*
 * What a device computes, on numbers that the caller gives, so that nothing is worked out at compile time. One
 * work-item each.
 *   buffer 0: the results   buffer 1: the numbers
 * One kernel a build, PROBE_NAME, so that what a compiler lacks is lacking in that one alone.
 */

#ifdef PROBE_denormals
/* in: the smallest normal, 1/2, the smallest denormal, 2^24. */
kernel void denormals(global float *out, global const float *in) {
    out[0] = in[0] * in[1];
    out[1] = in[2] + in[2];
    out[2] = in[2] * in[3];
}
#endif

#ifdef PROBE_infinities
/* in: 1e30, infinity, 3, 0. */
kernel void infinities(global float *out, global const float *in) {
    float huge = in[0] * in[0];
    out[0] = huge;
    out[1] = huge - huge;
    out[2] = INFINITY;
    out[3] = fmax(-INFINITY, in[2]);
    out[4] = exp(-in[1]);
    out[5] = isinf(in[1]) ? 1.0f : 0.0f;
    out[6] = in[2] / in[1];
    out[7] = isnan(in[1] * in[3]) ? 1.0f : 0.0f;
    out[8] = in[2] > -INFINITY ? 1.0f : 0.0f;
}
#endif

#ifdef PROBE_half_storage
/* fp16 as storage: six of them to fp32 in out[0..5] and back in the following bytes, then infinity once more, as a
 * constant: one compiler was seen to fold that wrongly. */
kernel void half_storage(global float *out, global const half *in) {
    global half *back = (global half *)(out + 6);
    for (int i = 0; i < 6; i++) {
        out[i] = vload_half(i, in);
        vstore_half_rte(out[i], i, back);
    }
    vstore_half(INFINITY, 6, back);
}
#endif

#ifdef PROBE_wide_integers
/* in: two of 64 bits. */
kernel void wide_integers(global ulong *out, global const ulong *in) {
    out[0] = in[0] * in[1];
    out[1] = in[0] + in[1];
    out[2] = in[0] >> 33;
    out[3] = mul_hi(in[0], in[1]);
    out[4] = in[0] / in[1];
    out[5] = sizeof(size_t);
}
#endif

#ifdef PROBE_exact_fma
/* in: a, b, c with a * b + c = 0 unless the product is kept exact. */
kernel void exact_fma(global float *out, global const float *in) {
    out[0] = fma(in[0], in[1], in[2]);
#ifdef FP_FAST_FMAF
    out[1] = 1.0f;
#else
    out[1] = 0.0f;
#endif
}
#endif

#ifdef PROBE_chain
/* A chain of dependent operations, to be timed: eight a step, for one compiler leaves a loop after 65535 steps.
 * in: 0.999, 0.001. */
#define CHAIN(name, OPERATION) \
    kernel void name(global float *out, global const float *in, const int steps) { \
        float4 x = (float4)(0.1f, 0.2f, 0.3f, 0.4f); \
        const float4 a = (float4)(in[0]), b = (float4)(in[1]); \
        for (int i = 0; i < steps; i++) { \
            x = OPERATION(x, a, b), x = OPERATION(x, a, b), x = OPERATION(x, a, b), x = OPERATION(x, a, b); \
            x = OPERATION(x, a, b), x = OPERATION(x, a, b), x = OPERATION(x, a, b), x = OPERATION(x, a, b); \
        } \
        vstore4(x, 0, out); \
    }
CHAIN(chain_fma, fma)
CHAIN(chain_mad, mad)
#endif
