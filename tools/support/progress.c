#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"

enum { BAR_WIDTH = 30 };
static const double redraw_ms = 100.0;

/* Columns of the terminal on standard error. */
static size_t terminal_width(void) {
#ifdef TIOCGWINSZ
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
#endif
    return 80;
}

/* A dumb terminal cannot wipe: blanks do. */
void tool_progress_wipe(void) {
    const char *term = getenv("TERM");
    if (term && strcmp(term, "dumb") != 0)
        fputs("\r\033[K", stderr);
    else
        fprintf(stderr, "\r%*s\r", (int)terminal_width() - 1, "");
}

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
    char numbers[80];
    int used = snprintf(numbers, sizeof numbers, " %zu/%zu, %.0f s left", done, progress->total, left);
    /* A line that a terminal breaks is no longer one that the next replaces. */
    int room = (int)terminal_width() - 1 - used - (int)strlen(progress->label) - 3;
    int width = room < BAR_WIDTH ? room : BAR_WIDTH, filled = (int)(part * width);
    tool_progress_wipe();
    if (width >= 0) fprintf(stderr, "%s ", progress->label);
    if (width > 0) fputc('[', stderr);
    for (int i = 0; i < width; i++)
        fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "%s%.*s", width > 0 ? "]" : "", (int)terminal_width() - 1, numbers);
    (void)fflush(stderr);
}

void tool_progress_clear(tool_progress *progress) {
    if (progress->visible) tool_progress_wipe();
}
