#include "runtime.h"

#include <stdlib.h>
#include <string.h>

/* Lanes the vector kernels use. Drivers that do not know (0, or 1 for "scalarised by us") get 8, which AVX2 has and
 * 128-bit machines split in two. QKV_VECTOR_WIDTH forces a width, for tests and tuning. */
static uint32_t vector_width(const qkv_device_info *info) {
    const char *forced = getenv("QKV_VECTOR_WIDTH");
    if (forced && (!strcmp(forced, "4") || !strcmp(forced, "8") || !strcmp(forced, "16")))
        return (uint32_t)strtoul(forced, NULL, 10);
    uint32_t width = info->native_float_width;
    return width >= 16 ? 16 : width >= 8 || width <= 1 ? 8 : 4;
}

static void read_limits(struct qkvi_limits *limits, const qkv_device_info *info) {
    *limits = (struct qkvi_limits){
        .max_work_group_size = info->max_work_group_size ? (size_t)info->max_work_group_size : 1,
        .local_memory = (size_t)info->local_memory,
        .max_allocation = info->max_allocation > SIZE_MAX ? SIZE_MAX : (size_t)info->max_allocation,
        .compute_units = info->compute_units ? info->compute_units : 1,
        .vector_width = vector_width(info),
        .cpu = info->kind == QKV_DEVICE_CPU || info->kind == QKV_DEVICE_SOFTWARE_GPU ||
               info->kind == QKV_DEVICE_SIMULATOR,
        .gpu = info->kind == QKV_DEVICE_GPU,
        .simulator = info->kind == QKV_DEVICE_SIMULATOR,
    };
}

static qkv_status make_queue(struct qkvi_runtime *rt) {
    cl_int error;
    rt->queue = clCreateCommandQueue(rt->context, rt->device, 0, &error);
    return rt->queue ? QKV_OK : qkvi_cl_fail(error, "clCreateCommandQueue");
}

static qkv_status describe(struct qkvi_runtime *rt) {
    qkv_status status = qkvi_device_describe(&rt->info, rt->device);
    if (status) return status;
    read_limits(&rt->limits, &rt->info);
    return rt->info.usable ? QKV_OK : qkvi_fail(QKV_NO_DEVICE, "device %s %s", rt->info.name, rt->info.reason);
}

qkv_status qkvi_runtime_open(struct qkvi_runtime *rt, cl_device_id device, const struct qkvi_log *log) {
    *rt = (struct qkvi_runtime){.device = device, .log = *log};
    qkv_status status = describe(rt);
    if (!status) {
        cl_int error;
        cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)rt->info.platform_id, 0};
        rt->context = clCreateContext(properties, 1, &device, NULL, NULL, &error);
        status = rt->context ? make_queue(rt) : qkvi_cl_fail(error, "clCreateContext");
    }
    if (status) qkvi_runtime_close(rt);
    return status;
}

static qkv_status check_device(cl_context context, cl_device_id device) {
    size_t bytes = 0;
    cl_int error = clGetContextInfo(context, CL_CONTEXT_DEVICES, 0, NULL, &bytes);
    if (error != CL_SUCCESS) return qkvi_cl_fail(error, "context: clGetContextInfo");
    cl_device_id *devices = malloc(bytes ? bytes : 1);
    if (!devices) return qkvi_fail_memory("context");
    error = clGetContextInfo(context, CL_CONTEXT_DEVICES, bytes, devices, NULL);
    bool found = false;
    for (size_t i = 0; error == CL_SUCCESS && i < bytes / sizeof *devices; i++) found = found || devices[i] == device;
    free(devices);
    if (error != CL_SUCCESS) return qkvi_cl_fail(error, "context: clGetContextInfo");
    return found ? QKV_OK
                 : qkvi_fail(QKV_WRONG_CONTEXT, "device is none of the %zu devices of context", bytes / sizeof *devices);
}

qkv_status qkvi_runtime_wrap(struct qkvi_runtime *rt, cl_context context, cl_device_id device,
                             cl_command_queue queue, const struct qkvi_log *log) {
    *rt = (struct qkvi_runtime){.log = *log};
    qkv_status status = check_device(context, device);
    if (status) return status;
    rt->device = device;
    cl_int error = clRetainContext(context);
    if (error != CL_SUCCESS) return qkvi_cl_fail(error, "context: clRetainContext");
    rt->context = context;
    status = describe(rt);
    if (!status && queue) {
        status = qkvi_queue_check(rt, queue);
        error = status ? CL_SUCCESS : clRetainCommandQueue(queue);
        if (error != CL_SUCCESS) status = qkvi_cl_fail(error, "queue: clRetainCommandQueue");
        if (!status) rt->queue = queue;
    } else if (!status) {
        status = make_queue(rt);
    }
    if (status) qkvi_runtime_close(rt);
    return status;
}

void qkvi_runtime_close(struct qkvi_runtime *rt) {
    if (rt->queue) (void)clReleaseCommandQueue(rt->queue);
    if (rt->context) (void)clReleaseContext(rt->context);
    qkvi_device_info_free(&rt->info);
    rt->queue = NULL;
    rt->context = NULL;
}

qkv_status qkvi_runtime_finish(const struct qkvi_runtime *rt) {
    cl_int error = clFinish(rt->queue);
    return error == CL_SUCCESS ? QKV_OK : qkvi_cl_fail(error, "clFinish");
}
