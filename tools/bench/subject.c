/* This library's side of a case: plan, weights, buffers, one run. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "support/half.h"

enum { MEM_X, MEM_Q, MEM_K, MEM_V, MEM_OUT, MEM_WEIGHTS, MEM_RECEIVED, NUM_MEM };

struct bench_subject {
    const struct bench_case *spec;
    qkv_context *context;
    cl_command_queue queue;
    qkv_linear *linear;
    qkv_attention *attention;
    qkv_layer *layer;
    qkv_rotary *rotary;
    qkv_workspace *workspace;
    cl_mem mem[NUM_MEM];
    qkv_tensor x, q, k, v, out, weights, received;
    qkv_tensor outputs[QKV_LINEAR_MAX_OUTPUTS];
};

struct failure {
    char *text;
    size_t size;
};

static bool passed(qkv_status status, const char *what, struct failure failure)
{
    if (status != QKV_OK) {
        snprintf(failure.text, failure.size, "%s: %s: %s", what, qkv_status_name(status), qkv_error_message());
    }
    return status == QKV_OK;
}

static qkv_dtype stored_as(const struct bench_case *c)
{
    return c->half ? QKV_F16 : QKV_F32;
}

/* In place: a half is smaller than the float it comes from. */
static void halve(float *values, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        uint16_t bits = bench_half_bits(values[i]);
        memcpy((unsigned char *)values + i * sizeof bits, &bits, sizeof bits);
    }
}

/* A dense tensor in a buffer of its own, filled from a stream; seed 0 leaves it as it is. */
static bool make_tensor_as(struct bench_subject *s, int which, qkv_tensor *tensor, qkv_dtype dtype, size_t rank,
                           const size_t *shape, int seed, struct failure failure)
{
    size_t count = 1;
    for (size_t i = 0; i < rank; ++i) {
        count *= shape[i];
    }
    float *values = seed ? bench_values((enum bench_seed)seed, 0, count, 1.0f) : NULL;
    cl_int code = CL_OUT_OF_HOST_MEMORY;
    if (values && dtype == QKV_F16) {
        halve(values, count);
    }
    if (values || !seed) {
        s->mem[which] = clCreateBuffer(qkv_context_cl_context(s->context), CL_MEM_READ_WRITE, count * qkv_dtype_size(dtype), NULL, &code);
    }
    if (code == CL_SUCCESS && values) {
        code = clEnqueueWriteBuffer(s->queue, s->mem[which], CL_TRUE, 0, count * qkv_dtype_size(dtype), values, 0,
                                    NULL, NULL);
    }
    free(values);
    if (code != CL_SUCCESS) {
        snprintf(failure.text, failure.size, "a buffer of %zu elements: OpenCL error %d", count, (int)code);
        return false;
    }
    return passed(qkv_tensor_dense(tensor, s->mem[which], dtype, rank, shape), "tensor", failure);
}

static bool make_tensor(struct bench_subject *s, int which, qkv_tensor *tensor, size_t rank, const size_t *shape,
                        int seed, struct failure failure)
{
    return make_tensor_as(s, which, tensor, QKV_F32, rank, shape, seed, failure);
}

static bool make_workspace(struct bench_subject *s, size_t bytes, struct failure failure)
{
    return bytes == 0 || passed(qkv_workspace_create(&s->workspace, s->context, bytes), "workspace", failure);
}

