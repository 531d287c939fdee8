/* What the files of the store share. */
#ifndef QKVI_STORE_INTERNAL_H
#define QKVI_STORE_INTERNAL_H

#include "core/store.h"

struct qkvi_store {
    int folder;
    uint64_t limit; /* bytes of all entries together */
    char *directory;
};

/* "kind-" and 32 hexadecimal digits of the key's hash; false where the kind is none. */
#define QKVI_STORE_NAME 64
bool qkvi_store_name(char out[QKVI_STORE_NAME], const char *kind, const char *key);
bool qkvi_store_read(int file, void *data, size_t size);
/* A file size limit would end the process, so nothing is written that exceeds it. */
bool qkvi_store_write(int file, const void *data, size_t size);
/* Removes the longest unused entries until the rest is within the limit, and what writers that died left. */
void qkvi_store_trim(const struct qkvi_store *store);

/* An entry's first bytes. */
bool qkvi_store_is_entry(const struct qkvi_store *store, const char *name);

/* Two decimal numbers with a line between them follow. */
#define QKVI_STORE_TEMPORARY "libqkv-new-"
#define QKVI_STORE_MARK "mark"

#endif
