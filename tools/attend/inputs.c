#include "inputs.h"

#include <stdlib.h>
#include <string.h>

#include "../support/files.h"

static const size_t max_text_bytes = (size_t)1 << 28;

static bool add(attend_inputs *out, size_t *capacity, const attend_model *model, const char *text, size_t length,
                tool_error *error) {
    if (!tool_grow(&out->items, capacity, out->count + 1, sizeof *out->items, error)) return false;
    attend_input *input = &out->items[out->count];
    if (!attend_input_read(input, model, text, length, error)) return false;
    out->count++;
    out->num_truncated += input->tokens.truncated;
    if (input->tokens.count > out->longest) out->longest = input->tokens.count;
    return true;
}

static bool add_lines(attend_inputs *out, const attend_model *model, const tool_bytes *bytes, tool_error *error) {
    size_t capacity = 0;
    const char *at = bytes->data, *end = at + bytes->size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline == NULL ? end : newline;
        size_t length = (size_t)(stop - at);
        if (length > 0 && at[length - 1] == '\r') length--;
        if (!add(out, &capacity, model, at, length, error)) return false;
        at = newline == NULL ? end : newline + 1;
    }
    return true;
}

bool attend_inputs_from_text(attend_inputs *out, const attend_model *model, const char *text, tool_error *error) {
    size_t capacity = 0;
    memset(out, 0, sizeof *out);
    if (add(out, &capacity, model, text, strlen(text), error)) return true;
    attend_inputs_free(out);
    return false;
}

bool attend_inputs_from_file(attend_inputs *out, const attend_model *model, const char *path, tool_error *error) {
    tool_bytes bytes;
    memset(out, 0, sizeof *out);
    if (!tool_read_file(&bytes, path, max_text_bytes, error)) return false;
    bool ok = add_lines(out, model, &bytes, error);
    tool_bytes_free(&bytes);
    if (ok && out->count == 0)
        ok = tool_fail(error, "%s: no text in it", strcmp(path, "-") == 0 ? "standard input" : path);
    if (!ok) attend_inputs_free(out);
    return ok;
}

void attend_inputs_free(attend_inputs *inputs) {
    for (size_t i = 0; i < inputs->count; i++)
        attend_input_free(&inputs->items[i]);
    free(inputs->items);
    memset(inputs, 0, sizeof *inputs);
}
