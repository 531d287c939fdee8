/* What one device reaches: by fixed kernels, and through the library. */
#ifndef QKV_TOOLS_DEVICES_MEASURE_H
#define QKV_TOOLS_DEVICES_MEASURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "qkv.h"

enum measure_row {
    MEASURE_FP32,
    MEASURE_NATIVE,
    MEASURE_FP16,
    MEASURE_READ,
    MEASURE_COPY,
    MEASURE_LAUNCH,
    MEASURE_UPLOAD,
    MEASURE_DOWNLOAD,
    MEASURE_PROJECTION,
    MEASURE_PREFILL,
    MEASURE_DECODE,
    MEASURE_ROWS
};

struct measure_value {
    double value; /* 0: none, the note says why */
    char note[160];
};

/* No pointers in it. */
struct measurement {
    char selector[32], device[256], platform[256], driver[256];
    struct measure_value rows[MEASURE_ROWS];
    double native_ratio; /* the fp32 kernel by the C loop, paired; 0: no loop */
    double others;       /* the part of the cores that other processes took; 0 as well where the host does not count */
    double seconds;
    char kept[400];  /* where the figures that auto goes by are kept, or why they are not */
    char error[600]; /* empty, or why nothing was measured */
};

/*
 * Measures the device a selector means (NULL: QKV_DEVICE, else auto) in this process, and records for the library what
 * auto goes by. 0, or -1 where the device cannot be opened; a simulator is a success without figures, and both have
 * out->error. A row that fails has a note instead and does not stop the others.
 * progress: NULL, or told what is being measured, and NULL at the end. Use measure_show_progress with a FILE *.
 */
int measure_device(struct measurement *out, const char *selector, void (*progress)(void *, const char *), void *user);

/* A line that the next one replaces, where the stream is a terminal. */
void measure_show_progress(void *stream, const char *what);

void measure_print(FILE *out, const struct measurement *m);
/* A new reference; NULL without memory. */
json_t *measure_json(const struct measurement *m);
/* There is a figure for each kind of work, which is what the library goes by. */
bool measure_complete(const json_t *measurement);
/* The way back, for what another process measured: what is missing is 0 or empty. */
void measure_from_json(struct measurement *out, const json_t *json);

/*
 * The best device for each kind of work, as the library ranks them:
 *   {"projection": {"selector": "P:D", "measured": true, "why": "..."}, "prefill": ..., "decode": ...}
 * null in the place of an object where no device is usable. A new reference; NULL without memory.
 */
json_t *measure_best_json(const qkv_device_list *list);
/* One of these: the selector, alone on a line, to out; how it was chosen to log. 0, or -1 with a line on log where there
 * is none. work: "projection", "prefill" or "decode". */
int measure_best_print(FILE *out, FILE *log, const json_t *best, const char *work);

#endif
