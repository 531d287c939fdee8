/* CPU devices: one work-item a work-group. Keys lie along the vector lanes where they are summed over queries, queries
 * where the best keys of each are sought. */
#include <stdio.h>
#include <stdlib.h>

#include "solver/report_args.h"

struct report_vector {
    struct qkvi_attention_problem problem;
    struct qkvi_kernel *keys, *queries;
    unsigned width, rows, vectors, unroll;
    size_t max_dim;
};

static size_t lanes(const struct report_vector *vector) {
    return (size_t)vector->width * vector->vectors;
}

/* Of the larger kernel: x, best and best_keys, products; lse_lanes, add, lane and one more for what is left. */
static size_t private_bytes(const struct report_vector *vector) {
    const size_t vectors = vector->max_dim + 2 * QKVI_MOST_TOP + vector->rows + 4;
    return lanes(vector) * vectors * sizeof(float);
}

/* Rasterisers spread every vector over their own lanes: a large tile takes them a minute to compile. */
static void choose_tile(struct report_vector *vector, const struct qkvi_runtime *rt) {
    const bool rasteriser = rt->info.kind == QKV_DEVICE_SOFTWARE_GPU;
    vector->width = rasteriser ? 4 : rt->limits.vector_width;
    vector->rows = rasteriser ? 2 : 4;
    vector->vectors = rasteriser ? 1 : vector->width == 16 ? 4 : 2;
    vector->unroll = rasteriser ? 1 : 4;
    while (vector->vectors > 1 && private_bytes(vector) > rt->limits.private_bytes)
        vector->vectors--;
}

static bool applicable(const struct qkvi_problem *problem, const struct qkvi_limits *limits, struct qkvi_text *why) {
    (void)problem;
    if (limits->vector_width == 4 || limits->vector_width == 8 || limits->vector_width == 16) return true;
    qkvi_text_add(why, "no kernel for vectors of %u floats", (unsigned)limits->vector_width);
    return false;
}

/* The formula in the head of cl/report_vector.cl. */
static qkv_status check_iterations(const struct report_vector *vector, size_t limit) {
    const struct qkvi_attention_problem *p = &vector->problem;
    const size_t longest = p->max_seq_q > p->max_seq_kv ? p->max_seq_q : p->max_seq_kv;
    const size_t fixed = lanes(vector) * (p->head_dim + 2 * QKVI_MOST_TOP);
    const size_t each = p->head_dim + 12 * lanes(vector) + QKVI_MOST_TOP * vector->vectors;
    const size_t most = limit > fixed ? (limit - fixed) / each : 0;
    if (longest <= most) return QKV_OK;
    return qkvi_fail(QKV_UNSUPPORTED,
                     "max_seq_q is %zu and max_seq_kv %zu; the device's loops are cut short beyond %zu", p->max_seq_q,
                     p->max_seq_kv, most);
}

static void destroy(void *state) {
    struct report_vector *vector = state;
    qkvi_kernel_destroy(vector->keys);
    qkvi_kernel_destroy(vector->queries);
    free(vector);
}

static qkv_status create_kernels(struct report_vector *vector, struct qkvi_programs *programs) {
    char options[QKVI_ATTENTION_OPTIONS + 80], common[QKVI_ATTENTION_OPTIONS];
    qkvi_attention_options(common, &vector->problem);
    snprintf(options, sizeof options, "%s -DVW=%u -DTK=%u -DTQ=%u -DUNROLL=%u -DMAX_DIM=%zu", common, vector->width,
             vector->rows, vector->vectors, vector->unroll, vector->max_dim);
    const qkv_status status = qkvi_kernel_create(&vector->keys, programs, "report_vector", options, "report_keys");
    if (status) return status;
    return qkvi_kernel_create(&vector->queries, programs, "report_vector", options, "report_queries");
}

static qkv_status create(void **state, struct qkvi_programs *programs, const struct qkvi_problem *problem) {
    struct report_vector *vector = calloc(1, sizeof *vector);
    if (!vector) return qkvi_fail_memory("a plan for reports");
    vector->problem = problem->u.attention;
    vector->max_dim = qkvi_doubled(64, vector->problem.head_dim);
    choose_tile(vector, programs->rt);
    qkv_status status = check_iterations(vector, programs->limits.max_iterations);
    if (!status) status = create_kernels(vector, programs);
    if (status)
        destroy(vector);
    else
        *state = vector;
    return status;
}

static qkv_status launch(const struct report_vector *vector, struct qkvi_kernel *kernel, struct qkvi_chain *chain,
                         struct qkvi_report_args *args, size_t items, size_t batch) {
    const size_t global[3] = {qkvi_div_up(items, lanes(vector)), vector->problem.num_heads, batch};
    const size_t local[3] = {1, 1, 1};
    return qkvi_kernel_run(kernel, chain, args->args.list, args->args.count, 3, global, local);
}

static qkv_status run(const void *state, struct qkvi_chain *chain, const void *opaque) {
    const struct report_vector *vector = state;
    const struct qkvi_attention_run *run = opaque;
    const struct qkvi_attention_reports *reports = &run->reports;
    struct qkvi_report_args args;
    qkv_status status = QKV_OK;
    if (reports->scores.buffer || reports->weights.buffer || reports->received.buffer) {
        qkvi_report_set_keys(&args, &vector->problem, run);
        status = launch(vector, vector->keys, chain, &args, run->seq_kv, run->batch);
    }
    if (!status && reports->top) {
        qkvi_report_set_top(&args, &vector->problem, run);
        status = launch(vector, vector->queries, chain, &args, run->seq_q, run->batch);
    }
    return status;
}

static void describe(const void *state, struct qkvi_text *text) {
    const struct report_vector *vector = state;
    qkvi_text_add(text, "tile %u x %zu", vector->rows, lanes(vector));
}

const struct qkvi_solver qkvi_report_vector = {
    .name = "vector",
    .operation = QKVI_REPORT,
    .applicable = applicable,
    .estimate = qkvi_estimate_vector,
    .create = create,
    .destroy = destroy,
    .run = run,
    .describe = describe,
};
