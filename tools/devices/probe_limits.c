/* Probes of how much of a thing really works: loops, work-groups, local memory, one allocation. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/ids.h"
#include "devices/probe.h"
#include "devices/property.h"

static const char baseline[] = "-cl-std=CL1.2";

static bool set_args(struct outcome *outcome, cl_kernel kernel, cl_uint count, const size_t *sizes,
                     const void *const *values) {
    for (cl_uint i = 0; i < count; i++) {
        cl_int code = clSetKernelArg(kernel, i, sizes[i], values[i]);
        if (code != CL_SUCCESS) {
            probe_failed(outcome, "clSetKernelArg", code);
            return false;
        }
    }
    return true;
}

static bool run_kernel(struct outcome *outcome, struct probe_device *device, cl_kernel kernel, size_t global,
                       const size_t *local) {
    cl_int code = clEnqueueNDRangeKernel(device->queue, kernel, 1, NULL, &global, local, 0, NULL, NULL);
    if (code != CL_SUCCESS) {
        probe_command_failed(outcome, device, "clEnqueueNDRangeKernel", code);
        return false;
    }
    code = clFinish(device->queue);
    if (code != CL_SUCCESS) probe_command_failed(outcome, device, "clFinish", code);
    return code == CL_SUCCESS;
}

/* More steps than the one limit known (65535, see cl/probe.cl). */
enum { OUTER = 300, INNER = 300 };

/* Where the generator stood tells how many steps were made. */
static void judge_loops(struct outcome *outcome, cl_uint value, int total) {
    cl_uint x = 1;
    int steps = 0;
    for (; steps < total && x != value; steps++)
        x = x * 1664525u + 1013904223u;
    if (x != value) {
        probe_result(outcome, PROBE_WRONG, "%d steps compute nonsense", total);
    } else if (steps < total) {
        probe_result(outcome, PROBE_WRONG, "left after %d of %d iterations, without an error", steps, total);
    } else {
        probe_result(outcome, PROBE_WORKS, "%s", "");
    }
}

void probe_loops(struct outcome *outcome, struct probe_device *device) {
    /* A simulator takes its time; only compilers were seen to cut loops short. */
    const cl_int kind = 0, outer = device->kind == QKV_DEVICE_SIMULATOR ? 20 : OUTER, inner = outer;
    const size_t one = 1;
    cl_uint value = 0;
    cl_int code;
    cl_kernel kernel = NULL;
    probe_claim(outcome, 1);
    cl_program program = probe_build(outcome, device, tool_source_probe_loops, baseline);
    if (!program) return;
    cl_mem out = clCreateBuffer(device->context, CL_MEM_READ_WRITE, 4 * sizeof value, NULL, &code);
    if (!out) probe_failed(outcome, "clCreateBuffer", code);
    if (out) kernel = clCreateKernel(program, "probe", &code);
    if (out && !kernel) probe_failed(outcome, "clCreateKernel", code);
    const size_t sizes[] = {sizeof out, sizeof kind, sizeof outer, sizeof inner};
    const void *const values[] = {&out, &kind, &outer, &inner};
    if (kernel && set_args(outcome, kernel, 4, sizes, values) && run_kernel(outcome, device, kernel, one, &one)) {
        code = clEnqueueReadBuffer(device->queue, out, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL);
        if (code == CL_SUCCESS)
            judge_loops(outcome, value, outer * inner);
        else
            probe_command_failed(outcome, device, "clEnqueueReadBuffer", code);
    }
    if (kernel) clReleaseKernel(kernel);
    if (out) clReleaseMemObject(out);
    clReleaseProgram(program);
}

/* Between the largest size that works and the smallest that does not, this often. */
#define HALVINGS 10

typedef bool attempt_function(struct outcome *, struct probe_device *, size_t);

/* What was too large may have cost the context: the next attempt is not to suffer for it. */
static bool attempt_anew(struct outcome *outcome, struct probe_device *device, size_t size, attempt_function *attempt) {
    return probe_renew(outcome, device) && attempt(outcome, device, size);
}

/*
 * `size` itself; where that fails, by halves between what works and what does not, and if nothing does `least`. The
 * outcome's value is what works, its detail what went wrong at `size`. Sizes are multiples of `unit` but for `least`.
 */
static void largest_working(struct outcome *outcome, struct probe_device *device, size_t size, size_t unit,
                            size_t least, attempt_function *attempt) {
    size_t low = 0, high = size;
    bool good = attempt(outcome, device, size);
    const struct outcome first = *outcome;
    for (int i = 0; i < HALVINGS && !good; i++) {
        size_t middle = (low + (high - low) / 2) / unit * unit;
        if (middle == low) break;
        if (attempt_anew(outcome, device, middle, attempt))
            low = middle;
        else
            high = middle;
    }
    if (!good && low == 0 && least < high && attempt_anew(outcome, device, least, attempt)) low = least;
    outcome->value = good ? size : low;
    outcome->has_value = outcome->value > 0;
    if (good)
        probe_result(outcome, PROBE_WORKS, "%s", "");
    else
        probe_result(outcome, low > 0 ? PROBE_WORKS : first.state, "%s", first.detail);
}

