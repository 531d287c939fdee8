#include "onnx/device_internal.h"

#include <stdlib.h>
#include <string.h>

#include "support/context.h"

typedef struct attention_plan {
    qkv_attention_desc desc;
    qkv_attention *attention;
    qkv_workspace *workspace;
} attention_plan;

typedef struct rotary_plan {
    qkv_rotary_desc desc;
    qkv_rotary *rotary;
} rotary_plan;

struct onnx_device {
    qkv_context *context;
    attention_plan *attentions;
    rotary_plan *rotaries;
    size_t num_attentions, room_attentions, num_rotaries, room_rotaries;
};

bool onnx_check(qkv_status status, tool_error *error) {
    if (status == QKV_OK) return true;
    const char *message = qkv_error_message();
    return tool_fail(error, "%s", message[0] != '\0' ? message : qkv_status_text(status));
}

onnx_device *onnx_device_create(const char *selector, tool_error *error) {
    onnx_device *device = tool_alloc(1, sizeof *device, error);
    if (device != NULL && !onnx_check(tool_context_create(&device->context, selector), error)) {
        free(device);
        return NULL;
    }
    return device;
}

static void destroy_attention(attention_plan *plan) {
    qkv_attention_destroy(plan->attention);
    qkv_workspace_destroy(plan->workspace);
}

void onnx_device_destroy(onnx_device *device) {
    if (device == NULL) return;
    for (size_t i = 0; i < device->num_attentions; i++)
        destroy_attention(&device->attentions[i]);
    for (size_t i = 0; i < device->num_rotaries; i++)
        qkv_rotary_destroy(device->rotaries[i].rotary);
    free(device->attentions);
    free(device->rotaries);
    qkv_context_destroy(device->context);
    free(device);
}

const qkv_device_info *onnx_device_info(const onnx_device *device) {
    return qkv_context_device(device->context);
}

/* ---- plans ---- */

/* Fewer plans serve more cases where limits are powers of two, and none too small. */
static size_t round_limit(size_t needed, size_t least) {
    size_t limit = least;
    while (limit < needed && limit <= SIZE_MAX / 2)
        limit *= 2;
    return limit;
}

static bool serves(const qkv_attention_desc *plan, const qkv_attention_desc *d) {
    return plan->head_dim == d->head_dim && plan->value_dim == d->value_dim && plan->num_heads == d->num_heads &&
           plan->num_kv_heads == d->num_kv_heads && plan->features == d->features && plan->q_dtype == d->q_dtype &&
           plan->k_dtype == d->k_dtype && plan->v_dtype == d->v_dtype && plan->out_dtype == d->out_dtype &&
           plan->weights_dtype == d->weights_dtype && plan->max_batch >= d->max_batch &&
           plan->max_seq_q >= d->max_seq_q && plan->max_seq_kv >= d->max_seq_kv;
}

bool onnx_attention_plan(const qkv_attention **out, qkv_workspace **out_workspace, onnx_device *device,
                         const qkv_attention_desc *desc, tool_error *error) {
    size_t i = 0;
    while (i < device->num_attentions && !serves(&device->attentions[i].desc, desc))
        i++;
    if (i == device->num_attentions) {
        attention_plan plan = {.desc = *desc};
        plan.desc.max_batch = round_limit(desc->max_batch, 4);
        plan.desc.max_seq_q = round_limit(desc->max_seq_q, 32);
        plan.desc.max_seq_kv = round_limit(desc->max_seq_kv, 32);
        if (!tool_grow(&device->attentions, &device->room_attentions, i + 1, sizeof plan, error) ||
            !onnx_check(qkv_attention_create(&plan.attention, device->context, &plan.desc), error))
            return false;
        const size_t bytes = qkv_attention_workspace_bytes(plan.attention);
        if (!onnx_check(qkv_workspace_create(&plan.workspace, device->context, bytes), error)) {
            destroy_attention(&plan);
            return false;
        }
        device->attentions[device->num_attentions++] = plan;
    }
    *out = device->attentions[i].attention;
    *out_workspace = device->attentions[i].workspace;
    return true;
}

bool onnx_rotary_plan(const qkv_rotary **out, onnx_device *device, const qkv_rotary_desc *desc, tool_error *error) {
    size_t i = 0;
    for (; i < device->num_rotaries; i++) {
        const qkv_rotary_desc *has = &device->rotaries[i].desc;
        if (has->head_dim == desc->head_dim && has->rotary_dim == desc->rotary_dim &&
            has->interleaved == desc->interleaved)
            break;
    }
    if (i == device->num_rotaries) {
        rotary_plan plan = {.desc = *desc};
        if (!tool_grow(&device->rotaries, &device->room_rotaries, i + 1, sizeof plan, error) ||
            !onnx_check(qkv_rotary_create(&plan.rotary, device->context, desc), error))
            return false;
        device->rotaries[device->num_rotaries++] = plan;
    }
    *out = device->rotaries[i].rotary;
    return true;
}

/* ---- memory ---- */

qkv_context *onnx_device_context(const onnx_device *device) {
    return device->context;
}

bool onnx_upload(qkv_tensor *out, onnx_job *job, const onnx_tensor *tensor) {
    const size_t element = qkv_dtype_size(tensor->dtype);
    const size_t bytes = tensor->count != 0 ? tensor->count * element : element;
    cl_int status;
    if (job->num_buffers == ONNX_MAX_BUFFERS) return tool_fail(job->error, "too many tensors");
    cl_mem buffer = clCreateBuffer(qkv_context_cl_context(job->device->context),
                                   CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes, tensor->data, &status);
    if (status != CL_SUCCESS) return tool_fail(job->error, "clCreateBuffer of %zu bytes: error %d", bytes, (int)status);
    job->buffers[job->num_buffers++] = buffer;
    return onnx_check(qkv_tensor_dense(out, buffer, tensor->dtype, tensor->rank, tensor->shape), job->error);
}

bool onnx_download(onnx_tensor *out, onnx_job *job, const qkv_tensor *view) {
    const size_t bytes = out->count * qkv_dtype_size(out->dtype);
    if (bytes == 0) return true;
    cl_int status = clEnqueueReadBuffer(qkv_context_cl_queue(job->device->context), view->memory.buffer, CL_TRUE, 0,
                                        bytes, out->data, 0, NULL, NULL);
    return status == CL_SUCCESS || tool_fail(job->error, "clEnqueueReadBuffer: error %d", (int)status);
}

void onnx_job_end(onnx_job *job) {
    for (size_t i = 0; i < job->num_buffers; i++)
        clReleaseMemObject(job->buffers[i]);
    job->num_buffers = 0;
}
