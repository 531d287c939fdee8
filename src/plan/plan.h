/* Chooses a solver for a problem on a device, tries it, and keeps it ready. */
#ifndef QKVI_PLAN_H
#define QKVI_PLAN_H

#include "solver/solver.h"

/* The one table of solvers (table.c). */
extern const struct qkvi_solver *const qkvi_solvers[];
extern const size_t qkvi_num_solvers;

const char *qkvi_operation_name(enum qkvi_operation operation);

/*
 * A choice of solvers as users write it: "plain" for every operation, or "linear=vector,attention=plain".
 * Parsed once into a name per operation; "" leaves the choice to the estimates.
 */
#define QKVI_NUM_OPERATIONS 6
struct qkvi_choice {
    char name[QKVI_NUM_OPERATIONS][16];
    bool clblast; /* try CLBlast's GEMM first; where it fails our own */
};
/* What the text does not name stays as in `base` (NULL: left to the estimates). `source` names where the text came from in
 * messages, e.g. "options.solver". NULL and "" choose nothing. */
qkv_status qkvi_choice_parse(struct qkvi_choice *out, const struct qkvi_choice *base, const char *text,
                             const char *source);

struct qkvi_plan {
    const struct qkvi_solver *solver;
    void *state;
    struct qkvi_problem problem;
    size_t workspace; /* bytes */
    char *description;
};

/*
 * Solvers are tried in the order of their estimates: applicable, built, tested against known answers. One that fails is
 * logged and the next one taken; a forced one that fails is the error.
 */
qkv_status qkvi_plan_create(struct qkvi_plan *out, struct qkvi_programs *programs, const struct qkvi_problem *problem,
                            const struct qkvi_choice *forced);
/* QKV_UNSUPPORTED, with the reason, where the solver cannot do the problem on such a device. */
qkv_status qkvi_plan_applicable(const struct qkvi_solver *solver, const struct qkvi_problem *problem,
                                const struct qkvi_limits *limits);
/* One solver: QKV_UNSUPPORTED where it is not applicable. */
enum qkvi_trial {
    QKVI_TRIAL,           /* what passed is not tested again; what a process died of is not tried */
    QKVI_TRIAL_FORGIVING, /* one process may have died of it */
    QKVI_TRIAL_AFRESH,    /* tested even if it passed before */
};
qkv_status qkvi_plan_try(struct qkvi_plan *out, struct qkvi_programs *programs, const struct qkvi_problem *problem,
                         const struct qkvi_solver *solver, enum qkvi_trial trial);
void qkvi_plan_destroy(struct qkvi_plan *plan);
/* The solver's workspace() or 0; QKV_OVERFLOW. */
qkv_status qkvi_plan_workspace(size_t *out_bytes, const struct qkvi_solver *solver, const void *state,
                               const struct qkvi_problem *problem);

/* ---- weights.c: the packed weights of a linear layer ---- */
struct qkvi_weights {
    struct qkvi_linear_weights packed;
    struct qkvi_kernel *pack_weight, *pack_bias;
    size_t bytes;
};
qkv_status qkvi_weights_create(struct qkvi_weights *out, struct qkvi_programs *programs,
                               const struct qkvi_linear_problem *problem, size_t panel);
void qkvi_weights_destroy(struct qkvi_weights *weights);
/* Enqueues the repacking of one output's weight (element (k, n) at offset + k*stride_k + n*stride_n), or zeros where
 * `weight` is NULL. */
qkv_status qkvi_weights_pack(const struct qkvi_weights *weights, struct qkvi_chain *chain, size_t output, cl_mem weight,
                             int64_t offset, int64_t stride_k, int64_t stride_n);
qkv_status qkvi_weights_pack_bias(const struct qkvi_weights *weights, struct qkvi_chain *chain, size_t output,
                                  cl_mem bias, int64_t offset, int64_t stride);

/* ---- selftest_all.c: every solver on a problem of each variant, believing nothing of what was found before ---- */
qkv_status qkvi_selftest_all(struct qkvi_programs *programs, qkv_self_test_function function, void *user);

/* ---- rotary_table.c: the cosines and sines of a rotary plan ---- */
/* frequencies: rotary_dim / 2 angles of one position. */
qkv_status qkvi_rotary_table_create(struct qkvi_rotary_table *out, const struct qkvi_runtime *rt,
                                    const struct qkvi_rotary_problem *problem, const double *frequencies,
                                    double magnitude, size_t max_position);
void qkvi_rotary_table_destroy(struct qkvi_rotary_table *table);

/* ---- selftest_*.c: QKV_SELF_TEST_FAILED if the state's kernels compute something wrong ---- */
qkv_status qkvi_selftest_linear(struct qkvi_programs *programs, const struct qkvi_solver *solver);
qkv_status qkvi_selftest_attention(struct qkvi_programs *programs, const struct qkvi_solver *solver,
                                   const struct qkvi_attention_problem *problem);
qkv_status qkvi_selftest_rotary(struct qkvi_programs *programs, const struct qkvi_solver *solver);
qkv_status qkvi_selftest_copy(struct qkvi_programs *programs, const struct qkvi_solver *solver);
qkv_status qkvi_selftest_report(struct qkvi_programs *programs, const struct qkvi_solver *solver,
                                const struct qkvi_attention_problem *problem);
qkv_status qkvi_selftest_layer(struct qkvi_programs *programs, const struct qkvi_solver *solver,
                               const struct qkvi_layer_problem *problem);

#endif
