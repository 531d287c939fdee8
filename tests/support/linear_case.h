/* One linear layer: random weights and inputs in random views, run, and compared with the reference. */
#ifndef TEST_LINEAR_CASE_H
#define TEST_LINEAR_CASE_H

#include "support/buffers.h"

struct linear_case {
    size_t batch, seq, in, x_heads; /* x_heads: of a rank-4 x */
    size_t num_outputs, out[QKV_LINEAR_MAX_OUTPUTS];
    size_t x_rank, out_rank[QKV_LINEAR_MAX_OUTPUTS], out_heads[QKV_LINEAR_MAX_OUTPUTS];
    qkv_weight_layout layout;
    unsigned biases; /* bit i: output i has one */
    bool views;
};

struct linear_weights {
    float *weight[QKV_LINEAR_MAX_OUTPUTS], *bias[QKV_LINEAR_MAX_OUTPUTS];
};

/* Sets the note to the complete case. */
void linear_note(const struct linear_case *c, const char *solver, size_t number);

void linear_weights_make(struct linear_weights *w, const struct linear_case *c, struct test_random *random);
void linear_weights_free(struct linear_weights *w);

/* NULL after a counted skip. The host's weights go to the layer as copies that are freed before it is used. */
qkv_linear *linear_make(const struct linear_case *c, const struct linear_weights *w, const char *solver);

/* One run and nothing else. */
void linear_run(const qkv_linear *linear, const struct linear_case *c, struct test_array *x, struct test_array *out);
/* One run on random rows, every output and its guard bands compared. */
void linear_check(const qkv_linear *linear, const struct linear_case *c, const struct linear_weights *w,
                  struct test_random *random);
/* A layer of its own for one case and solver. */
void linear_check_case(const struct linear_case *c, const char *solver, size_t number);

#endif
