/* What the device can do at most: fixed kernels of multiply-adds and of reading, through plain OpenCL. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/*
 * multiply_add: out (items) = chains of x = x * a + b, CHAINS a work-item, `steps` times 4 long.
 * read: out (items) = sums over `chunk` vectors of in, a run of them for each work-item on CPUs (STRIDE 1), every
 * STRIDE-th on GPUs so that neighbours read neighbours.
 */
static const char source[] =
    "#define PASTE2(a, b) a##b\n"
    "#define PASTE(a, b) PASTE2(a, b)\n"
    "typedef PASTE(float, WIDTH) vec;\n"
    "#define TWELVE(ONE) ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9) ONE(10) ONE(11)\n"
    "#if OPERATION == 0\n"
    "#define MULTIPLY_ADD(x, a, b) fma(x, a, b)\n"
    "#elif OPERATION == 1\n"
    "#define MULTIPLY_ADD(x, a, b) mad(x, a, b)\n"
    "#else\n"
    "#define MULTIPLY_ADD(x, a, b) ((x) * (a) + (b))\n"
    "#endif\n"
    "#define DECLARE(i) vec x##i = (vec)((float)(get_global_id(0) & 7) + (float)i);\n"
    "#define STEP(i) x##i = MULTIPLY_ADD(x##i, a, b);\n"
    "#define TOTAL(i) total += x##i;\n"
    "kernel void multiply_add(global float *out, uint steps, float factor, float term)\n"
    "{\n"
    "    vec a = (vec)(factor), b = (vec)(term), total = (vec)(0.0f);\n"
    "    TWELVE(DECLARE)\n"
    "    for (uint n = 0; n < steps; ++n) {\n"
    "        TWELVE(STEP) TWELVE(STEP) TWELVE(STEP) TWELVE(STEP)\n"
    "    }\n"
    "    TWELVE(TOTAL)\n"
    "    PASTE(vstore, WIDTH)(total, get_global_id(0), out);\n"
    "}\n"
    "kernel void read(global const float *in, global float *out, uint chunk, uint stride)\n"
    "{\n"
    "    size_t item = get_global_id(0);\n"
    "    size_t first = stride == 1 ? item * chunk : item;\n"
    "    vec s0 = (vec)(0.0f), s1 = s0, s2 = s0, s3 = s0;\n"
    "    for (uint n = 0; n < chunk; n += 4) {\n"
    "        s0 += PASTE(vload, WIDTH)(first + (size_t)n * stride, in);\n"
    "        s1 += PASTE(vload, WIDTH)(first + (size_t)(n + 1) * stride, in);\n"
    "        s2 += PASTE(vload, WIDTH)(first + (size_t)(n + 2) * stride, in);\n"
    "        s3 += PASTE(vload, WIDTH)(first + (size_t)(n + 3) * stride, in);\n"
    "    }\n"
    "    PASTE(vstore, WIDTH)((s0 + s1) + (s2 + s3), item, out);\n"
    "}\n";

#define CHAINS 12
#define STEPS_PER_ROUND 4
#define READ_CHUNK 1024 /* vectors a work-item reads: 64 KiB of float16 */

static const char *const operations[] = {"fma", "mad", "a*b+c"};

struct bench_peak {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
    cl_program program;
    cl_kernel fma_kernel, read_kernel;
    cl_mem out, in;
    bool wide; /* one wide work-item a group, as CPUs want it; else 64 narrow ones */
    size_t width, items, local;
    cl_uint steps;
    size_t in_bytes, num_out;
    int operation;
};

static bool build(struct bench_peak *p, int operation)
{
    const char *text = source;
    char options[64];
    cl_int code = CL_SUCCESS;
    snprintf(options, sizeof options, "-DWIDTH=%zu -DOPERATION=%d", p->width, operation);
    cl_program program = clCreateProgramWithSource(p->context, 1, &text, NULL, &code);
    if (code != CL_SUCCESS) {
        return false;
    }
    cl_kernel fma_kernel = NULL, read_kernel = NULL;
    if (clBuildProgram(program, 1, &p->device, options, NULL, NULL) == CL_SUCCESS) {
        fma_kernel = clCreateKernel(program, "multiply_add", NULL);
        read_kernel = clCreateKernel(program, "read", NULL);
    }
    if (!fma_kernel || !read_kernel) {
        if (fma_kernel) {
            clReleaseKernel(fma_kernel);
        }
        clReleaseProgram(program);
        return false;
    }
    p->program = program;
    p->fma_kernel = fma_kernel;
    p->read_kernel = read_kernel;
    p->operation = operation;
    return true;
}

static void unbuild(struct bench_peak *p)
{
    if (p->program) {
        clReleaseKernel(p->fma_kernel);
        clReleaseKernel(p->read_kernel);
        clReleaseProgram(p->program);
        p->program = NULL;
    }
}

static double timed(struct bench_peak *p, cl_kernel kernel, size_t items)
{
    double begin = bench_now();
    cl_int code = clEnqueueNDRangeKernel(p->queue, kernel, 1, NULL, &items, &p->local, 0, NULL, NULL);
    if (clFinish(p->queue) != CL_SUCCESS || code != CL_SUCCESS) {
        return 0;
    }
    return bench_now() - begin;
}

