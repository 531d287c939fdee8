/* A model as it lies on disk: config, vocabulary, weights. No OpenCL. */
#ifndef ATTEND_MODEL_H
#define ATTEND_MODEL_H

#include "config.h"
#include "tokenize.h"
#include "vocab.h"
#include "weights.h"

typedef struct attend_model {
    attend_config config;
    attend_vocab vocab;
    attend_weights weights;
} attend_model;

bool attend_model_open(attend_model *out, const char *directory, tool_error *error);
void attend_model_close(attend_model *model);

/* A text with its tokens. */
typedef struct attend_input {
    char *text; /* valid UTF-8; a NUL follows */
    size_t length;
    attend_tokens tokens;
} attend_input;

/* Bytes that are not UTF-8 become U+FFFD. */
bool attend_input_read(attend_input *out, const attend_model *model, const char *text, size_t length,
                       tool_error *error);
void attend_input_free(attend_input *input);

#endif
