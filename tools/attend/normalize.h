/* BERT's normalisation of text and its classes of characters. */
#ifndef ATTEND_NORMALIZE_H
#define ATTEND_NORMALIZE_H

#include <stdint.h>

#include "vocab.h"

typedef struct attend_text {
    char *bytes; /* UTF-8 */
    size_t length;
    size_t capacity;
} attend_text;

/*
 * What the vocabulary's flags ask for, in BERT's order: control characters out and white space to blanks,
 * blanks round Chinese characters, canonical decomposition (NFD) without nonspacing marks, lower case.
 * text: valid UTF-8. `out` is reused when it holds memory already.
 */
bool attend_normalize(attend_text *out, const attend_vocab *vocab, const char *text, size_t length, tool_error *error);
void attend_text_free(attend_text *text);

bool attend_is_space(int32_t character);
/* BERT counts every ASCII sign that is neither letter nor digit, and Unicode's categories P*. */
bool attend_is_punctuation(int32_t character);

/* The character at `text`, whose bytes go to *used. Valid UTF-8 only. */
int32_t attend_character(const char *text, size_t length, size_t *used);

#endif
