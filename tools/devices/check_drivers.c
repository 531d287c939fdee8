/* What is wrong with the drivers that the loader is told to load, and with platforms that show no device. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/drivers.h"
#include "devices/show.h"
#include "support/files.h"

static bool starts_with(const char *text, const char *begin) {
    return strncmp(text, begin, strlen(begin)) == 0;
}

/* ---- what a variable or a file names ---- */
static void check_unreadable(json_t *machine, const struct icd *icd) {
    char fix[PATH_MAX + 200];
    if (icd->error == EISDIR) {
        add_problem(machine, "remove it, and reinstall the driver whose file it should be",
                    "%s is a directory: it should be a file that holds the name of a driver's library", icd->file);
        return;
    }
    if (icd->error == ENOENT && !icd_known()->folder)
        snprintf(fix, sizeof fix, "unset %s, or let it name a folder with .icd files", icd->variable);
    else if (icd->error == EACCES)
        snprintf(fix, sizeof fix, "let every user read it: sudo chmod a+r %s", icd->file);
    else
        snprintf(fix, sizeof fix, "remove it, or reinstall the driver that it belongs to");
    add_problem(machine, fix, "%s cannot be read: %s", icd->file,
                icd->error == ENOENT   ? icd_known()->folder ? "it is a link to nothing" : "there is no such file"
                : icd->error == EINVAL ? "it is no regular file"
                                       : strerror(icd->error));
}

/* A variable with what no loader takes. */
static bool names_no_library(json_t *machine, const struct icd *icd) {
    char fix[PATH_MAX + 200];
    if (icd->file[0] || !strpbrk(icd->library, ":/") || access(icd->library, F_OK) == 0 || errno != ENOENT)
        return false;
    if (strchr(icd->library, ':')) {
        snprintf(fix, sizeof fix, "let %s name one folder; links in it may lead to the .icd files of several",
                 icd->variable);
        add_problem(machine, fix, "%s is %s, but this OpenCL loader takes one folder, not a list", icd->variable,
                    icd->library);
    } else {
        snprintf(fix, sizeof fix, "unset %s, or let it name a folder with .icd files", icd->variable);
        add_problem(machine, fix, "%s names %s, which is not there", icd->variable, icd->library);
    }
    return true;
}

static void check_folder(json_t *machine, const struct icds *icds) {
    char fix[PATH_MAX + 200], named[64] = "";
    const char *folder = icds->folder ? icds->folder : "";
    if (icds->variable) snprintf(named, sizeof named, ", which %s names", icds->variable);
    if (icds->error == EACCES)
        snprintf(fix, sizeof fix, "let every user read it: sudo chmod a+rx %s", folder);
    else if (icds->variable)
        snprintf(fix, sizeof fix, "unset %s, or let it name a folder with .icd files", icds->variable);
    else
        snprintf(fix, sizeof fix,
                 "install a driver: pocl-opencl-icd runs on any CPU; for GPUs, qkv-devices without options names the "
                 "packages");
    if (icds->error && icds->error != ENOENT)
        add_problem(machine, fix, "The folder %s%s%s cannot be read, so the OpenCL loader knows no driver: %s", folder,
                    named, named[0] ? "," : "", strerror(icds->error));
    else
        add_problem(machine, fix, "There is no .icd file in %s%s, so the OpenCL loader knows no driver", folder, named);
}

/* ---- what the libraries do ---- */
static void keep(void *user, json_t *value) {
    json_t **kept = user;
    json_decref(*kept);
    *kept = json_incref(value);
}

/* NULL where the library did not survive that. */
static json_t *ask_driver(struct child_end *end, const char *library, double seconds) {
    json_t *answer = NULL;
    const char *const arguments[] = {"driver", library, NULL};
    (void)child_run(end, arguments, driver_seconds(seconds), keep, &answer);
    return answer;
}

