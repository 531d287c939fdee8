/*
 * Repacks a weight matrix, or a bias, into the panels that the linear kernels read: column n of an output lies in
 * panel first_panel + n / panel, and element (k, n) of that panel at (k * panel + n % panel), panels of
 * in_features * panel elements one after the other. Columns past out_features are zeros; where `present` is 0 all are.
 * A bias is packed as a weight matrix with one k.
 *
 * from: element (k, n) at offset + k * stride_k + n * stride_n.
 * NDRange: (the output's columns, padded, rounded up to the group, in_features).
 */
kernel void linear_pack(global float *to, global const float *from, int present, long offset, long stride_k,
                        long stride_n, long in_features, long out_features, long panel, long first_panel)
{
    const long n = (long)get_global_id(0);
    const long k = (long)get_global_id(1);
    const long p = n / panel;
    if (p * panel >= out_features)
        return;
    /* Clamped, because both branches of a guarded load may run. */
    const long at = offset + k * stride_k + min(n, out_features - 1) * stride_n;
    const float value = present && n < out_features ? from[at] : 0.0f;
    to[((first_panel + p) * in_features + k) * panel + (n - p * panel)] = value;
}
