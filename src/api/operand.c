#include "api/internal.h"

#include <string.h>

static const char *const dtype_names[] = {[QKV_F32] = "F32",   [QKV_F16] = "F16", [QKV_BF16] = "BF16",
                                          [QKV_BOOL] = "BOOL", [QKV_I32] = "I32", [QKV_I64] = "I64"};

static qkv_status check_dtype(const qkv_tensor *t, const char *name, unsigned dtypes) {
    if (dtypes & QKVI_DTYPE(t->dtype)) return QKV_OK;
    struct qkvi_text expected = {0};
    for (unsigned i = 1; i < QKVI_COUNT(dtype_names); i++)
        if (dtypes & QKVI_DTYPE(i)) qkvi_text_add(&expected, "%s%s", expected.data ? " or " : "", dtype_names[i]);
    /* That it is a dtype at all was checked with the view's form. */
    qkv_status status = qkvi_fail(QKV_INVALID_DTYPE, "%s.dtype is %s; it must be %s", name, dtype_names[t->dtype],
                                  qkvi_text_get(&expected));
    qkvi_text_free(&expected);
    return status;
}

qkv_status qkvi_operand_check(const qkv_context *context, const qkv_tensor *t, const char *name, bool input,
                              unsigned dtypes) {
    size_t bytes;
    int64_t lowest, highest;
    qkv_status status = qkvi_view_check(t, name, input);
    if (!status) status = check_dtype(t, name, dtypes);
    if (!status) status = qkvi_buffer_inspect(&bytes, &context->rt, t->memory.buffer, name, !input);
    if (status) return status;
    if (!qkvi_view_extent(t, &lowest, &highest)) return QKV_OK;
    size_t size = qkv_dtype_size((qkv_dtype)t->dtype);
    if (lowest < 0)
        return qkvi_fail(QKV_OUT_OF_BOUNDS, "%s reaches %lld elements before its buffer's start", name,
                         (long long)-lowest);
    if ((uint64_t)highest >= bytes / size)
        return qkvi_fail(QKV_OUT_OF_BOUNDS, "%s reaches element %lld; its buffer has %zu (%zu bytes)", name,
                         (long long)highest, bytes / size, bytes);
    return QKV_OK;
}

static void add_shape(struct qkvi_text *text, size_t rank, const uint64_t *shape) {
    qkvi_text_add(text, "(");
    for (size_t i = 0; i < rank; i++)
        qkvi_text_add(text, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    qkvi_text_add(text, ")");
}

qkv_status qkvi_operand_shape(const qkv_tensor *t, const char *name, size_t rank, const size_t *shape) {
    uint64_t expected[QKV_MAX_RANK];
    bool same = t->rank == rank;
    for (size_t i = 0; i < rank; i++) {
        expected[i] = shape[i];
        same = same && t->shape[i] == shape[i];
    }
    if (same) return QKV_OK;
    struct qkvi_text text = {0};
    qkvi_text_add(&text, "%s has shape ", name);
    add_shape(&text, t->rank, t->shape);
    qkvi_text_add(&text, "; expected ");
    add_shape(&text, rank, expected);
    qkv_status status = qkvi_fail(QKV_INVALID_SHAPE, "%s", qkvi_text_get(&text));
    qkvi_text_free(&text);
    return status;
}

qkv_status qkvi_limit_check(const char *name, size_t value, const char *limit_name, size_t limit) {
    return value <= limit ? QKV_OK
                          : qkvi_fail(QKV_INVALID_SHAPE, "%s is %zu; desc.%s was %zu", name, value, limit_name, limit);
}

static qkv_status check_pair(const struct qkvi_operand *output, const struct qkvi_operand *other) {
    if (!output->tensor || !other->tensor || !qkvi_view_overlap(output->tensor, other->tensor)) return QKV_OK;
    return qkvi_fail(QKV_OVERLAP, "%s shares elements with %s", output->name, other->name);
}

qkv_status qkvi_operands_disjoint(const struct qkvi_operand *outputs, size_t num_outputs,
                                  const struct qkvi_operand *inputs, size_t num_inputs) {
    for (size_t i = 0; i < num_outputs; i++) {
        for (size_t j = 0; j < num_inputs; j++) {
            qkv_status status = check_pair(&outputs[i], &inputs[j]);
            if (status) return status;
        }
        for (size_t j = 0; j < i; j++) {
            qkv_status status = check_pair(&outputs[i], &outputs[j]);
            if (status) return status;
        }
    }
    return QKV_OK;
}

struct qkvi_view4 qkvi_operand_view4(const qkv_tensor *t) {
    struct qkvi_view4 view = {0};
    if (!t) return view;
    view.buffer = t->memory.buffer;
    view.offset = (int64_t)t->offset;
    for (uint32_t i = 0; i < t->rank; i++)
        view.stride[i] = t->stride[i];
    return view;
}

/* An index over (outer, inner) axes; merged into one where the outer stride continues the inner one. */
static void split_index(int64_t *inner_size, int64_t *outer_stride, int64_t *inner_stride, uint64_t outer, int64_t so,
                        uint64_t inner, int64_t si) {
    bool merge = outer <= 1 || inner <= 1 || so == si * (int64_t)inner;
    *inner_size = (int64_t)(merge ? outer * inner : inner);
    *outer_stride = merge ? 0 : so;
    *inner_stride = inner <= 1 ? so : si;
}

qkv_status qkvi_operand_matrix(struct qkvi_matrix *out, size_t *rows, size_t *features, const qkv_tensor *t,
                               const char *name) {
    /* Axes (batch, seq, head, dim), the missing ones of size 1. */
    uint64_t size[4] = {1, 1, 1, 1};
    int64_t stride[4] = {0, 0, 0, 0};
    static const int axes[3][4] = {{1, 3, -1, -1}, {0, 1, 3, -1}, {0, 2, 1, 3}};
    if (t->rank < 2 || t->rank > 4)
        return qkvi_fail(QKV_INVALID_SHAPE,
                         "%s.rank is %u; it must be (rows, features), (batch, seq, features) or "
                         "(batch, num_heads, seq, head_dim)",
                         name, t->rank);
    for (uint32_t i = 0; i < t->rank; i++) {
        size[axes[t->rank - 2][i]] = t->shape[i];
        stride[axes[t->rank - 2][i]] = t->stride[i];
    }
    struct qkvi_matrix m = {.buffer = t->memory.buffer, .offset = (int64_t)t->offset};
    split_index(&m.row_inner, &m.row_outer_stride, &m.row_stride, size[0], stride[0], size[1], stride[1]);
    split_index(&m.col_inner, &m.col_outer_stride, &m.col_stride, size[2], stride[2], size[3], stride[3]);
    *rows = (size_t)(size[0] * size[1]);
    *features = (size_t)(size[2] * size[3]);
    *out = m;
    return QKV_OK;
}
