#include "support/layer_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t layer_seq_kv(const struct layer_case *c) {
    return c->kv ? c->seq_kv : c->seq_q;
}

size_t layer_out_dim(const struct layer_case *c) {
    return c->wo ? c->out_dim : c->num_heads * c->value_dim;
}

static size_t kv_width(const struct layer_case *c) {
    return c->kv_embed_dim ? c->kv_embed_dim : c->embed_dim;
}

void layer_note(const struct layer_case *c, const char *solver, size_t number) {
    test_note(
        "seed %llu, case %zu, solver %s: batch %zu, seq_q %zu, seq_kv %zu, embed %zu, kv_embed %zu, heads %zu/%zu, "
        "head_dim %zu, value_dim %zu, out %zu, layout %d, biases %d, wo %d, cross %d, kv %d, mask %d, shared %d, "
        "causal %d, scale %g",
        (unsigned long long)test_seed(), number, solver ? solver : "(default)", c->batch, c->seq_q, layer_seq_kv(c),
        c->embed_dim, c->kv_embed_dim, c->num_heads, c->num_kv_heads, c->head_dim, c->value_dim, c->out_dim,
        (int)c->layout, c->biases, c->wo, c->cross, c->kv, c->mask, c->shared_qk, (int)c->causal, (double)c->scale);
}

static void matrix_sizes(const struct layer_case *c, size_t in[4], size_t out[4]) {
    in[0] = c->embed_dim, out[0] = c->num_heads * c->head_dim;
    in[1] = kv_width(c), out[1] = c->num_kv_heads * c->head_dim;
    in[2] = kv_width(c), out[2] = c->num_kv_heads * c->value_dim;
    in[3] = c->num_heads * c->value_dim, out[3] = c->out_dim;
}

void layer_data_make(struct layer_data *data, const struct layer_case *c, struct test_random *random) {
    size_t in[4], out[4];
    memset(data, 0, sizeof *data);
    matrix_sizes(c, in, out);
    for (size_t i = 0; i < (c->wo ? 4u : 3u); i++) {
        data->weight[i] = test_random_floats(random, in[i] * out[i], sqrtf(3.0f / (float)in[i]));
        if (c->biases) data->bias[i] = test_random_floats(random, out[i], 0.5f);
    }
    if (c->shared_qk) {
        memcpy(data->weight[1], data->weight[0], in[0] * out[0] * sizeof(float));
        if (c->biases) memcpy(data->bias[1], data->bias[0], out[0] * sizeof(float));
    }
    data->x = test_random_floats(random, c->batch * c->seq_q * c->embed_dim, 1.5f);
    if (c->kv) data->kv = test_random_floats(random, c->batch * c->seq_kv * kv_width(c), 1.5f);
    if (c->mask) {
        size_t n = layer_seq_kv(c);
        data->mask = test_alloc(c->batch * n, 1);
        for (size_t b = 0; b < c->batch; b++)
            for (size_t j = 0; j < n; j++)
                data->mask[b * n + j] = j < n - b % n;
    }
}

void layer_data_free(struct layer_data *data) {
    for (size_t i = 0; i < 4; i++) {
        free(data->weight[i]);
        free(data->bias[i]);
    }
    free(data->x);
    free(data->kv);
    free(data->mask);
    memset(data, 0, sizeof *data);
}

qkv_layer_desc layer_desc(const struct layer_case *c, const struct layer_data *data) {
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    desc.embed_dim = c->embed_dim;
    desc.kv_embed_dim = c->kv_embed_dim;
    desc.num_heads = c->num_heads;
    desc.num_kv_heads = c->num_kv_heads;
    desc.head_dim = c->head_dim;
    desc.value_dim = c->value_dim;
    desc.out_dim = c->out_dim;
    desc.layout = c->layout;
    desc.wq = (qkv_layer_weight){data->weight[0], data->bias[0]};
    desc.wk = (qkv_layer_weight){data->weight[1], data->bias[1]};
    desc.wv = (qkv_layer_weight){data->weight[2], data->bias[2]};
    desc.wo = (qkv_layer_weight){data->weight[3], data->bias[3]};
    desc.cross = c->cross;
    return desc;
}

