#ifndef ONNX_DEVICE_INTERNAL_H
#define ONNX_DEVICE_INTERNAL_H

#include "onnx/device.h"

enum { ONNX_MAX_BUFFERS = 16 };

/* What one run holds on the device. */
typedef struct onnx_job {
    onnx_device *device;
    cl_mem buffers[ONNX_MAX_BUFFERS];
    size_t num_buffers;
    tool_error *error;
} onnx_job;

/* A dense view of a copy of the tensor. */
bool onnx_upload(qkv_tensor *out, onnx_job *job, const onnx_tensor *tensor);
/* Waits for what is enqueued. */
bool onnx_download(onnx_tensor *out, onnx_job *job, const qkv_tensor *view);
void onnx_job_end(onnx_job *job);

bool onnx_check(qkv_status status, tool_error *error);

/* Borrowed from the device, made where there is none. The description's limits are what is needed at least. */
bool onnx_attention_plan(const qkv_attention **out, qkv_workspace **out_workspace, onnx_device *device,
                         const qkv_attention_desc *desc, tool_error *error);
bool onnx_rotary_plan(const qkv_rotary **out, onnx_device *device, const qkv_rotary_desc *desc, tool_error *error);
qkv_context *onnx_device_context(const onnx_device *device);

#endif
