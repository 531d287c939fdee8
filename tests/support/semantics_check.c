#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/semantics_case.h"
#include "support/storage.h"

/* Half a unit in the last place of 1, and what may be flushed to zero, as in reference.c. */
#define U 0x1p-24
#define TINY 0x1p-126

/* As compare.h says, plus what the store rounds off. */
static bool is_close(double got, double expected, double bound, qkv_dtype dtype) {
    if (isnan(expected)) return isnan(got);
    if (isnan(bound)) return true;
    if (isinf(expected)) return got == expected;
    const double stored = bound + storage_error(fabs(expected) + bound, dtype);
    if (isinf(got)) return dtype == QKV_F16 && got * expected > 0 && fabs(expected) + stored >= 65504;
    return fabs(got - expected) <= (dtype == QKV_F32 ? bound : stored);
}

static bool values_close(const char *what, const double *got, const double *expected, const double *bound, size_t n,
                         qkv_dtype dtype, char *error, size_t size) {
    size_t wrong = 0, first = 0;
    for (size_t i = 0; got && i < n; i++)
        if (!is_close(got[i], expected[i], bound[i], dtype) && wrong++ == 0) first = i;
    if (wrong && !error[0])
        snprintf(error, size, "%s: %zu of %zu wrong, first at %zu: got %.9g, expected %.9g, bound %.3g", what, wrong, n,
                 first, got[first], expected[first], bound[first]);
    return !wrong;
}

/* Each key's weights, summed over the queries: the weights' errors, and (seq_q + 1) u for the sum. */
static void check_received(const struct semantics_result *result, const struct semantics_case *c,
                           const struct semantics_reference *r, char *error, size_t size) {
    const size_t n = c->batch * c->num_heads * c->seq_kv;
    double *sum = test_alloc(n, sizeof *sum), *bound = test_alloc(n, sizeof *bound);
    for (size_t row = 0; row < c->batch * c->num_heads * c->seq_q; row++)
        for (size_t j = 0; j < c->seq_kv; j++) {
            const size_t to = row / c->seq_q * c->seq_kv + j, at = row * c->seq_kv + j;
            sum[to] += r->weights[at];
            bound[to] += r->dreports[at] + (double)(c->seq_q + 1) * U * (r->weights[at] + r->dreports[at]) + TINY;
        }
    values_close("received", result->received, sum, bound, n, QKV_F32, error, size);
    free(sum);
    free(bound);
}

/* Is `j` before the end of a row's list? */
static bool is_listed(const double *keys, size_t n, size_t j) {
    for (size_t a = 0; a < n; a++)
        if (keys[a] == (double)j) return true;
    return false;
}

/* What is wrong with one row's top keys; NULL: nothing. */
static const char *top_fault(const double *keys, const double *top, const struct semantics_case *c, const double *w,
                             const double *dw, const double *scores) {
    size_t listed = 0;
    while (listed < c->top && keys[listed] != -1)
        listed++;
    for (size_t a = 0; a < c->top; a++) {
        if (a >= listed) {
            if (keys[a] != -1 || top[a] != 0) return "not -1 and 0 after the last key";
            continue;
        }
        const size_t j = (size_t)keys[a];
        if (keys[a] < 0 || j >= c->seq_kv || scores[j] == -INFINITY) return "an excluded key";
        if (is_listed(keys, a, j)) return "a key twice";
        if (!(fabs(top[a] - w[j]) <= dw[j])) return "a key's weight is not what the key has";
        if (a > 0 && top[a] > top[a - 1]) return "weights do not fall";
        if (a > 0 && top[a] == top[a - 1] && keys[a] < keys[a - 1]) return "equal weights, but the lower index last";
    }
    for (size_t j = 0; j < c->seq_kv; j++) {
        if (scores[j] == -INFINITY || is_listed(keys, listed, j)) continue;
        if (listed < c->top) return "a key is missing, and there is room";
        if (w[j] - dw[j] > top[listed - 1]) return "a key with a larger weight is missing";
    }
    return NULL;
}

static void check_top(const struct semantics_result *result, const struct semantics_case *c,
                      const struct semantics_reference *r, char *error, size_t size) {
    for (size_t row = 0; row < c->batch * c->num_heads * c->seq_q; row++) {
        const size_t at = row * c->seq_kv;
        if (isnan(r->logsumexp[row])) continue;
        const char *fault = top_fault(result->top_keys + row * c->top, result->top_weights + row * c->top, c,
                                      r->weights + at, r->dreports + at, r->scores + at);
        if (fault && !error[0]) snprintf(error, size, "top_keys: row %zu: %s", row, fault);
    }
}

/* Bit for bit but for the kinds of NaN. */
static void check_copy(const char *what, const double *got, const double *expected, size_t n, char *error,
                       size_t size) {
    for (size_t i = 0; got && i < n; i++)
        if (got[i] != expected[i] && !(isnan(got[i]) && isnan(expected[i])) && !error[0])
            snprintf(error, size, "%s: element %zu is %.9g instead of %.9g", what, i, got[i], expected[i]);
}

bool semantics_check(const qkv_attention *plan, const struct semantics_case *c, const struct semantics_data *data,
                     const struct semantics_reference *r, char *error, size_t size) {
    const size_t rows = c->batch * c->num_heads * c->seq_q, pairs = rows * c->seq_kv;
    const size_t keys = c->batch * c->num_kv_heads * c->seq_kv;
    struct semantics_result result;
    semantics_run(&result, plan, c, data);
    snprintf(error, size, "%s", result.error);
    values_close("out", result.out, r->out, r->dout, rows * c->value_dim, c->out_dtype, error, size);
    values_close("logsumexp", result.logsumexp, r->logsumexp, r->dlogsumexp, rows, QKV_F32, error, size);
    values_close("scores", result.scores, r->stage, r->dstage, pairs, c->weights_dtype, error, size);
    values_close("weights", result.weights, r->weights, c->weights_dtype == QKV_F32 ? r->dweights : r->dreports, pairs,
                 c->weights_dtype, error, size);
    check_copy("present_k", result.present_k, data->k, keys * c->head_dim, error, size);
    check_copy("present_v", result.present_v, data->v, keys * c->value_dim, error, size);
    if (result.received) check_received(&result, c, r, error, size);
    if (result.top_keys) check_top(&result, c, r, error, size);
    semantics_result_free(&result);
    return !error[0];
}
