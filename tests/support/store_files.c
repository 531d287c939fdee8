#include "support/store_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/store.h"
#include "support/fixture.h"

static size_t look(char *path, const char *folder, const char *beginning) {
    DIR *stream = opendir(folder);
    size_t count = 0;
    TEST_TRUE(stream != NULL);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, beginning, strlen(beginning))) continue;
        if (path) (void)snprintf(path, 4400, "%s/%s", folder, entry->d_name);
        count++;
    }
    closedir(stream);
    return count;
}

bool store_file(char *path, const char *folder, const char *kind) {
    char beginning[64];
    (void)snprintf(beginning, sizeof beginning, "%s-", kind);
    return look(path, folder, beginning) == 1;
}

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

bool store_file_nth(char *path, const char *folder, const char *kind, size_t nth) {
    char names[64][256];
    size_t count = 0;
    DIR *stream = opendir(folder);
    TEST_TRUE(stream != NULL);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (!strncmp(entry->d_name, kind, strlen(kind)) && count < TEST_COUNT(names))
            (void)snprintf(names[count++], sizeof names[0], "%s", entry->d_name);
    closedir(stream);
    qsort(names, count, sizeof names[0], compare);
    if (nth < count) (void)snprintf(path, 4400, "%s/%s", folder, names[nth]);
    return nth < count;
}

size_t store_file_count(const char *folder, const char *beginning) {
    return look(NULL, folder, beginning);
}

char *store_file_read(size_t *size, const char *path) {
    FILE *file = fopen(path, "rb");
    TEST_TRUE(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = test_alloc(*size + 1, 1);
    TEST_TRUE(fread(bytes, 1, *size, file) == *size);
    (void)fclose(file);
    return bytes;
}

void store_file_write(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    TEST_TRUE(file != NULL);
    TEST_TRUE(fwrite(bytes, 1, size, file) == size);
    TEST_TRUE(fclose(file) == 0);
}

void store_file_age(const char *path, long seconds) {
    struct timespec now, times[2];
    TEST_TRUE(clock_gettime(CLOCK_REALTIME, &now) == 0);
    times[0] = times[1] = (struct timespec){now.tv_sec - seconds, 0};
    TEST_TRUE(utimensat(AT_FDCWD, path, times, 0) == 0);
}

int store_in_child(int (*work)(const char *folder), const char *folder) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) _exit(work(folder));
    TEST_TRUE(child > 0 && waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status)) test_fail(__FILE__, __LINE__, "the child was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* Its key, with another content. What was cut before and is not needed any more has no key. See src/core/store_entry.c. */
static void replace(struct qkvi_store *store, const char *kind, const char *bytes, size_t size) {
    enum { KEY_SIZE = 16, KEY = 32 };
    uint64_t key_size;
    if (size < KEY) return;
    memcpy(&key_size, bytes + KEY_SIZE, sizeof key_size);
    if (key_size > size - KEY) return;
    char *key = test_alloc(key_size + 1, 1);
    memcpy(key, bytes + KEY, key_size);
    TEST_TRUE(qkvi_store_put(store, kind, key, "nothing a driver knows", 22));
    free(key);
}

void store_files_spoil(const char *folder, const char *kind, bool cut) {
    struct qkvi_store *store;
    char path[4400];
    TEST_OK(qkvi_store_open(&store, folder));
    for (size_t i = 0; store_file_nth(path, folder, kind, i); i++) {
        size_t size;
        char *bytes = store_file_read(&size, path);
        if (cut)
            store_file_write(path, bytes, size / 2);
        else
            replace(store, kind, bytes, size);
        free(bytes);
    }
    qkvi_store_close(store);
}
