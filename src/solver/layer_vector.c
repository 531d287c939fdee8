/* CPU devices, few tokens: a whole layer in one launch. Waking threads for a launch, and again for each that waits for
 * the one before, takes as long as the work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "solver/linear_vector.h"

/* Where cl/layer_vector.cl has the columns of the last projection. */
#define SIZE_OF_OUT 7
/* Counters of every phase, see there. */
#define PHASES 3
#define LINE 16
/* A few tokens are not worth waking more cores for; and what a driver says of their number is not believed. */
#define MOST_GROUPS 64
/* Dims of a value that the kernel takes at once. */
#define VALUES 8

struct layer_vector {
    struct qkvi_layer_problem problem;
    void *in, *out; /* states of the projections: they know their tiles and how they are divided */
    struct qkvi_kernel *kernel, *clear;
    size_t groups;
};

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    const struct qkvi_layer_problem *p = &problem->u.layer;
    const unsigned unit = limits->vector_width > VALUES ? limits->vector_width : VALUES;
    /* Elsewhere a work-group may be set aside while others look at what it is to do. */
    if (!limits->cpu)
        qkvi_text_add(why, "the device is no CPU");
    else if (limits->max_iterations != SIZE_MAX)
        qkvi_text_add(why, "the device's loops are cut short");
    else if (p->head_dim % unit != 0 || p->value_dim % unit != 0)
        qkvi_text_add(why, "head_dim %zu and value_dim %zu are not multiples of %u", p->head_dim, p->value_dim, unit);
    else
        return true;
    return false;
}

static double estimate(const struct qkvi_problem *problem, const struct qkvi_limits *limits) {
    (void)problem;
    (void)limits;
    return 1;
}

static void destroy(void *state) {
    struct layer_vector *layer = state;
    if (layer == NULL) return;
    if (layer->in) qkvi_linear_vector.destroy(layer->in);
    if (layer->out) qkvi_linear_vector.destroy(layer->out);
    qkvi_kernel_destroy(layer->kernel);
    qkvi_kernel_destroy(layer->clear);
    free(layer);
}

static qkv_status create_linear(void **state, struct qkvi_programs *programs, size_t in_features) {
    const struct qkvi_problem problem = {.operation = QKVI_LINEAR, .u.linear = {.in_features = in_features}};
    return qkvi_linear_vector.create(state, programs, &problem);
}

/* Does a fence become one on the way from SPIR to the processor? Intel's translator, for one, sees to that. */
static bool is_translated_well(const struct qkvi_runtime *rt) {
    return !strcmp(rt->info.platform_name, "Intel(R) OpenCL");
}

static qkv_status create_kernels(struct layer_vector *layer, struct qkvi_programs *programs) {
    char tiles[QKVI_LINEAR_VECTOR_OPTIONS], options[QKVI_LINEAR_VECTOR_OPTIONS + 112];
    qkvi_linear_vector_options(tiles, sizeof tiles, layer->in);
    snprintf(options, sizeof options, "%s -DHEAD_DIM=%zu -DVALUE_DIM=%zu -DMAX_KEYS=%d -DALONE=%d -DTRANSLATED=%d",
             tiles, layer->problem.head_dim, layer->problem.value_dim, QKVI_LAYER_ROWS, layer->groups == 1,
             is_translated_well(programs->rt));
    qkv_status status = qkvi_kernel_create(&layer->kernel, programs, "layer_vector", options, "layer_vector");
    return status ? status : qkvi_kernel_create(&layer->clear, programs, "layer_vector", options, "layer_clear");
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    const struct qkvi_limits *limits = &programs->limits;
    struct layer_vector *layer = calloc(1, sizeof *layer);
    if (layer == NULL) return qkvi_fail_memory("a layer's plan");
    layer->problem = problem->u.layer;
    /* A simulator takes what work-groups tell each other for a race. */
    layer->groups = limits->simulator ? 1 : limits->compute_units < MOST_GROUPS ? limits->compute_units : MOST_GROUPS;
    if (layer->groups == 0) layer->groups = 1;
    qkv_status status = create_linear(&layer->in, programs, layer->problem.in_features);
    if (!status) status = create_linear(&layer->out, programs, layer->problem.num_heads * layer->problem.value_dim);
    if (!status) status = create_kernels(layer, programs);
    if (status)
        destroy(layer);
    else
        *state = layer;
    return status;
}

