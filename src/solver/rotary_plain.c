/* One work-item a pair: any device. Neighbours read and write neighbours, so it serves GPUs as it is. */
#include <stdlib.h>

#include "solver/rotary_args.h"

/* Some groups to a row of heads that are common; more gains nothing where memory is the limit. */
#define MAX_GROUP 256

struct rotary_plain {
    struct qkvi_rotary_problem problem;
    struct qkvi_kernel *kernel;
    size_t local_size;
};

static void destroy(void *state) {
    struct rotary_plain *plain = state;
    qkvi_kernel_destroy(plain->kernel);
    free(plain);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct rotary_plain *plain = calloc(1, sizeof *plain);
    if (!plain) return qkvi_fail_memory("a rotary plan");
    plain->problem = problem->u.rotary;
    const qkv_status status = qkvi_kernel_create(&plain->kernel, programs, "rotary_plain", "", "rotary_plain");
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
    const struct rotary_plain *plain = state;
    const struct qkvi_rotary_run *rotary = opaque;
    const struct qkvi_rotary_problem *p = &plain->problem;
    const size_t num_units = p->rotary_dim / 2 + (rotary->in_place ? 0 : p->head_dim - p->rotary_dim);
    struct qkvi_rotary_args args;
    size_t items;
    if (!qkvi_product(&items, (const size_t[]){rotary->batch, rotary->seq, num_units}, 3))
        return qkvi_fail(QKV_OVERFLOW, "rotary: batch * seq * head_dim is too large");
    const cl_long units = (cl_long)num_units, num_items = (cl_long)items;
    const size_t global[2] = {qkvi_round_up(items, plain->local_size), rotary->num_heads};
    const size_t local[2] = {plain->local_size, 1};
    qkvi_rotary_args_set(&args, p, rotary);
    args.list[QKVI_ROTARY_ARGS] = QKVI_ARG(units);
    args.list[QKVI_ROTARY_ARGS + 1] = QKVI_ARG(num_items);
    return qkvi_kernel_run(plain->kernel, chain, args.list, QKVI_ROTARY_ARGS + 2, 2, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct rotary_plain *plain = state;
    qkvi_text_add(text, "one work-item a pair, local size %zu", plain->local_size);
}

const struct qkvi_solver qkvi_rotary_plain = {
    .name = "plain",
    .operation = QKVI_ROTARY,
    .estimate = qkvi_estimate_plain,
    .create = create,
    .destroy = destroy,
    .run = run,
    .describe = describe,
};
