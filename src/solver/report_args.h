/* What every report kernel is given; cl/report_args.clh is the other side. */
#ifndef QKVI_REPORT_ARGS_H
#define QKVI_REPORT_ARGS_H

#include "solver/attention_args.h"

#define QKVI_MOST_TOP 64 /* as MOST_TOP in cl/report_args.clh */

/* The reports' own tensors in the place of attention's scores and weights, and what kernels take beyond these. `args` points
 * into itself and these fields: do not copy it. */
struct qkvi_report_args {
    struct qkvi_attention_args args;
    cl_int stage, dtype;
    cl_mem received;
    cl_long8 received_view;
    cl_int top, wanted;
};

/* For report_pairs, report_received and report_top, and report_keys, which is both of the first: each sets all of it. */
void qkvi_report_set_pairs(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                           const struct qkvi_attention_run *run);
void qkvi_report_set_received(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                              const struct qkvi_attention_run *run);
void qkvi_report_set_keys(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                          const struct qkvi_attention_run *run);
void qkvi_report_set_top(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                         const struct qkvi_attention_run *run);

#endif
