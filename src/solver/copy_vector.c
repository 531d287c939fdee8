/* Explicit vectors, one work-item per work-group: for devices that are CPUs. */
#include <stdlib.h>

#include "solver/copy_args.h"

/* Work-groups to each core, so that they end at about the same time. */
#define GROUPS_PER_UNIT 4
/* Elements of one work-group, where there is a choice: below the first it costs more to start it than to run it, beyond
 * the second nothing is won. */
#define FEWEST_ELEMENTS ((size_t)1 << 13)
#define MOST_ELEMENTS ((size_t)1 << 15)

struct copy_vector {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *kernel;
    size_t max_rows; /* of one work-group */
    size_t enough_groups;
};

/* The head of cl/copy_vector.cl: iterations of a work-item's loops for one row. */
static size_t iterations(const struct qkvi_attention_problem *p) {
    return qkvi_larger_dim(p) + 2;
}

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    if (iterations(&problem->u.attention) <= limits->max_iterations) return true;
    qkvi_text_add(why, "the device's loops are cut short beyond %zu iterations", limits->max_iterations);
    return false;
}

static void destroy(void *state) {
    struct copy_vector *vector = state;
    qkvi_kernel_destroy(vector->kernel);
    free(vector);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    const struct qkvi_limits *limits = &programs->limits;
    struct copy_vector *vector = calloc(1, sizeof *vector);
    if (!vector) return qkvi_fail_memory("a plan for copies");
    vector->problem = problem->u.attention;
    vector->max_rows = limits->max_iterations / iterations(&vector->problem);
    vector->enough_groups = (size_t)GROUPS_PER_UNIT * limits->compute_units;
    const qkv_status status = qkvi_kernel_create(&vector->kernel, programs, "copy_vector", "", "copy_vector");
    if (status)
        free(vector);
    else
        *state = vector;
    return status;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct copy_vector *vector = state;
    const struct qkvi_attention_run *attention = opaque;
    struct qkvi_copy_args args;
    qkvi_copy_args_set(&args, &vector->problem, attention);
    const size_t rows = args.rows[0] > args.rows[1] ? args.rows[0] : args.rows[1], dim = qkvi_larger_dim(&vector->problem);
    const size_t planes = attention->batch * vector->problem.num_kv_heads;
    const size_t elements = qkvi_between(2 * planes * rows * dim / vector->enough_groups, FEWEST_ELEMENTS, MOST_ELEMENTS);
    const cl_long rows_per_group = (cl_long)qkvi_between(elements / dim, 1, vector->max_rows);
    const size_t global[3] = {qkvi_div_up(rows, (size_t)rows_per_group), planes, 2};
    const size_t local[3] = {1, 1, 1};
    args.list[QKVI_COPY_ARGS] = QKVI_ARG(rows_per_group);
    return qkvi_kernel_run(vector->kernel, chain, args.list, QKVI_COPY_ARGS + 1, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    (void)state;
    qkvi_text_add(text, "vectors of 16");
}

const struct qkvi_solver qkvi_copy_vector = {
    .name = "vector",
    .operation = QKVI_COPY,
    .applicable = applicable,
    .estimate = qkvi_estimate_vector,
    .create = create,
    .destroy = destroy,
    .run = run,
    .describe = describe,
};
