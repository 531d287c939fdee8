/* Models on disk that are incomplete or lie: one clear line, no crash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attend/model.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

static tool_error error;

/* config.json with one member replaced or added. */
struct config_case {
    const char *key, *value; /* value NULL: the key is left out */
    const char *message;     /* NULL: the model is good */
};

static const struct config_case configs[] = {
    {"hidden_size", "8", NULL},
    {"hidden_act", "\"gelu_new\"", NULL},
    {"hidden_act", "\"relu\"", NULL},
    {"hidden_act", "\"swish\"", "hidden_act is swish"},
    {"hidden_act", "7", "hidden_act is not a string"},
    {"hidden_size", NULL, "hidden_size is missing"},
    {"hidden_size", "0", "hidden_size is 0"},
    {"hidden_size", "-8", "hidden_size is -8"},
    {"hidden_size", "9223372036854775807", "hidden_size is 9223372036854775807"},
    {"hidden_size", "99999999999999999999", "not valid JSON"},
    {"hidden_size", "8.0", "hidden_size is not a whole number"},
    {"hidden_size", "\"8\"", "hidden_size is not a whole number"},
    {"hidden_size", "16", "does not have the shape (12, 16)"},
    {"hidden_size", "9", "does not divide"},
    {"num_attention_heads", "3", "does not divide"},
    {"num_attention_heads", "0", "num_attention_heads is 0"},
    {"num_attention_heads", "4000000000", "num_attention_heads is 4000000000"},
    {"num_hidden_layers", "3", "encoder.layer.2.attention.self.query.weight is missing"},
    {"num_hidden_layers", "1024", "encoder.layer.2.attention.self.query.weight is missing"},
    {"num_hidden_layers", "100000", "num_hidden_layers is 100000"},
    {"num_hidden_layers", "null", "num_hidden_layers is not a whole number"},
    {"intermediate_size", "13", "does not have the shape"},
    {"intermediate_size", "1000000000", "intermediate_size is 1000000000"},
    {"vocab_size", "11", "vocab_size is 11"},
    {"vocab_size", "13", "does not have the shape (13, 8)"},
    {"max_position_embeddings", "17", "does not have the shape (17, 8)"},
    {"max_position_embeddings", "1", "no room"},
    {"type_vocab_size", "0", "type_vocab_size is 0"},
    {"type_vocab_size", "3", "does not have the shape (3, 8)"},
    {"type_vocab_size", NULL, NULL},
    {"layer_norm_eps", "0", "layer_norm_eps"},
    {"layer_norm_eps", "-1e-12", "layer_norm_eps"},
    {"layer_norm_eps", "\"small\"", "layer_norm_eps"},
    {"layer_norm_eps", "1e400", "not valid JSON"},
    {"model_type", "\"gpt2\"", "model_type is gpt2"},
    {"model_type", NULL, NULL},
    {"position_embedding_type", "\"relative_key\"", "position_embedding_type is relative_key"},
    {"position_embedding_type", "\"absolute\"", NULL},
    {"is_decoder", "true", "is_decoder"},
    {"vocab_size", "12,\"vocab_size\":12", "duplicate"},
};

static void make_config(char *out, size_t out_size, const char *key, const char *value) {
    static const char *const right[][2] = {
        {"model_type", "\"bert\""},   {"hidden_size", "8"},        {"num_hidden_layers", "2"},
        {"num_attention_heads", "2"}, {"intermediate_size", "12"}, {"max_position_embeddings", "16"},
        {"vocab_size", "12"},         {"type_vocab_size", "2"},    {"hidden_act", "\"gelu\""},
        {"layer_norm_eps", "1e-12"},
    };
    size_t end = (size_t)snprintf(out, out_size, "{\"seen\":0");
    bool used = false;
    for (size_t i = 0; i < TEST_COUNT(right); i++) {
        bool same = key != NULL && strcmp(right[i][0], key) == 0;
        const char *text = same ? value : right[i][1];
        used |= same;
        if (text != NULL) end += (size_t)snprintf(out + end, out_size - end, ",\"%s\":%s", right[i][0], text);
    }
    if (!used && key != NULL) end += (size_t)snprintf(out + end, out_size - end, ",\"%s\":%s", key, value);
    snprintf(out + end, out_size - end, "}");
}

static void expect(char *directory, const char *message) {
    attend_model model;
    bool ok = attend_model_open(&model, directory, &error);
    if (ok) attend_model_close(&model);
    if (ok != (message == NULL)) test_fail(__FILE__, __LINE__, "%s", ok ? "opened" : error.text);
    if (!ok && (strstr(error.text, message) == NULL || strstr(error.text, directory) == NULL))
        test_fail(__FILE__, __LINE__, "unexpected message: %s", error.text);
    test_folder_remove(directory);
}

