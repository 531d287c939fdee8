#include "support/decode_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/reference.h"

/* Streams of random numbers; sequences follow. */
#define STREAM_MODEL 4096

static void output_features(size_t features[3], const struct decode_case *c) {
    features[0] = c->num_heads * c->head_dim;
    features[1] = c->num_kv_heads * c->head_dim;
    features[2] = c->num_kv_heads * c->value_dim;
}

static qkv_status make_linear(struct decode_model *model, qkv_context *context, const size_t *features) {
    qkv_linear_output outputs[3];
    memset(outputs, 0, sizeof outputs);
    for (size_t i = 0; i < 3; i++)
        outputs[i] = (qkv_linear_output){features[i], model->weight[i], model->bias[i], {NULL}};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = model->c.embed_dim;
    desc.num_outputs = 3;
    desc.outputs = outputs;
    desc.solver = model->c.solver;
    return qkv_linear_create(&model->linear, context, &desc);
}

static qkv_status make_attention(struct decode_model *model, qkv_context *context) {
    const struct decode_case *c = &model->c;
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = c->head_dim;
    desc.value_dim = c->value_dim;
    desc.num_heads = c->num_heads;
    desc.num_kv_heads = c->num_kv_heads;
    desc.max_batch = desc.max_seq_q = 1;
    desc.max_seq_kv = c->steps;
    desc.solver = c->solver;
    return qkv_attention_create(&model->attention, context, &desc);
}

void decode_model_make(struct decode_model *model, const struct decode_case *c, qkv_context *context) {
    size_t features[3];
    struct test_random random = test_random_start(test_seed(), STREAM_MODEL);
    *model = (struct decode_model){.c = *c};
    test_note("decode: embed_dim %zu, %zu heads, %zu kv heads, head_dim %zu, value_dim %zu, %zu steps, solver %s",
              c->embed_dim, c->num_heads, c->num_kv_heads, c->head_dim, c->value_dim, c->steps,
              c->solver ? c->solver : "any");
    output_features(features, c);
    for (size_t i = 0; i < 3; i++) {
        model->weight[i] = test_random_floats(&random, features[i] * c->embed_dim, 0.5f);
        model->bias[i] = test_random_floats(&random, features[i], 0.5f);
    }
    qkv_status status = make_linear(model, context, features);
    if (test_solver_refused(status, c->solver)) return;
    TEST_OK(status);
    status = make_attention(model, context);
    if (test_solver_refused(status, c->solver)) {
        qkv_linear_destroy(model->linear);
        model->linear = NULL;
        return;
    }
    TEST_OK(status);
}

void decode_model_free(struct decode_model *model) {
    qkv_linear_destroy(model->linear);
    qkv_attention_destroy(model->attention);
    for (size_t i = 0; i < 3; i++) {
        free(model->weight[i]);
        free(model->bias[i]);
    }
    memset(model, 0, sizeof *model);
}

/* (1, heads, steps, dim) at `front` of the cache; `by_head`: each head's rows together. */
static qkv_tensor place(size_t *front, size_t heads, size_t steps, size_t dim, bool by_head) {
    qkv_tensor t;
    memset(&t, 0, sizeof t);
    t.storage = QKV_STORAGE_BUFFER;
    t.dtype = QKV_F32;
    t.rank = 4;
    t.offset = *front;
    const size_t shape[] = {1, heads, steps, dim};
    const size_t stride[] = {heads * steps * dim, by_head ? steps * dim : dim, by_head ? dim : heads * dim, 1};
    for (size_t i = 0; i < 4; i++) {
        t.shape[i] = shape[i];
        t.stride[i] = (int64_t)stride[i];
    }
    /* some elements between the parts, which nobody may write */
    *front += heads * steps * dim + 5;
    return t;
}

void decode_sequence_make(struct decode_sequence *s, const struct decode_model *model, cl_command_queue queue,
                          size_t number) {
    const struct decode_case *c = &model->c;
    const size_t x_shape[] = {1, c->steps, c->embed_dim};
    struct test_random random = test_random_start(test_seed(), STREAM_MODEL + 1 + number);
    size_t elements = 3;
    cl_context context = NULL;
    TEST_CL(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL));
    memset(s, 0, sizeof *s);
    s->model = model;
    s->x = test_random_floats(&random, c->steps * c->embed_dim, 1.0f);
    s->k_all = place(&elements, c->num_kv_heads, c->steps, c->head_dim, false);
    s->v_all = place(&elements, c->num_kv_heads, c->steps, c->value_dim, true);
    s->q_all = place(&elements, c->num_heads, c->steps, c->head_dim, false);
    s->out_all = place(&elements, c->num_heads, c->steps, c->value_dim, false);
    test_memory_create_in(&s->cache, context, queue, elements * sizeof(float));
    test_memory_create_in(&s->tokens, context, queue, c->steps * c->embed_dim * sizeof(float));
    TEST_OK(qkv_tensor_dense(&s->x_all, s->tokens.mem, QKV_F32, 3, x_shape));
    test_memory_put(&s->tokens, &s->x_all, s->x);
    test_memory_upload(&s->tokens);
    qkv_tensor *parts[] = {&s->k_all, &s->v_all, &s->q_all, &s->out_all};
    for (size_t i = 0; i < TEST_COUNT(parts); i++) {
        parts[i]->memory.buffer = s->cache.mem;
        test_memory_allow(&s->cache, parts[i]);
    }
    test_memory_upload(&s->cache);
}

