/* Safetensors files: eight bytes of header length, a JSON header, the tensors' bytes.
 * https://huggingface.co/docs/safetensors */
#ifndef ATTEND_SAFETENSORS_H
#define ATTEND_SAFETENSORS_H

#include <stdint.h>

#include "../support/error.h"

#define SAFETENSORS_MAX_RANK 8

typedef enum safetensors_dtype {
    SAFETENSORS_OTHER, /* known to the format, of no use here */
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16
} safetensors_dtype;

typedef struct safetensors_tensor {
    char *name;
    safetensors_dtype dtype;
    size_t element_bytes;
    size_t rank;
    uint64_t shape[SAFETENSORS_MAX_RANK];
    uint64_t begin, end; /* bytes, from the end of the header */
} safetensors_tensor;

/* An open file whose header was checked. Tensors are read on demand, so that memory is only taken for
 * what is used, and a file that shrinks meanwhile is a plain error. */
typedef struct safetensors {
    char *path;
    int descriptor;
    uint64_t data_begin; /* of the file: where the tensors' bytes start */
    size_t num_tensors;
    safetensors_tensor *tensors; /* by name */
} safetensors;

/*
 * Opens and checks: the header fits the file and the format's cap of 100,000,000 bytes; every tensor's
 * span is its shape's product times its dtype's size; the spans fill the rest of the file without
 * holes and without overlap.
 */
bool safetensors_open(safetensors *out, const char *path, tool_error *error);
void safetensors_close(safetensors *file);

/* NULL where there is none of that name. */
const safetensors_tensor *safetensors_find(const safetensors *file, const char *name);

/*
 * Elements first .. first+count-1 of a tensor of dtype F32, F16 or BF16, as float, into
 * out[0 .. count-1].
 */
bool safetensors_read(const safetensors *file, const safetensors_tensor *tensor, uint64_t first, size_t count,
                      float *out, tool_error *error);

#endif