START_TEST(config_files) {
    char config[2048];
    test_note("%s: %s", configs[_i].key, configs[_i].value == NULL ? "left out" : configs[_i].value);
    make_config(config, sizeof config, configs[_i].key, configs[_i].value);
    const struct tiny_model tiny = {.dtype = "F32", .config = config};
    expect(tiny_model_write(&tiny), configs[_i].message);
}
END_TEST

/* Each tensor left out, and each with its numbers in another shape. */
START_TEST(tensors) {
    static const char *const names[] = {
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.token_type_embeddings.weight",
        "embeddings.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
        "encoder.layer.0.attention.self.query.weight",
        "encoder.layer.0.attention.self.key.bias",
        "encoder.layer.1.attention.self.value.weight",
        "encoder.layer.1.attention.output.dense.weight",
        "encoder.layer.1.attention.output.LayerNorm.weight",
        "encoder.layer.0.intermediate.dense.weight",
        "encoder.layer.0.output.dense.bias",
        "encoder.layer.1.output.LayerNorm.bias",
    };
    char message[256];
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        test_note("%s", names[i]);
        const struct tiny_model without = {.dtype = "F32", .omit = names[i]};
        snprintf(message, sizeof message, "tensor %s is missing", names[i]);
        expect(tiny_model_write(&without), message);
        const struct tiny_model other = {.dtype = "F32", .misshape = names[i]};
        snprintf(message, sizeof message, "tensor %s does not have the shape", names[i]);
        expect(tiny_model_write(&other), message);
    }
}
END_TEST

/* Cut anywhere, a file is refused: what is gone is missing from the header or from the data. */
START_TEST(cut_files) {
    for (long cut = 1; cut < 8000; cut += cut < 20 ? 1 : 997) {
        struct tiny_model tiny = {.dtype = "F32", .cut = cut};
        char *directory = tiny_model_write(&tiny);
        test_note("%ld bytes cut off", cut);
        expect(directory, "model.safetensors");
    }
}
END_TEST

START_TEST(missing_files) {
    static const char *const files[] = {"config.json", "model.safetensors", "vocab.txt"};
    for (size_t i = 0; i < TEST_COUNT(files); i++) {
        const struct tiny_model tiny = {.dtype = "F32"};
        char *directory = tiny_model_write(&tiny), path[4200];
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        TEST_TRUE(remove(path) == 0);
        test_note("%s", files[i]);
        expect(directory, files[i]);
    }
}
END_TEST

/* The smallest of the limits that the files name; what is no usable number is none. */
START_TEST(length_limits) {
    static const struct {
        const char *tokenizer, *sentence;
        size_t most;
    } limits[] = {
        {NULL, NULL, 16},
        {"{\"model_max_length\":512}", NULL, 16},
        {"{\"model_max_length\":9}", NULL, 9},
        {"{\"model_max_length\":9}", "{\"max_seq_length\":7}", 7},
        {"{\"model_max_length\":1000000000000000019884624838656}", NULL, 16},
        {"{\"model_max_length\":1e30}", "{\"max_seq_length\":null}", 16},
        {"{\"model_max_length\":-1}", "{\"max_seq_length\":\"7\"}", 16},
    };
    for (size_t i = 0; i < TEST_COUNT(limits); i++) {
        const struct tiny_model tiny = {.dtype = "F32"};
        char *directory = tiny_model_write(&tiny);
        attend_model model;
        test_note("%zu", i);
        if (limits[i].tokenizer != NULL)
            test_folder_write(directory, "tokenizer_config.json", limits[i].tokenizer, strlen(limits[i].tokenizer));
        if (limits[i].sentence != NULL)
            test_folder_write(directory, "sentence_bert_config.json", limits[i].sentence, strlen(limits[i].sentence));
        bool ok = attend_model_open(&model, directory, &error);
        test_folder_remove(directory);
        if (!ok) test_fail(__FILE__, __LINE__, "%s", error.text);
        TEST_TRUE(model.config.max_tokens == limits[i].most);
        attend_model_close(&model);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("model_files");
    TCase *tests = tcase_create("model_files");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, config_files, 0, (int)TEST_COUNT(configs));
    tcase_add_test(tests, tensors);
    tcase_add_test(tests, cut_files);
    tcase_add_test(tests, missing_files);
    tcase_add_test(tests, length_limits);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
