/* Explicit vectors, one work-item per work-group: for devices that are CPUs. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/rotary_args.h"

/* Work-groups to each core, so that they end at about the same time. */
#define GROUPS_PER_UNIT 4
/* Features of one work-group, where there is a choice: below the first it costs more to start it than to run it, beyond
 * the second nothing is won. */
#define FEWEST_FEATURES ((size_t)1 << 13)
#define MOST_FEATURES ((size_t)1 << 18)

struct rotary_vector {
    struct qkvi_rotary_problem problem;
    struct qkvi_kernel *kernel;
    uint32_t width;
    size_t max_lines; /* of one work-group; a line is a token of one head */
    size_t enough_groups;
};

/* Iterations of a work-item's loops for one line: pairs to stage, and features to turn one by one where it is not dense. */
static size_t iterations(const struct qkvi_rotary_problem *p) {
    return 2 * p->head_dim + 4;
}

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    if (iterations(&problem->u.rotary) <= limits->max_iterations) return true;
    qkvi_text_add(why, "the device's loops are cut short beyond %zu iterations", limits->max_iterations);
    return false;
}

static void destroy(void *state) {
    struct rotary_vector *vector = state;
    qkvi_kernel_destroy(vector->kernel);
    free(vector);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    const struct qkvi_limits *limits = &programs->limits;
    struct rotary_vector *vector = calloc(1, sizeof *vector);
    if (!vector) return qkvi_fail_memory("a rotary plan");
    vector->problem = problem->u.rotary;
    vector->width = limits->vector_width;
    vector->max_lines = limits->max_iterations / iterations(&vector->problem);
    vector->enough_groups = (size_t)GROUPS_PER_UNIT * limits->compute_units;
    char options[64];
    snprintf(options, sizeof options, "-DVW=%u", (unsigned)vector->width);
    const qkv_status status = qkvi_kernel_create(&vector->kernel, programs, "rotary_vector", options, "rotary_vector");
    if (status)
        free(vector);
    else
        *state = vector;
    return status;
}

static bool is_heads_inside(const struct qkvi_rotary_run *r) {
    const int64_t head = r->x.stride[1], token = r->x.stride[2];
    return (head < 0 ? -head : head) < (token < 0 ? -token : token);
}

/* A work-group's lines, first of the axis that lies closer together in memory: what is read in one piece is read fast. */
static void divide(size_t *tokens, size_t *heads, const struct rotary_vector *vector, const struct qkvi_rotary_run *r) {
    const size_t head_dim = vector->problem.head_dim;
    const size_t all = r->batch * r->num_heads * r->seq * head_dim;
    const size_t features = qkvi_between(all / vector->enough_groups, FEWEST_FEATURES, MOST_FEATURES);
    const size_t lines = qkvi_between(features / head_dim, 1, vector->max_lines);
    const bool heads_inside = is_heads_inside(r);
    const size_t inner = qkvi_between(lines, 1, heads_inside ? r->num_heads : r->seq);
    const size_t outer = qkvi_between(lines / inner, 1, heads_inside ? r->seq : r->num_heads);
    *tokens = heads_inside ? outer : inner;
    *heads = heads_inside ? inner : outer;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct rotary_vector *vector = state;
    const struct qkvi_rotary_run *rotary = opaque;
    size_t tokens, heads;
    divide(&tokens, &heads, vector, rotary);
    const cl_long tokens_per_group = (cl_long)tokens, heads_per_group = (cl_long)heads;
    const cl_int heads_inside = is_heads_inside(rotary);
    const size_t global[3] = {qkvi_div_up(rotary->seq, tokens), qkvi_div_up(rotary->num_heads, heads), rotary->batch};
    const size_t local[3] = {1, 1, 1};
    struct qkvi_rotary_args args;
    qkvi_rotary_args_set(&args, &vector->problem, rotary);
    args.list[QKVI_ROTARY_ARGS] = QKVI_ARG(tokens_per_group);
    args.list[QKVI_ROTARY_ARGS + 1] = QKVI_ARG(heads_per_group);
    args.list[QKVI_ROTARY_ARGS + 2] = QKVI_ARG(heads_inside);
    return qkvi_kernel_run(vector->kernel, chain, args.list, QKVI_ROTARY_ARGS + 3, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct rotary_vector *vector = state;
    qkvi_text_add(text, "vectors of %u", (unsigned)vector->width);
}

const struct qkvi_solver qkvi_rotary_vector = {
    .name = "vector",
    .operation = QKVI_ROTARY,
    .applicable = applicable,
    .estimate = qkvi_estimate_vector,
    .create = create,
    .destroy = destroy,
    .run = run,
    .describe = describe,
};
