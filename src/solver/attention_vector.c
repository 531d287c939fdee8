/* CPU devices: one work-item a work-group. Query rows lie along the vector lanes; where there are only a few of them,
 * the dims do, and the keys may be split. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/attention_args.h"
#include "solver/attention_vector_decode.h"

struct attention_vector {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *kernel;
    struct qkvi_decode *decode; /* NULL where no run can use it */
    unsigned keys, vectors, width, block, unroll, max_dim;
    size_t private_bytes;
};

/* Register tiles by vector width, keys x vectors of queries: for 32 registers of 512 bits, 16 of 256, 32 of 128. */
static const struct tile { unsigned width, keys, vectors; } tiles[] = {{16, 4, 4}, {8, 4, 3}, {4, 4, 4}};

/* Where one vector or two are all that private memory leaves room for: as many keys as there are registers for, FEW
 * where only they leave room for a block. */
enum { NARROW = 2, NARROW_KEYS_512 = 8, FEW_NARROW_KEYS = 6 };

/* Keys a block: with fewer, loading and storing the tiles of the output costs more; with more, the weights leave the first
 * cache. */
enum { KEY_BLOCK = 128, LEAST_BLOCK = 12, LEAST_DIM = 64 };

/* Keys a block for which private memory has room beside x and o: s, and where the kernel has them `staged` and what
 * stores scores. */
static unsigned count_block(const struct attention_vector *vector) {
    const struct qkvi_attention_problem *p = &vector->problem;
    const bool staged = p->k_dtype != QKV_F32 || p->v_dtype != QKV_F32;
    const size_t lanes = (size_t)vector->width * vector->vectors, budget = vector->private_bytes / sizeof(float);
    const size_t rows = lanes * (2 * (size_t)vector->max_dim + vector->keys);
    const size_t per_key = lanes + (staged ? vector->max_dim : 0) + (p->weights ? vector->width : 0);
    const size_t room = rows < budget ? (budget - rows) / per_key : 0;
    const unsigned most = room < KEY_BLOCK ? (unsigned)room : KEY_BLOCK;
    /* Masks are read and scores written in squares of vectors, what is left over element by element. */
    const unsigned unit = most >= 2 * vector->width && vector->width % vector->keys == 0 ? vector->width : vector->keys;
    return most / unit * unit;
}

static void narrow_tile(struct attention_vector *vector) {
    while (vector->vectors > 1 && count_block(vector) < LEAST_BLOCK) {
        vector->vectors--;
        if (vector->vectors <= NARROW) vector->keys = vector->width == 16 ? NARROW_KEYS_512 : FEW_NARROW_KEYS;
    }
    if (vector->keys == NARROW_KEYS_512 && count_block(vector) < LEAST_BLOCK) vector->keys = FEW_NARROW_KEYS;
}

/* A tile that was asked for may take more than the budget. A block is whole tiles. */
static unsigned choose_block(const struct attention_vector *vector) {
    const unsigned block = count_block(vector);
    return block < LEAST_BLOCK ? (unsigned)qkvi_round_up(LEAST_BLOCK, vector->keys) : block;
}

/* QKV_ATTENTION_TILE=KEYSxVECTORS overrides the table. */
static qkv_status choose_tile(struct attention_vector *vector, const struct qkvi_runtime *rt) {
    const char *tuned = getenv("QKV_ATTENTION_TILE");
    const bool rasteriser = rt->info.kind == QKV_DEVICE_SOFTWARE_GPU;
    const unsigned width = rasteriser ? 4 : rt->limits.vector_width;
    unsigned keys, vectors;
    vector->width = width;
    vector->private_bytes = rt->limits.private_bytes;
    vector->unroll = rasteriser ? 1 : 4;
    for (size_t i = 0; i < QKVI_COUNT(tiles); i++)
        if (tiles[i].width == width) {
            vector->keys = tiles[i].keys;
            vector->vectors = tiles[i].vectors;
        }
    /* Rasterisers spread every vector over their own lanes: a large tile took a minute to compile. */
    if (rasteriser) {
        vector->keys = 2;
        vector->vectors = 1;
    }
    if (tuned != NULL && *tuned != '\0') {
        char rest;
        if (sscanf(tuned, "%ux%u%c", &keys, &vectors, &rest) != 2 ||
            !(keys == 2 || keys == 3 || keys == 4 || keys == 6 || keys == 8) || vectors < 1 || vectors > 4)
            return qkvi_fail(
                QKV_INVALID_ARGUMENT,
                "QKV_ATTENTION_TILE is \"%s\", not KEYSxVECTORS with 2, 3, 4, 6 or 8 keys and 1 to 4 vectors", tuned);
        vector->keys = keys;
        vector->vectors = vectors;
    } else {
        narrow_tile(vector);
    }
    vector->block = choose_block(vector);
    return QKV_OK;
}

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    (void)problem;
    if (limits->vector_width != 4 && limits->vector_width != 8 && limits->vector_width != 16) {
        qkvi_text_add(why, "no kernel for vectors of %u floats", (unsigned)limits->vector_width);
        return false;
    }
    return true;
}

/*
 * Iterations a key, at worst: products with every dim, values selected row by row, a mask gathered element by element,
 * another storage converted so; three times where weights and scores are written.
 */
