#include "support/reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "support/fixture.h"

/* Half a unit in the last place of 1: the relative error of one fp32 operation. */
#define U 0x1p-24
/* The bounds are first-order; the products of small errors that they drop are far below one percent. */
#define FIRST_ORDER 1.01
/* Results below this may be flushed to zero. */
#define TINY ((double)FLT_MIN)

double *ref_doubles(const float *values, size_t n) {
    double *out = test_alloc(n, sizeof(double));
    for (size_t i = 0; i < n; i++)
        out[i] = (double)values[i];
    return out;
}

/*
 * Exact x: |error| <= (in + 2) u (sum |x w| + |b|), as qkv/linear.h promises.
 * x known within dx: sum dx |w| on top, and the promise applies to |x| + dx.
 */
void ref_linear(double *y, double *dy, const double *x, const double *dx, size_t rows, size_t in, const float *weight,
                qkv_weight_layout layout, const float *bias, size_t out) {
    size_t step_out = layout == QKV_WEIGHT_OUT_IN ? in : 1, step_in = layout == QKV_WEIGHT_OUT_IN ? 1 : out;
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) {
            double sum = bias ? (double)bias[o] : 0, magnitude = fabs(sum), carried = 0;
            for (size_t i = 0; i < in; i++) {
                double w = (double)weight[o * step_out + i * step_in], value = x[r * in + i];
                sum += value * w;
                magnitude += fabs(value * w);
                if (dx) carried += dx[r * in + i] * fabs(w);
            }
            y[r * out + o] = sum;
            dy[r * out + o] = FIRST_ORDER * ((double)(in + 2) * U * (magnitude + carried) + carried) + TINY;
        }
}

void ref_split_heads(double *out, const double *in, size_t batch, size_t heads, size_t seq, size_t dim) {
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < heads; h++)
            for (size_t s = 0; s < seq; s++)
                for (size_t d = 0; d < dim; d++)
                    out[((b * heads + h) * seq + s) * dim + d] = in[((b * seq + s) * heads + h) * dim + d];
}

void ref_join_heads(double *out, const double *in, size_t batch, size_t heads, size_t seq, size_t dim) {
    for (size_t b = 0; b < batch; b++)
        for (size_t h = 0; h < heads; h++)
            for (size_t s = 0; s < seq; s++)
                for (size_t d = 0; d < dim; d++)
                    out[((b * seq + s) * heads + h) * dim + d] = in[((b * heads + h) * seq + s) * dim + d];
}

/* long double, since a double's angle at a far position is itself off. */
struct ref_angle ref_rotary_angle(double position, double frequency, double magnitude) {
    const long double angle = (long double)position * (long double)frequency;
    const double own = (double)(fabsl(angle) * LDBL_EPSILON);
    return (struct ref_angle){.cos = magnitude * (double)cosl(angle),
                              .sin = magnitude * (double)sinl(angle),
                              .error = FIRST_ORDER * magnitude * (4 * U + own) + TINY};
}

/*
 * x[i] c - x[j] s: two products and their difference, 2 u (|x[i] c| + |x[j] s|); what x, c and s are off by carries over.
 */
static void rotary_term(double *y, double *dy, double a, double da, double c, double b, double db, double s,
                        double error) {
    const double carried = da * fabs(c) + db * fabs(s) + (fabs(a) + da + fabs(b) + db) * error;
    *y = a * c - b * s;
    *dy = FIRST_ORDER * (2 * U * (fabs(a * c) + fabs(b * s) + carried) + carried) + TINY;
}

void ref_rotary(double *y, double *dy, const double *x, const double *dx, const struct ref_angle *angles,
                size_t head_dim, size_t rotary_dim, bool interleaved) {
    for (size_t d = rotary_dim; d < head_dim; d++) {
        y[d] = x[d];
        dy[d] = dx ? dx[d] : 0;
    }
    for (size_t p = 0; p < rotary_dim / 2; p++) {
        const struct ref_angle *t = &angles[p];
        const size_t i = interleaved ? 2 * p : p, j = interleaved ? i + 1 : p + rotary_dim / 2;
        const double di = dx ? dx[i] : 0, dj = dx ? dx[j] : 0;
        rotary_term(&y[i], &dy[i], x[i], di, t->cos, x[j], dj, t->sin, t->error);
        rotary_term(&y[j], &dy[j], x[j], dj, t->cos, x[i], di, -t->sin, t->error);
    }
}

