#include "text.h"

#include <stdlib.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char replacement[] = "\xEF\xBF\xBD";

/* What the locale writes is what a terminal shows. */
static const char *ellipsis(void) {
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *locale = NULL;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0] && !(locale && *locale); i++)
        locale = getenv(variables[i]);
    bool utf8 = locale && (strstr(locale, "UTF-8") || strstr(locale, "utf8") || strstr(locale, "UTF8"));
    return utf8 ? "\xE2\x80\xA6" : "...";
}

/* Bytes of the character at `text`, or -1; never reads past length. */
static int next_character(const char *text, size_t length, utf8proc_int32_t *character) {
    size_t most = length < 4 ? length : 4;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)most, character);
    return used > 0 ? (int)used : -1;
}

bool tool_text_valid(const char *text, size_t length) {
    utf8proc_int32_t character;
    for (size_t at = 0; at < length;) {
        int used = next_character(text + at, length - at, &character);
        if (used < 0) return false;
        at += (size_t)used;
    }
    return true;
}

char *tool_text_repair(const char *text, size_t length, size_t *out_length, tool_error *error) {
    size_t bytes;
    char *out = NULL;
    if (!tool_multiply(&bytes, length, 3) || bytes + 1 < bytes)
        tool_fail(error, "out of memory: a text of %zu bytes", length);
    else
        out = tool_alloc(bytes + 1, 1, error);
    if (out == NULL) return NULL;
    size_t end = 0;
    utf8proc_int32_t character;
    for (size_t at = 0; at < length;) {
        int used = next_character(text + at, length - at, &character);
        if (used < 0) {
            memcpy(out + end, replacement, 3);
            end += 3;
            at++;
        } else {
            memcpy(out + end, text + at, (size_t)used);
            end += (size_t)used;
            at += (size_t)used;
        }
    }
    out[end] = '\0';
    *out_length = end;
    return out;
}

static bool is_control(utf8proc_int32_t character) {
    utf8proc_category_t category = utf8proc_category(character);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

static size_t character_width(utf8proc_int32_t character) {
    int width = utf8proc_charwidth(character);
    return width > 0 ? (size_t)width : 0;
}

size_t tool_text_width(const char *text) {
    size_t width = 0, length = strlen(text);
    utf8proc_int32_t character;
    for (size_t at = 0; at < length;) {
        int used = next_character(text + at, length - at, &character);
        width += used < 0 || is_control(character) ? 1 : character_width(character);
        at += used < 0 ? 1 : (size_t)used;
    }
    return width;
}

void tool_text_fit(char *out, size_t out_size, const char *text, size_t columns) {
    size_t length = strlen(text), end = 0, width = 0;
    bool cut = tool_text_width(text) > columns;
    const char *end_mark = ellipsis();
    size_t mark_width = tool_text_width(end_mark), mark_bytes = strlen(end_mark);
    size_t room = cut && columns > mark_width ? columns - mark_width : cut ? 0 : columns;
    utf8proc_int32_t character;
    for (size_t at = 0; at < length;) {
        int used = next_character(text + at, length - at, &character);
        bool odd = used < 0 || is_control(character);
        const char *piece = odd ? replacement : text + at;
        size_t bytes = odd ? 3 : (size_t)used;
        width += odd ? 1 : character_width(character);
        if (width > room || end + bytes + mark_bytes + 1 > out_size) {
            cut = true;
            break;
        }
        memcpy(out + end, piece, bytes);
        end += bytes;
        at += used < 0 ? 1 : (size_t)used;
    }
    if (cut && columns >= mark_width && end + mark_bytes + 1 <= out_size) {
        memcpy(out + end, end_mark, mark_bytes);
        end += mark_bytes;
    }
    out[end] = '\0';
}

void tool_text_print(FILE *stream, const char *text, size_t columns, bool right) {
    char fitted[512];
    tool_text_fit(fitted, sizeof fitted, text, columns);
    size_t width = tool_text_width(fitted);
    int blanks = width < columns ? (int)(columns - width) : 0;
    fprintf(stream, "%*s%s%*s", right ? blanks : 0, "", fitted, right ? 0 : blanks, "");
}
