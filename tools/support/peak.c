/* What the device can do at most: fixed kernels of multiply-adds and of reading, through plain OpenCL. */
#include "peak.h"

#include "stats.h"

#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHAINS 12
#define STEPS_PER_ROUND 4
#define READ_CHUNK 1024 /* vectors a work-item reads: 64 KiB of float16 */
#define COPY_CHUNK 256

static const char *const operations[] = {"fma", "mad", "a*b+c"};

struct tool_peak {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
    cl_program program;
    cl_kernel fma_kernel, read_kernel, copy_kernel, empty_kernel;
    cl_mem out, in;
    bool half; /* fp16: multiply-adds only */
    bool wide; /* one wide work-item a group, as CPUs want it; else 64 narrow ones */
    size_t width, items, local;
    cl_uint steps;
    size_t in_bytes, num_out;
    int operation;
    const char *failed; /* the last call that failed, with its error */
    cl_int code;
};

static cl_int note(struct tool_peak *p, const char *call, cl_int code) {
    if (code != CL_SUCCESS) p->failed = call, p->code = code;
    return code;
}

static void release_kernel(cl_kernel *kernel) {
    if (*kernel) clReleaseKernel(*kernel);
    *kernel = NULL;
}

static void unbuild(struct tool_peak *p) {
    release_kernel(&p->fma_kernel);
    release_kernel(&p->read_kernel);
    release_kernel(&p->copy_kernel);
    release_kernel(&p->empty_kernel);
    if (p->program) clReleaseProgram(p->program);
    p->program = NULL;
}

/* Some drivers' compilers count their errors on standard error, which a refusal that is looked for should not reach.
 * Returns what to give back to speak(). */
static int hush(void) {
    int kept = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY);
    (void)fflush(stderr);
    if (kept >= 0 && nowhere >= 0) (void)dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0) (void)close(nowhere);
    return kept;
}

static void speak(int kept) {
    (void)fflush(stderr);
    if (kept >= 0) {
        (void)dup2(kept, STDERR_FILENO);
        (void)close(kept);
    }
}

static bool compiles(struct tool_peak *p, const char *options) {
    int kept = p->half ? hush() : -1;
    cl_int code = clBuildProgram(p->program, 1, &p->device, options, NULL, NULL);
    if (p->half) speak(kept);
    return note(p, "clBuildProgram", code) == CL_SUCCESS;
}

static bool build(struct tool_peak *p, int operation) {
    const char *text = tool_source_peak;
    char options[80];
    cl_int code = CL_SUCCESS;
    snprintf(options, sizeof options, "-DWIDTH=%zu -DOPERATION=%d -DHALF=%d", p->width, operation, p->half);
    p->program = clCreateProgramWithSource(p->context, 1, &text, NULL, &code);
    (void)note(p, "clCreateProgramWithSource", code);
    if (!p->program) return false;
    bool good = compiles(p, options);
    if (good) {
        p->fma_kernel = clCreateKernel(p->program, "multiply_add", NULL);
        p->empty_kernel = clCreateKernel(p->program, "nothing", NULL);
        if (!p->half) p->read_kernel = clCreateKernel(p->program, "read", NULL);
        if (!p->half) p->copy_kernel = clCreateKernel(p->program, "copy", NULL);
    }
    good = p->fma_kernel && p->empty_kernel && (p->half || (p->read_kernel && p->copy_kernel));
    if (!good) unbuild(p);
    p->operation = operation;
    return good;
}

/* Seconds of each of so many runs; 0 on failure. */
static double timed(struct tool_peak *p, cl_kernel kernel, size_t items, size_t runs) {
    double begin = tool_clock_seconds();
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < runs && code == CL_SUCCESS; i++)
        code = clEnqueueNDRangeKernel(p->queue, kernel, 1, NULL, &items, &p->local, 0, NULL, NULL);
    cl_int end = note(p, "clFinish", clFinish(p->queue));
    if (note(p, "clEnqueueNDRangeKernel", code) != CL_SUCCESS || end != CL_SUCCESS) return 0;
    return (tool_clock_seconds() - begin) / (double)runs;
}

static double fma_seconds(struct tool_peak *p) {
    cl_float factor = 0.999f, term = 0.001f;
    clSetKernelArg(p->fma_kernel, 0, sizeof p->out, &p->out);
    clSetKernelArg(p->fma_kernel, 1, sizeof p->steps, &p->steps);
    clSetKernelArg(p->fma_kernel, 2, sizeof factor, &factor);
    clSetKernelArg(p->fma_kernel, 3, sizeof term, &term);
    return timed(p, p->fma_kernel, p->items, 1);
}

