/* Files: read whole with a size cap, write to a temporary name and rename. */
#ifndef TOOL_FILES_H
#define TOOL_FILES_H

#include <stdio.h>

#include "error.h"

typedef struct tool_bytes {
    char *data; /* a NUL follows the last byte */
    size_t size;
} tool_bytes;

/* The whole of a file, or of standard input where path is "-"; more than max_bytes is an error. */
bool tool_read_file(tool_bytes *out, const char *path, size_t max_bytes, tool_error *error);
void tool_bytes_free(tool_bytes *bytes);

/* "directory/name" in new memory; NULL and an error where there is none. */
char *tool_path(const char *directory, const char *name, tool_error *error);

bool tool_file_exists(const char *path);

/* Makes a directory unless there is one; its parent must exist. */
bool tool_make_directory(const char *path, tool_error *error);

/*
 * A file that appears under its name only when it is complete: written beside it under a temporary
 * name. "-" is standard output, which has no such protection.
 */
typedef struct tool_output {
    FILE *stream;
    char *path;
    char *temporary; /* NULL for standard output */
} tool_output;

bool tool_output_open(tool_output *out, const char *path, tool_error *error);
/* Flushes, checks every write so far, renames. The output is closed whatever happens. */
bool tool_output_commit(tool_output *out, tool_error *error);
/* Throws away what was written. Does nothing after a commit. */
void tool_output_abort(tool_output *out);

#endif
