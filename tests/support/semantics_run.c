#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/semantics_case.h"
#include "support/storage.h"

/* One tensor of a run: rank 0 is not given. */
struct slot {
    struct test_array array;
    size_t rank, shape[4];
    qkv_dtype dtype;
};

enum which { Q, K, V, MASK, LENGTHS, OFFSETS, SLOPES, SINKS, OUT, WEIGHTS, SCORES, LSE, NUM_SLOTS };

static struct test_layout layout_of(const struct semantics_case *c, enum which which, size_t rank,
                                    struct test_random *random) {
    struct test_layout layout = {.step = 1};
    if (c->layout == SEMANTICS_STRIDED) return test_layout_random(random, rank);
    if (c->layout == SEMANTICS_BHSD || rank != 4 || which == MASK || which == WEIGHTS || which == SCORES) return layout;
    static const size_t tokens_first[4] = {0, 2, 1, 3};
    memcpy(layout.order, tokens_first, sizeof tokens_first);
    layout.permuted = true;
    if (c->layout == SEMANTICS_PACKED) {
        layout.gap[1] = test_random_between(random, 1, 4) * c->head_dim;
        layout.front = test_random_below(random, 3) * c->head_dim;
    }
    return layout;
}

static void *stored_from(const double *values, size_t n, qkv_dtype dtype) {
    if (dtype == QKV_F32 || dtype == QKV_F16 || dtype == QKV_BF16) return storage_from(values, n, dtype);
    const size_t size = qkv_dtype_size(dtype);
    unsigned char *stored = test_alloc(n, size);
    for (size_t i = 0; i < n; i++) {
        const int64_t wide = (int64_t)values[i];
        const int32_t narrow = (int32_t)wide;
        const unsigned char byte = (unsigned char)wide;
        memcpy(stored + i * size,
               dtype == QKV_I64   ? (const void *)&wide
               : dtype == QKV_I32 ? (void *)&narrow
                                  : &byte,
               size);
    }
    return stored;
}

static void give(struct slot *slot, const struct test_layout *layout, const double *values) {
    size_t n = 1;
    for (size_t axis = 0; axis < slot->rank; axis++)
        n *= slot->shape[axis];
    void *stored = stored_from(values, n, slot->dtype);
    test_array_input(&slot->array, slot->dtype, slot->rank, slot->shape, layout, stored);
    free(stored);
}

static void slots_list(struct slot *slots, const struct semantics_case *c, const struct semantics_data *data) {
    const size_t b = c->batch, h = c->num_heads, g = c->num_kv_heads, q = c->seq_q, k = c->seq_kv;
    const struct slot all[NUM_SLOTS] = {
        [Q] = {.rank = 4, .shape = {b, h, q, c->head_dim}, .dtype = c->q_dtype},
        [K] = {.rank = 4, .shape = {b, g, k, c->head_dim}, .dtype = c->k_dtype},
        [V] = {.rank = 4, .shape = {b, g, k, c->value_dim}, .dtype = c->v_dtype},
        [MASK] = {.rank = c->mask ? c->mask_rank : 0, .dtype = c->mask},
        [LENGTHS] = {.rank = c->lengths ? 1 : 0, .shape = {b}, .dtype = c->lengths},
        [OFFSETS] = {.rank = c->offsets ? 1 : 0, .shape = {b}, .dtype = c->offsets},
        [SLOPES] = {.rank = c->slopes ? 1 : 0, .shape = {h}, .dtype = QKV_F32},
        [SINKS] = {.rank = c->sinks ? 1 : 0, .shape = {h}, .dtype = QKV_F32},
        [OUT] = {.rank = 4, .shape = {b, h, q, c->value_dim}, .dtype = c->out_dtype},
        [WEIGHTS] = {.rank = c->weights ? 4 : 0, .shape = {b, h, q, k}, .dtype = c->weights_dtype},
        [SCORES] = {.rank = c->scores ? 4 : 0, .shape = {b, h, q, k}, .dtype = c->weights_dtype},
        [LSE] = {.rank = c->logsumexp ? 3 : 0, .shape = {b, h, q}, .dtype = QKV_F32},
    };
    memcpy(slots, all, sizeof all);
    for (size_t i = 0; i < slots[MASK].rank; i++)
        slots[MASK].shape[i] = data->mask_shape[4 - c->mask_rank + i];
}

static void slots_make(struct slot *slots, const struct semantics_case *c, const struct semantics_data *data) {
    const double *const inputs[OUT] = {data->q,       data->k,       data->v,      data->mask,
                                       data->lengths, data->offsets, data->slopes, data->sinks};
    struct test_random random = test_random_start(c->stream, 100);
    slots_list(slots, c, data);
    for (size_t i = 0; i < NUM_SLOTS; i++) {
        if (!slots[i].rank) continue;
        const struct test_layout layout = layout_of(c, (enum which)i, slots[i].rank, &random);
        if (i < OUT)
            give(&slots[i], &layout, inputs[i]);
        else
            test_array_output_of(&slots[i].array, slots[i].dtype, slots[i].rank, slots[i].shape, &layout);
    }
}