double tool_peak_run(struct tool_peak *p) {
    double seconds = fma_seconds(p);
    double flops = 2.0 * CHAINS * STEPS_PER_ROUND * (double)p->steps * (double)(p->width * p->items);
    return seconds > 0 ? flops / seconds * 1e-9 : 0;
}

/* Length of a run: some 5 ms, long against the launch and short against a case. */
static bool calibrate(struct tool_peak *p) {
    double seconds = 0;
    for (p->steps = 16; p->steps < 1u << 28; p->steps *= 2) {
        seconds = fma_seconds(p);
        for (int i = 0; i < 3; ++i) { /* the shortest: one that was interrupted would end the search too soon */
            double once = fma_seconds(p);
            seconds = once < seconds ? once : seconds;
        }
        if (!(seconds > 0) || seconds > 4e-3) {
            break;
        }
    }
    return seconds > 0;
}

/* fma() is fast on most devices and emulated on others: the fastest spelling is the device's peak. */
static bool choose_operation(struct tool_peak *p) {
    int best = -1;
    double best_rate = 0;
    for (int i = 0; i < 3; ++i) {
        if (build(p, i) && calibrate(p)) {
            double rate = 0;
            for (int n = 0; n < 12; ++n) {
                double once = tool_peak_run(p);
                rate = once > rate ? once : rate;
            }
            /* A later spelling must be far better: they are often the same instructions, and where they are not one
             * is emulated. Anything less is noise. */
            if (rate > 3 * best_rate) {
                best_rate = rate;
                best = i;
            }
        }
        unbuild(p);
    }
    return best >= 0 && build(p, best) && calibrate(p);
}

/* Written, so that every page exists: a page never touched is read from one page of zeros. */
static cl_int make_input(struct tool_peak *p, size_t bytes) {
    cl_int code = CL_SUCCESS;
    cl_float one = 1.0f;
    p->in_bytes = bytes;
    p->in = clCreateBuffer(p->context, CL_MEM_READ_WRITE, bytes, NULL, &code);
    return code ? code : clEnqueueFillBuffer(p->queue, p->in, &one, sizeof one, 0, bytes, 0, NULL, NULL);
}

/* Past every cache: GPUs have up to 256 MiB of it. */
static bool make_buffers(struct tool_peak *p, const qkv_device_info *info) {
    cl_int code = CL_SUCCESS;
    size_t vector = p->width * sizeof(float), unit = 2 * READ_CHUNK * vector * p->local;
    uint64_t limit = info->max_allocation < info->global_memory / 8 ? info->max_allocation : info->global_memory / 8;
    const uint64_t most = UINT64_C(1) << (info->kind == QKV_DEVICE_GPU ? 30 : 28);
    size_t wanted = (size_t)(limit < most ? limit : most);
    p->num_out = 2 * p->items; /* see tool_peak_read() */
    if (!p->half) {
        if (wanted < unit) return false;
        code = make_input(p, wanted / unit * unit);
        if (p->in_bytes / (READ_CHUNK * vector) > p->num_out) p->num_out = p->in_bytes / (READ_CHUNK * vector);
    }
    if (code == CL_SUCCESS) p->out = clCreateBuffer(p->context, CL_MEM_READ_WRITE, p->num_out * vector, NULL, &code);
    return clFinish(p->queue) == CL_SUCCESS && code == CL_SUCCESS;
}

static struct tool_peak *allocate(qkv_context *context, bool half, char *error, size_t error_size) {
    const qkv_device_info *info = qkv_context_device(context);
    struct tool_peak *p = calloc(1, sizeof *p);
    if (!p) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    p->context = qkv_context_cl_context(context);
    p->device = qkv_context_cl_device(context);
    p->queue = qkv_context_cl_queue(context);
    p->half = half;
    p->wide = info->kind == QKV_DEVICE_CPU;
    p->width = p->wide ? 16 : 4;
    p->local = info->max_work_group_size < 64 ? (size_t)info->max_work_group_size : 64;
    if (p->wide || p->local == 0) p->local = 1; /* 0: the driver does not say */
    p->items = (size_t)(info->compute_units ? info->compute_units : 1) * TOOL_PEAK_GROUPS * (p->wide ? 1 : p->local);
    if (make_buffers(p, info)) return p;
    snprintf(error, error_size, "no memory for the peak kernels on this device");
    tool_peak_destroy(p);
    return NULL;
}

struct tool_peak *tool_peak_create(qkv_context *context, char *error, size_t error_size) {
    struct tool_peak *p = allocate(context, false, error, error_size);
    if (!p || choose_operation(p)) return p;
    if (p->failed)
        snprintf(error, error_size, "the peak kernels do not run on this device: %s: OpenCL error %d", p->failed,
                 (int)p->code);
    else
        snprintf(error, error_size, "the peak kernels do not run on this device");
    tool_peak_destroy(p);
    return NULL;
}