/* One projection with its heads taken apart. */
static void project(double **y, double **dy, const struct layer_case *c, const struct layer_data *data, const double *x,
                    size_t i, size_t seq, size_t heads, size_t dim) {
    size_t in[4], out[4], rows = c->batch * seq;
    matrix_sizes(c, in, out);
    double *joined = test_alloc(rows * out[i], sizeof(double)), *error = test_alloc(rows * out[i], sizeof(double));
    ref_linear(joined, error, x, NULL, rows, in[i], data->weight[i], c->layout, data->bias[i], out[i]);
    *y = test_alloc(rows * out[i], sizeof(double));
    *dy = test_alloc(rows * out[i], sizeof(double));
    ref_split_heads(*y, joined, c->batch, heads, seq, dim);
    ref_split_heads(*dy, error, c->batch, heads, seq, dim);
    free(joined);
    free(error);
}

static void finish(struct layer_reference *r, const struct layer_case *c, const struct layer_data *data) {
    size_t rows = c->batch * c->seq_q, width = c->num_heads * c->value_dim;
    double *joined = test_alloc(rows * width, sizeof(double)), *error = test_alloc(rows * width, sizeof(double));
    ref_join_heads(joined, r->attention.out, c->batch, c->num_heads, c->seq_q, c->value_dim);
    ref_join_heads(error, r->attention.dout, c->batch, c->num_heads, c->seq_q, c->value_dim);
    r->out = joined, r->dout = error;
    if (!c->wo) return;
    r->out = test_alloc(rows * c->out_dim, sizeof(double));
    r->dout = test_alloc(rows * c->out_dim, sizeof(double));
    ref_linear(r->out, r->dout, joined, error, rows, width, data->weight[3], c->layout, data->bias[3], c->out_dim);
    free(joined);
    free(error);
}

void layer_reference_make(struct layer_reference *r, const struct layer_case *c, const struct layer_data *data) {
    size_t seq_kv = layer_seq_kv(c);
    double *x = ref_doubles(data->x, c->batch * c->seq_q * c->embed_dim);
    double *kv = c->kv ? ref_doubles(data->kv, c->batch * c->seq_kv * kv_width(c)) : x;
    memset(r, 0, sizeof *r);
    project(&r->q, &r->dq, c, data, x, 0, c->seq_q, c->num_heads, c->head_dim);
    project(&r->k, &r->dk, c, data, kv, 1, seq_kv, c->num_kv_heads, c->head_dim);
    project(&r->v, &r->dv, c, data, kv, 2, seq_kv, c->num_kv_heads, c->value_dim);
    struct ref_attention *a = &r->attention;
    a->batch = c->batch, a->num_heads = c->num_heads, a->num_kv_heads = c->num_kv_heads;
    a->seq_q = c->seq_q, a->seq_kv = seq_kv, a->head_dim = c->head_dim, a->value_dim = c->value_dim;
    a->q = r->q, a->k = r->k, a->v = r->v;
    a->dq = r->dq, a->dk = r->dk, a->dv = r->dv;
    a->mask_bool = data->mask;
    a->mask_shape[0] = c->batch, a->mask_shape[1] = a->mask_shape[2] = 1, a->mask_shape[3] = seq_kv;
    a->scale = c->scale, a->causal = c->causal;
    ref_attention_run(a);
    finish(r, c, data);
    if (kv != x) free(kv);
    free(x);
}

void layer_reference_free(struct layer_reference *r) {
    double *all[] = {r->q, r->dq, r->k, r->dk, r->v, r->dv, r->out, r->dout};
    for (size_t i = 0; i < TEST_COUNT(all); i++)
        free(all[i]);
    ref_attention_free(&r->attention);
    memset(r, 0, sizeof *r);
}
