/* CPU devices: one work-item a work-group, query rows along the vector lanes. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/attention_args.h"

struct attention_vector {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *kernel;
    unsigned keys, vectors, width, block, max_dim;
};

/* Register tiles by vector width: keys x vectors of queries. */
static const struct tile {
    unsigned width, keys, vectors;
} tiles[] = {{16, 4, 4}, {8, 4, 2}, {4, 4, 4}};

enum { KEY_BLOCK = 64, LARGEST_DIM = 512 };

static unsigned dim_bucket(const struct qkvi_attention_problem *problem)
{
    const size_t dim = problem->head_dim > problem->value_dim ? problem->head_dim : problem->value_dim;
    unsigned bucket = 64;
    while (bucket < dim)
        bucket *= 2;
    return bucket;
}

/* QKV_ATTENTION_TILE=KEYSxVECTORS overrides the table. */
static void choose_tile(struct attention_vector *vector, unsigned width)
{
    const char *tuned = getenv("QKV_ATTENTION_TILE");
    unsigned keys, vectors;
    vector->width = width;
    for (size_t i = 0; i < QKVI_COUNT(tiles); i++)
        if (tiles[i].width == width) {
            vector->keys = tiles[i].keys;
            vector->vectors = tiles[i].vectors;
        }
    if (tuned != NULL && sscanf(tuned, "%ux%u", &keys, &vectors) == 2 &&
        (keys == 2 || keys == 3 || keys == 4 || keys == 6) && vectors >= 1 && vectors <= 4) {
        vector->keys = keys;
        vector->vectors = vectors;
    }
    vector->block = KEY_BLOCK / vector->keys * vector->keys;
}

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why)
{
    (void)problem;
    if (!limits->cpu) {
        qkvi_text_add(why, "not a CPU");
        return false;
    }
    if (limits->vector_width != 4 && limits->vector_width != 8 && limits->vector_width != 16) {
        qkvi_text_add(why, "no kernel for vectors of %u floats", (unsigned)limits->vector_width);
        return false;
    }
    return true;
}

static double estimate(const struct qkvi_problem *problem, const struct qkvi_limits *limits)
{
    (void)problem;
    (void)limits;
    return 1.0;
}

static void destroy(void *state)
{
    struct attention_vector *vector = state;
    if (vector == NULL)
        return;
    qkvi_kernel_destroy(vector->kernel);
    free(vector);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem)
{
    struct attention_vector *vector = calloc(1, sizeof *vector);
    if (vector == NULL)
        return qkvi_fail_memory("an attention plan");
    vector->problem = problem->u.attention;
    vector->max_dim = dim_bucket(&vector->problem);
    choose_tile(vector, programs->rt->limits.vector_width);
    char options[128];
    snprintf(options, sizeof options, "-DVW=%u -DTK=%u -DTQ=%u -DKB=%u -DMAX_DIM=%u -DMASK=%d -DWEIGHTS=%d",
             vector->width, vector->keys, vector->vectors, vector->block, vector->max_dim, vector->problem.mask,
             vector->problem.weights);
    const qkv_status status =
        qkvi_kernel_create(&vector->kernel, programs, "attention_vector", options, "attention_vector");
    if (status != QKV_OK) {
        destroy(vector);
        return status;
    }
    *state = vector;
    return QKV_OK;
}

static bool workspace(size_t *out_bytes, const void *state, const struct qkvi_problem *problem)
{
    (void)state;
    (void)problem;
    *out_bytes = 0;
    return true;
}

/* Every head's queries by themselves, or those of a key head's whole group numbered through where that takes fewer
 * blocks: K and V are then read once a group. */
static bool is_packed(const struct attention_vector *vector, const struct qkvi_attention_run *run)
{
    const size_t group = vector->problem.num_heads / vector->problem.num_kv_heads;
    const size_t rows = (size_t)vector->width * vector->vectors;
    return run->seq_q < rows && qkvi_div_up(run->seq_q * group, rows) < group;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque)
{
    const struct attention_vector *vector = state;
    const struct qkvi_attention_run *attention = opaque;
    const struct qkvi_attention_problem *problem = &vector->problem;
    const size_t rows = (size_t)vector->width * vector->vectors;
    const bool packed = is_packed(vector, attention);
    const size_t heads = packed ? problem->num_kv_heads : problem->num_heads;
    const size_t queries = attention->seq_q * (packed ? problem->num_heads / problem->num_kv_heads : 1);
    const size_t global[3] = {qkvi_div_up(queries, rows), heads, attention->batch};
    const size_t local[3] = {1, 1, 1};
    struct qkvi_attention_args args;
    qkvi_attention_args_set(&args, problem, attention,
                            (packed ? QKVI_FLAG_PACKED : 0) |
                                (qkvi_attention_is_causal(attention) ? QKVI_FLAG_PAIRED : 0));
    return qkvi_kernel_run(vector->kernel, chain, args.list, QKVI_ATTENTION_ARGS, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text)
{
    const struct attention_vector *vector = state;
    qkvi_text_add(text, "tile %u keys x %u queries, %u keys a block, dims to %u", vector->keys,
                  vector->vectors * vector->width, vector->block, vector->max_dim);
}

const struct qkvi_solver qkvi_attention_vector = {
    .name = "vector",
    .operation = QKVI_ATTENTION,
    .applicable = applicable,
    .estimate = estimate,
    .create = create,
    .destroy = destroy,
    .panel = NULL,
    .workspace = workspace,
    .run = run,
    .describe = describe,
};
