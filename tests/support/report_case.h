/* One attention with reports: random data in random views, run through a plan, compared with a reference in double. */
#ifndef TEST_REPORT_CASE_H
#define TEST_REPORT_CASE_H

#include "support/buffers.h"

/* What a plan is made for; its limits and features are those of any case. */
struct report_plan {
    size_t head_dim, num_heads, num_kv_heads;
    qkv_dtype q_dtype, k_dtype, weights_dtype; /* 0: F32 */
};
enum { REPORT_BATCH = 3, REPORT_SEQ = 160 };
/* NULL after a counted skip. */
qkv_attention *report_plan_make(const struct report_plan *plan, const char *solver);

enum report_mask { REPORT_MASK_NONE, REPORT_MASK_BOOL, REPORT_MASK_ADD };

struct report_case {
    size_t batch, seq_q, seq_kv, top; /* top 0: not asked for */
    enum report_mask mask;
    size_t mask_keys; /* the mask's last axis; 0: seq_kv */
    bool mask_shared; /* one mask for all batches and heads */
    qkv_causal causal;
    bool windowed;
    qkv_window window;
    int64_t query_offset;
    float softcap;
    bool alibi, sinks, lengths, views;
    bool equal_keys; /* every key the same: all weights are ties */
    bool nan_query;  /* the first query of every head is NaN */
    qkv_scores_stage stage;
    bool scores, weights, logsumexp, received;
};

/* Runs one case on random data and checks everything it asks for, and the guard bands. */
void report_check(const qkv_attention *attention, const struct report_plan *plan, const struct report_case *c,
                  struct test_random *random);
void report_note(const struct report_plan *plan, const struct report_case *c, const char *solver);

#endif
