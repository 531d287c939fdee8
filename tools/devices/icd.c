/* The .icd files that tell the loader which drivers there are, and what is wrong with them. */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/child.h"
#include "devices/machine.h"
#include "devices/property.h"
#include "support/files.h"

#define DEFAULT_FOLDER "/etc/OpenCL/vendors"

struct icds {
    struct icd *items;
    size_t count, capacity;
};

void icd_free(struct icd *icds, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(icds[i].file);
        free(icds[i].library);
    }
    free(icds);
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static void add(struct icds *icds, const char *file, const char *library) {
    tool_error error;
    if (!tool_grow(&icds->items, &icds->capacity, icds->count + 1, sizeof *icds->items, &error)) return;
    struct icd icd = {tool_copy(file, strlen(file), &error), tool_copy(library, strlen(library), &error)};
    if (icd.file && icd.library) {
        icds->items[icds->count++] = icd;
        return;
    }
    free(icd.file);
    free(icd.library);
}

/* A file has one line, the library's name or path. */
static void add_file(struct icds *icds, const char *path) {
    tool_error error;
    tool_bytes bytes;
    if (!tool_read_file(&bytes, path, 65536, &error)) {
        add(icds, path, "");
        return;
    }
    char *name = bytes.data + strspn(bytes.data, " \t\r\n");
    name[strcspn(name, "\r\n")] = '\0';
    for (size_t length = strlen(name); length > 0 && strchr(" \t", name[length - 1]);)
        name[--length] = '\0';
    add(icds, path, name);
    tool_bytes_free(&bytes);
}

static int is_icd(const struct dirent *entry) {
    return ends_with(entry->d_name, ".icd");
}

