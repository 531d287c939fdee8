/* The multi-head attention layer against double precision, each step and the whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/layer_case.h"

/* What a run is asked to hand over besides `out`. */
enum { WANT_QKV = 1, WANT_HEADS = 2, WANT_WEIGHTS = 4, WANT_SCORES = 8, WANT_LSE = 16, WANT_ALL = 31, WANT_VIEWS = 32 };

/* NULL after a counted skip. */
static qkv_layer *layer_make(const struct layer_case *c, const struct layer_data *data, const char *solver,
                             unsigned want) {
    qkv_layer_desc desc = layer_desc(c, data);
    qkv_layer *layer = NULL;
    desc.max_batch = c->batch, desc.max_seq_q = c->seq_q, desc.max_seq_kv = c->kv ? c->seq_kv : 0;
    desc.features =
        (c->mask ? QKV_ATTENTION_MASK : 0u) | (want & (WANT_WEIGHTS | WANT_SCORES) ? QKV_ATTENTION_WEIGHTS : 0u);
    desc.solver = solver;
    qkv_status status = qkv_layer_create(&layer, test_context(), &desc);
    if (test_solver_refused(status, solver)) return NULL;
    TEST_OK(status);
    return layer;
}

enum { OUT, Q, K, V, HEADS, WEIGHTS, SCORES, LSE, NUM_RESULTS };

static void results_make(struct test_array *results, const struct layer_case *c, unsigned want,
                         struct test_random *random) {
    size_t n = layer_seq_kv(c);
    const size_t shapes[NUM_RESULTS][4] = {{c->batch, c->seq_q, layer_out_dim(c)},
                                           {c->batch, c->num_heads, c->seq_q, c->head_dim},
                                           {c->batch, c->num_kv_heads, n, c->head_dim},
                                           {c->batch, c->num_kv_heads, n, c->value_dim},
                                           {c->batch, c->num_heads, c->seq_q, c->value_dim},
                                           {c->batch, c->num_heads, c->seq_q, n},
                                           {c->batch, c->num_heads, c->seq_q, n},
                                           {c->batch, c->num_heads, c->seq_q}};
    static const unsigned bits[NUM_RESULTS] = {~0u,        WANT_QKV,     WANT_QKV,    WANT_QKV,
                                               WANT_HEADS, WANT_WEIGHTS, WANT_SCORES, WANT_LSE};
    memset(results, 0, NUM_RESULTS * sizeof *results);
    for (size_t i = 0; i < NUM_RESULTS; i++) {
        size_t rank = i == OUT || i == LSE ? 3 : 4;
        struct test_layout layout = test_layout_random(random, rank);
        if (i == OUT || (want & bits[i]))
            test_array_output(&results[i], rank, shapes[i], want & WANT_VIEWS ? &layout : NULL);
    }
}

static void run(const qkv_layer *layer, const struct layer_case *c, const struct layer_data *data, unsigned want,
                struct test_array *results, struct test_random *random) {
    const size_t x_shape[] = {c->batch, c->seq_q, c->embed_dim};
    const size_t kv_shape[] = {c->batch, c->seq_kv, c->kv_embed_dim ? c->kv_embed_dim : c->embed_dim};
    const size_t mask_shape[] = {c->batch, 1, 1, layer_seq_kv(c)};
    struct test_layout layout = test_layout_random(random, 3), *views = want & WANT_VIEWS ? &layout : NULL;
    struct test_array x = {0}, kv = {0}, mask = {0};
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    const qkv_tensor **slots[NUM_RESULTS] = {&args.out,   &args.q,       &args.k,      &args.v,
                                             &args.heads, &args.weights, &args.scores, &args.logsumexp};
    test_array_input(&x, QKV_F32, 3, x_shape, views, data->x);
    args.x = &x.view;
    if (c->kv) {
        test_array_input(&kv, QKV_F32, 3, kv_shape, views, data->kv);
        args.kv = &kv.view;
    }
    if (c->mask) {
        test_array_input(&mask, QKV_BOOL, 4, mask_shape, NULL, data->mask);
        args.mask = &mask.view;
    }
    for (size_t i = 0; i < NUM_RESULTS; i++)
        *slots[i] = results[i].memory.mem ? &results[i].view : NULL;
    args.scale = c->scale, args.causal = c->causal;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_layer_workspace_bytes(layer)));
    TEST_OK(qkv_layer_run(layer, test_queue(), &args, 0, NULL, NULL));
    TEST_CL(clFinish(test_queue()));
    qkv_workspace_destroy(args.workspace);
    test_array_free(&x);
    test_array_free(&kv);
    test_array_free(&mask);
}

