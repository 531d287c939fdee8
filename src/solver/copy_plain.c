/* One work-item an element: any device. Neighbours read and write neighbours, so it serves GPUs as it is. */
#include <stdlib.h>

#include "solver/copy_args.h"

/* Some groups to a row of heads that are common; more gains nothing where memory is the limit. */
#define MAX_GROUP 256

struct copy_plain {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *kernel;
    size_t local_size;
};

static void destroy(void *state) {
    struct copy_plain *plain = state;
    qkvi_kernel_destroy(plain->kernel);
    free(plain);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct copy_plain *plain = calloc(1, sizeof *plain);
    if (!plain) return qkvi_fail_memory("a plan for copies");
    plain->problem = problem->u.attention;
    const qkv_status status = qkvi_kernel_create(&plain->kernel, programs, "copy_plain", "", "copy_plain");
    if (status) {
        free(plain);
        return status;
    }
    plain->kernel->any_group = true;
    plain->local_size = qkvi_kernel_group(plain->kernel, MAX_GROUP);
    *state = plain;
    return QKV_OK;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct copy_plain *plain = state;
    const struct qkvi_attention_run *attention = opaque;
    const struct qkvi_attention_problem *p = &plain->problem;
    struct qkvi_copy_args args;
    qkvi_copy_args_set(&args, p, attention);
    const size_t k = args.rows[0] * p->head_dim, v = args.rows[1] * p->value_dim;
    const size_t global[3] = {qkvi_round_up(k > v ? k : v, plain->local_size), attention->batch * p->num_kv_heads, 2};
    const size_t local[3] = {plain->local_size, 1, 1};
    return qkvi_kernel_run(plain->kernel, chain, args.list, QKVI_COPY_ARGS, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct copy_plain *plain = state;
    qkvi_text_add(text, "one work-item an element, local size %zu", plain->local_size);
}

const struct qkvi_solver qkvi_copy_plain = {
    .name = "plain",
    .operation = QKVI_COPY,
    .estimate = qkvi_estimate_plain,
    .create = create,
    .destroy = destroy,
    .run = run,
    .describe = describe,
};
