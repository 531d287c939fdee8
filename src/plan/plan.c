#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CANDIDATES 16

/* CLBlast is taken only where it was asked for: nothing says that it is faster here, and its first call compiles for
 * seconds. */
static bool is_candidate(const struct qkvi_solver *solver, const struct qkvi_problem *problem,
                         const struct qkvi_choice *choice) {
    const char *forced = choice->name[problem->operation];
    if (solver->operation != problem->operation) return false;
    if (*forced) return !strcmp(forced, solver->name);
    return solver != &qkvi_linear_clblast || choice->clblast;
}

/* The problem's solvers, best estimate first. */
static size_t list_candidates(const struct qkvi_solver **out, const struct qkvi_programs *programs,
                              const struct qkvi_problem *problem, const struct qkvi_choice *choice) {
    const struct qkvi_limits *limits = &programs->limits;
    size_t count = 0;
    for (size_t i = 0; i < qkvi_num_solvers && count < MAX_CANDIDATES; i++) {
        const struct qkvi_solver *solver = qkvi_solvers[i];
        if (!is_candidate(solver, problem, choice)) continue;
        size_t at = count++;
        while (at > 0 && out[at - 1]->estimate(problem, limits) > solver->estimate(problem, limits)) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = solver;
    }
    return count;
}

/* What kernels are specialised for. */
static void add_variant(struct qkvi_text *key, const struct qkvi_problem *problem) {
    const struct qkvi_attention_problem *p = &problem->u.attention;
    if (problem->operation == QKVI_ATTENTION || problem->operation == QKVI_REPORT)
        qkvi_text_add(key, "; dims %zu %zu, mask %d, weights %d, terms %d, dtypes %d %d %d %d", p->head_dim,
                      p->value_dim, p->mask, p->weights, p->terms, (int)p->q_dtype, (int)p->k_dtype, (int)p->v_dtype,
                      (int)p->out_dtype);
    if (problem->operation == QKVI_REPORT) qkvi_text_add(key, " %d", (int)p->report_dtype);
}

/* Known answers once per build: the state's own description and the variant. */
static qkv_status make_key(struct qkvi_text *key, const struct qkvi_plan *plan) {
    qkvi_text_add(key, "%s", plan->description);
    add_variant(key, &plan->problem);
    return key->failed ? qkvi_fail_memory("plan") : QKV_OK;
}

static qkv_status self_test(struct qkvi_programs *programs, const struct qkvi_plan *plan) {
    switch (plan->problem.operation) {
    case QKVI_LINEAR:
        return qkvi_selftest_linear(programs, plan->solver);
    case QKVI_ATTENTION:
        return qkvi_selftest_attention(programs, plan->solver, &plan->problem.u.attention);
    case QKVI_ROTARY:
        return qkvi_selftest_rotary(programs, plan->solver);
    case QKVI_COPY:
        return qkvi_selftest_copy(programs, plan->solver);
    case QKVI_REPORT:
        return qkvi_selftest_report(programs, plan->solver, &plan->problem.u.attention);
    case QKVI_LAYER:
        return qkvi_selftest_layer(programs, plan->solver, &plan->problem.u.layer);
    }
    return QKV_OK;
}

static qkv_status test_once(struct qkvi_programs *programs, const struct qkvi_plan *plan, const char *key, bool again) {
    qkv_status status = QKV_OK;
    /* CLBlast may be replaced by another version of it, which nothing tells us of. */
    bool lasting = plan->solver != &qkvi_linear_clblast;
    enum qkvi_verdict verdict = again ? QKVI_UNTRIED : qkvi_ledger_get(programs, key, lasting);
    if (verdict == QKVI_UNTRIED) {
        status = qkvi_attempt_mark();
        if (status) return status;
        status = self_test(programs, plan);
        if (status == QKV_OK || status == QKV_SELF_TEST_FAILED)
            qkvi_ledger_set(programs, key, status ? QKVI_FAILED : QKVI_PASSED, lasting);
        qkvi_log(&programs->rt->log, QKV_LOG_DEBUG, "tested %s: %s", plan->description,
                 status ? qkv_error_message() : "passed");
    } else if (verdict == QKVI_FAILED) {
        status = qkvi_fail(QKV_SELF_TEST_FAILED, "computes wrong results on %s", programs->rt->info.name);
    }
    return status;
}

