/* What the files of this folder share. */
#ifndef QKVI_PROGRAM_INTERNAL_H
#define QKVI_PROGRAM_INTERNAL_H

#include "program/program.h"

struct qkvi_program_entry {
    char *key;       /* "stem options" */
    char *cache_key; /* NULL: on disk already, or not to be kept there */
    cl_program program;
    qkv_status status; /* of its one build */
    char *failure;     /* message of a failed build; may be NULL for want of memory */
    struct qkvi_program_entry *next;
};

struct qkvi_ledger_entry {
    struct qkvi_ledger_entry *next;
    enum qkvi_verdict verdict;
    char key[]; /* what was tried */
};

qkv_status qkvi_program_get(struct qkvi_program_entry **out, struct qkvi_programs *programs, const char *stem,
                            const char *options);

/* ---- cache.c ---- */

/* What belongs to this device and library in the store, NULL without memory or without a store. */
char *qkvi_cache_key(const struct qkvi_programs *programs, const char *format, ...) QKVI_PRINTF(2, 3);
/* A program built by an earlier process; *key is what qkvi_cache_keep() keeps it under if it must be built now, NULL
 * where it is not to be kept. */
bool qkvi_cache_load(cl_program *out, char **key, const struct qkvi_programs *programs,
                     const struct qkvi_source *source, const char *options);

#endif
