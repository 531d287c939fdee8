/* One multi-head attention layer: random weights and inputs, its description, and the reference of every step. */
#ifndef TEST_LAYER_CASE_H
#define TEST_LAYER_CASE_H

#include "support/buffers.h"
#include "support/reference.h"

struct layer_case {
    size_t batch, seq_q, seq_kv; /* seq_kv: of kv, where `kv` is set */
    size_t embed_dim, kv_embed_dim, num_heads, num_kv_heads, head_dim, value_dim, out_dim; /* none 0 but kv_embed_dim */
    qkv_weight_layout layout;
    bool biases, wo;
    bool cross, kv; /* kv: K and V come from a second input */
    bool mask;      /* boolean, (batch, 1, 1, seq_kv): padding */
    bool shared_qk; /* wk is wq */
    qkv_causal causal;
    float scale;
};

struct layer_data {
    float *x, *kv;
    unsigned char *mask;
    float *weight[4], *bias[4]; /* wq, wk, wv, wo */
};

/* (value, bound) of every step. */
struct layer_reference {
    double *q, *dq, *k, *dk, *v, *dv; /* (batch, heads, seq, dim) */
    struct ref_attention attention;
    double *out, *dout; /* (batch, seq_q, out_dim or num_heads * value_dim) */
};

size_t layer_seq_kv(const struct layer_case *c);
size_t layer_out_dim(const struct layer_case *c);
void layer_note(const struct layer_case *c, const char *solver, size_t number);
void layer_data_make(struct layer_data *data, const struct layer_case *c, struct test_random *random);
void layer_data_free(struct layer_data *data);
/* Without limits and features. Points into `data`. */
qkv_layer_desc layer_desc(const struct layer_case *c, const struct layer_data *data);
void layer_reference_make(struct layer_reference *r, const struct layer_case *c, const struct layer_data *data);
void layer_reference_free(struct layer_reference *r);

#endif
