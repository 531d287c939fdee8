/* A decoder's steps: one token a step, its K and V written into a cache that attention reads in place. */
#ifndef TEST_DECODE_CASE_H
#define TEST_DECODE_CASE_H

#include "support/buffers.h"

struct decode_case {
    size_t embed_dim, num_heads, num_kv_heads, head_dim, value_dim;
    size_t steps;
    const char *solver;
};

/* What all sequences of one model share. */
struct decode_model {
    struct decode_case c;
    float *weight[3], *bias[3]; /* wq, wk, wv */
    qkv_linear *linear;         /* Q, K and V in one pass */
    qkv_attention *attention;
};

/* One sequence. K, V, Q and out of every step lie in one cl_mem, K as (seq, head, dim), V as (head, seq, dim). */
struct decode_sequence {
    const struct decode_model *model;
    float *x;
    struct test_memory tokens, cache;
    qkv_tensor x_all, q_all, k_all, v_all, out_all;
};

/* The views of step t: key and value of this token, and of all up to it. */
struct decode_step {
    qkv_tensor x, q, k, v, keys, values, out;
};

/* NULL in `linear` after a counted skip: the solver cannot do it here. */
void decode_model_make(struct decode_model *model, const struct decode_case *c, qkv_context *context);
void decode_model_free(struct decode_model *model);
void decode_sequence_make(struct decode_sequence *s, const struct decode_model *model, cl_command_queue queue,
                          size_t number);
void decode_sequence_free(struct decode_sequence *s);
qkv_status decode_step_views(struct decode_step *step, const struct decode_sequence *s, size_t t);
/* Waits for the sequence's queue; compares a sample of the steps with the reference, and the guard bands. */
void decode_sequence_check(struct decode_sequence *s, size_t steps_done);

#endif
