#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "host.h"

/* One run: how many tokens there are, and where errors go. */
typedef struct runner {
    attend_engine *engine;
    size_t n;
    cl_command_queue queue;
    tool_error *error;
} runner;

static bool upload(const runner *run, cl_mem buffer, const float *from, size_t count) {
    cl_int code = clEnqueueWriteBuffer(run->queue, buffer, CL_TRUE, 0, count * sizeof *from, from, 0, NULL, NULL);
    return code == CL_SUCCESS || tool_fail(run->error, "writing to the device failed: OpenCL error %d", code);
}

static bool download(const runner *run, float *to, cl_mem buffer, size_t count) {
    cl_int code = clEnqueueReadBuffer(run->queue, buffer, CL_TRUE, 0, count * sizeof *to, to, 0, NULL, NULL);
    return code == CL_SUCCESS || tool_fail(run->error, "reading from the device failed: OpenCL error %d", code);
}

/* word + position + segment 0, normalised, for every token. */
static bool embed(const runner *run, const attend_tokens *tokens) {
    attend_engine *engine = run->engine;
    const attend_weights *weights = &engine->model->weights;
    const size_t hidden = engine->model->config.hidden_size;
    if (!safetensors_read(&weights->file, weights->positions, 0, run->n * hidden, engine->hidden, run->error))
        return false;
    for (size_t i = 0; i < run->n; i++) {
        float *row = engine->hidden + i * hidden, *word = engine->scratch;
        uint64_t first = (uint64_t)tokens->ids[i] * hidden;
        if (!safetensors_read(&weights->file, weights->words, first, hidden, word, run->error)) return false;
        for (size_t j = 0; j < hidden; j++)
            row[j] = word[j] + engine->type_row[j] + row[j];
    }
    attend_add_norm(engine->hidden, NULL, run->n, hidden, engine->embedding_norm.gain, engine->embedding_norm.bias,
                    engine->model->config.layer_norm_eps);
    return true;
}

/* A dense view of the first elements of a buffer; axis sizes outermost first. */
static bool view(const runner *run, qkv_tensor *out, cl_mem buffer, size_t rank, size_t a, size_t b, size_t c,
                 size_t d) {
    const size_t shape[4] = {a, b, c, d};
    return attend_check(qkv_tensor_dense(out, buffer, QKV_F32, rank, shape), run->error);
}

static bool run_attention(const runner *run, size_t layer) {
    attend_engine *engine = run->engine;
    const attend_config *config = &engine->model->config;
    const attend_buffers *buffers = &engine->buffers;
    const size_t n = run->n, heads = config->num_heads, dim = config->head_dim;
    qkv_tensor x, out, q, k, v, side, scores, weights;
    if (!view(run, &x, buffers->x, 3, 1, n, config->hidden_size, 0) ||
        !view(run, &out, buffers->out, 3, 1, n, config->hidden_size, 0) ||
        !view(run, &q, buffers->q, 4, 1, heads, n, dim) || !view(run, &k, buffers->k, 4, 1, heads, n, dim) ||
        !view(run, &v, buffers->v, 4, 1, heads, n, dim) || !view(run, &side, buffers->heads, 4, 1, heads, n, dim) ||
        !view(run, &scores, buffers->scores, 4, 1, heads, n, n) ||
        !view(run, &weights, buffers->weights, 4, 1, heads, n, n))
        return false;
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    args.x = &x;
    args.out = &out;
    args.workspace = engine->workspace;
    if (layer == engine->layer) {
        args.q = &q;
        args.k = &k;
        args.v = &v;
        args.heads = &side;
        args.scores = &scores;
        args.weights = &weights;
    }
    return attend_check(qkv_layer_run(engine->layers[layer].attention, run->queue, &args, 0, NULL, NULL), run->error);
}

static bool run_linear(const runner *run, const qkv_linear *linear, cl_mem from, size_t in_features, cl_mem to,
                       size_t out_features) {
    qkv_tensor x, out;
    if (!view(run, &x, from, 2, run->n, in_features, 0, 0) || !view(run, &out, to, 2, run->n, out_features, 0, 0))
        return false;
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    args.x = &x;
    args.outputs[0] = &out;
    args.workspace = run->engine->workspace;
    return attend_check(qkv_linear_run(linear, run->queue, &args, 0, NULL, NULL), run->error);
}

