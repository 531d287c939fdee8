/* A decoder's layer: rotary positions, a cache that grows, a window; against the same steps by hand and one run of all. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/buffers.h"

#define UNIT (0.5 * (double)FLT_EPSILON)

enum { BATCH = 2, HEADS = 4, KV_HEADS = 2, DIM = 8, EMBED = 32, TOKENS = 21, CAPACITY = 24 };
static const qkv_window window = {.left = 6, .right = -1};
static const float softcap = 4.0f;
static const uint64_t features =
    QKV_ATTENTION_PAST | QKV_ATTENTION_WINDOW | QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_SINKS;

struct model {
    float *w[3], *b[3], *sinks;
    qkv_layer *layer;
    qkv_workspace *workspace;
};

static void model_make(struct model *m, const char *solver, struct test_random *random) {
    static const size_t width[3] = {HEADS * DIM, KV_HEADS * DIM, KV_HEADS * DIM};
    for (int i = 0; i < 3; i++) {
        m->w[i] = test_random_floats(random, width[i] * EMBED, 0.3f);
        m->b[i] = test_random_floats(random, width[i], 0.5f);
    }
    m->sinks = test_random_floats(random, HEADS, 1.0f);
    qkv_rotary_desc rotary = QKV_ROTARY_DESC_INIT;
    rotary.max_position = CAPACITY;
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    desc.embed_dim = EMBED;
    desc.num_heads = HEADS;
    desc.num_kv_heads = KV_HEADS;
    desc.head_dim = DIM;
    desc.wq = (qkv_layer_weight){m->w[0], m->b[0]};
    desc.wk = (qkv_layer_weight){m->w[1], m->b[1]};
    desc.wv = (qkv_layer_weight){m->w[2], m->b[2]};
    desc.max_batch = BATCH;
    desc.max_seq_q = TOKENS;
    desc.max_seq_kv = CAPACITY;
    desc.features = features;
    desc.rotary = &rotary;
    desc.solver = solver;
    m->layer = NULL;
    m->workspace = NULL;
    const qkv_status status = qkv_layer_create(&m->layer, test_context(), &desc);
    if (test_solver_refused(status, solver)) return;
    TEST_OK(status);
    TEST_OK(qkv_workspace_create(&m->workspace, test_context(), qkv_layer_workspace_bytes(m->layer)));
}

static void model_free(struct model *m) {
    for (int i = 0; i < 3; i++) {
        free(m->w[i]);
        free(m->b[i]);
    }
    free(m->sinks);
    qkv_workspace_destroy(m->workspace);
    qkv_layer_destroy(m->layer);
}

/* Keys and values of all tokens that may come, the first `used` of them written. */
struct cache {
    struct test_array k, v;
    size_t used;
};

static void cache_make(struct cache *cache, bool tokens_first) {
    static const size_t shape[] = {BATCH, KV_HEADS, CAPACITY, DIM};
    const struct test_layout layout = {.order = {0, 2, 1, 3}, .permuted = tokens_first, .front = 3};
    test_array_output(&cache->k, 4, shape, &layout);
    test_array_output(&cache->v, 4, shape, &layout);
    cache->used = 0;
}

static void cache_free(struct cache *cache) {
    test_array_free(&cache->k);
    test_array_free(&cache->v);
}