static qkv_status test(struct qkvi_programs *programs, const struct qkvi_plan *plan, bool again) {
    struct qkvi_text key = {0};
    qkv_status status = make_key(&key, plan);
    if (!status) status = test_once(programs, plan, qkvi_text_get(&key), again);
    qkvi_text_free(&key);
    return status;
}

static qkv_status describe(struct qkvi_plan *plan) {
    struct qkvi_text text = {0};
    qkvi_text_add(&text, "%s=%s ", qkvi_operation_name(plan->problem.operation), plan->solver->name);
    plan->solver->describe(plan->state, &text);
    if (text.failed) {
        qkvi_text_free(&text);
        return qkvi_fail_memory("plan");
    }
    plan->description = text.data;
    return QKV_OK;
}

qkv_status qkvi_plan_workspace(size_t *out_bytes, const struct qkvi_solver *solver, const void *state,
                               const struct qkvi_problem *problem) {
    *out_bytes = 0;
    if (!solver->workspace || solver->workspace(out_bytes, state, problem)) return QKV_OK;
    return qkvi_fail(QKV_OVERFLOW, "the workspace for these limits overflows");
}

static qkv_status build_and_test(struct qkvi_plan *out, struct qkvi_programs *programs,
                                 const struct qkvi_problem *problem, const struct qkvi_solver *solver, bool again) {
    struct qkvi_plan plan = {.solver = solver, .problem = *problem};
    qkv_status status = solver->create(&plan.state, programs, problem);
    if (status) return status;
    status = describe(&plan);
    if (!status) status = test(programs, &plan, again);
    if (!status) status = qkvi_plan_workspace(&plan.workspace, solver, plan.state, problem);
    if (status)
        qkvi_plan_destroy(&plan);
    else
        *out = plan;
    return status;
}

/* What is known before anything is built. */
static void name_attempt(struct qkvi_text *what, const struct qkvi_problem *problem, const struct qkvi_solver *solver) {
    qkvi_text_add(what, "%s=%s", qkvi_operation_name(problem->operation), solver->name);
    add_variant(what, problem);
}

qkv_status qkvi_plan_applicable(const struct qkvi_solver *solver, const struct qkvi_problem *problem,
                                const struct qkvi_limits *limits) {
    struct qkvi_text why = {0};
    const bool can = !solver->applicable || solver->applicable(problem, limits, &why);
    const qkv_status status = can ? QKV_OK : qkvi_fail(QKV_UNSUPPORTED, "%s", qkvi_text_get(&why));
    qkvi_text_free(&why);
    return status;
}

qkv_status qkvi_plan_try(struct qkvi_plan *out, struct qkvi_programs *programs, const struct qkvi_problem *problem,
                         const struct qkvi_solver *solver, enum qkvi_trial trial) {
    struct qkvi_attempt attempt;
    struct qkvi_text what = {0};
    qkv_status status = qkvi_plan_applicable(solver, problem, &programs->limits);
    if (status) return status;
    name_attempt(&what, problem, solver);
    qkvi_attempt_begin(&attempt, programs, qkvi_text_get(&what), trial == QKVI_TRIAL_FORGIVING);
    status = build_and_test(out, programs, problem, solver, trial == QKVI_TRIAL_AFRESH);
    qkvi_attempt_end(&attempt, status);
    qkvi_text_free(&what);
    if (!status) qkvi_cache_keep(programs);
    /* CL_OUT_OF_RESOURCES may mean one kernel's registers: a device that still answers is not lost. */
    if (status == QKV_DEVICE_LOST && qkvi_runtime_finish(programs->rt) == QKV_OK) status = QKV_UNSUPPORTED;
    return status;
}

