#include "support/semantics_case.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static const qkv_dtype stored[] = {QKV_F32, QKV_F16, QKV_BF16};
static const qkv_dtype masks[] = {QKV_BOOL, QKV_F32, QKV_F16, QKV_BF16};
static const qkv_dtype integers[] = {QKV_I32, QKV_I64};

#define ONE_OF(random, list) (list)[test_random_below((random), TEST_COUNT(list))]

enum { ALL = 2 * QKV_ATTENTION_REDUCED - 1, NUM_FEATURES = 9 };

/* Every other number around what kernels like, the rest anything; head_dim and value_dim often differ. */
static size_t random_dim(struct test_random *random) {
    static const size_t liked[] = {1, 3, 4, 8, 16, 20, 32, 33, 64, 80, 96, 127, 128, 129};
    return test_random_once_in(random, 2) ? ONE_OF(random, liked) : test_random_between(random, 1, 130);
}

/* Numbers in turn: no feature at all but the old ones, all of them, any. fp32, one storage type, mixed. */
struct semantics_case semantics_plan_random(struct test_random *random, size_t number, uint64_t *features) {
    struct semantics_case c = {.num_kv_heads = test_random_between(random, 1, 3)};
    c.num_heads = c.num_kv_heads * test_random_between(random, 1, 4);
    c.head_dim = random_dim(random);
    c.value_dim = number % 2 ? c.head_dim : random_dim(random);
    *features = test_random_bits(random) & ALL;
    if (number % 4 == 0) *features = ALL;
    if (number % 4 == 2) *features = QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS;
    qkv_dtype one = number % 3 ? stored[1 + number % 2] : QKV_F32;
    qkv_dtype *const all[] = {&c.q_dtype, &c.k_dtype, &c.v_dtype, &c.out_dtype};
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        *all[i] = number % 3 == 1 ? ONE_OF(random, stored) : one;
    c.weights_dtype = number % 3 == 1 ? ONE_OF(random, stored) : QKV_F32;
    return c;
}

/* Around the borders of tiles, small more often than large. */
static size_t random_seq(struct test_random *random, size_t most) {
    static const size_t borders[] = {16, 32, 64, 128, 256};
    size_t n = test_random_below(random, 8);
    if (test_random_once_in(random, 3)) n = ONE_OF(random, borders) + test_random_below(random, 4) - 2;
    if (test_random_once_in(random, 4)) n = test_random_below(random, most + 1);
    return n < most ? n : most;
}

static void random_sizes(struct semantics_case *c, struct test_random *random, const struct semantics_limits *limits) {
    c->batch = test_random_between(random, test_random_once_in(random, 20) ? 0 : 1, limits->batch);
    c->seq_q = random_seq(random, limits->seq_q);
    c->seq_kv = random_seq(random, limits->seq_kv);
    if (test_random_once_in(random, 4)) c->seq_q = test_random_between(random, 1, 4);
    if (test_random_once_in(random, 6)) c->seq_q = c->seq_kv < limits->seq_q ? c->seq_kv : limits->seq_q;
    while ((double)(c->batch * c->num_heads * c->seq_q * c->seq_kv) * (double)(c->head_dim + c->value_dim) >
           limits->work) {
        if (c->batch > 1)
            c->batch = 1;
        else if (c->seq_q > 3)
            c->seq_q /= 2;
        else
            c->seq_kv = c->seq_kv * 2 / 3;
    }
}

static void random_mask(struct semantics_case *c, struct test_random *random) {
    c->mask = ONE_OF(random, masks);
    c->mask_rank = test_random_between(random, 1, 4);
    c->mask_axes = (unsigned)test_random_below(random, 16);
    if (test_random_once_in(random, 2)) c->mask_axes |= 12;
    /* One key that is left would be repeated. */
    if (test_random_once_in(random, 4)) c->mask_missing = test_random_below(random, c->seq_kv + 1);
    if (c->mask_missing + 1 >= c->seq_kv) c->mask_missing = 0;
    if (c->seq_kv > 1 && test_random_once_in(random, 40)) c->mask_missing = c->seq_kv;
}

/* -1, nothing, a few, all. */
static int64_t random_side(struct test_random *random, size_t seq_kv) {
    static const int64_t sides[] = {-1, 0, 1, 2, 1000000, INT64_MAX};
    if (test_random_once_in(random, 2)) return (int64_t)test_random_below(random, seq_kv / 2 + 2);
    return ONE_OF(random, sides);
}

