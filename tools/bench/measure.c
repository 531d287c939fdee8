/*
 * How a case is measured.
 *
 * Ours, every peer and the peak kernels take turns until the case's time is up. A turn is some milliseconds of runs that
 * are not timed, then the median of a few that are: so each starts with its own data in the caches and its own threads
 * and cores awake, whatever ran before (a core that slept reads memory at a third of its rate for its first
 * milliseconds). Then the next waits until this process uses no processor time: the threads of OpenBLAS and of OpenMP
 * libraries spin for 5 to 30 ms after a call in the hope of another, which would take cores from whoever comes next.
 * Nobody's settings are changed for that. Runs too long for all this to matter are timed at once. Ratios are formed
 * within a round, so that a clock that drifts or a neighbour on the machine strikes both.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIN_ROUNDS 3
#define MAX_ROUNDS 2000
/* Of a case's time, at most this part goes into the peak kernels. */
#define PEAK_PART 0.15

struct contestant {
    struct bench_subject *subject; /* ours, or */
    struct bench_peer *peer;
    double spent;
    struct tool_series us;
    struct tool_series ratios; /* to ours, of the same round */
    bool broken;
};

static bool run_once(struct contestant *c, char *error, size_t error_size)
{
    if (c->subject) {
        return bench_subject_run(c->subject, error, error_size);
    }
    bool good = c->peer->run(c->peer);
    if (!good) {
        snprintf(error, error_size, "%s: a run failed", c->peer->name);
    }
    return good;
}

static bool run_contestant(void *contestant, char *error, size_t error_size)
{
    struct contestant *c = contestant;
    return run_once(c, error, error_size);
}

/* Microseconds; 0 on failure. */
static double take_turn(struct contestant *c, char *error, size_t error_size)
{
    double begin = tool_clock_seconds();
    double us = tool_turn(run_contestant, c, error, error_size) * 1e6;
    c->broken = !(us > 0);
    c->spent += tool_clock_seconds() - begin;
    tool_wait_idle();
    return us;
}

struct reading {
    struct tool_peak *peak;
    double bytes, best;
};

static bool run_reading(void *state, char *error, size_t error_size)
{
    struct reading *r = state;
    double rate = tool_peak_read(r->peak, r->bytes, 1);
    r->best = rate > r->best ? rate : r->best;
    if (!(rate > 0)) {
        snprintf(error, error_size, "the reading kernel did not run");
    }
    return rate > 0;
}

double bench_best_reading(struct tool_peak *peak, double bytes)
{
    struct reading r = {peak, bytes, 0};
    char error[64];
    return tool_turn(run_reading, &r, error, sizeof error) > 0 ? r.best : 0;
}

/* The first runs compile, pack and fault pages in. */
static void warm_up(struct contestant *c, char *error, size_t error_size)
{
    double begin = tool_clock_seconds();
    for (int i = 0; i < 3 && !c->broken && (i == 0 || tool_clock_seconds() - begin < 0.5); ++i) {
        c->broken = !run_once(c, error, error_size);
    }
    tool_wait_idle();
}

static void rounds(struct bench *bench, struct contestant *all, size_t count, const struct bench_case *c,
                   struct tool_series *peak, struct tool_series *read, char *error, size_t error_size)
{
    double begin = tool_clock_seconds(), peak_spent = 0;
    for (int round = 0; round < MAX_ROUNDS && !all[0].broken; ++round) {
        double elapsed = tool_clock_seconds() - begin;
        if (round >= MIN_ROUNDS && elapsed > bench->seconds) {
            break;
        }
        double ours = take_turn(&all[0], error, error_size);
        for (size_t i = 1; i < count && ours > 0; ++i) {
            /* A slow peer does not eat the others' time. */
            bool over = all[i].us.count >= MIN_ROUNDS && all[i].spent > bench->seconds / (double)count;
            double us = all[i].broken || over ? 0 : take_turn(&all[i], error, error_size);
            if (us > 0) {
                tool_series_add(&all[i].us, us);
                tool_series_add(&all[i].ratios, us / ours);
            }
        }
        if (ours > 0) {
            tool_series_add(&all[0].us, ours);
        }
        if (bench->peak && (round < MIN_ROUNDS || peak_spent < PEAK_PART * elapsed)) {
            double start = tool_clock_seconds();
            tool_series_add(peak, tool_peak_run(bench->peak));
            if (bench_case_reads(c)) {
                double roof = bench_best_reading(bench->peak, bench_case_bytes(c));
                if (roof > 0 && ours > 0) {
                    tool_series_add(read, bench_case_bytes(c) / ours * 1e-3 / roof);
                }
            }
            peak_spent += tool_clock_seconds() - start;
        }
    }
}

static void add_note(struct bench_result *result, const char *text)
{
    size_t length = strlen(result->note);
    snprintf(result->note + length, sizeof result->note - length, "%s%s", length ? "; " : "", text);
}

/* Every element of a peer's projection against ours. */
static void compare_outputs(struct bench_peer *peer, const struct bench_case *c, const float *ours,
                            struct bench_result *result)
{
    size_t count = c->rows * c->out_features;
    float *theirs = malloc(count * sizeof *theirs);
    double worst = 0, bound = bench_projection_bound(c);
    if (!theirs || !peer->output(peer, theirs)) {
        worst = INFINITY;
    }
    for (size_t i = 0; i < count && worst < INFINITY; ++i) {
        double difference = fabs((double)theirs[i] - (double)ours[i]);
        worst = isnan(difference) ? INFINITY : fmax(worst, difference);
    }
    free(theirs);
    if (worst > bound) {
        char text[160];
        snprintf(text, sizeof text, "differs from %s by %.3g, the bound is %.3g", peer->name, worst, bound);
        add_note(result, text);
        result->mismatch = true;
    }
}