/* What stays so is a warning once per context: whoever makes plans in a loop has read it. */
static bool is_news(struct qkvi_programs *programs, const struct qkvi_problem *problem,
                    const struct qkvi_solver *solver, qkv_status status) {
    struct qkvi_text key = {0};
    if (status != QKV_SELF_TEST_FAILED && status != QKV_BUILD_FAILED) return true;
    name_attempt(&key, problem, solver);
    qkvi_text_add(&key, "; told of status %d", (int)status);
    bool first = qkvi_ledger_first(programs, qkvi_text_get(&key));
    qkvi_text_free(&key);
    return first;
}

static void tell(struct qkvi_programs *programs, const struct qkvi_problem *problem, const struct qkvi_solver *solver,
                 qkv_status status) {
    qkv_log_level level = status == QKV_UNSUPPORTED ? QKV_LOG_INFO : QKV_LOG_WARNING;
    if (!is_news(programs, problem, solver, status)) level = QKV_LOG_DEBUG;
    qkvi_log(&programs->rt->log, level, "%s", qkv_error_message());
}

/* A lost device or exhausted memory is not the solver's fault, and the next one would only hide it. */
static bool is_fatal(qkv_status status) {
    return status == QKV_DEVICE_LOST || status == QKV_OUT_OF_MEMORY || status == QKV_OUT_OF_DEVICE_MEMORY;
}

/* Tries them in turn. `reasons` receives why each one failed; compilers' logs are cut, lest the first leave no room. */
static qkv_status try_candidates(struct qkvi_plan *out, struct qkvi_programs *programs,
                                 const struct qkvi_problem *problem, const struct qkvi_solver *const *candidates,
                                 size_t count, struct qkvi_text *reasons) {
    qkv_status status = QKV_UNSUPPORTED;
    for (size_t i = 0; i < count; i++) {
        status = qkvi_plan_try(out, programs, problem, candidates[i], QKVI_TRIAL);
        if (!status) return QKV_OK;
        qkvi_fail_prefix(status, "solver %s=%s", qkvi_operation_name(problem->operation), candidates[i]->name);
        qkvi_text_add(reasons, "%s%.1500s", i ? "\n" : "", qkv_error_message());
        if (is_fatal(status)) return status;
        if (count > 1) tell(programs, problem, candidates[i], status);
    }
    return status;
}

/* Where nothing is left, what one process died of gets another try, the simplest first: the user may have ended them all,
 * and shall not be left with a library that does nothing. */
static qkv_status try_again(struct qkvi_plan *out, struct qkvi_programs *programs, const struct qkvi_problem *problem,
                            const struct qkvi_solver *const *candidates, size_t count) {
    qkv_status status = QKV_SELF_TEST_FAILED;
    for (size_t i = count; i-- > 0 && status && !is_fatal(status);)
        status = qkvi_plan_try(out, programs, problem, candidates[i], QKVI_TRIAL_FORGIVING);
    return status;
}

qkv_status qkvi_plan_create(struct qkvi_plan *out, struct qkvi_programs *programs, const struct qkvi_problem *problem,
                            const struct qkvi_choice *forced) {
    const struct qkvi_log *log = &programs->rt->log;
    const char *operation = qkvi_operation_name(problem->operation), *name = forced->name[problem->operation];
    const struct qkvi_solver *candidates[MAX_CANDIDATES];
    qkv_status status = qkvi_programs_probe(programs);
    if (status) return status;
    size_t count = list_candidates(candidates, programs, problem, forced);
    struct qkvi_text reasons = {0};
    status = try_candidates(out, programs, problem, candidates, count, &reasons);
    if (status == QKV_SELF_TEST_FAILED && programs->cache.store)
        status = try_again(out, programs, problem, candidates, count);
    if (status && !is_fatal(status) && count > 1 && !reasons.failed) qkvi_fail(status, "%s", qkvi_text_get(&reasons));
    qkvi_text_free(&reasons);
    if (status)
        qkvi_log(log, QKV_LOG_ERROR, "no plan for %s: %s", operation, qkv_error_message());
    else
        qkvi_log(log, QKV_LOG_INFO, "%s%s", out->description, *name ? " (forced)" : "");
    return status;
}

void qkvi_plan_destroy(struct qkvi_plan *plan) {
    if (plan->solver && plan->state) plan->solver->destroy(plan->state);
    free(plan->description);
    *plan = (struct qkvi_plan){0};
}
