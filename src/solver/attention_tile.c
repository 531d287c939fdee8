/* Work-groups with tiles of queries, keys and values in local memory: for GPUs. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/attention_args.h"

/* The macros of cl/attention_tile_block.clh, and the rows and keys of a block that follow from them. */
struct tile {
    unsigned dmax, tx, ty, tq, tk, chunk;
    unsigned rows, keys;
};

enum regime { GENERAL, FEW, NUM_REGIMES };

struct attention_tile {
    struct qkvi_attention_problem problem;
    struct tile tiles[NUM_REGIMES];
    struct qkvi_kernel *kernels[NUM_REGIMES], *merge; /* merge: NULL where no run can split the keys */
    size_t compute_units, merge_group;
};

/*
 * Work-items of a group and the query rows of each, best first. Blocks are as large as local memory of 32 KiB allows
 * with Q in it; the few queries of a decode step rather have many small groups, which read K and V faster.
 */
struct candidate {
    unsigned threads, tq;
};
static const struct candidate general[] = {{128, 4}, {64, 4}, {16, 4}, {16, 1}, {1, 1}};
static const struct candidate few[] = {{128, 1}, {64, 1}, {32, 1}, {16, 1}, {1, 1}};

enum { LEAST_DIM = 32, FEW_ROWS = 4, LARGEST_SPLIT = 64, SMALLEST_SPLIT = 64 };

/* Groups that keep one compute unit busy. */
static const size_t groups_per_unit[NUM_REGIMES] = {[GENERAL] = 2, [FEW] = 16};

static unsigned at_least(unsigned a, unsigned b) {
    return a > b ? a : b;
}

static unsigned at_most(unsigned a, unsigned b) {
    return a < b ? a : b;
}

static unsigned dim_bucket(const struct qkvi_attention_problem *problem) {
    return (unsigned)qkvi_doubled(LEAST_DIM, qkvi_larger_dim(problem));
}

/* Every work-item has 8 columns of the output, where there are enough work-items for that. */
static struct tile make_tile(unsigned dmax, const struct candidate *c, enum regime regime) {
    struct tile t = {.dmax = dmax, .tq = c->tq};
    t.tx = at_most(at_most(at_least(dmax / 8, 8), 64), c->threads);
    t.ty = c->threads / t.tx;
    t.tk = t.tx == 64 ? 2 : 4;
    if (regime == FEW) t.ty = at_most(t.ty, FEW_ROWS);
    t.chunk = at_least((regime == FEW ? 16 : 8) * t.tx * t.ty, dmax);
    t.rows = t.ty * t.tq;
    t.keys = t.tx * t.tk;
    return t;
}

/* As the head of cl/attention_tile.cl has it. */
static size_t local_bytes(const struct tile *t, bool terms) {
    const unsigned pad = t->tq == 4 ? 4 : 1;
    const unsigned slice = at_least(t->chunk / t->keys * (t->keys + 4), t->chunk);
    return sizeof(float) * (t->dmax * t->rows + t->keys * (t->rows + pad) + slice + t->tx * t->ty +
                            (terms ? 9 : 6) * t->rows + 1);
}

static bool fits(const struct tile *t, bool terms, const struct qkvi_limits *limits) {
    return t->tx * t->ty <= limits->max_work_group_size && local_bytes(t, terms) + 64 <= limits->local_memory;
}

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    /* Loops that are not unrolled make fewer than 8 * dmax iterations a key, in every tile and each pass. */
    const struct qkvi_attention_problem *p = &problem->u.attention;
    const size_t most = limits->max_iterations / ((size_t)(p->weights ? 16 : 8) * dim_bucket(p));
    if (p->max_seq_kv > most) {
        qkvi_text_add(why, "max_seq_kv is %zu; the device's loops are cut short beyond %zu keys", p->max_seq_kv, most);
        return false;
    }
    const struct candidate smallest = {1, 1};
    const struct tile t = make_tile(dim_bucket(p), &smallest, GENERAL);
    if (fits(&t, p->terms, limits)) return true;
    qkvi_text_add(why, "the smallest tile needs %zu bytes of local memory, the device has %zu",
                  local_bytes(&t, p->terms), limits->local_memory);
    return false;
}

