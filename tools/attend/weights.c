#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/files.h"

typedef struct binder {
    const safetensors *file;
    const char *prefix;
    tool_error *error;
} binder;

/* The tensor prefix + stem + suffix with the given shape; columns 0 means rank 1. */
static const safetensors_tensor *bind(const binder *bind, const char *stem, const char *suffix, size_t rows,
                                      size_t columns) {
    char name[256], shape[64];
    snprintf(name, sizeof name, "%s%s%s", bind->prefix, stem, suffix);
    const safetensors_tensor *tensor = safetensors_find(bind->file, name);
    if (tensor == NULL) {
        tool_fail(bind->error, "%s: tensor %s is missing", bind->file->path, name);
        return NULL;
    }
    if (columns == 0)
        snprintf(shape, sizeof shape, "(%zu)", rows);
    else
        snprintf(shape, sizeof shape, "(%zu, %zu)", rows, columns);
    bool fits = tensor->rank == (columns == 0 ? 1 : 2) && tensor->shape[0] == rows &&
                (columns == 0 || tensor->shape[1] == columns);
    if (!fits) {
        tool_fail(bind->error, "%s: tensor %s does not have the shape %s that the config asks for", bind->file->path,
                  name, shape);
        return NULL;
    }
    if (tensor->dtype == SAFETENSORS_OTHER) {
        tool_fail(bind->error, "%s: tensor %s is not F32, F16 or BF16", bind->file->path, name);
        return NULL;
    }
    return tensor;
}

static bool bind_linear(const binder *names, attend_pair *out, const char *stem, size_t rows, size_t columns) {
    out->weight = bind(names, stem, ".weight", rows, columns);
    out->bias = out->weight == NULL ? NULL : bind(names, stem, ".bias", rows, 0);
    return out->bias != NULL;
}

static bool bind_norm(const binder *names, attend_pair *out, const char *stem, size_t features) {
    char gamma[256];
    snprintf(gamma, sizeof gamma, "%s%s.gamma", names->prefix, stem);
    /* Checkpoints converted from TensorFlow keep its names. */
    bool old = safetensors_find(names->file, gamma) != NULL;
    out->weight = bind(names, stem, old ? ".gamma" : ".weight", features, 0);
    out->bias = out->weight == NULL ? NULL : bind(names, stem, old ? ".beta" : ".bias", features, 0);
    return out->bias != NULL;
}

static bool bind_layer(const binder *names, attend_layer_weights *out, size_t layer, const attend_config *config) {
    const size_t hidden = config->hidden_size, wide = config->intermediate_size;
    const struct {
        attend_pair *pair;
        const char *stem;
        size_t rows, columns; /* columns 0: a layer norm */
    } rows[] = {
        {&out->query, "attention.self.query", hidden, hidden},
        {&out->key, "attention.self.key", hidden, hidden},
        {&out->value, "attention.self.value", hidden, hidden},
        {&out->output, "attention.output.dense", hidden, hidden},
        {&out->output_norm, "attention.output.LayerNorm", hidden, 0},
        {&out->intermediate, "intermediate.dense", wide, hidden},
        {&out->final, "output.dense", hidden, wide},
        {&out->final_norm, "output.LayerNorm", hidden, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char stem[128];
        snprintf(stem, sizeof stem, "encoder.layer.%zu.%s", layer, rows[i].stem);
        bool ok = rows[i].columns == 0 ? bind_norm(names, rows[i].pair, stem, rows[i].rows)
                                       : bind_linear(names, rows[i].pair, stem, rows[i].rows, rows[i].columns);
        if (!ok) return false;
    }
    return true;
}

static bool bind_all(attend_weights *out, const attend_config *config, tool_error *error) {
    const char *prefix = "";
    if (safetensors_find(&out->file, "bert.embeddings.word_embeddings.weight") != NULL) prefix = "bert.";
    const binder names = {&out->file, prefix, error};
    const size_t hidden = config->hidden_size;
    out->words = bind(&names, "embeddings.word_embeddings", ".weight", config->vocab_size, hidden);
    if (out->words == NULL) return false;
    out->positions = bind(&names, "embeddings.position_embeddings", ".weight", config->max_position_embeddings, hidden);
    if (out->positions == NULL) return false;
    out->types = bind(&names, "embeddings.token_type_embeddings", ".weight", config->type_vocab_size, hidden);
    if (out->types == NULL || !bind_norm(&names, &out->embedding_norm, "embeddings.LayerNorm", hidden)) return false;
    out->layers = tool_alloc(config->num_layers, sizeof *out->layers, error);
    if (out->layers == NULL) return false;
    for (size_t layer = 0; layer < config->num_layers; layer++)
        if (!bind_layer(&names, &out->layers[layer], layer, config)) return false;
    return true;
}

bool attend_weights_open(attend_weights *out, const char *directory, const attend_config *config, tool_error *error) {
    memset(out, 0, sizeof *out);
    char *path = tool_path(directory, "model.safetensors", error);
    if (path == NULL) return false;
    bool ok = safetensors_open(&out->file, path, error);
    free(path);
    if (!ok) return false;
    if (!bind_all(out, config, error)) {
        attend_weights_close(out);
        return false;
    }
    return true;
}

void attend_weights_close(attend_weights *weights) {
    safetensors_close(&weights->file);
    free(weights->layers);
    weights->layers = NULL;
}

float *attend_weights_read(const attend_weights *weights, const safetensors_tensor *tensor, tool_error *error) {
    size_t count = (size_t)((tensor->end - tensor->begin) / tensor->element_bytes);
    float *values = tool_alloc(count, sizeof *values, error);
    if (values != NULL && !safetensors_read(&weights->file, tensor, 0, count, values, error)) {
        free(values);
        values = NULL;
    }
    return values;
}
