#include "core.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct qkvi_text *text, size_t more) {
    size_t needed;
    if (!qkvi_add(&needed, text->length + 1, more)) return false;
    if (needed <= text->capacity) return true;
    size_t capacity = text->capacity < 128 ? 128 : text->capacity;
    while (capacity < needed && qkvi_mul(&capacity, capacity, 2)) {}
    if (capacity < needed) return false;
    char *data = realloc(text->data, capacity);
    if (!data) return false;
    text->data = data;
    text->capacity = capacity;
    return true;
}

void qkvi_text_add_list(struct qkvi_text *text, const char *format, va_list list) {
    va_list again;
    va_copy(again, list);
    int length = vsnprintf(NULL, 0, format, list);
    if (length < 0 || !reserve(text, (size_t)length)) {
        text->failed = true;
    } else {
        (void)vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void qkvi_text_add(struct qkvi_text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    qkvi_text_add_list(text, format, list);
    va_end(list);
}

const char *qkvi_text_get(const struct qkvi_text *text) {
    return text->data ? text->data : "";
}

void qkvi_text_free(struct qkvi_text *text) {
    free(text->data);
    *text = (struct qkvi_text){0};
}

bool qkvi_text_has(const char *text, const char *part) {
    for (; *text; text++) {
        size_t i = 0;
        while (part[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (!part[i]) return true;
    }
    return false;
}

char *qkvi_strdup(const char *s) {
    if (!s) return NULL;
    size_t bytes = strlen(s) + 1;
    char *copy = malloc(bytes);
    if (copy) memcpy(copy, s, bytes);
    return copy;
}
