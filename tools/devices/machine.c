/* Lists the machine's devices through a child, and finds the driver that kills the listing. */
#include "devices/machine.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/child.h"
#include "devices/property.h"

/* The folder of the drivers that do not kill the listing; "" while there is none. */
static char sound_folder[PATH_MAX];

void add_problem(json_t *machine, const char *fix, const char *format, ...) {
    char text[2048];
    json_t *problem = json_object();
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    json_object_set_new(problem, "problem", text_value(text));
    json_object_set_new(problem, "fix", text_value(fix));
    json_array_append_new(json_object_get(machine, "problems"), problem);
}

json_t *machine_device(const json_t *machine, const char *selector) {
    size_t index;
    json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (strcmp(json_string_value(json_object_get(device, "selector")), selector) == 0) return device;
    }
    return NULL;
}

static void keep(void *user, json_t *value) {
    json_t **kept = user;
    json_decref(*kept);
    *kept = json_incref(value);
}

/* NULL where the child did not finish. */
static json_t *list(struct child_end *end, const struct options *options) {
    json_t *listing = NULL;
    const char *const arguments[] = {"list", options->selector, NULL};
    bool started = child_run(end, arguments, options->seconds, keep, &listing);
    if (started && child_good(end) && listing) return listing;
    if (started && listing && json_object_get(listing, "error")) return listing;
    if (!started) end->status = 127;
    json_decref(listing);
    return NULL;
}

static void join(char path[PATH_MAX], const char *folder, const char *name) {
    (void)snprintf(path, PATH_MAX, "%.*s/%.*s", PATH_MAX / 2, folder, PATH_MAX / 2 - 2, name);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool write_icd(const char *folder, const struct icd *icd, size_t number) {
    char path[PATH_MAX], name[32];
    snprintf(name, sizeof name, "%zu.icd", number);
    join(path, folder, icd->file[0] ? base_name(icd->file) : name);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool good = fprintf(file, "%s\n", icd->library) > 0;
    return (fclose(file) == 0) && good;
}

static void remove_icd(const char *folder, const struct icd *icd, size_t number) {
    char path[PATH_MAX], name[32];
    snprintf(name, sizeof name, "%zu.icd", number);
    join(path, folder, icd->file[0] ? base_name(icd->file) : name);
    (void)unlink(path);
}

static struct icd *all_icds;
static size_t num_all_icds;

void machine_forget(void) {
    for (size_t i = 0; i < num_all_icds && sound_folder[0]; i++)
        remove_icd(sound_folder, &all_icds[i], i);
    if (sound_folder[0]) (void)rmdir(sound_folder);
    icd_free(all_icds, num_all_icds);
    all_icds = NULL;
    num_all_icds = 0;
    sound_folder[0] = '\0';
}

static void accuse(json_t *problems_of, const struct icd *icd, const struct child_end *end, double seconds) {
    char what[128], fix[PATH_MAX + 200];
    child_describe(what, sizeof what, end, seconds);
    snprintf(fix, sizeof fix,
             "remove or reinstall the package that %s%s belongs to; until then programs run without it where "
             "OCL_ICD_VENDORS names a folder with the other .icd files",
             icd->file[0] ? "" : "the library ", icd->file[0] ? icd->file : icd->library);
    add_problem(problems_of, fix,
                "The driver %s%s%s%s %s while its devices were listed, and takes every OpenCL program with it. "
                "It is left out here.%s%s",
                icd->library, icd->file[0] ? " (" : "", icd->file, icd->file[0] ? ")" : "", what,
                end->words[0] ? " Its last words: " : "", end->words);
}

/* Each driver alone in a folder; those that survive stay there together. */
static void part_the_drivers(json_t *machine, const struct options *options) {
    const char *temporary = getenv("TMPDIR");
    struct child_end end;
    join(sound_folder, temporary && temporary[0] ? temporary : "/tmp", "qkv-devices-XXXXXX");
    all_icds = icd_list(&num_all_icds);
    bool *sound = calloc(num_all_icds + 1, sizeof *sound);
    if (!sound || !mkdtemp(sound_folder) || setenv("OCL_ICD_VENDORS", sound_folder, 1) != 0) {
        sound_folder[0] = '\0';
        free(sound);
        return;
    }
    (void)unsetenv("OCL_ICD_FILENAMES");
    for (size_t i = 0; i < num_all_icds; i++) {
        if (!all_icds[i].library[0] || !write_icd(sound_folder, &all_icds[i], i)) continue;
        json_t *listing = list(&end, options);
        sound[i] = listing != NULL;
        if (!listing) accuse(machine, &all_icds[i], &end, options->seconds);
        json_decref(listing);
        remove_icd(sound_folder, &all_icds[i], i);
    }
    for (size_t i = 0; i < num_all_icds; i++)
        if (sound[i]) (void)write_icd(sound_folder, &all_icds[i], i);
    free(sound);
}

static json_t *empty_machine(void) {
    json_t *machine = json_object();
    json_object_set_new(machine, "schema", json_integer(SCHEMA_VERSION));
    json_object_set_new(machine, "version", json_string(qkv_version_string()));
    json_object_set_new(machine, "platforms", json_array());
    json_object_set_new(machine, "devices", json_array());
    json_object_set_new(machine, "auto", json_null());
    json_object_set_new(machine, "rule", json_string(qkv_device_rule()));
    json_object_set_new(machine, "problems", json_array());
    return machine;
}

json_t *machine_read(const struct options *options) {
    char what[128];
    struct child_end end;
    json_t *machine = empty_machine();
    json_t *listing = list(&end, options);
    if (!listing) {
        child_describe(what, sizeof what, &end, options->seconds);
        part_the_drivers(machine, options);
        struct child_end again;
        if (sound_folder[0]) listing = list(&again, options);
    }
    if (!listing)
        add_problem(machine, "reinstall the OpenCL loader (ocl-icd-libopencl1) and the drivers",
                    "Listing the devices %s.%s%s", what, end.words[0] ? " The last words: " : "", end.words);
    else if (json_object_get(listing, "error"))
        add_problem(machine, "free some memory", "The devices cannot be listed: %s",
                    json_string_value(json_object_get(listing, "error")));
    json_object_update_existing(machine, listing);
    const char *const more[] = {"selected", "selection_error", "best"};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (json_object_get(listing, more[i])) json_object_set(machine, more[i], json_object_get(listing, more[i]));
    json_decref(listing);
    return machine;
}
