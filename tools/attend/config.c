#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "../support/files.h"
#include "../support/json.h"

static const size_t max_json_bytes = 1 << 20;

typedef struct size_row {
    const char *key;
    size_t offset;
    size_t most;
    size_t otherwise; /* 0: the key must be there */
} size_row;

#define AT(member) offsetof(attend_config, member)
static const size_row sizes[] = {
    {"hidden_size", AT(hidden_size), 65536, 0},
    {"num_hidden_layers", AT(num_layers), 1024, 0},
    {"num_attention_heads", AT(num_heads), 1024, 0},
    {"intermediate_size", AT(intermediate_size), 1 << 20, 0},
    {"vocab_size", AT(vocab_size), 1 << 24, 0},
    {"max_position_embeddings", AT(max_position_embeddings), 1 << 20, 0},
    {"type_vocab_size", AT(type_vocab_size), 1024, 2},
};
#undef AT

static bool read_size(attend_config *config, const json_t *root, const size_row *row, const char *path,
                      tool_error *error) {
    const json_t *value = json_object_get(root, row->key);
    size_t number = row->otherwise;
    if (value == NULL && number == 0) return tool_fail(error, "%s: %s is missing", path, row->key);
    if (value != NULL) {
        if (!json_is_integer(value)) return tool_fail(error, "%s: %s is not a whole number", path, row->key);
        json_int_t given = json_integer_value(value);
        if (given < 1 || given > (json_int_t)row->most)
            return tool_fail(error, "%s: %s is %lld, expected 1 to %zu", path, row->key, (long long)given, row->most);
        number = (size_t)given;
    }
    memcpy((char *)config + row->offset, &number, sizeof number);
    return true;
}

static bool read_activation(attend_config *config, const json_t *root, const char *path, tool_error *error) {
    static const struct {
        const char *name;
        attend_activation activation;
    } names[] = {
        {"gelu", ATTEND_GELU},
        {"gelu_new", ATTEND_GELU_TANH},
        {"gelu_pytorch_tanh", ATTEND_GELU_TANH},
        {"relu", ATTEND_RELU},
    };
    const json_t *value = json_object_get(root, "hidden_act");
    const char *given = value == NULL ? "gelu" : json_string_value(value);
    for (size_t i = 0; given != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, given) == 0) {
            config->activation = names[i].activation;
            return true;
        }
    }
    return tool_fail(error, "%s: hidden_act is %s; known are gelu, gelu_new and relu", path,
                     given == NULL ? "not a string" : given);
}

/* A string that must be `expected` where it is there at all. */
static bool expect_string(const json_t *root, const char *key, const char *expected, const char *path,
                          tool_error *error) {
    const json_t *value = json_object_get(root, key);
    if (value == NULL || json_is_null(value)) return true;
    const char *given = json_string_value(value);
    if (given != NULL && strcmp(given, expected) == 0) return true;
    return tool_fail(error, "%s: %s is %s; only %s is supported", path, key, given == NULL ? "not a string" : given,
                     expected);
}

static bool read_epsilon(attend_config *config, const json_t *root, const char *path, tool_error *error) {
    const json_t *value = json_object_get(root, "layer_norm_eps");
    config->layer_norm_eps = value == NULL ? 1e-12 : json_number_value(value);
    if ((value != NULL && !json_is_number(value)) || !(config->layer_norm_eps > 0.0) || config->layer_norm_eps > 0.1)
        return tool_fail(error, "%s: layer_norm_eps is not a number above 0 and up to 0.1", path);
    return true;
}

static bool read_root(attend_config *config, const json_t *root, const char *path, tool_error *error) {
    if (!expect_string(root, "model_type", "bert", path, error) ||
        !expect_string(root, "position_embedding_type", "absolute", path, error))
        return false;
    if (json_is_true(json_object_get(root, "is_decoder")))
        return tool_fail(error, "%s: is_decoder is true; only encoders are supported", path);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!read_size(config, root, &sizes[i], path, error)) return false;
    if (config->hidden_size % config->num_heads != 0)
        return tool_fail(error, "%s: num_attention_heads %zu does not divide hidden_size %zu", path, config->num_heads,
                         config->hidden_size);
    config->head_dim = config->hidden_size / config->num_heads;
    if (config->head_dim > 512)
        return tool_fail(error, "%s: hidden_size / num_attention_heads is %zu; attention goes up to 512", path,
                         config->head_dim);
    if (config->max_position_embeddings < 2)
        return tool_fail(error, "%s: max_position_embeddings 1 leaves no room for [CLS] and [SEP]", path);
    return read_activation(config, root, path, error) && read_epsilon(config, root, path, error);
}

/* Lowers max_tokens to `key` of directory/name. Tokenizers without a limit of their own write 1e30 there, as an
 * integer, so numbers are read as reals and anything that is not a usable one means no limit. */
static bool lower_limit(attend_config *config, const char *directory, const char *name, const char *key,
                        tool_error *error) {
    char *path = tool_path(directory, name, error);
    if (path == NULL) return false;
    bool ok = true;
    if (tool_file_exists(path)) {
        json_t *root = tool_json_read(path, max_json_bytes, JSON_DECODE_INT_AS_REAL, error);
        ok = root != NULL;
        double limit = ok ? json_number_value(json_object_get(root, key)) : 0.0;
        if (limit >= 2.0 && limit < (double)config->max_tokens) config->max_tokens = (size_t)limit;
        json_decref(root);
    }
    free(path);
    return ok;
}

bool attend_config_read(attend_config *out, const char *directory, tool_error *error) {
    memset(out, 0, sizeof *out);
    char *path = tool_path(directory, "config.json", error);
    if (path == NULL) return false;
    json_t *root = tool_json_read(path, max_json_bytes, 0, error);
    bool ok = root != NULL && read_root(out, root, path, error);
    json_decref(root);
    free(path);
    out->max_tokens = out->max_position_embeddings;
    return ok && lower_limit(out, directory, "tokenizer_config.json", "model_max_length", error) &&
           lower_limit(out, directory, "sentence_bert_config.json", "max_seq_length", error);
}
