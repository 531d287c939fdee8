#include "runtime.h"

#include <stdlib.h>

/* Which of the program's devices is ours: what it says of itself are lists in this order. */
static bool find_device(size_t *at, cl_uint *count, const struct qkvi_runtime *rt, cl_program program) {
    if (clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, sizeof *count, count, NULL) != CL_SUCCESS) return false;
    cl_device_id *devices = calloc(*count ? *count : 1, sizeof *devices);
    bool found =
        devices && clGetProgramInfo(program, CL_PROGRAM_DEVICES, *count * sizeof *devices, devices, NULL) == CL_SUCCESS;
    for (*at = 0; found && *at < *count && devices[*at] != rt->device;)
        ++*at;
    free(devices);
    return found && *at < *count;
}

bool qkvi_module_binary(char **data, size_t *size, const struct qkvi_runtime *rt, cl_program program) {
    size_t at;
    cl_uint count;
    if (!find_device(&at, &count, rt, program)) return false;
    unsigned char *binary = NULL;
    size_t *sizes = calloc(count, sizeof *sizes);
    unsigned char **binaries = calloc(count, sizeof *binaries); /* a NULL leaves a device's binary out */
    bool good = sizes && binaries &&
                clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, count * sizeof *sizes, sizes, NULL) == CL_SUCCESS &&
                sizes[at] > 0;
    if (good) binary = binaries[at] = malloc(sizes[at]);
    /* An implementation that fails may say so by setting our pointer to NULL. */
    good = binary &&
           clGetProgramInfo(program, CL_PROGRAM_BINARIES, count * sizeof *binaries, binaries, NULL) == CL_SUCCESS &&
           binaries[at] == binary;
    if (good) {
        *data = (char *)binary;
        *size = sizes[at];
    } else {
        free(binary);
    }
    free(sizes);
    free(binaries);
    return good;
}

bool qkvi_module_load(cl_program *out, const struct qkvi_runtime *rt, const char *data, size_t size,
                      const char *options) {
    cl_int error, refused = CL_SUCCESS;
    const unsigned char *binary = (const unsigned char *)data;
    cl_program program = clCreateProgramWithBinary(rt->context, 1, &rt->device, &size, &binary, &refused, &error);
    if (!program) return false;
    if (error != CL_SUCCESS || refused != CL_SUCCESS ||
        clBuildProgram(program, 1, &rt->device, options, NULL, NULL) != CL_SUCCESS) {
        (void)clReleaseProgram(program);
        return false;
    }
    *out = program;
    return true;
}
