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
#include <time.h>
#include <unistd.h>

/* A mark holds its key, and this once more for each death in a row before it. */
#define DIED_BEFORE '+'
#define MOST_DEATHS 6u
#define FIRST_SECONDS (24 * 3600)

/* Does the file begin with the key? An empty or cut one was never a mark: its process ended before it tried anything. */
static bool begins_with(int file, off_t size, const char *key) {
    size_t length = strlen(key);
    if (size < (off_t)length) return false;
    char *text = malloc(length + 1);
    bool same = text && qkvi_store_read(file, text, length) && !memcmp(text, key, length);
    free(text);
    return same;
}

/* How many processes died under it, one after the other; 0: it is none. */
static unsigned count_deaths(int file, off_t size, const char *key) {
    char before[MOST_DEATHS];
    off_t more = size - (off_t)strlen(key);
    if (more < 0 || more >= (off_t)MOST_DEATHS || !begins_with(file, size, key)) return 0;
    if (!qkvi_store_read(file, before, (size_t)more)) return 0;
    for (off_t i = 0; i < more; i++)
        if (before[i] != DIED_BEFORE) return 0;
    return 1 + (unsigned)more;
}

/* A clock that was set back makes none old. */
static bool counts(unsigned deaths, time_t last) {
    double seconds = FIRST_SECONDS;
    for (unsigned i = 1; i < deaths; i++)
        seconds *= 10;
    return deaths > 0 && difftime(time(NULL), last) < seconds;
}

static enum qkvi_mark_state write_mark(struct qkvi_mark *mark, const char *key, unsigned deaths) {
    char before[MOST_DEATHS];
    size_t more = deaths < MOST_DEATHS ? deaths : MOST_DEATHS - 1;
    memset(before, DIED_BEFORE, sizeof before);
    mark->deaths = deaths;
    (void)fchmod(mark->file, 0600); /* whatever the umask: the next process reads it */
    if (lseek(mark->file, 0, SEEK_SET) == 0 && ftruncate(mark->file, 0) == 0 &&
        qkvi_store_write(mark->file, key, strlen(key)) && qkvi_store_write(mark->file, before, more))
        return QKVI_MARK_HELD;
    (void)unlinkat(mark->store->folder, mark->name, 0);
    return QKVI_MARK_NONE;
}

/* The file is open. *gone: its holder took it away between our open and our lock. */
static enum qkvi_mark_state judge(struct qkvi_mark *mark, const char *key, unsigned forgiven, bool *gone) {
    struct stat s;
    if (flock(mark->file, LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? QKVI_MARK_BUSY : QKVI_MARK_NONE;
    if (fstat(mark->file, &s) != 0 || !S_ISREG(s.st_mode) || s.st_uid != geteuid()) return QKVI_MARK_NONE;
    *gone = s.st_nlink == 0;
    if (*gone) return QKVI_MARK_NONE;
    unsigned deaths = count_deaths(mark->file, s.st_size, key);
    return deaths > forgiven && counts(deaths, s.st_mtime) ? QKVI_MARK_LEFT : write_mark(mark, key, deaths);
}

enum qkvi_mark_state qkvi_mark_begin(struct qkvi_mark *mark, struct qkvi_store *store, const char *key,
                                     unsigned forgiven) {
    *mark = (struct qkvi_mark){.store = store, .file = -1};
    enum qkvi_mark_state state = QKVI_MARK_NONE;
    bool gone = true;
    if (!qkvi_store_name(mark->name, QKVI_STORE_MARK, key)) return state;
    for (int tries = 0; gone && tries < 16; tries++) {
        gone = false;
        mark->file = openat(store->folder, mark->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (mark->file < 0) break;
        state = judge(mark, key, forgiven, &gone);
        if (state != QKVI_MARK_HELD) (void)close(mark->file);
    }
    return state;
}

/* Gone before the lock is: who waits for neither sees a mark without a holder. Empty where it cannot be taken away. */
void qkvi_mark_end(struct qkvi_mark *mark) {
    (void)!ftruncate(mark->file, 0);
    (void)unlinkat(mark->store->folder, mark->name, 0);
    (void)close(mark->file);
    mark->file = -1;
}

static bool is_left(int file, const char *beginning) {
    struct stat s;
    if (flock(file, LOCK_EX | LOCK_NB) != 0 || fstat(file, &s) != 0) return false;
    return begins_with(file, s.st_size, beginning);
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
