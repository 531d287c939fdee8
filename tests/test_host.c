/* The one-call functions on plain float arrays. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/attention_case.h"
#include "support/compare.h"
#include "support/layer_case.h"

START_TEST(worked_example) {
    static const float x[] = {2, 3}, w[] = {1, 10, 0, -1}, bias[] = {0.5f, -1};
    float y[] = {-1, -1};
    TEST_OK(qkv_host_linear(y, test_context(), x, 1, 2, w, 2, QKV_WEIGHT_IN_OUT, NULL)); /* y = x W */
    TEST_TRUE(y[0] == 2 && y[1] == 17);
    TEST_OK(qkv_host_linear(y, test_context(), x, 1, 2, w, 2, QKV_WEIGHT_OUT_IN, NULL)); /* y = x W^T */
    TEST_TRUE(y[0] == 32 && y[1] == -3);
    TEST_OK(qkv_host_linear(y, test_context(), x, 1, 2, w, 2, QKV_WEIGHT_IN_OUT, bias));
    TEST_TRUE(y[0] == 2.5f && y[1] == 16);
}
END_TEST

START_TEST(linear) {
    for (size_t n = 0; n < test_cases(8); n++) {
        struct test_random random = test_random_start(test_seed(), n);
        size_t rows = test_random_size(&random, test_cap(65)), in = test_random_size(&random, test_cap(65));
        size_t out = test_random_size(&random, test_cap(65));
        qkv_weight_layout layout = n % 2 ? QKV_WEIGHT_IN_OUT : QKV_WEIGHT_OUT_IN;
        test_note("seed %llu, case %zu: rows %zu, in %zu, out %zu, layout %d", (unsigned long long)test_seed(), n, rows,
                  in, out, (int)layout);
        float *x = test_random_floats(&random, rows * in, 1), *w = test_random_floats(&random, in * out, 1);
        float *bias = test_random_floats(&random, out, 1), *y = test_alloc(rows * out, sizeof(float));
        double *xd = ref_doubles(x, rows * in), *yd = test_alloc(rows * out, sizeof(double));
        double *dy = test_alloc(rows * out, sizeof(double));
        const float *used = n % 3 ? bias : NULL;
        TEST_OK(qkv_host_linear(y, test_context(), x, rows, in, w, out, layout, used));
        ref_linear(yd, dy, xd, NULL, rows, in, w, layout, used, out);
        TEST_CLOSE("y", y, yd, dy, rows * out);
        free(x), free(w), free(bias), free(y), free(xd), free(yd), free(dy);
    }
    float none[2] = {0};
    TEST_OK(qkv_host_linear(none, test_context(), none, 0, 2, none, 1, QKV_WEIGHT_OUT_IN, NULL));
}
END_TEST

static void check_attention(const struct attention_case *c, size_t number) {
    struct test_random random = test_random_start(test_seed(), number);
    struct attention_data data;
    size_t rows = c->batch * c->num_heads * c->seq_q, kv_rows = c->batch * c->num_kv_heads * c->seq_kv;
    attention_note(c, NULL, number);
    attention_data_make(&data, c, &random);
    qkv_host_attention_args args = QKV_HOST_ATTENTION_ARGS_INIT;
    args.batch = c->batch, args.seq_q = c->seq_q, args.seq_kv = c->seq_kv;
    args.num_heads = c->num_heads, args.num_kv_heads = c->num_kv_heads == c->num_heads ? 0 : c->num_kv_heads;
    args.head_dim = c->head_dim, args.value_dim = c->value_dim == c->head_dim ? 0 : c->value_dim;
    args.q = data.q, args.k = data.k, args.v = data.v;
    args.mask_bool = data.mask_bool, args.mask_add = data.mask_add;
    memcpy(args.mask_shape, data.mask_shape, sizeof args.mask_shape);
    args.scale = c->scale, args.causal = c->causal;
    args.weights = c->weights ? test_alloc(rows * c->seq_kv, sizeof(float)) : NULL;
    args.logsumexp = c->logsumexp ? test_alloc(rows, sizeof(float)) : NULL;
    float *out = test_alloc(rows * c->value_dim, sizeof(float));
    TEST_OK(qkv_host_attention(out, test_context(), &args));
    struct ref_attention r = {.batch = c->batch,
                              .num_heads = c->num_heads,
                              .num_kv_heads = c->num_kv_heads,
                              .seq_q = c->seq_q,
                              .seq_kv = c->seq_kv,
                              .head_dim = c->head_dim,
                              .value_dim = c->value_dim,
                              .mask_bool = data.mask_bool,
                              .mask_add = data.mask_add,
                              .scale = c->scale,
                              .causal = c->causal};
    double *q = ref_doubles(data.q, rows * c->head_dim), *k = ref_doubles(data.k, kv_rows * c->head_dim);
    double *v = ref_doubles(data.v, kv_rows * c->value_dim);
    memcpy(r.mask_shape, data.mask_shape, sizeof r.mask_shape);
    r.q = q, r.k = k, r.v = v;
    ref_attention_run(&r);
    TEST_CLOSE("out", out, r.out, r.dout, rows * c->value_dim);
    if (args.weights) TEST_CLOSE("weights", args.weights, r.weights, r.dweights, rows * c->seq_kv);
    if (args.logsumexp) TEST_CLOSE("logsumexp", args.logsumexp, r.logsumexp, r.dlogsumexp, rows);
    ref_attention_free(&r);
    free(q), free(k), free(v), free(out), free(args.weights), free(args.logsumexp);
    attention_data_free(&data);
}

