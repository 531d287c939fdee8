/* What the probes share: build, launch, read back, and say which of it failed. */
#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/probe.h"
#include "devices/property.h"
#include "support/error.h"

#define TIMED_RUNS 6
#define RACES 4

void probe_result(struct outcome *outcome, enum probe_state state, const char *format, ...) {
    va_list list;
    outcome->state = state;
    va_start(list, format);
    (void)vsnprintf(outcome->detail, sizeof outcome->detail, format, list);
    va_end(list);
    for (char *c = outcome->detail; *c; c++)
        if (iscntrl((unsigned char)*c)) *c = ' ';
}

void probe_failed(struct outcome *outcome, const char *call, cl_int code) {
    char text[64];
    probe_result(outcome, PROBE_FAILED, "%s: %s", call, cl_error_text(text, code));
}

void probe_command_failed(struct outcome *outcome, struct probe_device *device, const char *call, cl_int code) {
    probe_failed(outcome, call, code);
    device->doubtful = true;
}

void probe_claim(struct outcome *outcome, cl_ulong claimed) {
    outcome->claim_known = true;
    outcome->claimed = claimed;
}

void probe_claim_extension(struct outcome *outcome, const struct probe_device *device, bool claimed) {
    if (claimed || device->extensions_known) probe_claim(outcome, claimed);
}

