/* Contexts as the tools make them: what they build is kept where such things belong. */
#ifndef TOOL_CONTEXT_H
#define TOOL_CONTEXT_H

#include <stddef.h>

#include "qkv.h"

/*
 * The cache directory of a user who named none: $XDG_CACHE_HOME/libqkv, else ~/.cache/libqkv. NULL where QKV_CACHE_DIR is
 * set, which the library reads itself, or where there is no home. Written to `out`.
 */
const char *tool_cache_directory(char *out, size_t size);

/* qkv_context_create() with that directory. */
qkv_status tool_context_create(qkv_context **out, const char *selector);

#endif
