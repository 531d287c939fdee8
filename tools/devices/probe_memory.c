/* The largest allocation that can really be written, and read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/ids.h"
#include "devices/probe.h"
#include "devices/property.h"

/* One word of each page of 4 KiB: enough to make the system provide all of them. */
#define STEP 1024
#define PROBE_STEPS_DOWN 6
/* The host's memory comes page by page from its system, seconds a GiB on some: here less must do unless all was asked. */
#define HOST_MOST ((cl_ulong)512 << 20)
/* Where the driver does not tell: what OpenCL demands. */
#define LEAST_CLAIM ((cl_ulong)128 << 20)

static cl_ulong file_number(const char *path, const char *before) {
    char line[256];
    unsigned long long value = 0;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, before, strlen(before)) == 0 && sscanf(line + strlen(before), "%llu", &value) == 1) break;
    fclose(file);
    return value;
}

/* What the host can still give: the system's word, or the container's where that is less. 0: unknown. */
static cl_ulong host_free(void) {
    cl_ulong free_bytes = file_number("/proc/meminfo", "MemAvailable:") * 1024;
    cl_ulong limit = file_number("/sys/fs/cgroup/memory.max", "");
    cl_ulong used = file_number("/sys/fs/cgroup/memory.current", "");
    if (limit > used && (free_bytes == 0 || limit - used < free_bytes)) free_bytes = limit - used;
#ifdef _SC_PHYS_PAGES
    if (free_bytes == 0) free_bytes = (cl_ulong)sysconf(_SC_PHYS_PAGES) * (cl_ulong)sysconf(_SC_PAGESIZE) / 2;
#endif
    return free_bytes;
}

