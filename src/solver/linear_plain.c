/* The reference on the device and the fallback: one work-item an element, no conditions. */
#include <stdlib.h>

#include "solver/linear_pack.h"

/* As PANEL in cl/linear_plain.cl. */
#define PANEL 16

struct state {
    struct qkvi_kernel *kernel;
    size_t local[2];
};

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    /* One iteration an element of x and one a run of its columns, see cl/linear_plain.cl. */
    const size_t most = limits->max_iterations / 2;
    if (problem->u.linear.in_features <= most) return true;
    qkvi_text_add(why, "in_features is %zu; the device's loops are cut short beyond %zu", problem->u.linear.in_features,
                  most);
    return false;
}

static void destroy(void *state) {
    struct state *s = state;
    qkvi_kernel_destroy(s->kernel);
    free(s);
}

/* Neighbouring columns read neighbouring weights and the same x, neighbouring rows the same weights. */
static void choose_group(size_t local[2], size_t limit, size_t max_rows) {
    local[0] = limit < PANEL ? limit : PANEL;
    local[1] = limit / local[0] < 4 ? limit / local[0] : 4;
    if (local[1] > max_rows) local[1] = max_rows;
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    (void)problem;
    struct state *s = calloc(1, sizeof *s);
    if (!s) return qkvi_fail_memory("a linear solver");
    qkv_status status = qkvi_kernel_create(&s->kernel, programs, "linear_plain", "", "linear_plain");
    if (status) {
        free(s);
        return status;
    }
    s->kernel->any_group = true;
    choose_group(s->local, s->kernel->group_limit, programs->limits.max_group_rows);
    *state = s;
    return QKV_OK;
}

static size_t panel(const void *state) {
    (void)state;
    return PANEL;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *run) {
    const struct state *s = state;
    const struct qkvi_linear_run *r = run;
    struct qkvi_linear_args args;
    qkvi_linear_args_fill(&args, r);
    const size_t global[2] = {qkvi_round_up(r->weights->num_panels * PANEL, s->local[0]),
                              qkvi_round_up(r->rows, s->local[1])};
    return qkvi_kernel_run(s->kernel, chain, args.list, QKVI_LINEAR_NUM_ARGS, 2, global, s->local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct state *s = state;
    qkvi_text_add(text, "one element a work-item, groups of %zu x %zu, packed format panel%d", s->local[0], s->local[1],
                  PANEL);
}

const struct qkvi_solver qkvi_linear_plain = {
    .name = "plain",
    .operation = QKVI_LINEAR,
    .applicable = applicable,
    .estimate = qkvi_estimate_plain,
    .create = create,
    .destroy = destroy,
    .panel = panel,
    .run = run,
    .describe = describe,
};
