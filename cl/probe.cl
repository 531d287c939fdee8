/*
 * What the library finds out before it builds anything else; one kernel, since every program and every kernel costs
 * the first start its own compilation. One work-item; kind
 *   0  Does a work-item run its loops to the end? Mesa's llvmpipe leaves every loop of a work-item once 65535
 *      iterations were made in all, without a word, and the results are wrong. A chain of outer * inner steps of a
 *      linear congruential generator, whose value tells the host how many steps were really made.
 *   1  How fast is mad()? `outer` dependent multiply-adds on four lanes.
 *   2  How fast is fma()? The same.
 *   buffer 0: uint out[4]   arguments 1 to 3: int kind, outer, inner   NDRange: 1 x local 1
 */
__kernel void probe(__global uint *out, const int kind, const int outer, const int inner)
{
    const float4 a = (float4)(0.999f), b = (float4)(0.001f * (float)outer);
    float4 x = (float4)(0.1f, 0.2f, 0.3f, 0.4f);
    uint n = 1;
    if (kind == 0) {
        for (int i = 0; i < outer; i++)
            for (int j = 0; j < inner; j++)
                n = n * 1664525u + 1013904223u;
        out[0] = n;
        return;
    }
    if (kind == 1)
        for (int i = 0; i < outer; i++)
            x = mad(x, a, b);
    else
        for (int i = 0; i < outer; i++)
            x = fma(x, a, b);
    vstore4(as_uint4(x), 0, out);
}