/* No query tells how much of a GPU's memory is free, AMD's aside: then all of it counts as free. */
static cl_ulong device_free(const struct probe_device *device, bool *of_host) {
    cl_ulong size = probe_number(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    size_t kibibytes[2] = {0, 0};
    cl_bool unified = CL_FALSE;
    (void)clGetDeviceInfo(device->id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, NULL);
    if (probe_has_extension(device, "cl_amd_device_attribute_query") &&
        clGetDeviceInfo(device->id, ID_GLOBAL_FREE_MEMORY_AMD, sizeof kibibytes, kibibytes, NULL) == CL_SUCCESS)
        size = (cl_ulong)kibibytes[0] * 1024;
    *of_host = unified || device->kind != QKV_DEVICE_GPU;
    if (*of_host) {
        cl_ulong host = host_free();
        if (host && host < size) size = host;
    }
    return size;
}

struct memory_kernels {
    cl_program program;
    cl_kernel fill, check;
    cl_mem wrong;
};

static cl_int run(const struct memory_kernels *kernels, struct probe_device *device, cl_mem data, cl_ulong words,
                  cl_uint *wrong) {
    const cl_ulong step = STEP;
    const size_t items = (size_t)((words + STEP - 1) / STEP) + 1;
    cl_int code = CL_SUCCESS;
    const cl_kernel both[] = {kernels->fill, kernels->check};
    for (int i = 0; i < 2 && code == CL_SUCCESS; i++) {
        code = clSetKernelArg(both[i], 0, sizeof(cl_mem), &data);
        if (code == CL_SUCCESS) code = clSetKernelArg(both[i], 1, sizeof words, &words);
        if (code == CL_SUCCESS) code = clSetKernelArg(both[i], 2, sizeof step, &step);
        if (code == CL_SUCCESS && i) code = clSetKernelArg(both[i], 3, sizeof(cl_mem), &kernels->wrong);
        if (code == CL_SUCCESS)
            code = clEnqueueNDRangeKernel(device->queue, both[i], 1, NULL, &items, NULL, 0, NULL, NULL);
        if (code == CL_SUCCESS) code = clFinish(device->queue);
    }
    if (code != CL_SUCCESS) return code;
    return clEnqueueReadBuffer(device->queue, kernels->wrong, CL_TRUE, 0, sizeof *wrong, wrong, 0, NULL, NULL);
}

static bool prepare(struct outcome *outcome, struct memory_kernels *kernels, const struct probe_device *device) {
    cl_int code = CL_SUCCESS;
    kernels->program = probe_build(outcome, device, tool_source_probe_limits, "-cl-std=CL1.2");
    if (!kernels->program) return false;
    kernels->fill = clCreateKernel(kernels->program, "memory_fill", &code);
    if (kernels->fill) kernels->check = clCreateKernel(kernels->program, "memory_check", &code);
    if (kernels->check)
        kernels->wrong = clCreateBuffer(device->context, CL_MEM_READ_WRITE, sizeof(cl_uint), NULL, &code);
    if (!kernels->wrong) probe_failed(outcome, kernels->check ? "clCreateBuffer" : "clCreateKernel", code);
    return kernels->wrong != NULL;
}

static void release(struct memory_kernels *kernels) {
    if (kernels->wrong) clReleaseMemObject(kernels->wrong);
    if (kernels->check) clReleaseKernel(kernels->check);
    if (kernels->fill) clReleaseKernel(kernels->fill);
    if (kernels->program) clReleaseProgram(kernels->program);
    *kernels = (struct memory_kernels){NULL, NULL, NULL, NULL};
}

/* What was too large may have cost the context, and all that was made in it. */
static bool prepare_anew(struct outcome *outcome, struct memory_kernels *kernels, struct probe_device *device) {
    if (!device->doubtful) return true;
    release(kernels);
    return probe_renew(outcome, device) && prepare(outcome, kernels, device);
}

static bool attempt(struct outcome *outcome, struct memory_kernels *kernels, struct probe_device *device,
                    cl_ulong bytes) {
    cl_uint wrong = 0;
    if (!prepare_anew(outcome, kernels, device)) return false;
    cl_int code = clEnqueueWriteBuffer(device->queue, kernels->wrong, CL_TRUE, 0, sizeof wrong, &wrong, 0, NULL, NULL);
    if (code != CL_SUCCESS) {
        probe_command_failed(outcome, device, "clEnqueueWriteBuffer", code);
        return false;
    }
    cl_mem data = clCreateBuffer(device->context, CL_MEM_READ_WRITE, (size_t)bytes, NULL, &code);
    if (!data) {
        probe_failed(outcome, "clCreateBuffer", code);
        return false;
    }
    code = run(kernels, device, data, bytes / 4, &wrong);
    clReleaseMemObject(data);
    if (code != CL_SUCCESS)
        probe_command_failed(outcome, device, "writing it", code);
    else if (wrong)
        probe_result(outcome, PROBE_WRONG, "%u words are not what was written", (unsigned)wrong);
    return code == CL_SUCCESS && !wrong;
}

/* The claim itself first; then by halves between what works and what does not. */
static void search(struct outcome *outcome, struct memory_kernels *kernels, struct probe_device *device,
                   cl_ulong most) {
    char text[32], first[PROBE_DETAIL_MAX - 64];
    cl_ulong low = 0, high = most;
    bool good = attempt(outcome, kernels, device, most);
    outcome->has_value = true;
    outcome->value = most;
    if (good) {
        probe_result(outcome, PROBE_WORKS, "%s", "");
        return;
    }
    enum probe_state state = outcome->state;
    snprintf(first, sizeof first, "%.*s", (int)sizeof first - 1, outcome->detail);
    for (int i = 0; i < PROBE_STEPS_DOWN; i++) {
        cl_ulong middle = (low + (high - low) / 2) & ~(cl_ulong)4095;
        if (middle > 0 && attempt(outcome, kernels, device, middle))
            low = middle;
        else
            high = middle;
    }
    if (low == 0 && high > 4096 && attempt(outcome, kernels, device, 4096)) low = 4096;
    format_bytes(text, sizeof text, (json_int_t)most);
    outcome->has_value = low > 0;
    outcome->value = low;
    probe_result(outcome, low > 0 ? PROBE_WORKS : state, "%s fails: %s", text, first);
}

void probe_allocation(struct outcome *outcome, struct probe_device *device) {
    struct memory_kernels kernels = {NULL, NULL, NULL, NULL};
    cl_ulong claimed, most;
    bool of_host;
    cl_ulong quarter = (device_free(device, &of_host) / 4) & ~(cl_ulong)4095;
    if (probe_query(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, &claimed)) probe_claim(outcome, claimed);
    most = claimed ? claimed : LEAST_CLAIM;
    if (of_host && quarter > HOST_MOST) quarter = HOST_MOST;
    outcome->capped = !device->measure_memory && quarter && quarter < most;
    if (outcome->capped) most = quarter;
    if (most > SIZE_MAX) most = SIZE_MAX & ~(size_t)4095;
    if (prepare(outcome, &kernels, device)) search(outcome, &kernels, device, most);
    if (outcome->capped && outcome->state == PROBE_WORKS && !outcome->detail[0])
        probe_result(outcome, PROBE_WORKS, "no more was tried; --measure-memory tries all");
    release(&kernels);
}
