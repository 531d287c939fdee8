#include "core/core.h"

/* Bindings mirror it: see qkv/tensor.h. */
_Static_assert(sizeof(qkv_tensor) == 168, "qkv_tensor has one size on every ABI");

size_t qkv_tensor_count(const qkv_tensor *tensor) {
    size_t sizes[QKV_MAX_RANK], count = 0;
    if (!tensor || tensor->rank > QKV_MAX_RANK) return 0;
    for (uint32_t i = 0; i < tensor->rank; i++)
        sizes[i] = tensor->shape[i] > SIZE_MAX ? SIZE_MAX : (size_t)tensor->shape[i];
    return qkvi_product(&count, sizes, tensor->rank) ? count : SIZE_MAX;
}

qkv_status qkv_tensor_dense(qkv_tensor *out, cl_mem buffer, qkv_dtype dtype, size_t rank, const size_t *shape) {
    size_t count;
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!buffer) return qkvi_fail(QKV_INVALID_ARGUMENT, "buffer is NULL");
    if (qkv_dtype_size(dtype) == 0)
        return qkvi_fail(QKV_INVALID_DTYPE, "dtype is %d, which is no qkv_dtype", (int)dtype);
    if (rank > QKV_MAX_RANK) return qkvi_fail(QKV_INVALID_SHAPE, "rank is %zu; the most is %d", rank, QKV_MAX_RANK);
    if (rank > 0 && !shape) return qkvi_fail(QKV_INVALID_ARGUMENT, "shape is NULL");
    if (!qkvi_product(&count, shape, rank) || !qkvi_mul(&count, count, qkv_dtype_size(dtype)) ||
        count > PTRDIFF_MAX / 16)
        return qkvi_fail(QKV_OVERFLOW, "shape: the product of its sizes overflows");
    qkv_tensor t = {.storage = QKV_STORAGE_BUFFER, .dtype = (uint32_t)dtype, .rank = (uint32_t)rank};
    t.memory.buffer = buffer;
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
        t.shape[i] = shape[i];
        t.stride[i] = stride;
        /* An empty tensor's outer sizes may be anything; its strides need not hold their product. */
        if (count > 0) stride *= (int64_t)shape[i];
    }
    *out = t;
    return QKV_OK;
}

static qkv_status check(const qkv_tensor *out, const qkv_tensor *in) {
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    return qkvi_view_check(in, "in", true);
}

qkv_status qkv_tensor_slice(qkv_tensor *out, const qkv_tensor *in, size_t axis, size_t begin, size_t length) {
    qkv_status status = check(out, in);
    if (status) return status;
    if (axis >= in->rank) return qkvi_fail(QKV_INVALID_SHAPE, "axis is %zu; the tensor's rank is %u", axis, in->rank);
    size_t size = (size_t)in->shape[axis];
    if (begin > size || length > size - begin)
        return qkvi_fail(QKV_INVALID_SHAPE, "begin %zu and length %zu reach past axis %zu of size %zu", begin, length,
                         axis, size);
    qkv_tensor t = *in;
    /* An empty slice at the very end starts nowhere: its offset stays where it is valid. */
    if (length > 0) t.offset = (uint64_t)((int64_t)t.offset + (int64_t)begin * t.stride[axis]);
    t.shape[axis] = length;
    *out = t;
    return QKV_OK;
}

qkv_status qkv_tensor_permute(qkv_tensor *out, const qkv_tensor *in, const size_t *order) {
    qkv_status status = check(out, in);
    if (status) return status;
    if (!order) return qkvi_fail(QKV_INVALID_ARGUMENT, "order is NULL");
    qkv_tensor t = *in;
    unsigned seen = 0;
    for (uint32_t i = 0; i < in->rank; i++) {
        if (order[i] >= in->rank || (seen >> order[i] & 1u))
            return qkvi_fail(QKV_INVALID_SHAPE, "order[%u] is %zu: order must name each of the %u axes once", i,
                             order[i], in->rank);
        seen |= 1u << order[i];
        t.shape[i] = in->shape[order[i]];
        t.stride[i] = in->stride[order[i]];
    }
    *out = t;
    return QKV_OK;
}

qkv_status qkv_tensor_split(qkv_tensor *out, const qkv_tensor *in, size_t axis, size_t inner) {
    qkv_status status = check(out, in);
    if (status) return status;
    if (axis >= in->rank) return qkvi_fail(QKV_INVALID_SHAPE, "axis is %zu; the tensor's rank is %u", axis, in->rank);
    if (in->rank == QKV_MAX_RANK)
        return qkvi_fail(QKV_INVALID_SHAPE, "in.rank is %u, the most there can be; splitting needs one more", in->rank);
    if (inner == 0 || in->shape[axis] % inner != 0)
        return qkvi_fail(QKV_INVALID_SHAPE, "inner is %zu, which does not divide axis %zu of size %zu", inner, axis,
                         (size_t)in->shape[axis]);
    qkv_tensor t = *in;
    t.rank++;
    for (uint32_t i = in->rank; i > axis; i--) {
        t.shape[i] = in->shape[i - 1];
        t.stride[i] = in->stride[i - 1];
    }
    t.shape[axis] = in->shape[axis] / inner;
    if (in->shape[axis] > 0) t.stride[axis] = in->stride[axis] * (int64_t)inner;
    t.shape[axis + 1] = inner;
    *out = t;
    return QKV_OK;
}

qkv_status qkv_tensor_heads(qkv_tensor *out, const qkv_tensor *in, size_t num_heads) {
    static const size_t order[] = {0, 2, 1, 3};
    qkv_status status = check(out, in);
    if (status) return status;
    if (in->rank != 3) return qkvi_fail(QKV_INVALID_SHAPE, "in.rank is %u; (batch, seq, features) has 3", in->rank);
    if (num_heads == 0 || in->shape[2] % num_heads != 0)
        return qkvi_fail(QKV_INVALID_SHAPE, "num_heads is %zu, which does not divide the %zu features", num_heads,
                         (size_t)in->shape[2]);
    qkv_tensor t;
    if (in->shape[2] == 0) return qkvi_fail(QKV_INVALID_SHAPE, "in has no features");
    status = qkv_tensor_split(&t, in, 2, (size_t)in->shape[2] / num_heads);
    return status ? status : qkv_tensor_permute(out, &t, order);
}
