/* Tensors: views of memory that belongs to the caller. */
#ifndef QKV_TENSOR_H
#define QKV_TENSOR_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QKV_MAX_RANK 6

typedef enum qkv_dtype {
    QKV_F32 = 1,  /* IEEE 754 binary32 */
    QKV_F16 = 2,  /* IEEE 754 binary16, storage only; rotary embeddings take it */
    QKV_BF16 = 3, /* upper half of a binary32, storage only; as F16 */
    QKV_BOOL = 4, /* one byte, 0 is false, anything else true; masks only */
    QKV_I32 = 5,  /* two's complement; positions only */
    QKV_I64 = 6
} qkv_dtype;

typedef enum qkv_storage {
    QKV_STORAGE_BUFFER = 1 /* `buffer` is a cl_mem made by clCreateBuffer */
} qkv_storage;

/*
 * A view: element (i0, i1, ...) lies at offset + i0*stride[0] + i1*stride[1] + ...
 * elements from the buffer's start. Layouts (BHSD, BSHD, packed heads, a slice
 * of a fused QKV buffer, a KV cache) are strides, not modes.
 *
 * Ownership: none. The cl_mem must live until the commands that use it are done;
 * the struct itself is read during the call only.
 * Strides may be negative; 0 repeats an element and is for inputs only. Of an output each stride, in order of size, must
 * pass what the smaller ones span together: dense, sliced, permuted, padded and interleaved layouts all do.
 * Overlaps are found between views of one cl_mem; that a buffer and a sub-buffer of it overlap is not seen.
 * Size is fixed at 168 bytes on every ABI; reserved fields are zero.
 */
typedef struct qkv_tensor {
    uint32_t storage;        /* qkv_storage */
    uint32_t dtype;          /* qkv_dtype */
    union {
        cl_mem buffer;
        uint64_t reserved_handle;
    } memory;
    uint64_t offset;         /* elements */
    uint32_t rank;           /* 0 to QKV_MAX_RANK */
    uint32_t reserved_flags;
    uint64_t shape[QKV_MAX_RANK];
    int64_t stride[QKV_MAX_RANK]; /* elements */
    uint64_t reserved[5];
} qkv_tensor;

/* Bytes of one element, 0 for a dtype that does not exist. */
QKV_API size_t qkv_dtype_size(qkv_dtype dtype);

/* Elements of the view: the product of its shape; SIZE_MAX if that overflows. */
QKV_API size_t qkv_tensor_count(const qkv_tensor *tensor);

/*
 * A dense row-major view of `buffer` from its first element.
 * shape: `rank` sizes, outermost first. Checks rank, dtype and overflow; the
 * buffer's own size is checked when the view is used.
 * Errors: QKV_INVALID_ARGUMENT, QKV_INVALID_SHAPE, QKV_INVALID_DTYPE, QKV_OVERFLOW.
 */
QKV_API qkv_status qkv_tensor_dense(qkv_tensor *out, cl_mem buffer, qkv_dtype dtype, size_t rank,
                                    const size_t *shape);

/* Elements begin .. begin+length-1 of one axis. `out` may be `in`.
 * Errors: QKV_INVALID_ARGUMENT, QKV_INVALID_SHAPE (axis or range outside the tensor). */
QKV_API qkv_status qkv_tensor_slice(qkv_tensor *out, const qkv_tensor *in, size_t axis, size_t begin,
                                    size_t length);

/* Axis i of `out` is axis order[i] of `in`; order is a permutation of 0 .. rank-1.
 * `out` may be `in`. Errors: QKV_INVALID_ARGUMENT, QKV_INVALID_SHAPE. */
QKV_API qkv_status qkv_tensor_permute(qkv_tensor *out, const qkv_tensor *in, const size_t *order);

/* Splits one axis of size n into two, (n / inner, inner); `inner` divides n. Rank grows by one.
 * `out` may be `in`. Errors: QKV_INVALID_ARGUMENT, QKV_INVALID_SHAPE. */
QKV_API qkv_status qkv_tensor_split(qkv_tensor *out, const qkv_tensor *in, size_t axis, size_t inner);

/*
 * (batch, seq, num_heads * head_dim), as linear layers write it, seen as
 * (batch, num_heads, seq, head_dim), as attention reads it. `out` may be `in`.
 * Errors: QKV_INVALID_ARGUMENT, QKV_INVALID_SHAPE (rank is not 3, num_heads does not divide).
 */
QKV_API qkv_status qkv_tensor_heads(qkv_tensor *out, const qkv_tensor *in, size_t num_heads);

#ifdef __cplusplus
}
#endif

#endif
