/*
 * One attention problem with any of the arguments of qkv/attention.h: its data, a run, the reference, the comparison.
 * Everything follows from the case itself, so that a case can be shrunk and tried again.
 */
#ifndef TEST_SEMANTICS_CASE_H
#define TEST_SEMANTICS_CASE_H

#include "support/buffers.h"

enum semantics_layout {
    SEMANTICS_BHSD,
    SEMANTICS_BSHD,
    SEMANTICS_PACKED, /* BSHD with room for other heads between the tokens */
    SEMANTICS_STRIDED /* any order, gaps, negative and repeating strides */
};

struct semantics_case {
    /* The plan's. */
    size_t num_heads, num_kv_heads, head_dim, value_dim;
    qkv_dtype q_dtype, k_dtype, v_dtype, out_dtype, weights_dtype;
    /* The run's. A dtype of 0 is a tensor that is not given. */
    size_t batch, seq_q, seq_kv;
    float scale, magnitude; /* magnitude: of q and k */
    qkv_causal causal;
    int64_t query_offset;
    qkv_dtype lengths, offsets;
    bool windowed;
    qkv_window window;
    float softcap;
    bool slopes, sinks;
    qkv_dtype mask;
    size_t mask_rank;    /* 1 to 4 */
    unsigned mask_axes;  /* bit i: axis i of (batch, heads, query, key) is full, else 1 */
    size_t mask_missing; /* keys that the mask's last axis is short of */
    bool weights, scores, logsumexp;
    qkv_scores_stage stage;
    size_t past;            /* of seq_kv, the keys that come as past_k and past_v */
    bool present, in_place; /* in_place: the past is the present's beginning */
    bool received;
    size_t top; /* 0: none */
    bool traps; /* NaN and infinity where no query looks, NaN where some do */
    enum semantics_layout layout;
    uint64_t stream; /* of the random numbers */
};

/* Sizes up to which one plan serves. */
struct semantics_limits {
    size_t batch, seq_q, seq_kv;
    double work; /* multiplications a case may cost */
};

/* A plan's part of a case: sizes, dtypes, and what of the rest its cases may have (`features`). */
struct semantics_case semantics_plan_random(struct test_random *random, size_t number, uint64_t *features);
/* A case for that plan. */
struct semantics_case semantics_case_random(struct test_random *random, const struct semantics_case *plan,
                                            uint64_t features, const struct semantics_limits *limits);
uint64_t semantics_features(const struct semantics_case *c);
/* As a list of what differs from the plainest case. */
void semantics_describe(char *text, size_t size, const struct semantics_case *c);
/* May be QKV_UNSUPPORTED. */
qkv_status semantics_plan_create(qkv_attention **out, const struct semantics_case *c, uint64_t features,
                                 const struct semantics_limits *limits, const char *solver);

/* Dense, of the values that the tensors store. NULL where not given. */
struct semantics_data {
    double *q, *k, *v, *mask, *lengths, *offsets, *slopes, *sinks;
    size_t mask_shape[4];
};
void semantics_data_make(struct semantics_data *data, const struct semantics_case *c);
void semantics_data_copy(struct semantics_data *to, const struct semantics_data *from, const struct semantics_case *c);
void semantics_data_free(struct semantics_data *data);

/*
 * Results, and how far from them an fp32 computation may be. What is unspecified has a bound of NaN.
 * stage: what the scores receive. dreports: of weights that are computed from the log-sum-exp.
 */
struct semantics_reference {
    double *out, *dout, *weights, *dweights, *scores, *dscores, *logsumexp, *dlogsumexp, *stage, *dstage, *dreports;
};
void semantics_reference_make(struct semantics_reference *r, const struct semantics_case *c,
                              const struct semantics_data *data);
void semantics_reference_free(struct semantics_reference *r);
/* The keys that query i of a head may see by everything but the mask: first <= j < end; the mask; the query's position. */
struct semantics_reach {
    double first, end, position;
};
struct semantics_reach semantics_reach(const struct semantics_case *c, const struct semantics_data *data, size_t b,
                                       size_t i);
bool semantics_masked(const struct semantics_case *c, const struct semantics_data *data, size_t b, size_t h, size_t i,
                      size_t j, double *add);

/* What came back, as values. NULL where not asked for. */
struct semantics_result {
    double *out, *weights, *scores, *logsumexp, *present_k, *present_v, *received, *top_keys, *top_weights;
    char error[400]; /* "" where the run went well and touched nothing but its outputs */
};
void semantics_run(struct semantics_result *result, const qkv_attention *plan, const struct semantics_case *c,
                   const struct semantics_data *data);
void semantics_result_free(struct semantics_result *result);
/* Runs and compares. False: `error` says what is wrong. */
bool semantics_check(const qkv_attention *plan, const struct semantics_case *c, const struct semantics_data *data,
                     const struct semantics_reference *reference, char *error, size_t size);

/* The smallest case found that still fails with a plan of these features and limits; `error` becomes its. */
struct semantics_case semantics_shrink(const struct semantics_case *c, uint64_t features,
                                       const struct semantics_limits *limits, const char *solver, char *error,
                                       size_t size);

#endif
