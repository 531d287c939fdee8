/* What the public objects share: the context, and arguments turned into problems and views. */
#ifndef QKVI_API_H
#define QKVI_API_H

#include <stdatomic.h>

#include "plan/plan.h"

struct qkv_context {
    atomic_size_t references; /* the caller's and one per object made from it */
    struct qkvi_runtime rt;
    struct qkvi_programs programs;
    struct qkvi_choice choice;
    bool gemm_auto;             /* neither native nor clblast was asked for */
    atomic_bool clblast_faster; /* by qkv_context_measure_gemm() */
};
qkv_context *qkvi_context_retain(qkv_context *context);

struct qkv_workspace {
    qkv_context *context;
    cl_mem buffer; /* NULL where bytes is 0 */
    size_t offset, bytes;
};
/* QKV_INVALID_ARGUMENT where a run needs more than it was given. */
qkv_status qkvi_workspace_check(const qkv_context *context, const qkv_workspace *workspace, size_t needed);

/* ---- operand.c: one tensor argument after the other ---- */

/* Checks a view for use: form, dtype F32 unless `dtypes` says otherwise, context, and that it lies in its buffer. */
#define QKVI_DTYPE(dtype) (1u << (dtype))
qkv_status qkvi_operand_check(const qkv_context *context, const qkv_tensor *t, const char *name, bool input,
                              unsigned dtypes);
/* QKV_INVALID_SHAPE unless t has exactly this rank and shape. */
qkv_status qkvi_operand_shape(const qkv_tensor *t, const char *name, size_t rank, const size_t *shape);

/* QKV_INVALID_SHAPE where a size of a run exceeds what the plan was made for. */
qkv_status qkvi_limit_check(const char *name, size_t value, const char *limit_name, size_t limit);

/* An operand for the overlap check. */
struct qkvi_operand {
    const qkv_tensor *tensor; /* NULL: absent */
    const char *name;
};
/* QKV_OVERLAP if an output shares an element with an input or another output. */
qkv_status qkvi_operands_disjoint(const struct qkvi_operand *outputs, size_t num_outputs,
                                  const struct qkvi_operand *inputs, size_t num_inputs);

/* QKV_OVERLAP if the first `needed` bytes of the workspace, which may be the caller's buffer, hold an operand. */
qkv_status qkvi_workspace_disjoint(const qkv_workspace *workspace, size_t needed, const struct qkvi_operand *operands,
                                   size_t num_operands);

/* The offset and strides of a tensor of rank 4 at most; without a buffer where there is none. */
struct qkvi_view4 qkvi_operand_view4(const qkv_tensor *t);

/* A rank 2, 3 or 4 argument of a linear layer (see qkv_linear_args) as a matrix. */
qkv_status qkvi_operand_matrix(struct qkvi_matrix *out, size_t *rows, size_t *features, const qkv_tensor *t,
                               const char *name);

/* ---- linear.c, attention.c, rotary.c: what layer.c needs of them ---- */

const struct qkvi_solver *qkvi_linear_solver(const qkv_linear *linear);
/* Validates as the public run does and fills `run`; nothing is enqueued. An empty run has rows or batch * seq_q of 0. */
qkv_status qkvi_linear_prepare(struct qkvi_linear_run *run, const qkv_linear *linear, const qkv_linear_args *args);
/* The same of operands that were checked already: their place, their shapes, that they are apart. */
qkv_status qkvi_linear_arrange(struct qkvi_linear_run *run, const qkv_linear *linear, const qkv_linear_args *args);
qkv_status qkvi_attention_prepare(struct qkvi_attention_run *run, const qkv_attention *attention,
                                  const qkv_attention_args *args);
qkv_status qkvi_rotary_prepare(struct qkvi_rotary_run *run, const qkv_rotary *rotary, const qkv_rotary_args *args);
/* Whether past is the beginning of present, in the same memory. False where either is NULL. */
bool qkvi_attention_in_place(const qkv_tensor *past, const qkv_tensor *present);
/* Enqueues a prepared run on a chain that is already begun. */
qkv_status qkvi_linear_enqueue(const qkv_linear *linear, struct qkvi_chain *chain, const struct qkvi_linear_run *run);
qkv_status qkvi_attention_enqueue(const qkv_attention *attention, struct qkvi_chain *chain,
                                  const struct qkvi_attention_run *run);
qkv_status qkvi_rotary_enqueue(const qkv_rotary *rotary, struct qkvi_chain *chain, const struct qkvi_rotary_run *run);

#endif