/* Where the mask's element for (b, h, i, j) lies. */
static size_t mask_at(const struct ref_attention *a, size_t b, size_t h, size_t i, size_t j) {
    const size_t at[4] = {b, h, i, j};
    size_t index = 0;
    for (size_t axis = 0; axis < 4; axis++)
        index = index * a->mask_shape[axis] + (a->mask_shape[axis] == 1 ? 0 : at[axis]);
    return index;
}

static bool is_excluded(const struct ref_attention *a, size_t b, size_t h, size_t i, size_t j) {
    if (a->causal == QKV_CAUSAL_FIRST && j > i) return true;
    if (a->causal == QKV_CAUSAL_LAST && j + a->seq_q > i + a->seq_kv) return true;
    if (a->mask_bool && !a->mask_bool[mask_at(a, b, h, i, j)]) return true;
    return a->mask_add && a->mask_add[mask_at(a, b, h, i, j)] == -INFINITY;
}

/*
 * A score is one dot product of head_dim terms, scaled and with the mask added. Its error:
 *   (head_dim + 3) u scale sum |q k|    the sum; q times the scale; the scale's own rounding
 *   4 u (|scaled dot| + |mask|)         constants of a change of base (log2 e) there and back, the addition
 *   scale sum (dq |k| + |q| dk + dq dk) what q and k bring with them
 */
static void score_at(const struct ref_attention *a, double scale, size_t q_row, size_t k_row, double mask,
                     double *score, double *error) {
    double dot = 0, magnitude = 0, carried = 0;
    for (size_t d = 0; d < a->head_dim; d++) {
        size_t qi = q_row * a->head_dim + d, ki = k_row * a->head_dim + d;
        double dq = a->dq ? a->dq[qi] : 0, dk = a->dk ? a->dk[ki] : 0;
        dot += a->q[qi] * a->k[ki];
        magnitude += fabs(a->q[qi] * a->k[ki]);
        carried += dq * fabs(a->k[ki]) + dk * fabs(a->q[qi]) + dq * dk;
    }
    *score = scale * dot + mask;
    *error = FIRST_ORDER * (((double)a->head_dim + 3) * U * fabs(scale) * (magnitude + carried) +
                            4 * U * (fabs(scale * dot) + fabs(mask)) + fabs(scale) * carried) +
             TINY;
}

/*
 * One row. With s the scores, m their maximum, w the weights, n = seq_kv:
 *   e[j]  = ds[j] + 3 u (m - s[j]) + (6 + 8 n) u
 *           relative error of exp(s[j] - m): its argument's; the subtraction and a change of base; 3 units in the
 *           last place of exp() (6 u); at most n rescales of a block, each an exp and a product (8 u). The rescales'
 *           own arguments add up to m - s[j] at most, so they are counted once. The computed m cancels.
 *   l     = sum of those exps: relative error  el = sum_j w[j] e[j] + n u
 *   w[j]  : relative error  e[j] + el + 4 u (the division)
 *   out   : sum_j w[j] |v[j]| (e[j] + el + (n + 4) u), and sum_j w[j] dv[j]
 *   lse   : m + log l: el + 4 u (|m| + |log l|) + 6 u |log l|, the roundings of a sum and of log()
 * Relative errors grow as exp(x) - 1, which matters where scores are large.
 */
