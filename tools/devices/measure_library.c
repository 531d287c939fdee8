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
#define MAX_MEMS 4
/* A size is measured if a run of it takes no longer than this, as the smaller size lets expect. */
#define LONGEST_RUN 2.0
#define SECONDS 0.8
/* Tried first, the shortest counts: a machine that is busy for a moment must not decide which size it is. */
#define FIRST_RUNS 3
#define LEAST_RUNS 3

enum { WIDTH = 1024, PARTS = 3, HEAD_DIM = 128, PREFILL_HEADS = 8, DECODE_HEADS = 32, DECODE_KV_HEADS = 8 };

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
    return add_tensor(job, 4, q) || add_tensor(job, 4, kv) || add_tensor(job, 4, kv) || add_tensor(job, 4, q) ? -1 : 0;
}

static int create_prefill(struct job *job, size_t tokens) {
    return create_attention(job, PREFILL_HEADS, PREFILL_HEADS, tokens, tokens);
}

static int create_decode(struct job *job, size_t keys) {
    return create_attention(job, DECODE_HEADS, DECODE_KV_HEADS, 1, keys);
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
     {256, 1024, 8192}},
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
    args.q = &job->tensors[0];
    args.k = &job->tensors[1];
    args.v = &job->tensors[2];
    args.out = &job->tensors[3];
    args.causal = QKV_CAUSAL_LAST;
    args.workspace = job->workspace;
    return qkv_attention_run(job->attention, job->queue, &args, 0, NULL, NULL);
}

/* Seconds from the call to the end of clFinish; 0 on failure. */
static double run_once(struct job *job) {
    double begin = tool_clock_seconds();
    if (enqueue(job)) {
        job_failed(job, "run");
        return 0;
    }
    cl_int code = clFinish(job->queue);
    if (code != CL_SUCCESS) {
        snprintf(job->error, sizeof job->error, "clFinish: OpenCL error %d", (int)code);
        return 0;
    }
    return tool_clock_seconds() - begin;
}

static void destroy(struct job *job) {
    clFinish(job->queue);
    for (size_t i = 0; i < job->num_mems; i++)
        clReleaseMemObject(job->mems[i]);
    qkv_workspace_destroy(job->workspace);
    qkv_linear_destroy(job->linear);
    qkv_attention_destroy(job->attention);
}

static double median_seconds(struct job *job) {
    struct tool_series series = {NULL, 0, 0};
    double begin = tool_clock_seconds(), seconds = 1;
    while (seconds > 0 && (series.count < LEAST_RUNS || tool_clock_seconds() - begin < SECONDS)) {
        seconds = run_once(job);
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
    double least = run_once(job); /* may compile */
    for (int i = 0; i < FIRST_RUNS && least > 0; i++) {
        double seconds = run_once(job);
        if (seconds < least) least = seconds;
    }
    return least;
}

/* One size: true if the next one is to be tried. */
static bool measure_size(const struct measuring *m, const struct work *work, size_t s) {
    struct job job = {.m = m, .queue = qkv_context_cl_queue(m->context)};
    bool more = false;
    char shape[100];
    snprintf(shape, sizeof shape, work->shape, work->sizes[s]);
    double seconds = work->create(&job, work->sizes[s]) == 0 ? shortest(&job) : 0;
    if (seconds > 0) {
        more = goes_on(work, s, seconds);
        if (!more) seconds = median_seconds(&job);
    }
    if (seconds > 0)
        measure_set(m, work->row, work->amount(work->sizes[s]) / seconds * 1e-9, "%s%s", shape,
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
