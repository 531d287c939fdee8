/* The verdict on each device: "use", "usable" or "refused", why, and what would help. */
#include <string.h>

#include "devices/machine.h"
#include "devices/probe.h"
#include "devices/property.h"

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* The first essential probe that did not succeed; NULL where all did or none ran. */
static const struct probe *failed_essential(const json_t *device) {
    const json_t *outcomes = json_object_get(device, "probes");
    for (size_t i = 0; i < num_probes && outcomes; i++) {
        const char *state = text_of(json_object_get(outcomes, probes[i].key), "state");
        if (probes[i].essential && state[0] && strcmp(state, "works") != 0) return &probes[i];
    }
    return NULL;
}

static void refuse(json_t *device, const struct probe *probe) {
    char reason[600];
    const json_t *outcome = json_object_get(json_object_get(device, "probes"), probe->key);
    const char *state = text_of(outcome, "state"), *detail = text_of(outcome, "detail");
    const char *what = strcmp(state, "wrong") == 0    ? "a small kernel gives a wrong result"
                       : strcmp(state, "absent") == 0 ? "a small kernel"
                                                      : "a small kernel could not be run";
    snprintf(reason, sizeof reason, "cannot be used: %s%s%s", what, strcmp(state, "absent") == 0 ? " " : ": ", detail);
    json_object_set_new(device, "verdict", json_string("refused"));
    json_object_set_new(device, "reason", text_value(reason));
    json_object_set_new(device, "advice", json_string("another version of its driver"));
}

static void judge(json_t *device) {
    const struct probe *failed = failed_essential(device);
    if (failed && strcmp(text_of(device, "verdict"), "refused") != 0) refuse(device, failed);
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
static void check_auto(json_t *machine) {
    char fix[160];
    const char *selector = json_string_value(json_object_get(machine, "auto"));
    const json_t *device = selector ? machine_device(machine, selector) : NULL;
    const char *other = best_usable(machine);
    if (!device || !other || strcmp(text_of(device, "verdict"), "refused") != 0) return;
    snprintf(fix, sizeof fix, "export QKV_DEVICE=%s", other);
    add_problem(machine, fix, "\"auto\" takes %s, %s, which does not work", selector, text_of(device, "name"));
}

void judge_devices(json_t *machine) {
    size_t index;
    json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        judge(device);
    }
    check_auto(machine);
}
