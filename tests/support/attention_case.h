/* One attention problem: random data in random views, run through a plan, compared with the reference. */
#ifndef TEST_ATTENTION_CASE_H
#define TEST_ATTENTION_CASE_H

#include "support/buffers.h"
#include "support/reference.h"

enum test_mask { TEST_MASK_NONE, TEST_MASK_BOOL, TEST_MASK_ADD };

struct attention_case {
    size_t batch, num_heads, num_kv_heads, seq_q, seq_kv, head_dim, value_dim;
    qkv_causal causal;
    enum test_mask mask;
    size_t mask_rank;   /* 1 to 4; 0: 4 */
    unsigned mask_axes; /* bit i: axis i of (batch, heads, query, key) is full, else 1 */
    float scale;
    float magnitude; /* of q and k; 0: 1 */
    bool weights, scores, logsumexp;
    bool views; /* random strides, offsets and gaps */
};

/* Dense host data; a test may change it between making and checking. */
struct attention_data {
    float *q, *k, *v;
    unsigned char *mask_bool;
    float *mask_add;
    size_t mask_shape[4];
};

/* What came back, and the reference for it. NULL where it was not asked for. */
struct attention_result {
    float *out, *weights, *scores, *logsumexp;
    struct ref_attention reference;
};

/* What a plan for such cases, no larger than this one, is made from. */
qkv_attention_desc attention_desc(const struct attention_case *limits, const char *solver);
/* A plan for every case up to `limits` sizes. NULL after a counted skip. */
qkv_attention *attention_plan(const struct attention_case *limits, const char *solver);

void attention_data_make(struct attention_data *data, const struct attention_case *c, struct test_random *random);
void attention_data_free(struct attention_data *data);

/* Runs and compares everything the case asks for, and the guard bands. */
void attention_check(const qkv_attention *plan, const struct attention_case *c, struct attention_data *data,
                     struct test_random *random);
/* The same, and hands over what came back. */
void attention_check_keep(struct attention_result *result, const qkv_attention *plan, const struct attention_case *c,
                          struct attention_data *data, struct test_random *random);
void attention_result_free(struct attention_result *result);

/* Random data, one check; `number` is the case's stream and is named in failures. */
void attention_random_check(const qkv_attention *plan, const struct attention_case *c, const char *solver,
                            size_t number);
/* A plan of its own for the case, for every solver. */
void attention_check_solvers(const struct attention_case *c, size_t number);

/* Sets the note to the complete case. */
void attention_note(const struct attention_case *c, const char *solver, size_t number);

#endif