START_TEST(attention) {
    struct attention_case c = {
        .batch = 2, .num_heads = 4, .num_kv_heads = 4, .seq_q = 9, .seq_kv = 13, .head_dim = 16, .value_dim = 16};
    check_attention(&c, 0);
    c.num_kv_heads = 2, c.value_dim = 7, c.causal = QKV_CAUSAL_LAST, c.weights = c.logsumexp = true;
    check_attention(&c, 1);
    for (unsigned axes = 0; axes < 16; axes += test_is_slow() ? 5 : 1) {
        c.mask = axes % 2 ? TEST_MASK_BOOL : TEST_MASK_ADD, c.mask_axes = axes;
        c.scale = axes % 3 ? 0 : 0.3f;
        check_attention(&c, 2 + axes);
    }
    c.mask = TEST_MASK_NONE;
    c.seq_kv = 0;
    check_attention(&c, 20);
    c.seq_kv = 3, c.batch = 0;
    check_attention(&c, 21);
}
END_TEST

static void check_layer(const struct layer_case *c, size_t number) {
    struct test_random random = test_random_start(test_seed(), number);
    struct layer_data data;
    struct layer_reference r;
    size_t n = layer_seq_kv(c), q_rows = c->batch * c->num_heads * c->seq_q, k_rows = c->batch * c->num_kv_heads * n;
    layer_note(c, NULL, number);
    layer_data_make(&data, c, &random);
    qkv_layer_desc desc = layer_desc(c, &data);
    qkv_host_layer_args args = QKV_HOST_LAYER_ARGS_INIT;
    float *out = test_alloc(c->batch * c->seq_q * layer_out_dim(c), sizeof(float));
    args.batch = c->batch, args.seq_q = c->seq_q, args.x = data.x;
    args.seq_kv = c->kv ? c->seq_kv : 0, args.kv = data.kv;
    args.scale = c->scale, args.causal = c->causal;
    if (number % 2) {
        args.q = test_alloc(q_rows * c->head_dim, sizeof(float)),
        args.k = test_alloc(k_rows * c->head_dim, sizeof(float));
        args.v = test_alloc(k_rows * c->value_dim, sizeof(float));
        args.heads = test_alloc(q_rows * c->value_dim, sizeof(float)),
        args.weights = test_alloc(q_rows * n, sizeof(float));
    }
    TEST_OK(qkv_host_layer(out, test_context(), &desc, &args));
    layer_reference_make(&r, c, &data);
    if (number % 2) {
        TEST_CLOSE("q", args.q, r.q, r.dq, q_rows * c->head_dim);
        TEST_CLOSE("k", args.k, r.k, r.dk, k_rows * c->head_dim);
        TEST_CLOSE("v", args.v, r.v, r.dv, k_rows * c->value_dim);
        TEST_CLOSE("weights", args.weights, r.attention.weights, r.attention.dweights, q_rows * n);
        TEST_CLOSE("heads", args.heads, r.attention.out, r.attention.dout, q_rows * c->value_dim);
    }
    TEST_CLOSE("out", out, r.out, r.dout, c->batch * c->seq_q * layer_out_dim(c));
    free(args.q), free(args.k), free(args.v), free(args.heads), free(args.weights), free(out);
    layer_reference_free(&r);
    layer_data_free(&data);
}

