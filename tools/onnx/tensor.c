#include "onnx/tensor.h"

#include <stdlib.h>
#include <string.h>

#include <onnx.pb-c.h>

#include "support/files.h"
#include "support/half.h"

enum { MAX_FILE_BYTES = 1 << 30 };

static qkv_dtype dtype_of(int type) {
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        return QKV_F32;
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
        return QKV_F16;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
        return QKV_BF16;
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
        return QKV_BOOL;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
        return QKV_I32;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        return QKV_I64;
    default:
        return (qkv_dtype)0;
    }
}

static int type_of(qkv_dtype dtype) {
    for (int type = 1; type < 32; type++)
        if (dtype_of(type) == dtype) return type;
    return ONNX__TENSOR_PROTO__DATA_TYPE__UNDEFINED;
}

const char *onnx_type_name(int type) {
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&onnx__tensor_proto__data_type__descriptor, type);
    return value != NULL ? value->name : "a type that is unknown";
}

static bool shape_up(onnx_tensor *out, const char *name, tool_error *error) {
    size_t bytes;
    out->count = 1;
    for (size_t i = 0; i < out->rank; i++)
        if (!tool_multiply(&out->count, out->count, out->shape[i]))
            return tool_fail(error, "%s: the shape's product overflows", name);
    if (out->dtype == 0) return true;
    if (!tool_multiply(&bytes, out->count, qkv_dtype_size(out->dtype)) || bytes > MAX_FILE_BYTES)
        return tool_fail(error, "%s: %zu elements are too many", name, out->count);
    out->data = tool_alloc(out->count + 1, qkv_dtype_size(out->dtype), error);
    return out->data != NULL;
}

bool onnx_tensor_create(onnx_tensor *out, qkv_dtype dtype, size_t rank, const size_t *shape, int fill,
                        tool_error *error) {
    memset(out, 0, sizeof *out);
    out->type = type_of(dtype);
    out->dtype = dtype;
    out->rank = rank;
    memcpy(out->shape, shape, rank * sizeof *shape);
    if (!shape_up(out, "a tensor", error)) return false;
    memset(out->data, fill, out->count * qkv_dtype_size(dtype));
    return true;
}

void onnx_tensor_free(onnx_tensor *tensor) {
    free(tensor->data);
    memset(tensor, 0, sizeof *tensor);
}

/* onnx.proto, TensorProto: which field holds a type that is not in raw_data. */
static size_t values_given(const Onnx__TensorProto *proto, qkv_dtype dtype) {
    if (dtype == QKV_F32) return proto->n_float_data;
    return dtype == QKV_I64 ? proto->n_int64_data : proto->n_int32_data;
}

static void copy_values(onnx_tensor *out, const Onnx__TensorProto *proto) {
    if (out->count == 0) return;
    if (out->dtype == QKV_F32) {
        memcpy(out->data, proto->float_data, out->count * sizeof(float));
    } else if (out->dtype == QKV_I64) {
        memcpy(out->data, proto->int64_data, out->count * sizeof(int64_t));
    } else if (out->dtype == QKV_I32) {
        memcpy(out->data, proto->int32_data, out->count * sizeof(int32_t));
    } else {
        for (size_t i = 0; i < out->count; i++) {
            const uint16_t bits = (uint16_t)proto->int32_data[i];
            if (out->dtype == QKV_BOOL)
                out->data[i] = proto->int32_data[i] != 0;
            else
                memcpy(out->data + i * sizeof bits, &bits, sizeof bits);
        }
    }
}

static bool fill(onnx_tensor *out, const Onnx__TensorProto *proto, const char *name, tool_error *error) {
    if (proto->has_raw_data) {
        const size_t bytes = out->count * qkv_dtype_size(out->dtype);
        if (proto->raw_data.len != bytes)
            return tool_fail(error, "%s: raw_data has %zu bytes; the shape needs %zu", name, proto->raw_data.len,
                             bytes);
        if (bytes != 0) memcpy(out->data, proto->raw_data.data, bytes);
        return true;
    }
    const size_t given = values_given(proto, out->dtype);
    if (given != out->count)
        return tool_fail(error, "%s: it has %zu values; the shape needs %zu", name, given, out->count);
    copy_values(out, proto);
    return true;
}

bool onnx_tensor_decode(onnx_tensor *out, const Onnx__TensorProto *proto, const char *name, tool_error *error) {
    memset(out, 0, sizeof *out);
    out->type = proto->data_type;
    out->dtype = dtype_of(proto->data_type);
    out->rank = proto->n_dims;
    if (!proto->has_data_type || proto->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__UNDEFINED)
        return tool_fail(error, "%s: not an ONNX tensor: it has no data_type", name);
    if (proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL || proto->n_external_data > 0)
        return tool_fail(error, "%s: its data is in another file, which is not read", name);
    if (proto->segment != NULL) return tool_fail(error, "%s: it is one segment of a tensor", name);
    if (out->rank > QKV_MAX_RANK)
        return tool_fail(error, "%s: it has %zu axes; at most %d are read", name, out->rank, QKV_MAX_RANK);
    for (size_t i = 0; i < out->rank; i++) {
        if (proto->dims[i] < 0)
            return tool_fail(error, "%s: axis %zu has size %lld", name, i, (long long)proto->dims[i]);
        out->shape[i] = (size_t)proto->dims[i];
    }
    if (shape_up(out, name, error) && (out->dtype == 0 || fill(out, proto, name, error))) return true;
    onnx_tensor_free(out);
    return false;
}

bool onnx_tensor_read(onnx_tensor *out, const char *path, tool_error *error) {
    tool_bytes bytes;
    memset(out, 0, sizeof *out);
    if (!tool_read_file(&bytes, path, MAX_FILE_BYTES, error)) return false;
    Onnx__TensorProto *proto = onnx__tensor_proto__unpack(NULL, bytes.size, (const uint8_t *)bytes.data);
    const bool ok = proto != NULL ? onnx_tensor_decode(out, proto, path, error)
                                  : tool_fail(error, "%s: not an ONNX tensor: protobuf cannot read it", path);
    if (proto != NULL) onnx__tensor_proto__free_unpacked(proto, NULL);
    tool_bytes_free(&bytes);
    return ok;
}

double onnx_tensor_at(const onnx_tensor *tensor, size_t index) {
    const unsigned char *at = tensor->data + index * qkv_dtype_size(tensor->dtype);
    float single;
    int32_t word;
    int64_t longer;
    uint16_t bits;
    switch (tensor->dtype) {
    case QKV_F32:
        memcpy(&single, at, sizeof single);
        return (double)single;
    case QKV_I32:
        memcpy(&word, at, sizeof word);
        return word;
    case QKV_I64:
        memcpy(&longer, at, sizeof longer);
        return (double)longer;
    case QKV_BOOL:
        return *at != 0;
    default:
        memcpy(&bits, at, sizeof bits);
        return (double)(tensor->dtype == QKV_F16 ? tool_from_f16(bits) : tool_from_bf16(bits));
    }
}
