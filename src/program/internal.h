/* What the files of this folder share. */
#ifndef QKVI_PROGRAM_INTERNAL_H
#define QKVI_PROGRAM_INTERNAL_H

#include "program/program.h"

struct qkvi_program_entry {
    char *key; /* "stem options" */
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

#endif
