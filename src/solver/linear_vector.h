/* What linear_vector.c does for a kernel that has cl/linear_vector.clh in it. */
#ifndef QKVI_LINEAR_VECTOR_H
#define QKVI_LINEAR_VECTOR_H

#include "solver/linear_pack.h"

/* The kernel's macros, of a state that qkvi_linear_vector.create() made. */
#define QKVI_LINEAR_VECTOR_OPTIONS 128
void qkvi_linear_vector_options(char *out, size_t size, const void *state);

/* A run's arguments, which point into *args and *run, and how it is divided: chunks, column groups, bands. */
void qkvi_linear_vector_arrange(struct qkvi_linear_args *args, size_t grid[3], const void *state,
                                const struct qkvi_linear_run *run);

#endif
