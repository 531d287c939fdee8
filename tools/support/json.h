/* JSON files that nobody vouches for. */
#ifndef TOOL_JSON_H
#define TOOL_JSON_H

#include <jansson.h>

#include "error.h"

/*
 * Parses `size` bytes; `name` is for messages. The root must be an object, and a key given twice in one
 * object is an error. A value takes far more memory than its text, so max_values bounds their number;
 * 0: no bound. flags: jansson's, on top of these.
 */
json_t *tool_json_parse(const char *text, size_t size, const char *name, size_t max_values, size_t flags,
                        tool_error *error);

/* The same for a file of at most max_bytes. */
json_t *tool_json_read(const char *path, size_t max_bytes, size_t flags, tool_error *error);

#endif
