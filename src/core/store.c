#include "core/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static qkv_status read_limit(uint64_t *limit) {
    const char *text = getenv("QKV_CACHE_SIZE");
    static const char units[] = "KMG";
    *limit = QKVI_STORE_LIMIT;
    if (!text || !*text) return QKV_OK;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (*text < '0' || *text > '9' || errno || (*end && (!unit || end[1])) || number > UINT64_MAX >> shift)
        return qkvi_fail(
            QKV_INVALID_ARGUMENT,
            "environment variable QKV_CACHE_SIZE is \"%s\"; it must be a number of bytes, or one with K, M "
            "or G behind it",
            text);
    *limit = (uint64_t)number << shift;
    return QKV_OK;
}

/* Whatever the umask: one that we could not enter would stay so. */
static int create_folder(const char *path) {
    if (mkdir(path, 0700) == 0) return chmod(path, 0700) == 0 ? 0 : errno;
    return errno == EEXIST ? 0 : errno;
}

/* The directory's parents may be links (many systems' are): whose the last one is, is checked when it is open. Returns the
 * error of making the last one, 0 for none. */
static int create_folders(char *path) {
    for (char *at = path + 1; *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        (void)create_folder(path);
        *at = '/';
    }
    return create_folder(path);
}

static qkv_status open_folder(struct qkvi_store *store) {
    const char *path = store->directory;
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat s;
    int unmade = 0;
    store->folder = open(path, flags);
    if (store->folder < 0 && errno == ENOENT) {
        unmade = create_folders(store->directory);
        store->folder = open(path, flags);
    }
    if (store->folder < 0 && unmade)
        return qkvi_fail(QKV_UNSUPPORTED, "cache directory %s: it is not there and cannot be made: %s", path,
                         strerror(unmade));
    if (store->folder < 0 || fstat(store->folder, &s) != 0) {
        int error = errno;
        bool link = lstat(path, &s) == 0 && S_ISLNK(s.st_mode);
        return qkvi_fail(QKV_UNSUPPORTED, "cache directory %s: %s", path,
                         link ? "it is a symbolic link" : strerror(error));
    }
    if (s.st_uid != geteuid())
        return qkvi_fail(QKV_UNSUPPORTED, "cache directory %s: it belongs to user %lu, not to user %lu", path,
                         (unsigned long)s.st_uid, (unsigned long)geteuid());
    if (s.st_mode & 077)
        return qkvi_fail(QKV_UNSUPPORTED,
                         "cache directory %s: others may enter it (mode %04o); chmod 700 makes it safe", path,
                         (unsigned)s.st_mode & 07777);
    return QKV_OK;
}

/* A slash at the end would make the system follow a link. */
static char *copy_path(const char *directory) {
    char *path = qkvi_strdup(directory);
    for (size_t length = path ? strlen(path) : 0; length > 1 && path[length - 1] == '/'; length--)
        path[length - 1] = 0;
    return path;
}

qkv_status qkvi_store_open(struct qkvi_store **out, const char *directory) {
    if (!directory || !*directory) return qkvi_fail(QKV_INVALID_ARGUMENT, "the cache directory's name is empty");
    struct qkvi_store *store = calloc(1, sizeof *store);
    if (!store) return qkvi_fail_memory("cache");
    store->folder = -1;
    store->directory = copy_path(directory);
    qkv_status status = store->directory ? read_limit(&store->limit) : qkvi_fail_memory("cache");
    if (!status) status = open_folder(store);
    if (status) {
        qkvi_store_close(store);
        return status;
    }
    qkvi_store_trim(store); /* the limit may be another than the last time, and a writer may have died */
    *out = store;
    return QKV_OK;
}

void qkvi_store_close(struct qkvi_store *store) {
    if (!store) return;
    if (store->folder >= 0) (void)close(store->folder);
    free(store->directory);
    free(store);
}
