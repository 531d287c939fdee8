/* What every attention kernel is given; cl/attention_args.clh is the other side. */
#ifndef QKVI_ATTENTION_ARGS_H
#define QKVI_ATTENTION_ARGS_H

#include "solver/solver.h"

/* The same values as in cl/attention_args.clh; the first two are those of enum qkvi_mask_kind. */
enum qkvi_attention_flags {
    QKVI_FLAG_WEIGHTS = 4,
    QKVI_FLAG_SCORES = 8,
    QKVI_FLAG_LSE = 16,
    QKVI_FLAG_PACKED = 32,
    QKVI_FLAG_PAIRED = 64
};

enum {
    QKVI_VIEW_OUT = 3,
    QKVI_VIEW_LSE = 7,
    QKVI_ATTENTION_VIEWS = 8,
    QKVI_ATTENTION_ARGS = 2 * QKVI_ATTENTION_VIEWS + 2
};

/* Eight buffers, their eight views, the shape and the scale, in the kernels' order. `list` points into the struct:
 * do not copy it. Kernels that take more append to a list of their own. */
struct qkvi_attention_args {
    cl_mem buffer[QKVI_ATTENTION_VIEWS];
    cl_long8 view[QKVI_ATTENTION_VIEWS];
    cl_long8 shape;
    cl_float scale;
    struct qkvi_arg list[QKVI_ATTENTION_ARGS + 4];
};

/* `flags`: QKVI_FLAG_PACKED and _PAIRED; the others follow from the run. */
void qkvi_attention_args_set(struct qkvi_attention_args *args, const struct qkvi_attention_problem *problem,
                             const struct qkvi_attention_run *run, cl_long flags);

/* Is `causal` on, so that it can exclude a key? */
bool qkvi_attention_is_causal(const struct qkvi_attention_run *run);

#endif
