/* buffer 0: int out[items]   buffer 1: const int in[items]   NDRange: any. It has a source of its own: whatever else
 * a compiler lacks, this must build. out[i] = 3 in[i] + i / 2, through integers and floats. */
kernel void basic(global int *out, global const int *in) {
    size_t i = get_global_id(0);
    out[i] = in[i] * 3 + (int)((float)i * 0.5f);
}