/* What is reported besides, and where keys come from; a past has no padding. */
static void random_reports(struct semantics_case *c, struct test_random *random, uint64_t use) {
    static const qkv_scores_stage stages[] = {QKV_SCORES_MASKED, QKV_SCORES_RAW, QKV_SCORES_CAPPED};
    if (use & QKV_ATTENTION_PAST) {
        c->present = true;
        if (!c->lengths && !test_random_once_in(random, 3)) c->past = test_random_below(random, c->seq_kv + 1);
        c->in_place = !c->lengths && test_random_once_in(random, 2);
    }
    if (!(use & QKV_ATTENTION_REDUCED)) return;
    c->stage = ONE_OF(random, stages);
    c->received = test_random_once_in(random, 2);
    if (test_random_once_in(random, 2))
        c->top = test_random_between(random, 1, test_random_once_in(random, 2) ? 64 : 4);
}

static int64_t random_offset(struct test_random *random, const struct semantics_case *c) {
    static const int64_t far[] = {-((int64_t)1 << 40), (int64_t)1 << 40, -1000, 1000};
    if (!c->slopes && test_random_once_in(random, 20)) return ONE_OF(random, far);
    return (int64_t)test_random_below(random, c->seq_kv + c->seq_q + 6) - (int64_t)c->seq_q - 3;
}

struct semantics_case semantics_case_random(struct test_random *random, const struct semantics_case *plan,
                                            uint64_t features, const struct semantics_limits *limits) {
    static const float scales[] = {0, 0, 0, 1, 0.3f, -0.5f, 1e-3f};
    static const float caps[] = {1, 5, 50, 1e4f, 1e30f};
    static const float magnitudes[] = {1, 1, 1, 1, 3, 3, 20, 20, 0};
    struct semantics_case c = *plan;
    /* Any subset, and every feature alone often enough. */
    uint64_t use = features & (test_random_once_in(random, 4) ? (uint64_t)1 << test_random_below(random, NUM_FEATURES)
                                                              : test_random_bits(random));
    c.stream = test_random_bits(random);
    random_sizes(&c, random, limits);
    c.scale = ONE_OF(random, scales);
    c.magnitude = ONE_OF(random, magnitudes);
    c.causal = (qkv_causal)test_random_below(random, 3);
    if (use & QKV_ATTENTION_MASK) random_mask(&c, random);
    if (use & QKV_ATTENTION_SOFTCAP) c.softcap = ONE_OF(random, caps);
    c.slopes = (use & QKV_ATTENTION_ALIBI) != 0;
    c.sinks = (use & QKV_ATTENTION_SINKS) != 0;
    c.windowed = (use & QKV_ATTENTION_WINDOW) != 0;
    c.window = (qkv_window){random_side(random, c.seq_kv), random_side(random, c.seq_kv)};
    if (use & QKV_ATTENTION_LENGTHS && !test_random_once_in(random, 4)) c.lengths = ONE_OF(random, integers);
    if (c.causal != QKV_CAUSAL_LAST) {
        if (use & QKV_ATTENTION_LENGTHS && test_random_once_in(random, 2)) c.offsets = ONE_OF(random, integers);
        if (test_random_once_in(random, 3)) c.query_offset = random_offset(random, &c);
    }
    c.weights = features & QKV_ATTENTION_WEIGHTS && test_random_once_in(random, 2);
    c.scores = features & QKV_ATTENTION_WEIGHTS && test_random_once_in(random, 2);
    c.logsumexp = test_random_once_in(random, 2);
    random_reports(&c, random, use);
    c.traps = test_random_once_in(random, 2);
    c.layout = (enum semantics_layout)test_random_below(random, 4);
    return c;
}

