#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/semantics_case.h"

/* As in reference.c: half a unit in the last place of 1; first-order bounds; results below may be flushed to zero. */
#define U 0x1p-24
#define FIRST_ORDER 1.01
#define TINY ((double)FLT_MIN)

struct semantics_reach semantics_reach(const struct semantics_case *c, const struct semantics_data *data, size_t b,
                                       size_t i) {
    struct semantics_reach r = {.first = 0, .end = (double)c->seq_kv};
    if (data->lengths) r.end = fmin(fmax(data->lengths[b], 0), r.end);
    r.position = (double)i +
                 (c->causal == QKV_CAUSAL_LAST ? r.end - (double)c->seq_q : (double)c->query_offset + (double)c->past);
    if (data->offsets) r.position += data->offsets[b];
    if (c->windowed && c->window.left >= 0) r.first = fmax(r.first, r.position - (double)c->window.left);
    if (c->windowed && c->window.right >= 0) r.end = fmin(r.end, r.position + (double)c->window.right + 1);
    if (c->causal != QKV_CAUSAL_OFF) r.end = fmin(r.end, r.position + 1);
    return r;
}

/* add: what an additive mask adds. A last axis of size 1 is repeated, any other that is too short excludes. */
bool semantics_masked(const struct semantics_case *c, const struct semantics_data *data, size_t b, size_t h, size_t i,
                      size_t j, double *add) {
    const size_t at[4] = {b, h, i, j};
    size_t index = 0;
    *add = 0;
    if (!data->mask) return false;
    if (data->mask_shape[3] != 1 && j >= data->mask_shape[3]) return true;
    for (size_t axis = 0; axis < 4; axis++)
        index = index * data->mask_shape[axis] + (data->mask_shape[axis] == 1 ? 0 : at[axis]);
    if (c->mask == QKV_BOOL) return data->mask[index] == 0;
    *add = data->mask[index];
    return *add == -INFINITY;
}

/* A score at one of its stages, and its error. */
struct value {
    double x, dx;
};

/*
 * The softcap's error: what x is off by, under the slope of tanh() at the point of [x - dx, x + dx] nearest 0; 16 u
 * relative: a division of 2.5 units in the last place (5 u) that tanh's slope does not enlarge, tanh() of 5 units (10 u),
 * a product; and x / c may be flushed to zero.
 */
static struct value capped_score(struct value v, double softcap) {
    if (softcap == 0) return v;
    const double near = fmin(fmax(fabs(v.x) - v.dx, 0) / softcap, 300), slope = 1 / (cosh(near) * cosh(near));
    const double x = softcap * tanh(v.x / softcap);
    return (struct value){x, FIRST_ORDER * (v.dx * slope + 16 * U * fabs(x)) + (1 + softcap) * TINY};
}

/* As reference.c's score_at(), whose 4 u for a change of base are in masked_score(). */
static struct value raw_score(const struct semantics_case *c, const double *q, const double *k, double scale) {
    double dot = 0, magnitude = 0;
    for (size_t d = 0; d < c->head_dim; d++) {
        dot += q[d] * k[d];
        magnitude += fabs(q[d] * k[d]);
    }
    return (struct value){scale * dot, FIRST_ORDER * ((double)c->head_dim + 3) * U * fabs(scale) * magnitude + TINY};
}

/* 6 u of all magnitudes: the distance as a float, the slope's product, two additions, a change of base there and back. */
static struct value masked_score(struct value v, double alibi, double mask) {
    const double magnitudes = fabs(v.x) + fabs(alibi) + fabs(mask);
    return (struct value){v.x - alibi + mask, FIRST_ORDER * (v.dx + 6 * U * magnitudes) + TINY};
}

/* Of w = exp(log_weight) known within a relative error that may be large; no weight is above 1. */
static double weight_error(double log_weight, double relative) {
    const double w = exp(log_weight);
    return relative < 1 ? FIRST_ORDER * w * expm1(relative) : fmin(1, exp(fmin(log_weight + relative, 0)));
}

/*
 * One row's softmax, with the terms of reference.c's softmax_row(); the sink is one more score, exact, without a value.
 * A row of NaN leaves open what stands at its excluded keys. A weight as exp(score - logsumexp) has both errors, and
 * 3 u of each magnitude for their difference in another base and exp()'s argument.
 */