START_TEST(layer) {
    struct layer_case c = {.batch = 2,
                           .seq_q = 7,
                           .seq_kv = 12,
                           .embed_dim = 24,
                           .num_heads = 4,
                           .num_kv_heads = 2,
                           .head_dim = 6,
                           .value_dim = 5,
                           .out_dim = 10,
                           .layout = QKV_WEIGHT_OUT_IN,
                           .biases = true,
                           .wo = true};
    for (size_t n = 0; n < 8; n++) {
        c.cross = c.kv = n / 2 % 2, c.kv_embed_dim = c.kv ? 17 : 0;
        c.wo = n < 4, c.causal = n % 3 ? QKV_CAUSAL_OFF : QKV_CAUSAL_FIRST;
        c.layout = n % 4 == 1 ? QKV_WEIGHT_IN_OUT : QKV_WEIGHT_OUT_IN;
        check_layer(&c, n);
    }
}
END_TEST

START_TEST(errors) {
    static const float x[] = {2, 3}, w[] = {1, 10, 0, -1};
    float y[4], dummy[64] = {0};
    unsigned char bytes[4] = {1, 1, 1, 1};
    TEST_FAILS(QKV_INVALID_ARGUMENT, "y",
               qkv_host_linear(NULL, test_context(), x, 1, 2, w, 2, QKV_WEIGHT_IN_OUT, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_host_linear(y, NULL, x, 1, 2, w, 2, QKV_WEIGHT_IN_OUT, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "x",
               qkv_host_linear(y, test_context(), NULL, 1, 2, w, 2, QKV_WEIGHT_IN_OUT, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "weight",
               qkv_host_linear(y, test_context(), x, 1, 2, NULL, 2, QKV_WEIGHT_IN_OUT, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "layout",
               qkv_host_linear(y, test_context(), x, 1, 2, w, 2, (qkv_weight_layout)3, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "in_features",
               qkv_host_linear(y, test_context(), x, 1, 0, w, 2, QKV_WEIGHT_IN_OUT, NULL));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out_features",
               qkv_host_linear(y, test_context(), x, 1, 2, w, 0, QKV_WEIGHT_IN_OUT, NULL));
    qkv_host_attention_args good = QKV_HOST_ATTENTION_ARGS_INIT, args;
    good.batch = 1, good.seq_q = 2, good.seq_kv = 2, good.num_heads = 2, good.head_dim = 2;
    good.q = good.k = good.v = dummy;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_host_attention(NULL, test_context(), &good));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_host_attention(dummy, NULL, &good));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "args", qkv_host_attention(dummy, test_context(), NULL));
    args = good, args.struct_size = 0;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "args", qkv_host_attention(dummy, test_context(), &args));
    args = good, args.q = NULL;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "q", qkv_host_attention(dummy, test_context(), &args));
    args = good, args.v = NULL;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "v", qkv_host_attention(dummy, test_context(), &args));
    args = good, args.head_dim = 513;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "head_dim", qkv_host_attention(dummy, test_context(), &args));
    args = good, args.num_kv_heads = 3;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "num_kv_heads", qkv_host_attention(dummy, test_context(), &args));
    args = good, args.mask_add = dummy, args.mask_bool = bytes;
    TEST_TRUE(qkv_host_attention(dummy, test_context(), &args) == QKV_INVALID_ARGUMENT);
    args = good, args.mask_bool = bytes, args.mask_shape[0] = args.mask_shape[1] = args.mask_shape[2] = 1;
    args.mask_shape[3] = 3;
    TEST_TRUE(qkv_host_attention(dummy, test_context(), &args) != QKV_OK);
    TEST_TRUE(strstr(qkv_error_message(), "mask") != NULL);
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    qkv_host_layer_args layer_args = QKV_HOST_LAYER_ARGS_INIT;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "desc", qkv_host_layer(dummy, test_context(), NULL, &layer_args));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "args", qkv_host_layer(dummy, test_context(), &desc, NULL));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("host");
    TCase *tcase = tcase_create("host");
    tcase_add_test(tcase, worked_example);
    tcase_add_test(tcase, linear);
    tcase_add_test(tcase, attention);
    tcase_add_test(tcase, layer);
    tcase_add_test(tcase, errors);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
