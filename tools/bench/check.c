/* Sampled outputs against double precision, so that no figure stands for a wrong result. */
#include "bench.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define SAMPLES 8
#define UNIT (0.5 * (double)FLT_EPSILON) /* rounding error of one fp32 operation */

/* A sum of `terms` products in fp32, any order, whose magnitudes add up to `magnitude`. */
static double sum_bound(size_t terms, double magnitude)
{
    return (double)(terms + 2) * UNIT * magnitude;
}

double bench_projection_bound(const struct bench_case *c)
{
    /* |x| <= 1, |w| <= the weights' scale; once for each side. */
    double magnitude = (double)c->in_features * (double)bench_weight_scale(c->in_features);
    return 2 * sum_bound(c->in_features, magnitude);
}

/* The sample's index: the first, the last, and some between. */
static size_t sample(size_t i, size_t count)
{
    if (i == 0 || count == 1) {
        return 0;
    }
    return i == 1 ? count - 1 : (i * 2654435761u) % count;
}

static void note_error(double *worst, double got, double expected, double bound)
{
    double part = fabs(got - expected) / bound;
    if (!(part <= *worst)) { /* NaN counts as the largest */
        *worst = isnan(part) ? INFINITY : part;
    }
}

static double projected(const float *x, enum bench_seed seed, size_t column, size_t in, double *magnitude)
{
    float scale = bench_weight_scale(in);
    double sum = 0;
    *magnitude = 0;
    for (size_t k = 0; k < in; ++k) {
        double term = (double)x[k] * (double)(bench_value(seed, column * in + k) * scale);
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

static bool check_projection(const struct bench_case *c, const float *output, double *worst)
{
    for (size_t i = 0; i < SAMPLES; ++i) {
        size_t row = sample(i, c->rows);
        float *x = bench_values(BENCH_SEED_X, row * c->in_features, c->in_features, 1.0f);
        if (!x) {
            return false;
        }
        for (size_t j = 0; j < SAMPLES; ++j) {
            size_t column = sample(j, c->out_features);
            double magnitude = 0, expected = projected(x, BENCH_SEED_W, column, c->in_features, &magnitude);
            note_error(worst, (double)output[row * c->out_features + column], expected,
                       sum_bound(c->in_features, magnitude));
        }
        free(x);
    }
    return true;
}

struct attend_bounds {
    double out;    /* on fp32's error in any output */
    double weight; /* the same for a weight, as a part of it */
};

/* One query row in double: out[value_dim], and p[seq_kv] the weights. */
static struct attend_bounds attend(const struct bench_case *c, const float *q, const float *k, const float *v,
                                   size_t first, size_t keys, double *p, double *out)
{
    double scale = 1.0 / sqrt((double)c->head_dim), top = -INFINITY, sum = 0, worst_magnitude = 0, value_max = 0;
    for (size_t j = first; j < keys; ++j) {
        double score = 0, magnitude = 0;
        for (size_t d = 0; d < c->head_dim; ++d) {
            double term = (double)q[d] * (double)k[j * c->head_dim + d];
            score += term;
            magnitude += fabs(term);
        }
        p[j] = score * scale;
        if (c->softcap != 0.0f) {
            p[j] = (double)c->softcap * tanh(p[j] / (double)c->softcap);
        }
        top = fmax(top, p[j]);
        worst_magnitude = fmax(worst_magnitude, magnitude * scale);
    }
    for (size_t j = first; j < keys; ++j) {
        p[j] = exp(p[j] - top);
        sum += p[j];
    }
    for (size_t d = 0; d < c->value_dim; ++d) {
        out[d] = 0;
    }
    for (size_t j = first; j < keys; ++j) {
        p[j] /= sum;
        for (size_t d = 0; d < c->value_dim; ++d) {
            out[d] += p[j] * (double)v[j * c->value_dim + d];
            value_max = fmax(value_max, fabs((double)v[j * c->value_dim + d]));
        }
    }
    /* A score off by e makes its weight off by a factor of 1 + e, above and below the line; so do the roundings of
     * the exponential (8 units with its argument's reduction) and of sums of `keys` terms. */
    double score_error = sum_bound(c->head_dim + 1, worst_magnitude);
    /* tanh is within 5 units of an argument that is divided. */
    score_error += c->softcap != 0.0f ? 8 * UNIT * worst_magnitude : 0;
    double relative = 2 * (score_error + 8 * UNIT + (double)(keys + 2) * UNIT);
    /* A half has 11 bits. */
    const double stored = c->half ? 0x1p-11 : 0;
    return (struct attend_bounds){value_max * (relative + stored), relative};
}

static void check_weights(const struct bench_case *c, const float *row, const double *p, size_t keys, double bound,
                          double *worst)
{
    for (size_t j = 0; j < c->seq_kv; ++j) {
        double expected = j < keys ? p[j] : 0;
        note_error(worst, (double)row[j], expected, j < keys ? bound * expected + (double)FLT_MIN : (double)FLT_MIN);
    }
}

/* To what was uploaded. */
static void round_inputs(const struct bench_case *c, float *q, float *k, float *v)
{
    const struct {
        float *values;
        size_t count;
    } all[] = {{q, c->head_dim}, {k, c->seq_kv * c->head_dim}, {v, c->seq_kv * c->value_dim}};
    for (size_t t = 0; t < 3 && c->half; ++t) {
        for (size_t i = 0; i < all[t].count; ++i) {
            all[t].values[i] = bench_half_value(all[t].values[i]);
        }
    }
}

static bool check_attention(struct bench_subject *subject, const float *output, double *worst, char *error,
                            size_t error_size)
{
    const struct bench_case *c = bench_subject_case(subject);
    double *p = malloc(c->seq_kv * sizeof *p), *out = malloc(c->value_dim * sizeof *out);
    size_t num_weights = 0;
    float *weights = c->weights ? bench_subject_weights(subject, &num_weights, error, error_size) : NULL;
    bool good = p && out && (weights || !c->weights);
    for (size_t i = 0; good && i < SAMPLES; ++i) {
        size_t head = sample(i, c->batch * c->num_heads), query = sample(i + 1, c->seq_q);
        size_t b = head / c->num_heads, h = head % c->num_heads;
        size_t kv = b * c->num_kv_heads + h / (c->num_heads / c->num_kv_heads);
        size_t row = head * c->seq_q + query, keys = c->causal ? query + 1 : c->seq_kv;
        size_t first = c->window && query + 1 > c->window ? query + 1 - c->window : 0;
        float *q = bench_values(BENCH_SEED_Q, row * c->head_dim, c->head_dim, 1.0f);
        float *k = bench_values(BENCH_SEED_K, kv * c->seq_kv * c->head_dim, c->seq_kv * c->head_dim, 1.0f);
        float *v = bench_values(BENCH_SEED_V, kv * c->seq_kv * c->value_dim, c->seq_kv * c->value_dim, 1.0f);
        good = q && k && v;
        if (good) {
            round_inputs(c, q, k, v);
            struct attend_bounds bounds = attend(c, q, k, v, first, keys, p, out);
            for (size_t d = 0; d < c->value_dim; ++d) {
                note_error(worst, (double)output[row * c->value_dim + d], out[d], bounds.out);
            }
            if (weights) {
                check_weights(c, weights + row * c->seq_kv, p, keys, bounds.weight, worst);
            }
        }
        free(q);
        free(k);
        free(v);
    }
    free(p);
    free(out);
    free(weights);
    return good;
}

/* q, k and v of a layer, sampled, against x W^T + b. */
static bool check_layer_parts(const struct bench_case *c, float *parts[3], double *worst)
{
    size_t e = c->embed_dim, d = c->head_dim;
    float bias_scale = bench_weight_scale(e);
    for (size_t i = 0; i < SAMPLES; ++i) {
        size_t token = sample(i, c->batch * c->seq_q), b = token / c->seq_q, t = token % c->seq_q;
        float *x = bench_values(BENCH_SEED_X, token * e, e, 1.0f);
        if (!x) {
            return false;
        }
        for (size_t j = 0; j < 3 * SAMPLES; ++j) {
            size_t which = j % 3, feature = sample(j / 3, e);
            double magnitude = 0, expected = projected(x, BENCH_SEED_W, which * e + feature, e, &magnitude);
            double bias = (double)(bench_value(BENCH_SEED_B, which * e + feature) * bias_scale);
            size_t at = ((b * c->num_heads + feature / d) * c->seq_q + t) * d + feature % d;
            note_error(worst, (double)parts[which][at], expected + bias, sum_bound(e, magnitude + fabs(bias)));
        }
        free(x);
    }
    return true;
}

/* One token's heads in double from the layer's own q, k and v; *bound: on fp32's error in any of them. */
static void layer_heads(const struct bench_case *c, float *parts[3], size_t token, double *p, double *heads,
                        double *bound)
{
    size_t b = token / c->seq_q, t = token % c->seq_q, d = c->head_dim;
    *bound = 0;
    for (size_t h = 0; h < c->num_heads; ++h) {
        size_t first = (b * c->num_heads + h) * c->seq_q;
        *bound = fmax(*bound, attend(c, parts[0] + (first + t) * d, parts[1] + first * d, parts[2] + first * d, 0,
                                     c->causal ? t + 1 : c->seq_kv, p, heads + h * d).out);
    }
}

static bool check_layer(struct bench_subject *subject, const float *output, double *worst, char *error,
                        size_t error_size)
{
    const struct bench_case *c = bench_subject_case(subject);
    size_t e = c->embed_dim;
    float scale = bench_weight_scale(e), *parts[3] = {NULL, NULL, NULL};
    double *p = malloc(c->seq_kv * sizeof *p), *heads = malloc(e * sizeof *heads), bound = 0;
    bool good = p && heads && bench_subject_layer_parts(subject, parts, error, error_size) &&
                check_layer_parts(c, parts, worst);
    for (size_t i = 0; good && i < SAMPLES; ++i) {
        size_t token = sample(i, c->batch * c->seq_q);
        layer_heads(c, parts, token, p, heads, &bound);
        for (size_t j = 0; j < SAMPLES; ++j) {
            size_t column = sample(j, e);
            double bias = (double)(bench_value(BENCH_SEED_BO, column) * scale), sum = bias, magnitude = fabs(bias);
            double weight_sum = 0;
            for (size_t k = 0; k < e; ++k) {
                double w = (double)(bench_value(BENCH_SEED_WO, column * e + k) * scale);
                sum += w * heads[k];
                magnitude += fabs(w * heads[k]);
                weight_sum += fabs(w);
            }
            note_error(worst, (double)output[token * e + column], sum, sum_bound(e, magnitude) + bound * weight_sum);
        }
    }
    for (int i = 0; i < 3; ++i) {
        free(parts[i]);
    }
    free(p);
    free(heads);
    return good;
}

/* Half-split pairs, turned by position * 10000^(-2 p / head_dim). */
static bool check_rotary(const struct bench_case *c, const float *output, double *worst)
{
    const size_t half = c->head_dim / 2;
    for (size_t i = 0; i < SAMPLES; ++i) {
        const size_t row = sample(i, c->batch * c->num_heads * c->seq_q);
        float *x = bench_values(BENCH_SEED_Q, row * c->head_dim, c->head_dim, 1.0f);
        for (size_t p = 0; x && p < half; ++p) {
            const double angle = (double)(row % c->seq_q) * pow(10000.0, -2.0 * (double)p / (double)c->head_dim);
            const double a = (double)x[p], b = (double)x[p + half], size = fabs(a) + fabs(b);
            const float *y = output + row * c->head_dim;
            /* As include/qkv/rotary.h has it. */
            const double bound = (0x1p-23 + 0x1p-22) * size;
            note_error(worst, (double)y[p], a * cos(angle) - b * sin(angle), bound);
            note_error(worst, (double)y[p + half], b * cos(angle) + a * sin(angle), bound);
        }
        free(x);
        if (!x) {
            return false;
        }
    }
    return true;
}

bool bench_check(struct bench_subject *subject, const float *output, double *worst, char *error, size_t error_size)
{
    const struct bench_case *c = bench_subject_case(subject);
    *worst = 0;
    snprintf(error, error_size, "out of memory");
    switch (c->kind) {
    case BENCH_PROJECTION:
        return check_projection(c, output, worst);
    case BENCH_LAYER:
        return check_layer(subject, output, worst, error, error_size);
    case BENCH_ROTARY:
        return check_rotary(c, output, worst);
    case BENCH_ATTENTION:
    case BENCH_DECODE:
    case BENCH_START:
    case BENCH_KNOWN:
        break;
    }
    return check_attention(subject, output, worst, error, error_size);
}
