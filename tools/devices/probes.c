/* The table of probes, and the child that runs them for one device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "devices/child.h"
#include "devices/probe.h"
#include "devices/property.h"

const char *const probe_state_names[] = {"works", "absent", "wrong", "failed", "crashed", "hung", "skipped"};

/* In the order in which they run: what everything rests on first, what may bring a machine to its knees last. */
const struct probe probes[] = {
    {"kernels", "a kernel compiles, runs, is right", PROBE_YES_NO, true, probe_basic},
    {"wide_integers", "64-bit integers and offsets", PROBE_YES_NO, false, probe_wide_integers},
    {"loops", "loops run to their end", PROBE_YES_NO, false, probe_loops},
    {"infinities", "infinities and NaN kept", PROBE_YES_NO, false, probe_infinities},
    {"denormals", "denormals kept", PROBE_YES_NO, false, probe_denormals},
    {"fast_fma", "fma() fast", PROBE_YES_NO, false, probe_fma},
    {"half_storage", "fp16 as storage", PROBE_YES_NO, false, probe_half_storage},
    {"half", "fp16 arithmetic", PROBE_YES_NO, false, probe_half},
    {"double", "fp64 arithmetic", PROBE_YES_NO, false, probe_double},
    {"integer_dot", "integer dot product", PROBE_YES_NO, false, probe_dot},
    {"subgroups", "subgroups", PROBE_YES_NO, false, probe_subgroups},
    {"shuffle", "subgroup shuffle", PROBE_YES_NO, false, probe_shuffle},
    {"group_size", "largest work-group", PROBE_COUNT, true, probe_group_size},
    {"local_bytes", "local memory", PROBE_BYTES, false, probe_local_memory},
    {"allocation", "largest allocation written", PROBE_BYTES, true, probe_allocation},
};
const size_t num_probes = sizeof probes / sizeof probes[0];

static const char claim_prefix[] = "QKV_CLAIM_", found_prefix[] = "QKV_PROBE_";

bool probe_name_is_claim(const char *name) {
    return strncasecmp(name, claim_prefix, strlen(claim_prefix)) == 0;
}

const struct probe *probe_find(const char *name) {
    if (probe_name_is_claim(name))
        name += strlen(claim_prefix);
    else if (strncasecmp(name, found_prefix, strlen(found_prefix)) == 0)
        name += strlen(found_prefix);
    for (size_t i = 0; i < num_probes; i++)
        if (strcasecmp(name, probes[i].key) == 0) return &probes[i];
    return NULL;
}

void probe_raw_name(char name[64], const char *prefix, const struct probe *probe) {
    size_t length = (size_t)snprintf(name, 64, "%s%s", prefix, probe->key);
    for (size_t i = 0; i < length && i < 64; i++)
        if (name[i] >= 'a' && name[i] <= 'z') name[i] = (char)(name[i] - 'a' + 'A');
}

bool probe_fails_essential(const struct probe *probe, const json_t *outcome) {
    const char *state = json_string_value(json_object_get(outcome, "state"));
    if (!probe->essential || !state || strcmp(state, "works") == 0) return false;
    if (probe->unit == PROBE_YES_NO) return true;
    /* A driver may crash or hang at the largest, or not have got there: smaller ones may work. */
    return strcmp(state, "failed") == 0 || strcmp(state, "wrong") == 0 || strcmp(state, "absent") == 0;
}

/* "" and not known where the query fails; NULL without memory. */
static char *device_extensions(cl_device_id device, bool *known) {
    size_t size = 0;
    *known = clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, 0, NULL, &size) == CL_SUCCESS && size > 0;
    char *text = calloc(*known ? size + 1 : 1, 1);
    if (text && *known) *known = clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, size, text, NULL) == CL_SUCCESS;
    if (text && !*known) text[0] = '\0';
    return text;
}

static void close_context(struct probe_device *device) {
    if (device->queue) clReleaseCommandQueue(device->queue);
    if (device->context) clReleaseContext(device->context);
    device->queue = NULL;
    device->context = NULL;
}

static bool open_context(struct probe_device *device, struct outcome *outcome) {
    const cl_context_properties wanted[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)device->platform, 0};
    cl_int code;
    device->context = clCreateContext(wanted, 1, &device->id, NULL, NULL, &code);
    if (!device->context) {
        probe_failed(outcome, "clCreateContext", code);
        return false;
    }
    device->queue = clCreateCommandQueue(device->context, device->id, 0, &code);
    if (!device->queue) probe_failed(outcome, "clCreateCommandQueue", code);
    return device->queue != NULL;
}

