#include "runtime.h"

#include <stdlib.h>

pthread_mutex_t qkvi_build_mutex = PTHREAD_MUTEX_INITIALIZER;

static void read_build_log(struct qkvi_text *out, const struct qkvi_runtime *rt, cl_program program) {
    const size_t most = (size_t)1 << 24; /* a size beyond it is not to be believed */
    size_t bytes = 0;
    if (clGetProgramBuildInfo(program, rt->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS) return;
    if (bytes > most) return;
    char *log = calloc(bytes + 1, 1);
    if (log && clGetProgramBuildInfo(program, rt->device, CL_PROGRAM_BUILD_LOG, bytes, log, NULL) == CL_SUCCESS)
        qkvi_text_add(out, "%s", log);
    free(log);
}

qkv_status qkvi_module_build(cl_program *out, const struct qkvi_runtime *rt, const char *source, size_t length,
                             const char *options, bool *refused_options, struct qkvi_text *build_log) {
    cl_int error;
    cl_program program = clCreateProgramWithSource(rt->context, 1, &source, &length, &error);
    if (!program) return qkvi_cl_fail(error, "clCreateProgramWithSource");
    error = clBuildProgram(program, 1, &rt->device, options, NULL, NULL);
    *refused_options = error == CL_INVALID_BUILD_OPTIONS || error == CL_INVALID_COMPILER_OPTIONS;
    if (error != CL_SUCCESS) {
        read_build_log(build_log, rt, program);
        (void)clReleaseProgram(program);
        qkv_status status = qkvi_cl_fail(error, "clBuildProgram");
        return status == QKV_OPENCL_ERROR ? QKV_BUILD_FAILED : status;
    }
    *out = program;
    return QKV_OK;
}

void qkvi_module_release(cl_program program) {
    if (program) (void)clReleaseProgram(program);
}

qkv_status qkvi_module_kernel(cl_kernel *out, cl_program program, const char *name) {
    cl_int error;
    cl_kernel kernel = clCreateKernel(program, name, &error);
    if (!kernel) return qkvi_fail_prefix(qkvi_cl_fail(error, "clCreateKernel"), "kernel %s", name);
    *out = kernel;
    return QKV_OK;
}

void qkvi_module_kernel_release(cl_kernel kernel) {
    if (kernel) (void)clReleaseKernel(kernel);
}

size_t qkvi_module_kernel_group_limit(const struct qkvi_runtime *rt, cl_kernel kernel) {
    size_t limit = 0;
    cl_int error = clGetKernelWorkGroupInfo(kernel, rt->device, CL_KERNEL_WORK_GROUP_SIZE, sizeof limit, &limit, NULL);
    if (error != CL_SUCCESS || limit == 0) limit = 1;
    return limit < rt->limits.max_work_group_size ? limit : rt->limits.max_work_group_size;
}

size_t qkvi_module_kernel_local_bytes(const struct qkvi_runtime *rt, cl_kernel kernel) {
    cl_ulong bytes = 0;
    cl_int error = clGetKernelWorkGroupInfo(kernel, rt->device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    return error == CL_SUCCESS ? (size_t)bytes : 0;
}
