#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "../support/text.h"

bool attend_model_open(attend_model *out, const char *directory, tool_error *error) {
    memset(out, 0, sizeof *out);
    out->weights.file.descriptor = -1;
    bool ok = attend_config_read(&out->config, directory, error) &&
              attend_vocab_read(&out->vocab, directory, out->config.vocab_size, error) &&
              attend_weights_open(&out->weights, directory, &out->config, error);
    if (!ok) attend_model_close(out);
    return ok;
}

void attend_model_close(attend_model *model) {
    attend_weights_close(&model->weights);
    attend_vocab_free(&model->vocab);
}

bool attend_input_read(attend_input *out, const attend_model *model, const char *text, size_t length,
                       tool_error *error) {
    memset(out, 0, sizeof *out);
    out->text = tool_text_repair(text, length, &out->length, error);
    if (out->text == NULL) return false;
    if (attend_tokenize(&out->tokens, &model->vocab, out->text, out->length, model->config.max_tokens, error))
        return true;
    attend_input_free(out);
    return false;
}

void attend_input_free(attend_input *input) {
    attend_tokens_free(&input->tokens);
    free(input->text);
    memset(input, 0, sizeof *input);
}
