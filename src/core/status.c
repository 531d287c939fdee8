#include "core.h"

#include <stdio.h>
#include <string.h>

/* Fixed, so that recording a failure cannot fail; a longer build log is cut at its end. */
#define MESSAGE_CAPACITY 8192

static _Thread_local char message[MESSAGE_CAPACITY];

qkv_status qkvi_fail(qkv_status status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    (void)vsnprintf(message, sizeof message, format, list);
    va_end(list);
    return status;
}

qkv_status qkvi_fail_prefix(qkv_status status, const char *format, ...) {
    char prefix[512];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);

    size_t shift = strlen(prefix) + 2;
    size_t keep = strlen(message);
    if (shift + keep >= sizeof message) keep = sizeof message - shift - 1;
    memmove(message + shift, message, keep);
    message[shift + keep] = '\0';
    memcpy(message, prefix, shift - 2);
    memcpy(message + shift - 2, ": ", 2);
    return status;
}

qkv_status qkvi_fail_append(qkv_status status, const char *text) {
    size_t used = strlen(message);
    (void)snprintf(message + used, sizeof message - used, "%s", text);
    return status;
}

qkv_status qkvi_fail_memory(const char *what) {
    return qkvi_fail(QKV_OUT_OF_MEMORY, "%s: host memory is exhausted", what);
}

const char *qkv_error_message(void) {
    return message;
}

const char *qkv_status_name(qkv_status status) {
    switch (status) {
#define QKVI_NAME(name, value, text)                                                                                   \
    case name:                                                                                                         \
        return #name;
        QKV_STATUS_LIST(QKVI_NAME)
#undef QKVI_NAME
    case QKV_STATUS_FORCE_INT:
        break;
    }
    return "QKV_UNKNOWN";
}

const char *qkv_status_text(qkv_status status) {
    switch (status) {
#define QKVI_TEXT(name, value, text)                                                                                   \
    case name:                                                                                                         \
        return text;
        QKV_STATUS_LIST(QKVI_TEXT)
#undef QKVI_TEXT
    case QKV_STATUS_FORCE_INT:
        break;
    }
    return "not a status of this library";
}
