/* One folder of ONNX's backend tests. */
#ifndef ONNX_CASE_H
#define ONNX_CASE_H

#include "onnx/compare.h"
#include "onnx/device.h"

typedef enum onnx_outcome { ONNX_PASSED, ONNX_FAILED, ONNX_SKIPPED } onnx_outcome;

typedef struct onnx_result {
    onnx_outcome outcome;
    onnx_difference difference;
    onnx_tolerance tolerance;
    qkv_dtype dtype;  /* of the first output */
    tool_error error; /* why it failed or was skipped */
} onnx_result;

void onnx_case_run(onnx_result *out, onnx_device *device, const char *folder);

#endif
