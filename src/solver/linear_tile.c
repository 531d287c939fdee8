/* Work-groups with tiles in local memory and registers: for GPUs. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/linear_pack.h"

/* As cl/linear_tile.cl knows it. */
#define PAD 4

/* A work-group's block of rows x columns, the steps of a slice, a work-item's tile, buffers of local memory. */
struct tile {
    unsigned rows, columns, steps, tile_rows, tile_columns, threads, buffers;
    /* Multiply-adds per time as a part of what the largest tile does: what local memory leaves of it. */
    double speed;
};

/*
 * Regimes that share packed weights, chosen among at each run. The first does few rows: its time is that of reading W,
 * which every work-item helps to bring. Of the others the one is taken that is done first: large blocks read little,
 * small ones leave no compute unit idle. The first set that fits the device is used, and the last one fits any.
 */
#define NUM_REGIMES 3
struct tile_set {
    unsigned panel;
    struct tile regimes[NUM_REGIMES]; /* threads 0: there are no more */
};
static const struct tile_set tile_sets[] = {
    {128, {{8, 16, 128, 4, 1, 256, 1, 0.1}, {32, 32, 32, 2, 4, 128, 2, 0.5}, {128, 128, 8, 8, 8, 256, 2, 1.0}}},
    {32, {{8, 16, 32, 4, 1, 64, 1, 0.1}, {32, 32, 16, 4, 4, 64, 2, 1.0}}},
    {16, {{16, 16, 8, 4, 4, 16, 2, 1.0}}},
    {4, {{4, 4, 4, 4, 4, 1, 1, 1.0}}},
};

/* Row blocks side by side before the next columns begin, so that what groups that run together read stays cached. */
#define BAND 16

struct state {
    const struct tile_set *set;
    struct qkvi_kernel *kernels[NUM_REGIMES];
    uint32_t compute_units;
};

static size_t local_bytes(const struct tile *t) {
    return sizeof(float) * t->buffers * t->steps * (t->rows + PAD + t->columns);
}

static bool fits(const struct tile_set *set, const struct qkvi_limits *limits) {
    for (size_t i = 0; i < NUM_REGIMES; i++)
        if (set->regimes[i].threads > limits->max_work_group_size ||
            local_bytes(&set->regimes[i]) > limits->local_memory)
            return false;
    return true;
}

/* Loops that are not unrolled make fewer than this many iterations a step of k, in every tile; so do they, once, to
 * write. */
#define ITERATIONS_PER_STEP 128

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    const size_t most = limits->max_iterations / (2 * ITERATIONS_PER_STEP);
    if (problem->u.linear.in_features > most) {
        qkvi_text_add(why, "in_features is %zu; the device's loops are cut short beyond %zu",
                      problem->u.linear.in_features, most);
        return false;
    }
    const struct tile_set *smallest = &tile_sets[QKVI_COUNT(tile_sets) - 1];
    if (fits(smallest, limits)) return true;
    qkvi_text_add(why, "the smallest tile needs %zu bytes of local memory, the device has %zu",
                  local_bytes(&smallest->regimes[0]), limits->local_memory);
    return false;
}

static void destroy(void *state) {
    struct state *s = state;
    if (!s) return;
    for (size_t i = 0; i < NUM_REGIMES; i++)
        qkvi_kernel_destroy(s->kernels[i]);
    free(s);
}

static qkv_status build(struct qkvi_kernel **out, struct qkvi_programs *programs, const struct tile_set *set,
                        const struct tile *t) {
    char options[160];
    snprintf(options, sizeof options,
             "-DBM=%u -DBN=%u -DBK=%u -DTM=%u -DTN=%u -DTHREADS=%u -DBUFFERS=%u -DPANEL=%u -DUNROLL=%d", t->rows,
             t->columns, t->steps, t->tile_rows, t->tile_columns, t->threads, t->buffers, set->panel,
             programs->rt->limits.gpu);
    struct qkvi_kernel *kernel;
    qkv_status status = qkvi_kernel_create(&kernel, programs, "linear_tile", options, "linear_tile");
    if (status) return status;
    if (kernel->group_limit < t->threads)
        status = qkvi_fail(QKV_UNSUPPORTED, "the kernel runs %zu work-items a group at most, its tile needs %u",
                           kernel->group_limit, t->threads);
    else if (kernel->local_bytes > programs->rt->limits.local_memory)
        status = qkvi_fail(QKV_UNSUPPORTED, "the kernel uses %zu bytes of local memory, the device has %zu",
                           kernel->local_bytes, programs->rt->limits.local_memory);
    if (status)
        qkvi_kernel_destroy(kernel);
    else
        *out = kernel;
    return status;
}

