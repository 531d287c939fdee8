/* Medians, quartiles and the clock. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool bench_series_add(struct bench_series *series, double value)
{
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

void bench_series_free(struct bench_series *series)
{
    free(series->values);
    memset(series, 0, sizeof *series);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double part)
{
    double position = part * (double)(count - 1);
    size_t low = (size_t)position;
    size_t high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (position - (double)low) * (sorted[high] - sorted[low]);
}

struct bench_quartiles bench_series_quartiles(const struct bench_series *series)
{
    struct bench_quartiles result = {0, 0, 0, 0};
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

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_wait_idle(void)
{
    const struct timespec step = {0, 500000};
    double give_up = bench_now() + 0.25;
    for (;;) {
        double begin = bench_now(), used = bench_processor_seconds();
        nanosleep(&step, NULL);
        double end = bench_now();
        if (bench_processor_seconds() - used < 0.2 * (end - begin) || end > give_up) {
            break;
        }
    }
}

double bench_turn(bool (*run)(void *state, char *error, size_t error_size), void *state, char *error,
                  size_t error_size)
{
    struct bench_series times = {NULL, 0, 0};
    const double begin = bench_now();
    double timed = 0;
    while (timed == 0 || bench_now() < timed + BENCH_TIMED_SECONDS) {
        const double start = bench_now();
        if (!run(state, error, error_size)) {
            bench_series_free(&times);
            return 0;
        }
        const double end = bench_now();
        const bool is_long = end - start >= BENCH_LONG_SECONDS;
        if (timed > 0 || is_long) {
            bench_series_add(&times, end - start);
        }
        if (is_long) {
            break;
        }
        if (timed == 0 && end - begin >= BENCH_WARM_SECONDS) {
            timed = end;
        }
    }
    const double median = bench_series_quartiles(&times).median;
    bench_series_free(&times);
    return median;
}