static bool attempt_group(struct outcome *outcome, struct probe_device *device, size_t items) {
    cl_uint *out = items <= SIZE_MAX / (2 * sizeof *out) ? malloc(2 * items * sizeof *out) : NULL;
    if (!out) {
        probe_result(outcome, PROBE_FAILED, "no memory for %zu work-items", items);
        return false;
    }
    const struct launch launch = {.source = tool_source_probe_limits,
                                  .options = baseline,
                                  .kernel = "group_size",
                                  .global = items,
                                  .local = items,
                                  .out = out,
                                  .out_bytes = 2 * items * sizeof *out};
    bool good = probe_launch(outcome, device, &launch);
    for (size_t i = 0; i < items && good; i++)
        if (out[i] != (cl_uint)i * 2654435761u + 1u ||
            out[items + i] != (cl_uint)((i + 1) % items) * 2654435761u + 1u) {
            probe_result(outcome, PROBE_WRONG, "a barrier among %zu work-items does not hold", items);
            good = false;
        }
    free(out);
    return good;
}

/* What is tried is a group along the first axis, which may be shorter than the largest group. 0: not known. */
static size_t first_axis(const struct probe_device *device) {
    enum { MOST = 16 };
    size_t sizes[MOST] = {0}, bytes = 0;
    if (clGetDeviceInfo(device->id, CL_DEVICE_MAX_WORK_ITEM_SIZES, 0, NULL, &bytes) != CL_SUCCESS) return 0;
    if (bytes > sizeof sizes) return 0;
    return clGetDeviceInfo(device->id, CL_DEVICE_MAX_WORK_ITEM_SIZES, bytes, sizes, NULL) == CL_SUCCESS ? sizes[0] : 0;
}

void probe_group_size(struct outcome *outcome, struct probe_device *device) {
    const size_t axis = first_axis(device);
    cl_ulong number;
    const bool known = probe_query(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, &number);
    if (axis && axis < number) number = axis;
    if (known) probe_claim(outcome, number);
    const size_t claimed = number ? (size_t)number : 1024;
    largest_working(outcome, device, claimed, claimed > 64 ? 32 : 1, 1, attempt_group);
}

/* One driver runs kernels with barriers in groups of one only, and says so of the kernel, not of the device. */
static size_t group_of(const struct probe_device *device, cl_kernel kernel, size_t most) {
    cl_ulong of_device = probe_number(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    size_t of_kernel = 0;
    if (clGetKernelWorkGroupInfo(kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof of_kernel, &of_kernel, NULL) !=
        CL_SUCCESS)
        of_kernel = 0;
    if (of_device && of_device < most) most = (size_t)of_device;
    return of_kernel && of_kernel < most ? of_kernel : most;
}

static bool local_kernel(struct outcome *outcome, struct probe_device *device, cl_kernel kernel, size_t bytes) {
    enum { MOST = 64 };
    cl_uint wrong[MOST] = {0};
    const size_t items = group_of(device, kernel, MOST);
    const cl_uint words = (cl_uint)(bytes / 4);
    cl_int code;
    cl_mem out = clCreateBuffer(device->context, CL_MEM_READ_WRITE, sizeof wrong, NULL, &code);
    if (!out) {
        probe_failed(outcome, "clCreateBuffer", code);
        return false;
    }
    const size_t sizes[] = {sizeof out, sizeof words, bytes};
    const void *const values[] = {&out, &words, NULL};
    bool good = set_args(outcome, kernel, 3, sizes, values) && run_kernel(outcome, device, kernel, items, &items);
    code = good ? clEnqueueReadBuffer(device->queue, out, CL_TRUE, 0, items * 4, wrong, 0, NULL, NULL) : CL_SUCCESS;
    if (code != CL_SUCCESS) probe_command_failed(outcome, device, "clEnqueueReadBuffer", code);
    clReleaseMemObject(out);
    for (size_t i = 0; i < items && good; i++)
        if (wrong[i]) {
            probe_result(outcome, PROBE_WRONG, "%u words of %u are not what was written", (unsigned)wrong[i],
                         (unsigned)words);
            return false;
        }
    return good && code == CL_SUCCESS;
}

static bool attempt_local(struct outcome *outcome, struct probe_device *device, size_t bytes) {
    cl_int code;
    bytes &= ~(size_t)3;
    cl_program program = probe_build(outcome, device, tool_source_probe_limits, baseline);
    if (!program) return false;
    cl_kernel kernel = clCreateKernel(program, "local_memory", &code);
    if (!kernel) probe_failed(outcome, "clCreateKernel", code);
    bool good = kernel && local_kernel(outcome, device, kernel, bytes);
    if (kernel) clReleaseKernel(kernel);
    clReleaseProgram(program);
    return good;
}

void probe_local_memory(struct outcome *outcome, struct probe_device *device) {
    cl_ulong number;
    if (probe_query(device, CL_DEVICE_LOCAL_MEM_SIZE, &number)) probe_claim(outcome, number);
    /* Where nothing is known, what OpenCL demands. */
    largest_working(outcome, device, number ? (size_t)number : 32768, 16, 16, attempt_local);
}
