/* Nodes on a device, through the library's public interface. */
#ifndef ONNX_DEVICE_H
#define ONNX_DEVICE_H

#include "onnx/node.h"

/* A context, and the plans made so far: cases that need the same one share it. */
typedef struct onnx_device onnx_device;

onnx_device *onnx_device_create(const char *selector, tool_error *error);
void onnx_device_destroy(onnx_device *device);
const qkv_device_info *onnx_device_info(const onnx_device *device);

/* outputs: Y, present_key, present_value, qk_matmul_output, of which those `wanted` are made. */
bool onnx_attention_run(onnx_tensor *outputs, onnx_device *device, const onnx_attention *node, const bool *wanted,
                        tool_error *error);
bool onnx_rotary_run(onnx_tensor *output, onnx_device *device, const onnx_rotary *node, tool_error *error);

#endif
