/* The .icd files and variables that tell the loader which drivers there are. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/drivers.h"
#include "devices/show.h"
#include "support/error.h"
#include "support/files.h"

#define DEFAULT_FOLDER "/etc/OpenCL/vendors"
#define BYTE_ORDER_MARK "\357\273\277"
/* It loads no driver, so it has no reason to be slow. */
#define LOADER_SECONDS 10

static struct icds known;
static bool is_known;

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static char *copy_text(const char *text) {
    tool_error error;
    return tool_copy(text, strlen(text), &error);
}

static void free_icd(struct icd *icd) {
    free(icd->file);
    free(icd->line);
    free(icd->library);
}

void icd_forget(void) {
    for (size_t i = 0; i < known.count; i++)
        free_icd(&known.items[i]);
    free(known.items);
    free(known.folder);
    known = (struct icds){.count = 0};
    is_known = false;
}

const char *icd_owner(const struct icd *icd) {
    return icd->file[0] ? icd->file : icd->variable;
}

static struct icd *add(const char *file, const char *variable, const char *line, const char *library) {
    tool_error error;
    if (!tool_grow(&known.items, &known.capacity, known.count + 1, sizeof *known.items, &error)) return NULL;
    struct icd icd = {
        .file = copy_text(file), .variable = variable, .line = copy_text(line), .library = copy_text(library)};
    if (icd.file && icd.line && icd.library) {
        known.items[known.count] = icd;
        return &known.items[known.count++];
    }
    free_icd(&icd);
    return NULL;
}

/* Within the text: what is left without blanks around it. */
static const char *trim(char *text) {
    if (strncmp(text, BYTE_ORDER_MARK, 3) == 0) text += 3;
    text += strspn(text, " \t\r\n");
    for (size_t length = strlen(text); length > 0 && strchr(" \t\r\n", text[length - 1]);)
        text[--length] = '\0';
    return text;
}

/* The loader takes the first line as it stands. Where that is blank, a later one may say what was meant. */
static void read_lines(FILE *file, const char *path, const char *variable) {
    char first[PATH_MAX] = "", line[PATH_MAX];
    if (fgets(first, sizeof first, file)) first[strcspn(first, "\n")] = '\0';
    snprintf(line, sizeof line, "%s", first);
    const char *library = trim(line);
    while (!library[0] && fgets(line, sizeof line, file))
        library = trim(line);
    (void)add(path, variable, first, library);
}

static void add_file(const char *path, const char *variable) {
    struct stat status;
    /* Opening what is no file may wait for ever. */
    int error = stat(path, &status) != 0  ? errno
                : S_ISDIR(status.st_mode) ? EISDIR
                : S_ISREG(status.st_mode) ? 0
                                          : EINVAL;
    FILE *file = error ? NULL : fopen(path, "r");
    if (!file) {
        if (!error) error = errno;
        struct icd *icd = add(path, variable, "", "");
        if (icd) icd->error = error;
        return;
    }
    read_lines(file, path, variable);
    (void)fclose(file);
}

static int is_icd(const struct dirent *entry) {
    return ends_with(entry->d_name, ".icd");
}

static void add_folder(const char *folder, const char *variable) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_icd, alphasort);
    known.folder = copy_text(folder);
    known.variable = variable;
    known.error = count < 0 ? errno : 0;
    for (int i = 0; i < count; i++) {
        tool_error error;
        char *path = tool_path(folder, entries[i]->d_name, &error);
        if (path) add_file(path, variable);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

/* OCL_ICD_VENDORS may also name an .icd file, which is looked for in the folder first, or a library. */
static void add_named(const char *name, const char *variable, const char *folder) {
    tool_error error;
    char *path = ends_with(name, ".icd") && !strchr(name, '/') ? tool_path(folder, name, &error) : NULL;
    if (path && tool_file_exists(path))
        add_file(path, variable);
    else if (ends_with(name, ".icd"))
        add_file(name, variable);
    else
        (void)add("", variable, name, name);
    free(path);
}

static void keep(void *user, json_t *value) {
    json_t **kept = user;
    json_decref(*kept);
    *kept = json_incref(value);
}

/* OCL_ICD_FILENAMES is read by Khronos's loader, not by ocl-icd. */
static bool heeds_filenames(void) {
    struct child_end end;
    json_t *answer = NULL;
    const char *const arguments[] = {"loader", NULL};
    bool heeds = !child_run(&end, arguments, LOADER_SECONDS, keep, &answer) ||
                 strncmp(text_at(answer, "vendor"), "OCL Icd", 7) != 0;
    json_decref(answer);
    return heeds;
}

static void add_filenames(const char *names) {
    bool heeded = heeds_filenames();
    while (names[0]) {
        tool_error error;
        size_t length = strcspn(names, ":");
        char *name = tool_copy(names, length, &error);
        struct icd *icd = name && length ? add("", "OCL_ICD_FILENAMES", name, name) : NULL;
        if (icd) icd->unheeded = !heeded;
        free(name);
        names += length + (names[length] == ':');
    }
}

static bool is_set(const char *value) {
    return value && value[0];
}

static void look(void) {
    const char *names = getenv("OCL_ICD_FILENAMES"), *vendors = getenv("OCL_ICD_VENDORS");
    const char *folder = getenv("OPENCL_VENDOR_PATH"), *variable = is_set(folder) ? "OPENCL_VENDOR_PATH" : NULL;
    struct stat status;
    if (!variable) folder = DEFAULT_FOLDER;
    if (is_set(names)) add_filenames(names);
    if (!is_set(vendors))
        add_folder(folder, variable);
    else if (stat(vendors, &status) == 0 && S_ISDIR(status.st_mode))
        add_folder(vendors, "OCL_ICD_VENDORS");
    else
        add_named(vendors, "OCL_ICD_VENDORS", folder);
}

struct icds *icd_known(void) {
    if (!is_known) look();
    is_known = true;
    return &known;
}