static void softmax_row(const struct semantics_case *c, struct semantics_reference *r, size_t row, double sink) {
    const double *s = r->scores + row * c->seq_kv, *ds = r->dscores + row * c->seq_kv;
    double *w = r->weights + row * c->seq_kv, *dw = r->dweights + row * c->seq_kv;
    double m = sink, l = 0, keys = 1, el;
    for (size_t j = 0; j < c->seq_kv; j++) {
        m = s[j] > m || isnan(s[j]) ? s[j] : m;
        keys += s[j] != -INFINITY;
        w[j] = dw[j] = 0;
    }
    r->logsumexp[row] = -INFINITY;
    r->dlogsumexp[row] = 0;
    if (m == -INFINITY) return;
    for (size_t j = 0; j < c->seq_kv; j++)
        l += s[j] == -INFINITY ? 0 : exp(s[j] - m);
    l += exp(sink - m);
    const double fixed = (6 + 8 * keys) * U;
    el = keys * U + (sink == -INFINITY ? 0 : exp(sink - m) / l * (3 * U * (m - sink) + fixed));
    for (size_t j = 0; j < c->seq_kv; j++) {
        if (s[j] == -INFINITY) continue;
        w[j] = exp(s[j] - m) / l;
        dw[j] = ds[j] + 3 * U * (m - s[j]) + fixed;
        el += w[j] > 0 ? w[j] * dw[j] : 0;
    }
    r->logsumexp[row] = m + log(l);
    r->dlogsumexp[row] = FIRST_ORDER * (expm1(fmin(el, 700)) + 4 * U * (fabs(m) + log(l)) + 6 * U * log(l)) + TINY;
    for (size_t j = 0; j < c->seq_kv; j++) {
        const double lse = r->logsumexp[row], distance = fabs(s[j] - lse) + fabs(s[j]) + fabs(lse);
        const bool excluded = s[j] == -INFINITY;
        const double from_lse = ds[j] + r->dlogsumexp[row] + (3 * distance + 8) * U;
        dw[j] = !excluded ? weight_error(s[j] - lse, dw[j] + el + 4 * U) + 2 * TINY : isnan(l) ? NAN : 0;
        r->dreports[row * c->seq_kv + j] =
            excluded ? dw[j] : fmax(weight_error(s[j] - lse, from_lse) + 2 * TINY, dw[j]);
    }
}

/* out: sum_j w[j] |v[j]| (n + 1) u for its sum, and the weights' own errors. */
static void values_row(const struct semantics_case *c, struct semantics_reference *r, size_t row, const double *v) {
    const double *s = r->scores + row * c->seq_kv, *w = r->weights + row * c->seq_kv,
                 *dw = r->dweights + row * c->seq_kv;
    double *out = r->out + row * c->value_dim, *dout = r->dout + row * c->value_dim;
    const double sum = (double)(c->seq_kv + 1) * U;
    for (size_t j = 0; j < c->seq_kv; j++) {
        if (s[j] == -INFINITY) continue;
        for (size_t d = 0; d < c->value_dim; d++) {
            const double value = v[j * c->value_dim + d];
            out[d] += w[j] * value;
            dout[d] += FIRST_ORDER * fabs(value) * (dw[j] + w[j] * sum) + TINY;
        }
    }
}

static void row_make(struct semantics_reference *r, const struct semantics_case *c, const struct semantics_data *data,
                     size_t row) {
    const size_t i = row % c->seq_q, h = row / c->seq_q % c->num_heads, b = row / c->seq_q / c->num_heads;
    const size_t keys = (b * c->num_kv_heads + h / (c->num_heads / c->num_kv_heads)) * c->seq_kv;
    const double scale = c->scale != 0 ? (double)c->scale : 1 / sqrt((double)c->head_dim);
    const struct semantics_reach reach = semantics_reach(c, data, b, i);
    for (size_t j = 0; j < c->seq_kv; j++) {
        const size_t at = row * c->seq_kv + j;
        const struct value raw = raw_score(c, data->q + row * c->head_dim, data->k + (keys + j) * c->head_dim, scale);
        const struct value capped = capped_score(raw, (double)c->softcap);
        const double alibi = data->slopes ? data->slopes[h] * fabs(reach.position - (double)j) : 0;
        double mask = 0;
        const bool excluded =
            (double)j < reach.first || (double)j >= reach.end || semantics_masked(c, data, b, h, i, j, &mask);
        const struct value masked = excluded ? (struct value){-INFINITY, 0} : masked_score(capped, alibi, mask);
        const struct value stage = c->stage == QKV_SCORES_RAW ? raw : c->stage == QKV_SCORES_CAPPED ? capped : masked;
        r->scores[at] = masked.x;
        r->dscores[at] = masked.dx;
        r->stage[at] = stage.x;
        /* Products of a trap in an excluded key are infinity, NaN or neither, depending on what comes first. */
        r->dstage[at] = c->stage != QKV_SCORES_MASKED && !(raw.dx < 1e25) ? NAN : stage.dx;
        if (isnan(r->dstage[at])) r->stage[at] = 0;
    }
    softmax_row(c, r, row, data->sinks ? data->sinks[h] : -INFINITY);
    values_row(c, r, row, data->v + keys * c->value_dim);
}

void semantics_reference_make(struct semantics_reference *r, const struct semantics_case *c,
                              const struct semantics_data *data) {
    const size_t rows = c->batch * c->num_heads * c->seq_q;
    const size_t pairs = rows * c->seq_kv;
    const struct {
        double **to;
        size_t n;
    } all[] = {{&r->out, rows * c->value_dim},
               {&r->dout, rows * c->value_dim},
               {&r->weights, pairs},
               {&r->dweights, pairs},
               {&r->scores, pairs},
               {&r->dscores, pairs},
               {&r->stage, pairs},
               {&r->dstage, pairs},
               {&r->dreports, pairs},
               {&r->logsumexp, rows},
               {&r->dlogsumexp, rows}};
    for (size_t n = 0; n < TEST_COUNT(all); n++)
        *all[n].to = test_alloc(all[n].n, sizeof(double));
    for (size_t row = 0; row < rows; row++)
        row_make(r, c, data, row);
}

void semantics_reference_free(struct semantics_reference *r) {
    double *all[] = {r->out,       r->dout,       r->weights, r->dweights, r->scores,  r->dscores,
                     r->logsumexp, r->dlogsumexp, r->stage,   r->dstage,   r->dreports};
    for (size_t n = 0; n < TEST_COUNT(all); n++)
        free(all[n]);
    memset(r, 0, sizeof *r);
}
