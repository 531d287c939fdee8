#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "error.h"

enum { BAR_WIDTH = 30 };
static const double redraw_ms = 100.0;

void tool_progress_start(tool_progress *progress, const char *label, size_t total) {
    progress->label = label;
    progress->total = total;
    progress->started_ms = tool_clock_ms();
    progress->drawn_ms = progress->started_ms;
    progress->visible = total > 1 && isatty(STDERR_FILENO);
}

void tool_progress_step(tool_progress *progress, size_t done) {
    double now = tool_clock_ms();
    if (!progress->visible || done == 0 || (now - progress->drawn_ms < redraw_ms && done < progress->total)) return;
    progress->drawn_ms = now;
    double part = (double)done / (double)progress->total;
    double left = (now - progress->started_ms) * (1.0 - part) / part / 1e3;
    int filled = (int)(part * BAR_WIDTH);
    fprintf(stderr, "\r%s [", progress->label);
    for (int i = 0; i < BAR_WIDTH; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %zu/%zu, %.0f s left \033[K", done, progress->total, left);
}

void tool_progress_clear(tool_progress *progress) {
    if (progress->visible) fputs("\r\033[K", stderr);
}