static qkv_status run(const qkv_attention *plan, const struct semantics_case *c, const struct slot *slots) {
#define VIEW(which) (slots[which].rank ? &slots[which].array.view : NULL)
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    args.q = VIEW(Q);
    args.k = VIEW(K);
    args.v = VIEW(V);
    args.out = VIEW(OUT);
    args.mask = VIEW(MASK);
    args.weights = VIEW(WEIGHTS);
    args.scores = VIEW(SCORES);
    args.logsumexp = VIEW(LSE);
    args.kv_lengths = VIEW(LENGTHS);
    args.query_offsets = VIEW(OFFSETS);
    args.alibi_slopes = VIEW(SLOPES);
    args.sinks = VIEW(SINKS);
#undef VIEW
    args.scale = c->scale;
    args.causal = c->causal;
    args.query_offset = c->query_offset;
    args.window = c->windowed ? &c->window : NULL;
    args.softcap = c->softcap;
    qkv_status status = qkv_workspace_create(&args.workspace, test_context(), qkv_attention_workspace_bytes(plan));
    if (!status) status = qkv_attention_run(plan, test_queue(), &args, 0, NULL, NULL);
    TEST_CL(clFinish(test_queue()));
    qkv_workspace_destroy(args.workspace);
    return status;
}

static double *read_back(struct slot *slot, const char *name, char *error, size_t size) {
    if (!slot->rank) return NULL;
    const size_t stray = test_memory_fetch(&slot->array.memory), n = qkv_tensor_count(&slot->array.view);
    if (stray < slot->array.memory.bytes && !error[0])
        snprintf(error, size, "%s: byte %zu of its buffer of %zu was written outside the view", name, stray,
                 slot->array.memory.bytes);
    unsigned char *dense = test_alloc(n, qkv_dtype_size(slot->dtype));
    test_memory_get(slot->array.memory.result, &slot->array.view, dense);
    double *values = storage_values(dense, n, slot->dtype);
    free(dense);
    return values;
}

void semantics_run(struct semantics_result *result, const qkv_attention *plan, const struct semantics_case *c,
                   const struct semantics_data *data) {
    struct slot slots[NUM_SLOTS];
    memset(result, 0, sizeof *result);
    slots_make(slots, c, data);
    const qkv_status status = run(plan, c, slots);
    if (status) snprintf(result->error, sizeof result->error, "%s: %s", qkv_status_name(status), qkv_error_message());
    result->out = read_back(&slots[OUT], "out", result->error, sizeof result->error);
    result->weights = read_back(&slots[WEIGHTS], "weights", result->error, sizeof result->error);
    result->scores = read_back(&slots[SCORES], "scores", result->error, sizeof result->error);
    result->logsumexp = read_back(&slots[LSE], "logsumexp", result->error, sizeof result->error);
    for (size_t i = 0; i < NUM_SLOTS; i++)
        if (slots[i].rank) test_array_free(&slots[i].array);
}

void semantics_result_free(struct semantics_result *result) {
    free(result->out);
    free(result->weights);
    free(result->scores);
    free(result->logsumexp);
    memset(result, 0, sizeof *result);
}

/* As compare.h says, plus what the store rounds off. */
static bool is_close(double got, double expected, double bound, qkv_dtype dtype) {
    if (isnan(expected)) return isnan(got);
    if (isnan(bound)) return true;
    if (isinf(expected)) return got == expected;
    const double stored = bound + storage_error(fabs(expected) + bound, dtype);
    if (isinf(got)) return dtype == QKV_F16 && got * expected > 0 && fabs(expected) + stored >= 65504;
    return fabs(got - expected) <= (dtype == QKV_F32 ? bound : stored);
}

static bool all_close(const char *what, const double *got, const double *expected, const double *bound, size_t n,
                      qkv_dtype dtype, char *error, size_t size) {
    size_t wrong = 0, first = 0;
    for (size_t i = 0; got && i < n; i++)
        if (!is_close(got[i], expected[i], bound[i], dtype) && wrong++ == 0) first = i;
    if (wrong && !error[0])
        snprintf(error, size, "%s: %zu of %zu wrong, first at %zu: got %.9g, expected %.9g, bound %.3g", what, wrong, n,
                 first, got[first], expected[first], bound[first]);
    return !wrong;
}

bool semantics_check(const qkv_attention *plan, const struct semantics_case *c, const struct semantics_data *data,
                     const struct semantics_reference *r, char *error, size_t size) {
    const size_t rows = c->batch * c->num_heads * c->seq_q, pairs = rows * c->seq_kv;
    struct semantics_result result;
    semantics_run(&result, plan, c, data);
    snprintf(error, size, "%s", result.error);
    all_close("out", result.out, r->out, r->dout, rows * c->value_dim, c->out_dtype, error, size);
    all_close("logsumexp", result.logsumexp, r->logsumexp, r->dlogsumexp, rows, QKV_F32, error, size);
    all_close("scores", result.scores, r->scores, r->dscores, pairs, c->weights_dtype, error, size);
    all_close("weights", result.weights, r->weights, r->dweights, pairs, c->weights_dtype, error, size);
    semantics_result_free(&result);
    return !error[0];
}
