#include "plan/plan.h"

#include <stdlib.h>
#include <time.h>

static const struct variant {
    const char *name;
    struct qkvi_problem problem;
} variants[] = {
#define LINEAR                                                                                                         \
    {                                                                                                                  \
        .operation = QKVI_LINEAR,                                                                                      \
        .u.linear = {.in_features = 64, .num_outputs = 1, .out_features = {64}, .max_rows = SIZE_MAX},                 \
    }
#define LIKE_ATTENTION(what, with_mask, with_weights, with_terms, dtype)                                               \
    {                                                                                                                  \
        .operation = (what),                                                                                           \
        .u.attention = {.head_dim = 64,                                                                                \
                        .value_dim = 64,                                                                               \
                        .num_heads = 2,                                                                                \
                        .num_kv_heads = 1,                                                                             \
                        .max_batch = 1,                                                                                \
                        .max_seq_q = 64,                                                                               \
                        .max_seq_kv = 64,                                                                              \
                        .mask = (with_mask),                                                                           \
                        .weights = (with_weights),                                                                     \
                        .terms = (with_terms),                                                                         \
                        .q_dtype = (dtype),                                                                            \
                        .k_dtype = (dtype),                                                                            \
                        .v_dtype = (dtype),                                                                            \
                        .out_dtype = (dtype),                                                                          \
                        .report_dtype = (dtype)},                                                                      \
    }
#define ATTENTION(with_mask, with_weights, with_terms, dtype)                                                          \
    LIKE_ATTENTION(QKVI_ATTENTION, with_mask, with_weights, with_terms, dtype)
#define ROTARY                                                                                                         \
    {                                                                                                                  \
        .operation = QKVI_ROTARY, .u.rotary = {.head_dim = 64, .rotary_dim = 64 }                                      \
    }
#define LAYER                                                                                                          \
    {                                                                                                                  \
        .operation = QKVI_LAYER,                                                                                       \
        .u.layer = {.in_features = 64, .head_dim = 64, .value_dim = 64, .num_heads = 2, .num_kv_heads = 1},            \
    }
    {"", LINEAR},
    {"", ATTENTION(false, false, false, QKV_F32)},
    {"mask", ATTENTION(true, false, false, QKV_F32)},
    {"weights", ATTENTION(false, true, false, QKV_F32)},
    {"mask, weights", ATTENTION(true, true, false, QKV_F32)},
    {"terms", ATTENTION(true, false, true, QKV_F32)},
    {"fp16", ATTENTION(true, false, false, QKV_F16)},
    {"bfloat16", ATTENTION(true, false, true, QKV_BF16)},
    {"", ROTARY},
    {"", LIKE_ATTENTION(QKVI_COPY, false, false, false, QKV_F32)},
    {"", LIKE_ATTENTION(QKVI_REPORT, false, false, false, QKV_F32)},
    {"terms, bfloat16", LIKE_ATTENTION(QKVI_REPORT, true, false, true, QKV_BF16)},
    {"", LAYER},
};

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What says of the device, not of the solver, that there is no use in going on. */
static bool is_fatal(struct qkvi_programs *programs, qkv_status status) {
    return status == QKV_OUT_OF_MEMORY || (status == QKV_DEVICE_LOST && qkvi_runtime_finish(programs->rt) != QKV_OK);
}

static qkv_status try_one(struct qkvi_programs *programs, const struct variant *variant,
                          const struct qkvi_solver *solver, qkv_self_test_function function, void *user) {
    struct qkvi_plan plan = {0};
    qkv_self_test_result result = {
        .struct_size = sizeof result,
        .operation = qkvi_operation_name(solver->operation),
        .solver = solver->name,
        .variant = variant->name,
        .verdict = QKV_VERDICT_TRYING,
        .reason = "",
    };
    if (function) function(user, &result);
    double begin = now();
    qkv_status status = qkvi_plan_try(&plan, programs, &variant->problem, solver, QKVI_TRIAL_AFRESH);
    result.milliseconds = (now() - begin) * 1e3;
    result.status = status;
    result.verdict = !status                     ? QKV_VERDICT_PASSED
                     : status == QKV_UNSUPPORTED ? QKV_VERDICT_NOT_APPLICABLE
                                                 : QKV_VERDICT_FAILED;
    result.reason = status ? qkv_error_message() : plan.description;
    if (function) function(user, &result);
    qkvi_plan_destroy(&plan);
    return is_fatal(programs, status) ? status : QKV_OK;
}

qkv_status qkvi_selftest_all(struct qkvi_programs *programs, qkv_self_test_function function, void *user) {
    qkvi_cache_distrust(programs);
    qkv_status status = qkvi_programs_probe(programs);
    for (size_t v = 0; !status && v < QKVI_COUNT(variants); v++)
        for (size_t s = 0; !status && s < qkvi_num_solvers; s++)
            if (qkvi_solvers[s]->operation == variants[v].problem.operation)
                status = try_one(programs, &variants[v], qkvi_solvers[s], function, user);
    qkvi_cache_trust(programs);
    return status;
}
