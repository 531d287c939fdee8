/* Explicit vectors and register tiles, one work-item per work-group: for devices that are CPUs. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/linear_pack.h"

/* A register tile: rows of x by vectors of W, so that rows * vectors sums, the vectors and one broadcast value of x
 * fit the registers. */
struct tile {
    uint32_t width;
    uint32_t rows, vectors;
};
static const struct tile tiles[] = {
    {16, 8, 3}, /* 32 registers of 512 bits */
    {8, 4, 3},  /* 16 registers of 256 bits */
    {4, 8, 3},  /* 32 registers of 128 bits */
};
/* A graphics driver that draws on the CPU makes lanes of work-items and takes vectors apart, so a tile gains nothing
 * there, and compiling a large one takes its compiler half a minute. */
static const struct tile software_gpu_tile = {4, 4, 1};

/* What cl/linear_vector.cl knows. */
static const uint32_t known_rows[] = {1, 2, 4, 6, 8, 12, 16};
#define MAX_ROWS 16
#define MAX_VECTORS 4

/* Tiles one work-group runs down: enough to read its panel of W from memory once for many of them, fewer where cores
 * would be left without a share of GROUPS_PER_UNIT work-groups. */
#define TILES_PER_GROUP 8
#define GROUPS_PER_UNIT 4
/* Bytes of x that pass by one panel after the other; to fit the cache that the cores share. */
#define BAND_BYTES ((size_t)4 << 20)

struct state {
    struct qkvi_kernel *kernel;
    struct tile tile;
    size_t enough_groups;
};

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    /* A work-item's tiles, each with a loop over k and, at worst, one over every element it writes. */
    const size_t per_tile = limits->max_iterations / TILES_PER_GROUP, writes = MAX_ROWS * (MAX_VECTORS * 16 + 2);
    const size_t most = per_tile > writes ? per_tile - writes : 0;
    if (problem->u.linear.in_features <= most) return true;
    qkvi_text_add(why, "in_features is %zu; the device's loops are cut short beyond %zu", problem->u.linear.in_features,
                  most);
    return false;
}

/* Work-groups of one work-item leave a GPU's lanes idle: the plain solver beats this one there. */
static double estimate(const struct qkvi_problem *problem, const struct qkvi_limits *limits) {
    (void)problem;
    return limits->cpu ? 1 : 2000;
}

/* QKV_LINEAR_TILE="ROWSxVECTORS" overrides the table. */
static qkv_status override_tile(struct tile *tile) {
    const char *text = getenv("QKV_LINEAR_TILE");
    if (!text || !*text) return QKV_OK;
    unsigned rows, vectors;
    char rest;
    if (sscanf(text, "%ux%u%c", &rows, &vectors, &rest) == 2 && vectors >= 1 && vectors <= MAX_VECTORS)
        for (size_t i = 0; i < QKVI_COUNT(known_rows); i++)
            if (known_rows[i] == rows) {
                tile->rows = rows;
                tile->vectors = vectors;
                return QKV_OK;
            }
    return qkvi_fail(
        QKV_INVALID_ARGUMENT,
        "QKV_LINEAR_TILE is \"%s\", not ROWSxVECTORS with 1, 2, 4, 6, 8, 12 or 16 rows and 1 to %d vectors", text,
        MAX_VECTORS);
}

static qkv_status choose_tile(struct tile *out, const struct qkvi_runtime *rt) {
    if (rt->info.kind == QKV_DEVICE_SOFTWARE_GPU) {
        *out = software_gpu_tile;
        return override_tile(out);
    }
    for (size_t i = 0; i < QKVI_COUNT(tiles); i++)
        if (tiles[i].width == rt->limits.vector_width) *out = tiles[i];
    return override_tile(out);
}

static void destroy(void *state) {
    struct state *s = state;
    qkvi_kernel_destroy(s->kernel);
    free(s);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    (void)problem;
    struct tile tile = tiles[0];
    qkv_status status = choose_tile(&tile, programs->rt);
    if (status) return status;
    struct state *s = calloc(1, sizeof *s);
    if (!s) return qkvi_fail_memory("a linear solver");
    s->tile = tile;
    s->enough_groups = (size_t)GROUPS_PER_UNIT * programs->rt->limits.compute_units;
    char options[64];
    snprintf(options, sizeof options, "-DVW=%u -DROWS=%u -DNV=%u", (unsigned)tile.width, (unsigned)tile.rows,
             (unsigned)tile.vectors);
    status = qkvi_kernel_create(&s->kernel, programs, "linear_vector", options, "linear_vector");
    if (status)
        free(s);
    else
        *state = s;
    return status;
}

static size_t panel(const void *state) {
    const struct state *s = state;
    return (size_t)s->tile.width * s->tile.vectors;
}

/* How `rows` rows are divided: bands of chunks of rows_per_group rows, even but for the last. */
struct division {
    size_t rows_per_group, chunks_per_band, bands;
};

static struct division divide(const struct state *s, const struct qkvi_linear_run *r) {
    const size_t tiles_of_rows = qkvi_div_up(r->rows, s->tile.rows);
    size_t chunks = qkvi_div_up(tiles_of_rows, TILES_PER_GROUP);
    const size_t enough = qkvi_div_up(s->enough_groups, r->weights->num_panels);
    if (chunks < enough) chunks = enough < tiles_of_rows ? enough : tiles_of_rows;

    struct division d = {.rows_per_group = qkvi_div_up(tiles_of_rows, chunks) * s->tile.rows};
    chunks = qkvi_div_up(r->rows, d.rows_per_group);
    const size_t most = BAND_BYTES / sizeof(float) / r->weights->in_features / d.rows_per_group;
    d.bands = qkvi_div_up(chunks, most ? most : 1);
    d.chunks_per_band = qkvi_div_up(chunks, d.bands);
    return d;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *run) {
    const struct state *s = state;
    const struct qkvi_linear_run *r = run;
    const struct division d = divide(s, r);
    const cl_long rows_per_group = (cl_long)d.rows_per_group;
    struct qkvi_linear_args args;
    qkvi_linear_args_fill(&args, r);
    args.list[QKVI_LINEAR_NUM_ARGS] = QKVI_ARG(rows_per_group);
    const size_t global[3] = {d.chunks_per_band, r->weights->num_panels, d.bands};
    const size_t local[3] = {1, 1, 1};
    return qkvi_kernel_run(s->kernel, chain, args.list, QKVI_LINEAR_NUM_ARGS + 1, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct state *s = state;
    qkvi_text_add(text, "tile %ux%u, packed format panel%u", (unsigned)s->tile.rows, (unsigned)(panel(s)),
                  (unsigned)panel(s));
}

const struct qkvi_solver qkvi_linear_vector = {
    .name = "vector",
    .operation = QKVI_LINEAR,
    .applicable = applicable,
    .estimate = estimate,
    .create = create,
    .destroy = destroy,
    .panel = panel,
    .run = run,
    .describe = describe,
};