static void check_results(struct test_array *results, const struct layer_case *c, const struct layer_data *data) {
    static const char *const names[NUM_RESULTS] = {"out", "q", "k", "v", "heads", "weights", "scores", "logsumexp"};
    struct layer_reference r;
    layer_reference_make(&r, c, data);
    const struct ref_attention *a = &r.attention;
    const double *values[NUM_RESULTS] = {r.out, r.q, r.k, r.v, a->out, a->weights, a->scores, a->logsumexp};
    const double *bounds[NUM_RESULTS] = {r.dout, r.dq, r.dk, r.dv, a->dout, a->dweights, a->dscores, a->dlogsumexp};
    for (size_t i = 1; i <= NUM_RESULTS; i++) {
        size_t at = i % NUM_RESULTS; /* out last: a failure names the first step that is wrong */
        if (!results[at].memory.mem) continue;
        float *got = TEST_READ(&results[at]);
        TEST_CLOSE(names[at], got, values[at], bounds[at], qkv_tensor_count(&results[at].view));
        free(got);
    }
    layer_reference_free(&r);
}

static void check_layer(const qkv_layer *layer, const struct layer_case *c, struct layer_data *data, unsigned want,
                        struct test_random *random) {
    struct test_array results[NUM_RESULTS];
    results_make(results, c, want, random);
    run(layer, c, data, want, results, random);
    check_results(results, c, data);
    for (size_t i = 0; i < NUM_RESULTS; i++)
        test_array_free(&results[i]);
}

static void check_case(const struct layer_case *c, const char *solver, unsigned want, size_t number) {
    struct test_random random = test_random_start(test_seed(), number);
    struct layer_data data;
    layer_note(c, solver, number);
    layer_data_make(&data, c, &random);
    qkv_layer *layer = layer_make(c, &data, solver, want);
    if (layer) {
        TEST_TRUE(qkv_layer_describe(layer)[0] != '\0' && qkv_layer_memory_bytes(layer) > 0);
        check_layer(layer, c, &data, want, &random);
    }
    qkv_layer_destroy(layer);
    layer_data_free(&data);
}

/* Vaswani et al. 2017, base: d_model 512, 8 heads, d_k = d_v = 64. */
START_TEST(base_transformer) {
    const char *solver = test_solver((size_t)_i);
    struct layer_case c = {.batch = 1,
                           .seq_q = test_is_slow() ? 4 : 65,
                           .embed_dim = 512,
                           .num_heads = 8,
                           .num_kv_heads = 8,
                           .head_dim = 64,
                           .value_dim = 64,
                           .out_dim = 512,
                           .layout = QKV_WEIGHT_IN_OUT,
                           .biases = true,
                           .wo = true};
    if (test_is_slow()) c.embed_dim = c.out_dim = 64, c.head_dim = c.value_dim = 8;
    check_case(&c, solver, 0, 0);
    c.causal = QKV_CAUSAL_LAST, c.layout = QKV_WEIGHT_OUT_IN;
    if (!test_is_slow()) check_case(&c, solver, WANT_ALL, 1);
}
END_TEST

/* Each head has weights of its own; d_k != d_v; grouped heads; with and without biases, wo, mask, intermediates. */
START_TEST(random_layers) {
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < test_cases(16); n++) {
        struct test_random random = test_random_start(test_seed() + 5, n);
        struct layer_case c = {.batch = test_random_between(&random, 1, 3)};
        static const size_t heads[][2] = {{1, 1}, {2, 1}, {4, 2}, {3, 3}, {6, 2}};
        size_t h = test_random_below(&random, TEST_COUNT(heads));
        c.num_heads = heads[h][0], c.num_kv_heads = heads[h][1];
        c.seq_q = test_random_size(&random, test_cap(40)), c.seq_kv = test_random_size(&random, test_cap(40));
        c.embed_dim = test_random_size(&random, test_cap(70)), c.out_dim = test_random_size(&random, test_cap(70));
        c.head_dim = test_random_size(&random, test_cap(33)), c.value_dim = test_random_size(&random, test_cap(33));
        c.cross = test_random_once_in(&random, 2);
        c.kv = c.cross && !test_random_once_in(&random, 4);
        c.kv_embed_dim = c.kv && test_random_once_in(&random, 2) ? test_random_size(&random, test_cap(70)) : 0;
        c.layout = test_random_once_in(&random, 2) ? QKV_WEIGHT_OUT_IN : QKV_WEIGHT_IN_OUT;
        c.biases = test_random_once_in(&random, 2);
        c.wo = !test_random_once_in(&random, 3);
        c.mask = test_random_once_in(&random, 2);
        c.causal = (qkv_causal)test_random_below(&random, 3);
        c.scale = test_random_once_in(&random, 3) ? 0.5f : 0;
        check_case(&c, solver, (unsigned)test_random_below(&random, 64), n);
    }
}
END_TEST