static bool create_projection(struct bench_subject *s, struct failure failure)
{
    const struct bench_case *c = s->spec;
    size_t width = c->out_features / c->num_outputs;
    float *w = bench_values(BENCH_SEED_W, 0, c->in_features * c->out_features, bench_weight_scale(c->in_features));
    if (!w) {
        snprintf(failure.text, failure.size, "out of memory");
        return false;
    }
    qkv_linear_output outputs[QKV_LINEAR_MAX_OUTPUTS];
    memset(outputs, 0, sizeof outputs);
    for (size_t i = 0; i < c->num_outputs; ++i) {
        outputs[i].out_features = width;
        outputs[i].weight = w + i * width * c->in_features;
    }
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = c->in_features;
    desc.num_outputs = c->num_outputs;
    desc.outputs = outputs;
    desc.max_rows = c->rows;
    bool good = passed(qkv_linear_create(&s->linear, s->context, &desc), "linear layer", failure);
    free(w);
    good = good && make_workspace(s, qkv_linear_workspace_bytes(s->linear), failure) &&
           make_tensor(s, MEM_X, &s->x, 2, (size_t[]){c->rows, c->in_features}, BENCH_SEED_X, failure) &&
           make_tensor(s, MEM_OUT, &s->out, 2, (size_t[]){c->rows, c->out_features}, 0, failure);
    /* Q, K and V side by side, as one GEMM of the whole width would leave them. */
    for (size_t i = 0; good && i < c->num_outputs; ++i) {
        good = passed(qkv_tensor_slice(&s->outputs[i], &s->out, 1, i * width, width), "slice", failure);
    }
    return good;
}

static bool create_attention(struct bench_subject *s, struct failure failure)
{
    const struct bench_case *c = s->spec;
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = c->head_dim;
    desc.value_dim = c->value_dim;
    desc.num_heads = c->num_heads;
    desc.num_kv_heads = c->num_kv_heads;
    desc.max_batch = c->batch;
    desc.max_seq_q = c->seq_q;
    desc.max_seq_kv = c->seq_kv;
    const qkv_dtype dtype = stored_as(c);
    desc.features = c->features | (c->weights ? (uint64_t)QKV_ATTENTION_WEIGHTS : 0) |
                    (c->window ? (uint64_t)QKV_ATTENTION_WINDOW : 0) |
                    (c->softcap != 0.0f ? (uint64_t)QKV_ATTENTION_SOFTCAP : 0) |
                    (c->received ? (uint64_t)QKV_ATTENTION_REDUCED : 0);
    desc.q_dtype = desc.k_dtype = desc.v_dtype = desc.out_dtype = dtype;
    size_t b = c->batch, h = c->num_heads, g = c->num_kv_heads;
    return passed(qkv_attention_create(&s->attention, s->context, &desc), "attention", failure) &&
           make_workspace(s, qkv_attention_workspace_bytes(s->attention), failure) &&
           make_tensor_as(s, MEM_Q, &s->q, dtype, 4, (size_t[]){b, h, c->seq_q, c->head_dim}, BENCH_SEED_Q, failure) &&
           make_tensor_as(s, MEM_K, &s->k, dtype, 4, (size_t[]){b, g, c->seq_kv, c->head_dim}, BENCH_SEED_K, failure) &&
           make_tensor_as(s, MEM_V, &s->v, dtype, 4, (size_t[]){b, g, c->seq_kv, c->value_dim}, BENCH_SEED_V, failure) &&
           make_tensor_as(s, MEM_OUT, &s->out, dtype, 4, (size_t[]){b, h, c->seq_q, c->value_dim}, 0, failure) &&
           (!c->received ||
            make_tensor(s, MEM_RECEIVED, &s->received, 3, (size_t[]){b, h, c->seq_kv}, 0, failure)) &&
           (!c->weights ||
            make_tensor(s, MEM_WEIGHTS, &s->weights, 4, (size_t[]){b, h, c->seq_q, c->seq_kv}, 0, failure));
}

static bool create_rotary(struct bench_subject *s, struct failure failure)
{
    const struct bench_case *c = s->spec;
    const size_t shape[] = {c->batch, c->num_heads, c->seq_q, c->head_dim};
    qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
    desc.head_dim = c->head_dim;
    desc.max_position = c->seq_q;
    return passed(qkv_rotary_create(&s->rotary, s->context, &desc), "rotary", failure) &&
           make_tensor(s, MEM_X, &s->x, 4, shape, BENCH_SEED_Q, failure) &&
           make_tensor(s, MEM_OUT, &s->out, 4, shape, 0, failure);
}

