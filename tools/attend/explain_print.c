#include <math.h>

#include "../support/text.h"
#include "explain.h"

enum { SHOWN_TERMS = 10 };

/* The first terms of a sum, one a line, and the rest as one. */
static void print_sum(FILE *stream, const attend_sum *sum, const char *index, const char *left, const char *right,
                      const char *product) {
    double shown = 0.0;
    const size_t count = sum->count < SHOWN_TERMS + 1 ? sum->count : SHOWN_TERMS;
    fprintf(stream, "      %8s %12s %12s %16s %14s\n", index, left, right, product, "sum so far");
    for (size_t i = 0; i < count; i++) {
        const attend_term *term = &sum->terms[i];
        shown += term->product;
        fprintf(stream, "      %8zu %12.6f %12.6f %16.6f %14.6f\n", term->index, term->left, term->right, term->product,
                shown);
    }
    if (count < sum->count)
        fprintf(stream, "      %-34s %16.6f %14.6f\n", "   the other", sum->total - shown, sum->total);
}

static void print_check(FILE *stream, const attend_check_value *value) {
    fprintf(stream, "      libqkv computed %.9g: %.1e away, rounding allows %.1e\n", value->computed,
            fabs(value->expected - value->computed), value->bound);
}

static void print_score(FILE *stream, const attend_view *view, const attend_explanation *explanation) {
    const size_t dims = view->result->head_dim;
    fprintf(stream, "  1. The score: S = Q K^T / sqrt(d_k), here q . k / sqrt(%zu)\n\n", dims);
    print_sum(stream, &explanation->products, "i", "q_i", "k_i", "q_i * k_i");
    fprintf(stream, "\n      q . k = sum of all %zu products = %.6f\n", dims, explanation->products.total);
    fprintf(stream, "      score = %.6f * 1/sqrt(%zu) = %.6f * %.6f = %.6f\n", explanation->products.total, dims,
            explanation->products.total, explanation->scale, explanation->score.expected);
    print_check(stream, &explanation->score);
}

static void print_weight(FILE *stream, const attend_view *view, const attend_explanation *explanation) {
    const double above = explanation->score.expected - explanation->largest_score;
    fprintf(stream, "\n  2. The weight: softmax over the %zu keys of this query\n\n", view->result->num_tokens);
    fprintf(stream, "      largest score of the row = %.6f\n", explanation->largest_score);
    fprintf(stream, "      sum over all keys j of exp(score_j - largest) = %.6f\n", explanation->denominator);
    fprintf(stream, "      weight = exp(%.6f - %.6f) / %.6f = %.6f / %.6f = %.6f\n", explanation->score.expected,
            explanation->largest_score, explanation->denominator, exp(above), explanation->denominator,
            explanation->weight.expected);
    print_check(stream, &explanation->weight);
}

static void print_origin(FILE *stream, const attend_view *view, const attend_explanation *explanation) {
    const size_t dim = explanation->dim;
    char column[64], product[64];
    snprintf(column, sizeof column, "Wq[c][%zu]", dim);
    snprintf(product, sizeof product, "x_c * Wq[c][%zu]", dim);
    fprintf(stream, "\n  3. Where q_%zu comes from: Q = X Wq + b, here q_%zu = sum over c of x_c Wq[c][%zu] + b_%zu\n",
            dim, dim, dim, dim);
    fprintf(stream, "     (column %zu of head %zu's part of Wq; x is the token's row of the layer's input)\n\n", dim,
            explanation->head);
    print_sum(stream, &explanation->origin, "c", "x_c", column, product);
    fprintf(stream, "\n      x . Wq = sum of all %zu products = %.6f\n", view->result->hidden_size,
            explanation->origin.total);
    fprintf(stream, "      q_%zu = %.6f + bias %.6f = %.6f\n", dim, explanation->origin.total, explanation->bias,
            explanation->q.expected);
    print_check(stream, &explanation->q);
}

void attend_explanation_print(FILE *stream, const attend_view *view, const attend_explanation *explanation) {
    char query[128], key[128];
    tool_text_fit(query, sizeof query, attend_view_token(view, explanation->query), 30);
    tool_text_fit(key, sizeof key, attend_view_token(view, explanation->key), 30);
    fprintf(stream, "How much token %zu \"%s\" (the query) attends to token %zu \"%s\" (the key),", explanation->query,
            query, explanation->key, key);
    fprintf(stream, " layer %zu, head %zu\n\n", view->result->layer, explanation->head);
    print_score(stream, view, explanation);
    print_weight(stream, view, explanation);
    print_origin(stream, view, explanation);
}

static json_t *sum_json(const attend_sum *sum, const char *left, const char *right) {
    json_t *array = json_array();
    for (size_t i = 0; i < sum->count; i++) {
        const attend_term *term = &sum->terms[i];
        json_array_append_new(array, json_pack("{s:I, s:f, s:f, s:f}", "index", (json_int_t)term->index, left,
                                               term->left, right, term->right, "product", term->product));
    }
    return array;
}

static json_t *check_json(const attend_check_value *value) {
    return json_pack("{s:f, s:f, s:f}", "expected", value->expected, "computed", value->computed, "bound",
                     value->bound);
}

json_t *attend_explanation_json(const attend_explanation *explanation) {
    return json_pack("{s:I, s:I, s:I, s:o, s:f, s:f, s:o, s:f, s:f, s:o, s:I, s:o, s:f, s:o}", "query",
                     (json_int_t)explanation->query, "key", (json_int_t)explanation->key, "head",
                     (json_int_t)explanation->head, "products", sum_json(&explanation->products, "q", "k"), "sum",
                     explanation->products.total, "scale", explanation->scale, "score", check_json(&explanation->score),
                     "largest_score", explanation->largest_score, "softmax_denominator", explanation->denominator,
                     "weight", check_json(&explanation->weight), "dim", (json_int_t)explanation->dim, "q_products",
                     sum_json(&explanation->origin, "x", "wq"), "q_bias", explanation->bias, "q",
                     check_json(&explanation->q));
}
