/* One device measured from beginning to end. */
#include "devices/measure_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/progress.h"
#include "support/stats.h"

/* Rates differ by that much between two runs. */
#define NOISE 1.1

void measure_tell(const struct measuring *m, const char *what) {
    if (m->progress) m->progress(m->user, what);
}

void measure_set(const struct measuring *m, enum measure_row row, double value, const char *format, ...) {
    struct measure_value *out = &m->out->rows[row];
    va_list list;
    va_start(list, format);
    vsnprintf(out->note, sizeof out->note, format, list);
    va_end(list);
    out->value = value > 0 ? value : 0;
}

void measure_note(const struct measuring *m, enum measure_row row, const char *words) {
    char *note = m->out->rows[row].note;
    size_t length = strlen(note), size = sizeof m->out->rows[row].note;
    snprintf(note + length, size - length, "%s", words);
}

size_t measure_most_together(const struct measuring *m) {
    qkv_device_kind kind = qkv_context_device(m->context)->kind;
    return kind == QKV_DEVICE_GPU || kind == QKV_DEVICE_ACCELERATOR ? 256 : 1;
}

/* No device is faster than its peak: then the one figure or the other is not to be relied on. */
static void doubt(const struct measuring *m) {
    static const enum measure_row rows[] = {MEASURE_PROJECTION, MEASURE_PREFILL};
    const struct measure_value *values = m->out->rows;
    double fp32 = values[MEASURE_FP32].value, native = values[MEASURE_NATIVE].value;
    double peak = fp32 > native ? fp32 : native;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && peak > 0; i++)
        if (values[rows[i]].value > NOISE * peak) measure_note(m, rows[i], "; above the peak: measure again");
    if (m->out->native_ratio > NOISE) measure_note(m, MEASURE_FP32, "; above that: measure again");
}

void measure_show_progress(void *stream, const char *what) {
    if (!isatty(fileno(stream))) return;
    tool_progress_wipe();
    if (what) fprintf(stream, "measuring: %s", what);
    fflush(stream);
}

/* "auto" chooses by it for good, so it must be the device's. */
static void record(const struct measuring *m) {
    if (m->out->others > OTHERS_AT_MOST) {
        snprintf(m->out->kept, sizeof m->out->kept,
                 "not kept: other processes took %.0f%% of the cores, so these are not the device's figures; measure "
                 "again without them",
                 100 * m->out->others);
        return;
    }
    const char *folder = getenv("QKV_CACHE_DIR");
    qkv_device_measurement figures = QKV_DEVICE_MEASUREMENT_INIT;
    figures.projection_gflops = m->out->rows[MEASURE_PROJECTION].value;
    figures.prefill_gflops = m->out->rows[MEASURE_PREFILL].value;
    figures.decode_gbps = m->out->rows[MEASURE_DECODE].value;
    if (qkv_device_record_measurement(qkv_context_device(m->context), &figures) == QKV_OK)
        snprintf(m->out->kept, sizeof m->out->kept, "kept in %s: programs that have it as QKV_CACHE_DIR choose by it",
                 folder);
    else if (!folder || !*folder)
        snprintf(m->out->kept, sizeof m->out->kept,
                 "not kept: with a folder as QKV_CACHE_DIR programs would choose by it");
    else
        snprintf(m->out->kept, sizeof m->out->kept, "not kept: %s", qkv_error_message());
}

static void describe(struct measurement *out, const qkv_device_info *info) {
    snprintf(out->selector, sizeof out->selector, "%s", info->selector);
    snprintf(out->device, sizeof out->device, "%s", info->name);
    snprintf(out->platform, sizeof out->platform, "%s", info->platform_name);
    snprintf(out->driver, sizeof out->driver, "%s", info->driver_version);
}

int measure_device(struct measurement *out, const char *selector, void (*progress)(void *, const char *), void *user) {
    struct measuring m = {.out = out, .progress = progress, .user = user};
    double begin = tool_clock_seconds();
    memset(out, 0, sizeof *out);
    if (qkv_context_create(&m.context, selector, NULL) != QKV_OK) {
        snprintf(out->error, sizeof out->error, "%s", qkv_error_message());
        return -1;
    }
    const qkv_device_info *info = qkv_context_device(m.context);
    describe(out, info);
    /* It counts instructions: its speed says nothing of any hardware, and a peak kernel would take hours. */
    if (info->kind == QKV_DEVICE_SIMULATOR) {
        snprintf(out->error, sizeof out->error, "a simulator's speed means nothing");
    } else {
        measure_hardware(&m);
        measure_library(&m);
        measure_others(&m);
        doubt(&m);
        record(&m);
    }
    measure_tell(&m, NULL);
    qkv_context_destroy(m.context);
    out->seconds = tool_clock_seconds() - begin;
    return 0;
}
