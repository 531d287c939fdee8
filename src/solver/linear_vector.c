/* Explicit vectors and register tiles, one work-item per work-group: for devices that are CPUs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "solver/linear_vector.h"

/* Register tiles: rows of x by vectors of W, so that rows * vectors sums, the vectors and one broadcast value of x fit
 * the registers. The low one is for few rows, where reading W is what costs, and for what the main one leaves over: it
 * has at least as many vectors. */
struct tile {
    uint32_t rows, vectors;
};
struct tiles {
    uint32_t width;
    struct tile main, low;
};
static const struct tiles known_tiles[] = {
    {16, {8, 3}, {4, 4}}, /* 32 registers of 512 bits */
    {8, {4, 3}, {2, 4}},  /* 16 registers of 256 bits */
    {4, {8, 3}, {4, 4}},  /* 32 registers of 128 bits */
};
/* A graphics driver that draws on the CPU makes lanes of work-items and takes vectors apart, so a tile gains nothing
 * there, and compiling a large one takes its compiler half a minute. */
static const struct tiles software_gpu_tiles = {4, {4, 1}, {1, 1}};

/* What cl/linear_vector.cl knows. */
#define MAX_ROWS 16
#define MAX_VECTORS 4

/* Tiles one work-group runs down: enough to read its panels of W from memory once for many of them, fewer where cores
 * would be left without a share of GROUPS_PER_UNIT work-groups. */
#define TILES_PER_GROUP 16
#define GROUPS_PER_UNIT 16
/* Bytes of x that pass by one panel after the other; to fit the cache that the cores share. */
#define BAND_BYTES ((size_t)4 << 20)

struct state {
    struct qkvi_kernel *kernel;
    struct tiles tiles;
    size_t most_tiles; /* of a work-group */
    size_t enough_groups;
};

/* Of one tile's loops a work-item runs, besides those over k, at worst one over every element it writes. */
#define WRITES (MAX_ROWS * (MAX_VECTORS * 16 + 2))

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    const size_t most = limits->max_iterations > WRITES ? limits->max_iterations - WRITES : 0;
    if (problem->u.linear.in_features <= most) return true;
    qkvi_text_add(why, "in_features is %zu; the device's loops are cut short beyond %zu", problem->u.linear.in_features,
                  most);
    return false;
}

static bool good_tile(struct tile tile) {
    return tile.rows >= 1 && tile.rows <= MAX_ROWS && tile.vectors >= 1 && tile.vectors <= MAX_VECTORS;
}

/* QKV_LINEAR_TILE="ROWSxVECTORS" or "ROWSxVECTORS,ROWSxVECTORS" overrides the table: the main tile, and the low one. */
static qkv_status override_tiles(struct tiles *tiles) {
    const char *text = getenv("QKV_LINEAR_TILE");
    if (!text || !*text) return QKV_OK;
    struct tile main, low;
    char comma, rest;
    int got = sscanf(text, "%" SCNu32 "x%" SCNu32 "%c%" SCNu32 "x%" SCNu32 "%c", &main.rows, &main.vectors, &comma,
                     &low.rows, &low.vectors, &rest);
    if (got == 2)
        low = (struct tile){tiles->low.rows, main.vectors > tiles->low.vectors ? main.vectors : tiles->low.vectors};
    if ((got == 2 || (got == 5 && comma == ',')) && good_tile(main) && good_tile(low) && low.vectors >= main.vectors) {
        tiles->main = main;
        tiles->low = low;
        return QKV_OK;
    }
    return qkvi_fail(
        QKV_INVALID_ARGUMENT,
        "QKV_LINEAR_TILE is \"%s\", not ROWSxVECTORS or ROWSxVECTORS,ROWSxVECTORS with 1 to %d rows and 1 to "
        "%d vectors, no fewer in the second",
        text, MAX_ROWS, MAX_VECTORS);
}

static qkv_status choose_tiles(struct tiles *out, const struct qkvi_runtime *rt) {
    if (rt->info.kind == QKV_DEVICE_SOFTWARE_GPU) {
        *out = software_gpu_tiles;
        return override_tiles(out);
    }
    for (size_t i = 0; i < QKVI_COUNT(known_tiles); i++)
        if (known_tiles[i].width == rt->limits.vector_width) *out = known_tiles[i];
    return override_tiles(out);
}

void qkvi_linear_vector_options(char *out, size_t size, const void *state) {
    const struct tiles *tiles = &((const struct state *)state)->tiles;
    snprintf(out, size, "-DVW=%u -DROWS=%u -DNV=%u -DLOW_ROWS=%u -DLOW_NV=%u", (unsigned)tiles->width,
             (unsigned)tiles->main.rows, (unsigned)tiles->main.vectors, (unsigned)tiles->low.rows,
             (unsigned)tiles->low.vectors);
}

