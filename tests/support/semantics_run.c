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

enum which {
    Q,
    K,
    V,
    MASK,
    LENGTHS,
    OFFSETS,
    SLOPES,
    SINKS,
    PAST_K,
    PAST_V,
    OUT,
    WEIGHTS,
    SCORES,
    LSE,
    PRESENT_K,
    PRESENT_V,
    RECEIVED,
    TOP_KEYS,
    TOP_WEIGHTS,
    NUM_SLOTS
};

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
    const size_t d = c->head_dim, dv = c->value_dim, past = c->past, fresh = k - past;
    const bool with_past = past > 0 || c->in_place; /* of no keys, too */
    const struct slot all[NUM_SLOTS] = {
        [Q] = {.rank = 4, .shape = {b, h, q, c->head_dim}, .dtype = c->q_dtype},
        [K] = {.rank = 4, .shape = {b, g, fresh, d}, .dtype = c->k_dtype},
        [V] = {.rank = 4, .shape = {b, g, fresh, dv}, .dtype = c->v_dtype},
        [MASK] = {.rank = c->mask ? c->mask_rank : 0, .dtype = c->mask},
        [LENGTHS] = {.rank = c->lengths ? 1 : 0, .shape = {b}, .dtype = c->lengths},
        [OFFSETS] = {.rank = c->offsets ? 1 : 0, .shape = {b}, .dtype = c->offsets},
        [SLOPES] = {.rank = c->slopes ? 1 : 0, .shape = {h}, .dtype = QKV_F32},
        [SINKS] = {.rank = c->sinks ? 1 : 0, .shape = {h}, .dtype = QKV_F32},
        [OUT] = {.rank = 4, .shape = {b, h, q, c->value_dim}, .dtype = c->out_dtype},
        [WEIGHTS] = {.rank = c->weights ? 4 : 0, .shape = {b, h, q, k}, .dtype = c->weights_dtype},
        [SCORES] = {.rank = c->scores ? 4 : 0, .shape = {b, h, q, k}, .dtype = c->weights_dtype},
        [LSE] = {.rank = c->logsumexp ? 3 : 0, .shape = {b, h, q}, .dtype = QKV_F32},
        [PAST_K] = {.rank = with_past ? 4 : 0, .shape = {b, g, past, d}, .dtype = c->k_dtype},
        [PAST_V] = {.rank = with_past ? 4 : 0, .shape = {b, g, past, dv}, .dtype = c->v_dtype},
        [PRESENT_K] = {.rank = c->present ? 4 : 0, .shape = {b, g, k, d}, .dtype = c->k_dtype},
        [PRESENT_V] = {.rank = c->present ? 4 : 0, .shape = {b, g, k, dv}, .dtype = c->v_dtype},
        [RECEIVED] = {.rank = c->received ? 3 : 0, .shape = {b, h, k}, .dtype = QKV_F32},
        [TOP_KEYS] = {.rank = c->top ? 4 : 0, .shape = {b, h, q, c->top}, .dtype = QKV_I32},
        [TOP_WEIGHTS] = {.rank = c->top ? 4 : 0, .shape = {b, h, q, c->top}, .dtype = QKV_F32},
    };
    memcpy(slots, all, sizeof all);
    for (size_t i = 0; i < slots[MASK].rank; i++)
        slots[MASK].shape[i] = data->mask_shape[4 - c->mask_rank + i];
}

/* Keys `from` to `to` of every head. */
static double *part_of(const double *keys, const struct semantics_case *c, size_t width, size_t from, size_t to) {
    const size_t n = (to - from) * width;
    double *part = test_alloc(c->batch * c->num_kv_heads * n, sizeof *part);
    for (size_t head = 0; head < c->batch * c->num_kv_heads; head++)
        memcpy(part + head * n, keys + (head * c->seq_kv + from) * width, n * sizeof *part);
    return part;
}

