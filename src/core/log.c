#include "core.h"

void qkvi_log(const struct qkvi_log *log, qkv_log_level level, const char *format, ...) {
    if (!log || !log->function) return;
    struct qkvi_text text = {0};
    va_list list;
    va_start(list, format);
    qkvi_text_add_list(&text, format, list);
    va_end(list);
    log->function(log->user, level, qkvi_text_get(&text));
    qkvi_text_free(&text);
}
