/* The nodes in double precision, straight from the operators' text. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/node.h"

/* Results below it may be flushed to zero. */
#define TINY ((double)FLT_MIN)

/* Whose arithmetic a bound is for: the roundoff of a step, and the roundings of one score beyond its products. */
typedef struct arithmetic {
    double u, steps, tiny;
} arithmetic;

enum { OURS, GIVEN, BOTH };

/* What one query's row needs: of each key the score before and after the cap and the masks, and the score's error. */
typedef struct row_space {
    double *raw, *capped, *score, *weight, *error[BOTH], *relative[BOTH];
} row_space;

typedef struct evaluation {
    const onnx_attention *node;
    onnx_values *y, *qk; /* qk NULL: not wanted */
    arithmetic by[BOTH];
    double scale;
    row_space row;
    bool nan; /* so is the row's softmax */
} evaluation;

static bool values_create(onnx_values *out, size_t count, tool_error *error) {
    out->count = count;
    out->value = tool_alloc(count, sizeof(double), error);
    out->ours = tool_alloc(count, sizeof(double), error);
    out->given = tool_alloc(count, sizeof(double), error);
    out->either = tool_alloc(count, sizeof(bool), error);
    return out->value != NULL && out->ours != NULL && out->given != NULL && out->either != NULL;
}

static void set(onnx_values *out, size_t at, double value, double ours, double given) {
    out->value[at] = value;
    out->ours[at] = ours;
    out->given[at] = given;
}

static qkv_dtype softmax_dtype(const onnx_attributes *attributes) {
    return attributes->softmax_precision == 10 ? QKV_F16 : attributes->softmax_precision == 16 ? QKV_BF16 : QKV_F32;
}

static arithmetic coarsest(const qkv_dtype *dtypes, size_t count) {
    arithmetic out = {.u = onnx_roundoff(QKV_F32), .steps = 8, .tiny = TINY};
    for (size_t i = 0; i < count; i++) {
        out.u = fmax(out.u, onnx_roundoff(dtypes[i]));
        out.tiny = fmax(out.tiny, onnx_spacing(dtypes[i], 0));
    }
    return out;
}

/* Element (batch, head, token, d) of Q, K or V. */
static double element(const onnx_tensor *t, bool packed, size_t heads, size_t seq, size_t dim, const size_t *at) {
    const size_t row = packed ? (at[0] * seq + at[2]) * heads + at[1] : (at[0] * heads + at[1]) * seq + at[2];
    return onnx_tensor_at(t, row * dim + at[3]);
}

/* Of the past and what is new, one after the other. */
static double cached(const onnx_attention *n, bool value, size_t b, size_t g, size_t j, size_t d) {
    const onnx_tensor *fresh = value ? n->v : n->k, *past = value ? n->past_v : n->past_k;
    const size_t dim = value ? n->value_dim : n->head_dim;
    if (j < n->seq_past) return element(past, false, n->num_kv_heads, n->seq_past, dim, (const size_t[]){b, g, j, d});
    return element(fresh, n->packed, n->num_kv_heads, n->seq_new, dim, (const size_t[]){b, g, j - n->seq_past, d});
}

/* What the mask adds; -inf past the end of its last axis. */
static double bias(const onnx_attention *n, size_t b, size_t h, size_t i, size_t j) {
    const size_t at[4] = {b, h, i, j}, first = n->mask == NULL ? 4 : 4 - n->mask->rank;
    size_t index = 0;
    if (n->mask == NULL) return 0;
    for (size_t axis = first; axis < 4; axis++) {
        const size_t size = n->mask->shape[axis - first];
        if (axis == 3 && j >= size) return -(double)INFINITY;
        index = index * size + (size == 1 ? 0 : at[axis]);
    }
    const double value = onnx_tensor_at(n->mask, index);
    return n->mask->dtype != QKV_BOOL ? value : value != 0 ? 0 : -(double)INFINITY;
}

