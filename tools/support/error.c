#include "error.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool tool_fail(tool_error *error, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int length = vsnprintf(error->text, sizeof error->text, format, list);
    va_end(list);
    if (length >= (int)sizeof error->text) memcpy(error->text + sizeof error->text - 4, "...", 4);
    /* Names out of untrusted files end up here: they must not steer a terminal. */
    for (char *at = error->text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '\n')
            *at = ' ';
        else if (byte < 0x20 || byte == 0x7f)
            *at = '?';
        /* U+0080 to U+009F, which some terminals obey too. */
        if (byte == 0xC2 && (unsigned char)at[1] >= 0x80 && (unsigned char)at[1] <= 0x9F) at[0] = at[1] = '?';
    }
    return false;
}

bool tool_multiply(size_t *out, size_t a, size_t b) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

void *tool_alloc(size_t count, size_t size, tool_error *error) {
    void *memory = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (memory == NULL) tool_fail(error, "out of memory: %zu elements of %zu bytes", count, size);
    return memory;
}

bool tool_grow(void *items, size_t *capacity, size_t needed, size_t size, tool_error *error) {
    if (needed <= *capacity) return true;
    size_t wanted = *capacity < 16 ? 16 : *capacity;
    while (wanted < needed) {
        if (wanted > SIZE_MAX / 2) return tool_fail(error, "out of memory: %zu elements of %zu bytes", needed, size);
        wanted *= 2;
    }
    size_t bytes;
    void *old, *grown = NULL;
    memcpy(&old, items, sizeof old);
    if (tool_multiply(&bytes, wanted, size)) grown = realloc(old, bytes);
    if (grown == NULL) return tool_fail(error, "out of memory: %zu elements of %zu bytes", needed, size);
    memcpy(items, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

char *tool_copy(const char *text, size_t length, tool_error *error) {
    char *copy = length == SIZE_MAX ? NULL : malloc(length + 1);
    if (copy == NULL) {
        tool_fail(error, "out of memory: %zu bytes", length);
        return NULL;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

double tool_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}
