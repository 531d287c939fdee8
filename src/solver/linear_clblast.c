/* CLBlast's SGEMM where x and an output are plain row-major matrices; cl/linear_plain.cl for any other view. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/linear_pack.h"

/* One panel holds a whole output, so that one call does it; the widest decides. */
#define ROUND 16
#define GROUP 16

struct state {
    struct qkvi_kernel *bias, *plain;
    size_t panel;
    size_t local[2];
};

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    if (limits->max_iterations != SIZE_MAX) {
        qkvi_text_add(why, "CLBlast does not know that the device's loops are cut short");
        return false;
    }
    (void)problem;
    return qkvi_clblast_available(why);
}

/* Considered only where it was asked for, and then first. */
static double estimate(const struct qkvi_problem *problem, const struct qkvi_limits *limits) {
    (void)problem;
    (void)limits;
    return 0;
}

static void destroy(void *state) {
    struct state *s = state;
    qkvi_kernel_destroy(s->bias);
    qkvi_kernel_destroy(s->plain);
    free(s);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    const struct qkvi_linear_problem *p = &problem->u.linear;
    struct state *s = calloc(1, sizeof *s);
    if (!s) return qkvi_fail_memory("a linear solver");
    for (size_t i = 0; i < p->num_outputs; i++)
        if (p->out_features[i] > s->panel) s->panel = p->out_features[i];
    s->panel = qkvi_round_up(s->panel, ROUND);
    char options[40];
    (void)snprintf(options, sizeof options, "-DPANEL=%zu", s->panel);
    qkv_status status = qkvi_kernel_create(&s->bias, programs, "linear_bias", "", "linear_bias");
    if (!status) status = qkvi_kernel_create(&s->plain, programs, "linear_plain", options, "linear_plain");
    if (status) {
        destroy(s);
        return status;
    }
    s->local[0] = qkvi_kernel_group(s->bias, qkvi_kernel_group(s->plain, GROUP));
    s->local[1] = 1;
    *state = s;
    return QKV_OK;
}

static size_t panel(const void *state) {
    return ((const struct state *)state)->panel;
}

/* CLBlast's kernels count in int. */
static bool is_plain_matrix(const struct qkvi_matrix *m, size_t rows, size_t columns) {
    if (m->row_stride > INT32_MAX || (int64_t)rows > (INT32_MAX - m->offset) / (m->row_stride > 0 ? m->row_stride : 1))
        return false;
    return (size_t)m->row_inner >= rows && (size_t)m->col_inner >= columns && m->col_stride == 1 && m->offset >= 0 &&
           m->row_stride >= (int64_t)columns;
}

static bool fits(const struct qkvi_linear_run *r) {
    const struct qkvi_linear_weights *w = r->weights;
    bool fit =
        is_plain_matrix(&r->x, r->rows, w->in_features) && w->num_panels * w->panel <= INT32_MAX / w->in_features;
    for (size_t i = 0; i < r->weights->num_outputs; i++)
        fit = fit && is_plain_matrix(&r->outputs[i], r->rows, r->weights->out_features[i]);
    return fit;
}

static qkv_status run_plain(const struct state *s, struct qkvi_chain *chain, const struct qkvi_linear_run *r) {
    struct qkvi_linear_args args;
    qkvi_linear_args_fill(&args, r);
    const size_t global[2] = {qkvi_round_up(r->weights->num_panels * s->panel, s->local[0]), r->rows};
    return qkvi_kernel_run(s->plain, chain, args.list, QKVI_LINEAR_NUM_ARGS, 2, global, s->local);
}

static qkv_status fill_bias(const struct state *s, struct qkvi_chain *chain, const struct qkvi_linear_run *r,
                            size_t output) {
    const cl_long8 view = qkvi_matrix_pack(&r->outputs[output]);
    const cl_long columns = (cl_long)r->weights->out_features[output], rows = (cl_long)r->rows;
    const cl_long first = (cl_long)(r->weights->first_panel[output] * s->panel);
    const struct qkvi_arg args[] = {QKVI_ARG(r->weights->bias),
                                    QKVI_ARG(r->outputs[output].buffer),
                                    QKVI_ARG(view),
                                    QKVI_ARG(first),
                                    QKVI_ARG(columns),
                                    QKVI_ARG(rows)};
    const size_t global[2] = {qkvi_round_up((size_t)columns, s->local[0]), r->rows};
    return qkvi_kernel_run(s->bias, chain, args, QKVI_COUNT(args), 2, global, s->local);
}

/* As `regime` of a run says it. */
enum { PLAIN = 2 };

static size_t regimes(const void *state) {
    (void)state;
    return PLAIN;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *run) {
    const struct state *s = state;
    const struct qkvi_linear_run *r = run;
    const struct qkvi_linear_weights *w = r->weights;
    if (!fits(r) || r->regime == PLAIN) return run_plain(s, chain, r);
    for (size_t i = 0; i < w->num_outputs; i++) {
        const struct qkvi_gemm gemm = {
            .m = r->rows,
            .n = w->out_features[i],
            .k = w->in_features,
            .a = r->x.buffer,
            .a_offset = (size_t)r->x.offset,
            .a_ld = (size_t)r->x.row_stride,
            .b = w->packed,
            .b_offset = w->first_panel[i] * w->in_features * s->panel,
            .b_ld = s->panel,
            .c = r->outputs[i].buffer,
            .c_offset = (size_t)r->outputs[i].offset,
            .c_ld = (size_t)r->outputs[i].row_stride,
            .beta = 1.0f,
        };
        qkv_status status = fill_bias(s, chain, r, i);
        if (!status) status = qkvi_chain_clblast(chain, &gemm);
        if (status) return status;
    }
    return QKV_OK;
}

static void describe(const void *state, struct qkvi_text *text) {
    qkvi_text_add(text, "SGEMM of CLBlast, packed format panel%zu", panel(state));
}

const struct qkvi_solver qkvi_linear_clblast = {
    .name = "clblast",
    .operation = QKVI_LINEAR,
    .applicable = applicable,
    .estimate = estimate,
    .create = create,
    .destroy = destroy,
    .panel = panel,
    .run = run,
    .regimes = regimes,
    .describe = describe,
};
