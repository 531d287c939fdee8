/* The least that a program can do with OpenCL: one empty kernel, built by the process before. What is above it is ours. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const char source[] = "kernel void empty(global float *out) { out[0] = 1; }";

static cl_device_id find_device(const char *selector) {
    unsigned p = 0, d = 0;
    cl_platform_id platforms[32];
    cl_device_id devices[64];
    cl_uint num_platforms = 0, num_devices = 0;
    if (!selector || sscanf(selector, "%u:%u", &p, &d) != 2) return NULL;
    if (clGetPlatformIDs(32, platforms, &num_platforms) != CL_SUCCESS || p >= num_platforms || p >= 32) return NULL;
    if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 64, devices, &num_devices) != CL_SUCCESS) return NULL;
    return d < num_devices && d < 64 ? devices[d] : NULL;
}

/* From the file of an earlier process where there is one. */
static cl_program build(cl_context context, cl_device_id device, const char *path, bool *loaded) {
    static unsigned char binary[1 << 20];
    const unsigned char *bytes = binary;
    const char *text = source;
    cl_int error;
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(binary, 1, sizeof binary, file) : 0;
    if (file) fclose(file);
    *loaded = size > 0;
    cl_program program = *loaded ? clCreateProgramWithBinary(context, 1, &device, &size, &bytes, NULL, &error)
                                 : clCreateProgramWithSource(context, 1, &text, NULL, &error);
    return program && clBuildProgram(program, 1, &device, "", NULL, NULL) == CL_SUCCESS ? program : NULL;
}

static void keep(cl_program program, const char *path) {
    size_t size = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || size == 0) return;
    unsigned char *binary = malloc(size);
    FILE *file = fopen(path, "wb");
    if (file && binary && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS)
        fwrite(binary, 1, size, file);
    if (file) fclose(file);
    free(binary);
}

static bool run(cl_context context, cl_device_id device, cl_program program) {
    const size_t one = 1;
    float value = 0;
    cl_int error;
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &error);
    cl_kernel kernel = clCreateKernel(program, "empty", &error);
    cl_mem out = clCreateBuffer(context, 0, sizeof value, NULL, &error);
    return queue && kernel && out && clSetKernelArg(kernel, 0, sizeof out, &out) == CL_SUCCESS &&
           clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL) == CL_SUCCESS &&
           clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL) == CL_SUCCESS && value == 1;
}

/* The process ends soon: what was created is not released, as most programs do. */
int bench_start_empty(const char *selector) {
    bool loaded;
    cl_int error;
    double begin = tool_clock_seconds();
    const char *path = getenv(BENCH_EMPTY_FILE);
    cl_device_id device = find_device(selector);
    cl_context context = device ? clCreateContext(NULL, 1, &device, NULL, NULL, &error) : NULL;
    cl_program program = context && path ? build(context, device, path, &loaded) : NULL;
    if (!program || !run(context, device, program)) {
        fprintf(stderr, "qkv-bench: --start empty: no kernel runs on device '%s'\n", selector ? selector : "");
        return 1;
    }
    double end = tool_clock_seconds();
    printf("%.1f %.6f\n", (end - begin) * 1e6, end);
    if (!loaded) keep(program, path);
    return 0;
}