static void destroy(void *state) {
    struct attention_tile *s = state;
    if (!s) return;
    for (size_t i = 0; i < NUM_REGIMES; i++)
        qkvi_kernel_destroy(s->kernels[i]);
    qkvi_kernel_destroy(s->merge);
    free(s);
}

static qkv_status build(struct attention_tile *s, struct qkvi_programs *programs, enum regime regime,
                        const struct tile *t) {
    char shared[QKVI_ATTENTION_OPTIONS], options[QKVI_ATTENTION_OPTIONS + 128];
    qkvi_attention_options(shared, &s->problem);
    snprintf(options, sizeof options, "-DDMAX=%u -DTX=%u -DTY=%u -DTQ=%u -DTK=%u -DCHUNK=%u -DUNROLL=%d %s", t->dmax,
             t->tx, t->ty, t->tq, t->tk, t->chunk, programs->rt->limits.gpu, shared);
    struct qkvi_kernel *kernel;
    qkv_status status = qkvi_kernel_create(&kernel, programs, "attention_tile", options, "attention_tile");
    if (status) return status;
    if (kernel->group_limit < t->tx * t->ty)
        status = qkvi_fail(QKV_UNSUPPORTED, "the kernel runs %zu work-items a group at most, its tile needs %u",
                           kernel->group_limit, t->tx * t->ty);
    else if (kernel->local_bytes > programs->rt->limits.local_memory)
        status = qkvi_fail(QKV_UNSUPPORTED, "the kernel uses %zu bytes of local memory, the device has %zu",
                           kernel->local_bytes, programs->rt->limits.local_memory);
    if (status) {
        qkvi_kernel_destroy(kernel);
        return status;
    }
    s->tiles[regime] = *t;
    s->kernels[regime] = kernel;
    return QKV_OK;
}

/* A kernel may turn out to allow smaller groups than the device does, or not to build in that size. */
static qkv_status build_regime(struct attention_tile *s, struct qkvi_programs *programs, enum regime regime,
                               const struct candidate *candidates, size_t count) {
    qkv_status status = qkvi_fail(QKV_UNSUPPORTED, "no tile fits the device");
    for (size_t i = 0; i < count && (status == QKV_UNSUPPORTED || status == QKV_BUILD_FAILED); i++) {
        const struct tile t = make_tile(dim_bucket(&s->problem), &candidates[i], regime);
        if (t.tx % t.tq == 0 && fits(&t, s->problem.terms, &programs->rt->limits))
            status = build(s, programs, regime, &t);
    }
    return status;
}

static qkv_status build_merge(struct attention_tile *s, struct qkvi_programs *programs) {
    char options[64];
    snprintf(options, sizeof options, "-DTERMS=%d -DOUT_DTYPE=%d", s->problem.terms, (int)s->problem.out_dtype);
    const qkv_status status =
        qkvi_kernel_create(&s->merge, programs, "attention_tile_merge", options, "attention_tile_merge");
    if (status) return status;
    s->merge->any_group = true;
    s->merge_group = qkvi_kernel_group(s->merge, 64);
    return QKV_OK;
}

/* Splits of the keys that a number of groups leaves room for. */
static size_t count_splits(const struct attention_tile *s, enum regime regime, size_t groups, size_t num_keys) {
    const size_t room = s->compute_units * groups_per_unit[regime] / groups;
    const size_t most = qkvi_div_up(num_keys, qkvi_round_up(SMALLEST_SPLIT, s->tiles[regime].keys));
    size_t splits = room < most ? room : most;
    if (splits > LARGEST_SPLIT) splits = LARGEST_SPLIT;
    return splits ? splits : 1;
}