/* By causality, window and length; the mask aside. */
static bool admitted(const onnx_attention *n, size_t b, size_t i, size_t j) {
    const onnx_attributes *a = n->attributes;
    double position = (double)i + (double)n->seq_past;
    const double key = (double)j;
    if (n->lengths != NULL) {
        const double length = onnx_tensor_at(n->lengths, b);
        position = (double)i + length - (double)n->seq_q;
        if (key >= length) return false;
    }
    return !(a->is_causal && key > position) &&
           !(a->left_window_size >= 0 && key < position - (double)a->left_window_size) &&
           !(a->right_window_size >= 0 && key > position + (double)a->right_window_size);
}

/*
 * The score of one key. With u the roundoff and |q k| the sum of the products' magnitudes: the products and their sum
 * are off by (head_dim + steps) u |scale| |q k|; the cap shrinks that and adds 5 units in the last place of tanh() and
 * what its argument and factor are rounded by, 15 u |capped| in all; the mask is one more sum.
 */
static void score(evaluation *job, size_t b, size_t h, size_t i, size_t j) {
    const onnx_attention *n = job->node;
    const size_t g = h / (n->num_heads / n->num_kv_heads);
    double dot = 0, magnitude = 0;
    for (size_t d = 0; d < n->head_dim; d++) {
        const double q = element(n->q, n->packed, n->num_heads, n->seq_q, n->head_dim, (const size_t[]){b, h, i, d});
        const double product = q * cached(n, false, b, g, j, d);
        dot += product;
        magnitude += fabs(product);
    }
    const double raw = job->scale * dot, cap = n->attributes->softcap;
    const double capped = cap > 0 ? cap * tanh(raw / cap) : raw, added = bias(n, b, h, i, j);
    const bool excluded = !admitted(n, b, i, j) || added == -(double)INFINITY;
    job->row.raw[j] = raw;
    job->row.capped[j] = capped;
    job->row.score[j] = excluded ? -(double)INFINITY : capped + added;
    for (int k = 0; k < BOTH; k++) {
        const arithmetic *by = &job->by[k];
        job->row.error[k][j] =
            by->u * ((double)n->head_dim + by->steps) * fabs(job->scale) * magnitude + 2 * by->tiny +
            by->u * ((cap > 0 ? 15 * fabs(capped) : 0) + (excluded ? 0 : 4 * fabs(added)) + 4 * fabs(capped));
    }
}

/*
 * Weights and their relative errors, after the softmax's bound for online blocks: exp()'s argument is off by the score's
 * error and by its subtraction from the maximum m, exp() by 3 units in the last place; there are at most n rescales of an
 * exp and a product; the sum has the weights' mean error and its own.
 */
static void soften(evaluation *job) {
    const size_t n = job->node->seq_kv;
    const row_space *r = &job->row;
    double most = -(double)INFINITY, sum = 0, mean[BOTH];
    for (size_t j = 0; j < n; j++)
        if (isnan(r->score[j]) || r->score[j] > most) most = r->score[j];
    for (size_t j = 0; j < n; j++) {
        r->weight[j] = r->score[j] == -(double)INFINITY ? 0 : exp(r->score[j] - most);
        sum += r->weight[j];
    }
    for (int k = 0; k < BOTH; k++) {
        const double u = job->by[k].u, keys = (double)n;
        mean[k] = keys * u;
        for (size_t j = 0; j < n; j++) {
            if (k == OURS && sum > 0) r->weight[j] /= sum;
            r->relative[k][j] = r->error[k][j] + 3 * u * fabs(most - r->score[j]) + (10 + 8 * keys) * u;
            if (r->weight[j] > 0) mean[k] += r->weight[j] * expm1(r->relative[k][j]);
        }
        for (size_t j = 0; j < n; j++)
            r->relative[k][j] = r->weight[j] > 0 ? expm1(r->relative[k][j] + mean[k] + keys * u) : 0;
    }
    job->nan = isnan(most);
}

static void write_scores(const evaluation *job, size_t first) {
    const row_space *r = &job->row;
    const int64_t mode = job->node->attributes->qk_matmul_output_mode;
    const double *from = mode == 0 ? r->raw : mode == 1 ? r->capped : mode == 2 ? r->score : r->weight;
    for (size_t j = 0; j < job->node->seq_kv; j++) {
        double bound[BOTH];
        for (int k = 0; k < BOTH; k++)
            bound[k] = mode < 3 ? r->error[k][j] : r->weight[j] * r->relative[k][j] + 2 * job->by[k].tiny;
        set(job->qk, first + j, from[j], bound[OURS], bound[GIVEN]);
        job->qk->either[first + j] = r->score[j] == -(double)INFINITY &&
                                     (mode == 2 ? !(r->capped[j] < (double)INFINITY) : mode == 3 && job->nan);
    }
}