static void softmax_row(const struct ref_attention *a, size_t row, size_t v_first) {
    size_t n = a->seq_kv;
    const double *s = a->scores + row * n, *ds = a->dscores + row * n;
    double *w = a->weights + row * n, *dw = a->dweights + row * n;
    double *out = a->out + row * a->value_dim, *dout = a->dout + row * a->value_dim;
    double m = -INFINITY, l = 0, el = (double)n * U, keys = (double)n;
    for (size_t j = 0; j < n; j++)
        m = s[j] > m || isnan(s[j]) ? s[j] : m;
    a->logsumexp[row] = -INFINITY;
    a->dlogsumexp[row] = 0;
    if (m == -INFINITY) return;
    for (size_t j = 0; j < n; j++)
        l += s[j] == -INFINITY ? 0 : exp(s[j] - m);
    for (size_t j = 0; j < n; j++) {
        if (s[j] == -INFINITY) {
            dw[j] = isnan(m) ? NAN : 0; /* a row of NaN: what stands at its excluded keys is left open */
            continue;
        }
        w[j] = exp(s[j] - m) / l;
        dw[j] = ds[j] + 3 * U * (m - s[j]) + (6 + 8 * keys) * U;
        el += w[j] > 0 ? w[j] * dw[j] : 0;
    }
    a->logsumexp[row] = m + log(l);
    a->dlogsumexp[row] = FIRST_ORDER * (expm1(el) + 4 * U * (fabs(m) + log(l)) + 6 * U * log(l)) + TINY;
    for (size_t j = 0; j < n; j++) {
        if (s[j] == -INFINITY) continue;
        double relative = dw[j] + el + 4 * U;
        for (size_t d = 0; d < a->value_dim; d++) {
            double v = a->v[(v_first + j) * a->value_dim + d];
            double dv = a->dv ? a->dv[(v_first + j) * a->value_dim + d] : 0;
            out[d] += w[j] * v;
            dout[d] += FIRST_ORDER * (w[j] * (fabs(v) + dv) * (w[j] > 0 ? expm1(relative + keys * U) : 0) + w[j] * dv) +
                       TINY * (1 + fabs(v));
        }
        dw[j] = FIRST_ORDER * (w[j] > 0 ? w[j] * expm1(relative) : 0) + 2 * TINY;
    }
}

void ref_attention_run(struct ref_attention *a) {
    size_t rows = a->batch * a->num_heads * a->seq_q, group = a->num_heads / a->num_kv_heads;
    double scale = a->scale != 0 ? (double)a->scale : 1 / sqrt((double)a->head_dim);
    a->out = test_alloc(rows * a->value_dim, sizeof(double));
    a->dout = test_alloc(rows * a->value_dim, sizeof(double));
    a->weights = test_alloc(rows * a->seq_kv, sizeof(double));
    a->dweights = test_alloc(rows * a->seq_kv, sizeof(double));
    a->scores = test_alloc(rows * a->seq_kv, sizeof(double));
    a->dscores = test_alloc(rows * a->seq_kv, sizeof(double));
    a->logsumexp = test_alloc(rows, sizeof(double));
    a->dlogsumexp = test_alloc(rows, sizeof(double));
    for (size_t row = 0; row < rows; row++) {
        size_t i = row % a->seq_q, h = row / a->seq_q % a->num_heads, b = row / a->seq_q / a->num_heads;
        size_t kv_first = (b * a->num_kv_heads + h / group) * a->seq_kv;
        for (size_t j = 0; j < a->seq_kv; j++) {
            double *score = a->scores + row * a->seq_kv + j, *error = a->dscores + row * a->seq_kv + j;
            *score = -INFINITY;
            if (!is_excluded(a, b, h, i, j))
                score_at(a, scale, row, kv_first + j, a->mask_add ? (double)a->mask_add[mask_at(a, b, h, i, j)] : 0,
                         score, error);
        }
        softmax_row(a, row, kv_first);
    }
}

void ref_attention_free(struct ref_attention *a) {
    double *results[] = {a->out, a->dout, a->weights, a->dweights, a->scores, a->dscores, a->logsumexp, a->dlogsumexp};
    for (size_t i = 0; i < TEST_COUNT(results); i++)
        free(results[i]);
    a->out = a->dout = a->weights = a->dweights = a->scores = a->dscores = a->logsumexp = a->dlogsumexp = NULL;
}