static bool keep_layer(const runner *run, attend_result *result) {
    const attend_engine *engine = run->engine;
    const attend_buffers *buffers = &engine->buffers;
    const size_t features = run->n * result->hidden_size, pairs = result->num_heads * run->n * run->n;
    memcpy(result->x, engine->hidden, features * sizeof(float));
    bool ok = download(run, result->q, buffers->q, features) && download(run, result->k, buffers->k, features) &&
              download(run, result->v, buffers->v, features) &&
              download(run, result->heads, buffers->heads, features) &&
              download(run, result->scores, buffers->scores, pairs) &&
              download(run, result->weights, buffers->weights, pairs) &&
              download(run, result->output, buffers->out, features);
    if (ok) attend_mean_matrix(result->mean, result->weights, result->num_heads, run->n, run->n);
    return ok;
}

/* hidden = norm(hidden + device output), for either block. */
static bool close_block(const runner *run, const attend_norm *norm) {
    attend_engine *engine = run->engine;
    const attend_config *config = &engine->model->config;
    const size_t count = run->n * config->hidden_size;
    if (!download(run, engine->scratch, engine->buffers.out, count)) return false;
    attend_add_norm(engine->scratch, engine->hidden, run->n, config->hidden_size, norm->gain, norm->bias,
                    config->layer_norm_eps);
    float *swap = engine->hidden;
    engine->hidden = engine->scratch;
    engine->scratch = swap;
    return true;
}

static bool run_layer(const runner *run, size_t index, attend_result *result) {
    attend_engine *engine = run->engine;
    const attend_config *config = &engine->model->config;
    const attend_device_layer *layer = &engine->layers[index];
    const attend_buffers *buffers = &engine->buffers;
    const size_t hidden = config->hidden_size, wide = config->intermediate_size;
    if (!upload(run, buffers->x, engine->hidden, run->n * hidden) || !run_attention(run, index) ||
        (index == engine->layer && !keep_layer(run, result)) || !close_block(run, &layer->attention_norm))
        return false;
    if (!upload(run, buffers->x, engine->hidden, run->n * hidden) ||
        !run_linear(run, layer->intermediate, buffers->x, hidden, buffers->wide, wide) ||
        !download(run, engine->wide, buffers->wide, run->n * wide))
        return false;
    attend_activate(engine->wide, run->n * wide, config->activation);
    return upload(run, buffers->wide, engine->wide, run->n * wide) &&
           run_linear(run, layer->final, buffers->wide, wide, buffers->out, hidden) &&
           close_block(run, &layer->final_norm);
}

bool attend_engine_run(attend_result *result, attend_engine *engine, const attend_tokens *tokens, tool_error *error) {
    const attend_config *config = &engine->model->config;
    const runner run = {engine, tokens->count, qkv_context_cl_queue(engine->context), error};
    if (run.n > engine->max_tokens)
        return tool_fail(error, "%zu tokens, but the plans were made for %zu", run.n, engine->max_tokens);
    const double begun = tool_clock_ms();
    result->num_tokens = run.n;
    if (!embed(&run, tokens)) return false;
    for (size_t i = 0; i < config->num_layers; i++)
        if (!run_layer(&run, i, result)) return false;
    attend_mean_pool(result->embedding, engine->hidden, run.n, config->hidden_size);
    result->run_ms = tool_clock_ms() - begun;
    return true;
}

bool attend_result_create(attend_result *out, const attend_engine *engine, tool_error *error) {
    const attend_config *config = &engine->model->config;
    const size_t n = engine->max_tokens, features = n * config->hidden_size, pairs = n * n;
    memset(out, 0, sizeof *out);
    out->num_heads = config->num_heads;
    out->head_dim = config->head_dim;
    out->hidden_size = config->hidden_size;
    out->layer = engine->layer;
    out->scale = (float)(1.0 / sqrt((double)config->head_dim));
    const struct {
        float **array;
        size_t count;
    } arrays[] = {
        {&out->x, features},
        {&out->q, features},
        {&out->k, features},
        {&out->v, features},
        {&out->scores, config->num_heads * pairs},
        {&out->weights, config->num_heads * pairs},
        {&out->mean, pairs},
        {&out->heads, features},
        {&out->output, features},
        {&out->embedding, config->hidden_size},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        *arrays[i].array = tool_alloc(arrays[i].count, sizeof(float), error);
        if (*arrays[i].array == NULL) {
            attend_result_free(out);
            return false;
        }
    }
    return true;
}

void attend_result_free(attend_result *result) {
    float *arrays[] = {result->x,       result->q,    result->k,     result->v,      result->scores,
                       result->weights, result->mean, result->heads, result->output, result->embedding};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
    memset(result, 0, sizeof *result);
}
