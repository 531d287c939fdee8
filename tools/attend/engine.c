#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "support/context.h"

bool attend_check(qkv_status status, tool_error *error) {
    if (status == QKV_OK) return true;
    const char *message = qkv_error_message();
    return tool_fail(error, "%s", message[0] != '\0' ? message : qkv_status_text(status));
}

static bool read_norm(attend_norm *out, const attend_engine *engine, const attend_pair *pair, tool_error *error) {
    const attend_weights *weights = &engine->model->weights;
    out->gain = attend_weights_read(weights, pair->weight, error);
    out->bias = out->gain == NULL ? NULL : attend_weights_read(weights, pair->bias, error);
    return out->bias != NULL;
}

static void free_norm(attend_norm *norm) {
    free(norm->gain);
    free(norm->bias);
}

/* Host copies of up to four linear layers; they are needed until the device has them. */
typedef struct host_pairs {
    float *weight[4], *bias[4];
    size_t count;
} host_pairs;

static bool read_pair(host_pairs *out, const attend_engine *engine, const attend_pair *pair, tool_error *error) {
    const attend_weights *weights = &engine->model->weights;
    size_t at = out->count++;
    out->weight[at] = attend_weights_read(weights, pair->weight, error);
    out->bias[at] = out->weight[at] == NULL ? NULL : attend_weights_read(weights, pair->bias, error);
    return out->bias[at] != NULL;
}

static void free_pairs(host_pairs *pairs) {
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->weight[i]);
        free(pairs->bias[i]);
    }
}

static bool create_attention(attend_engine *engine, size_t layer, tool_error *error) {
    const attend_config *config = &engine->model->config;
    const attend_layer_weights *weights = &engine->model->weights.layers[layer];
    host_pairs host = {{NULL}, {NULL}, 0};
    bool ok = read_pair(&host, engine, &weights->query, error) && read_pair(&host, engine, &weights->key, error) &&
              read_pair(&host, engine, &weights->value, error) && read_pair(&host, engine, &weights->output, error);
    if (ok) {
        qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
        desc.embed_dim = config->hidden_size;
        desc.num_heads = config->num_heads;
        desc.wq = (qkv_layer_weight){host.weight[0], host.bias[0]};
        desc.wk = (qkv_layer_weight){host.weight[1], host.bias[1]};
        desc.wv = (qkv_layer_weight){host.weight[2], host.bias[2]};
        desc.wo = (qkv_layer_weight){host.weight[3], host.bias[3]};
        desc.max_batch = 1;
        desc.max_seq_q = engine->max_tokens;
        desc.features = layer == engine->layer ? QKV_ATTENTION_WEIGHTS : 0;
        ok = attend_check(qkv_layer_create(&engine->layers[layer].attention, engine->context, &desc), error);
    }
    free_pairs(&host);
    return ok;
}

static bool create_linear(qkv_linear **out, attend_engine *engine, const attend_pair *pair, size_t in_features,
                          size_t out_features, tool_error *error) {
    host_pairs host = {{NULL}, {NULL}, 0};
    bool ok = read_pair(&host, engine, pair, error);
    if (ok) {
        qkv_linear_output output = {.out_features = out_features, .weight = host.weight[0], .bias = host.bias[0]};
        qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
        desc.in_features = in_features;
        desc.num_outputs = 1;
        desc.outputs = &output;
        desc.max_rows = engine->max_tokens;
        ok = attend_check(qkv_linear_create(out, engine->context, &desc), error);
    }
    free_pairs(&host);
    return ok;
}

static bool create_layers(attend_engine *engine, tool_error *error) {
    const attend_config *config = &engine->model->config;
    engine->layers = tool_alloc(config->num_layers, sizeof *engine->layers, error);
    if (engine->layers == NULL) return false;
    for (size_t i = 0; i < config->num_layers; i++) {
        const attend_layer_weights *weights = &engine->model->weights.layers[i];
        attend_device_layer *layer = &engine->layers[i];
        if (!create_attention(engine, i, error) ||
            !create_linear(&layer->intermediate, engine, &weights->intermediate, config->hidden_size,
                           config->intermediate_size, error) ||
            !create_linear(&layer->final, engine, &weights->final, config->intermediate_size, config->hidden_size,
                           error) ||
            !read_norm(&layer->attention_norm, engine, &weights->output_norm, error) ||
            !read_norm(&layer->final_norm, engine, &weights->final_norm, error))
            return false;
    }
    return true;
}

