/* A plan made with the liar at work: what became of it. */
#ifndef TEST_LIE_TRIAL_H
#define TEST_LIE_TRIAL_H

#include "support/lie_case.h"

struct lie_trial {
    qkv_status status;
    char description[512], message[8192], log[32768];
};

/* A plan, destroyed again; `out` describes it. */
typedef qkv_status (*lie_plan)(char *out, size_t bytes, qkv_context *context, const char *solver);
qkv_status lie_plan_layer(char *out, size_t bytes, qkv_context *context, const char *solver);
qkv_status lie_plan_rotary(char *out, size_t bytes, qkv_context *context, const char *solver);
/* Attention as `desc` has it. */
qkv_status lie_plan_described(char *out, size_t bytes, qkv_context *context, const qkv_attention_desc *desc);
qkv_status lie_plan_attention(char *out, size_t bytes, qkv_context *context, const char *solver, uint64_t features);

/* Called, unless NULL, with a plan at hand, before it is destroyed. */
extern void (*lie_planned)(void);
/* For every lie_plan that has made its plan and not destroyed it yet. */
void lie_plan_made(char *out, size_t bytes, const char *description);

/* In a context of its own with these solvers, of which nothing may be left. The log is heard down to `level`; `solver` is
 * the plan's. */
void lie_try(struct lie_trial *trial, qkv_log_level level, const char *context_solver, lie_plan plan,
             const char *solver);
/* Is it a layer in one launch? */
bool lie_is_whole(const struct lie_trial *trial);

#endif
