/* NumPy's .npy files, format 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#ifndef ATTEND_NPY_H
#define ATTEND_NPY_H

#include "../support/error.h"

/* Writes a row-major array of little-endian float32. The file appears only when it is complete. */
bool npy_write(const char *path, const float *values, size_t rank, const size_t *shape, tool_error *error);

#endif
