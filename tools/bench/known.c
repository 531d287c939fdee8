/*
 * What the library's known answers cost where nothing is remembered of earlier ones: every solver on its problems, with
 * the programs built and loaded before.
 */
#include "bench.h"

#include <string.h>

#define ROUNDS 9
#define MOST_ROWS 64
#define MOST_SOLVERS 32
#define PER_LINE 5

/* One solver's kernels of one kind. */
struct row {
    char name[48];
    struct tool_series ms;
};

struct rows {
    struct row list[MOST_ROWS];
    size_t count, at; /* at: in this round */
    bool timed;
};

static void take(void *user, const qkv_self_test_result *result) {
    struct rows *rows = user;
    if (result->verdict != QKV_VERDICT_PASSED || rows->at == MOST_ROWS) {
        return;
    }
    struct row *row = &rows->list[rows->at++];
    snprintf(row->name, sizeof row->name, "%s=%s", result->operation, result->solver);
    if (rows->timed) {
        tool_series_add(&row->ms, result->milliseconds);
    }
    rows->count = rows->at;
}

static bool measure(struct rows *rows, qkv_context *context) {
    for (int round = 0; round <= ROUNDS; ++round) {
        rows->timed = round > 0;
        rows->at = 0;
        tool_wait_idle();
        if (qkv_context_self_test(context, take, rows) != QKV_OK) {
            return false;
        }
    }
    return true;
}

/* Of each solver the kind that takes longest, as a list; and the longest of all. */
static void tell(struct bench_result *result, const struct rows *rows) {
    const struct row *solvers[MOST_SOLVERS];
    double longest[MOST_SOLVERS];
    size_t count = 0, length = 0;
    for (size_t i = 0; i < rows->count; ++i) {
        const double ms = tool_series_quartiles(&rows->list[i].ms).median;
        size_t at = 0;
        while (at < count && strcmp(solvers[at]->name, rows->list[i].name) != 0) {
            ++at;
        }
        if (at == MOST_SOLVERS) {
            continue;
        }
        if (at == count || ms > longest[at]) {
            solvers[at] = &rows->list[i];
            longest[at] = ms;
        }
        count = at == count ? count + 1 : count;
        if (1e3 * ms > result->us.median) {
            result->us = tool_series_quartiles(&rows->list[i].ms);
            result->us.q1 *= 1e3, result->us.median *= 1e3, result->us.q3 *= 1e3, result->us.highest *= 1e3;
        }
    }
    for (size_t i = 0; i < count && length < sizeof result->note; ++i) {
        const char *before = i == 0 ? "ms: " : i % PER_LINE == 0 ? ",\n  " : ", ";
        length += (size_t)snprintf(result->note + length, sizeof result->note - length, "%s%s %.1f", before,
                                   solvers[i]->name, longest[i]);
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
        tool_series_free(&rows.list[i].ms);
    }
}
