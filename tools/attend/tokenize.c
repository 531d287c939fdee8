#include "tokenize.h"

#include <stdlib.h>
#include <string.h>

#include "normalize.h"

typedef struct worker {
    const attend_vocab *vocab;
    attend_tokens *out;
    size_t most; /* tokens before the last [SEP] */
    attend_text normal;
    char *piece; /* prefix and rest of a word */
    size_t piece_capacity;
    tool_error *error;
} worker;

/* A step that returns false with out->truncated set has no room left: not an error, but the end. */
static bool push(worker *work, uint32_t id) {
    attend_tokens *out = work->out;
    if (out->count >= work->most) {
        out->truncated = true;
        return false;
    }
    if (!tool_grow(&out->ids, &out->capacity, out->count + 1, sizeof *out->ids, work->error)) return false;
    out->ids[out->count++] = id;
    return true;
}

static size_t count_characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* The longest piece of the vocabulary at the start of `rest`, in bytes; 0 where there is none. */
static size_t longest_piece(worker *work, const char *rest, size_t length, bool continues, uint32_t *id) {
    size_t prefix = continues ? strlen(work->vocab->prefix) : 0;
    memcpy(work->piece, work->vocab->prefix, prefix);
    memcpy(work->piece + prefix, rest, length);
    for (size_t end = length; end > 0; end--) {
        if (end < length && ((unsigned char)rest[end] & 0xC0) == 0x80) continue;
        int64_t found = attend_vocab_find(work->vocab, work->piece, prefix + end);
        if (found >= 0) {
            *id = (uint32_t)found;
            return end;
        }
    }
    return 0;
}

static bool push_word(worker *work, const char *word, size_t length) {
    size_t before = work->out->count, used;
    uint32_t id;
    if (length == 0) return true;
    if (count_characters(word, length) > work->vocab->max_word_chars) return push(work, work->vocab->unk);
    if (!tool_grow(&work->piece, &work->piece_capacity, length + strlen(work->vocab->prefix), 1, work->error))
        return false;
    /* A word that cannot be covered to its end is one [UNK]: pieces pushed so far are taken back, also
     * where the room ended before the word did. */
    bool room = true;
    for (size_t at = 0; at < length; at += used) {
        used = longest_piece(work, word + at, length - at, at > 0, &id);
        if (used == 0) {
            work->out->count = before;
            work->out->truncated = false;
            return push(work, work->vocab->unk);
        }
        if (room && !push(work, id)) {
            room = false;
            if (!work->out->truncated) return false;
        }
    }
    return room;
}

/* Splits normalised text at white space, and before and after each punctuation sign. */
static bool push_words(worker *work, const char *text, size_t length) {
    size_t start = 0, used;
    for (size_t at = 0; at < length; at += used) {
        int32_t character = attend_character(text + at, length - at, &used);
        bool space = attend_is_space(character);
        if (!space && !attend_is_punctuation(character)) continue;
        if (!push_word(work, text + start, at - start) || (!space && !push_word(work, text + at, used))) return false;
        start = at + used;
    }
    return push_word(work, text + start, length - start);
}

typedef struct match {
    size_t at, length;
    uint32_t id;
} match;

/* The leftmost added token in the text, and the longest of those that start there. */
static bool find_added(const attend_vocab *vocab, const char *text, size_t length, bool normalized, match *out) {
    bool found = false;
    for (size_t i = 0; i < vocab->num_added; i++) {
        const attend_added_token *added = &vocab->added[i];
        const size_t bytes = added->length;
        if (added->normalized != normalized) continue;
        for (size_t at = 0; bytes > 0 && at + bytes <= length && !(found && at > out->at); at++) {
            const char *next = memchr(text + at, added->text[0], length - bytes - at + 1);
            if (next == NULL) break;
            at = (size_t)(next - text);
            if (memcmp(next, added->text, bytes) != 0) continue;
            if (!found || at < out->at || (at == out->at && bytes > out->length)) *out = (match){at, bytes, added->id};
            found = true;
            break;
        }
    }
    return found;
}

static bool push_normalized(worker *work, const char *text, size_t length) {
    match next;
    while (find_added(work->vocab, text, length, true, &next)) {
        if (!push_words(work, text, next.at) || !push(work, next.id)) return false;
        text += next.at + next.length;
        length -= next.at + next.length;
    }
    return push_words(work, text, length);
}

static bool push_text(worker *work, const char *text, size_t length) {
    if (length == 0) return true;
    return attend_normalize(&work->normal, work->vocab, text, length, work->error) &&
           push_normalized(work, work->normal.bytes, work->normal.length);
}

static bool push_all(worker *work, const char *text, size_t length) {
    match next;
    while (find_added(work->vocab, text, length, false, &next)) {
        if (!push_text(work, text, next.at) || !push(work, next.id)) return false;
        text += next.at + next.length;
        length -= next.at + next.length;
    }
    return push_text(work, text, length);
}

bool attend_tokenize(attend_tokens *out, const attend_vocab *vocab, const char *text, size_t length, size_t max_tokens,
                     tool_error *error) {
    worker work = {.vocab = vocab, .out = out, .most = max_tokens - 1, .error = error};
    memset(out, 0, sizeof *out);
    bool ok = push(&work, vocab->cls) && push_all(&work, text, length);
    ok = ok || out->truncated;
    work.most = max_tokens;
    bool truncated = out->truncated;
    ok = ok && push(&work, vocab->sep);
    out->truncated = truncated;
    attend_text_free(&work.normal);
    free(work.piece);
    if (!ok) attend_tokens_free(out);
    return ok;
}

void attend_tokens_free(attend_tokens *tokens) {
    free(tokens->ids);
    memset(tokens, 0, sizeof *tokens);
}
