/*
 * Subgroups, and values passed between their work-items. NDRange: one work-group.
 *   buffer 0: int out[3 * items]: size of the subgroup, sum of 1 over it, value of the neighbour
 *   -DSHUFFLE=1: the neighbour's by a shuffle, of Khronos or of Intel; 0: the first one's by a broadcast
 */
#ifndef SHUFFLE
#define SHUFFLE 0
#endif
#ifdef cl_khr_subgroups
#pragma OPENCL EXTENSION cl_khr_subgroups : enable
#endif
#ifdef cl_khr_subgroup_shuffle
#pragma OPENCL EXTENSION cl_khr_subgroup_shuffle : enable
#endif
#ifdef cl_intel_subgroups
#pragma OPENCL EXTENSION cl_intel_subgroups : enable
#endif

kernel void subgroups(global int *out) {
    size_t items = get_local_size(0), item = get_local_id(0);
    int size = (int)get_sub_group_size(), lane = (int)get_sub_group_local_id();
    out[item] = size;
    out[items + item] = sub_group_reduce_add(1);
    int neighbour = (lane ^ 1) < size ? lane ^ 1 : lane;
#if SHUFFLE && defined(cl_intel_subgroups) && !defined(cl_khr_subgroup_shuffle)
    out[2 * items + item] = intel_sub_group_shuffle(1000 + lane, (uint)neighbour) - 1000 - neighbour;
#elif SHUFFLE
    out[2 * items + item] = sub_group_shuffle(1000 + lane, (uint)neighbour) - 1000 - neighbour;
#else
    out[2 * items + item] = sub_group_broadcast(1000 + lane, 0u) - 1000;
#endif
}
