/* Medians, quartiles and the clock. */
#ifndef TOOL_STATS_H
#define TOOL_STATS_H

#include <stdbool.h>
#include <stddef.h>

struct tool_series {
    double *values;
    size_t count, capacity;
};

struct tool_quartiles {
    double q1, median, q3, highest;
};

bool tool_series_add(struct tool_series *series, double value);
void tool_series_free(struct tool_series *series);
/* Zeros for an empty series. Sorts a copy. */
struct tool_quartiles tool_series_quartiles(const struct tool_series *series);

double tool_clock_seconds(void);     /* monotonic */
double tool_processor_seconds(void); /* of all threads of this process */
/*
 * Seconds of one run in a turn: runs are repeated untimed until TOOL_WARM_SECONDS have passed, then timed for
 * TOOL_TIMED_SECONDS, and their median counts; each at least once, and a run of TOOL_LONG_SECONDS counts at once.
 * 0 where a run failed. tools/bench-peers.py does the same.
 */
#define TOOL_WARM_SECONDS 4e-3
#define TOOL_TIMED_SECONDS 2e-3
#define TOOL_LONG_SECONDS 20e-3
double tool_turn(bool (*run)(void *state, char *error, size_t error_size), void *state, char *error,
                 size_t error_size);

/* Returns once this process's threads have slept for 10 ms on end, or after half a second. */
void tool_wait_idle(void);

#endif
