/* Wrong descriptions: each field of each create function, and the sizes of every struct. Runs: test_run_errors.c. */
#include <stdlib.h>
#include <string.h>

#include "support/error_case.h"

static float numbers[4096];
static unsigned char *untouched; /* what an out parameter holds before a call that fails */

/* A struct_size that is too small, an older caller's, a newer caller's with and without news. */
typedef qkv_status (*struct_call)(const void *structure);

static void check_struct_size(const char *what, const void *good, size_t size, const char *word, struct_call call) {
    unsigned char *bytes = test_alloc(size + 64, 1);
    struct {
        size_t size;
        qkv_status status;
    } cases[] = {
        {0, QKV_INVALID_ARGUMENT}, {sizeof(size_t) - 1, QKV_INVALID_ARGUMENT}, {size, QKV_OK}, {size + 64, QKV_OK}};
    for (size_t n = 0; n < TEST_COUNT(cases); n++) {
        test_note("%s with struct_size %zu", what, cases[n].size);
        memcpy(bytes, good, size);
        memcpy(bytes, &cases[n].size, sizeof(size_t));
        error_expect(call(bytes), cases[n].status, cases[n].status, cases[n].status == QKV_OK ? NULL : word, what);
    }
    size_t larger = size + 64;
    memcpy(bytes, &larger, sizeof(size_t));
    bytes[size + 63] = 1;
    test_note("%s with a tail that is not zero", what);
    error_expect(call(bytes), QKV_UNSUPPORTED, QKV_UNSUPPORTED, word, what);
    free(bytes);
}

/* ---- linear ---- */

static qkv_linear_output good_outputs[5];

static qkv_linear_desc good_linear(void) {
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    memset(good_outputs, 0, sizeof good_outputs);
    for (size_t i = 0; i < 5; i++)
        good_outputs[i].out_features = 6, good_outputs[i].weight = numbers;
    desc.in_features = 4, desc.num_outputs = 2, desc.outputs = good_outputs;
    return desc;
}

static qkv_status create_linear(const void *structure) {
    qkv_linear *linear = (qkv_linear *)(void *)untouched;
    qkv_status status = qkv_linear_create(&linear, test_context(), structure);
    if (status == QKV_OK)
        qkv_linear_destroy(linear);
    else
        TEST_TRUE(linear == (qkv_linear *)(void *)untouched);
    return status;
}

static void expect_linear(const qkv_linear_desc *desc, qkv_status a, qkv_status b, const char *word) {
    test_note("linear desc: %s", word ? word : "");
    error_expect(create_linear(desc), a, b, word, "qkv_linear_create");
}

START_TEST(linear_descriptions) {
    qkv_linear_desc desc = good_linear();
    qkv_linear *linear = NULL;
    test_note("linear desc");
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_linear_create(NULL, test_context(), &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_linear_create(&linear, NULL, &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "desc", qkv_linear_create(&linear, test_context(), NULL));
    check_struct_size("qkv_linear_desc", &desc, sizeof desc, "desc", create_linear);
    desc.struct_size = offsetof(qkv_linear_desc, max_rows); /* an older caller's struct */
    desc.max_rows = 1, desc.solver = "no such solver";
    TEST_OK(create_linear(&desc));
    desc = good_linear(), desc.in_features = 0;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "in_features");
    desc = good_linear(), desc.layout = (qkv_weight_layout)0;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "layout");
    desc = good_linear(), desc.layout = (qkv_weight_layout)3;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "layout");
    desc = good_linear(), desc.num_outputs = 0;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "num_outputs");
    desc = good_linear(), desc.num_outputs = 5;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "num_outputs");
    desc = good_linear(), desc.outputs = NULL;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "outputs");
    desc = good_linear(), good_outputs[1].out_features = 0;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "out_features");
    desc = good_linear(), good_outputs[1].reserved[4] = numbers;
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_UNSUPPORTED, NULL);
    desc = good_linear(), desc.solver = "no such solver";
    expect_linear(&desc, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "solver");
    desc = good_linear(), desc.in_features = SIZE_MAX / 2, good_outputs[0].weight = good_outputs[1].weight = NULL;
    expect_linear(&desc, QKV_OVERFLOW, QKV_OVERFLOW, NULL);
    desc = good_linear(), good_outputs[0].out_features = SIZE_MAX - 3, good_outputs[0].weight = NULL;
    expect_linear(&desc, QKV_OVERFLOW, QKV_OVERFLOW, NULL);
    desc = good_linear(), good_outputs[0].weight = NULL; /* 2^44 bytes: can be counted, cannot be had */
    desc.in_features = (size_t)1 << 21, good_outputs[0].out_features = (size_t)1 << 21, desc.num_outputs = 1;
    /* or the device's loops are not long enough for it */
    expect_linear(&desc, QKV_OUT_OF_DEVICE_MEMORY, QKV_UNSUPPORTED, NULL);
    qkv_linear_destroy(NULL);
}
END_TEST

