#include "core.h"

size_t qkv_dtype_size(qkv_dtype dtype) {
    switch (dtype) {
    case QKV_F32:
        return 4;
    case QKV_F16:
        return 2;
    case QKV_BF16:
        return 2;
    case QKV_BOOL:
        return 1;
    case QKV_I32:
        return 4;
    case QKV_I64:
        return 8;
    }
    return 0;
}

/* Distance between the first and the last element of an axis; false on overflow of int64. */
static bool axis_span(int64_t *out, uint64_t size, int64_t stride) {
    if (size <= 1 || stride == 0) {
        *out = 0;
        return true;
    }
    uint64_t magnitude = stride < 0 ? (uint64_t)0 - (uint64_t)stride : (uint64_t)stride;
    if (magnitude > (uint64_t)INT64_MAX / (size - 1)) return false;
    int64_t span = (int64_t)(magnitude * (size - 1));
    *out = stride < 0 ? -span : span;
    return true;
}

/* Lowest and highest element, without regard to whether the view is empty. */
static bool extent(const qkv_tensor *t, int64_t *lowest, int64_t *highest) {
    if (t->offset > (uint64_t)INT64_MAX / 16) return false;
    int64_t low = (int64_t)t->offset, high = low;
    for (uint32_t i = 0; i < t->rank; i++) {
        int64_t span;
        if (!axis_span(&span, t->shape[i], t->stride[i])) return false;
        if (span < 0 ? low < INT64_MIN / 16 - span : high > INT64_MAX / 16 - span) return false;
        if (span < 0)
            low += span;
        else
            high += span;
    }
    *lowest = low;
    *highest = high;
    return true;
}

static bool is_empty(const qkv_tensor *t) {
    for (uint32_t i = 0; i < t->rank; i++)
        if (t->shape[i] == 0) return true;
    return false;
}

bool qkvi_view_extent(const qkv_tensor *t, int64_t *lowest, int64_t *highest) {
    return !is_empty(t) && extent(t, lowest, highest);
}

static qkv_status check_header(const qkv_tensor *t, const char *name) {
    if (!t) return qkvi_fail(QKV_INVALID_ARGUMENT, "%s is NULL", name);
    if (t->storage != QKV_STORAGE_BUFFER)
        return qkvi_fail(QKV_UNSUPPORTED, "%s.storage is %u; only QKV_STORAGE_BUFFER (%d) is known", name, t->storage,
                         QKV_STORAGE_BUFFER);
    if (qkv_dtype_size((qkv_dtype)t->dtype) == 0)
        return qkvi_fail(QKV_INVALID_DTYPE, "%s.dtype is %u, which is no qkv_dtype", name, t->dtype);
    if (t->rank > QKV_MAX_RANK)
        return qkvi_fail(QKV_INVALID_SHAPE, "%s.rank is %u; the most is %d", name, t->rank, QKV_MAX_RANK);
    bool reserved = t->reserved_flags != 0;
    for (size_t i = 0; i < QKVI_COUNT(t->reserved); i++)
        reserved = reserved || t->reserved[i] != 0;
    if (reserved)
        return qkvi_fail(QKV_UNSUPPORTED, "%s has a reserved field that is not zero; this version knows none", name);
    if (!t->memory.buffer) return qkvi_fail(QKV_INVALID_ARGUMENT, "%s.memory.buffer is NULL", name);
    return QKV_OK;
}

static uint64_t magnitude(int64_t stride) {
    return stride < 0 ? (uint64_t)0 - (uint64_t)stride : (uint64_t)stride;
}

/*
 * Do two index tuples of one view meet? Axes in order of stride: where each stride exceeds what the smaller ones span
 * together they cannot. Every dense, sliced, permuted or padded layout is of that form; others are refused.
 */
static bool self_overlap(const qkv_tensor *t) {
    uint32_t order[QKV_MAX_RANK];
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->shape[i] <= 1) continue;
        uint32_t at = n++;
        while (at > 0 && magnitude(t->stride[order[at - 1]]) > magnitude(t->stride[i])) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    uint64_t span = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t step = magnitude(t->stride[order[i]]);
        if (step <= span) return true;
        span += step * (t->shape[order[i]] - 1);
    }
    return false;
}

qkv_status qkvi_view_check(const qkv_tensor *t, const char *name, bool input) {
    qkv_status status = check_header(t, name);
    if (status) return status;
    size_t sizes[QKV_MAX_RANK], count;
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->shape[i] > SIZE_MAX)
            return qkvi_fail(QKV_OVERFLOW, "%s.shape[%u] is larger than this host can count", name, i);
        sizes[i] = (size_t)t->shape[i];
    }
    if (!qkvi_product(&count, sizes, t->rank) || !qkvi_mul(&count, count, qkv_dtype_size((qkv_dtype)t->dtype)))
        return qkvi_fail(QKV_OVERFLOW, "%s: the product of its shape overflows", name);
    int64_t low, high;
    if (!extent(t, &low, &high))
        return qkvi_fail(QKV_OVERFLOW, "%s: offset, strides and shape reach further than can be addressed", name);
    if (input || is_empty(t)) return QKV_OK;
    for (uint32_t i = 0; i < t->rank; i++)
        if (t->stride[i] == 0 && t->shape[i] > 1)
            return qkvi_fail(QKV_INVALID_SHAPE, "%s.stride[%u] is 0, which only inputs may have", name, i);
    if (self_overlap(t))
        return qkvi_fail(QKV_OVERLAP, "%s: its strides may let elements of one output overlap each other", name);
    return QKV_OK;
}