bool probe_has_extension(const struct probe_device *device, const char *name) {
    size_t length = strlen(name);
    for (const char *at = strstr(device->extensions, name); at; at = strstr(at + length, name))
        if ((at == device->extensions || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

bool probe_query(const struct probe_device *device, cl_device_info id, cl_ulong *value) {
    size_t bytes = 0;
    cl_uint narrow = 0;
    cl_ulong wide = 0;
    cl_int code = clGetDeviceInfo(device->id, id, 0, NULL, &bytes);
    if (code == CL_SUCCESS && bytes == sizeof wide) code = clGetDeviceInfo(device->id, id, bytes, &wide, NULL);
    if (code == CL_SUCCESS && bytes == sizeof narrow) code = clGetDeviceInfo(device->id, id, bytes, &narrow, NULL);
    bool good = code == CL_SUCCESS && (bytes == sizeof wide || bytes == sizeof narrow) && wide <= INT64_MAX;
    *value = !good ? 0 : bytes == sizeof wide ? wide : narrow;
    return good;
}

cl_ulong probe_number(const struct probe_device *device, cl_device_info id) {
    cl_ulong value;
    return probe_query(device, id, &value) ? value : 0;
}

cl_uint probe_version(const struct probe_device *device) {
    char text[256] = "";
    unsigned major = 1, minor = 0;
    (void)clGetDeviceInfo(device->id, CL_DEVICE_VERSION, sizeof text - 1, text, NULL);
    (void)sscanf(text, "OpenCL %u.%u", &major, &minor);
    return major * 100 + minor * 10;
}

/* "file.cl:18:10: what" without the place, which nobody else can look up. */
static const char *without_place(const char *line) {
    const char *blank = line + strcspn(line, " \n");
    int number, used = 0;
    const char *colon = memchr(line, ':', (size_t)(blank - line));
    for (; colon && colon < blank; colon = memchr(colon + 1, ':', (size_t)(blank - colon - 1)))
        if (sscanf(colon, ":%d:%d:%n", &number, &number, &used) == 2 && colon + used == blank) return blank + 1;
    return line;
}

/* The newest OpenCL C the device has. */
const char *probe_newest(struct probe_device *device) {
    cl_uint version = probe_version(device);
    return version >= 300 ? "-cl-std=CL3.0" : version >= 200 ? "-cl-std=CL2.0" : "-cl-std=CL1.2";
}

/* The compiler's first complaint. */
static void complaint(char *text, size_t size, const char *log) {
    const char *error = strstr(log, "error:");
    const char *line = error ? error + strlen("error:") : log;
    line = without_place(line + strspn(line, " \n\t"));
    snprintf(text, size, "%.*s", (int)strcspn(line, "\n"), line);
}

/* Why there is no kernel, by the compiler's word. */
static void build_failed(struct outcome *outcome, const struct probe_device *device, cl_program program) {
    char log[4096] = "", text[160] = "";
    /* A log longer than this is refused whole by some drivers: then there is none. */
    (void)clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    complaint(text, sizeof text, log);
    probe_result(outcome, PROBE_ABSENT, "does not compile%s%s", text[0] ? ": " : "", text);
}

/* As the library does where a driver refuses options: without the first one. NULL where there is none to leave out. */
static const char *without_standard(const char *options, cl_int code) {
    static const char standard[] = "-cl-std=CL1.2";
    if (code != CL_INVALID_BUILD_OPTIONS && code != CL_INVALID_COMPILER_OPTIONS) return NULL;
    return strncmp(options, standard, strlen(standard)) == 0 ? options + strlen(standard) : NULL;
}

cl_program probe_build(struct outcome *outcome, const struct probe_device *device, const char *source,
                       const char *options) {
    cl_int code;
    cl_program program = clCreateProgramWithSource(device->context, 1, &source, NULL, &code);
    if (!program) {
        probe_failed(outcome, "clCreateProgramWithSource", code);
        return NULL;
    }
    code = clBuildProgram(program, 1, &device->id, options, NULL, NULL);
    const char *less = without_standard(options, code);
    if (less) code = clBuildProgram(program, 1, &device->id, less, NULL, NULL);
    if (code == CL_SUCCESS) return program;
    if (code == CL_BUILD_PROGRAM_FAILURE)
        build_failed(outcome, device, program);
    else
        probe_failed(outcome, "clBuildProgram", code);
    clReleaseProgram(program);
    return NULL;
}

struct pieces {
    cl_program program;
    cl_kernel kernel;
    cl_mem in, out;
};

static void release(struct pieces *pieces) {
    if (pieces->out) clReleaseMemObject(pieces->out);
    if (pieces->in) clReleaseMemObject(pieces->in);
    if (pieces->kernel) clReleaseKernel(pieces->kernel);
    if (pieces->program) clReleaseProgram(pieces->program);
}

static const char *prepare(struct pieces *pieces, struct probe_device *device, const struct launch *launch,
                           cl_int *code) {
    pieces->kernel = clCreateKernel(pieces->program, launch->kernel, code);
    if (!pieces->kernel) return "clCreateKernel";
    memset(launch->out, 0, launch->out_bytes);
    pieces->out =
        clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, launch->out_bytes, launch->out, code);
    if (!pieces->out) return "clCreateBuffer";
    *code = clSetKernelArg(pieces->kernel, 0, sizeof pieces->out, &pieces->out);
    if (*code == CL_SUCCESS && launch->in_bytes) {
        /* CL_MEM_COPY_HOST_PTR only reads. */
        void *in = (void *)(uintptr_t)launch->in;
        pieces->in =
            clCreateBuffer(device->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, launch->in_bytes, in, code);
        if (!pieces->in) return "clCreateBuffer";
        *code = clSetKernelArg(pieces->kernel, 1, sizeof pieces->in, &pieces->in);
    }
    if (*code == CL_SUCCESS && launch->steps)
        *code = clSetKernelArg(pieces->kernel, 2, sizeof *launch->steps, launch->steps);
    return *code == CL_SUCCESS ? NULL : "clSetKernelArg";
}

/* Launches and waits; *seconds is how long that took. */
static const char *run_once(double *seconds, const struct pieces *pieces, struct probe_device *device,
                            const struct launch *launch, cl_int *code) {
    double begin = tool_clock_ms();
    *code = clEnqueueNDRangeKernel(device->queue, pieces->kernel, 1, NULL, &launch->global,
                                   launch->local ? &launch->local : NULL, 0, NULL, NULL);
    if (*code != CL_SUCCESS) return "clEnqueueNDRangeKernel";
    *code = clFinish(device->queue);
    *seconds = (tool_clock_ms() - begin) * 1e-3;
    return *code == CL_SUCCESS ? NULL : "clFinish";
}

static const char *run(const struct pieces *pieces, struct probe_device *device, const struct launch *launch,
                       cl_int *code) {
    double seconds;
    const char *failed = run_once(&seconds, pieces, device, launch, code);
    if (failed) return failed;
    *code = clEnqueueReadBuffer(device->queue, pieces->out, CL_TRUE, 0, launch->out_bytes, launch->out, 0, NULL, NULL);
    return *code == CL_SUCCESS ? NULL : "clEnqueueReadBuffer";
}

bool probe_launch(struct outcome *outcome, struct probe_device *device, const struct launch *launch) {
    struct pieces pieces = {NULL, NULL, NULL, NULL};
    cl_int code = CL_SUCCESS;
    pieces.program = probe_build(outcome, device, launch->source, launch->options);
    if (!pieces.program) return false;
    const char *failed = prepare(&pieces, device, launch, &code);
    const char *stopped = failed ? NULL : run(&pieces, device, launch, &code);
    /* Oclgrind reports a success, leaves the error in the log and the program without its kernel. */
    if (failed && code == CL_INVALID_KERNEL_NAME)
        build_failed(outcome, device, pieces.program);
    else if (failed)
        probe_failed(outcome, failed, code);
    else if (stopped)
        probe_command_failed(outcome, device, stopped, code);
    release(&pieces);
    return !failed && !stopped;
}

/* In turns, so that a busy machine is as unkind to the one as to the other; the best of each counts. The first run
 * compiles on some implementations, so it is not one of those that count. */
static const char *race(double best[2], const struct pieces pieces[2], struct probe_device *device,
                        const struct launch launches[2], cl_int *code) {
    double seconds;
    for (int i = 0; i < 2 * (1 + TIMED_RUNS); i++) {
        const char *failed = run_once(&seconds, &pieces[i % 2], device, &launches[i % 2], code);
        if (failed) return failed;
        if (i >= 2 && seconds < best[i % 2]) best[i % 2] = seconds;
    }
    return NULL;
}

bool probe_race(double *ratio, struct outcome *outcome, struct probe_device *device, const struct launch launches[2],
                double suspicious) {
    struct pieces pieces[2] = {{NULL, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL}};
    double best[2] = {1e30, 1e30};
    cl_int code = CL_SUCCESS;
    const char *failed = NULL, *stopped = NULL;
    bool built = true;
    *ratio = 1;
    for (int i = 0; i < 2 && built && !failed; i++) {
        pieces[i].program = probe_build(outcome, device, launches[i].source, launches[i].options);
        built = pieces[i].program != NULL;
        if (built) failed = prepare(&pieces[i], device, &launches[i], &code);
    }
    if (failed) probe_failed(outcome, failed, code);
    built = built && !failed;
    for (int round = 0; round < RACES && built && !stopped && (round == 0 || *ratio > suspicious); round++) {
        stopped = race(best, pieces, device, launches, &code);
        if (!stopped && best[1] > 0) *ratio = best[0] / best[1];
    }
    if (stopped) probe_command_failed(outcome, device, stopped, code);
    release(&pieces[0]);
    release(&pieces[1]);
    return built && !stopped;
}
