/*
 * What the library's known answers cost where nothing is remembered of earlier ones: every solver on its problems, with
 * the programs built and loaded before.
 */
#include "bench.h"

#include <string.h>

#define ROUNDS 9
#define MOST_ROWS 64
#define PER_LINE 5

/* One solver's kernels of one kind. */
struct row {
    char name[48];
    struct tool_series us;
    struct tool_quartiles time;
};

struct rows {
    struct row list[MOST_ROWS];
    size_t count; /* in this round so far */
    bool timed;
};

static void take(void *user, const qkv_self_test_result *result) {
    struct rows *rows = user;
    if (result->verdict != QKV_VERDICT_PASSED || rows->count == MOST_ROWS) {
        return;
    }
    struct row *row = &rows->list[rows->count++];
    snprintf(row->name, sizeof row->name, "%s=%s", result->operation, result->solver);
    if (rows->timed) {
        tool_series_add(&row->us, 1e3 * result->milliseconds);
    }
}

static bool measure(struct rows *rows, qkv_context *context) {
    for (int round = 0; round <= ROUNDS; ++round) {
        rows->timed = round > 0;
        rows->count = 0;
        tool_wait_idle();
        if (qkv_context_self_test(context, take, rows) != QKV_OK) {
            return false;
        }
    }
    for (size_t i = 0; i < rows->count; ++i) {
        rows->list[i].time = tool_series_quartiles(&rows->list[i].us);
    }
    return true;
}

/* Of the rows with one solver's name, or with any (NULL), the one that takes longest. */
static const struct row *find_slowest(const struct rows *rows, const char *name) {
    const struct row *slowest = NULL;
    for (size_t i = 0; i < rows->count; ++i) {
        const struct row *row = &rows->list[i];
        if ((!name || strcmp(row->name, name) == 0) && (!slowest || row->time.median > slowest->time.median)) {
            slowest = row;
        }
    }
    return slowest;
}

static void tell(struct bench_result *result, const struct rows *rows) {
    const struct row *worst = find_slowest(rows, NULL);
    size_t told = 0, length = 0;
    for (size_t i = 0; i < rows->count && length < sizeof result->note; ++i) {
        const struct row *row = &rows->list[i];
        if (find_slowest(rows, row->name) == row) {
            const char *before = told == 0 ? "ms: " : told % PER_LINE == 0 ? ",\n  " : ", ";
            length += (size_t)snprintf(result->note + length, sizeof result->note - length, "%s%s %.1f", before,
                                       row->name, row->time.median / 1e3);
            ++told;
        }
    }
    if (worst) {
        result->us = worst->time;
    }
}

void bench_known_measure(const struct bench *bench, const struct bench_case *c, struct bench_result *result) {
    struct rows rows;
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_context *context = NULL;
    memset(&rows, 0, sizeof rows);
    memset(result, 0, sizeof *result);
    result->spec = c;
    options.cache_dir = "";
    result->failed = qkv_context_create(&context, qkv_context_device(bench->context)->selector, &options) != QKV_OK ||
                     !measure(&rows, context);
    if (result->failed) {
        snprintf(result->note, sizeof result->note, "%s", qkv_error_message());
    } else {
        tell(result, &rows);
        result->runs = ROUNDS;
    }
    qkv_context_destroy(context);
    for (size_t i = 0; i < MOST_ROWS; ++i) {
        tool_series_free(&rows.list[i].us);
    }
}
