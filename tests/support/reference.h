/*
 * The library's operations in double precision, each with a bound on the error of an fp32 computation.
 * Values come as (value, error) pairs, so that a layer's bound follows from those of its steps; an error of
 * NULL means exact.
 */
#ifndef TEST_REFERENCE_H
#define TEST_REFERENCE_H

#include <stdbool.h>

#include "qkv.h"

/* n doubles, malloc'ed. */
double *ref_doubles(const float *values, size_t n);

/* y, dy (rows, out) from x, dx (rows, in); see the bound in reference.c. bias may be NULL. */
void ref_linear(double *y, double *dy, const double *x, const double *dx, size_t rows, size_t in, const float *weight,
                qkv_weight_layout layout, const float *bias, size_t out);

/* (batch, seq, heads * dim) to (batch, heads, seq, dim), and back. In and out differ. */
void ref_split_heads(double *out, const double *in, size_t batch, size_t heads, size_t seq, size_t dim);
void ref_join_heads(double *out, const double *in, size_t batch, size_t heads, size_t seq, size_t dim);

/* Cosine and sine of position * frequency, times magnitude, and the error that qkv/rotary.h promises for both. */
struct ref_angle {
    double cos, sin, error;
};
struct ref_angle ref_rotary_angle(double position, double frequency, double magnitude);
/* One head of one token: y, dy (head_dim) from x, dx; an angle for each pair. See the bound in reference.c. */
void ref_rotary(double *y, double *dy, const double *x, const double *dx, const struct ref_angle *angles,
                size_t head_dim, size_t rotary_dim, bool interleaved);

struct ref_attention {
    size_t batch, num_heads, num_kv_heads, seq_q, seq_kv, head_dim, value_dim;
    const double *q, *k, *v;
    const double *dq, *dk, *dv;
    const unsigned char *mask_bool; /* at most one of the two */
    const float *mask_add;
    size_t mask_shape[4]; /* as the header's (batch, num_heads, seq_q, seq_kv), each that size or 1 */
    float scale;          /* 0: 1 / sqrt(head_dim) */
    qkv_causal causal;
    /* results, allocated by ref_attention_run() */
    double *out, *dout;
    double *weights, *dweights;
    double *scores, *dscores;
    double *logsumexp, *dlogsumexp;
};
void ref_attention_run(struct ref_attention *a);
void ref_attention_free(struct ref_attention *a);

#endif
