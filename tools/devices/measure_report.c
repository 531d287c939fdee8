/* A measurement for people and for programs: one row feeds both. */
#include "devices/measure.h"

#include <string.h>

#include "devices/property.h"

static const struct {
    const char *key, *label, *unit;
} rows[MEASURE_ROWS] = {
    [MEASURE_FP32] = {"fp32_gflops", "fp32 multiply-add, peak", "GFLOP/s"},
    [MEASURE_NATIVE] = {"native_gflops", "the same as a C loop", "GFLOP/s"},
    [MEASURE_FP16] = {"fp16_gflops", "fp16 multiply-add, peak", "GFLOP/s"},
    [MEASURE_READ] = {"read_gbps", "reading memory", "GB/s"},
    [MEASURE_COPY] = {"copy_gbps", "copying memory", "GB/s"},
    [MEASURE_LAUNCH] = {"launch_us", "launching a kernel", "us"},
    [MEASURE_UPLOAD] = {"upload_gbps", "host to device", "GB/s"},
    [MEASURE_DOWNLOAD] = {"download_gbps", "device to host", "GB/s"},
    [MEASURE_PROJECTION] = {"projection_gflops", "libqkv: projection", "GFLOP/s"},
    [MEASURE_PREFILL] = {"prefill_gflops", "libqkv: prefill", "GFLOP/s"},
    [MEASURE_DECODE] = {"decode_gbps", "libqkv: decode", "GB/s"},
};

/* Three digits or so, whatever the device's size. */
static int decimals(double value) {
    return value >= 100 ? 0 : value >= 1 ? 1 : value >= 0.1 ? 2 : value >= 0.01 ? 3 : 5;
}

void measure_print(FILE *out, const struct measurement *m) {
    if (m->error[0]) {
        fprintf(out, "%s%snot measured: %s\n", m->selector, m->selector[0] ? "  " : "", m->error);
        return;
    }
    fprintf(out, "%s  %s (%s), measured in %.1f s\n", m->selector, m->device, m->platform, m->seconds);
    for (int r = 0; r < MEASURE_ROWS; r++) {
        const struct measure_value *row = &m->rows[r];
        if (row->value > 0)
            fprintf(out, "  %-24s %8.*f %-8s %s\n", rows[r].label, decimals(row->value), row->value, rows[r].unit,
                    row->note);
        else
            fprintf(out, "  %-24s %8s %-8s %s\n", rows[r].label, "-", "", row->note);
    }
    fprintf(out, "  %s\n", m->kept);
}

static json_t *text(const char *value) {
    json_t *result = text_value(value);
    return result ? result : json_string("?");
}

json_t *measure_json(const struct measurement *m) {
    json_t *object = json_object(), *notes = json_object();
    if (!object || !notes) {
        json_decref(object);
        json_decref(notes);
        return NULL;
    }
    json_object_set_new(object, "selector", text(m->selector));
    json_object_set_new(object, "device", text(m->device));
    json_object_set_new(object, "platform", text(m->platform));
    json_object_set_new(object, "driver_version", text(m->driver));
    json_object_set_new(object, "error", m->error[0] ? text(m->error) : json_null());
    for (int r = 0; r < MEASURE_ROWS; r++) {
        double value = m->rows[r].value;
        json_object_set_new(object, rows[r].key, value > 0 ? json_real(value) : json_null());
        json_object_set_new(notes, rows[r].key, text(m->rows[r].note));
    }
    json_object_set_new(object, "native_ratio", m->native_ratio > 0 ? json_real(m->native_ratio) : json_null());
    json_object_set_new(object, "others_share", json_real(m->others > 0 ? m->others : 0));
    json_object_set_new(object, "seconds", json_real(m->seconds));
    json_object_set_new(object, "kept", text(m->kept));
    json_object_set_new(object, "notes", notes);
    return object;
}

static void copy(char *out, size_t size, const json_t *json, const char *key) {
    const char *value = json_string_value(json_object_get(json, key));
    snprintf(out, size, "%s", value ? value : "");
}

static double number(const json_t *json, const char *key) {
    return json_number_value(json_object_get(json, key));
}

bool measure_complete(const json_t *measurement) {
    for (int r = MEASURE_PROJECTION; r <= MEASURE_DECODE; r++)
        if (!(number(measurement, rows[r].key) > 0)) return false;
    return true;
}

void measure_from_json(struct measurement *out, const json_t *json) {
    memset(out, 0, sizeof *out);
    copy(out->selector, sizeof out->selector, json, "selector");
    copy(out->device, sizeof out->device, json, "device");
    copy(out->platform, sizeof out->platform, json, "platform");
    copy(out->driver, sizeof out->driver, json, "driver_version");
    copy(out->error, sizeof out->error, json, "error");
    copy(out->kept, sizeof out->kept, json, "kept");
    for (int r = 0; r < MEASURE_ROWS; r++) {
        out->rows[r].value = number(json, rows[r].key);
        copy(out->rows[r].note, sizeof out->rows[r].note, json_object_get(json, "notes"), rows[r].key);
    }
    out->native_ratio = number(json, "native_ratio");
    out->others = number(json, "others_share");
    out->seconds = number(json, "seconds");
}