static bool create_layer(struct bench_subject *s, struct failure failure)
{
    const struct bench_case *c = s->spec;
    size_t e = c->embed_dim;
    float scale = bench_weight_scale(e);
    float *w = bench_values(BENCH_SEED_W, 0, 3 * e * e, scale), *b = bench_values(BENCH_SEED_B, 0, 3 * e, scale);
    float *wo = bench_values(BENCH_SEED_WO, 0, e * e, scale), *bo = bench_values(BENCH_SEED_BO, 0, e, scale);
    bool good = w && b && wo && bo;
    if (!good) {
        snprintf(failure.text, failure.size, "out of memory");
    } else {
        qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
        desc.embed_dim = e;
        desc.num_heads = c->num_heads;
        desc.wq = (qkv_layer_weight){w, b};
        desc.wk = (qkv_layer_weight){w + e * e, b + e};
        desc.wv = (qkv_layer_weight){w + 2 * e * e, b + 2 * e};
        desc.wo = (qkv_layer_weight){wo, bo};
        desc.max_batch = c->batch;
        desc.max_seq_q = c->seq_q;
        good = passed(qkv_layer_create(&s->layer, s->context, &desc), "layer", failure);
    }
    free(w);
    free(b);
    free(wo);
    free(bo);
    size_t shape[] = {c->batch, c->seq_q, e};
    return good && make_workspace(s, qkv_layer_workspace_bytes(s->layer), failure) &&
           make_tensor(s, MEM_X, &s->x, 3, shape, BENCH_SEED_X, failure) &&
           make_tensor(s, MEM_OUT, &s->out, 3, shape, 0, failure);
}

struct bench_subject *bench_subject_create(qkv_context *context, const struct bench_case *c, char *error,
                                           size_t error_size)
{
    struct failure failure = {error, error_size};
    struct bench_subject *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    s->spec = c;
    s->context = context;
    s->queue = qkv_context_cl_queue(context);
    bool good = c->kind == BENCH_PROJECTION ? create_projection(s, failure)
                : c->kind == BENCH_LAYER    ? create_layer(s, failure)
                : c->kind == BENCH_ROTARY   ? create_rotary(s, failure)
                                            : create_attention(s, failure);
    if (!good) {
        bench_subject_destroy(s);
        return NULL;
    }
    return s;
}

void bench_subject_destroy(struct bench_subject *s)
{
    if (!s) {
        return;
    }
    clFinish(s->queue);
    for (size_t i = 0; i < NUM_MEM; ++i) {
        if (s->mem[i]) {
            clReleaseMemObject(s->mem[i]);
        }
    }
    qkv_workspace_destroy(s->workspace);
    qkv_linear_destroy(s->linear);
    qkv_attention_destroy(s->attention);
    qkv_layer_destroy(s->layer);
    qkv_rotary_destroy(s->rotary);
    free(s);
}

static qkv_status enqueue(struct bench_subject *s)
{
    if (s->linear) {
        qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
        args.x = &s->x;
        for (size_t i = 0; i < s->spec->num_outputs; ++i) {
            args.outputs[i] = &s->outputs[i];
        }
        args.workspace = s->workspace;
        return qkv_linear_run(s->linear, s->queue, &args, 0, NULL, NULL);
    }
    if (s->attention) {
        qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
        args.q = &s->q;
        args.k = &s->k;
        args.v = &s->v;
        args.out = &s->out;
        args.weights = s->spec->weights ? &s->weights : NULL;
        args.causal = s->spec->causal ? QKV_CAUSAL_FIRST : QKV_CAUSAL_OFF;
        const qkv_window window = {(int64_t)s->spec->window - 1, -1};
        args.window = s->spec->window ? &window : NULL;
        args.softcap = s->spec->softcap;
        args.received = s->spec->received ? &s->received : NULL;
        args.workspace = s->workspace;
        return qkv_attention_run(s->attention, s->queue, &args, 0, NULL, NULL);
    }
    if (s->rotary) {
        qkv_rotary_args args = QKV_ROTARY_ARGS_INIT;
        args.x = &s->x;
        args.out = &s->out;
        return qkv_rotary_run(s->rotary, s->queue, &args, 0, NULL, NULL);
    }
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    args.x = &s->x;
    args.out = &s->out;
    args.causal = s->spec->causal ? QKV_CAUSAL_FIRST : QKV_CAUSAL_OFF;
    args.workspace = s->workspace;
    return qkv_layer_run(s->layer, s->queue, &args, 0, NULL, NULL);
}

