/* One work-item a query row: small, always applicable, the slowest. */
#include <stdlib.h>

#include "solver/attention_args.h"

/* Values one work-item computes; as in cl/attention_plain.cl. */
#define CHUNK 16
/* Small, for rows differ in cost. */
#define MAX_GROUP 16

struct attention_plain {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *kernel;
    size_t local_size;
};

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    /* The formula in the head of cl/attention_plain.cl. */
    const struct qkvi_attention_problem *p = &problem->u.attention;
    const size_t per_key = (p->weights ? 3 : 2) * (p->head_dim / 16 + p->head_dim % 16 / 4 + p->head_dim % 4 + 1);
    const size_t most = limits->max_iterations > CHUNK ? (limits->max_iterations - CHUNK) / per_key : 0;
    if (p->max_seq_kv <= most) return true;
    qkvi_text_add(why, "max_seq_kv is %zu; the device's loops are cut short beyond %zu keys", p->max_seq_kv, most);
    return false;
}

static void destroy(void *state) {
    struct attention_plain *plain = state;
    if (plain == NULL) return;
    qkvi_kernel_destroy(plain->kernel);
    free(plain);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct attention_plain *plain = calloc(1, sizeof *plain);
    if (plain == NULL) return qkvi_fail_memory("an attention plan");
    plain->problem = problem->u.attention;
    char options[QKVI_ATTENTION_OPTIONS];
    qkvi_attention_options(options, &plain->problem);
    const qkv_status status =
        qkvi_kernel_create(&plain->kernel, programs, "attention_plain", options, "attention_plain");
    if (status != QKV_OK) {
        destroy(plain);
        return status;
    }
    plain->local_size = qkvi_kernel_group(plain->kernel, MAX_GROUP);
    plain->kernel->any_group = true;
    *state = plain;
    return QKV_OK;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct attention_plain *plain = state;
    const struct qkvi_attention_run *attention = opaque;
    struct qkvi_attention_args args;
    size_t rows;
    if (!qkvi_product(&rows, (const size_t[]){attention->batch, plain->problem.num_heads, attention->seq_q}, 3))
        return qkvi_fail(QKV_OVERFLOW, "attention: batch * num_heads * seq_q is too large");
    const cl_long num_rows = (cl_long)rows;
    const size_t global[2] = {qkvi_round_up(rows, plain->local_size), qkvi_div_up(plain->problem.value_dim, CHUNK)};
    const size_t local[2] = {plain->local_size, 1};
    qkvi_attention_args_set(&args, &plain->problem, attention, 0);
    QKVI_ATTENTION_ADD(&args, num_rows);
    return qkvi_kernel_run(plain->kernel, chain, args.list, args.count, 2, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct attention_plain *plain = state;
    qkvi_text_add(text, "one work-item a query row, local size %zu", plain->local_size);
}

const struct qkvi_solver qkvi_attention_plain = {
    .name = "plain",
    .operation = QKVI_ATTENTION,
    .applicable = applicable,
    .estimate = qkvi_estimate_plain,
    .create = create,
    .destroy = destroy,
    .panel = NULL,
    .run = run,
    .independent = true,
    .describe = describe,
};