/* ---- attention ---- */

static qkv_attention_desc good_attention(void) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = 8, desc.num_heads = 4, desc.num_kv_heads = 2;
    desc.max_batch = desc.max_seq_q = desc.max_seq_kv = 4;
    return desc;
}

static qkv_status create_attention(const void *structure) {
    qkv_attention *attention = (qkv_attention *)(void *)untouched;
    qkv_status status = qkv_attention_create(&attention, test_context(), structure);
    if (status == QKV_OK)
        qkv_attention_destroy(attention);
    else
        TEST_TRUE(attention == (qkv_attention *)(void *)untouched);
    return status;
}

START_TEST(attention_descriptions) {
    static const struct {
        const char *word;
        size_t field, value;
        qkv_status a, b;
    } cases[] = {
        {"head_dim", offsetof(qkv_attention_desc, head_dim), 0, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
        {"head_dim", offsetof(qkv_attention_desc, head_dim), 513, QKV_INVALID_ARGUMENT, QKV_UNSUPPORTED},
        {"head_dim", offsetof(qkv_attention_desc, head_dim), SIZE_MAX, QKV_INVALID_ARGUMENT, QKV_UNSUPPORTED},
        {"value_dim", offsetof(qkv_attention_desc, value_dim), 513, QKV_INVALID_ARGUMENT, QKV_UNSUPPORTED},
        {"num_heads", offsetof(qkv_attention_desc, num_heads), 0, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
        {"num_kv_heads", offsetof(qkv_attention_desc, num_kv_heads), 3, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
        {"num_kv_heads", offsetof(qkv_attention_desc, num_kv_heads), 8, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
        {"max_batch", offsetof(qkv_attention_desc, max_batch), 0, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
        {"max_seq_q", offsetof(qkv_attention_desc, max_seq_q), 0, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
        {"max_seq_kv", offsetof(qkv_attention_desc, max_seq_kv), 0, QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT},
        {NULL, offsetof(qkv_attention_desc, max_batch), SIZE_MAX / 4, QKV_OVERFLOW, QKV_OVERFLOW},
        {NULL, offsetof(qkv_attention_desc, max_seq_q), SIZE_MAX / 4, QKV_OVERFLOW, QKV_OVERFLOW},
        {NULL, offsetof(qkv_attention_desc, max_seq_kv), SIZE_MAX / 4, QKV_OVERFLOW, QKV_OVERFLOW},
        {NULL, offsetof(qkv_attention_desc, num_heads), SIZE_MAX / 2 - 1, QKV_OVERFLOW, QKV_OVERFLOW},
    };
    qkv_attention_desc desc = good_attention();
    qkv_attention *attention = NULL;
    test_note("attention desc");
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_attention_create(NULL, test_context(), &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_attention_create(&attention, NULL, &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "desc", qkv_attention_create(&attention, test_context(), NULL));
    check_struct_size("qkv_attention_desc", &desc, sizeof desc, "desc", create_attention);
    for (size_t n = 0; n < TEST_COUNT(cases); n++) {
        desc = good_attention();
        memcpy((unsigned char *)&desc + cases[n].field, &cases[n].value, sizeof(size_t));
        test_note("attention desc, field at %zu is %zu", cases[n].field, cases[n].value);
        error_expect(create_attention(&desc), cases[n].a, cases[n].b, cases[n].word, "qkv_attention_create");
    }
    desc = good_attention(), desc.features = (uint64_t)1 << 40;
    error_expect(create_attention(&desc), QKV_UNSUPPORTED, QKV_UNSUPPORTED, "features", "an unknown feature");
    desc = good_attention(), desc.solver = "no such solver";
    error_expect(create_attention(&desc), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "solver", "an unknown solver");
    qkv_attention_destroy(NULL);
}
END_TEST

/* ---- layer ---- */

static qkv_layer_desc good_layer(void) {
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    desc.embed_dim = 12, desc.num_heads = 4, desc.max_batch = desc.max_seq_q = 3;
    desc.wq.weight = desc.wk.weight = desc.wv.weight = desc.wo.weight = numbers;
    return desc;
}

static qkv_status create_layer(const void *structure) {
    qkv_layer *layer = (qkv_layer *)(void *)untouched;
    qkv_status status = qkv_layer_create(&layer, test_context(), structure);
    if (status == QKV_OK)
        qkv_layer_destroy(layer);
    else
        TEST_TRUE(layer == (qkv_layer *)(void *)untouched);
    return status;
}

static void expect_layer(const qkv_layer_desc *desc, const char *word) {
    test_note("layer desc: %s", word);
    error_expect(create_layer(desc), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, word, "qkv_layer_create");
}

START_TEST(layer_descriptions) {
    qkv_layer_desc desc = good_layer();
    qkv_layer *layer = NULL;
    test_note("layer desc");
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_layer_create(NULL, test_context(), &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_layer_create(&layer, NULL, &desc));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "desc", qkv_layer_create(&layer, test_context(), NULL));
    check_struct_size("qkv_layer_desc", &desc, sizeof desc, "desc", create_layer);
    desc = good_layer(), desc.embed_dim = 0;
    expect_layer(&desc, "embed_dim");
    desc = good_layer(), desc.num_heads = 0;
    expect_layer(&desc, "num_heads");
    desc = good_layer(), desc.num_kv_heads = 3;
    expect_layer(&desc, "num_kv_heads");
    desc = good_layer(), desc.embed_dim = 13; /* does not divide, and no head_dim says otherwise */
    expect_layer(&desc, "embed_dim");
    desc = good_layer(), desc.head_dim = 513;
    expect_layer(&desc, "head_dim");
    desc = good_layer(), desc.value_dim = 513;
    expect_layer(&desc, "value_dim");
    desc = good_layer(), desc.layout = (qkv_weight_layout)7;
    expect_layer(&desc, "layout");
    desc = good_layer(), desc.max_batch = 0;
    expect_layer(&desc, "max_batch");
    desc = good_layer(), desc.max_seq_q = 0;
    expect_layer(&desc, "max_seq_q");
    desc = good_layer(), desc.solver = "no such solver";
    expect_layer(&desc, "solver");
    desc = good_layer(), desc.wq.weight = NULL;
    expect_layer(&desc, "wq");
    desc = good_layer(), desc.wk.weight = NULL;
    expect_layer(&desc, "wk");
    desc = good_layer(), desc.wv.weight = NULL;
    expect_layer(&desc, "wv");
    qkv_layer_destroy(NULL);
}
END_TEST

/* ---- contexts and host functions ---- */

static qkv_status create_context(const void *structure) {
    qkv_context *context = (qkv_context *)(void *)untouched;
    qkv_status status = qkv_context_create(&context, qkv_context_device(test_context())->selector, structure);
    if (status == QKV_OK)
        qkv_context_destroy(context);
    else
        TEST_TRUE(context == (qkv_context *)(void *)untouched);
    return status;
}

static qkv_status host_attention(const void *structure) {
    static float out[64];
    return qkv_host_attention(out, test_context(), structure);
}

static qkv_status host_layer(const void *structure) {
    static float out[64];
    qkv_layer_desc desc = good_layer();
    return qkv_host_layer(out, test_context(), &desc, structure);
}

START_TEST(other_structs) {
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_host_attention_args attention = QKV_HOST_ATTENTION_ARGS_INIT;
    qkv_host_layer_args layer = QKV_HOST_LAYER_ARGS_INIT;
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_context_create(NULL, NULL, NULL));
    check_struct_size("qkv_context_options", &options, sizeof options, "options", create_context);
    attention.batch = attention.seq_q = attention.seq_kv = attention.num_heads = attention.head_dim = 2;
    attention.q = attention.k = attention.v = numbers;
    check_struct_size("qkv_host_attention_args", &attention, sizeof attention, "args", host_attention);
    layer.batch = layer.seq_q = 2, layer.x = numbers;
    check_struct_size("qkv_host_layer_args", &layer, sizeof layer, "args", host_layer);
}
END_TEST

START_TEST(environment) {
    static const struct {
        const char *value;
        bool good;
    } cases[] = {{"fma", true}, {"mad", true}, {"", true}, {"fmad", false}, {"FMA", false}, {"1", false}};
    for (size_t n = 0; n < TEST_COUNT(cases); n++) {
        qkv_context *context = NULL;
        test_note("QKV_FMA=%s", cases[n].value);
        TEST_TRUE(setenv("QKV_FMA", cases[n].value, 1) == 0);
        qkv_status status = qkv_context_create(&context, qkv_context_device(test_context())->selector, NULL);
        TEST_TRUE(unsetenv("QKV_FMA") == 0);
        if (cases[n].good)
            TEST_OK(status);
        else
            TEST_FAILS(QKV_INVALID_ARGUMENT, "QKV_FMA", status);
        qkv_context_destroy(context);
    }
}
END_TEST

int main(void) {
    static unsigned char nothing;
    untouched = &nothing;
    Suite *suite = suite_create("errors");
    TCase *tcase = tcase_create("descriptions");
    tcase_add_test(tcase, linear_descriptions);
    tcase_add_test(tcase, attention_descriptions);
    tcase_add_test(tcase, layer_descriptions);
    tcase_add_test(tcase, other_structs);
    tcase_add_test(tcase, environment);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