/* A name that only looks right: the loader takes blanks, and whatever else there is in the line, as part of it. */
static void check_line(json_t *machine, const struct icd *icd, double seconds) {
    struct child_end end;
    char fix[2 * PATH_MAX + 100];
    const char *line = icd->line, *at = strstr(line, icd->library);
    if (strcmp(line, icd->library) == 0) return;
    json_t *answer = line[0] ? ask_driver(&end, line, seconds) : NULL;
    bool loads = answer && !json_object_get(answer, "error");
    json_decref(answer);
    if (loads) return;
    snprintf(fix, sizeof fix, "write the name alone: echo %s | sudo tee %s", icd->library, icd->file);
    if (!at) {
        add_problem(machine, fix,
                    "%s names the driver %s, but not in its first line, which is all that the OpenCL loader reads",
                    icd->file, icd->library);
        return;
    }
    const char *after = at + strlen(icd->library);
    const char *what = line[0] == '\357'     ? "a byte order mark before it"
                       : at > line           ? "blanks before it"
                       : strchr(after, '\r') ? "a carriage return after it, as Windows ends lines"
                                             : "blanks after it";
    add_problem(machine, fix,
                "%s names the driver %s with %s, which the OpenCL loader takes as part of the name: it finds no such "
                "library",
                icd->file, icd->library, what);
}

/* What the dynamic linker says: "libfoo.so: cannot open shared object file: ..." names the missing one, which need not be
 * the driver itself. */
static void library_fix(char *fix, size_t size, const struct icd *icd, const char *error) {
    const char *open = strstr(error, ": cannot open shared object file: ");
    const char *name = icd->file[0] ? icd->file : icd->variable, *library = icd->library;
    int length = open ? (int)(open - error) : 0;
    bool itself = (size_t)length == strlen(library) && strncmp(error, library, (size_t)length) == 0;
    if (starts_with(error, "it is no OpenCL driver"))
        snprintf(fix, size, "%s %s, or let it name an OpenCL driver", icd->file[0] ? "remove" : "unset", name);
    else if (open && strstr(open, strerror(EACCES)))
        snprintf(fix, size, "let every user read it: sudo chmod a+r %.*s", length, error);
    else if (open && itself && icd->file[0])
        snprintf(fix, size, "install or reinstall the package that brings %s, or remove %s where it is a leftover",
                 library, name);
    else if (open && itself)
        snprintf(fix, size, "unset %s, or let it name a folder with .icd files", name);
    else if (open)
        snprintf(fix, size, "install the package that brings %.*s", length, error);
    else if (strstr(error, "wrong ELF class"))
        snprintf(fix, size,
                 "nothing, where another file names that driver for %zu-bit programs; else install it for them",
                 sizeof(void *) * 8);
    else
        snprintf(fix, size, "reinstall the package that brings %s, or another version of it", library);
}

static void blame_library(json_t *machine, const struct icd *icd, const char *error) {
    char fix[2 * PATH_MAX + 200];
    library_fix(fix, sizeof fix, icd, error);
    /* The driver's own name need not be said twice. */
    size_t length = strlen(icd->library);
    if (strncmp(error, icd->library, length) == 0 && error[length] == ':') error += length + 1;
    add_problem(machine, fix, "%s names the driver %s, which cannot be loaded: %s", icd_owner(icd), icd->library,
                error + strspn(error, " "));
}

static void check_library(json_t *machine, const struct icd *icd, double seconds) {
    struct child_end end;
    char what[128], fix[PATH_MAX + 100];
    json_t *answer = ask_driver(&end, icd->library, seconds);
    const char *error = text_at(answer, "error");
    child_describe(what, sizeof what, &end, driver_seconds(seconds));
    snprintf(fix, sizeof fix, "reinstall the package that brings %s", icd->library);
    if (!end.started)
        add_problem(machine, start_fix(&end), "The driver %s (%s) cannot be checked: the process for it %s",
                    icd->library, icd_owner(icd), what);
    else if (error[0])
        blame_library(machine, icd, error);
    else if (!answer)
        add_problem(machine, fix, "%s names the driver %s, which %s when it is loaded", icd_owner(icd), icd->library,
                    what);
    else if (json_integer_value(json_object_get(answer, "platforms")) == 0)
        add_problem(machine, "see that the device it is for is there, and that its kernel driver is loaded",
                    "The driver %s (%s) loads, but shows no platform: it finds no device it knows", icd->library,
                    icd_owner(icd));
    json_decref(answer);
}

