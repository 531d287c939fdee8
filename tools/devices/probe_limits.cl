/*
 * How much of a thing really works: work-items in a group, local memory, an allocation.
 */

/* One group. buffer 0: uint out[2 * items]. Each item reads what its neighbour wrote before the barrier. */
kernel void group_size(global uint *out) {
    uint items = (uint)get_local_size(0), item = (uint)get_local_id(0);
    out[item] = item * 2654435761u + 1u;
    barrier(CLK_GLOBAL_MEM_FENCE);
    out[items + item] = out[(item + 1) % items];
}

/* One group. buffer 0: uint out[items], words found wrong; argument 1: their number; argument 2: local memory. */
kernel void local_memory(global uint *out, const uint words, local uint *scratch) {
    uint items = (uint)get_local_size(0), item = (uint)get_local_id(0);
    uint wrong = 0;
    for (uint i = item; i < words; i += items) scratch[i] = i * 2654435761u + 1u;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = items - 1 - item; i < words; i += items) wrong += scratch[i] != i * 2654435761u + 1u;
    out[item] = wrong;
}

/* buffer 0: uint data[words]; each item has the word at its index times `step`, and the last item the last word.
 * Offsets pass 2^32 bytes where the buffer does. */
kernel void memory_fill(global uint *data, const ulong words, const ulong step) {
    ulong at = (ulong)get_global_id(0) * step;
    if (get_global_id(0) == get_global_size(0) - 1) at = words - 1;
    data[at] = (uint)(at >> 10) * 2654435761u + (uint)at;
}

kernel void memory_check(global const uint *data, const ulong words, const ulong step, global uint *wrong) {
    ulong at = (ulong)get_global_id(0) * step;
    if (get_global_id(0) == get_global_size(0) - 1) at = words - 1;
    if (data[at] != (uint)(at >> 10) * 2654435761u + (uint)at) atomic_inc(wrong);
}
