/* Tensors as ONNX's files have them. */
#ifndef ONNX_TENSOR_H
#define ONNX_TENSOR_H

#include "qkv.h"
#include "support/error.h"

struct Onnx__TensorProto;

/* Dense, row by row. */
typedef struct onnx_tensor {
    int type;        /* TensorProto.DataType */
    qkv_dtype dtype; /* 0 where the library has no such dtype: then there is no data */
    size_t rank, shape[QKV_MAX_RANK], count;
    unsigned char *data;
} onnx_tensor;

/* A .pb file. */
bool onnx_tensor_read(onnx_tensor *out, const char *path, tool_error *error);
/* `name` is for messages. */
bool onnx_tensor_decode(onnx_tensor *out, const struct Onnx__TensorProto *proto, const char *name, tool_error *error);
/* Every byte is `fill`. */
bool onnx_tensor_create(onnx_tensor *out, qkv_dtype dtype, size_t rank, const size_t *shape, int fill,
                        tool_error *error);
void onnx_tensor_free(onnx_tensor *tensor);

double onnx_tensor_at(const onnx_tensor *tensor, size_t index);
/* "FLOAT16"; "a type that is unknown". */
const char *onnx_type_name(int type);

#endif