/* 2049 and 120000 are no fp16 numbers: fp32 in disguise would give them. */
static bool rounds_as_half(struct tool_peak *p) {
    const cl_float big = 2048, huge_ = 60000, one = 1;
    const size_t single = 1;
    cl_float result[3] = {0, 0, 0};
    cl_kernel kernel = clCreateKernel(p->program, "round_half", NULL);
    if (!kernel) return false;
    clSetKernelArg(kernel, 0, sizeof p->out, &p->out);
    clSetKernelArg(kernel, 1, sizeof big, &big);
    clSetKernelArg(kernel, 2, sizeof huge_, &huge_);
    clSetKernelArg(kernel, 3, sizeof one, &one);
    cl_int code = clEnqueueNDRangeKernel(p->queue, kernel, 1, NULL, &single, &single, 0, NULL, NULL);
    if (code == CL_SUCCESS)
        code = clEnqueueReadBuffer(p->queue, p->out, CL_TRUE, 0, sizeof result, result, 0, NULL, NULL);
    clReleaseKernel(kernel);
    return code == CL_SUCCESS && result[0] == 2048 && isinf(result[1]) && result[2] == 2;
}

struct tool_peak *tool_peak_create_half(qkv_context *context, char *error, size_t error_size) {
    struct tool_peak *p = allocate(context, true, error, error_size);
    if (!p) return NULL;
    if (!build(p, 1)) {
        snprintf(error, error_size, "fp16 arithmetic does not compile");
    } else if (!rounds_as_half(p)) {
        snprintf(error, error_size, "fp16 arithmetic compiles and does not round as fp16 does");
    } else {
        unbuild(p);
        if (choose_operation(p)) return p;
        snprintf(error, error_size, "fp16 arithmetic compiles and does not run");
    }
    tool_peak_destroy(p);
    return NULL;
}

void tool_peak_destroy(struct tool_peak *p) {
    if (!p) return;
    unbuild(p);
    if (p->in) clReleaseMemObject(p->in);
    if (p->out) clReleaseMemObject(p->out);
    free(p);
}

/* How many vectors a work-item takes: fewer than `most` where there would not be items enough for the device. */
static size_t chunk_for(const struct tool_peak *p, size_t vectors, size_t most) {
    while (most > 16 && vectors / most < p->items)
        most /= 2;
    return most;
}

double tool_peak_read(struct tool_peak *p, double bytes, size_t runs) {
    size_t vector = p->width * sizeof(float);
    size_t total = bytes > 0 && bytes < (double)p->in_bytes ? (size_t)bytes : p->in_bytes;
    size_t chunk = chunk_for(p, total / vector, READ_CHUNK);
    size_t items = total / (chunk * vector) / p->local * p->local;
    items = items < p->local ? p->local : items > p->num_out ? p->num_out : items;
    cl_uint count = (cl_uint)chunk, stride = p->wide ? 1 : (cl_uint)items;
    clSetKernelArg(p->read_kernel, 0, sizeof p->in, &p->in);
    clSetKernelArg(p->read_kernel, 1, sizeof p->out, &p->out);
    clSetKernelArg(p->read_kernel, 2, sizeof count, &count);
    clSetKernelArg(p->read_kernel, 3, sizeof stride, &stride);
    double seconds = timed(p, p->read_kernel, items, runs);
    return seconds > 0 ? (double)(items * chunk * vector) / seconds * 1e-9 : 0;
}

double tool_peak_copy(struct tool_peak *p, size_t runs) {
    size_t vector = p->width * sizeof(float), half_bytes = p->in_bytes / 2;
    size_t chunk = chunk_for(p, half_bytes / vector, COPY_CHUNK), items = half_bytes / (chunk * vector);
    cl_ulong distance = half_bytes / vector;
    cl_uint count = (cl_uint)chunk, stride = p->wide ? 1 : (cl_uint)items;
    clSetKernelArg(p->copy_kernel, 0, sizeof p->in, &p->in);
    clSetKernelArg(p->copy_kernel, 1, sizeof distance, &distance);
    clSetKernelArg(p->copy_kernel, 2, sizeof count, &count);
    clSetKernelArg(p->copy_kernel, 3, sizeof stride, &stride);
    double seconds = timed(p, p->copy_kernel, items, runs);
    return seconds > 0 ? (double)(2 * half_bytes) / seconds * 1e-9 : 0;
}

double tool_peak_bytes(const struct tool_peak *p) {
    return (double)p->in_bytes;
}

double tool_peak_launch(struct tool_peak *p) {
    clSetKernelArg(p->empty_kernel, 0, sizeof p->out, &p->out);
    return timed(p, p->empty_kernel, p->local, 1);
}

const char *tool_peak_operation(const struct tool_peak *p) {
    return operations[p->operation];
}
