/* WordPiece as BERT does it: normalise, split at white space and punctuation, cut words into pieces. */
#ifndef ATTEND_TOKENIZE_H
#define ATTEND_TOKENIZE_H

#include "vocab.h"

typedef struct attend_tokens {
    uint32_t *ids; /* [CLS] ... [SEP] */
    size_t count;
    size_t capacity;
    bool truncated; /* the text went on after max_tokens */
} attend_tokens;

/*
 * text: valid UTF-8 of `length` bytes. max_tokens: at least 2. The result starts with [CLS] and ends
 * with [SEP]; a longer text is cut so that this holds.
 */
bool attend_tokenize(attend_tokens *out, const attend_vocab *vocab, const char *text, size_t length, size_t max_tokens,
                     tool_error *error);
void attend_tokens_free(attend_tokens *tokens);

#endif