uint64_t semantics_features(const struct semantics_case *c) {
    return (c->mask ? (uint64_t)QKV_ATTENTION_MASK : 0) |
           (c->weights || c->scores ? (uint64_t)QKV_ATTENTION_WEIGHTS : 0) |
           (c->softcap != 0 ? (uint64_t)QKV_ATTENTION_SOFTCAP : 0) |
           (c->windowed ? (uint64_t)QKV_ATTENTION_WINDOW : 0) |
           (c->lengths || c->offsets ? (uint64_t)QKV_ATTENTION_LENGTHS : 0) |
           (c->present ? (uint64_t)QKV_ATTENTION_PAST : 0) |
           (c->stage || c->received || c->top ? (uint64_t)QKV_ATTENTION_REDUCED : 0) |
           (c->slopes ? (uint64_t)QKV_ATTENTION_ALIBI : 0) | (c->sinks ? (uint64_t)QKV_ATTENTION_SINKS : 0);
}

static const char *dtype_name(qkv_dtype dtype) {
    static const char *const names[] = {"none", "f32", "f16", "bf16", "bool", "i32", "i64"};
    return names[dtype];
}

struct text {
    char *to;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int length = vsnprintf(text->to, text->size, format, list);
    va_end(list);
    const size_t used = length < 0 ? 0 : (size_t)length < text->size ? (size_t)length : text->size - 1;
    text->to += used;
    text->size -= used;
}

void semantics_describe(char *to, size_t size, const struct semantics_case *c) {
    static const char *const layouts[] = {"BHSD", "BSHD", "packed", "strided"};
    static const char *const causals[] = {"off", "first", "last"};
    struct text text = {to, size};
    add(&text, "batch %zu, heads %zu/%zu, seq_q %zu, seq_kv %zu, head_dim %zu, value_dim %zu", c->batch, c->num_heads,
        c->num_kv_heads, c->seq_q, c->seq_kv, c->head_dim, c->value_dim);
    add(&text, ", q %s, k %s, v %s, out %s", dtype_name(c->q_dtype), dtype_name(c->k_dtype), dtype_name(c->v_dtype),
        dtype_name(c->out_dtype));
    if (c->scale != 0) add(&text, ", scale %g", (double)c->scale);
    if (c->magnitude != 1) add(&text, ", magnitude %g", (double)c->magnitude);
    if (c->causal) add(&text, ", causal %s", causals[c->causal]);
    if (c->query_offset) add(&text, ", query_offset %lld", (long long)c->query_offset);
    if (c->lengths) add(&text, ", kv_lengths %s", dtype_name(c->lengths));
    if (c->offsets) add(&text, ", query_offsets %s", dtype_name(c->offsets));
    if (c->windowed) add(&text, ", window %lld, %lld", (long long)c->window.left, (long long)c->window.right);
    if (c->softcap != 0) add(&text, ", softcap %g", (double)c->softcap);
    if (c->slopes) add(&text, ", slopes");
    if (c->sinks) add(&text, ", sinks");
    if (c->mask)
        add(&text, ", mask %s (rank %zu, axes %u, %zu keys short)", dtype_name(c->mask), c->mask_rank, c->mask_axes,
            c->mask_missing);
    add(&text, "%s%s%s%s", c->weights ? ", weights" : "", c->scores ? ", scores" : "",
        c->logsumexp ? ", logsumexp" : "", c->traps ? ", traps" : "");
    if (c->weights || c->scores) add(&text, " %s", dtype_name(c->weights_dtype));
    if (c->stage) add(&text, ", stage %d", (int)c->stage);
    if (c->present) add(&text, ", present with a past of %zu%s", c->past, c->in_place ? " in place" : "");
    if (c->received) add(&text, ", received");
    if (c->top) add(&text, ", top %zu", c->top);
    add(&text, ", %s, stream 0x%llx", layouts[c->layout], (unsigned long long)c->stream);
}

qkv_status semantics_plan_create(qkv_attention **out, const struct semantics_case *c, uint64_t features,
                                 const struct semantics_limits *limits, const char *solver) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = c->head_dim;
    desc.value_dim = c->value_dim;
    desc.num_heads = c->num_heads;
    desc.num_kv_heads = c->num_kv_heads;
    desc.max_batch = limits->batch;
    desc.max_seq_q = limits->seq_q;
    desc.max_seq_kv = limits->seq_kv;
    desc.features = features;
    desc.solver = solver;
    desc.q_dtype = c->q_dtype;
    desc.k_dtype = c->k_dtype;
    desc.v_dtype = c->v_dtype;
    desc.out_dtype = c->out_dtype;
    desc.weights_dtype = c->weights_dtype;
    return qkv_attention_create(out, test_context(), &desc);
}
