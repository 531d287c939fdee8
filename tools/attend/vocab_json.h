/* tokenizer.json and tokenizer_config.json; used by vocab.c alone. */
#ifndef ATTEND_VOCAB_JSON_H
#define ATTEND_VOCAB_JSON_H

#include "vocab.h"

/* Fills tokens, added tokens and flags. */
bool attend_vocab_read_json(attend_vocab *vocab, const char *path, size_t vocab_size, tool_error *error);

/* The flags of directory/tokenizer_config.json, where that file exists. */
bool attend_vocab_read_flags(attend_vocab *vocab, const char *directory, tool_error *error);

/* Room for ids 0 .. num_tokens-1. */
bool attend_vocab_reserve(attend_vocab *vocab, size_t num_tokens, tool_error *error);
/* Gives an id, which must be without one so far, its text; `set` also makes that text a piece that words
 * are split into. */
bool attend_vocab_name(attend_vocab *vocab, uint32_t id, const char *token, size_t length, tool_error *error);
bool attend_vocab_set(attend_vocab *vocab, uint32_t id, const char *token, size_t length, tool_error *error);
bool attend_vocab_add(attend_vocab *vocab, const char *text, uint32_t id, bool normalized, tool_error *error);

#endif