static qkv_status check_iterations(const struct attention_vector *vector, size_t max_iterations) {
    const struct qkvi_attention_problem *p = &vector->problem;
    const size_t staged = (p->k_dtype != QKV_F32 ? p->head_dim : 0) + (p->v_dtype != QKV_F32 ? p->value_dim : 0);
    const size_t per_key =
        (p->head_dim + staged + (2 * p->value_dim + 4 * vector->width) * vector->vectors) * (p->weights ? 3 : 1);
    if (p->max_seq_kv <= max_iterations / per_key) return QKV_OK;
    return qkvi_fail(QKV_UNSUPPORTED, "max_seq_kv is %zu; the device's loops are cut short beyond %zu keys",
                     p->max_seq_kv, max_iterations / per_key);
}

static void destroy(void *state) {
    struct attention_vector *vector = state;
    if (vector == NULL) return;
    qkvi_kernel_destroy(vector->kernel);
    qkvi_decode_destroy(vector->decode);
    free(vector);
}

static size_t group_size(const struct qkvi_attention_problem *problem) {
    return problem->num_heads / problem->num_kv_heads;
}

static qkv_status create_kernel(struct attention_vector *vector, struct qkvi_programs *programs) {
    const struct qkvi_attention_problem *problem = &vector->problem;
    char features[QKVI_ATTENTION_OPTIONS], options[QKVI_ATTENTION_OPTIONS + 96];
    qkvi_attention_options(features, problem);
    snprintf(options, sizeof options, "-DVW=%u -DTK=%u -DTQ=%u -DKB=%u -DUNROLL=%u -DMAX_DIM=%u %s", vector->width,
             vector->keys, vector->vectors, vector->block, vector->unroll, vector->max_dim, features);
    return qkvi_kernel_create(&vector->kernel, programs, "attention_vector", options, "attention_vector");
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct attention_vector *vector = calloc(1, sizeof *vector);
    if (vector == NULL) return qkvi_fail_memory("an attention plan");
    vector->problem = problem->u.attention;
    vector->max_dim = (unsigned)qkvi_doubled(LEAST_DIM, qkvi_larger_dim(&vector->problem));
    qkv_status status = choose_tile(vector, programs->rt);
    if (status == QKV_OK) status = check_iterations(vector, programs->limits.max_iterations);
    if (status == QKV_OK) status = create_kernel(vector, programs);
    if (status == QKV_OK) status = qkvi_decode_create(&vector->decode, programs, &vector->problem, vector->width);
    if (status != QKV_OK) {
        destroy(vector);
        return status;
    }
    *state = vector;
    return QKV_OK;
}

static bool workspace(size_t *out_bytes, const void *state, const struct qkvi_problem *problem) {
    const struct attention_vector *vector = state;
    (void)problem;
    return qkvi_decode_workspace(out_bytes, vector->decode);
}

/* Every head's queries by themselves, or those of a key head's whole group numbered through where that takes fewer
 * blocks: K and V are then read once a group. */
static bool is_packed(const struct attention_vector *vector, const struct qkvi_attention_run *run) {
    const size_t group = group_size(&vector->problem);
    const size_t rows = (size_t)vector->width * vector->vectors;
    return run->seq_q < rows && qkvi_div_up(run->seq_q * group, rows) < group;
}

static qkv_status run_general(const struct attention_vector *vector, struct qkvi_chain *chain,
                              const struct qkvi_attention_run *attention) {
    const struct qkvi_attention_problem *problem = &vector->problem;
    const size_t rows = (size_t)vector->width * vector->vectors;
    const bool packed = is_packed(vector, attention);
    const size_t heads = packed ? problem->num_kv_heads : problem->num_heads;
    const size_t queries = attention->seq_q * (packed ? group_size(problem) : 1);
    const size_t global[3] = {qkvi_div_up(queries, rows), heads, attention->batch};
    const size_t local[3] = {1, 1, 1};
    struct qkvi_attention_args args;
    qkvi_attention_args_set(&args, problem, attention,
                            (packed ? QKVI_FLAG_PACKED : 0) |
                                (qkvi_attention_is_causal(attention) ? QKVI_FLAG_PAIRED : 0));
    return qkvi_kernel_run(vector->kernel, chain, args.list, args.count, 3, global, local);
}

/* As `regime` of a run says it. */
enum { GENERAL = 1, DECODE };

static size_t regimes(const void *state) {
    const struct attention_vector *vector = state;
    return vector->decode ? DECODE : GENERAL;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct attention_vector *vector = state;
    const struct qkvi_attention_run *attention = opaque;
    if (attention->regime != GENERAL && qkvi_decode_takes(vector->decode, attention))
        return qkvi_decode_run(vector->decode, chain, attention);
    return run_general(vector, chain, attention);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct attention_vector *vector = state;
    qkvi_text_add(text, "tile %u keys x %u queries, %u keys a block, dims to %u", vector->keys,
                  vector->vectors * vector->width, vector->block, vector->max_dim);
    qkvi_decode_describe(vector->decode, text);
}

const struct qkvi_solver qkvi_attention_vector = {
    .name = "vector",
    .operation = QKVI_ATTENTION,
    .applicable = applicable,
    .estimate = qkvi_estimate_vector,
    .create = create,
    .destroy = destroy,
    .panel = NULL,
    .workspace = workspace,
    .run = run,
    .regimes = regimes,
    .describe = describe,
};