/* Can any run split the keys? */
static bool splits_keys(const struct attention_tile *s) {
    bool splits = false;
    for (size_t i = 0; i < NUM_REGIMES; i++)
        splits = splits || count_splits(s, (enum regime)i, 1, s->problem.max_seq_kv) > 1;
    return splits;
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct attention_tile *s = calloc(1, sizeof *s);
    if (!s) return qkvi_fail_memory("an attention plan");
    s->problem = problem->u.attention;
    s->compute_units = programs->rt->limits.compute_units ? programs->rt->limits.compute_units : 1;
    qkv_status status = build_regime(s, programs, GENERAL, general, QKVI_COUNT(general));
    if (!status) status = build_regime(s, programs, FEW, few, QKVI_COUNT(few));
    if (!status && splits_keys(s)) status = build_merge(s, programs);
    if (status) {
        destroy(s);
        return status;
    }
    *state = s;
    return QKV_OK;
}

/* How one run is divided. */
struct division {
    enum regime regime;
    bool packed;
    size_t row_blocks, heads, splits, keys_per_split;
};

/* The most keys that the rows of a block look at, whatever the device's lengths and offsets are. */
static size_t count_keys(const struct attention_tile *s, const struct qkvi_attention_run *run, size_t rows) {
    if (!s->problem.terms) return run->seq_kv;
    const uint64_t window = (uint64_t)run->terms.left + (uint64_t)run->terms.right;
    const size_t queries = rows < run->seq_q ? rows : run->seq_q;
    return window < run->seq_kv && window + queries < run->seq_kv ? (size_t)window + queries : run->seq_kv;
}

/* Every head's queries by themselves, or those of a key head's whole group numbered through where that takes fewer
 * blocks: K and V are then read once a group. */
static struct division divide(const struct attention_tile *s, const struct qkvi_attention_run *run) {
    const struct qkvi_attention_problem *p = &s->problem;
    const size_t group = p->num_heads / p->num_kv_heads;
    const enum regime best = run->seq_q <= 2 * s->tiles[FEW].rows / group ? FEW : GENERAL;
    struct division d = {.regime = run->regime ? (enum regime)(run->regime - 1) : best, .splits = 1};
    const size_t rows = s->tiles[d.regime].rows, num_keys = count_keys(s, run, rows);
    d.packed = run->seq_q < rows && qkvi_div_up(run->seq_q * group, rows) < group;
    d.heads = d.packed ? p->num_kv_heads : p->num_heads;
    d.row_blocks = qkvi_div_up(run->seq_q * (d.packed ? group : 1), rows);
    /* Weights need the final sums in the kernel that computes the scores. */
    if (!run->weights.buffer && !run->scores.buffer && run->workspace)
        d.splits = count_splits(s, d.regime, d.row_blocks * d.heads * run->batch, num_keys);
    d.keys_per_split = qkvi_round_up(qkvi_div_up(num_keys, d.splits), s->tiles[d.regime].keys);
    if (d.keys_per_split) d.splits = qkvi_div_up(num_keys, d.keys_per_split);
    return d;
}

/* Only runs with more than one split need any: these have groups_per_unit groups a unit at most. */
static bool workspace(size_t *out_bytes, const void *state, const struct qkvi_problem *problem) {
    const struct attention_tile *s = state;
    const struct qkvi_attention_problem *p = &problem->u.attention;
    size_t most_rows, bytes = 0;
    if (!qkvi_product(&most_rows, (const size_t[]){p->max_batch, p->num_heads, p->max_seq_q}, 3)) return false;
    for (size_t i = 0; i < NUM_REGIMES; i++) {
        const size_t splits = count_splits(s, (enum regime)i, 1, p->max_seq_kv);
        size_t rows = s->compute_units * groups_per_unit[i] * s->tiles[i].rows, needed;
        if (most_rows < rows / splits) rows = most_rows * splits;
        if (!qkvi_product(&needed, (const size_t[]){rows, p->value_dim + 2, sizeof(float)}, 3)) return false;
        if (splits > 1 && needed > bytes) bytes = needed;
    }
    *out_bytes = bytes;
    return true;
}