/* False, with the outcome filled, where the device cannot even be opened. */
static bool open_device(struct probe_device *device, struct outcome *outcome, const qkv_device_info *info) {
    device->id = info->device_id;
    device->platform = info->platform_id;
    device->kind = info->kind;
    device->extensions = device_extensions(info->device_id, &device->extensions_known);
    if (!device->extensions) {
        probe_result(outcome, PROBE_FAILED, "out of memory");
        return false;
    }
    return open_context(device, outcome);
}

static void close_device(struct probe_device *device) {
    close_context(device);
    free(device->extensions);
}

bool probe_renew(struct outcome *outcome, struct probe_device *device) {
    if (!device->doubtful) return true;
    close_context(device);
    if (!open_context(device, outcome)) return false;
    device->doubtful = false;
    return true;
}

/* Is there, after a command failed, a context in which the smallest kernel runs? What does not compile says nothing. */
static bool recovers(struct probe_device *device) {
    struct outcome outcome = {.state = PROBE_WORKS};
    if (!device->doubtful) return true;
    if (!probe_renew(&outcome, device)) return false;
    probe_basic(&outcome, device);
    return outcome.state != PROBE_FAILED;
}

static json_t *outcome_value(const struct probe *probe, const struct outcome *outcome) {
    json_t *object = json_object();
    json_t *claimed = json_null();
    if (outcome->claim_known)
        claimed =
            probe->unit == PROBE_YES_NO ? json_boolean(outcome->claimed) : json_integer((json_int_t)outcome->claimed);
    json_object_set_new(object, "claimed", claimed);
    json_object_set_new(object, "state", json_string(probe_state_names[outcome->state]));
    json_object_set_new(object, "value", outcome->has_value ? json_integer((json_int_t)outcome->value) : json_null());
    json_object_set_new(object, "capped", json_boolean(outcome->capped));
    json_object_set_new(object, "detail", text_value(outcome->detail));
    return object;
}

static void tell(const char *what, const char *key, json_t *outcome) {
    json_t *line = json_object();
    json_object_set_new(line, what, json_string(key));
    if (outcome) json_object_set_new(line, "outcome", outcome);
    child_tell(line);
}

/* What a driver said before is not what it says of the next probe: a blank line is the last one then, in the order in
 * which everything was written. */
static void end_words(void) {
    static const char blank[] = "\n \n";
    (void)fflush(NULL);
    if (write(STDERR_FILENO, blank, sizeof blank - 1) < 0) return;
}

/* Each probe is announced before it runs, so that a crash has a name. False where this process is of no more use to
 * those that are left. */
static bool run_probes(struct probe_device *device, size_t from) {
    for (size_t i = from; i < num_probes; i++) {
        if (i > from && !recovers(device)) return false;
        struct outcome outcome = {.state = PROBE_WORKS};
        end_words();
        tell("begin", probes[i].key, NULL);
        probes[i].run(&outcome, device);
        /* Smaller ones had no chance then: as after a crash. */
        if (outcome.state == PROBE_FAILED && probes[i].unit != PROBE_YES_NO && !recovers(device))
            outcome.state = PROBE_CRASHED;
        tell("end", probes[i].key, outcome_value(&probes[i], &outcome));
    }
    return true;
}

static const qkv_device_info *find_device(const qkv_device_list *list, const char *selector) {
    for (size_t i = 0; i < qkv_device_list_num_devices(list); i++)
        if (strcmp(qkv_device_list_device(list, i)->selector, selector) == 0) return qkv_device_list_device(list, i);
    return NULL;
}

int child_probe(const char *selector, size_t from, bool measure_memory) {
    struct probe_device device = {.measure_memory = measure_memory};
    bool good = true;
    struct outcome outcome = {.state = PROBE_WORKS};
    qkv_device_list *list;
    if (from >= num_probes) return 2;
    tell("begin", probes[from].key, NULL);
    if (qkv_device_list_create(&list) != QKV_OK) return 1;
    const qkv_device_info *info = find_device(list, selector);
    if (!info) probe_result(&outcome, PROBE_FAILED, "the device is no longer there");
    if (info && open_device(&device, &outcome, info))
        good = run_probes(&device, from);
    else
        tell("end", probes[from].key, outcome_value(&probes[from], &outcome));
    close_device(&device);
    qkv_device_list_destroy(list);
    return good ? 0 : 1;
}
