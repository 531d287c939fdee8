/* A progress bar on standard error, and only where that is a terminal. */
#ifndef TOOL_PROGRESS_H
#define TOOL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tool_progress {
    const char *label;
    size_t total;
    double started_ms;
    double drawn_ms;
    bool visible;
} tool_progress;

/* Borrows the label. Fewer than two steps draw nothing. */
void tool_progress_start(tool_progress *progress, const char *label, size_t total);
void tool_progress_step(tool_progress *progress, size_t done);
/* Wipes the line, so that what is printed next starts on a clean one. */
void tool_progress_clear(tool_progress *progress);
/* Wipes the line of a terminal on standard error, whatever stands on it. */
void tool_progress_wipe(void);

#endif
