/*
 * What the library reaches on the device, through its interface: a fused projection, attention over a prompt, attention of
 * one new token over a long cache. The largest of three sizes is what counts, so that rates of different devices can be
 * compared; the smaller ones go first, to tell whether a run of it would take too long: then they count, and say so.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "devices/measure_internal.h"
#include "support/stats.h"

#define NUM_SIZES 3
/* Caches of keys and values that a decode takes in turn. */
#define MAX_CACHES 32
#define MAX_MEMS (2 + 2 * MAX_CACHES)
/* A size is measured if a run of it takes no longer than this, as the smaller size lets expect. */
#define LONGEST_RUN 2.0
#define SECONDS 0.8
/* Tried first, the shortest counts: a machine that is busy for a moment must not decide which size it is. */
#define FIRST_RUNS 3
#define LEAST_RUNS 3

enum { WIDTH = 1024, PARTS = 3, HEAD_DIM = 128 };
enum { PREFILL_HEADS = 8, DECODE_HEADS = 32, DECODE_KV_HEADS = 8, DECODE_KEYS = 8192 };

struct job {
    const struct measuring *m;
    cl_command_queue queue;
    qkv_linear *linear;
    qkv_attention *attention;
    qkv_workspace *workspace;
    cl_mem mems[MAX_MEMS];
    qkv_tensor tensors[MAX_MEMS];
    qkv_tensor parts[PARTS];
    size_t num_mems;
    size_t caches, turn; /* an attention's K and V, and which run this is */
    char error[160];
};

static int job_failed(struct job *job, const char *what) {
    snprintf(job->error, sizeof job->error, "%s: %.100s", what, qkv_error_message());
    return -1;
}

/* A dense tensor filled with one small number: how long a run takes does not depend on the numbers. */
static int add_tensor(struct job *job, size_t rank, const size_t *shape) {
    const cl_float value = 0.01f;
    cl_int code = CL_SUCCESS;
    size_t bytes = sizeof(cl_float), i = job->num_mems;
    for (size_t axis = 0; axis < rank; axis++)
        bytes *= shape[axis];
    job->mems[i] = clCreateBuffer(qkv_context_cl_context(job->m->context), CL_MEM_READ_WRITE, bytes, NULL, &code);
    if (code == CL_SUCCESS) {
        job->num_mems++;
        code = clEnqueueFillBuffer(job->queue, job->mems[i], &value, sizeof value, 0, bytes, 0, NULL, NULL);
    }
    if (code != CL_SUCCESS) {
        snprintf(job->error, sizeof job->error, "%zu bytes of device memory: OpenCL error %d", bytes, (int)code);
        return -1;
    }
    return qkv_tensor_dense(&job->tensors[i], job->mems[i], QKV_F32, rank, shape) ? job_failed(job, "tensor") : 0;
}

static int add_workspace(struct job *job, size_t bytes) {
    if (bytes == 0) return 0;
    return qkv_workspace_create(&job->workspace, job->m->context, bytes) ? job_failed(job, "workspace") : 0;
}

static float *weights(size_t count) {
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; values && i < count; i++)
        values[i] = (float)(i % 17) * 0.01f - 0.08f;
    return values;
}

static int create_projection(struct job *job, size_t rows) {
    qkv_linear_output outputs[PARTS];
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    float *w = weights((size_t)WIDTH * WIDTH);
    memset(outputs, 0, sizeof outputs);
    if (!w) return job_failed(job, "out of memory");
    for (size_t i = 0; i < PARTS; i++) {
        outputs[i].out_features = WIDTH;
        outputs[i].weight = w;
    }
    desc.in_features = WIDTH;
    desc.num_outputs = PARTS;
    desc.outputs = outputs;
    desc.max_rows = rows;
    qkv_status status = qkv_linear_create(&job->linear, job->m->context, &desc);
    free(w);
    if (status) return job_failed(job, "linear layer");
    if (add_workspace(job, qkv_linear_workspace_bytes(job->linear))) return -1;
    if (add_tensor(job, 2, (size_t[]){rows, WIDTH}) || add_tensor(job, 2, (size_t[]){rows, PARTS * WIDTH})) return -1;
    for (size_t i = 0; i < PARTS; i++)
        if (qkv_tensor_slice(&job->parts[i], &job->tensors[1], 1, i * WIDTH, WIDTH)) return job_failed(job, "slice");
    return 0;
}