static double fma_seconds(struct bench_peak *p)
{
    cl_float factor = 0.999f, term = 0.001f;
    clSetKernelArg(p->fma_kernel, 0, sizeof p->out, &p->out);
    clSetKernelArg(p->fma_kernel, 1, sizeof p->steps, &p->steps);
    clSetKernelArg(p->fma_kernel, 2, sizeof factor, &factor);
    clSetKernelArg(p->fma_kernel, 3, sizeof term, &term);
    return timed(p, p->fma_kernel, p->items);
}

double bench_peak_run(struct bench_peak *p)
{
    double seconds = fma_seconds(p);
    double flops = 2.0 * CHAINS * STEPS_PER_ROUND * (double)p->steps * (double)(p->width * p->items);
    return seconds > 0 ? flops / seconds * 1e-9 : 0;
}

/* Length of a run: some 5 ms, long against the launch and short against a case. */
static bool calibrate(struct bench_peak *p)
{
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
static bool choose_operation(struct bench_peak *p)
{
    int best = -1;
    double best_rate = 0;
    for (int i = 0; i < 3; ++i) {
        if (build(p, i) && calibrate(p)) {
            double rate = 0;
            for (int n = 0; n < 12; ++n) {
                double once = bench_peak_run(p);
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

static bool make_buffers(struct bench_peak *p, const qkv_device_info *info)
{
    cl_int code = CL_SUCCESS;
    size_t vector = p->width * sizeof(float), unit = READ_CHUNK * vector * p->local;
    uint64_t limit = info->max_allocation < info->global_memory / 8 ? info->max_allocation : info->global_memory / 8;
    size_t wanted = limit < (UINT64_C(256) << 20) ? (size_t)limit : (size_t)256 << 20;
    p->in_bytes = wanted / unit * unit;
    p->num_out = p->in_bytes / (READ_CHUNK * vector);
    p->num_out = p->num_out > 2 * p->items ? p->num_out : 2 * p->items; /* see bench_peak_read() */
    if (p->in_bytes == 0) {
        return false;
    }
    p->in = clCreateBuffer(p->context, CL_MEM_READ_WRITE, p->in_bytes, NULL, &code);
    if (code == CL_SUCCESS) {
        cl_float one = 1.0f;
        /* Written, so that every page exists: a page never touched is read from one page of zeros. */
        code = clEnqueueFillBuffer(p->queue, p->in, &one, sizeof one, 0, p->in_bytes, 0, NULL, NULL);
    }
    if (code == CL_SUCCESS) {
        p->out = clCreateBuffer(p->context, CL_MEM_READ_WRITE, p->num_out * vector, NULL, &code);
    }
    return clFinish(p->queue) == CL_SUCCESS && code == CL_SUCCESS;
}

struct bench_peak *bench_peak_create(qkv_context *context, char *error, size_t error_size)
{
    const qkv_device_info *info = qkv_context_device(context);
    struct bench_peak *p = calloc(1, sizeof *p);
    if (!p) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    p->context = qkv_context_cl_context(context);
    p->device = qkv_context_cl_device(context);
    p->queue = qkv_context_cl_queue(context);
    p->wide = info->kind == QKV_DEVICE_CPU;
    p->width = p->wide ? 16 : 4;
    p->local = p->wide ? 1 : info->max_work_group_size < 64 ? (size_t)info->max_work_group_size : 64;
    p->items = (size_t)(info->compute_units ? info->compute_units : 1) * BENCH_PEAK_GROUPS * (p->wide ? 1 : p->local);
    if (!make_buffers(p, info) || !choose_operation(p)) {
        snprintf(error, error_size, "the peak kernels do not run on this device");
        bench_peak_destroy(p);
        return NULL;
    }
    return p;
}

void bench_peak_destroy(struct bench_peak *p)
{
    if (!p) {
        return;
    }
    unbuild(p);
    if (p->in) {
        clReleaseMemObject(p->in);
    }
    if (p->out) {
        clReleaseMemObject(p->out);
    }
    free(p);
}

double bench_peak_read(struct bench_peak *p, double bytes)
{
    size_t vector = p->width * sizeof(float);
    size_t total = bytes > 0 && bytes < (double)p->in_bytes ? (size_t)bytes : p->in_bytes;
    /* At least four groups a compute unit where the case reads little; whole groups of whole chunks. */
    size_t chunk = READ_CHUNK;
    while (chunk > 16 && total / (chunk * vector) < p->items) {
        chunk /= 2;
    }
    size_t items = total / (chunk * vector) / p->local * p->local;
    items = items < p->local ? p->local : items > p->num_out ? p->num_out : items;
    cl_uint count = (cl_uint)chunk, stride = p->wide ? 1 : (cl_uint)items;
    clSetKernelArg(p->read_kernel, 0, sizeof p->in, &p->in);
    clSetKernelArg(p->read_kernel, 1, sizeof p->out, &p->out);
    clSetKernelArg(p->read_kernel, 2, sizeof count, &count);
    clSetKernelArg(p->read_kernel, 3, sizeof stride, &stride);
    double seconds = timed(p, p->read_kernel, items);
    return seconds > 0 ? (double)(items * chunk * vector) / seconds * 1e-9 : 0;
}

const char *bench_peak_operation(const struct bench_peak *p)
{
    return operations[p->operation];
}