static qkv_status build_set(struct state *s, struct qkvi_programs *programs, const struct tile_set *set) {
    qkv_status status = QKV_OK;
    for (size_t i = 0; !status && i < NUM_REGIMES && set->regimes[i].threads; i++)
        status = build(&s->kernels[i], programs, set, &set->regimes[i]);
    for (size_t i = 0; status && i < NUM_REGIMES; i++) {
        qkvi_kernel_destroy(s->kernels[i]);
        s->kernels[i] = NULL;
    }
    s->set = set;
    return status;
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    (void)problem;
    const struct qkvi_limits *limits = &programs->rt->limits;
    struct state *s = calloc(1, sizeof *s);
    if (!s) return qkvi_fail_memory("a linear solver");
    s->compute_units = limits->compute_units ? limits->compute_units : 1;
    qkv_status status = qkvi_fail(QKV_UNSUPPORTED, "no tile fits the device");
    /* A kernel may turn out to allow smaller groups than the device does, or not to build in that size. */
    for (size_t i = 0; i < QKVI_COUNT(tile_sets) && (status == QKV_UNSUPPORTED || status == QKV_BUILD_FAILED); i++)
        if (fits(&tile_sets[i], limits)) status = build_set(s, programs, &tile_sets[i]);
    if (status)
        destroy(s);
    else
        *state = s;
    return status;
}

static size_t panel(const void *state) {
    const struct state *s = state;
    return s->set->panel;
}

/* In units of one multiply-add on one compute unit: rounds of groups times the time of one. */
static double time_of(const struct tile *t, const struct state *s, size_t rows, size_t columns) {
    const double groups = (double)qkvi_div_up(rows, t->rows) * (double)qkvi_div_up(columns, t->columns);
    const double rounds = groups < s->compute_units ? 1 : groups / s->compute_units;
    return rounds * t->rows * t->columns / t->speed;
}

static size_t choose_regime(const struct state *s, size_t rows, size_t columns) {
    const struct tile *regimes = s->set->regimes;
    if (rows <= regimes[0].rows || regimes[1].threads == 0) return 0;
    size_t best = 1;
    for (size_t i = 2; i < NUM_REGIMES && regimes[i].threads; i++)
        if (time_of(&regimes[i], s, rows, columns) < time_of(&regimes[best], s, rows, columns)) best = i;
    return best;
}

static size_t regimes(const void *state) {
    const struct state *s = state;
    size_t count = 0;
    while (count < NUM_REGIMES && s->set->regimes[count].threads)
        count++;
    return count;
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *run) {
    const struct state *s = state;
    const struct qkvi_linear_run *r = run;
    const size_t columns = r->weights->num_panels * s->set->panel;
    const size_t regime = r->regime ? r->regime - 1 : choose_regime(s, r->rows, columns);
    const struct tile *t = &s->set->regimes[regime];
    const size_t blocks = qkvi_div_up(r->rows, t->rows), bands = qkvi_div_up(blocks, BAND);
    const size_t global[3] = {qkvi_div_up(blocks, bands) * t->threads, columns / t->columns, bands};
    const size_t local[3] = {t->threads, 1, 1};
    struct qkvi_linear_args args;
    qkvi_linear_args_fill(&args, r);
    return qkvi_kernel_run(s->kernels[regime], chain, args.list, QKVI_LINEAR_NUM_ARGS, 3, global, local);
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct state *s = state;
    qkvi_text_add(text, "blocks");
    for (size_t i = 0; i < NUM_REGIMES && s->set->regimes[i].threads; i++)
        qkvi_text_add(text, "%s %ux%u", i ? "," : "", s->set->regimes[i].rows, s->set->regimes[i].columns);
    qkvi_text_add(text, ", groups of %u at most, packed format panel%u",
                  s->set->regimes[0].threads > s->set->regimes[1].threads ? s->set->regimes[0].threads
                                                                          : s->set->regimes[1].threads,
                  s->set->panel);
}

const struct qkvi_solver qkvi_linear_tile = {
    .name = "tile",
    .operation = QKVI_LINEAR,
    .applicable = applicable,
    .estimate = qkvi_estimate_tile,
    .create = create,
    .destroy = destroy,
    .panel = panel,
    .run = run,
    .regimes = regimes,
    .describe = describe,
};
