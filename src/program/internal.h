/* What the files of this folder share. */
#ifndef QKVI_PROGRAM_INTERNAL_H
#define QKVI_PROGRAM_INTERNAL_H

#include "program/program.h"

/* Is a program on disk? */
enum qkvi_place { QKVI_NOT_KEPT, QKVI_TO_KEEP, QKVI_ON_DISK };

struct qkvi_program_entry {
    char *key; /* "stem options" */
    const struct qkvi_source *source;
    char *options; /* all of them, as it was built; NULL for want of memory */
    struct qkvi_dialect dialect;
    enum qkvi_place place;
    bool loaded; /* not built by this process */
    bool stale;  /* nobody gets it any more */
    bool lent;   /* to one attempt, which frees it */
    cl_program program;
    qkv_status status; /* of its one build */
    char *failure;     /* message of a failed build; may be NULL for want of memory */
    struct qkvi_program_entry *next;
};
void qkvi_program_free(struct qkvi_program_entry *entry);

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
/* A program built by an earlier process: QKVI_ON_DISK; else what is to become of the one that must be built now. */
enum qkvi_place qkvi_cache_load(cl_program *out, const struct qkvi_programs *programs, const struct qkvi_source *source,
                                const char *options);
/* Later processes shall not load it, nor shall this one. The caller holds programs->lock. */
void qkvi_cache_drop(const struct qkvi_programs *programs, struct qkvi_program_entry *entry);

/* ---- ledger.c: has an attempt of this name ever ended well? ---- */
bool qkvi_ledger_survived(const struct qkvi_programs *programs, const char *what);
void qkvi_ledger_survives(const struct qkvi_programs *programs, const char *what);

/* ---- attempt.c: the attempt that this thread is making, if any ---- */

/* It uses the program; false where it uses too many. The caller holds programs->lock. */
bool qkvi_attempt_uses(struct qkvi_program_entry *entry);
/* The binary that it is to load. */
const struct qkvi_blob *qkvi_attempt_blob(const struct qkvi_source *source, const char *options);
/* One of those that it took. */
struct qkvi_program_entry *qkvi_attempt_find(const char *key);

#endif
