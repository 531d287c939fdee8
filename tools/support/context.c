#include "support/context.h"

#include <stdio.h>
#include <stdlib.h>

const char *tool_cache_directory(char *out, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;
    if (getenv("QKV_CACHE_DIR")) return NULL;
    /* A relative path there is invalid and is to be ignored, says the specification. */
    if (cache && *cache == '/')
        length = snprintf(out, size, "%s/libqkv", cache);
    else if (home && *home == '/')
        length = snprintf(out, size, "%s/.cache/libqkv", home);
    return length > 0 && (size_t)length < size ? out : NULL;
}

qkv_status tool_context_create(qkv_context **out, const char *selector) {
    char directory[4096];
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    options.cache_dir = tool_cache_directory(directory, sizeof directory);
    return qkv_context_create(out, selector, &options);
}
