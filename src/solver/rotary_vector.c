/* Explicit vectors, one work-item per work-group: for devices that are CPUs. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/rotary_args.h"

/* As in cl/rotary_vector.cl: cosines, and as many sines, that a work-group keeps. */
#define STAGE 2048
/* Tokens of one work-group: enough to make reading in one piece pay where a head's tokens lie together. */
#define MAX_TOKENS 64
/* Work-groups to each core, so that they end at about the same time. */
#define GROUPS_PER_UNIT 4
/* Features that are worth a work-group: below, heads are not divided among several. */
#define ENOUGH_FEATURES 8192

struct rotary_vector {
    struct qkvi_rotary_problem problem;
    struct qkvi_kernel *kernel;
    uint32_t width;
    size_t max_tokens, max_lines; /* of one work-group; a line is a token of one head */
    size_t enough_groups;
};

/* Iterations of a work-item's loops: to stage a token, and to turn a line feature by feature where it is not dense. */
static size_t iterations(const struct qkvi_rotary_problem *p) {
    return p->head_dim + 2;
}

static size_t max_tokens(const struct qkvi_rotary_problem *p, uint32_t width) {
    const size_t tokens = STAGE / qkvi_round_up(p->rotary_dim / 2, width);
    return tokens < MAX_TOKENS ? tokens : MAX_TOKENS;
}

/* One half of a work-item's iterations for what is staged, one for the lines, of which there are at least as many as
 * tokens. */
static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    const struct qkvi_rotary_problem *p = &problem->u.rotary;
    if (max_tokens(p, limits->vector_width) * iterations(p) <= limits->max_iterations / 2) return true;
    qkvi_text_add(why, "the device's loops are cut short beyond %zu iterations", limits->max_iterations);
    return false;
}

/* Work-groups of one work-item leave a GPU's lanes idle: the plain solver beats this one there. */
static double estimate(const struct qkvi_problem *problem, const struct qkvi_limits *limits) {
    (void)problem;
    return limits->cpu ? 1 : 2000;
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
    vector->max_tokens = max_tokens(&vector->problem, vector->width);
    vector->max_lines = limits->max_iterations / 2 / iterations(&vector->problem);
    vector->enough_groups = (size_t)GROUPS_PER_UNIT * limits->compute_units;
    char options[64];
    snprintf(options, sizeof options, "-DVW=%u -DSTAGE=%d", (unsigned)vector->width, STAGE);
    const qkv_status status = qkvi_kernel_create(&vector->kernel, programs, "rotary_vector", options, "rotary_vector");
    if (status)
        free(vector);
    else
        *state = vector;
    return status;
}

static size_t at_most(size_t value, size_t limit) {
    return value < limit ? value : limit;
}

/* Fewer tokens a group first, then fewer heads, which means to stage the same tokens several times. */
static void divide(size_t *tokens, size_t *heads, const struct rotary_vector *vector, const struct qkvi_rotary_run *r) {
    const size_t fair = qkvi_div_up(r->seq, qkvi_div_up(vector->enough_groups, r->batch));
    *tokens = at_most(vector->max_tokens, fair);
    const size_t groups = r->batch * qkvi_div_up(r->seq, *tokens);
    const size_t features = *tokens * r->num_heads * vector->problem.head_dim;
    const size_t chunks = at_most(qkvi_div_up(vector->enough_groups, groups), features / ENOUGH_FEATURES);
    *heads = qkvi_div_up(r->num_heads, chunks ? chunks : 1);
    *heads = at_most(*heads, vector->max_lines / *tokens);
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct rotary_vector *vector = state;
    const struct qkvi_rotary_run *rotary = opaque;
    size_t tokens, heads;
    divide(&tokens, &heads, vector, rotary);
    const cl_long tokens_per_group = (cl_long)tokens, heads_per_group = (cl_long)heads;
    const size_t global[3] = {qkvi_div_up(rotary->seq, tokens), qkvi_div_up(rotary->num_heads, heads), rotary->batch};
    const size_t local[3] = {1, 1, 1};
    struct qkvi_rotary_args args;
    qkvi_rotary_args_set(&args, &vector->problem, rotary);
    args.list[QKVI_ROTARY_ARGS] = QKVI_ARG(tokens_per_group);
    args.list[QKVI_ROTARY_ARGS + 1] = QKVI_ARG(heads_per_group);
    return qkvi_kernel_run(vector->kernel, chain, args.list, QKVI_ROTARY_ARGS + 2, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct rotary_vector *vector = state;
    qkvi_text_add(text, "vectors of %u, %zu tokens a group", (unsigned)vector->width, vector->max_tokens);
}

const struct qkvi_solver qkvi_rotary_vector = {
    .name = "vector",
    .operation = QKVI_ROTARY,
    .applicable = applicable,
    .estimate = estimate,
    .create = create,
    .destroy = destroy,
    .run = run,
    .describe = describe,
};