/* Tokens `first` and on through the layer. in_place: the cache itself grows; else it is copied from one to the other. */
static float *step(const struct model *m, const float *x, size_t count, struct cache *from, struct cache *to) {
    const size_t shape[] = {BATCH, count, EMBED}, past = from->used, out_shape[] = {BATCH, count, HEADS * DIM};
    const size_t sinks_shape[] = {HEADS};
    struct test_array input, out, sinks;
    qkv_tensor past_k, past_v, present_k, present_v;
    test_array_input(&input, QKV_F32, 3, shape, NULL, (void *)x);
    test_array_input(&sinks, QKV_F32, 1, sinks_shape, NULL, m->sinks);
    test_array_output(&out, 3, out_shape, NULL);
    TEST_OK(qkv_tensor_slice(&past_k, &from->k.view, 2, 0, past));
    TEST_OK(qkv_tensor_slice(&past_v, &from->v.view, 2, 0, past));
    TEST_OK(qkv_tensor_slice(&present_k, &to->k.view, 2, 0, past + count));
    TEST_OK(qkv_tensor_slice(&present_v, &to->v.view, 2, 0, past + count));
    qkv_attention_args attention = QKV_ATTENTION_ARGS_INIT;
    attention.past_k = past ? &past_k : NULL;
    attention.past_v = past ? &past_v : NULL;
    attention.present_k = &present_k;
    attention.present_v = &present_v;
    attention.window = &window;
    attention.softcap = softcap;
    attention.sinks = &sinks.view;
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    args.x = &input.view;
    args.out = &out.view;
    args.causal = QKV_CAUSAL_FIRST;
    args.attention = &attention;
    args.workspace = m->workspace;
    TEST_OK(qkv_layer_run(m->layer, test_queue(), &args, 0, NULL, NULL));
    to->used = past + count;
    float *result = TEST_READ(&out);
    test_array_free(&input);
    test_array_free(&sinks);
    test_array_free(&out);
    return result;
}

/* x[:, first : first + count, :] */
static float *tokens(const float *x, size_t first, size_t count) {
    float *part = test_alloc(BATCH * count * EMBED, sizeof *part);
    for (size_t b = 0; b < BATCH; b++)
        memcpy(part + b * count * EMBED, x + (b * TOKENS + first) * EMBED, count * EMBED * sizeof *part);
    return part;
}

static double largest(const float *values, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)values[i]));
    return most;
}

/*
 * What two right answers may differ by, from the largest values: projections of EMBED terms, turned, are off by d each;
 * scores by what that and a product of DIM terms make of it; a weight by twice that, and what exp, tanh and the sum of all
 * keys add; an output by this part of the largest value, and by d.
 */
static double difference(const struct model *m, const float *x) {
    const double biggest_x = largest(x, BATCH * TOKENS * EMBED);
    double size = 0;
    for (int i = 0; i < 3; i++)
        size = fmax(size, EMBED * biggest_x * largest(m->w[i], EMBED * KV_HEADS * DIM) + largest(m->b[i], DIM));
    const double turned = sqrt(2) * size, d = (EMBED + 8) * UNIT * turned, scale = 1 / sqrt((double)DIM);
    const double score = scale * DIM * (2 * turned * d + (DIM + 2) * UNIT * turned * turned);
    return 2 * (turned * 2 * (score + (16 + TOKENS) * UNIT) + d);
}

static void compare(const float *part, const float *whole, size_t first, size_t count, double bound) {
    for (size_t b = 0; b < BATCH; b++)
        for (size_t i = 0; i < count * HEADS * DIM; i++) {
            const double got = (double)part[b * count * HEADS * DIM + i];
            const double expected = (double)whole[(b * TOKENS + first) * HEADS * DIM + i];
            if (!(fabs(got - expected) <= bound))
                test_fail(__FILE__, __LINE__, "batch %zu, element %zu from token %zu: %.9g, in one run %.9g", b, i,
                          first, got, expected);
        }
}

/* A prompt and then token by token gives what one run over all gives, the cache growing in place or copied. */
START_TEST(steps_are_one_run) {
    const char *solver = test_solver((size_t)_i / 2);
    const bool in_place = _i % 2 == 0;
    struct test_random random = test_random_start(test_seed(), (uint64_t)_i);
    struct model m;
    test_note("seed %llu, solver %s, %s", (unsigned long long)test_seed(), solver ? solver : "(default)",
              in_place ? "in place" : "copied");
    model_make(&m, solver, &random);
    if (m.layer) {
        float *x = test_random_floats(&random, BATCH * TOKENS * EMBED, 1.0f);
        struct cache all, caches[2];
        cache_make(&all, false);
        cache_make(&caches[0], true);
        cache_make(&caches[1], true);
        float *whole = step(&m, x, TOKENS, &all, &all);
        size_t from = 0;
        for (size_t first = 0, count = 9; first < TOKENS; first += count, count = 1) {
            const size_t to = in_place ? from : 1 - from;
            float *part_x = tokens(x, first, count);
            float *part = step(&m, part_x, count, &caches[from], &caches[to]);
            compare(part, whole, first, count, difference(&m, x));
            from = to;
            free(part_x);
            free(part);
        }
        free(whole);
        free(x);
        cache_free(&all);
        cache_free(&caches[0]);
        cache_free(&caches[1]);
    }
    model_free(&m);
}
END_TEST

