/* What the tools share: a one-line error, checked allocation, a clock. */
#ifndef TOOL_ERROR_H
#define TOOL_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/* The first failure's text: one line, without a newline and without control characters. */
typedef struct tool_error {
    char text[1024];
} tool_error;

/* Fills `error` and returns false, so that `return tool_fail(...)` reads well. */
bool tool_fail(tool_error *error, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Zeroed memory for count * size bytes, never NULL without an error; count 0 gives a valid pointer. */
void *tool_alloc(size_t count, size_t size, tool_error *error);

/* Grows *items (elements of `size` bytes) so that it holds at least `needed`; *capacity follows. */
bool tool_grow(void *items, size_t *capacity, size_t needed, size_t size, tool_error *error);

/* A copy of length bytes with a NUL after them. */
char *tool_copy(const char *text, size_t length, tool_error *error);

/* *out = a * b unless that overflows. */
bool tool_multiply(size_t *out, size_t a, size_t b);

/* Milliseconds of a monotonic clock. */
double tool_clock_ms(void);

#endif
