/* What the device can do at most: arithmetic, memory, launches, the way to and from the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/measure_internal.h"
#include "support/peak.h"
#include "support/stats.h"

/* A row repeats its run until this much time is gone, and at least a few times. */
#define ROW_SECONDS 0.5
#define LEAST_RUNS 5

typedef double (*run_function)(void *state);

static double run_peak(void *peak) {
    return tool_peak_run(peak);
}

struct together {
    struct tool_peak *peak;
    size_t runs, most;
    double bytes; /* of one run */
};

static double run_read(void *state) {
    const struct together *t = state;
    return tool_peak_read(t->peak, 0, t->runs);
}

static double run_copy(void *state) {
    const struct together *t = state;
    return tool_peak_copy(t->peak, t->runs);
}

static double run_launch(void *peak) {
    return 1e6 * tool_peak_launch(peak);
}

/* Rates or times of one run each; zeros where a run fails. The first run is left out: some implementations compile in
 * it, and pages are touched for the first time. */
static struct tool_quartiles repeat(run_function run, void *state) {
    struct tool_series series = {NULL, 0, 0};
    double begin = tool_clock_seconds(), value = run(state);
    while (value > 0 && (series.count < LEAST_RUNS || tool_clock_seconds() - begin < ROW_SECONDS)) {
        value = run(state);
        if (value > 0) tool_series_add(&series, value);
    }
    struct tool_quartiles result = tool_series_quartiles(&series);
    tool_series_free(&series);
    return result;
}

/* Rates of as many runs together as take long enough. */
static struct tool_quartiles repeat_together(run_function run, struct together *t) {
    double rate = t->most > 1 ? run(t) : 0; /* may compile */
    while (rate > 0 && t->runs < t->most && (double)t->runs * t->bytes < PIECE_SECONDS * 1e9 * (rate = run(t)))
        t->runs *= 2;
    return repeat(run, t);
}

/* As people write it: a function's name, or a formula. */
static const char *spelling(const struct tool_peak *peak) {
    const char *operation = tool_peak_operation(peak);
    return !strcmp(operation, "fma") ? "fma()" : !strcmp(operation, "mad") ? "mad()" : operation;
}