/* A window of 7 keys: what lies before it does not matter, were it NaN. */
START_TEST(keys_before_the_window_do_not_matter) {
    struct test_random random = test_random_start(test_seed(), 7);
    struct model m;
    test_note("seed %llu", (unsigned long long)test_seed());
    model_make(&m, NULL, &random);
    float *x = test_random_floats(&random, BATCH * TOKENS * EMBED, 1.0f);
    struct cache cache;
    cache_make(&cache, false);
    float *all = step(&m, x, TOKENS, &cache, &cache);
    cache_free(&cache);
    cache_make(&cache, false);
    for (size_t b = 0; b < BATCH; b++)
        x[b * TOKENS * EMBED + 3] = NAN; /* of token 0, which tokens up to 6 see */
    float *poisoned = step(&m, x, TOKENS, &cache, &cache);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t t = 0; t < TOKENS; t++)
            for (size_t i = 0; i < HEADS * DIM; i++) {
                const size_t at = (b * TOKENS + t) * HEADS * DIM + i;
                TEST_TRUE(t < 7 ? isnan(poisoned[at]) : poisoned[at] == all[at]);
            }
    free(all);
    free(poisoned);
    free(x);
    cache_free(&cache);
    model_free(&m);
}
END_TEST

START_TEST(wrong_arguments) {
    struct test_random random = test_random_start(test_seed(), 8);
    struct model m;
    model_make(&m, NULL, &random);
    const size_t shape[] = {1, 2, EMBED}, out_shape[] = {1, 2, HEADS * DIM}, cache_shape[] = {1, KV_HEADS, 5, DIM};
    float *x = test_random_floats(&random, 2 * EMBED, 1.0f);
    struct test_array input, out, cache;
    test_array_input(&input, QKV_F32, 3, shape, NULL, x);
    test_array_output(&out, 3, out_shape, NULL);
    test_array_output(&cache, 4, cache_shape, NULL);
    qkv_attention_args attention = QKV_ATTENTION_ARGS_INIT;
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    args.x = &input.view;
    args.out = &out.view;
    args.attention = &attention;
    args.workspace = m.workspace;
    attention.scale = 1.0f;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "scale", qkv_layer_run(m.layer, test_queue(), &args, 0, NULL, NULL));
    attention.scale = 0.0f;
    attention.present_k = &cache.view;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "present_v", qkv_layer_run(m.layer, test_queue(), &args, 0, NULL, NULL));
    attention.present_v = &cache.view;
    TEST_FAILS(QKV_OVERLAP, "present_v", qkv_layer_run(m.layer, test_queue(), &args, 0, NULL, NULL));
    attention.present_v = NULL;
    attention.present_k = NULL;
    attention.kv_lengths = &input.view;
    TEST_FAILS(QKV_UNSUPPORTED, "kv_lengths", qkv_layer_run(m.layer, test_queue(), &args, 0, NULL, NULL));
    attention.kv_lengths = NULL;
    args.first_position = CAPACITY - 1;
    TEST_FAILS(QKV_INVALID_SHAPE, "first_position", qkv_layer_run(m.layer, test_queue(), &args, 0, NULL, NULL));
    args.first_position = 0;
    TEST_OK(qkv_layer_run(m.layer, test_queue(), &args, 0, NULL, NULL));
    free(TEST_READ(&out));
    free(x);
    test_array_free(&input);
    test_array_free(&out);
    test_array_free(&cache);
    model_free(&m);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_decoder");
    TCase *tcase = tcase_create("layer_decoder");
    tcase_add_loop_test(tcase, steps_are_one_run, 0, 2 * TEST_NUM_SOLVERS);
    tcase_add_test(tcase, keys_before_the_window_do_not_matter);
    tcase_add_test(tcase, wrong_arguments);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