static size_t count_counters(size_t groups) {
    return PHASES * LINE * (groups + 1);
}

static bool workspace(size_t *out_bytes, const void *state, const struct qkvi_problem *problem) {
    (void)problem;
    *out_bytes = count_counters(((const struct layer_vector *)state)->groups) * sizeof(cl_int);
    return true;
}

/* (offset, batch, head and row stride) of q, k, v and the heads. */
static void find_places(cl_long16 *places, const struct qkvi_attention_run *a) {
    const struct qkvi_view4 *views[] = {&a->q, &a->k, &a->v, &a->out};
    for (size_t i = 0; i < QKVI_COUNT(views); i++) {
        places->s[4 * i] = views[i]->offset;
        for (size_t axis = 0; axis < 3; axis++)
            places->s[4 * i + 1 + axis] = views[i]->stride[axis];
    }
}

static qkv_status clear(const struct layer_vector *layer, struct qkvi_chain *chain, const struct qkvi_layer_run *run,
                        size_t groups) {
    const cl_long offset = (cl_long)(run->workspace_offset / sizeof(cl_int));
    const cl_int count = (cl_int)count_counters(groups);
    const struct qkvi_arg args[] = {QKVI_ARG(run->workspace), QKVI_ARG(offset), QKVI_ARG(count)};
    const size_t one = 1;
    return qkvi_kernel_run(layer->clear, chain, args, QKVI_COUNT(args), 1, &one, &one);
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct layer_vector *layer = state;
    const struct qkvi_layer_run *run = opaque;
    const struct qkvi_attention_run *a = run->attention;
    struct qkvi_linear_args in, out;
    size_t in_grid[3], out_grid[3];
    qkvi_linear_vector_arrange(&in, in_grid, layer->in, run->in);
    qkvi_linear_vector_arrange(&out, out_grid, layer->out, run->out);
    cl_long16 places;
    find_places(&places, a);
    const cl_long8 shape = {{(cl_long)a->batch, (cl_long)layer->problem.num_heads, (cl_long)layer->problem.num_kv_heads,
                             (cl_long)a->seq_q, (cl_long)(run->workspace_offset / sizeof(cl_int))}};
    cl_int8 grids = {{0}};
    for (size_t i = 0; i < 3; i++) {
        grids.s[i] = (cl_int)in_grid[i];
        grids.s[4 + i] = (cl_int)out_grid[i];
    }
    out.sizes.s[SIZE_OF_OUT] = (cl_long)run->out->weights->out_features[0];
    /* Of each: x, packed weights, biases, outputs. */
    struct qkvi_arg args[21];
    size_t count = 0;
    for (size_t i = 0; i < 6; i++)
        args[count++] = in.list[i];
    for (size_t i = 0; i < 4; i++)
        args[count++] = out.list[i];
    args[count++] = QKVI_ARG(run->workspace);
    args[count++] = QKVI_ARG(grids);
    for (size_t i = 0; i < QKVI_COUNT(in.views); i++)
        args[count++] = QKVI_ARG(in.views[i]);
    args[count++] = QKVI_ARG(out.views[0]);
    args[count++] = QKVI_ARG(places);
    args[count++] = QKVI_ARG(in.sizes);
    args[count++] = QKVI_ARG(out.sizes);
    args[count++] = QKVI_ARG(shape);
    args[count++] = QKVI_ARG(a->scale);
    const size_t jobs = in_grid[0] * in_grid[1] * in_grid[2], local = 1;
    const size_t groups = layer->groups < jobs ? layer->groups : jobs;
    qkv_status status = clear(layer, chain, run, groups);
    return status ? status : qkvi_kernel_run(layer->kernel, chain, args, count, 1, &groups, &local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct layer_vector *layer = state;
    qkvi_text_add(text, "one launch for up to %d tokens, %zu work-groups, dims %zu and %zu, ", QKVI_LAYER_ROWS,
                  layer->groups, layer->problem.head_dim, layer->problem.value_dim);
    qkvi_linear_vector.describe(layer->in, text);
}

const struct qkvi_solver qkvi_layer_vector = {
    .name = "vector",
    .operation = QKVI_LAYER,
    .applicable = applicable,
    .estimate = estimate,
    .create = create,
    .destroy = destroy,
    .panel = NULL,
    .workspace = workspace,
    .run = run,
    .describe = describe,
};
