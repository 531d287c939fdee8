/* What every copy kernel is given; cl/copy.clh is the other side. */
#ifndef QKVI_COPY_ARGS_H
#define QKVI_COPY_ARGS_H

#include "solver/solver.h"

enum { QKVI_COPY_VIEWS = 6, QKVI_COPY_ARGS = 2 * QKVI_COPY_VIEWS + 2 };

/* Six buffers, their views, the shape and the widths, in the kernels' order. `list` points into the struct: do not copy
 * it. Kernels that take more append to the list. */
struct qkvi_copy_args {
    cl_mem buffer[QKVI_COPY_VIEWS];
    cl_long8 view[QKVI_COPY_VIEWS], shape;
    cl_long4 widths;
    size_t rows[2]; /* to write, of the keys and of the values */
    struct qkvi_arg list[QKVI_COPY_ARGS + 1];
};

void qkvi_copy_args_set(struct qkvi_copy_args *args, const struct qkvi_attention_problem *problem,
                        const struct qkvi_attention_run *run);

#endif
