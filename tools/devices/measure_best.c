/* Which device is the best for a kind of work, and how that is known. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/measure.h"
#include "devices/property.h"

static const struct {
    const char *name;
    qkv_device_work work;
    const char *unit;
} works[] = {
    {"projection", QKV_DEVICE_PROJECTION, "GFLOP/s"},
    {"prefill", QKV_DEVICE_PREFILL, "GFLOP/s"},
    {"decode", QKV_DEVICE_DECODE, "GB/s"},
};

static double figure(const qkv_device_info *info, qkv_device_work work) {
    return work == QKV_DEVICE_PROJECTION ? info->projection_gflops
           : work == QKV_DEVICE_PREFILL  ? info->prefill_gflops
                                         : info->decode_gbps;
}

/* Why the library knows no figure of any device: asked by having it forget those of a driver that is not there. */
static void explain_missing(char *why, size_t size, const qkv_device_info *info) {
    const qkv_device_measurement none = QKV_DEVICE_MEASUREMENT_INIT;
    const char *folder = getenv("QKV_CACHE_DIR");
    qkv_device_info nobody = *info;
    nobody.driver_version = "none";
    if (!folder || !*folder)
        snprintf(why, size,
                 "by estimate: no measurement of it is recorded (qkv-devices --measure records one in the folder that "
                 "QKV_CACHE_DIR names; it names none)");
    else if (qkv_device_record_measurement(&nobody, &none) != QKV_OK)
        snprintf(why, size, "by estimate: no measurement can be recorded: %s", qkv_error_message());
    else
        snprintf(why, size,
                 "by estimate: no measurement of it is recorded in QKV_CACHE_DIR (qkv-devices --measure does that)");
}

static json_t *best_of(const qkv_device_list *list, size_t w) {
    size_t index;
    int measured;
    char why[400];
    if (qkv_device_list_best(&index, &measured, list, works[w].work) != QKV_OK) return json_null();
    const qkv_device_info *info = qkv_device_list_device(list, index);
    double rate = figure(info, works[w].work);
    if (measured)
        snprintf(why, sizeof why, "as measured: %.3g %s in %s", rate, works[w].unit, works[w].name);
    else if (rate > 0)
        snprintf(why, sizeof why,
                 "partly by estimate: %.3g %s in %s are recorded of it, but not every device here is measured "
                 "(qkv-devices --measure does that)",
                 rate, works[w].unit, works[w].name);
    else
        explain_missing(why, sizeof why, info);
    json_t *object = json_object();
    json_object_set_new(object, "selector", json_string(info->selector));
    json_object_set_new(object, "measured", json_boolean(measured));
    json_object_set_new(object, "why", text_value(why));
    return object;
}

json_t *measure_best_json(const qkv_device_list *list) {
    json_t *all = json_object();
    for (size_t w = 0; w < sizeof works / sizeof works[0]; w++)
        json_object_set_new(all, works[w].name, best_of(list, w));
    return all;
}

int measure_best_print(FILE *out, FILE *log, const json_t *best, const char *work) {
    const json_t *one = json_object_get(best, work);
    const char *selector = json_string_value(json_object_get(one, "selector"));
    const char *why = json_string_value(json_object_get(one, "why"));
    if (!selector) {
        fprintf(log, "qkv-devices: no OpenCL device here can be used\n");
        return -1;
    }
    fprintf(log, "%s: the best device for %s %s\n", selector, work, why ? why : "");
    fprintf(out, "%s\n", selector);
    if (fflush(out) == 0) return 0;
    fprintf(log, "qkv-devices: standard output: %s\n", strerror(errno));
    return -1;
}