/* The past as the beginning of the present, which then may change in its rest only. */
static void past_in_place(struct slot *past, struct slot *present, size_t seq_past, const double *values) {
    struct test_memory *memory = &present->array.memory;
    qkv_tensor fresh;
    void *stored = stored_from(values, past->shape[0] * past->shape[1] * seq_past * past->shape[3], past->dtype);
    TEST_OK(qkv_tensor_slice(&past->array.view, &present->array.view, 2, 0, seq_past));
    TEST_OK(qkv_tensor_slice(&fresh, &present->array.view, 2, seq_past, present->shape[2] - seq_past));
    test_memory_put(memory, &past->array.view, stored);
    free(stored);
    memset(memory->writable, 0, memory->bytes);
    test_memory_allow(memory, &fresh);
    test_memory_upload(memory);
}

static void slots_make(struct slot *slots, const struct semantics_case *c, const struct semantics_data *data) {
    double *const parts[4] = {
        part_of(data->k, c, c->head_dim, c->past, c->seq_kv), part_of(data->v, c, c->value_dim, c->past, c->seq_kv),
        part_of(data->k, c, c->head_dim, 0, c->past), part_of(data->v, c, c->value_dim, 0, c->past)};
    const double *const inputs[OUT] = {data->q,       parts[0],     parts[1],    data->mask, data->lengths,
                                       data->offsets, data->slopes, data->sinks, parts[2],   parts[3]};
    struct test_random random = test_random_start(c->stream, 100);
    slots_list(slots, c, data);
    for (size_t i = 0; i < NUM_SLOTS; i++) {
        if (!slots[i].rank) continue;
        const struct test_layout layout = layout_of(c, (enum which)i, slots[i].rank, &random);
        const bool is_past = i == PAST_K || i == PAST_V;
        if (i < OUT && !(is_past && c->in_place))
            give(&slots[i], &layout, inputs[i]);
        else if (i >= OUT)
            test_array_output_of(&slots[i].array, slots[i].dtype, slots[i].rank, slots[i].shape, &layout);
    }
    for (size_t i = 0; c->in_place && i < 2; i++)
        past_in_place(&slots[PAST_K + i], &slots[PRESENT_K + i], c->past, parts[2 + i]);
    for (size_t i = 0; i < TEST_COUNT(parts); i++)
        free(parts[i]);
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
    args.past_k = VIEW(PAST_K);
    args.past_v = VIEW(PAST_V);
    args.present_k = VIEW(PRESENT_K);
    args.present_v = VIEW(PRESENT_V);
    args.received = VIEW(RECEIVED);
    args.top_keys = VIEW(TOP_KEYS);
    args.top_weights = VIEW(TOP_WEIGHTS);
    args.scores_stage = c->stage;
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
    double *values = slot->dtype == QKV_I32 ? test_alloc(n, sizeof *values) : storage_values(dense, n, slot->dtype);
    for (size_t i = 0; slot->dtype == QKV_I32 && i < n; i++) {
        int32_t integer;
        memcpy(&integer, dense + i * sizeof integer, sizeof integer);
        values[i] = integer;
    }
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
    const struct {
        const char *name;
        enum which which;
        double **to;
    } all[] = {{"out", OUT, &result->out},
               {"weights", WEIGHTS, &result->weights},
               {"scores", SCORES, &result->scores},
               {"logsumexp", LSE, &result->logsumexp},
               {"present_k", PRESENT_K, &result->present_k},
               {"present_v", PRESENT_V, &result->present_v},
               {"received", RECEIVED, &result->received},
               {"top_keys", TOP_KEYS, &result->top_keys},
               {"top_weights", TOP_WEIGHTS, &result->top_weights}};
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        *all[i].to = read_back(&slots[all[i].which], all[i].name, result->error, sizeof result->error);
    for (size_t i = 0; i < NUM_SLOTS; i++)
        if (slots[i].array.memory.mem) test_array_free(&slots[i].array);
}

void semantics_result_free(struct semantics_result *r) {
    double *all[] = {r->out,       r->weights,  r->scores,   r->logsumexp,  r->present_k,
                     r->present_v, r->received, r->top_keys, r->top_weights};
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        free(all[i]);
    memset(r, 0, sizeof *r);
}
