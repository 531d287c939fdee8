/* The texts of one run of the program. */
#ifndef ATTEND_INPUTS_H
#define ATTEND_INPUTS_H

#include "model.h"

typedef struct attend_inputs {
    attend_input *items;
    size_t count;
    size_t longest; /* tokens */
    size_t num_truncated;
} attend_inputs;

/* One text, or each line of a file ("-": standard input); an empty line is an empty text. */
bool attend_inputs_from_text(attend_inputs *out, const attend_model *model, const char *text, tool_error *error);
bool attend_inputs_from_file(attend_inputs *out, const attend_model *model, const char *path, tool_error *error);
void attend_inputs_free(attend_inputs *inputs);

#endif