static void add_folder(struct icds *icds, const char *folder) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_icd, alphasort);
    for (int i = 0; i < count; i++) {
        tool_error error;
        char *path = tool_path(folder, entries[i]->d_name, &error);
        if (path) add_file(icds, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

/* A folder, an .icd file, or a library, as the loaders take it. source: the variable that says so. */
static void add_named(struct icds *icds, const char *name, const char *source) {
    struct stat status;
    if (stat(name, &status) == 0 && S_ISDIR(status.st_mode))
        add_folder(icds, name);
    else if (ends_with(name, ".icd"))
        add_file(icds, name);
    else
        add(icds, source, name);
}

struct icd *icd_list(size_t *count) {
    struct icds icds = {NULL, 0, 0};
    const char *names = getenv("OCL_ICD_FILENAMES"), *source = "OCL_ICD_VENDORS", *vendors = getenv(source);
    if (!vendors || !vendors[0]) vendors = getenv(source = "OPENCL_VENDOR_PATH");
    while (names && names[0]) {
        tool_error error;
        size_t length = strcspn(names, ":");
        char *name = tool_copy(names, length, &error);
        if (name && length) add_named(&icds, name, "OCL_ICD_FILENAMES");
        free(name);
        names += length + (names[length] == ':');
    }
    add_named(&icds, vendors && vendors[0] ? vendors : DEFAULT_FOLDER, source);
    *count = icds.count;
    return icds.items;
}

static void keep(void *user, json_t *value) {
    json_t **kept = user;
    json_decref(*kept);
    *kept = json_incref(value);
}

/* "libfoo.so: cannot open shared object file: ..." names the missing one, which need not be the driver itself. */
static void blame_library(json_t *machine, const struct icd *icd, const char *error) {
    char fix[PATH_MAX + 300], missing[PATH_MAX];
    snprintf(missing, sizeof missing, "%.*s", (int)strcspn(error, ":"), error);
    if (strcmp(missing, icd->library) == 0 && !strchr(icd->file, '/')) { /* a variable */
        snprintf(fix, sizeof fix, "unset %s, or let it name a folder with .icd files", icd->file);
        add_problem(machine, fix, "%s is %s, which is no folder, no .icd file and no library that can be loaded",
                    icd->file, icd->library);
        return;
    }
    if (strcmp(missing, icd->library) == 0)
        snprintf(fix, sizeof fix,
                 "install or reinstall the package that brings %s, or remove %s where it is a leftover", icd->library,
                 icd->file);
    else
        snprintf(fix, sizeof fix, "install the package that brings %s%s", missing,
                 ends_with(error, "cannot open shared object file: No such file or directory") ? ""
                                                                                               : ", or reinstall it");
    /* The driver's own name need not be said twice. */
    size_t length = strlen(icd->library);
    if (strncmp(error, icd->library, length) == 0 && error[length] == ':') error += length + 1;
    add_problem(machine, fix, "%s names the driver %s, which cannot be loaded: %s", icd->file, icd->library,
                error + strspn(error, " "));
}

static void check_icd(json_t *machine, const struct icd *icd, double seconds) {
    struct child_end end;
    json_t *answer = NULL;
    char what[128];
    const char *const arguments[] = {"driver", icd->library, NULL};
    if (!icd->library[0]) {
        add_problem(machine, "reinstall its driver, or remove the file",
                    "%s is empty or cannot be read: it must hold the name of a driver's library", icd->file);
        return;
    }
    if (!child_run(&end, arguments, seconds, keep, &answer)) return;
    const char *error = json_string_value(json_object_get(answer, "error"));
    if (error) {
        blame_library(machine, icd, error);
    } else if (!answer) {
        child_describe(what, sizeof what, &end, seconds);
        add_problem(machine, "reinstall that driver", "%s names the driver %s, which %s when it is loaded", icd->file,
                    icd->library, what);
    } else if (json_integer_value(json_object_get(answer, "platforms")) == 0) {
        add_problem(machine, "see that the device it is for is there, and that its kernel driver is loaded",
                    "The driver %s (%s) loads, but shows no platform: it finds no device it knows", icd->library,
                    icd->file);
    }
    json_decref(answer);
}

static bool starts_with(const char *text, const char *begin) {
    return text && strncmp(text, begin, strlen(begin)) == 0;
}

/* A platform without a device. Mesa's need a word of their own. */
static void check_platform(json_t *machine, const json_t *platform) {
    const char *name = json_string_value(json_object_get(platform, "name"));
    const char *note = json_string_value(json_object_get(platform, "note"));
    const char *enabled = getenv("RUSTICL_ENABLE");
    long long index = json_integer_value(json_object_get(platform, "index"));
    if (json_integer_value(json_object_get(platform, "num_devices")) > 0) return;
    if (starts_with(name, "rusticl"))
        add_problem(
            machine,
            "set RUSTICL_ENABLE to radeonsi (AMD), iris (Intel), nouveau (NVIDIA), or llvmpipe (software, on the "
            "CPU), and see that the user may open /dev/dri/renderD*",
            "Platform %lld, rusticl (Mesa), shows no device: RUSTICL_ENABLE %s%s", index,
            enabled && enabled[0] ? "is " : "is not set", enabled ? enabled : "");
    else if (starts_with(name, "Clover"))
        add_problem(machine, "nothing to do without an AMD GPU; with one, rusticl or ROCm is the newer driver",
                    "Platform %lld, Clover (Mesa), shows no device: it knows AMD GPUs only", index);
    else
        add_problem(machine, "see that the device it is for is there, and that the user may open it",
                    "Platform %lld, %s, shows no device%s%s", index, name ? name : "without a name",
                    note && note[0] && strcmp(note, "shows no device") ? ": " : "",
                    note && note[0] && strcmp(note, "shows no device") ? note : "");
}

void find_driver_problems(json_t *machine, double seconds) {
    size_t count, index;
    const json_t *platform;
    const json_t *platforms = json_object_get(machine, "platforms");
    struct icd *icds = icd_list(&count);
    const char *vendors = getenv("OCL_ICD_VENDORS");
    json_array_foreach(platforms, index, platform) {
        check_platform(machine, platform);
    }
    /* Each driver brings a platform at least: where there are as many, all of them loaded. */
    for (size_t i = 0; i < count && json_array_size(platforms) < count; i++)
        check_icd(machine, &icds[i], seconds);
    if (count == 0)
        add_problem(machine,
                    vendors && vendors[0] ? "unset OCL_ICD_VENDORS, or let it name a folder with .icd files"
                                          : "install a driver: the packages are listed below",
                    "There is no .icd file in %s, so the OpenCL loader knows no driver",
                    vendors && vendors[0] ? vendors : DEFAULT_FOLDER);
    icd_free(icds, count);
}
