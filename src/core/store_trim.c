#include "core/store_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A writer holds its temporary file for milliseconds; older ones have none. */
#define ABANDONED_SECONDS 3600

/* Nothing is won by removing what takes less than a block of most disks, and measurements and ledgers are that small. */
#define SMALL_BYTES 4096

#ifdef __APPLE__
#define LAST_USE(s) ((s)->st_mtimespec)
#else
#define LAST_USE(s) ((s)->st_mtim)
#endif

struct entry {
    char name[QKVI_STORE_NAME];
    uint64_t size;
    struct timespec used;
};

struct entries {
    struct entry *list;
    size_t count, capacity;
    uint64_t size;
};

/* Without memory the rest is not considered this time. */
static void add(struct entries *e, const char *name, const struct stat *s) {
    if (e->count == e->capacity) {
        size_t capacity = e->capacity ? 2 * e->capacity : 64;
        struct entry *list = realloc(e->list, capacity * sizeof *list);
        if (!list) return;
        e->list = list;
        e->capacity = capacity;
    }
    struct entry *entry = &e->list[e->count++];
    memcpy(entry->name, name, strlen(name) + 1);
    entry->size = (uint64_t)s->st_size;
    entry->used = LAST_USE(s);
    e->size += entry->size;
}

static bool begins_with(const char *name, const char *prefix) {
    return !strncmp(name, prefix, strlen(prefix));
}

static bool is_temporary(const char *name) {
    static const char digits[] = "0123456789";
    if (!begins_with(name, QKVI_STORE_TEMPORARY)) return false;
    name += strlen(QKVI_STORE_TEMPORARY);
    size_t first = strspn(name, digits), second = name[first] == '-' ? strspn(name + first + 1, digits) : 0;
    return first > 0 && second > 0 && !name[first + 1 + second];
}

/* Marks are not entries: only who made one or the user takes it away. Nor is what others may have put here. */
static void consider(struct entries *e, int folder, const char *name) {
    const char *hash = strrchr(name, '-');
    struct stat s;
    if (strlen(name) >= QKVI_STORE_NAME || !hash || begins_with(name, QKVI_STORE_MARK "-")) return;
    if (fstatat(folder, name, &s, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(s.st_mode)) return;
    if (is_temporary(name)) {
        if (time(NULL) - s.st_mtime > ABANDONED_SECONDS) (void)unlinkat(folder, name, 0);
    } else if (strspn(hash + 1, "0123456789abcdef") == 32 && !hash[33]) {
        add(e, name, &s);
    }
}

/* Whoever gives us a folder that holds other things keeps them, even where their names look like ours. */
static void leave_others(struct entries *e, const struct qkvi_store *store) {
    size_t kept = 0;
    e->size = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (!qkvi_store_is_entry(store, e->list[i].name)) continue;
        e->size += e->list[i].size;
        e->list[kept++] = e->list[i];
    }
    e->count = kept;
}

static int compare(const void *a, const void *b) {
    const struct entry *left = a, *right = b;
    const bool small[] = {left->size < SMALL_BYTES, right->size < SMALL_BYTES};
    if (small[0] != small[1]) return small[0] ? 1 : -1;
    const struct timespec *x = &left->used, *y = &right->used;
    if (x->tv_sec != y->tv_sec) return x->tv_sec < y->tv_sec ? -1 : 1;
    return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

void qkvi_store_trim(const struct qkvi_store *store) {
    struct entries e = {0};
    /* A descriptor of its own: readdir() moves the position, which a duplicate would share between threads. */
    int folder = openat(store->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = folder < 0 ? NULL : fdopendir(folder);
    if (!stream) {
        if (folder >= 0) (void)close(folder);
        return;
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        consider(&e, store->folder, entry->d_name);
    (void)closedir(stream);
    if (e.size > store->limit) leave_others(&e, store);
    if (e.size > store->limit) qsort(e.list, e.count, sizeof *e.list, compare);
    for (size_t i = 0; i < e.count && e.size > store->limit; i++) {
        (void)unlinkat(store->folder, e.list[i].name, 0);
        e.size -= e.list[i].size;
    }
    free(e.list);
}
