/* The tensors of a BERT-family encoder, found by name and checked against the config. */
#ifndef ATTEND_WEIGHTS_H
#define ATTEND_WEIGHTS_H

#include "config.h"
#include "safetensors.h"

/* A linear layer, weight (out, in) and bias (out); or a layer norm, both (hidden). */
typedef struct attend_pair {
    const safetensors_tensor *weight;
    const safetensors_tensor *bias;
} attend_pair;

typedef struct attend_layer_weights {
    attend_pair query, key, value, output; /* the attention block */
    attend_pair output_norm;
    attend_pair intermediate, final; /* the feed-forward block */
    attend_pair final_norm;
} attend_layer_weights;

/* Nothing but the header is in memory: tensors are read where they are needed. */
typedef struct attend_weights {
    safetensors file;
    const safetensors_tensor *words;     /* (vocab_size, hidden) */
    const safetensors_tensor *positions; /* (max_position_embeddings, hidden) */
    const safetensors_tensor *types;     /* (type_vocab_size, hidden) */
    attend_pair embedding_norm;
    attend_layer_weights *layers;
} attend_weights;

/* Opens directory/model.safetensors. Names may begin with "bert."; layer norms may be called gamma and
 * beta. Every tensor must be there with the shape the config says. */
bool attend_weights_open(attend_weights *out, const char *directory, const attend_config *config, tool_error *error);
void attend_weights_close(attend_weights *weights);

/* A whole tensor, as float in new memory. */
float *attend_weights_read(const attend_weights *weights, const safetensors_tensor *tensor, tool_error *error);

#endif
