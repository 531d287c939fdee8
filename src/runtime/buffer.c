#include "runtime.h"

static qkv_status create(cl_mem *out, const struct qkvi_runtime *rt, cl_mem_flags flags, void *data, size_t bytes,
                         const char *what) {
    if (bytes > rt->limits.max_allocation)
        return qkvi_fail(QKV_OUT_OF_DEVICE_MEMORY, "%s needs %zu bytes; the device's largest allocation is %zu", what,
                         bytes, rt->limits.max_allocation);
    cl_int error;
    cl_mem buffer = clCreateBuffer(rt->context, CL_MEM_READ_WRITE | flags, bytes ? bytes : 1, data, &error);
    if (!buffer) return qkvi_fail_prefix(qkvi_cl_fail(error, "clCreateBuffer"), "%s (%zu bytes)", what, bytes);
    *out = buffer;
    return QKV_OK;
}

qkv_status qkvi_buffer_create(cl_mem *out, const struct qkvi_runtime *rt, size_t bytes, const char *what) {
    return create(out, rt, 0, NULL, bytes, what);
}

qkv_status qkvi_buffer_create_from(cl_mem *out, const struct qkvi_runtime *rt, const void *data, size_t bytes,
                                   const char *what) {
    return create(out, rt, CL_MEM_COPY_HOST_PTR, (void *)(uintptr_t)data, bytes, what);
}

void qkvi_buffer_release(cl_mem buffer) {
    if (buffer) (void)clReleaseMemObject(buffer);
}

qkv_status qkvi_buffer_retain(cl_mem buffer, const char *name) {
    cl_int error = clRetainMemObject(buffer);
    return error == CL_SUCCESS ? QKV_OK : qkvi_fail_prefix(qkvi_cl_fail(error, "clRetainMemObject"), "%s", name);
}

qkv_status qkvi_buffer_write(const struct qkvi_runtime *rt, cl_mem buffer, size_t offset, const void *data,
                             size_t bytes) {
    if (bytes == 0) return QKV_OK;
    cl_event written = NULL;
    cl_int error = clEnqueueWriteBuffer(rt->queue, buffer, CL_TRUE, offset, bytes, data, 0, NULL, &written);
    if (error != CL_SUCCESS) return qkvi_cl_fail(error, "clEnqueueWriteBuffer");
    /* "Blocking" says that `data` may be used again, not that the buffer holds it (OpenCL 1.2, 5.2.2): what follows on
     * another queue, or on one that is out of order, may overtake it. */
    error = clWaitForEvents(1, &written);
    (void)clReleaseEvent(written);
    return error == CL_SUCCESS ? QKV_OK : qkvi_cl_fail(error, "clWaitForEvents");
}

qkv_status qkvi_buffer_read(const struct qkvi_runtime *rt, void *data, cl_mem buffer, size_t offset, size_t bytes) {
    if (bytes == 0) return QKV_OK;
    cl_int error = clEnqueueReadBuffer(rt->queue, buffer, CL_TRUE, offset, bytes, data, 0, NULL, NULL);
    return error == CL_SUCCESS ? QKV_OK : qkvi_cl_fail(error, "clEnqueueReadBuffer");
}

qkv_status qkvi_buffer_inspect(size_t *out_bytes, const struct qkvi_runtime *rt, cl_mem buffer, const char *name,
                               bool written) {
    cl_context context = NULL;
    cl_mem_object_type type = CL_MEM_OBJECT_BUFFER;
    cl_mem_flags flags = 0;
    size_t bytes = 0;
    cl_int error = clGetMemObjectInfo(buffer, CL_MEM_CONTEXT, sizeof context, &context, NULL);
    if (error == CL_SUCCESS) error = clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    if (error == CL_SUCCESS) error = clGetMemObjectInfo(buffer, CL_MEM_TYPE, sizeof type, &type, NULL);
    if (error == CL_SUCCESS) error = clGetMemObjectInfo(buffer, CL_MEM_FLAGS, sizeof flags, &flags, NULL);
    if (error != CL_SUCCESS) return qkvi_fail_prefix(qkvi_cl_fail(error, "clGetMemObjectInfo"), "%s", name);
    if (context != rt->context)
        return qkvi_fail(QKV_WRONG_CONTEXT, "%s: its buffer belongs to cl_context %p, the library's context wraps %p",
                         name, (void *)context, (void *)rt->context);
    if (type != CL_MEM_OBJECT_BUFFER)
        return qkvi_fail(QKV_UNSUPPORTED, "%s: its memory object is an image or a pipe, not a buffer", name);
    if (flags & (written ? CL_MEM_READ_ONLY : CL_MEM_WRITE_ONLY))
        return qkvi_fail(QKV_INVALID_ARGUMENT, "%s: its buffer was created with %s", name,
                         written ? "CL_MEM_READ_ONLY" : "CL_MEM_WRITE_ONLY");
    *out_bytes = bytes;
    return QKV_OK;
}
