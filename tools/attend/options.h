/* The command line of qkv-attend. */
#ifndef ATTEND_OPTIONS_H
#define ATTEND_OPTIONS_H

#include "../support/error.h"
#include "explain.h"

typedef struct attend_options {
    const char *model;
    const char *text;      /* NULL where text_file is given */
    const char *text_file; /* "-": standard input */
    const char *picture, *json, *export_to, *device;
    long layer; /* -1: the last */
    int head;   /* a number, ATTEND_HEAD_MEAN or ATTEND_HEAD_ALL */
    bool explain;
    attend_explain_request request;
    bool worked_example, help, version;
} attend_options;

/* False is a usage error. The strings belong to argv. */
bool attend_options_parse(attend_options *out, int argc, char **argv, tool_error *error);

extern const char attend_help[];

#endif
