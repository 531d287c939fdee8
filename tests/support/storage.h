/* Values as tensors store them: F32, F16 and BF16, to and from double. */
#ifndef TEST_STORAGE_H
#define TEST_STORAGE_H

#include "qkv.h"

/* Relative rounding error of one store, half a unit in the last place of 1. */
double storage_unit(qkv_dtype dtype);
/* The most that storing a value rounds off, the smallest of numbers included. */
double storage_error(double value, qkv_dtype dtype);

/* n values, rounded to nearest with ties to even, as the dtype stores them; malloc'ed. */
void *storage_from(const double *values, size_t n, qkv_dtype dtype);
/* The values of n stored elements, exactly; malloc'ed. */
double *storage_values(const void *stored, size_t n, qkv_dtype dtype);

#endif