static bool create_workspace(attend_engine *engine, tool_error *error) {
    size_t most = 0;
    for (size_t i = 0; i < engine->model->config.num_layers; i++) {
        const attend_device_layer *layer = &engine->layers[i];
        const size_t needs[] = {qkv_layer_workspace_bytes(layer->attention),
                                qkv_linear_workspace_bytes(layer->intermediate),
                                qkv_linear_workspace_bytes(layer->final)};
        for (size_t j = 0; j < sizeof needs / sizeof needs[0]; j++)
            most = needs[j] > most ? needs[j] : most;
    }
    return attend_check(qkv_workspace_create(&engine->workspace, engine->context, most), error);
}

static bool create_buffer(cl_mem *out, const attend_engine *engine, size_t rows, size_t columns, tool_error *error) {
    size_t count, bytes;
    if (!tool_multiply(&count, rows, columns) || !tool_multiply(&bytes, count, sizeof(float)))
        return tool_fail(error, "%zu x %zu numbers are more than this machine can address", rows, columns);
    cl_int code;
    *out = clCreateBuffer(qkv_context_cl_context(engine->context), CL_MEM_READ_WRITE, bytes, NULL, &code);
    if (code != CL_SUCCESS) {
        *out = NULL;
        return tool_fail(error, "the device has no room for %zu bytes: OpenCL error %d", bytes, code);
    }
    return true;
}

static bool create_buffers(attend_engine *engine, tool_error *error) {
    const attend_config *config = &engine->model->config;
    attend_buffers *buffers = &engine->buffers;
    cl_mem *narrow[] = {&buffers->x, &buffers->out, &buffers->q, &buffers->k, &buffers->v, &buffers->heads};
    for (size_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++)
        if (!create_buffer(narrow[i], engine, engine->max_tokens, config->hidden_size, error)) return false;
    size_t rows = config->num_heads * engine->max_tokens;
    if (!create_buffer(&buffers->wide, engine, engine->max_tokens, config->intermediate_size, error) ||
        !create_buffer(&buffers->scores, engine, rows, engine->max_tokens, error) ||
        !create_buffer(&buffers->weights, engine, rows, engine->max_tokens, error))
        return false;
    engine->hidden = tool_alloc(engine->max_tokens * config->hidden_size, sizeof(float), error);
    engine->scratch = tool_alloc(engine->max_tokens * config->hidden_size, sizeof(float), error);
    engine->wide = tool_alloc(engine->max_tokens * config->intermediate_size, sizeof(float), error);
    return engine->hidden != NULL && engine->scratch != NULL && engine->wide != NULL;
}

static bool prepare(attend_engine *engine, const char *selector, tool_error *error) {
    const attend_model *model = engine->model;
    const size_t hidden = model->config.hidden_size;
    if (!attend_check(tool_context_create(&engine->context, selector), error) ||
        !read_norm(&engine->embedding_norm, engine, &model->weights.embedding_norm, error))
        return false;
    engine->type_row = tool_alloc(hidden, sizeof(float), error);
    return engine->type_row != NULL &&
           safetensors_read(&model->weights.file, model->weights.types, 0, hidden, engine->type_row, error) &&
           create_layers(engine, error) && create_workspace(engine, error) && create_buffers(engine, error);
}

bool attend_engine_create(attend_engine **out, const attend_model *model, const char *selector, size_t layer,
                          size_t max_tokens, tool_error *error) {
    attend_engine *engine = tool_alloc(1, sizeof *engine, error);
    if (engine == NULL) return false;
    engine->model = model;
    engine->layer = layer;
    engine->max_tokens = max_tokens;
    if (!prepare(engine, selector, error)) {
        attend_engine_destroy(engine);
        return false;
    }
    *out = engine;
    return true;
}

static void release(cl_mem buffer) {
    if (buffer != NULL) clReleaseMemObject(buffer);
}

void attend_engine_destroy(attend_engine *engine) {
    if (engine == NULL) return;
    for (size_t i = 0; engine->layers != NULL && i < engine->model->config.num_layers; i++) {
        qkv_layer_destroy(engine->layers[i].attention);
        qkv_linear_destroy(engine->layers[i].intermediate);
        qkv_linear_destroy(engine->layers[i].final);
        free_norm(&engine->layers[i].attention_norm);
        free_norm(&engine->layers[i].final_norm);
    }
    const attend_buffers *buffers = &engine->buffers;
    const cl_mem all[] = {buffers->x, buffers->out,   buffers->wide,   buffers->q,      buffers->k,
                          buffers->v, buffers->heads, buffers->scores, buffers->weights};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        release(all[i]);
    free_norm(&engine->embedding_norm);
    free(engine->type_row);
    free(engine->layers);
    free(engine->hidden);
    free(engine->scratch);
    free(engine->wide);
    qkv_workspace_destroy(engine->workspace);
    qkv_context_destroy(engine->context);
    free(engine);
}

const qkv_device_info *attend_engine_device(const attend_engine *engine) {
    return qkv_context_device(engine->context);
}
