/* A work-item for each element or row of a report: always right, any device. */
#include <stdlib.h>

#include "solver/report_args.h"

#define MAX_GROUP 64

struct report_plain {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *pairs, *received, *top;
    size_t local_size;
};

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    /* The formula in the head of cl/report_plain.cl. */
    const struct qkvi_attention_problem *p = &problem->u.attention;
    const size_t product = p->head_dim / 16 + p->head_dim % 16 / 4 + p->head_dim % 4, fixed = 9 * QKVI_MOST_TOP;
    const size_t most = limits->max_iterations > fixed ? (limits->max_iterations - fixed) / (product + 7) : 0;
    if (larger(p->max_seq_q, p->max_seq_kv) <= most) return true;
    qkvi_text_add(why, "max_seq_q is %zu and max_seq_kv %zu; the device's loops are cut short beyond %zu", p->max_seq_q,
                  p->max_seq_kv, most);
    return false;
}

static void destroy(void *state) {
    struct report_plain *plain = state;
    qkvi_kernel_destroy(plain->pairs);
    qkvi_kernel_destroy(plain->received);
    qkvi_kernel_destroy(plain->top);
    free(plain);
}

static qkv_status create_kernels(struct report_plain *plain, struct qkvi_programs *programs) {
    const struct {
        struct qkvi_kernel **kernel;
        const char *name;
    } all[] = {{&plain->pairs, "report_pairs"}, {&plain->received, "report_received"}, {&plain->top, "report_top"}};
    char options[QKVI_ATTENTION_OPTIONS];
    qkvi_attention_options(options, &plain->problem);
    plain->local_size = MAX_GROUP;
    for (size_t i = 0; i < QKVI_COUNT(all); i++) {
        const qkv_status status = qkvi_kernel_create(all[i].kernel, programs, "report_plain", options, all[i].name);
        if (status) return status;
        (*all[i].kernel)->any_group = true;
        plain->local_size = qkvi_kernel_group(*all[i].kernel, plain->local_size);
    }
    return QKV_OK;
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct report_plain *plain = calloc(1, sizeof *plain);
    if (!plain) return qkvi_fail_memory("a plan for reports");
    plain->problem = problem->u.attention;
    const qkv_status status = create_kernels(plain, programs);
    if (status)
        destroy(plain);
    else
        *state = plain;
    return status;
}

static qkv_status launch(const struct report_plain *plain, struct qkvi_kernel *kernel, struct qkvi_chain *chain,
                         struct qkvi_report_args *args, size_t items, size_t planes) {
    const size_t global[2] = {qkvi_round_up(items, plain->local_size), planes};
    const size_t local[2] = {plain->local_size, 1};
    return qkvi_kernel_run(kernel, chain, args->args.list, args->args.count, 2, global, local);
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct report_plain *plain = state;
    const struct qkvi_attention_run *run = opaque;
    const struct qkvi_attention_reports *reports = &run->reports;
    const size_t planes = run->batch * plain->problem.num_heads;
    struct qkvi_report_args args;
    qkv_status status = QKV_OK;
    if (reports->scores.buffer || reports->weights.buffer) {
        qkvi_report_set_pairs(&args, &plain->problem, run);
        status = launch(plain, plain->pairs, chain, &args, run->seq_kv, planes * run->seq_q);
    }
    if (!status && reports->received.buffer) {
        qkvi_report_set_received(&args, &plain->problem, run);
        status = launch(plain, plain->received, chain, &args, run->seq_kv, planes);
    }
    if (!status && reports->top) {
        qkvi_report_set_top(&args, &plain->problem, run);
        status = launch(plain, plain->top, chain, &args, run->seq_q, planes);
    }
    return status;
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct report_plain *plain = state;
    qkvi_text_add(text, "one work-item a row, local size %zu", plain->local_size);
}

const struct qkvi_solver qkvi_report_plain = {
    .name = "plain",
    .operation = QKVI_REPORT,
    .applicable = applicable,
    .estimate = qkvi_estimate_plain,
    .create = create,
    .destroy = destroy,
    .run = run,
    .independent = true,
    .describe = describe,
};
