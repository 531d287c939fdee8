#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_READ = 65536 };

static bool read_stream(tool_bytes *out, FILE *file, const char *path, size_t max_bytes, tool_error *error) {
    size_t capacity = 0;
    for (;;) {
        size_t want = out->size + FIRST_READ;
        if (!tool_grow(&out->data, &capacity, want + 1, 1, error)) return false;
        size_t got = fread(out->data + out->size, 1, capacity - 1 - out->size, file);
        out->size += got;
        if (out->size > max_bytes)
            return tool_fail(error, "%s: larger than %zu bytes, the most that is read", path, max_bytes);
        if (got == 0) break;
    }
    if (ferror(file)) return tool_fail(error, "%s: %s", path, strerror(errno));
    out->data[out->size] = '\0';
    return true;
}

bool tool_read_file(tool_bytes *out, const char *path, size_t max_bytes, tool_error *error) {
    out->data = NULL;
    out->size = 0;
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (file == NULL) return tool_fail(error, "%s: %s", path, strerror(errno));
    errno = 0;
    bool ok = read_stream(out, file, standard ? "standard input" : path, max_bytes, error);
    if (!standard) fclose(file);
    if (!ok) tool_bytes_free(out);
    return ok;
}

void tool_bytes_free(tool_bytes *bytes) {
    free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
}

char *tool_path(const char *directory, const char *name, tool_error *error) {
    size_t length = strlen(directory) + strlen(name) + 2;
    char *path = tool_alloc(length, 1, error);
    if (path != NULL) {
        size_t end = strlen(directory);
        bool slash = end > 0 && directory[end - 1] == '/';
        snprintf(path, length, "%s%s%s", directory, slash ? "" : "/", name);
    }
    return path;
}

bool tool_file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

bool tool_make_directory(const char *path, tool_error *error) {
    struct stat info;
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode))) return true;
    return tool_fail(error, "%s: cannot make this folder: %s", path, strerror(errno));
}

static bool open_temporary(tool_output *out, tool_error *error) {
    size_t length = strlen(out->path) + sizeof ".XXXXXX";
    out->temporary = tool_alloc(length, 1, error);
    if (out->temporary == NULL) return false;
    snprintf(out->temporary, length, "%s.XXXXXX", out->path);
    int descriptor = mkstemp(out->temporary);
    if (descriptor < 0) {
        free(out->temporary);
        out->temporary = NULL;
        return tool_fail(error, "%s: cannot write: %s", out->path, strerror(errno));
    }
    /* mkstemp makes the file private; the finished one should be as open as any other. */
    mode_t mask = umask(0);
    umask(mask);
    fchmod(descriptor, 0666 & ~mask);
    out->stream = fdopen(descriptor, "wb");
    if (out->stream == NULL) {
        close(descriptor);
        return tool_fail(error, "%s: %s", out->path, strerror(errno));
    }
    return true;
}

bool tool_output_open(tool_output *out, const char *path, tool_error *error) {
    memset(out, 0, sizeof *out);
    out->path = tool_copy(path, strlen(path), error);
    if (out->path == NULL) return false;
    if (strcmp(path, "-") == 0) {
        out->stream = stdout;
        return true;
    }
    struct stat info;
    bool device = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    bool ok;
    if (device) {
        /* A pipe or /dev/null is written to as it is: a rename would replace it by a file. */
        out->stream = fopen(path, "wb");
        ok = out->stream != NULL || tool_fail(error, "%s: cannot write: %s", path, strerror(errno));
    } else {
        ok = open_temporary(out, error);
    }
    if (!ok) tool_output_abort(out);
    return ok;
}

bool tool_output_commit(tool_output *out, tool_error *error) {
    bool ok = fflush(out->stream) == 0 && !ferror(out->stream);
    int cause = errno;
    if (out->stream != stdout) {
        if (fclose(out->stream) != 0 && ok) {
            ok = false;
            cause = errno;
        }
    }
    out->stream = NULL;
    if (ok && out->temporary != NULL && rename(out->temporary, out->path) != 0) {
        ok = false;
        cause = errno;
    }
    if (!ok)
        tool_fail(error, "%s: cannot write: %s", strcmp(out->path, "-") == 0 ? "standard output" : out->path,
                  strerror(cause));
    if (ok) {
        free(out->temporary);
        out->temporary = NULL;
    }
    tool_output_abort(out);
    return ok;
}

void tool_output_abort(tool_output *out) {
    if (out->stream != NULL && out->stream != stdout) fclose(out->stream);
    if (out->temporary != NULL) unlink(out->temporary);
    free(out->temporary);
    free(out->path);
    memset(out, 0, sizeof *out);
}
