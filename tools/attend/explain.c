#include "explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double unit_roundoff = 0x1p-24;

static int compare_terms(const void *left, const void *right) {
    const attend_term *a = left, *b = right;
    const double x = fabs(a->product), y = fabs(b->product);
    if (x != y) return x > y ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

static bool make_sum(attend_sum *out, const float *left, const float *right, size_t count, tool_error *error) {
    out->terms = tool_alloc(count, sizeof *out->terms, error);
    if (out->terms == NULL) return false;
    out->count = count;
    for (size_t i = 0; i < count; i++) {
        const double a = (double)left[i], b = (double)right[i];
        out->terms[i] = (attend_term){i, a, b, a * b};
        out->total += a * b;
        out->magnitude += fabs(a * b);
    }
    qsort(out->terms, count, sizeof *out->terms, compare_terms);
    return true;
}

/* The row of one head and token in an array (num_heads, num_tokens, head_dim). */
static const float *part(const attend_result *result, const float *array, size_t head, size_t token) {
    return array + (head * result->num_tokens + token) * result->head_dim;
}

static const float *row_of(const attend_result *result, const float *matrices, size_t head, size_t query) {
    return matrices + (head * result->num_tokens + query) * result->num_tokens;
}

static size_t choose_head(const attend_result *result, const attend_explain_request *request) {
    size_t best = 0;
    if (request->head >= 0) return (size_t)request->head;
    for (size_t head = 1; head < result->num_heads; head++)
        if (row_of(result, result->weights, head, request->query)[request->key] >
            row_of(result, result->weights, best, request->query)[request->key])
            best = head;
    return best;
}

/* Summing and scaling d products: see Higham, Accuracy and Stability of Numerical Algorithms, 3.1. */
static double sum_bound(size_t terms, double magnitude) {
    return (double)(terms + 2) * unit_roundoff * magnitude;
}

/* All scores of the query's row in double, and with them the softmax. */
static bool explain_weight(attend_explanation *out, const attend_result *result, tool_error *error) {
    const size_t n = result->num_tokens, dim = result->head_dim;
    const float *q = part(result, result->q, out->head, out->query);
    double *scores = tool_alloc(n, sizeof *scores, error);
    double worst = 0.0, sum = 0.0, largest = -INFINITY;
    if (scores == NULL) return false;
    for (size_t j = 0; j < n; j++) {
        const float *k = part(result, result->k, out->head, j);
        double total = 0.0, magnitude = 0.0;
        for (size_t i = 0; i < dim; i++) {
            total += (double)q[i] * (double)k[i];
            magnitude += fabs((double)q[i] * (double)k[i]);
        }
        scores[j] = total * out->scale;
        worst = fmax(worst, sum_bound(dim, magnitude) * out->scale);
        largest = fmax(largest, scores[j]);
    }
    for (size_t j = 0; j < n; j++)
        sum += exp(scores[j] - largest);
    out->largest_score = largest;
    out->denominator = sum;
    out->weight.expected = exp(scores[out->key] - largest) / sum;
    out->weight.computed = (double)row_of(result, result->weights, out->head, out->query)[out->key];
    /* Errors of both scores in the exponent, a few units for exp, the sum and the division, and what a
     * device that flushes subnormal numbers loses. */
    out->weight.bound = out->weight.expected * (2.0 * worst + (double)(n + 16) * unit_roundoff) + 0x1p-126;
    free(scores);
    return true;
}

static bool explain_origin(attend_explanation *out, const attend_view *view, tool_error *error) {
    const attend_result *result = view->result;
    const attend_weights *weights = &view->model->weights;
    const attend_pair *query = &weights->layers[result->layer].query;
    const size_t hidden = result->hidden_size, row = out->head * result->head_dim + out->dim;
    float bias = 0.0f, *wq = tool_alloc(hidden, sizeof *wq, error);
    /* PyTorch stores Wq transposed: the row of an output holds what the textbook has in a column. */
    bool ok = wq != NULL &&
              safetensors_read(&weights->file, query->weight, (uint64_t)row * hidden, hidden, wq, error) &&
              safetensors_read(&weights->file, query->bias, row, 1, &bias, error) &&
              make_sum(&out->origin, result->x + out->query * hidden, wq, hidden, error);
    free(wq);
    if (!ok) return false;
    out->bias = (double)bias;
    out->q.expected = out->origin.total + out->bias;
    out->q.computed = (double)part(result, result->q, out->head, out->query)[out->dim];
    out->q.bound = sum_bound(hidden, out->origin.magnitude + fabs(out->bias));
    return true;
}

static bool agrees(const attend_check_value *value, const char *what, tool_error *error) {
    if (fabs(value->expected - value->computed) <= value->bound) return true;
    return tool_fail(error, "libqkv computed %.9g for %s, double precision gives %.9g; rounding explains at most %.3g",
                     value->computed, what, value->expected, value->bound);
}

static bool check_request(const attend_view *view, const attend_explain_request *request, tool_error *error) {
    const attend_result *result = view->result;
    if (request->query >= result->num_tokens || request->key >= result->num_tokens)
        return tool_fail(error, "--explain %zu,%zu: the text has tokens 0 to %zu", request->query, request->key,
                         result->num_tokens - 1);
    if (request->dim >= (long)result->head_dim)
        return tool_fail(error, "--explain-dim %ld: a head has dimensions 0 to %zu", request->dim,
                         result->head_dim - 1);
    return true;
}

bool attend_explain(attend_explanation *out, const attend_view *view, const attend_explain_request *request,
                    tool_error *error) {
    const attend_result *result = view->result;
    memset(out, 0, sizeof *out);
    if (!check_request(view, request, error)) return false;
    out->query = request->query;
    out->key = request->key;
    out->head = choose_head(result, request);
    out->scale = 1.0 / sqrt((double)result->head_dim);
    const float *q = part(result, result->q, out->head, out->query), *k = part(result, result->k, out->head, out->key);
    bool ok = make_sum(&out->products, q, k, result->head_dim, error);
    if (ok) {
        out->score.expected = out->products.total * out->scale;
        out->score.computed = (double)row_of(result, result->scores, out->head, out->query)[out->key];
        out->score.bound = sum_bound(result->head_dim + 1, out->products.magnitude) * out->scale;
        out->dim = request->dim >= 0 ? (size_t)request->dim : out->products.terms[0].index;
    }
    ok = ok && explain_weight(out, result, error) && explain_origin(out, view, error) &&
         agrees(&out->score, "the score", error) && agrees(&out->weight, "the weight", error) &&
         agrees(&out->q, "the query's component", error);
    if (!ok) attend_explanation_free(out);
    return ok;
}

void attend_explanation_free(attend_explanation *explanation) {
    free(explanation->products.terms);
    free(explanation->origin.terms);
    memset(explanation, 0, sizeof *explanation);
}
