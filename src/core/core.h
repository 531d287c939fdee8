/* No OpenCL calls here: status and message, log, checked sizes, text, locks, tensor arithmetic. */
#ifndef QKVI_CORE_H
#define QKVI_CORE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qkv.h"

#if defined(__GNUC__)
#define QKVI_PRINTF(nth, first) __attribute__((format(printf, nth, first)))
#else
#define QKVI_PRINTF(nth, first)
#endif

#define QKVI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- status.c: records the thread's message and returns the code it records ---- */
qkv_status qkvi_fail(qkv_status status, const char *format, ...) QKVI_PRINTF(2, 3);
/* Puts "prefix: " before the message of a failure that is passed on. */
qkv_status qkvi_fail_prefix(qkv_status status, const char *format, ...) QKVI_PRINTF(2, 3);
/* Puts more behind the message. */
qkv_status qkvi_fail_append(qkv_status status, const char *text);
qkv_status qkvi_fail_memory(const char *what);

/* ---- log.c ---- */
struct qkvi_log {
    qkv_log_function function; /* NULL: silent */
    void *user;
};
void qkvi_log(const struct qkvi_log *log, qkv_log_level level, const char *format, ...) QKVI_PRINTF(3, 4);

/* ---- size.c: false on overflow, *out untouched ---- */
bool qkvi_add(size_t *out, size_t a, size_t b);
bool qkvi_mul(size_t *out, size_t a, size_t b);
/* Product of n sizes. */
bool qkvi_product(size_t *out, const size_t *sizes, size_t n);
size_t qkvi_div_up(size_t a, size_t b);
/* a rounded up to a multiple of b; saturates at SIZE_MAX. */
size_t qkvi_round_up(size_t a, size_t b);
/* The nearest size to `value` from low to high; low where there is none. */
size_t qkvi_between(size_t value, size_t low, size_t high);
/* The least of low, 2 * low, 4 * low ... that holds `size`. */
size_t qkvi_doubled(size_t low, size_t size);

/* ---- text.c: a growing string; after a failed allocation it stays as it was and `failed` is set ---- */
struct qkvi_text {
    char *data; /* NULL while empty */
    size_t length, capacity;
    bool failed;
};
void qkvi_text_add(struct qkvi_text *text, const char *format, ...) QKVI_PRINTF(2, 3);
void qkvi_text_add_list(struct qkvi_text *text, const char *format, va_list list) QKVI_PRINTF(2, 0);
const char *qkvi_text_get(const struct qkvi_text *text); /* never NULL */
void qkvi_text_free(struct qkvi_text *text);
/* Does the text hold this part, in any case? */
bool qkvi_text_has(const char *text, const char *part);
char *qkvi_strdup(const char *s); /* NULL for NULL or without memory */

/* ---- view.c: pure arithmetic on tensors. `name` is the argument's name in messages ---- */
/* storage, dtype, rank, reserved fields, shape; 0 strides only where `input`; no self overlap where not. */
qkv_status qkvi_view_check(const qkv_tensor *t, const char *name, bool input);
/* Lowest and highest element touched; false if the view is empty. Overflow was ruled out by qkvi_view_check. */
bool qkvi_view_extent(const qkv_tensor *t, int64_t *lowest, int64_t *highest);
/* May two views of one buffer share an element (sizes in bytes count)? Exact for what people build
 * (slices, permutations, interleaving); "yes" where the search gives up. */
bool qkvi_view_overlap(const qkv_tensor *a, const qkv_tensor *b);

/* ---- struct_size: reads what the caller's header knew, rejects a nonzero tail we do not know ---- */
/* Copies `size` bytes of our struct from the caller's (which begins with its struct_size), zero-filled. */
qkv_status qkvi_struct_read(void *out, size_t size, const void *in, const char *name);

#endif
