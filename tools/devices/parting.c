/* Where one driver kills the listing of all: each is tried alone, and the loader gets a folder with those that survive. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/drivers.h"

/* The folder of those that survive; "" while there is none. */
static char sound_folder[PATH_MAX];
static size_t num_copies;

/* By hand, because it is done in a signal handler too. The number keeps the order and the names apart. */
static void copy_path(char path[PATH_MAX], size_t number) {
    static const char name[] = "/0000.icd";
    size_t length = strlen(sound_folder);
    memcpy(path, sound_folder, length);
    memcpy(path + length, name, sizeof name);
    for (char *digit = path + length + 4; number > 0 && *digit != '/'; number /= 10)
        *digit-- = (char)('0' + number % 10);
}

static void remove_copy(size_t number) {
    char path[PATH_MAX];
    copy_path(path, number);
    (void)unlink(path);
}

static void remove_folder(void) {
    for (size_t i = 0; i < num_copies; i++)
        remove_copy(i);
    (void)rmdir(sound_folder);
}

/* The line as it stands: what the loader makes of it is part of what is tried. */
static bool write_copy(const struct icd *icd, size_t number) {
    char path[PATH_MAX];
    copy_path(path, number);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool good = fprintf(file, "%s\n", icd->line) > 0;
    return (fclose(file) == 0) && good;
}

bool drivers_parted(void) {
    return sound_folder[0] != '\0';
}

void drivers_join(void) {
    if (!drivers_parted()) return;
    remove_folder();
    child_at_interrupt(NULL);
    sound_folder[0] = '\0';
}

static bool make_folder(json_t *machine, size_t count, const char *what) {
    const char *temporary = getenv("TMPDIR");
    if (!temporary || !temporary[0]) temporary = "/tmp";
    int length = snprintf(sound_folder, PATH_MAX, "%s/qkv-devices-XXXXXX", temporary);
    errno = ENAMETOOLONG;
    num_copies = count;
    child_at_interrupt(remove_folder);
    /* Room for the files' names. */
    if (length < PATH_MAX - 16 && mkdtemp(sound_folder) && setenv("OCL_ICD_VENDORS", sound_folder, 1) == 0) {
        (void)unsetenv("OCL_ICD_FILENAMES");
        return true;
    }
    add_problem(machine, "let TMPDIR name a folder that this user may write",
                "Listing the devices %s. Which driver is to blame cannot be found out: no folder can be made in %s, to "
                "try them one by one: %s",
                what, temporary, strerror(errno));
    child_at_interrupt(NULL);
    sound_folder[0] = '\0';
    return false;
}

static void accuse(json_t *machine, struct icd *icd, const struct child_end *end, double seconds) {
    char what[128], fix[PATH_MAX + 300];
    const char *slow = end->timed_out ? "a longer --timeout, if it is merely slow; else " : "";
    child_describe(what, sizeof what, end, seconds);
    if (icd->file[0])
        snprintf(fix, sizeof fix,
                 "%sreinstall or remove the package that %s belongs to; until then programs run without it where "
                 "OCL_ICD_VENDORS names a folder with the other .icd files",
                 slow, icd->file);
    else
        snprintf(fix, sizeof fix, "%sreinstall that driver, or unset %s", slow, icd->variable);
    add_problem(machine, fix,
                "The driver %s (%s) %s while its devices were listed, and takes every OpenCL program with it. "
                "It is left out here.%s%s",
                icd->library, icd_owner(icd), what, end->words[0] ? " Its last words: " : "", end->words);
    icd->accused = true;
}

static void leave_out(json_t *machine, struct icd *icd, const char *why, const char *fix) {
    add_problem(machine, fix, "The driver %s (%s) could not be tried alone, and is left out here: %s", icd->library,
                icd_owner(icd), why);
    icd->accused = true;
}

/* Alone in the folder. */
static bool stands_alone(json_t *machine, struct icd *icd, size_t number, const struct options *options) {
    struct child_end end;
    char what[128];
    double seconds = driver_seconds(options->seconds);
    if (!write_copy(icd, number)) {
        leave_out(machine, icd, strerror(errno), "let TMPDIR name a folder with some space");
        remove_copy(number);
        return false;
    }
    json_t *listing = list_devices(&end, options->selector, seconds);
    remove_copy(number);
    json_decref(listing);
    if (listing) return true;
    child_describe(what, sizeof what, &end, seconds);
    if (end.started)
        accuse(machine, icd, &end, seconds);
    else
        leave_out(machine, icd, what, start_fix(&end));
    return false;
}

bool drivers_part(json_t *machine, const struct options *options, const char *what) {
    struct icds *icds = icd_known();
    if (!make_folder(machine, icds->count, what)) return false;
    bool *sound = calloc(icds->count + 1, sizeof *sound);
    for (size_t i = 0; i < icds->count && sound; i++) {
        struct icd *icd = &icds->items[i];
        if (!icd->line[0] || icd->unheeded) continue;
        show_waiting("driver %zu of %zu alone: %s", i + 1, icds->count, icd->library);
        sound[i] = stands_alone(machine, icd, i, options);
    }
    for (size_t i = 0; i < icds->count && sound; i++)
        if (sound[i] && !write_copy(&icds->items[i], i))
            leave_out(machine, &icds->items[i], strerror(errno), "let TMPDIR name a folder with some space");
    free(sound);
    return true;
}
