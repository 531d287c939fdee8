/* Unicode text for people and terminals. */
#ifndef TOOL_TEXT_H
#define TOOL_TEXT_H

#include <stdio.h>

#include "error.h"

/* A copy in which every byte that is not part of valid UTF-8 is U+FFFD. The length goes to *out_length;
 * a NUL follows. */
char *tool_text_repair(const char *text, size_t length, size_t *out_length, tool_error *error);

bool tool_text_valid(const char *text, size_t length);

/* Columns the text takes on a terminal: wide characters are two, combining marks none. */
size_t tool_text_width(const char *text);

/*
 * Copies `text` into `out` for display in at most `columns` columns: control characters become
 * U+FFFD, what is too long ends in an ellipsis, or three dots where the locale is not UTF-8. Never splits a character.
 */
void tool_text_fit(char *out, size_t out_size, const char *text, size_t columns);

/* Prints `text`, fitted, and fills up to `columns` with blanks. */
void tool_text_print(FILE *stream, const char *text, size_t columns, bool right);

#endif
