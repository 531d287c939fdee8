/* The textbook's worked example: three tokens, small whole numbers, no model. */
#ifndef ATTEND_WORKED_H
#define ATTEND_WORKED_H

#include <stdio.h>

#include "../support/error.h"

/* Computes it through libqkv on the selected device, prints each step, and compares with double
 * precision: a difference beyond rounding is an error. */
bool attend_worked_example(FILE *stream, const char *selector, tool_error *error);

#endif