static qkv_status create_kernel(struct state *s, struct qkvi_programs *programs) {
    char options[QKVI_LINEAR_VECTOR_OPTIONS];
    qkvi_linear_vector_options(options, sizeof options, s);
    return qkvi_kernel_create(&s->kernel, programs, "linear_vector", options, "linear_vector");
}

static void destroy(void *state) {
    struct state *s = state;
    qkvi_kernel_destroy(s->kernel);
    free(s);
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct tiles tiles = known_tiles[0];
    qkv_status status = choose_tiles(&tiles, programs->rt);
    if (status) return status;
    struct state *s = calloc(1, sizeof *s);
    if (!s) return qkvi_fail_memory("a linear solver");
    s->tiles = tiles;
    s->enough_groups = (size_t)GROUPS_PER_UNIT * programs->rt->limits.compute_units;
    s->most_tiles = programs->limits.max_iterations / (problem->u.linear.in_features + WRITES);
    if (s->most_tiles > TILES_PER_GROUP) s->most_tiles = TILES_PER_GROUP;
    status = create_kernel(s, programs);
    if (status)
        free(s);
    else
        *state = s;
    return status;
}

static size_t panel(const void *state) {
    const struct state *s = state;
    return s->tiles.width;
}

/* Wide groups have the main tile's panels each, narrow ones the low tile's, with as few as can be past the last. */
struct columns {
    size_t wide, narrow;
};

static struct columns divide_columns(const struct state *s, const struct qkvi_linear_run *r) {
    const size_t panels = r->weights->num_panels, main = s->tiles.main.vectors, low = s->tiles.low.vectors;
    if (r->rows <= s->tiles.low.rows) return (struct columns){0, qkvi_div_up(panels, low)};
    struct columns best = {qkvi_div_up(panels, main), 0};
    for (size_t narrow = 1; narrow < main && narrow * low <= panels; narrow++) {
        const struct columns c = {qkvi_div_up(panels - narrow * low, main), narrow};
        if (c.wide * main + c.narrow * low < best.wide * main + best.narrow * low) best = c;
    }
    return best;
}

/* How `rows` rows are divided: bands of chunks of rows_per_group rows, even but for the last. */
struct division {
    size_t rows_per_group, chunks_per_band, bands;
};

static struct division divide_rows(const struct state *s, const struct qkvi_linear_run *r, size_t column_groups) {
    const size_t tiles_of_rows = qkvi_div_up(r->rows, s->tiles.main.rows);
    size_t chunks = qkvi_div_up(tiles_of_rows, s->most_tiles);
    const size_t enough = qkvi_div_up(s->enough_groups, column_groups);
    if (chunks < enough) chunks = enough < tiles_of_rows ? enough : tiles_of_rows;

    struct division d = {.rows_per_group = qkvi_div_up(tiles_of_rows, chunks) * s->tiles.main.rows};
    chunks = qkvi_div_up(r->rows, d.rows_per_group);
    const size_t most = BAND_BYTES / sizeof(float) / r->weights->in_features / d.rows_per_group;
    d.bands = qkvi_div_up(chunks, most ? most : 1);
    d.chunks_per_band = qkvi_div_up(chunks, d.bands);
    return d;
}

void qkvi_linear_vector_arrange(struct qkvi_linear_args *args, size_t grid[3], const void *state,
                                const struct qkvi_linear_run *run) {
    const struct state *s = state;
    const struct columns columns = divide_columns(s, run);
    const struct division d = divide_rows(s, run, columns.wide + columns.narrow);
    qkvi_linear_args_fill(args, run);
    args->sizes.s[QKVI_LINEAR_OWN_SIZES] = (cl_long)d.rows_per_group;
    args->sizes.s[QKVI_LINEAR_OWN_SIZES + 1] = (cl_long)columns.wide;
    grid[0] = d.chunks_per_band;
    grid[1] = columns.wide + columns.narrow;
    grid[2] = d.bands;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *run) {
    const struct state *s = state;
    struct qkvi_linear_args args;
    size_t global[3];
    const size_t local[3] = {1, 1, 1};
    qkvi_linear_vector_arrange(&args, global, state, run);
    return qkvi_kernel_run(s->kernel, chain, args.list, QKVI_LINEAR_NUM_ARGS, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct state *s = state;
    qkvi_text_add(text, "tile %ux%u and %ux%u, packed format panel%u", (unsigned)s->tiles.main.rows,
                  (unsigned)(s->tiles.main.vectors * s->tiles.width), (unsigned)s->tiles.low.rows,
                  (unsigned)(s->tiles.low.vectors * s->tiles.width), (unsigned)panel(s));
}

const struct qkvi_solver qkvi_linear_vector = {
    .name = "vector",
    .operation = QKVI_LINEAR,
    .applicable = applicable,
    .estimate = qkvi_estimate_vector,
    .create = create,
    .destroy = destroy,
    .panel = panel,
    .run = run,
    .describe = describe,
};
