/* Lists the machine's devices through a child. */
#include "devices/machine.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/drivers.h"
#include "devices/property.h"
#include "devices/show.h"
#include "support/progress.h"

/* What stands in .icd files, or comes from drivers, must not steer a terminal. */
static void disarm(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) *c = '?';
        if (*c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) c[0] = c[1] = '?';
    }
}

void add_problem(json_t *machine, const char *fix, const char *format, ...) {
    char text[2 * PATH_MAX + 1024], harmless_fix[2 * PATH_MAX + 1024];
    json_t *problem = json_object();
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    (void)snprintf(harmless_fix, sizeof harmless_fix, "%s", fix);
    disarm(text);
    disarm(harmless_fix);
    json_object_set_new(problem, "problem", text_value(text));
    json_object_set_new(problem, "fix", text_value(harmless_fix));
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

json_t *list_devices(struct child_end *end, const char *selector, double seconds) {
    json_t *listing = NULL;
    const char *const arguments[] = {"list", selector, NULL};
    bool started = child_run(end, arguments, seconds, keep, &listing);
    if (started && listing && (child_good(end) || json_object_get(listing, "error"))) return listing;
    json_decref(listing);
    return NULL;
}

void show_waiting(const char *format, ...) {
    char text[80]; /* a longer line would not be wiped */
    va_list list;
    if (!isatty(STDERR_FILENO)) return;
    tool_progress_wipe();
    if (!format) return;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    disarm(text);
    fputs(text, stderr);
    (void)fflush(stderr);
}

double driver_seconds(double seconds) {
    double quarter = seconds / 4 > 2 ? seconds / 4 : 2;
    return seconds < quarter ? seconds : quarter;
}

const char *start_fix(const struct child_end *end) {
    switch (end->error) {
    case EMFILE:
        return "raise the limit of open files (ulimit -n 1024)";
    case ENFILE:
        return "end programs that hold many files open";
    case EAGAIN:
        return "end some processes, or raise their limit (ulimit -u)";
    case ENOMEM:
        return "free some memory";
    case 0:
        return "reinstall libqkv and the OpenCL loader (ocl-icd-libopencl1)";
    default:
        return "see that this user may execute the program qkv-devices";
    }
}

void machine_forget(void) {
    drivers_join();
    icd_forget();
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

/* Why there is no listing. */
static void explain(json_t *machine, const struct child_end *end, const char *what) {
    bool alone = drivers_parted() && json_array_size(json_object_get(machine, "problems")) == 0;
    /* Then no driver can be asked either. */
    for (size_t i = 0; i < icd_known()->count && !end->started; i++)
        icd_known()->items[i].accused = true;
    if (!end->started)
        add_problem(machine, start_fix(end), "The devices cannot be listed: a process for that %s", what);
    else
        add_problem(machine,
                    alone ? "remove one driver after the other, until the rest can be listed"
                          : "reinstall the OpenCL loader (ocl-icd-libopencl1) and the drivers",
                    "Listing the devices %s%s%s%s", what, alone ? ", although each driver alone can be listed" : "",
                    end->words[0] ? ". The last words: " : "", end->words);
}

/* NULL, with the reasons among the problems, where there is none. */
static json_t *find_listing(json_t *machine, const struct options *options) {
    struct child_end end;
    char what[128];
    (void)icd_known();
    show_waiting("listing the devices");
    json_t *listing = list_devices(&end, options->selector, options->seconds);
    child_describe(what, sizeof what, &end, options->seconds);
    if (!listing && end.started && !drivers_parted()) {
        if (!drivers_part(machine, options, what)) return NULL;
        show_waiting("listing the devices");
        listing = list_devices(&end, options->selector, options->seconds);
        child_describe(what, sizeof what, &end, options->seconds);
    }
    if (!listing) explain(machine, &end, what);
    return listing;
}

json_t *machine_read(const struct options *options) {
    json_t *machine = empty_machine();
    json_t *listing = find_listing(machine, options);
    show_waiting(NULL);
    if (json_object_get(listing, "error"))
        add_problem(machine, "free some memory", "The devices cannot be listed: %s", text_at(listing, "error"));
    json_object_update_existing(machine, listing);
    const char *const more[] = {"selected", "selection_error", "best"};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (json_object_get(listing, more[i])) json_object_set(machine, more[i], json_object_get(listing, more[i]));
    json_decref(listing);
    return machine;
}
