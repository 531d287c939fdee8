/* The tokenizer's data: vocab.txt or tokenizer.json. */
#ifndef ATTEND_VOCAB_H
#define ATTEND_VOCAB_H

#include <stdint.h>

#include "../support/error.h"

typedef struct attend_added_token {
    char *text;
    size_t length;
    uint32_t id;
    bool normalized; /* looked for after normalisation; its text is normalised too */
} attend_added_token;

typedef struct attend_vocab {
    size_t num_tokens;         /* the largest id + 1 */
    char **tokens;             /* by id; NULL where an id has no token */
    uint32_t *slots;           /* hash table: id + 1, 0 where empty */
    size_t num_slots;          /* a power of two */
    attend_added_token *added; /* taken out of the text before it is split into words */
    size_t num_added;
    char *prefix; /* of a piece that continues a word: "##" */
    size_t max_word_chars;
    bool clean_text, handle_chinese_chars, strip_accents, lowercase;
    uint32_t unk, cls, sep;
} attend_vocab;

/*
 * tokenizer.json where there is one, else vocab.txt with tokenizer_config.json's flags. Ids must be below
 * vocab_size.
 */
bool attend_vocab_read(attend_vocab *out, const char *directory, size_t vocab_size, tool_error *error);
void attend_vocab_free(attend_vocab *vocab);

/* The id of a token, or -1. */
int64_t attend_vocab_find(const attend_vocab *vocab, const char *token, size_t length);

/* Never NULL. */
const char *attend_vocab_token(const attend_vocab *vocab, uint32_t id);

#endif
