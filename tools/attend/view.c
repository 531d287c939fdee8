#include <stdlib.h>

#include "../support/files.h"
#include "npy.h"
#include "show.h"

const float *attend_view_weights(const attend_view *view) {
    const attend_result *result = view->result;
    if (view->head < 0) return result->mean;
    return result->weights + (size_t)view->head * result->num_tokens * result->num_tokens;
}

void attend_view_describe_head(const attend_view *view, char *out, size_t out_size) {
    if (view->head >= 0)
        snprintf(out, out_size, "head %d", view->head);
    else
        snprintf(out, out_size, "mean over %zu head%s", view->result->num_heads,
                 view->result->num_heads == 1 ? "" : "s");
}

const char *attend_view_token(const attend_view *view, size_t position) {
    return attend_vocab_token(&view->model->vocab, view->input->tokens.ids[position]);
}

bool attend_view_is_special(const attend_view *view, size_t position) {
    uint32_t id = view->input->tokens.ids[position];
    return id == view->model->vocab.cls || id == view->model->vocab.sep;
}

bool attend_export(const attend_view *view, const char *directory, tool_error *error) {
    const attend_result *result = view->result;
    const size_t n = result->num_tokens;
    const size_t rows[] = {n, result->hidden_size}, parts[] = {result->num_heads, n, result->head_dim},
                 pairs[] = {result->num_heads, n, n}, vector[] = {result->hidden_size};
    const struct {
        const char *name;
        const float *values;
        size_t rank;
        const size_t *shape;
    } files[] = {
        {"x.npy", result->x, 2, rows},
        {"q.npy", result->q, 3, parts},
        {"k.npy", result->k, 3, parts},
        {"v.npy", result->v, 3, parts},
        {"scores.npy", result->scores, 3, pairs},
        {"weights.npy", result->weights, 3, pairs},
        {"heads.npy", result->heads, 3, parts},
        {"output.npy", result->output, 2, rows},
        {"embedding.npy", result->embedding, 1, vector},
    };
    if (!tool_make_directory(directory, error)) return false;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *path = tool_path(directory, files[i].name, error);
        bool ok = path != NULL && npy_write(path, files[i].values, files[i].rank, files[i].shape, error);
        free(path);
        if (!ok) return false;
    }
    return true;
}
