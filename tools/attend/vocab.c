#include "vocab.h"

#include <stdlib.h>
#include <string.h>

#include "../support/files.h"
#include "../support/json.h"
#include "../support/text.h"
#include "normalize.h"
#include "vocab_json.h"

static const size_t max_vocab_bytes = (size_t)1 << 28;

/* FNV-1a; the tables live as long as one run of a program on one file, so nothing is gained by
 * a keyed hash but slower look-ups. */
static uint64_t hash_bytes(const char *bytes, size_t length) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

static uint32_t *find_slot(const attend_vocab *vocab, const char *token, size_t length) {
    size_t at = (size_t)hash_bytes(token, length) & (vocab->num_slots - 1);
    for (; vocab->slots[at] != 0; at = (at + 1) & (vocab->num_slots - 1)) {
        const char *there = vocab->tokens[vocab->slots[at] - 1];
        if (strlen(there) == length && memcmp(there, token, length) == 0) break;
    }
    return &vocab->slots[at];
}

int64_t attend_vocab_find(const attend_vocab *vocab, const char *token, size_t length) {
    return (int64_t)*find_slot(vocab, token, length) - 1;
}

const char *attend_vocab_token(const attend_vocab *vocab, uint32_t id) {
    return id < vocab->num_tokens && vocab->tokens[id] != NULL ? vocab->tokens[id] : "";
}

bool attend_vocab_reserve(attend_vocab *vocab, size_t num_tokens, tool_error *error) {
    vocab->num_slots = 64;
    while (vocab->num_slots < 2 * num_tokens)
        vocab->num_slots *= 2;
    vocab->tokens = tool_alloc(num_tokens, sizeof *vocab->tokens, error);
    vocab->slots = tool_alloc(vocab->num_slots, sizeof *vocab->slots, error);
    vocab->num_tokens = num_tokens;
    return vocab->tokens != NULL && vocab->slots != NULL;
}

bool attend_vocab_name(attend_vocab *vocab, uint32_t id, const char *token, size_t length, tool_error *error) {
    vocab->tokens[id] = tool_copy(token, length, error);
    return vocab->tokens[id] != NULL;
}

bool attend_vocab_set(attend_vocab *vocab, uint32_t id, const char *token, size_t length, tool_error *error) {
    if (!attend_vocab_name(vocab, id, token, length, error)) return false;
    /* A token given twice means its last id, as a dictionary filled line by line has it. */
    *find_slot(vocab, token, length) = id + 1;
    return true;
}

bool attend_vocab_add(attend_vocab *vocab, const char *text, uint32_t id, bool normalized, tool_error *error) {
    size_t capacity = vocab->num_added;
    if (!tool_grow(&vocab->added, &capacity, vocab->num_added + 1, sizeof *vocab->added, error)) return false;
    char *copy = tool_copy(text, strlen(text), error);
    if (copy == NULL) return false;
    vocab->added[vocab->num_added++] = (attend_added_token){copy, strlen(text), id, normalized};
    return true;
}

static size_t count_lines(const tool_bytes *bytes) {
    size_t lines = 0;
    for (size_t i = 0; i < bytes->size; i++)
        lines += bytes->data[i] == '\n';
    return lines + (bytes->size > 0 && bytes->data[bytes->size - 1] != '\n');
}

static bool read_lines(attend_vocab *vocab, const tool_bytes *bytes, const char *path, size_t vocab_size,
                       tool_error *error) {
    size_t lines = count_lines(bytes);
    if (lines > vocab_size)
        return tool_fail(error, "%s: %zu tokens, but the config's vocab_size is %zu", path, lines, vocab_size);
    if (!attend_vocab_reserve(vocab, lines, error)) return false;
    const char *at = bytes->data, *end = at + bytes->size;
    for (size_t line = 0; line < lines; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        size_t length = (size_t)(stop - at);
        if (length > 0 && at[length - 1] == '\r') length--;
        if (memchr(at, '\0', length) != NULL || !tool_text_valid(at, length))
            return tool_fail(error, "%s: line %zu is not UTF-8 text", path, line + 1);
        if (!attend_vocab_set(vocab, (uint32_t)line, at, length, error)) return false;
        at = stop == end ? end : stop + 1;
    }
    return true;
}

