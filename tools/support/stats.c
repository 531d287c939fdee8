/* Medians, quartiles and the clock. */
#include "stats.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool tool_series_add(struct tool_series *series, double value) {
    if (series->count == series->capacity) {
        size_t capacity = series->capacity ? 2 * series->capacity : 64;
        double *values = realloc(series->values, capacity * sizeof *values);
        if (!values) {
            return false;
        }
        series->values = values;
        series->capacity = capacity;
    }
    series->values[series->count++] = value;
    return true;
}

void tool_series_free(struct tool_series *series) {
    free(series->values);
    memset(series, 0, sizeof *series);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double part) {
    double position = part * (double)(count - 1);
    size_t low = (size_t)position;
    size_t high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (position - (double)low) * (sorted[high] - sorted[low]);
}

struct tool_quartiles tool_series_quartiles(const struct tool_series *series) {
    struct tool_quartiles result = {0, 0, 0, 0};
    if (series->count == 0) {
        return result;
    }
    double *sorted = malloc(series->count * sizeof *sorted);
    if (!sorted) {
        return result;
    }
    memcpy(sorted, series->values, series->count * sizeof *sorted);
    qsort(sorted, series->count, sizeof *sorted, compare);
    result.q1 = quantile(sorted, series->count, 0.25);
    result.median = quantile(sorted, series->count, 0.5);
    result.q3 = quantile(sorted, series->count, 0.75);
    result.highest = sorted[series->count - 1];
    free(sorted);
    return result;
}

double tool_clock_seconds(void) {
    return 1e-3 * tool_clock_ms();
}

double tool_processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Threads that spin yield now and then: one quiet moment says nothing. */
void tool_wait_idle(void) {
    const struct timespec step = {0, 2000000};
    const double give_up = tool_clock_seconds() + 0.5;
    for (int quiet = 0; quiet < 5 && tool_clock_seconds() < give_up;) {
        const double begin = tool_clock_seconds(), used = tool_processor_seconds();
        nanosleep(&step, NULL);
        quiet = tool_processor_seconds() - used < 0.1 * (tool_clock_seconds() - begin) ? quiet + 1 : 0;
    }
}

double tool_turn(bool (*run)(void *state, char *error, size_t error_size), void *state, char *error,
                 size_t error_size) {
    struct tool_series times = {NULL, 0, 0};
    const double begin = tool_clock_seconds();
    double timed = 0;
    while (timed == 0 || tool_clock_seconds() < timed + TOOL_TIMED_SECONDS) {
        const double start = tool_clock_seconds();
        if (!run(state, error, error_size)) {
            tool_series_free(&times);
            return 0;
        }
        const double end = tool_clock_seconds();
        const bool is_long = end - start >= TOOL_LONG_SECONDS;
        if (timed > 0 || is_long) {
            tool_series_add(&times, end - start);
        }
        if (is_long) {
            break;
        }
        if (timed == 0 && end - begin >= TOOL_WARM_SECONDS) {
            timed = end;
        }
    }
    const double median = tool_series_quartiles(&times).median;
    tool_series_free(&times);
    return median;
}
