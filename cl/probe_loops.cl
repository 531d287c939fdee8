/*
 * Does a work-item run its loops to the end? Mesa's llvmpipe leaves every loop of a work-item once 65535 iterations
 * were made in all, without a word, and the results are wrong. A chain of outer * inner steps of a linear
 * congruential generator, whose value tells the host how many steps were really made.
 *   buffer 0: uint out[1]   arguments 1, 2: int outer, inner   NDRange: 1 x local 1
 */
__kernel void probe_loops(__global uint *out, const int outer, const int inner) {
    uint x = 1;
    for (int i = 0; i < outer; i++)
        for (int j = 0; j < inner; j++) x = x * 1664525u + 1013904223u;
    out[0] = x;
}
