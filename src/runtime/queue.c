#include "runtime.h"

qkv_status qkvi_queue_check(const struct qkvi_runtime *rt, cl_command_queue queue) {
    cl_context context = NULL;
    cl_device_id device = NULL;
    if (!queue) return qkvi_fail(QKV_INVALID_ARGUMENT, "queue is NULL");
    cl_int error = clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
    if (error == CL_SUCCESS) error = clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    if (error != CL_SUCCESS) return qkvi_fail_prefix(qkvi_cl_fail(error, "clGetCommandQueueInfo"), "queue");
    if (context != rt->context)
        return qkvi_fail(QKV_WRONG_CONTEXT, "queue belongs to cl_context %p, the library's context wraps %p",
                         (void *)context, (void *)rt->context);
    if (device != rt->device)
        return qkvi_fail(QKV_WRONG_CONTEXT, "queue belongs to device %p, the library's context to %p (%s)",
                         (void *)device, (void *)rt->device, rt->info.name);
    return QKV_OK;
}

qkv_status qkvi_chain_begin(struct qkvi_chain *chain, const struct qkvi_observer *observer, cl_command_queue queue,
                            cl_uint num_wait, const cl_event *wait_list, cl_event *event) {
    cl_command_queue_properties properties = 0;
    if ((num_wait == 0) != (wait_list == NULL))
        return qkvi_fail(QKV_INVALID_ARGUMENT, "wait_list is %s but num_wait is %u", wait_list ? "given" : "NULL",
                         num_wait);
    for (cl_uint i = 0; i < num_wait; i++)
        if (!wait_list[i]) return qkvi_fail(QKV_INVALID_ARGUMENT, "wait_list[%u] is NULL", i);
    cl_int error = clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (error != CL_SUCCESS) return qkvi_fail_prefix(qkvi_cl_fail(error, "clGetCommandQueueInfo"), "queue");
    *chain = (struct qkvi_chain){
        .observer = observer && observer->function ? observer : NULL,
        .queue = queue,
        .num_wait = num_wait,
        .wait_list = wait_list,
        .event = event,
        .in_order = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE),
    };
    return QKV_OK;
}

static qkv_status set_arguments(cl_kernel kernel, const struct qkvi_arg *args, size_t num_args) {
    for (size_t i = 0; i < num_args; i++) {
        cl_int error = clSetKernelArg(kernel, (cl_uint)i, args[i].size, args[i].value);
        if (error != CL_SUCCESS)
            return qkvi_fail_prefix(qkvi_cl_fail(error, "clSetKernelArg"), "kernel argument %zu", i);
    }
    return QKV_OK;
}

bool qkvi_chain_needs_event(const struct qkvi_chain *chain) {
    return chain->event || !chain->in_order || chain->observer;
}

void qkvi_chain_add(struct qkvi_chain *chain, const char *name, cl_event event) {
    if (chain->last) (void)clReleaseEvent(chain->last);
    chain->last = event;
    chain->num_commands++;
    if (chain->observer) chain->observer->function(chain->observer->user, name, event);
}

/* Drivers refuse groups of a size that they had said they take. */
static bool refuses_group(cl_int error) {
    return error == CL_INVALID_WORK_GROUP_SIZE || error == CL_INVALID_WORK_ITEM_SIZE || error == CL_OUT_OF_RESOURCES;
}

qkv_status qkvi_chain_launch(struct qkvi_chain *chain, cl_kernel kernel, const char *name, const struct qkvi_arg *args,
                             size_t num_args, cl_uint dims, const size_t *global, const size_t *local, bool any_group) {
    for (cl_uint i = 0; i < dims; i++)
        if (global[i] == 0) return QKV_OK;
    qkv_status status = set_arguments(kernel, args, num_args);
    if (status) return status;

    bool first = chain->num_commands == 0;
    cl_uint num_wait = first ? chain->num_wait : chain->last ? 1 : 0;
    const cl_event *wait = num_wait == 0 ? NULL : first ? chain->wait_list : &chain->last;
    cl_event event = NULL;
    cl_event *slot = qkvi_chain_needs_event(chain) ? &event : NULL;
    cl_int error = clEnqueueNDRangeKernel(chain->queue, kernel, dims, NULL, global, local, num_wait, wait, slot);
    if (any_group && refuses_group(error))
        error = clEnqueueNDRangeKernel(chain->queue, kernel, dims, NULL, global, NULL, num_wait, wait, slot);
    if (error != CL_SUCCESS) return qkvi_fail_prefix(qkvi_cl_fail(error, "clEnqueueNDRangeKernel"), "kernel %s", name);
    qkvi_chain_add(chain, name, event);
    return QKV_OK;
}

/* The caller was promised that nothing is left running; on an in-order queue without events a marker stands for all. */
static void wait_for_enqueued(struct qkvi_chain *chain) {
    cl_event last = chain->last;
    cl_int error = last ? CL_SUCCESS : clEnqueueMarkerWithWaitList(chain->queue, 0, NULL, &last);
    if (error == CL_SUCCESS) error = clWaitForEvents(1, &last);
    /* An event that says its command failed was waited for; anything else leaves only the whole queue to wait for. */
    if (error != CL_SUCCESS && error != CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) (void)clFinish(chain->queue);
    if (last) (void)clReleaseEvent(last);
    chain->last = NULL;
}

static qkv_status enqueue_marker(struct qkvi_chain *chain) {
    if (!chain->event && chain->num_wait == 0) return QKV_OK;
    cl_int error = clEnqueueMarkerWithWaitList(chain->queue, chain->num_wait, chain->wait_list, chain->event);
    return error == CL_SUCCESS ? QKV_OK : qkvi_cl_fail(error, "clEnqueueMarkerWithWaitList");
}

qkv_status qkvi_chain_end(struct qkvi_chain *chain, qkv_status status) {
    if (status && chain->num_commands > 0) wait_for_enqueued(chain);
    if (status) return status;
    if (chain->num_commands == 0) return enqueue_marker(chain);
    if (chain->event)
        *chain->event = chain->last;
    else if (chain->last)
        (void)clReleaseEvent(chain->last);
    chain->last = NULL;
    return QKV_OK;
}
