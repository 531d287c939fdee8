/* What config.json and its companions say about a BERT-family encoder. */
#ifndef ATTEND_CONFIG_H
#define ATTEND_CONFIG_H

#include "../support/error.h"

typedef enum attend_activation {
    ATTEND_GELU,      /* x/2 (1 + erf(x / sqrt 2)) */
    ATTEND_GELU_TANH, /* the tanh approximation: gelu_new, gelu_pytorch_tanh */
    ATTEND_RELU
} attend_activation;

/* Every number lies in a range in which no product of two of them overflows; whether the weights
 * agree is checked when they are bound. */
typedef struct attend_config {
    size_t hidden_size;
    size_t num_layers;
    size_t num_heads; /* divides hidden_size */
    size_t head_dim;
    size_t intermediate_size;
    size_t vocab_size;
    size_t max_position_embeddings;
    size_t type_vocab_size;
    double layer_norm_eps;
    attend_activation activation;
    size_t max_tokens; /* of one text, [CLS] and [SEP] included */
} attend_config;

/*
 * Reads directory/config.json, and the length limit of tokenizer_config.json and
 * sentence_bert_config.json where these exist.
 */
bool attend_config_read(attend_config *out, const char *directory, tool_error *error);

#endif
