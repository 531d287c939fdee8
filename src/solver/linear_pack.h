/* Repacks weights and biases into the panels that the linear solvers read, and what these solvers share. */
#ifndef QKVI_LINEAR_PACK_H
#define QKVI_LINEAR_PACK_H

#include "solver/solver.h"

/* Two objects of one kernel, so that weights and biases do not wait for each other's lock. */
qkv_status qkvi_linear_pack_create(struct qkvi_kernel **weight_kernel, struct qkvi_kernel **bias_kernel,
                                   struct qkvi_programs *programs);

/* Enqueues the packing of one output's weight, whose element (k, n) lies at offset + k*stride_k + n*stride_n; zeros
 * where `weight` is NULL. Columns past out_features become zeros. */
qkv_status qkvi_linear_pack(struct qkvi_kernel *pack_kernel, struct qkvi_chain *chain,
                            const struct qkvi_linear_weights *w, size_t output, cl_mem weight, int64_t offset,
                            int64_t stride_k, int64_t stride_n);

/* The same for a bias, whose element n lies at offset + n*stride. */
qkv_status qkvi_linear_pack_bias(struct qkvi_kernel *pack_kernel, struct qkvi_chain *chain,
                                 const struct qkvi_linear_weights *w, size_t output, cl_mem bias, int64_t offset,
                                 int64_t stride);

/*
 * The arguments of every linear kernel, see cl/linear.clh: x, packed weights, packed biases, four outputs, the view of x
 * and those of the outputs, first panels and widths, sizes. Output slots that are not used repeat the first one and
 * begin past the last panel.
 */
#define QKVI_LINEAR_NUM_ARGS 11
struct qkvi_linear_args {
    cl_long16 views[3];
    cl_long8 sizes; /* rows, in_features, panels; from QKVI_LINEAR_OWN_SIZES on the solver's own */
    struct qkvi_arg list[QKVI_LINEAR_NUM_ARGS];
};
#define QKVI_LINEAR_OWN_SIZES 3
/* The list points into *args and *run. */
void qkvi_linear_args_fill(struct qkvi_linear_args *args, const struct qkvi_linear_run *run);

#endif
