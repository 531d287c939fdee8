/* A model on a device: every projection and every attention through libqkv. */
#ifndef ATTEND_ENGINE_H
#define ATTEND_ENGINE_H

#include <qkv.h>

#include "model.h"

/* What one run shows of the chosen layer, and the text's embedding. Row-major; owned by the engine's user,
 * reused from run to run. */
typedef struct attend_result {
    size_t num_tokens, num_heads, head_dim, hidden_size;
    size_t layer;
    float scale;
    float *x;         /* (num_tokens, hidden_size): what the layer reads */
    float *q, *k, *v; /* (num_heads, num_tokens, head_dim) */
    float *scores;    /* (num_heads, num_tokens, num_tokens), before the softmax */
    float *weights;   /* the same shape, after it */
    float *mean;      /* (num_tokens, num_tokens): the weights' mean over the heads */
    float *heads;     /* (num_heads, num_tokens, head_dim): weights times v */
    float *output;    /* (num_tokens, hidden_size): heads side by side times Wo, plus its bias */
    float *embedding; /* (hidden_size): mean-pooled last hidden state, of length 1 */
    double run_ms;
} attend_result;

typedef struct attend_engine attend_engine;

/* False with libqkv's message in `error` unless the status is QKV_OK. */
bool attend_check(qkv_status status, tool_error *error);

/*
 * Loads the weights onto a device and makes every plan, for texts of up to max_tokens tokens.
 * selector: as in qkv_context_create(). layer: the one to show, counted from 0. The model must outlive
 * the engine.
 */
bool attend_engine_create(attend_engine **out, const attend_model *model, const char *selector, size_t layer,
                          size_t max_tokens, tool_error *error);
void attend_engine_destroy(attend_engine *engine);

const qkv_device_info *attend_engine_device(const attend_engine *engine);

/* Room for the results of any text the engine takes. */
bool attend_result_create(attend_result *out, const attend_engine *engine, tool_error *error);
void attend_result_free(attend_result *result);

bool attend_engine_run(attend_result *result, attend_engine *engine, const attend_tokens *tokens, tool_error *error);

#endif
