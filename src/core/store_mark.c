/* flock() is in no standard: what asks for the standard's names alone hides it on some systems. */
#undef _POSIX_C_SOURCE
#define _DEFAULT_SOURCE 1
#define _DARWIN_C_SOURCE 1
#include "core/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Does the file hold the key? An empty or cut one was never a mark: its process ended before it tried anything. */
static bool holds(int file, off_t size, const char *key) {
    size_t length = strlen(key);
    if (size != (off_t)length) return false;
    char *text = malloc(length + 1);
    bool same = text && qkvi_store_read(file, text, length) && !memcmp(text, key, length);
    free(text);
    return same;
}

static enum qkvi_mark_state write_mark(struct qkvi_mark *mark, const char *key) {
    if (lseek(mark->file, 0, SEEK_SET) == 0 && ftruncate(mark->file, 0) == 0 &&
        qkvi_store_write(mark->file, key, strlen(key)))
        return QKVI_MARK_HELD;
    (void)unlinkat(mark->store->folder, mark->name, 0);
    return QKVI_MARK_NONE;
}

/* The file is open. *gone: its holder took it away between our open and our lock. */
static enum qkvi_mark_state judge(struct qkvi_mark *mark, const char *key, bool *gone) {
    struct stat s;
    if (flock(mark->file, LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? QKVI_MARK_BUSY : QKVI_MARK_NONE;
    if (fstat(mark->file, &s) != 0 || !S_ISREG(s.st_mode) || s.st_uid != geteuid()) return QKVI_MARK_NONE;
    *gone = s.st_nlink == 0;
    if (*gone) return QKVI_MARK_NONE;
    return holds(mark->file, s.st_size, key) ? QKVI_MARK_LEFT : write_mark(mark, key);
}

enum qkvi_mark_state qkvi_mark_begin(struct qkvi_mark *mark, struct qkvi_store *store, const char *key) {
    *mark = (struct qkvi_mark){.store = store, .file = -1};
    enum qkvi_mark_state state = QKVI_MARK_NONE;
    bool gone = true;
    if (!qkvi_store_name(mark->name, QKVI_STORE_MARK, key)) return state;
    for (int tries = 0; gone && tries < 16; tries++) {
        gone = false;
        mark->file = openat(store->folder, mark->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (mark->file < 0) break;
        state = judge(mark, key, &gone);
        if (state != QKVI_MARK_HELD) (void)close(mark->file);
    }
    return state;
}

/* Gone before the lock is: who waits for neither sees a mark without a holder. */
void qkvi_mark_end(struct qkvi_mark *mark) {
    (void)unlinkat(mark->store->folder, mark->name, 0);
    (void)close(mark->file);
    mark->file = -1;
}

static bool is_left(int file, const char *beginning) {
    struct stat s;
    size_t length = strlen(beginning);
    if (flock(file, LOCK_EX | LOCK_NB) != 0 || fstat(file, &s) != 0) return false;
    return s.st_size >= (off_t)length && holds(file, (off_t)length, beginning);
}

void qkvi_marks_forget(const struct qkvi_store *store, const char *beginning) {
    int folder = openat(store->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = folder < 0 ? NULL : fdopendir(folder);
    if (!stream && folder >= 0) (void)close(folder);
    for (struct dirent *entry; stream && (entry = readdir(stream)) != NULL;) {
        if (strncmp(entry->d_name, QKVI_STORE_MARK "-", strlen(QKVI_STORE_MARK "-"))) continue;
        int file = openat(store->folder, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (file < 0) continue;
        if (is_left(file, beginning)) (void)unlinkat(store->folder, entry->d_name, 0);
        (void)close(file);
    }
    if (stream) (void)closedir(stream);
}

void qkvi_mark_path(struct qkvi_text *out, const struct qkvi_store *store, const char *key) {
    char name[QKVI_STORE_NAME];
    if (qkvi_store_name(name, QKVI_STORE_MARK, key)) qkvi_text_add(out, "%s/%s", store->directory, name);
}
