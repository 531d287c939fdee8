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
    QKVI_FLAG_PAIRED = 64,
    QKVI_FLAG_MASK_F16 = 128,
    QKVI_FLAG_MASK_BF16 = 256
};

/* The same values as in cl/attention_args.clh. */
enum qkvi_attention_term_flags {
    QKVI_TERM_FROM_END = 1,
    QKVI_TERM_LENGTHS = 2,
    QKVI_TERM_LENGTHS_I64 = 4,
    QKVI_TERM_OFFSETS = 8,
    QKVI_TERM_OFFSETS_I64 = 16,
    QKVI_TERM_SLOPES = 32,
    QKVI_TERM_SINKS = 64
};

enum {
    QKVI_VIEW_OUT = 3,
    QKVI_VIEW_MASK = 4,
    QKVI_VIEW_LSE = 7,
    QKVI_ATTENTION_VIEWS = 8,
    QKVI_ATTENTION_TERMS = 4,
    QKVI_ATTENTION_ARGS = 2 * QKVI_ATTENTION_VIEWS + 2 + QKVI_ATTENTION_TERMS + 3
};

/* Eight buffers, their eight views, the shape and the scale, then, if the problem has terms, their four buffers, views,
 * reach and softcap, in the kernels' order; kernels that take more append it. `list` points into the struct: do not copy
 * it. */
struct qkvi_attention_args {
    cl_mem buffer[QKVI_ATTENTION_VIEWS];
    cl_long8 view[QKVI_ATTENTION_VIEWS];
    cl_long8 shape;
    cl_float scale;
    cl_mem term_buffer[QKVI_ATTENTION_TERMS];
    cl_long8 term_views, reach;
    cl_float softcap;
    cl_uint count;
    struct qkvi_arg list[QKVI_ATTENTION_ARGS + 8];
};

/* `flags`: QKVI_FLAG_PACKED and _PAIRED; the others follow from the run. */
void qkvi_attention_args_set(struct qkvi_attention_args *args, const struct qkvi_attention_problem *problem,
                             const struct qkvi_attention_run *run, cl_long flags);

/* Appends what a kernel takes beyond these. */
#define QKVI_ATTENTION_ADD(args, value) ((args)->list[(args)->count++] = QKVI_ARG(value))

/* Room for the macros that every attention kernel knows: features and storage. */
#define QKVI_ATTENTION_OPTIONS 128
void qkvi_attention_options(char out[QKVI_ATTENTION_OPTIONS], const struct qkvi_attention_problem *problem);

/* Is `causal` on, so that it can exclude a key? */
bool qkvi_attention_is_causal(const struct qkvi_attention_run *run);

#endif