/* A decoder's second attention: queries from x, keys and values from an encoder of another width and length. */
START_TEST(cross_attention) {
    const char *solver = test_solver((size_t)_i);
    struct layer_case c = {.batch = 2,
                           .seq_q = 5,
                           .seq_kv = 11,
                           .embed_dim = 24,
                           .kv_embed_dim = 40,
                           .num_heads = 4,
                           .num_kv_heads = 2,
                           .head_dim = 6,
                           .value_dim = 10,
                           .out_dim = 24,
                           .layout = QKV_WEIGHT_OUT_IN,
                           .biases = true,
                           .wo = true,
                           .cross = true,
                           .kv = true,
                           .mask = true};
    check_case(&c, solver, WANT_ALL, 0);
    check_case(&c, solver, 0, 1);
}
END_TEST

START_TEST(without_output_projection) {
    const char *solver = test_solver((size_t)_i);
    struct layer_case c = {.batch = 2,
                           .seq_q = 7,
                           .embed_dim = 12,
                           .num_heads = 3,
                           .num_kv_heads = 3,
                           .head_dim = 4,
                           .value_dim = 5,
                           .out_dim = 15,
                           .layout = QKV_WEIGHT_IN_OUT};
    check_case(&c, solver, 0, 0);
    check_case(&c, solver, WANT_HEADS, 1);
    check_case(&c, solver, WANT_ALL | WANT_VIEWS, 2);
}
END_TEST

/* One projection shared by Q and K: scores[i][j] and scores[j][i] are the same sum, each within its bound. */
START_TEST(shared_projection_gives_symmetric_scores) {
    const char *solver = test_solver((size_t)_i);
    struct layer_case c = {.batch = 1,
                           .seq_q = 13,
                           .embed_dim = 20,
                           .num_heads = 2,
                           .num_kv_heads = 2,
                           .head_dim = 10,
                           .value_dim = 10,
                           .out_dim = 20,
                           .layout = QKV_WEIGHT_OUT_IN,
                           .biases = true,
                           .wo = true,
                           .shared_qk = true};
    struct test_random random = test_random_start(test_seed(), 0);
    struct layer_data data;
    struct layer_reference r;
    struct test_array results[NUM_RESULTS];
    layer_note(&c, solver, 0);
    layer_data_make(&data, &c, &random);
    qkv_layer *layer = layer_make(&c, &data, solver, WANT_SCORES);
    if (layer) {
        results_make(results, &c, WANT_SCORES, &random);
        run(layer, &c, &data, WANT_SCORES, results, &random);
        float *scores = TEST_READ(&results[SCORES]);
        layer_reference_make(&r, &c, &data);
        for (size_t at = 0; at < 2 * 13 * 13; at++) {
            size_t mirror = at / 169 * 169 + at % 13 * 13 + at / 13 % 13;
            double difference = fabs((double)scores[at] - (double)scores[mirror]);
            TEST_TRUE(difference <= r.attention.dscores[at] + r.attention.dscores[mirror]);
        }
        layer_reference_free(&r);
        free(scores);
        for (size_t i = 0; i < NUM_RESULTS; i++)
            test_array_free(&results[i]);
    }
    qkv_layer_destroy(layer);
    layer_data_free(&data);
}
END_TEST

/* head_dim, value_dim, num_kv_heads and out_dim left at 0; shorter runs than the limits on one layer. */
START_TEST(defaults_and_shorter_runs) {
    struct layer_case c = {.batch = 3,
                           .seq_q = 17,
                           .embed_dim = 24,
                           .num_heads = 4,
                           .num_kv_heads = 4,
                           .head_dim = 6,
                           .value_dim = 6,
                           .out_dim = 24,
                           .layout = QKV_WEIGHT_OUT_IN,
                           .biases = true,
                           .wo = true};
    struct test_random random = test_random_start(test_seed(), 0);
    struct layer_data data;
    qkv_layer *layer = NULL;
    layer_note(&c, NULL, 0);
    layer_data_make(&data, &c, &random);
    qkv_layer_desc desc = layer_desc(&c, &data);
    desc.num_kv_heads = desc.head_dim = desc.value_dim = desc.out_dim = 0;
    desc.max_batch = 3, desc.max_seq_q = 17;
    TEST_OK(qkv_layer_create(&layer, test_context(), &desc));
    check_layer(layer, &c, &data, WANT_QKV, &random);
    for (c.batch = 1; c.batch <= 3; c.batch++)
        for (c.seq_q = 1; c.seq_q <= 17; c.seq_q += 8)
            check_layer(layer, &c, &data, WANT_HEADS, &random);
    for (size_t n = 0; n < 2; n++) {
        c.batch = n, c.seq_q = n ? 0 : 4;
        check_layer(layer, &c, &data, 0, &random);
    }
    qkv_layer_destroy(layer);
    layer_data_free(&data);
}
END_TEST

