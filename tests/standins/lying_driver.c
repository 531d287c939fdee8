/*
 * Preloaded, it makes a good driver lie or fall over. The environment says how:
 *   LYING_EXTENSION       an extension that is claimed and not there
 *   LYING_GROUP           times the largest work-group is claimed, along its first axis too
 *   LYING_CRASH, _HANG    part of the build options at which a build aborts, or sleeps
 *   LYING_QUERY           the query that fails, as a number: 0x1010
 *   LYING_ENQUEUE         part of the names of the kernels that cannot be enqueued
 *   LYING_SLOW            part of the names of the kernels that take their time, the first few times
 *   LYING_SAY             part of the names of the kernels at whose creation it says something
 *   LYING_DIE             part of the build options at which a build ends the program without a word
 *   LYING_WRONG           part of the name of the kernels whose results come back wrong
 */
#define _GNU_SOURCE 1 /* RTLD_NEXT, usleep() */
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

#define REAL(name)                                                                                                     \
    __typeof__(&name) next;                                                                                            \
    void *symbol = real(#name);                                                                                        \
    memcpy(&next, &symbol, sizeof next)

static int has(const char *text, const char *variable) {
    const char *part = getenv(variable);
    return part && text && strstr(text, part) != NULL;
}

static cl_int longer_extensions(cl_int code, const char *more, size_t size, char *value, size_t *out_size) {
    if (code == CL_SUCCESS && value && strlen(value) + strlen(more) + 2 <= size) {
        strcat(value, " ");
        strcat(value, more);
    }
    if (out_size) *out_size += strlen(more) + 1;
    return code;
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceInfo(cl_device_id device, cl_device_info name, size_t size, void *value,
                                                size_t *out_size) {
    REAL(clGetDeviceInfo);
    const char *extension = getenv("LYING_EXTENSION"), *times = getenv("LYING_GROUP"), *query = getenv("LYING_QUERY");
    if (query && strtoul(query, NULL, 0) == name) return CL_OUT_OF_RESOURCES;
    cl_int code = next(device, name, size, value, out_size);
    if (name == CL_DEVICE_EXTENSIONS && extension) return longer_extensions(code, extension, size, value, out_size);
    if ((name == CL_DEVICE_MAX_WORK_GROUP_SIZE || name == CL_DEVICE_MAX_WORK_ITEM_SIZES) && times &&
        code == CL_SUCCESS && value)
        *(size_t *)value *= strtoul(times, NULL, 10);
    return code;
}

CL_API_ENTRY cl_int CL_API_CALL clBuildProgram(cl_program program, cl_uint count, const cl_device_id *devices,
                                               const char *options, void(CL_CALLBACK *notify)(cl_program, void *),
                                               void *user) {
    REAL(clBuildProgram);
    if (has(options, "LYING_CRASH")) {
        fputs("lying driver: gives up\n", stderr);
        abort();
    }
    if (has(options, "LYING_DIE")) abort();
    while (has(options, "LYING_HANG"))
        (void)sleep(1000);
    return next(program, count, devices, options, notify, user);
}

static int spoil;

CL_API_ENTRY cl_kernel CL_API_CALL clCreateKernel(cl_program program, const char *name, cl_int *code) {
    REAL(clCreateKernel);
    spoil = has(name, "LYING_WRONG");
    if (has(name, "LYING_SAY")) fputs("lying driver: by the way\n", stderr);
    return next(program, name, code);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                                       const size_t *offset, const size_t *global, const size_t *local,
                                                       cl_uint num, const cl_event *list, cl_event *event) {
    REAL(clEnqueueNDRangeKernel);
    char name[256] = "";
    (void)clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    static int slow = 8;
    if (has(name, "LYING_ENQUEUE")) return CL_OUT_OF_RESOURCES;
    if (has(name, "LYING_SLOW") && slow-- > 0) (void)usleep(50000);
    return next(queue, kernel, dimensions, offset, global, local, num, list, event);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool wait, size_t offset,
                                                    size_t size, void *out, cl_uint num, const cl_event *list,
                                                    cl_event *event) {
    REAL(clEnqueueReadBuffer);
    cl_int code = next(queue, buffer, wait, offset, size, out, num, list, event);
    if (spoil && size > 0) *(unsigned char *)out ^= 1;
    return code;
}
