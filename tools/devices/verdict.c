/* The verdict on each device: "use", "usable" or "refused", why, and what would help; and which is best for what. */
#include <stdlib.h>
#include <string.h>

#include "devices/machine.h"
#include "devices/probe.h"
#include "devices/property.h"

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool is_refused(const json_t *device) {
    return strcmp(text_of(device, "verdict"), "refused") == 0;
}

/* The first essential probe that did not succeed; NULL where all did or none ran. */
static const struct probe *failed_essential(const json_t *device) {
    const json_t *outcomes = json_object_get(device, "probes");
    for (size_t i = 0; i < num_probes && outcomes; i++)
        if (probe_fails_essential(&probes[i], json_object_get(outcomes, probes[i].key))) return &probes[i];
    return NULL;
}

static void refuse(json_t *device, const struct probe *probe) {
    char reason[600];
    const json_t *outcome = json_object_get(json_object_get(device, "probes"), probe->key);
    const char *state = text_of(outcome, "state"), *detail = text_of(outcome, "detail");
    const char *what = probe->unit == PROBE_COUNT     ? "no size of work-group works: "
                       : probe->unit == PROBE_BYTES   ? "no allocation works: "
                       : strcmp(state, "wrong") == 0  ? "a small kernel gives a wrong result: "
                       : strcmp(state, "absent") == 0 ? "a small kernel "
                                                      : "a small kernel could not be run: ";
    snprintf(reason, sizeof reason, "cannot be used: %s%s", what, detail);
    json_object_set_new(device, "verdict", json_string("refused"));
    json_object_set_new(device, "reason", text_value(reason));
    json_object_set_new(device, "advice", json_string("another version of its driver"));
    json_object_set_new(device, "usable", json_false());
}

/* True if the trial made a difference. */
static bool judge(json_t *device) {
    const struct probe *failed = failed_essential(device);
    if (!failed || is_refused(device)) return false;
    refuse(device, failed);
    return true;
}

const char *best_usable(const json_t *machine) {
    size_t index;
    const json_t *device;
    const char *found = NULL;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (strcmp(text_of(device, "verdict"), "use") == 0) return text_of(device, "selector");
        if (!found && strcmp(text_of(device, "verdict"), "usable") == 0) found = text_of(device, "selector");
    }
    return found;
}

/* The library's "auto" has not tried the device; where it would take one that does not work, say so. */
static void check_auto(json_t *machine, const char *of_the_rest) {
    char fix[160];
    const char *selector = json_string_value(json_object_get(machine, "auto"));
    const json_t *device = selector ? machine_device(machine, selector) : NULL;
    const char *other = of_the_rest ? of_the_rest : best_usable(machine);
    if (!device || !other || !is_refused(device)) return;
    snprintf(fix, sizeof fix, "export QKV_DEVICE=%s", other);
    add_problem(machine, fix, "\"auto\" takes %s, %s, which does not work", selector, text_of(device, "name"));
}

/* The machine as a listing has it that leaves out what is refused here. */
static json_t *read_rest(const json_t *machine, const struct options *options) {
    size_t index, length = 0, size = 1; /* NUL */
    const json_t *device, *devices = json_object_get(machine, "devices");
    json_array_foreach(devices, index, device) {
        size += strlen(text_of(device, "selector")) + 2;
    }
    char *refused = calloc(size, 1);
    if (!refused) return NULL;
    json_array_foreach(devices, index, device) {
        if (is_refused(device))
            length += (size_t)snprintf(refused + length, size - length, " %s ", text_of(device, "selector"));
    }
    json_t *rest = setenv(WITHOUT_VARIABLE, refused, 1) == 0 ? machine_read(options) : NULL;
    (void)unsetenv(WITHOUT_VARIABLE);
    free(refused);
    return rest;
}

bool judge_devices(json_t *machine, const struct options *options) {
    size_t index;
    json_t *device, *rest = NULL;
    bool changed = false;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        changed |= judge(device);
    }
    if (changed) rest = read_rest(machine, options);
    if (changed && json_object_get(rest, "best"))
        json_object_set(machine, "best", json_object_get(rest, "best"));
    else if (changed)
        json_object_del(machine, "best");
    check_auto(machine, json_string_value(json_object_get(rest, "auto")));
    json_decref(rest);
    return changed;
}

/* Only what would be named is tried: until it stands the trial, or nothing is left. */
void try_best(json_t *machine, const struct options *options) {
    bool again = true;
    while (again && !options->no_probe) {
        const char *selector = text_of(json_object_get(json_object_get(machine, "best"), options->best), "selector");
        json_t *device = machine_device(machine, selector);
        if (!device || json_object_get(device, "probes")) return;
        try_device(device, options, 1, 1);
        again = judge_devices(machine, options);
        if (again)
            fprintf(stderr, "qkv-devices: %s, %s, is passed over: it %s\n", text_of(device, "selector"),
                    text_of(device, "name"), text_of(device, "reason"));
    }
}
