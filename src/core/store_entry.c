#include "core/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* In the header alone: no library to depend on at run time. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* An entry: this, the key, the data, and nothing behind. Numbers as the machine has them: another byte order's magic
 * is not ours. */
struct header {
    uint64_t magic;
    uint64_t checksum; /* of everything behind it */
    uint64_t key_size, data_size;
};
#define MAGIC 0x31564b5165686361u /* "ache" "QKV1" */
#define CHECKED offsetof(struct header, key_size)

/* A use this long ago is noted when an entry is used again; sooner would write at every start. */
#define TOUCH_SECONDS 3600

uint64_t qkvi_hash(const void *data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

bool qkvi_store_name(char out[QKVI_STORE_NAME], const char *kind, const char *key) {
    size_t length = strlen(kind);
    if (length == 0 || length > 16 || strspn(kind, "abcdefghijklmnopqrstuvwxyz") != length) return false;
    XXH128_hash_t hash = XXH3_128bits(key, strlen(key));
    (void)snprintf(out, QKVI_STORE_NAME, "%s-%016llx%016llx", kind, (unsigned long long)hash.high64,
                   (unsigned long long)hash.low64);
    return true;
}

bool qkvi_store_read(int file, void *data, size_t size) {
    char *at = data;
    while (size > 0) {
        ssize_t got = read(file, at, size < SSIZE_MAX ? size : SSIZE_MAX);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

bool qkvi_store_write(int file, const void *data, size_t size) {
    const char *at = data;
    struct rlimit most;
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY && size > most.rlim_cur) return false;
    while (size > 0) {
        ssize_t put = write(file, at, size < SSIZE_MAX ? size : SSIZE_MAX);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        at += put;
        size -= (size_t)put;
    }
    return true;
}

static int open_entry(const struct qkvi_store *store, const char *name) {
    return openat(store->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

bool qkvi_store_is_entry(const struct qkvi_store *store, const char *name) {
    uint64_t magic = 0;
    int file = open_entry(store, name);
    if (file < 0) return false;
    bool good = qkvi_store_read(file, &magic, sizeof magic) && magic == MAGIC;
    (void)close(file);
    return good;
}

/* Nobody else could have written it, and it has the size that its header tells: nothing larger than an entry may be is
 * read. */
static bool fits(const struct header *h, const struct stat *s, const struct qkvi_store *store, size_t key_size) {
    return S_ISREG(s->st_mode) && s->st_uid == geteuid() && !(s->st_mode & 022) && h->magic == MAGIC &&
           h->key_size == key_size && (uint64_t)s->st_size <= store->limit && s->st_size < SSIZE_MAX &&
           h->data_size == (uint64_t)s->st_size - sizeof *h - key_size;
}

static bool is_whole(const struct header *h, const char *bytes, size_t size, const char *key) {
    return !memcmp(bytes + sizeof *h, key, strlen(key)) && h->checksum == XXH3_64bits(bytes + CHECKED, size - CHECKED);
}

/* The whole file; NULL where it is not the entry of this key. */
static char *read_entry(size_t *size, const struct qkvi_store *store, int file, const char *key) {
    struct stat s;
    struct header h;
    if (fstat(file, &s) != 0 || s.st_size < (off_t)(sizeof h + strlen(key))) return NULL;
    if (!qkvi_store_read(file, &h, sizeof h) || !fits(&h, &s, store, strlen(key))) return NULL;
    *size = (size_t)s.st_size;
    char *bytes = malloc(*size + 1);
    if (!bytes) return NULL;
    memcpy(bytes, &h, sizeof h);
    if (!qkvi_store_read(file, bytes + sizeof h, *size - sizeof h) || !is_whole(&h, bytes, *size, key)) {
        free(bytes);
        return NULL;
    }
    if (time(NULL) - s.st_mtime > TOUCH_SECONDS) (void)futimens(file, NULL);
    return bytes;
}

bool qkvi_store_get(char **data, size_t *size, struct qkvi_store *store, const char *kind, const char *key) {
    char name[QKVI_STORE_NAME];
    size_t bytes_size;
    int file = qkvi_store_name(name, kind, key) ? open_entry(store, name) : -1;
    if (file < 0) return false;
    char *bytes = read_entry(&bytes_size, store, file, key);
    (void)close(file);
    if (!bytes) return false;
    size_t before = sizeof(struct header) + strlen(key);
    *size = bytes_size - before;
    memmove(bytes, bytes + before, *size);
    bytes[*size] = 0;
    *data = bytes;
    return true;
}

/* In memory first: one write, and a checksum of what was meant, not of what came back. */
static char *make_entry(size_t *out_size, const char *key, const void *data, size_t size) {
    struct header h = {.magic = MAGIC, .key_size = strlen(key), .data_size = size};
    size_t before = sizeof h + strlen(key);
    char *bytes = qkvi_add(out_size, before, size) ? malloc(*out_size) : NULL;
    if (!bytes) return NULL;
    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, key, strlen(key));
    if (size > 0) memcpy(bytes + before, data, size);
    h.checksum = XXH3_64bits(bytes + CHECKED, *out_size - CHECKED);
    memcpy(bytes, &h, sizeof h);
    return bytes;
}

/* Unlike any other writer's; one that died may have left a file of the same process id. */
static int create_temporary(char name[QKVI_STORE_NAME], const struct qkvi_store *store) {
    static atomic_uint count;
    int file = -1;
    for (int tries = 0; file < 0 && tries < 100; tries++) {
        (void)snprintf(name, QKVI_STORE_NAME, QKVI_STORE_TEMPORARY "%ld-%u", (long)getpid(),
                       atomic_fetch_add(&count, 1));
        file = openat(store->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (file < 0 && errno != EEXIST) break;
    }
    if (file >= 0) (void)fchmod(file, 0600); /* whatever the umask */
    return file;
}

/*
 * Not synchronised with the disk: that takes as long as building a small program, and an entry that a power failure cut
 * is recognised and made again.
 */
bool qkvi_store_put(struct qkvi_store *store, const char *kind, const char *key, const void *data, size_t size) {
    char name[QKVI_STORE_NAME], temporary[QKVI_STORE_NAME];
    size_t bytes_size;
    if (!qkvi_store_name(name, kind, key)) return false;
    char *bytes = make_entry(&bytes_size, key, data, size);
    if (!bytes || bytes_size > store->limit) {
        free(bytes);
        return false;
    }
    int file = create_temporary(temporary, store);
    bool good = file >= 0 && qkvi_store_write(file, bytes, bytes_size);
    free(bytes);
    if (file < 0) return false;
    /* Some file systems tell only now that they are full. */
    good = close(file) == 0 && good;
    good = good && renameat(store->folder, temporary, store->folder, name) == 0;
    if (!good) (void)unlinkat(store->folder, temporary, 0);
    qkvi_store_trim(store);
    return good;
}

bool qkvi_store_remove(struct qkvi_store *store, const char *kind, const char *key) {
    char name[QKVI_STORE_NAME];
    return qkvi_store_name(name, kind, key) && unlinkat(store->folder, name, 0) == 0;
}