static qkv_status run_merge(const struct attention_tile *s, struct qkvi_chain *chain,
                            const struct qkvi_attention_run *run, struct qkvi_attention_args *args,
                            const struct division *d) {
    const cl_long offset = (cl_long)(run->workspace_offset / sizeof(float)), splits = (cl_long)d->splits;
    /* The last three, where sinks are, only with terms. */
    const struct qkvi_arg list[] = {
        QKVI_ARG(run->workspace),
        QKVI_ARG(offset),
        QKVI_ARG(splits),
        QKVI_ARG(args->buffer[QKVI_VIEW_OUT]),
        QKVI_ARG(args->view[QKVI_VIEW_OUT]),
        QKVI_ARG(args->buffer[QKVI_VIEW_LSE]),
        QKVI_ARG(args->view[QKVI_VIEW_LSE]),
        QKVI_ARG(args->shape),
        QKVI_ARG(args->term_buffer[QKVI_ATTENTION_TERMS - 1]),
        QKVI_ARG(args->term_views),
        QKVI_ARG(args->reach),
    };
    const cl_uint count = QKVI_COUNT(list) - (s->problem.terms ? 0 : 3);
    const size_t local[2] = {s->merge_group, 1};
    const size_t global[2] = {qkvi_round_up(s->problem.value_dim, local[0]),
                              run->batch * s->problem.num_heads * run->seq_q};
    return qkvi_kernel_run(s->merge, chain, list, count, 2, global, local);
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct attention_tile *s = state;
    const struct qkvi_attention_run *r = opaque;
    const struct division d = divide(s, r);
    const struct tile *t = &s->tiles[d.regime];
    const cl_mem partial = d.splits > 1 ? r->workspace : r->out.buffer;
    const cl_long offset = (cl_long)(r->workspace_offset / sizeof(float));
    const cl_long keys = (cl_long)d.keys_per_split, splits = (cl_long)d.splits;
    struct qkvi_attention_args args;
    qkvi_attention_args_set(&args, &s->problem, r,
                            (d.packed ? QKVI_FLAG_PACKED : 0) | (qkvi_attention_is_causal(r) ? QKVI_FLAG_PAIRED : 0));
    QKVI_ATTENTION_ADD(&args, partial);
    QKVI_ATTENTION_ADD(&args, offset);
    QKVI_ATTENTION_ADD(&args, keys);
    QKVI_ATTENTION_ADD(&args, splits);
    const size_t local[3] = {t->tx * t->ty, 1, 1};
    const size_t global[3] = {d.row_blocks * local[0], d.heads, r->batch * d.splits};
    qkv_status status =
        qkvi_kernel_run(s->kernels[d.regime], chain, args.list, args.count, 3, global, local);
    if (!status && d.splits > 1) status = run_merge(s, chain, r, &args, &d);
    return status;
}

static size_t regimes(const void *state) {
    (void)state;
    return NUM_REGIMES;
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct attention_tile *s = state;
    qkvi_text_add(text,
                  "blocks of %u queries x %u keys, groups of %u, few queries %u x %u, groups of %u, dims to %u%s%s",
                  s->tiles[GENERAL].rows, s->tiles[GENERAL].keys, s->tiles[GENERAL].tx * s->tiles[GENERAL].ty,
                  s->tiles[FEW].rows, s->tiles[FEW].keys, s->tiles[FEW].tx * s->tiles[FEW].ty, s->tiles[GENERAL].dmax,
                  s->problem.mask ? ", masks" : "", s->problem.weights ? ", weights" : "");
}

const struct qkvi_solver qkvi_attention_tile = {
    .name = "tile",
    .operation = QKVI_ATTENTION,
    .applicable = applicable,
    .estimate = qkvi_estimate_tile,
    .create = create,
    .destroy = destroy,
    .panel = NULL,
    .workspace = workspace,
    .run = run,
    .regimes = regimes,
    .describe = describe,
};
