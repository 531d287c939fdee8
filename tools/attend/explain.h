/* How one attention score came about: the textbook's worked example on real weights. */
#ifndef ATTEND_EXPLAIN_H
#define ATTEND_EXPLAIN_H

#include "show.h"

/* left * right, the part that `index` has in a sum. */
typedef struct attend_term {
    size_t index;
    double left, right, product;
} attend_term;

/* A sum of products, its terms by magnitude, the largest first. */
typedef struct attend_sum {
    attend_term *terms;
    size_t count;
    double total;
    double magnitude; /* sum of |products|: what rounding errors are measured by */
} attend_sum;

/* A figure computed here in double precision, libqkv's in single, and by how much they may differ. */
typedef struct attend_check_value {
    double expected, computed, bound;
} attend_check_value;

typedef struct attend_explanation {
    size_t query, key, head;
    attend_sum products; /* q_i * k_i over the dimensions of the head */
    double scale;
    attend_check_value score;
    double largest_score, denominator; /* of the softmax: sum_j exp(score_j - largest_score) */
    attend_check_value weight;
    size_t dim;        /* the dimension of q looked into */
    attend_sum origin; /* x_c * Wq[c][dim] over the components of x */
    double bias;
    attend_check_value q;
} attend_explanation;

typedef struct attend_explain_request {
    size_t query, key; /* token positions */
    int head;          /* negative: the head in which the key has the largest weight */
    long dim;          /* negative: the dimension with the largest product */
} attend_explain_request;

/* An error where libqkv's figures differ from these by more than rounding explains, too. */
bool attend_explain(attend_explanation *out, const attend_view *view, const attend_explain_request *request,
                    tool_error *error);
void attend_explanation_free(attend_explanation *explanation);

void attend_explanation_print(FILE *stream, const attend_view *view, const attend_explanation *explanation);
json_t *attend_explanation_json(const attend_explanation *explanation);

#endif
