#include "vocab_json.h"

#include <stdlib.h>
#include <string.h>

#include "../support/files.h"
#include "../support/json.h"

static const size_t max_tokenizer_bytes = (size_t)1 << 26;
static const size_t max_config_bytes = (size_t)1 << 20;

/* What a section's "type" is, "" where the section or its type is missing. */
static const char *type_of(const json_t *section) {
    const char *type = json_string_value(json_object_get(section, "type"));
    return type == NULL ? "" : type;
}

static bool flag(const json_t *object, const char *key, bool otherwise) {
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* strip_accents left open (null) follows the lower-casing, as in BERT's own code. */
static void read_flags(attend_vocab *vocab, const json_t *object, const char *lower, const char *chinese) {
    vocab->clean_text = flag(object, "clean_text", true);
    vocab->handle_chinese_chars = flag(object, chinese, true);
    vocab->lowercase = flag(object, lower, true);
    vocab->strip_accents = flag(object, "strip_accents", vocab->lowercase);
}

static bool read_pipeline(attend_vocab *vocab, const json_t *root, const char *path, tool_error *error) {
    const json_t *normalizer = json_object_get(root, "normalizer");
    const json_t *splitter = json_object_get(root, "pre_tokenizer");
    if (normalizer == NULL || json_is_null(normalizer))
        vocab->clean_text = vocab->handle_chinese_chars = vocab->lowercase = vocab->strip_accents = false;
    else if (strcmp(type_of(normalizer), "BertNormalizer") == 0)
        read_flags(vocab, normalizer, "lowercase", "handle_chinese_chars");
    else
        return tool_fail(error, "%s: normalizer %s; only BertNormalizer is supported", path, type_of(normalizer));
    if (strcmp(type_of(splitter), "BertPreTokenizer") != 0)
        return tool_fail(error, "%s: pre_tokenizer %s; only BertPreTokenizer is supported", path, type_of(splitter));
    return true;
}

static bool read_model_options(attend_vocab *vocab, const json_t *model, const char *path, tool_error *error) {
    const json_t *prefix = json_object_get(model, "continuing_subword_prefix");
    const json_t *most = json_object_get(model, "max_input_chars_per_word");
    const char *type = type_of(model);
    if (type[0] != '\0' && strcmp(type, "WordPiece") != 0)
        return tool_fail(error, "%s: model %s; only WordPiece is supported", path, type);
    if (json_is_string(prefix)) {
        free(vocab->prefix);
        vocab->prefix = tool_copy(json_string_value(prefix), json_string_length(prefix), error);
        if (vocab->prefix == NULL) return false;
    }
    if (most != NULL) {
        json_int_t given = json_integer_value(most);
        if (!json_is_integer(most) || given < 1 || given > 100000)
            return tool_fail(error, "%s: max_input_chars_per_word is not a whole number from 1 to 100000", path);
        vocab->max_word_chars = (size_t)given;
    }
    return true;
}

/* The id in `value`, checked against vocab_size. */
static bool read_id(uint32_t *out, const json_t *value, const char *token, const char *path, size_t vocab_size,
                    tool_error *error) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return tool_fail(error, "%s: the id of token %s is not a number >= 0", path, token);
    json_int_t id = json_integer_value(value);
    if (id >= (json_int_t)vocab_size)
        return tool_fail(error, "%s: token %s has id %lld, but the config's vocab_size is %zu", path, token,
                         (long long)id, vocab_size);
    *out = (uint32_t)id;
    return true;
}

static bool set_token(attend_vocab *vocab, const char *token, uint32_t id, const char *path, tool_error *error) {
    if (vocab->tokens[id] != NULL && strcmp(vocab->tokens[id], token) == 0) return true;
    if (vocab->tokens[id] != NULL)
        return tool_fail(error, "%s: id %u is both %s and %s", path, id, vocab->tokens[id], token);
    return attend_vocab_set(vocab, id, token, strlen(token), error);
}

static bool largest_added(uint32_t *largest, const json_t *list, const char *path, size_t vocab_size,
                          tool_error *error) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *text = json_string_value(json_object_get(entry, "content"));
        uint32_t id;
        if (text == NULL || text[0] == '\0') return tool_fail(error, "%s: added token %zu has no content", path, i);
        if (!read_id(&id, json_object_get(entry, "id"), text, path, vocab_size, error)) return false;
        *largest = id > *largest ? id : *largest;
    }
    return true;
}

static bool read_tokens(attend_vocab *vocab, json_t *tokens, const json_t *added, const char *path, size_t vocab_size,
                        tool_error *error) {
    const char *token;
    json_t *value;
    uint32_t id, largest = 0;
    if (!largest_added(&largest, added, path, vocab_size, error)) return false;
    if (!json_is_object(tokens)) return tool_fail(error, "%s: model.vocab is not an object", path);
    json_object_foreach(tokens, token, value) {
        if (!read_id(&id, value, token, path, vocab_size, error)) return false;
        largest = id > largest ? id : largest;
    }
    /* Ids may have gaps, but not such that a small file asks for a large table. */
    if (largest / 64 > json_object_size(tokens) + 1024)
        return tool_fail(error, "%s: %zu tokens with ids up to %u", path, json_object_size(tokens), largest);
    if (!attend_vocab_reserve(vocab, (size_t)largest + 1, error)) return false;
    json_object_foreach(tokens, token, value) {
        if (!set_token(vocab, token, (uint32_t)json_integer_value(value), path, error)) return false;
    }
    return true;
}

static bool read_added(attend_vocab *vocab, const json_t *list, const char *path, tool_error *error) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *text = json_string_value(json_object_get(entry, "content"));
        uint32_t id = (uint32_t)json_integer_value(json_object_get(entry, "id"));
        if (vocab->tokens[id] != NULL && strcmp(vocab->tokens[id], text) != 0)
            return tool_fail(error, "%s: id %u is both %s and %s", path, id, vocab->tokens[id], text);
        if (vocab->tokens[id] == NULL && !attend_vocab_name(vocab, id, text, strlen(text), error)) return false;
        if (!attend_vocab_add(vocab, text, id, flag(entry, "normalized", false), error)) return false;
    }
    return true;
}

bool attend_vocab_read_json(attend_vocab *vocab, const char *path, size_t vocab_size, tool_error *error) {
    json_t *root = tool_json_read(path, max_tokenizer_bytes, 0, error);
    if (root == NULL) return false;
    json_t *model = json_object_get(root, "model");
    const json_t *added = json_object_get(root, "added_tokens");
    bool ok = read_pipeline(vocab, root, path, error) && read_model_options(vocab, model, path, error) &&
              read_tokens(vocab, json_object_get(model, "vocab"), added, path, vocab_size, error) &&
              read_added(vocab, added, path, error);
    json_decref(root);
    return ok;
}

bool attend_vocab_read_flags(attend_vocab *vocab, const char *directory, tool_error *error) {
    char *path = tool_path(directory, "tokenizer_config.json", error);
    if (path == NULL) return false;
    bool ok = true;
    if (tool_file_exists(path)) {
        json_t *root = tool_json_read(path, max_config_bytes, JSON_DECODE_INT_AS_REAL, error);
        ok = root != NULL;
        if (ok) read_flags(vocab, root, "do_lower_case", "tokenize_chinese_chars");
        json_decref(root);
    }
    free(path);
    return ok;
}
