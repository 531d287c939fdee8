/* The file that --json names: there in full, or as it was before. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/machine.h"

static void complain(const char *path) {
    fprintf(stderr, "qkv-devices: cannot write %s: %s\n", strcmp(path, "-") == 0 ? "standard output" : path,
            strerror(errno));
}

/* A new file beside the one that it will take the place of, its name in *temporary; -1 with errno. */
static int create_beside(char **temporary, const char *path) {
    static const char ending[] = ".XXXXXX";
    struct stat old;
    mode_t mask = umask(0);
    (void)umask(mask);
    size_t size = strlen(path) + sizeof ending;
    *temporary = malloc(size);
    if (!*temporary) return -1;
    snprintf(*temporary, size, "%s%s", path, ending);
    int file = mkstemp(*temporary);
    if (file >= 0) (void)fchmod(file, stat(path, &old) == 0 ? old.st_mode & 07777 : 0666 & ~mask);
    if (file >= 0) return file;
    free(*temporary);
    *temporary = NULL;
    return -1;
}

/* Devices, pipes, and links, which a new file would replace. */
static bool is_special(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0 && !S_ISREG(s.st_mode);
}

bool json_file_check(const char *path) {
    char *temporary;
    struct stat s;
    if (strcmp(path, "-") == 0) return true;
    if (!is_special(path)) {
        int file = create_beside(&temporary, path);
        if (file >= 0) {
            (void)close(file);
            (void)unlink(temporary);
            free(temporary);
            return true;
        }
    }
    /* A file may be written where its folder may not. */
    bool folder = stat(path, &s) == 0 && S_ISDIR(s.st_mode), good = access(path, W_OK) == 0 && !folder;
    if (folder) errno = EISDIR;
    if (!good) complain(path);
    return good;
}

static bool put(FILE *out, const json_t *machine) {
    return write_json(out, machine) == 0 && fflush(out) == 0 && !ferror(out);
}

bool json_file_write(const char *path, const json_t *machine) {
    char *temporary = NULL;
    int file = -1;
    bool to_stdout = strcmp(path, "-") == 0;
    if (!to_stdout && !is_special(path)) file = create_beside(&temporary, path);
    FILE *out = to_stdout ? stdout : file >= 0 ? fdopen(file, "w") : fopen(path, "w");
    bool good = out && put(out, machine);
    if (out && !to_stdout) good = (fclose(out) == 0) && good;
    if (good && temporary) good = rename(temporary, path) == 0;
    if (!good) complain(path);
    if (!good && temporary) (void)unlink(temporary);
    free(temporary);
    return good;
}
