#include "api/internal.h"

#include <stdlib.h>

#define ALIGNMENT 256

static qkv_status make(qkv_workspace **out, qkv_context *context, cl_mem buffer, size_t offset, size_t bytes) {
    qkv_workspace *workspace = calloc(1, sizeof *workspace);
    if (!workspace) return qkvi_fail_memory("workspace");
    *workspace = (struct qkv_workspace){qkvi_context_retain(context), buffer, offset, bytes};
    *out = workspace;
    return QKV_OK;
}

qkv_status qkv_workspace_create(qkv_workspace **out, qkv_context *context, size_t bytes) {
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    cl_mem buffer = NULL;
    qkv_status status = bytes ? qkvi_buffer_create(&buffer, &context->rt, bytes, "workspace") : QKV_OK;
    if (status) return status;
    status = make(out, context, buffer, 0, bytes);
    if (status) qkvi_buffer_release(buffer);
    return status;
}

qkv_status qkv_workspace_wrap(qkv_workspace **out, qkv_context *context, cl_mem buffer, size_t offset, size_t bytes) {
    size_t size, end;
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    if (!buffer) return qkvi_fail(QKV_INVALID_ARGUMENT, "buffer is NULL");
    if (offset % ALIGNMENT)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "offset is %zu; it must be a multiple of %d", offset, ALIGNMENT);
    qkv_status status = qkvi_buffer_inspect(&size, &context->rt, buffer, "buffer", true);
    if (status) return status;
    if (!qkvi_add(&end, offset, bytes) || end > size)
        return qkvi_fail(QKV_OUT_OF_BOUNDS, "buffer has %zu bytes; offset %zu and %zu bytes reach past its end", size,
                         offset, bytes);
    status = qkvi_buffer_retain(buffer, "buffer");
    if (status) return status;
    status = make(out, context, buffer, offset, bytes);
    if (status) qkvi_buffer_release(buffer);
    return status;
}

size_t qkv_workspace_bytes(const qkv_workspace *workspace) {
    return workspace ? workspace->bytes : 0;
}

void qkv_workspace_destroy(qkv_workspace *workspace) {
    if (!workspace) return;
    qkvi_buffer_release(workspace->buffer);
    qkv_context_destroy(workspace->context);
    free(workspace);
}

qkv_status qkvi_workspace_check(const qkv_context *context, const qkv_workspace *workspace, size_t needed) {
    if (needed == 0) return QKV_OK;
    if (!workspace) return qkvi_fail(QKV_INVALID_ARGUMENT, "args.workspace is NULL; this plan needs %zu bytes", needed);
    if (workspace->context->rt.context != context->rt.context)
        return qkvi_fail(QKV_WRONG_CONTEXT, "args.workspace belongs to another cl_context");
    if (workspace->bytes < needed)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.workspace has %zu bytes; this plan needs %zu", workspace->bytes,
                         needed);
    return QKV_OK;
}

qkv_status qkvi_workspace_disjoint(const qkv_workspace *workspace, size_t needed, const struct qkvi_operand *operands,
                                   size_t num_operands) {
    if (!workspace || needed == 0) return QKV_OK;
    qkv_tensor bytes = {.storage = QKV_STORAGE_BUFFER,
                        .dtype = QKV_BOOL,
                        .offset = workspace->offset,
                        .rank = 1,
                        .shape = {needed},
                        .stride = {1}};
    bytes.memory.buffer = workspace->buffer;
    for (size_t i = 0; i < num_operands; i++)
        if (operands[i].tensor && qkvi_view_overlap(&bytes, operands[i].tensor))
            return qkvi_fail(QKV_OVERLAP, "args.workspace shares memory with %s", operands[i].name);
    return QKV_OK;
}