static bool read_vocab_txt(attend_vocab *vocab, const char *path, size_t vocab_size, tool_error *error) {
    static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    tool_bytes bytes;
    if (!tool_read_file(&bytes, path, max_vocab_bytes, error)) return false;
    bool ok = read_lines(vocab, &bytes, path, vocab_size, error);
    tool_bytes_free(&bytes);
    for (size_t i = 0; ok && i < sizeof special / sizeof special[0]; i++) {
        int64_t id = attend_vocab_find(vocab, special[i], strlen(special[i]));
        if (id >= 0) ok = attend_vocab_add(vocab, special[i], (uint32_t)id, false, error);
    }
    return ok;
}

static bool find_special(const attend_vocab *vocab, const char *token, const char *path, uint32_t *out,
                         tool_error *error) {
    int64_t id = attend_vocab_find(vocab, token, strlen(token));
    for (size_t i = 0; id < 0 && i < vocab->num_added; i++)
        if (strcmp(vocab->added[i].text, token) == 0) id = vocab->added[i].id;
    if (id < 0) return tool_fail(error, "%s: the vocabulary has no %s", path, token);
    *out = (uint32_t)id;
    return true;
}

static bool normalize_added(attend_vocab *vocab, tool_error *error) {
    attend_text normal = {NULL, 0, 0};
    bool ok = true;
    for (size_t i = 0; ok && i < vocab->num_added; i++) {
        attend_added_token *added = &vocab->added[i];
        if (!added->normalized) continue;
        ok = attend_normalize(&normal, vocab, added->text, added->length, error);
        char *text = ok ? tool_copy(normal.length > 0 ? normal.bytes : "", normal.length, error) : NULL;
        ok = text != NULL;
        if (ok) {
            free(added->text);
            added->text = text;
            added->length = normal.length;
        }
    }
    attend_text_free(&normal);
    return ok;
}

static bool read_either(attend_vocab *vocab, const char *directory, char *json_path, char *text_path, size_t vocab_size,
                        tool_error *error) {
    bool has_json = tool_file_exists(json_path);
    if (!has_json && !tool_file_exists(text_path))
        return tool_fail(error, "%s: neither tokenizer.json nor vocab.txt is there", directory);
    const char *path = has_json ? json_path : text_path;
    vocab->clean_text = vocab->handle_chinese_chars = vocab->strip_accents = vocab->lowercase = true;
    vocab->max_word_chars = 100;
    vocab->prefix = tool_copy("##", 2, error);
    if (vocab->prefix == NULL) return false;
    bool ok = has_json
                  ? attend_vocab_read_json(vocab, path, vocab_size, error)
                  : attend_vocab_read_flags(vocab, directory, error) && read_vocab_txt(vocab, path, vocab_size, error);
    return ok && find_special(vocab, "[UNK]", path, &vocab->unk, error) &&
           find_special(vocab, "[CLS]", path, &vocab->cls, error) &&
           find_special(vocab, "[SEP]", path, &vocab->sep, error) && normalize_added(vocab, error);
}

bool attend_vocab_read(attend_vocab *out, const char *directory, size_t vocab_size, tool_error *error) {
    memset(out, 0, sizeof *out);
    char *json_path = tool_path(directory, "tokenizer.json", error);
    char *text_path = tool_path(directory, "vocab.txt", error);
    bool ok =
        json_path != NULL && text_path != NULL && read_either(out, directory, json_path, text_path, vocab_size, error);
    free(json_path);
    free(text_path);
    if (!ok) attend_vocab_free(out);
    return ok;
}

void attend_vocab_free(attend_vocab *vocab) {
    for (size_t i = 0; vocab->tokens != NULL && i < vocab->num_tokens; i++)
        free(vocab->tokens[i]);
    for (size_t i = 0; i < vocab->num_added; i++)
        free(vocab->added[i].text);
    free(vocab->tokens);
    free(vocab->slots);
    free(vocab->added);
    free(vocab->prefix);
    memset(vocab, 0, sizeof *vocab);
}
