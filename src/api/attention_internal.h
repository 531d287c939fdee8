/* What attention's parts share: attention.c creates and runs, attention_args.c validates. */
#ifndef QKVI_ATTENTION_INTERNAL_H
#define QKVI_ATTENTION_INTERNAL_H

#include "api/internal.h"
#include "solver/report_args.h"

#define QKVI_NO_CAUSAL (INT64_MAX / 2)
#define QKVI_FARTHEST ((int64_t)1 << 40) /* positions and windows: sums of a few cannot overflow */

struct qkv_attention {
    qkv_context *context;
    struct qkvi_plan plan, copy, report; /* the last two without a solver where no run can need them */
    uint64_t features;
    size_t workspace;    /* bytes, the solver's first */
    size_t logsumexp_at; /* where in it the log-sum-exp lies that reports need and the caller has no use for */
    char *description;
};

#endif