void decode_sequence_free(struct decode_sequence *s) {
    test_memory_free(&s->cache);
    test_memory_free(&s->tokens);
    free(s->x);
    memset(s, 0, sizeof *s);
}

qkv_status decode_step_views(struct decode_step *step, const struct decode_sequence *s, size_t t) {
    qkv_status status = qkv_tensor_slice(&step->x, &s->x_all, 1, t, 1);
    if (!status) status = qkv_tensor_slice(&step->q, &s->q_all, 2, t, 1);
    if (!status) status = qkv_tensor_slice(&step->k, &s->k_all, 2, t, 1);
    if (!status) status = qkv_tensor_slice(&step->v, &s->v_all, 2, t, 1);
    if (!status) status = qkv_tensor_slice(&step->keys, &s->k_all, 2, 0, t + 1);
    if (!status) status = qkv_tensor_slice(&step->values, &s->v_all, 2, 0, t + 1);
    return status ? status : qkv_tensor_slice(&step->out, &s->out_all, 2, t, 1);
}

/* Around every power of two, and the ends: where blocks of keys begin and end. */
static bool sampled(size_t keys, size_t steps) {
    if (keys <= 3 || keys + 1 >= steps) return true;
    for (size_t p = 4; p <= keys + 1; p *= 2)
        if (keys + 1 >= p && keys <= p + 1) return true;
    return keys % 577 == 0;
}

/* The first `n` rows of each head, from (heads, steps, dim). */
static double *rows_of(const double *all, size_t heads, size_t steps, size_t dim, size_t first, size_t n) {
    double *out = test_alloc(heads * n * dim, sizeof(double));
    for (size_t h = 0; h < heads; h++)
        memcpy(out + h * n * dim, all + (h * steps + first) * dim, n * dim * sizeof(double));
    return out;
}

struct projected {
    double *value[3], *error[3]; /* q, k, v as (heads, steps, dim) */
};

static struct projected project(const struct decode_sequence *s) {
    const struct decode_case *c = &s->model->c;
    const size_t heads[] = {c->num_heads, c->num_kv_heads, c->num_kv_heads};
    const size_t dims[] = {c->head_dim, c->head_dim, c->value_dim};
    struct projected p;
    double *x = ref_doubles(s->x, c->steps * c->embed_dim);
    for (size_t i = 0; i < 3; i++) {
        size_t features = heads[i] * dims[i], count = c->steps * features;
        double *y = test_alloc(count, sizeof(double)), *dy = test_alloc(count, sizeof(double));
        ref_linear(y, dy, x, NULL, c->steps, c->embed_dim, s->model->weight[i], QKV_WEIGHT_OUT_IN, s->model->bias[i],
                   features);
        p.value[i] = test_alloc(count, sizeof(double));
        p.error[i] = test_alloc(count, sizeof(double));
        ref_split_heads(p.value[i], y, 1, heads[i], c->steps, dims[i]);
        ref_split_heads(p.error[i], dy, 1, heads[i], c->steps, dims[i]);
        free(y);
        free(dy);
    }
    free(x);
    return p;
}

static void check_step(const struct decode_sequence *s, const struct projected *p, const float *out, size_t t) {
    const struct decode_case *c = &s->model->c;
    size_t steps = c->steps, kv = c->num_kv_heads, n = t + 1;
    double *parts[] = {
        rows_of(p->value[0], c->num_heads, steps, c->head_dim, t, 1),
        rows_of(p->error[0], c->num_heads, steps, c->head_dim, t, 1),
        rows_of(p->value[1], kv, steps, c->head_dim, 0, n),
        rows_of(p->error[1], kv, steps, c->head_dim, 0, n),
        rows_of(p->value[2], kv, steps, c->value_dim, 0, n),
        rows_of(p->error[2], kv, steps, c->value_dim, 0, n),
    };
    struct ref_attention a = {
        .batch = 1,
        .num_heads = c->num_heads,
        .num_kv_heads = kv,
        .seq_q = 1,
        .seq_kv = n,
        .head_dim = c->head_dim,
        .value_dim = c->value_dim,
        .q = parts[0],
        .dq = parts[1],
        .k = parts[2],
        .dk = parts[3],
        .v = parts[4],
        .dv = parts[5],
        .causal = QKV_CAUSAL_LAST,
    };
    ref_attention_run(&a);
    float *row = test_alloc(c->num_heads * c->value_dim, sizeof(float));
    for (size_t h = 0; h < c->num_heads; h++)
        memcpy(row + h * c->value_dim, out + (h * steps + t) * c->value_dim, c->value_dim * sizeof(float));
    char what[48];
    snprintf(what, sizeof what, "out at seq_kv %zu", n);
    TEST_CLOSE(what, row, a.out, a.dout, c->num_heads * c->value_dim);
    free(row);
    ref_attention_free(&a);
    for (size_t i = 0; i < TEST_COUNT(parts); i++)
        free(parts[i]);
}

void decode_sequence_check(struct decode_sequence *s, size_t steps_done) {
    const struct decode_case *c = &s->model->c;
    TEST_DOWNLOAD(&s->cache);
    float *out = test_alloc(c->num_heads * c->steps * c->value_dim, sizeof(float));
    test_memory_get(s->cache.result, &s->out_all, out);
    struct projected p = project(s);
    for (size_t t = 0; t < steps_done; t++)
        if (sampled(t + 1, steps_done)) check_step(s, &p, out, t);
    for (size_t i = 0; i < 3; i++) {
        free(p.value[i]);
        free(p.error[i]);
    }
    free(out);
}