static void check_icd(json_t *machine, const struct icd *icd, double seconds) {
    if (icd->accused) return;
    if (icd->unheeded)
        add_problem(machine, "let OCL_ICD_VENDORS name it instead",
                    "%s names the driver %s, but this OpenCL loader, ocl-icd, does not read that variable",
                    icd->variable, icd->library);
    else if (icd->error)
        check_unreadable(machine, icd);
    else if (!icd->library[0])
        add_problem(machine, "reinstall its driver, or remove the file",
                    "%s is empty: it must hold the name of a driver's library", icd->file);
    else if (!names_no_library(machine, icd)) {
        check_line(machine, icd, seconds);
        check_library(machine, icd, seconds);
    }
}

/* ---- platforms ---- */
/* Where PoCL keeps compiled kernels. */
static void pocl_cache(char folder[PATH_MAX]) {
    const char *cache = getenv("POCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache)
        snprintf(folder, PATH_MAX, "%s", cache);
    else if (xdg && xdg[0])
        snprintf(folder, PATH_MAX, "%s/pocl/kcache", xdg);
    else if (home)
        snprintf(folder, PATH_MAX, "%s/.cache/pocl/kcache", home);
    else
        snprintf(folder, PATH_MAX, "/tmp/pocl/kcache");
}

/* False where neither the folder is there nor can be made. */
static bool can_be_written(const char *folder) {
    char there[PATH_MAX];
    snprintf(there, sizeof there, "%s", folder);
    while (access(there, F_OK) != 0 && errno == ENOENT) {
        char *slash = strrchr(there, '/');
        if (!slash) return access(".", W_OK | X_OK) == 0;
        slash[slash == there] = '\0';
    }
    return access(there, W_OK | X_OK) == 0;
}

/* A platform without a device. Mesa's need a word of their own. */
static void check_platform(json_t *machine, const json_t *platform) {
    char folder[PATH_MAX];
    const char *name = text_at(platform, "name"), *note = text_at(platform, "note");
    const char *enabled = getenv("RUSTICL_ENABLE");
    pocl_cache(folder);
    long long index = json_integer_value(json_object_get(platform, "index"));
    if (json_integer_value(json_object_get(platform, "num_devices")) > 0) return;
    if (strcmp(note, "shows no device") == 0) note = "";
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
    else if (starts_with(name, "Portable Computing Language") && !can_be_written(folder))
        add_problem(
            machine, "export POCL_CACHE_DIR=FOLDER, one that this user may write",
            "Platform %lld, %s, shows no device: this user may not write the folder for its compiled kernels, %s",
            index, name, folder);
    else
        add_problem(machine, "see that the device it is for is there, and that the user may open it",
                    "Platform %lld, %s, shows no device%s%s", index, name[0] ? name : "without a name",
                    note[0] ? ": " : "", note);
}

/* Drivers that load by themselves, and yet the loader has none: the reason is its own. */
static void check_loader(json_t *machine, const struct icds *icds, const bool *sound) {
    char names[1024] = "";
    for (size_t i = 0; i < icds->count; i++) {
        size_t used = strlen(names);
        if (sound[i])
            (void)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", icds->items[i].library);
    }
    if (names[0])
        add_problem(
            machine,
            "reinstall the OpenCL loader (ocl-icd-libopencl1) and these drivers; LD_DEBUG=libs clinfo shows what "
            "the loader tries",
            "The OpenCL loader took none of these drivers, although each of them loads by itself: %s", names);
}

void find_driver_problems(json_t *machine, double seconds) {
    size_t index, heeded = 0, told;
    const json_t *platform, *problems = json_object_get(machine, "problems");
    const json_t *platforms = json_object_get(machine, "platforms");
    const struct icds *icds = icd_known();
    bool *sound = calloc(icds->count + 1, sizeof *sound);
    told = json_array_size(problems);
    json_array_foreach(platforms, index, platform) {
        check_platform(machine, platform);
    }
    for (size_t i = 0; i < icds->count && sound; i++) {
        size_t before = json_array_size(problems);
        show_waiting("driver %zu of %zu: %s", i + 1, icds->count, icds->items[i].library);
        check_icd(machine, &icds->items[i], seconds);
        sound[i] = !icds->items[i].accused && json_array_size(problems) == before;
        heeded += !icds->items[i].unheeded;
    }
    show_waiting(NULL);
    /* Not every system has .icd files. */
    bool nothing = json_array_size(platforms) == 0;
    if (heeded == 0 && nothing)
        check_folder(machine, icds);
    else if (nothing && told == 0 && sound)
        check_loader(machine, icds, sound);
    free(sound);
}