static void write_row(const evaluation *job, size_t b, size_t h, size_t i) {
    const onnx_attention *n = job->node;
    const size_t g = h / (n->num_heads / n->num_kv_heads);
    const size_t row = n->packed ? (b * n->seq_q + i) * n->num_heads + h : (b * n->num_heads + h) * n->seq_q + i;
    for (size_t d = 0; d < n->value_dim; d++) {
        double sum = 0, bound[BOTH] = {0, 0};
        for (size_t j = 0; j < n->seq_kv; j++) {
            if (job->row.score[j] == -(double)INFINITY) continue;
            const double v = cached(n, true, b, g, j, d);
            sum += job->row.weight[j] * v;
            for (int k = 0; k < BOTH; k++)
                bound[k] +=
                    job->row.weight[j] * fabs(v) * job->row.relative[k][j] + 2 * job->by[k].tiny * (1 + fabs(v));
        }
        set(job->y, row * n->value_dim + d, sum, bound[OURS], bound[GIVEN]);
    }
}

static void evaluate_rows(evaluation *job) {
    const onnx_attention *n = job->node;
    for (size_t b = 0; b < n->batch; b++)
        for (size_t h = 0; h < n->num_heads; h++)
            for (size_t i = 0; i < n->seq_q; i++) {
                for (size_t j = 0; j < n->seq_kv; j++)
                    score(job, b, h, i, j);
                soften(job);
                write_row(job, b, h, i);
                if (job->qk != NULL) write_scores(job, ((b * n->num_heads + h) * n->seq_q + i) * n->seq_kv);
            }
}

static bool evaluate_present(onnx_values *out, const onnx_attention *n, bool value, tool_error *error) {
    const size_t dim = value ? n->value_dim : n->head_dim;
    size_t at = 0;
    if (!values_create(out, n->batch * n->num_kv_heads * n->seq_kv * dim, error)) return false;
    for (size_t b = 0; b < n->batch; b++)
        for (size_t g = 0; g < n->num_kv_heads; g++)
            for (size_t j = 0; j < n->seq_kv; j++)
                for (size_t d = 0; d < dim; d++)
                    set(out, at++, cached(n, value, b, g, j, d), 0, 0);
    return true;
}

bool onnx_attention_evaluate(onnx_values *out, const onnx_attention *node, const bool *wanted, tool_error *error) {
    const onnx_attributes *a = node->attributes;
    const size_t rows = node->batch * node->num_heads * node->seq_q, keys = node->seq_kv;
    const qkv_dtype dtypes[] = {node->q->dtype, node->v->dtype, softmax_dtype(a)};
    evaluation job = {.node = node,
                      .y = &out[0],
                      .qk = wanted[3] ? &out[3] : NULL,
                      .by = {{onnx_roundoff(QKV_F32), 3, TINY}, coarsest(dtypes, 3)},
                      .scale = !a->has_scale   ? 1 / sqrt((double)node->head_dim)
                               : a->scale != 0 ? a->scale
                                               : ONNX_SCALE_ZERO};
    row_space *row = &job.row;
    double **const lists[] = {&row->raw,      &row->capped,   &row->score,       &row->weight,
                              &row->error[0], &row->error[1], &row->relative[0], &row->relative[1]};
    bool ok = values_create(&out[0], rows * node->value_dim, error);
    if (ok && wanted[1]) ok = evaluate_present(&out[1], node, false, error);
    if (ok && wanted[2]) ok = evaluate_present(&out[2], node, true, error);
    if (ok && wanted[3]) ok = values_create(&out[3], rows * keys, error);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        *lists[i] = ok ? tool_alloc(keys, sizeof(double), error) : NULL;
        ok = ok && *lists[i] != NULL;
    }
    if (ok) evaluate_rows(&job);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        free(*lists[i]);
    return ok;
}