/* Tensors: q, out, then K and V of each cache. */
static int create_attention(struct job *job, size_t heads, size_t kv_heads, size_t seq_q, size_t seq_kv) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = HEAD_DIM;
    desc.num_heads = heads;
    desc.num_kv_heads = kv_heads;
    desc.max_batch = 1;
    desc.max_seq_q = seq_q;
    desc.max_seq_kv = seq_kv;
    if (qkv_attention_create(&job->attention, job->m->context, &desc)) return job_failed(job, "attention");
    const size_t q[] = {1, heads, seq_q, HEAD_DIM}, kv[] = {1, kv_heads, seq_kv, HEAD_DIM};
    if (add_workspace(job, qkv_attention_workspace_bytes(job->attention))) return -1;
    if (add_tensor(job, 4, q) || add_tensor(job, 4, q)) return -1;
    for (size_t i = 0; i < job->caches; i++)
        if (add_tensor(job, 4, kv) || add_tensor(job, 4, kv)) return -1;
    return 0;
}

static int create_prefill(struct job *job, size_t tokens) {
    job->caches = 1;
    return create_attention(job, PREFILL_HEADS, PREFILL_HEADS, tokens, tokens);
}

static double projection_flops(size_t rows) {
    return 2.0 * (double)rows * WIDTH * PARTS * WIDTH;
}

/* Two products, each over the pairs of a query and a key that is not after it. */
static double prefill_flops(size_t tokens) {
    return 4.0 * PREFILL_HEADS * HEAD_DIM * 0.5 * (double)tokens * (double)(tokens + 1);
}

static double decode_bytes(size_t keys) {
    return 2.0 * DECODE_KV_HEADS * HEAD_DIM * sizeof(float) * (double)keys;
}

/*
 * So many that what a run reads has left the device's caches when its turn comes again: altogether twice what the driver
 * says of them, and on GPUs, whose drivers do not count all, at least 512 MiB; a quarter of the memory at most.
 */
static size_t caches_for(const struct job *job, size_t keys) {
    const qkv_device_info *info = qkv_context_device(job->m->context);
    const double least = info->kind == QKV_DEVICE_GPU ? 512.0 * (1 << 20) : 0, one = decode_bytes(keys);
    cl_ulong cache = 0;
    (void)clGetDeviceInfo(info->device_id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof cache, &cache, NULL);
    double wanted = 2.0 * (double)cache > least ? 2.0 * (double)cache : least, room = (double)info->global_memory / 4;
    double count = wanted < room ? ceil(wanted / one) : floor(room / one);
    return count < 1 ? 1 : count > MAX_CACHES ? MAX_CACHES : (size_t)count;
}

/* The smaller sizes only tell whether the largest would take too long, on devices that are slower than memory. */
static int create_decode(struct job *job, size_t keys) {
    job->caches = keys < DECODE_KEYS ? 1 : caches_for(job, keys);
    return create_attention(job, DECODE_HEADS, DECODE_KV_HEADS, 1, keys);
}

static const struct work {
    enum measure_row row;
    const char *name, *shape; /* with the size for %zu */
    int (*create)(struct job *, size_t size);
    double (*amount)(size_t size);
    size_t sizes[NUM_SIZES];
} works[] = {
    {MEASURE_PROJECTION, "projection", "%zu rows, 1024 to 3 x 1024", create_projection, projection_flops, {8, 64, 512}},
    {MEASURE_PREFILL, "prefill", "8 heads of 128, %zu tokens, causal", create_prefill, prefill_flops, {64, 384, 2048}},
    {MEASURE_DECODE,
     "decode",
     "32 heads of 128 over 8 KV heads, %zu keys",
     create_decode,
     decode_bytes,
     {256, 1024, DECODE_KEYS}},
};

