#include "runtime.h"

#include <stdlib.h>

static qkv_status make_queue(struct qkvi_runtime *rt) {
    cl_int error;
    rt->queue = clCreateCommandQueue(rt->context, rt->device, 0, &error);
    return rt->queue ? QKV_OK : qkvi_cl_fail(error, "clCreateCommandQueue");
}

static qkv_status describe(struct qkvi_runtime *rt) {
    qkv_status status = qkvi_device_describe(&rt->info, rt->device);
    if (status) return status;
    status = qkvi_limits_read(&rt->limits, &rt->info);
    if (status) return status;
    return rt->info.usable ? QKV_OK : qkvi_fail(QKV_NO_DEVICE, "device %s %s", rt->info.name, rt->info.reason);
}

qkv_status qkvi_runtime_open(struct qkvi_runtime *rt, cl_device_id device, const struct qkvi_log *log) {
    *rt = (struct qkvi_runtime){.device = device, .log = *log};
    qkv_status status = describe(rt);
    if (!status) {
        cl_int error;
        cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)rt->info.platform_id, 0};
        /* A device that does not name its platform brings it along all the same. */
        rt->context = clCreateContext(rt->info.platform_id ? properties : NULL, 1, &device, NULL, NULL, &error);
        status = rt->context ? make_queue(rt) : qkvi_cl_fail(error, "clCreateContext");
    }
    if (status) qkvi_runtime_close(rt);
    return status;
}

/* The device that this one is a part of, itself where it is whole: PoCL says that a context made for a part has the
 * whole. */
static cl_device_id whole_of(cl_device_id device) {
    cl_device_id parent = NULL;
    cl_int error = clGetDeviceInfo(device, CL_DEVICE_PARENT_DEVICE, sizeof parent, &parent, NULL);
    return error == CL_SUCCESS && parent ? parent : device;
}

static qkv_status check_device(cl_context context, cl_device_id device) {
    size_t bytes = 0;
    cl_int error = clGetContextInfo(context, CL_CONTEXT_DEVICES, 0, NULL, &bytes);
    if (error != CL_SUCCESS) return qkvi_cl_fail(error, "context: clGetContextInfo");
    cl_device_id *devices = malloc(bytes ? bytes : 1);
    if (!devices) return qkvi_fail_memory("context");
    error = clGetContextInfo(context, CL_CONTEXT_DEVICES, bytes, devices, NULL);
    bool found = false;
    for (size_t i = 0; error == CL_SUCCESS && i < bytes / sizeof *devices; i++)
        found = found || devices[i] == device || devices[i] == whole_of(device);
    free(devices);
    if (error != CL_SUCCESS) return qkvi_cl_fail(error, "context: clGetContextInfo");
    return found
               ? QKV_OK
               : qkvi_fail(QKV_WRONG_CONTEXT, "device is none of the %zu devices of context", bytes / sizeof *devices);
}

qkv_status qkvi_runtime_wrap(struct qkvi_runtime *rt, cl_context context, cl_device_id device, cl_command_queue queue,
                             const struct qkvi_log *log) {
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

qkv_status qkvi_runtime_wait(const struct qkvi_runtime *rt, cl_event event, qkv_status status) {
    if (!event) return status;
    cl_int state = CL_COMPLETE, error = clWaitForEvents(1, &event);
    (void)clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (error != CL_SUCCESS && state >= 0) (void)clFinish(rt->queue);
    (void)clReleaseEvent(event);
    if (state < 0) return qkvi_cl_fail(state, "a command that was enqueued ended with");
    return error == CL_SUCCESS ? status : qkvi_cl_fail(error, "clWaitForEvents");
}
