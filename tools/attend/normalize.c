#include "normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int32_t attend_character(const char *text, size_t length, size_t *used) {
    utf8proc_int32_t character;
    utf8proc_ssize_t bytes =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)(length < 4 ? length : 4), &character);
    *used = bytes > 0 ? (size_t)bytes : 1;
    return bytes > 0 ? character : 0xFFFD;
}

bool attend_is_space(int32_t character) {
    if (character == '\t' || character == '\n' || character == '\v' || character == '\f' || character == '\r' ||
        character == 0x85)
        return true;
    utf8proc_category_t category = utf8proc_category(character);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

bool attend_is_punctuation(int32_t character) {
    if ((character >= 33 && character <= 47) || (character >= 58 && character <= 64) ||
        (character >= 91 && character <= 96) || (character >= 123 && character <= 126))
        return true;
    utf8proc_category_t category = utf8proc_category(character);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

static bool is_dropped(int32_t character) {
    if (character == '\t' || character == '\n' || character == '\r') return false;
    utf8proc_category_t category = utf8proc_category(character);
    return character == 0xFFFD || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_CO;
}

static bool is_chinese(int32_t character) {
    static const int32_t ranges[][2] = {
        {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
        {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (character >= ranges[i][0] && character <= ranges[i][1]) return true;
    return false;
}

static bool append(attend_text *out, int32_t character, tool_error *error) {
    if (!tool_grow(&out->bytes, &out->capacity, out->length + 5, 1, error)) return false;
    out->length += (size_t)utf8proc_encode_char(character, (utf8proc_uint8_t *)(out->bytes + out->length));
    return true;
}

static bool clean(attend_text *out, const attend_vocab *vocab, const char *text, size_t length, tool_error *error) {
    size_t used;
    for (size_t at = 0; at < length; at += used) {
        int32_t character = attend_character(text + at, length - at, &used);
        if (vocab->clean_text && is_dropped(character)) continue;
        if (vocab->clean_text && attend_is_space(character)) character = ' ';
        bool apart = vocab->handle_chinese_chars && is_chinese(character);
        if ((apart && !append(out, ' ', error)) || !append(out, character, error) ||
            (apart && !append(out, ' ', error)))
            return false;
    }
    return true;
}

static bool append_lower(attend_text *out, int32_t character, bool lowercase, tool_error *error) {
    if (!lowercase) return append(out, character, error);
    /* The one character whose lower case is two, wherever it stands. */
    if (character == 0x130) return append(out, 'i', error) && append(out, 0x307, error);
    return append(out, utf8proc_tolower(character), error);
}

/* Canonically decomposed characters of `text`, in new memory. */
static utf8proc_int32_t *decompose(const attend_text *text, size_t *count, tool_error *error) {
    const utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text->bytes;
    utf8proc_ssize_t length = (utf8proc_ssize_t)text->length;
    utf8proc_ssize_t needed = utf8proc_decompose(bytes, length, NULL, 0, options);
    utf8proc_int32_t *out = NULL;
    if (needed < 0)
        tool_fail(error, "text: %s", utf8proc_errmsg(needed));
    else
        out = tool_alloc((size_t)needed, sizeof *out, error);
    if (out != NULL) *count = (size_t)utf8proc_decompose(bytes, length, out, needed, options);
    return out;
}

static bool strip(attend_text *out, const attend_text *cleaned, bool lowercase, tool_error *error) {
    size_t count = 0;
    utf8proc_int32_t *characters = decompose(cleaned, &count, error);
    bool ok = characters != NULL;
    for (size_t i = 0; ok && i < count; i++)
        if (utf8proc_category(characters[i]) != UTF8PROC_CATEGORY_MN)
            ok = append_lower(out, characters[i], lowercase, error);
    free(characters);
    return ok;
}

bool attend_normalize(attend_text *out, const attend_vocab *vocab, const char *text, size_t length, tool_error *error) {
    attend_text cleaned = {NULL, 0, 0};
    out->length = 0;
    bool ok = clean(&cleaned, vocab, text, length, error);
    if (ok && vocab->strip_accents) {
        ok = cleaned.length == 0 || strip(out, &cleaned, vocab->lowercase, error);
    } else if (ok) {
        size_t used;
        for (size_t at = 0; ok && at < cleaned.length; at += used) {
            int32_t character = attend_character(cleaned.bytes + at, cleaned.length - at, &used);
            ok = append_lower(out, character, vocab->lowercase, error);
        }
    }
    attend_text_free(&cleaned);
    return ok;
}

void attend_text_free(attend_text *text) {
    free(text->bytes);
    memset(text, 0, sizeof *text);
}