static qkv_status enqueue(struct job *job) {
    if (job->linear) {
        qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
        args.x = &job->tensors[0];
        for (size_t i = 0; i < PARTS; i++)
            args.outputs[i] = &job->parts[i];
        args.workspace = job->workspace;
        return qkv_linear_run(job->linear, job->queue, &args, 0, NULL, NULL);
    }
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    const size_t kv = 2 + 2 * (job->turn++ % job->caches);
    args.q = &job->tensors[0];
    args.out = &job->tensors[1];
    args.k = &job->tensors[kv];
    args.v = &job->tensors[kv + 1];
    args.causal = QKV_CAUSAL_LAST;
    args.workspace = job->workspace;
    return qkv_attention_run(job->attention, job->queue, &args, 0, NULL, NULL);
}

/* Seconds of each of so many runs, from the first call to the end of clFinish; 0 on failure. */
static double run(struct job *job, size_t runs) {
    double begin = tool_clock_seconds();
    for (size_t i = 0; i < runs; i++)
        if (enqueue(job)) {
            job_failed(job, "run");
            return 0;
        }
    cl_int code = clFinish(job->queue);
    if (code != CL_SUCCESS) {
        snprintf(job->error, sizeof job->error, "clFinish: OpenCL error %d", (int)code);
        return 0;
    }
    return (tool_clock_seconds() - begin) / (double)runs;
}

static void destroy(struct job *job) {
    clFinish(job->queue);
    for (size_t i = 0; i < job->num_mems; i++)
        clReleaseMemObject(job->mems[i]);
    qkv_workspace_destroy(job->workspace);
    qkv_linear_destroy(job->linear);
    qkv_attention_destroy(job->attention);
}

/* seconds: of one run. */
static double median_seconds(struct job *job, double seconds) {
    struct tool_series series = {NULL, 0, 0};
    double begin = tool_clock_seconds();
    const size_t most = measure_most_together(job->m);
    size_t runs = 1;
    while (seconds > 0 && seconds * (double)runs < PIECE_SECONDS && runs < most)
        seconds = run(job, runs *= 2);
    while (seconds > 0 && (series.count < LEAST_RUNS || tool_clock_seconds() - begin < SECONDS)) {
        seconds = run(job, runs);
        if (seconds > 0) tool_series_add(&series, seconds);
    }
    double median = seconds > 0 ? tool_series_quartiles(&series).median : 0;
    tool_series_free(&series);
    return median;
}

/* Will a run of the next size be over soon enough? */
static bool goes_on(const struct work *work, size_t s, double seconds) {
    return s + 1 < NUM_SIZES && seconds * work->amount(work->sizes[s + 1]) / work->amount(work->sizes[s]) < LONGEST_RUN;
}

/* Of a few runs; 0 on failure. */
static double shortest(struct job *job) {
    double least = run(job, 1); /* may compile */
    for (int i = 0; i < FIRST_RUNS && least > 0; i++) {
        double seconds = run(job, 1);
        if (seconds < least) least = seconds;
    }
    return least;
}

/* One size: true if the next one is to be tried. */
static bool measure_size(const struct measuring *m, const struct work *work, size_t s) {
    struct job job = {.m = m, .queue = qkv_context_cl_queue(m->context)};
    bool more = false;
    char shape[100], turns[48] = "";
    snprintf(shape, sizeof shape, work->shape, work->sizes[s]);
    double seconds = work->create(&job, work->sizes[s]) == 0 ? shortest(&job) : 0;
    if (job.caches > 1) snprintf(turns, sizeof turns, ", %zu such caches in turn", job.caches);
    if (seconds > 0) {
        more = goes_on(work, s, seconds);
        if (!more) seconds = median_seconds(&job, seconds);
    }
    if (seconds > 0)
        measure_set(m, work->row, work->amount(work->sizes[s]) / seconds * 1e-9, "%s%s%s", shape, turns,
                    s + 1 < NUM_SIZES ? ": too slow for as many as on other devices" : "");
    else if (s == 0)
        measure_set(m, work->row, 0, "%s: %s", shape, job.error);
    destroy(&job);
    return more && seconds > 0;
}

static void measure_work(const struct measuring *m, const struct work *work) {
    measure_tell(m, work->name);
    for (size_t s = 0; s < NUM_SIZES && measure_size(m, work, s); s++) {}
}

void measure_library(const struct measuring *m) {
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
        measure_work(m, &works[i]);
}