static bool finished(struct bench_subject *s, struct failure failure)
{
    cl_int code = clFinish(s->queue);
    if (code != CL_SUCCESS) {
        snprintf(failure.text, failure.size, "clFinish: OpenCL error %d", (int)code);
    }
    return code == CL_SUCCESS;
}

bool bench_subject_run(struct bench_subject *s, char *error, size_t error_size)
{
    struct failure failure = {error, error_size};
    return passed(enqueue(s), "run", failure) && finished(s, failure);
}

static float *read_back(struct bench_subject *s, cl_mem mem, size_t count, struct failure failure)
{
    float *values = malloc((count ? count : 1) * sizeof *values);
    cl_int code = values ? clEnqueueReadBuffer(s->queue, mem, CL_TRUE, 0, count * sizeof(float), values, 0, NULL, NULL)
                         : CL_OUT_OF_HOST_MEMORY;
    if (code != CL_SUCCESS) {
        snprintf(failure.text, failure.size, "reading back %zu floats: OpenCL error %d", count, (int)code);
        free(values);
        return NULL;
    }
    return values;
}

float *bench_subject_output(struct bench_subject *s, size_t *out_count, char *error, size_t error_size)
{
    const size_t count = *out_count = qkv_tensor_count(&s->out);
    if (!s->spec->half) {
        return read_back(s, s->mem[MEM_OUT], count, (struct failure){error, error_size});
    }
    /* Two halves to a float: no case has an odd count. */
    float *stored = read_back(s, s->mem[MEM_OUT], count / 2, (struct failure){error, error_size});
    float *values = stored ? malloc((count ? count : 1) * sizeof *values) : NULL;
    for (size_t i = 0; values && i < count / 2 * 2; ++i) {
        uint16_t bits;
        memcpy(&bits, (const unsigned char *)stored + i * sizeof bits, sizeof bits);
        values[i] = tool_from_f16(bits);
    }
    free(stored);
    return values;
}

float *bench_subject_weights(struct bench_subject *s, size_t *out_count, char *error, size_t error_size)
{
    *out_count = qkv_tensor_count(&s->weights);
    return read_back(s, s->mem[MEM_WEIGHTS], *out_count, (struct failure){error, error_size});
}

bool bench_subject_layer_parts(struct bench_subject *s, float *parts[3], char *error, size_t error_size)
{
    struct failure failure = {error, error_size};
    const struct bench_case *c = s->spec;
    size_t shape[] = {c->batch, c->num_heads, c->seq_q, c->head_dim};
    size_t count = c->batch * c->num_heads * c->seq_q * c->head_dim;
    qkv_tensor *tensors[] = {&s->q, &s->k, &s->v};
    bool good = true;
    for (int i = 0; good && i < 3; ++i) {
        good = s->mem[MEM_Q + i] || make_tensor(s, MEM_Q + i, tensors[i], 4, shape, 0, failure);
    }
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    args.x = &s->x;
    args.out = &s->out;
    args.q = &s->q;
    args.k = &s->k;
    args.v = &s->v;
    args.causal = c->causal ? QKV_CAUSAL_FIRST : QKV_CAUSAL_OFF;
    args.workspace = s->workspace;
    good = good && passed(qkv_layer_run(s->layer, s->queue, &args, 0, NULL, NULL), "run with q, k and v", failure) &&
           finished(s, failure);
    for (int i = 0; good && i < 3; ++i) {
        parts[i] = read_back(s, s->mem[MEM_Q + i], count, failure);
        good = parts[i] != NULL;
    }
    return good;
}

const struct bench_case *bench_subject_case(const struct bench_subject *s)
{
    return s->spec;
}

const char *bench_subject_describe(const struct bench_subject *s)
{
    return s->linear      ? qkv_linear_describe(s->linear)
           : s->attention ? qkv_attention_describe(s->attention)
           : s->rotary    ? qkv_rotary_describe(s->rotary)
                          : qkv_layer_describe(s->layer);
}
