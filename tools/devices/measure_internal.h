/* What the files of the measurement share. */
#ifndef QKV_TOOLS_DEVICES_MEASURE_INTERNAL_H
#define QKV_TOOLS_DEVICES_MEASURE_INTERNAL_H

#include "devices/measure.h"
#include "qkv.h"

struct measuring {
    struct measurement *out;
    qkv_context *context;
    void (*progress)(void *, const char *);
    void *user;
};

/* Tells what comes next. */
void measure_tell(const struct measuring *m, const char *what);
/* A row's figure and how it was come by; or 0 and why there is none. */
void measure_set(const struct measuring *m, enum measure_row row, double value, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* More words on a figure. */
void measure_note(const struct measuring *m, enum measure_row row, const char *words);

/*
 * Runs up to so many are enqueued together until they take PIECE_SECONDS, of which the way to a device and back is no more
 * than a percent. 1 on the host's processor: there is no way, and a mean of runs counts what other processes take, which
 * the median of single ones leaves out.
 */
size_t measure_most_together(const struct measuring *m);
#define PIECE_SECONDS 5e-3

/* Above this part the figures are other processes' as well. */
#define OTHERS_AT_MOST 0.1
/* measure_hardware.c. The largest part of the cores that other processes took while this, or anything before, ran. */
void measure_others(const struct measuring *m);

/* measure_hardware.c: by fixed kernels and copies. measure_library.c: through the library's interface. */
void measure_hardware(const struct measuring *m);
void measure_library(const struct measuring *m);

#endif