/* Cores that `threads` threads of this process may have at once: a container's quota is not another process. */
static double cores_for(unsigned threads) {
    double cores = threads, quota, period;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
#ifdef _SC_NPROCESSORS_ONLN /* in no standard before 2024's POSIX */
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (online > 0 && (double)online < cores) cores = (double)online;
#endif
    if (file && fscanf(file, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0 && quota / period < cores)
        cores = quota / period;
    if (file) (void)fclose(file);
    return cores;
}

/* What the C loop's threads did not get of the cores. */
static void take_others(const struct measuring *m, const struct tool_series *shares, unsigned threads) {
    double others = 1 - tool_series_quartiles(shares).median * threads / cores_for(threads);
    if (shares->count && others > m->out->others) m->out->others = others;
}

void measure_others(const struct measuring *m) {
    const qkv_device_info *info = qkv_context_device(m->context);
    const unsigned threads = info->compute_units;
    struct tool_series shares = {NULL, 0, 0};
    double share = 1;
    if (info->kind != QKV_DEVICE_CPU && info->kind != QKV_DEVICE_SOFTWARE_GPU) return;
    for (int i = 0; i < 20; i++)
        if (tool_native_peak(threads, 6e-3, &share) > 0) tool_series_add(&shares, share);
    take_others(m, &shares, threads);
    tool_series_free(&shares);
}

/* What the C loop ran on; that the machine was busy, where it was. */
static void tell_native(const struct measuring *m, double gflops, unsigned threads) {
    char busy[96] = "";
    if (m->out->others > OTHERS_AT_MOST)
        snprintf(busy, sizeof busy, "; other processes took %.0f%% of the cores: measure again without",
                 100 * m->out->others);
    measure_set(m, MEASURE_NATIVE, gflops, "%s, %u threads, in the same run%s", tool_native_name(), threads, busy);
}

/* Kernel and C loop in turns, so that a busy machine strikes both. */
static void compare_native(const struct measuring *m, struct tool_peak *peak, unsigned threads) {
    struct tool_series device = {NULL, 0, 0}, native = {NULL, 0, 0}, ratio = {NULL, 0, 0}, shares = {NULL, 0, 0};
    double share;
    for (int i = 0; i < 40; i++) {
        double ours = tool_peak_run(peak), theirs = tool_native_peak(threads, 6e-3, &share);
        if (!(ours > 0 && theirs > 0)) break;
        tool_series_add(&shares, share);
        tool_series_add(&device, ours);
        tool_series_add(&native, theirs);
        tool_series_add(&ratio, ours / theirs);
    }
    take_others(m, &shares, threads);
    m->out->native_ratio = tool_series_quartiles(&ratio).median;
    measure_set(m, MEASURE_FP32, tool_series_quartiles(&device).median,
                "%s, %.2f of the C loop's rate (median of %zu pairs)", spelling(peak), m->out->native_ratio,
                ratio.count);
    tell_native(m, tool_series_quartiles(&native).median, threads);
    tool_series_free(&shares);
    tool_series_free(&device);
    tool_series_free(&native);
    tool_series_free(&ratio);
}

static void measure_fp32(const struct measuring *m, struct tool_peak *peak) {
    const qkv_device_info *info = qkv_context_device(m->context);
    measure_tell(m, "fp32 peak");
    if (info->kind == QKV_DEVICE_CPU) {
        compare_native(m, peak, info->compute_units);
        return;
    }
    struct tool_quartiles rate = repeat(run_peak, peak);
    measure_set(m, MEASURE_FP32, rate.median, "%s", spelling(peak));
    measure_set(m, MEASURE_NATIVE, 0, "only for devices that are the host's processor");
}

static void measure_fp16(const struct measuring *m) {
    char error[160] = "";
    measure_tell(m, "fp16 peak");
    struct tool_peak *peak = tool_peak_create_half(m->context, error, sizeof error);
    if (!peak) {
        measure_set(m, MEASURE_FP16, 0, "%s", error);
        return;
    }
    struct tool_quartiles rate = repeat(run_peak, peak);
    measure_set(m, MEASURE_FP16, rate.median, "%s", spelling(peak));
    tool_peak_destroy(peak);
}

static void measure_memory(const struct measuring *m, struct tool_peak *peak) {
    struct together reads = {peak, 1, measure_most_together(m), tool_peak_bytes(peak)},
                    copies = reads; /* a copy reads half, and writes it */
    double mebibytes = tool_peak_bytes(peak) / (1 << 20);
    measure_tell(m, "reading");
    struct tool_quartiles rate = repeat_together(run_read, &reads);
    measure_set(m, MEASURE_READ, rate.median, "%.0f MiB, one kernel", mebibytes);
    measure_tell(m, "copying");
    rate = repeat_together(run_copy, &copies);
    measure_set(m, MEASURE_COPY, rate.median, "%.0f MiB to as many, one kernel, reading and writing counted",
                mebibytes / 2);
}

static void measure_launch(const struct measuring *m, struct tool_peak *peak) {
    measure_tell(m, "launches");
    struct tool_quartiles us = repeat(run_launch, peak);
    measure_set(m, MEASURE_LAUNCH, us.median,
                "an empty kernel, from enqueue to the end of clFinish; half between %.1f and %.1f", us.q1, us.q3);
}

/* ---- host and device ---- */

struct transfer {
    cl_command_queue queue;
    cl_mem buffer;
    char *host;
    size_t bytes;
};

static double rate_of(const struct transfer *t, double begin, cl_int code) {
    return code == CL_SUCCESS ? (double)t->bytes / (tool_clock_seconds() - begin) * 1e-9 : 0;
}

static double run_upload(void *state) {
    const struct transfer *t = state;
    double begin = tool_clock_seconds();
    return rate_of(t, begin, clEnqueueWriteBuffer(t->queue, t->buffer, CL_TRUE, 0, t->bytes, t->host, 0, NULL, NULL));
}

static double run_download(void *state) {
    const struct transfer *t = state;
    double begin = tool_clock_seconds();
    return rate_of(t, begin, clEnqueueReadBuffer(t->queue, t->buffer, CL_TRUE, 0, t->bytes, t->host, 0, NULL, NULL));
}

static void measure_transfers(const struct measuring *m) {
    const qkv_device_info *info = qkv_context_device(m->context);
    struct transfer t = {.queue = qkv_context_cl_queue(m->context), .bytes = (size_t)64 << 20};
    cl_int code = CL_SUCCESS;
    measure_tell(m, "the way to and from the host");
    if (info->max_allocation / 4 < t.bytes) t.bytes = (size_t)(info->max_allocation / 4);
    t.host = malloc(t.bytes);
    t.buffer = clCreateBuffer(qkv_context_cl_context(m->context), CL_MEM_READ_WRITE, t.bytes, NULL, &code);
    if (!t.host || code != CL_SUCCESS) {
        measure_set(m, MEASURE_UPLOAD, 0, "no memory for %zu bytes", t.bytes);
        measure_set(m, MEASURE_DOWNLOAD, 0, "no memory for %zu bytes", t.bytes);
    } else {
        memset(t.host, 1, t.bytes);
        struct tool_quartiles rate = repeat(run_upload, &t);
        measure_set(m, MEASURE_UPLOAD, rate.median, "%zu MiB from ordinary memory", t.bytes >> 20);
        rate = repeat(run_download, &t);
        measure_set(m, MEASURE_DOWNLOAD, rate.median, "%zu MiB to ordinary memory", t.bytes >> 20);
    }
    if (t.buffer) clReleaseMemObject(t.buffer);
    free(t.host);
}

void measure_hardware(const struct measuring *m) {
    char error[160] = "";
    measure_tell(m, "the peak kernels are built");
    struct tool_peak *peak = tool_peak_create(m->context, error, sizeof error);
    if (peak) {
        measure_fp32(m, peak);
        measure_memory(m, peak);
        measure_launch(m, peak);
        tool_peak_destroy(peak);
    } else {
        for (int row = MEASURE_FP32; row <= MEASURE_LAUNCH; row++)
            measure_set(m, (enum measure_row)row, 0, "%s", error);
    }
    measure_fp16(m);
    measure_transfers(m);
}
