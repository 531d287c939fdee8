/*
 * Blobs kept on disk from one process to the next, each under a kind ("program") and a key (any text).
 * Whatever goes wrong with an entry, a disk or another process makes it absent, never an error: what is kept here can
 * be made again. Thread-safe; any number of processes may use one directory.
 */
#ifndef QKVI_STORE_H
#define QKVI_STORE_H

#include "core/core.h"

/* What all entries together may take, unless QKV_CACHE_SIZE says otherwise. */
#define QKVI_STORE_LIMIT ((uint64_t)64 << 20)

struct qkvi_store;

/*
 * The directory is created (0700, its parents too) where it is missing. QKV_UNSUPPORTED where it cannot be had or trusted:
 * it is a symbolic link, belongs to another user, or others may enter it. QKV_CACHE_SIZE: the limit in bytes, or with
 * K, M or G behind the number.
 */
qkv_status qkvi_store_open(struct qkvi_store **out, const char *directory);
void qkvi_store_close(struct qkvi_store *store); /* NULL is allowed */

/* *data is malloc'ed and has a 0 behind its `size` bytes. False where there is no such entry, no whole one, or one above
 * the limit. */
bool qkvi_store_get(char **data, size_t *size, struct qkvi_store *store, const char *kind, const char *key);
/* Replaces an entry at once: others see the old or the new one. Removes the longest unused ones above the limit, those
 * that fill less than a block of the disk last. False where it could not be kept. `kind`: lower-case letters. */
bool qkvi_store_put(struct qkvi_store *store, const char *kind, const char *key, const void *data, size_t size);
/* Was there one? */
bool qkvi_store_remove(struct qkvi_store *store, const char *kind, const char *key);

/*
 * A mark says that something dangerous is being tried, for as long as it is held. One whose process ended without
 * taking it away was left by a death. A lock on the file tells the two apart, so neither other living processes nor
 * process ids that were given again are taken for one. A crash and a user who lost patience look the same, so a death
 * counts for a day, a second one in a row for ten days, and so on.
 */
enum qkvi_mark_state {
    QKVI_MARK_NONE, /* it could not be written: go on without */
    QKVI_MARK_HELD, /* written; qkvi_mark_end() */
    QKVI_MARK_BUSY, /* somebody else is trying the same at this moment */
    QKVI_MARK_LEFT, /* by a death that counts; it stays */
};
struct qkvi_mark {
    struct qkvi_store *store;
    int file;
    unsigned deaths; /* in a row before it */
    char name[64];
};
/* *mark is complete only where QKVI_MARK_HELD is returned. So many deaths in a row are `forgiven` whenever they were. */
enum qkvi_mark_state qkvi_mark_begin(struct qkvi_mark *mark, struct qkvi_store *store, const char *key,
                                     unsigned forgiven);
void qkvi_mark_end(struct qkvi_mark *mark);
/* Takes away the marks that were left under keys that begin so. */
void qkvi_marks_forget(const struct qkvi_store *store, const char *beginning);
/* The mark's file, for messages. */
void qkvi_mark_path(struct qkvi_text *out, const struct qkvi_store *store, const char *key);

/* Of bytes in memory; `seed`: the hash of what comes before them. */
uint64_t qkvi_hash(const void *data, size_t size, uint64_t seed);

#endif