/* A layer whose dims are multiples of any device's vectors. */
static struct layer_case few_case(size_t batch, size_t seq) {
    return (struct layer_case){.batch = batch,
                               .seq_q = seq,
                               .embed_dim = 40,
                               .num_heads = 4,
                               .num_kv_heads = 2,
                               .head_dim = 32,
                               .value_dim = 16,
                               .out_dim = 24,
                               .layout = QKV_WEIGHT_OUT_IN,
                               .biases = true,
                               .wo = true};
}

/* Up to 64 tokens may be done in one launch: every tail of its vectors, several sequences, one token too many, and what
 * it leaves to the steps. */
START_TEST(few_tokens) {
    static const size_t sizes[][2] = {{1, 1},  {1, 2},  {3, 5},  {1, 15}, {1, 16}, {2, 17}, {4, 16},
                                      {1, 31}, {2, 32}, {1, 49}, {1, 63}, {1, 64}, {1, 65}, {5, 13}};
    const char *solver = test_solver((size_t)_i);
    for (size_t i = 0; i < (test_is_slow() ? 4 : TEST_COUNT(sizes)); i++) {
        struct layer_case c = few_case(sizes[i][0], sizes[i][1]);
        check_case(&c, solver, 0, 4 * i);
        check_case(&c, solver, WANT_QKV | WANT_HEADS | WANT_VIEWS, 4 * i + 1);
        check_case(&c, solver, WANT_LSE, 4 * i + 2);
        c.causal = QKV_CAUSAL_FIRST, c.scale = 0.3f;
        check_case(&c, solver, 0, 4 * i + 3);
    }
}
END_TEST

/* A plan for many rows does not wait for a kernel that it would hardly use; what it is run with is right all the same. */
START_TEST(one_launch_where_planned) {
    const struct layer_case c = few_case(1, 16);
    struct test_random random = test_random_start(test_seed(), 0);
    struct layer_data data;
    layer_note(&c, NULL, 0);
    layer_data_make(&data, &c, &random);
    for (size_t rows = 512; rows <= 513; rows++) {
        qkv_layer_desc desc = layer_desc(&c, &data);
        qkv_layer *layer = NULL;
        desc.max_batch = 1, desc.max_seq_q = rows;
        const qkv_status status = qkv_layer_create(&layer, test_context(), &desc);
        if (test_solver_refused(status, NULL)) continue;
        TEST_OK(status);
        const char *text = qkv_layer_describe(layer);
        const bool vectors = strstr(text, "linear=vector") && strstr(text, "attention=vector");
        const bool whole = strstr(text, "layer=vector");
        TEST_TRUE(!whole || (vectors && rows == 512));
        if (qkv_context_device(test_context())->kind == QKV_DEVICE_CPU && rows == 512) TEST_TRUE(whole == vectors);
        check_layer(layer, &c, &data, 0, &random);
        qkv_layer_destroy(layer);
    }
    layer_data_free(&data);
}
END_TEST

/* Whichever threads take part in a run, and whenever they come: the same bits. */
START_TEST(few_tokens_are_always_alike) {
    const struct layer_case c = few_case(3, 19);
    struct test_random random = test_random_start(test_seed(), 0);
    struct layer_data data;
    struct test_array results[NUM_RESULTS];
    layer_note(&c, NULL, 0);
    layer_data_make(&data, &c, &random);
    qkv_layer *layer = layer_make(&c, &data, NULL, 0);
    results_make(results, &c, 0, &random);
    float *first = NULL;
    for (size_t n = 0; n < (test_is_slow() ? 2 : 200); n++) {
        run(layer, &c, &data, 0, results, &random);
        float *got = TEST_READ(&results[OUT]);
        if (!first)
            first = got;
        else
            TEST_TRUE(!memcmp(got, first, qkv_tensor_count(&results[OUT].view) * sizeof *got));
        if (got != first) free(got);
    }
    free(first);
    check_results(results, &c, &data);
    for (size_t i = 0; i < NUM_RESULTS; i++)
        test_array_free(&results[i]);
    qkv_layer_destroy(layer);
    layer_data_free(&data);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer");
    TCase *tcase = tcase_create("layer");
    tcase_add_loop_test(tcase, base_transformer, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, random_layers, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, cross_attention, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, without_output_projection, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, shared_projection_gives_symmetric_scores, 0, TEST_NUM_SOLVERS);
    tcase_add_test(tcase, defaults_and_shorter_runs);
    tcase_add_loop_test(tcase, few_tokens, 0, TEST_NUM_SOLVERS);
    tcase_add_test(tcase, one_launch_where_planned);
    tcase_add_test(tcase, few_tokens_are_always_alike);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