static void compare(struct contestant *all, size_t count, const struct bench_case *c, struct bench_result *result)
{
    char text[400] = "";
    size_t elements = 0;
    double worst = 0;
    float *ours = bench_subject_output(all[0].subject, &elements, text, sizeof text);
    for (size_t i = 1; ours && i < count; ++i) {
        if (!all[i].broken) {
            compare_outputs(all[i].peer, c, ours, result);
        }
    }
    if (!ours || !bench_check(all[0].subject, ours, &worst, text, sizeof text)) {
        add_note(result, text);
        result->mismatch = true;
    } else if (worst > 1) {
        snprintf(text, sizeof text, "wrong: %.3g times the error bound against double precision", worst);
        add_note(result, text);
        result->mismatch = true;
    }
    free(ours);
}

static void summarise(struct bench *bench, struct contestant *all, size_t count, struct bench_result *result,
                      const struct tool_series *peak, const struct tool_series *read)
{
    result->us = tool_series_quartiles(&all[0].us);
    result->runs = all[0].us.count;
    double seconds = result->us.median * 1e-6, peak_now = tool_series_quartiles(peak).median;
    if (result->runs == 0 || !(seconds > 0)) {
        result->failed = true;
        return;
    }
    result->gflops = bench_case_flops(result->spec) / seconds * 1e-9;
    result->gbps = bench_case_bytes(result->spec) / seconds * 1e-9;
    result->read_share = tool_series_quartiles(read).median;
    bench->peak_gflops = peak_now > bench->peak_gflops ? peak_now : bench->peak_gflops;
    for (size_t i = 1; i < count; ++i) {
        if (all[i].us.count > 0) {
            struct bench_peer_result *peer = &result->peers[result->num_peers++];
            peer->name = all[i].peer->name;
            peer->median_us = tool_series_quartiles(&all[i].us).median;
            peer->ratio = tool_series_quartiles(&all[i].ratios);
        }
    }
}

void bench_measure(struct bench *bench, const struct bench_case *c, struct bench_result *result)
{
    if (c->kind == BENCH_START) {
        bench_start_measure(bench, c, result);
        return;
    }
    if (c->kind == BENCH_KNOWN) {
        bench_known_measure(bench, c, result);
        return;
    }
    struct contestant all[1 + BENCH_MAX_PEERS];
    struct tool_series peak = {NULL, 0, 0}, read = {NULL, 0, 0};
    char error[sizeof result->note] = "";
    memset(all, 0, sizeof all);
    memset(result, 0, sizeof *result);
    result->spec = c;
    size_t count = 1;
    all[0].subject = bench_subject_create(bench->context, c, error, sizeof error);
    all[0].broken = all[0].subject == NULL;
    for (size_t i = 0; i < bench->num_peers && !all[0].broken; ++i) {
        if (bench->peers[i].prepare(&bench->peers[i], bench->context, c)) {
            all[count++].peer = &bench->peers[i];
        }
    }
    for (size_t i = 0; i < count && !all[0].broken; ++i) {
        warm_up(&all[i], error, sizeof error);
    }
    rounds(bench, all, count, c, &peak, &read, error, sizeof error);
    if (error[0]) {
        add_note(result, error);
    }
    summarise(bench, all, count, result, &peak, &read);
    if (!result->failed) {
        compare(all, count, c, result);
    }
    for (size_t i = 0; i < count; ++i) {
        tool_series_free(&all[i].us);
        tool_series_free(&all[i].ratios);
        if (all[i].peer) {
            all[i].peer->release(all[i].peer);
        }
    }
    tool_series_free(&peak);
    tool_series_free(&read);
    bench_subject_destroy(all[0].subject);
}

bool bench_measure_peaks(struct bench *bench, unsigned threads)
{
    struct tool_series peak = {NULL, 0, 0}, native = {NULL, 0, 0}, ratio = {NULL, 0, 0}, read = {NULL, 0, 0};
    struct tool_series cores = {NULL, 0, 0};
    for (int i = 0; i < 30; ++i) {
        double device = tool_peak_run(bench->peak);
        if (!(device > 0)) {
            break;
        }
        tool_series_add(&peak, device);
        double begin = tool_clock_seconds(), used = tool_processor_seconds();
        double host = threads ? tool_native_peak(threads, 6e-3, NULL) : 0;
        if (host > 0) {
            used = tool_processor_seconds() - used;
            tool_series_add(&cores, used / ((tool_clock_seconds() - begin) * (double)threads));
            tool_series_add(&native, host);
            tool_series_add(&ratio, device / host);
        }
        if (i < 8) {
            tool_series_add(&read, bench_best_reading(bench->peak, 0));
        }
    }
    bench->peak_gflops = tool_series_quartiles(&peak).median;
    bench->read_gbps = tool_series_quartiles(&read).highest;
    bench->native_gflops = tool_series_quartiles(&native);
    bench->native_ratio = tool_series_quartiles(&ratio);
    bench->cores_ours = tool_series_quartiles(&cores).median;
    tool_series_free(&peak);
    tool_series_free(&native);
    tool_series_free(&ratio);
    tool_series_free(&cores);
    tool_series_free(&read);
    return bench->peak_gflops > 0;
}

double bench_share(const struct bench *bench, const struct bench_result *result)
{
    if (bench_case_reads(result->spec)) {
        return result->read_share;
    }
    return bench->peak_gflops > 0 ? result->gflops / bench->peak_gflops : 0;
}
