/* What every rotary kernel is given; cl/rotary.clh is the other side. */
#ifndef QKVI_ROTARY_ARGS_H
#define QKVI_ROTARY_ARGS_H

#include "solver/solver.h"

/* The same values as in cl/rotary.clh. */
enum qkvi_rotary_flags {
    QKVI_ROTARY_TABLE = 1,
    QKVI_ROTARY_INVERSE = 2,
    QKVI_ROTARY_INTERLEAVED = 4,
    QKVI_ROTARY_POSITIONS_I32 = 8,
    QKVI_ROTARY_POSITIONS_I64 = 16,
    QKVI_ROTARY_IN_PLACE = 32
};

enum { QKVI_ROTARY_BUFFERS = 5, QKVI_ROTARY_ARGS = 12 };

/* x, out, cos, sin and positions, their views, the shape and the dtypes, in the kernels' order. `list` points into the
 * struct: do not copy it. Kernels that take more append to the list. */
struct qkvi_rotary_args {
    cl_mem buffer[QKVI_ROTARY_BUFFERS];
    cl_long8 x, out, shape;
    cl_long4 cos, sin, positions;
    cl_int4 dtypes;
    struct qkvi_arg list[QKVI_ROTARY_ARGS + 3];
};

void qkvi_rotary_args_set(struct qkvi_rotary_args *args, const struct qkvi_rotary_problem *problem,
                          const struct qkvi_rotary_run *run);

#endif
