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

/* Known answers once per build: the state's own description, the variant, and where its programs came from. */
static qkv_status make_key(struct qkvi_text *key, const struct qkvi_plan *plan) {
    qkvi_text_add(key, "%s", plan->description);
    add_variant(key, &plan->problem);
    qkvi_attempt_add(key);
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
        qkvi_log(&programs->rt->log, QKV_LOG_DEBUG, "%s %s: %s",
                 qkvi_attempt_is_of_binaries() ? "with the binaries that are to be kept," : "tested", plan->description,
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

/*
 * What later processes load is not what was tested, though the driver says that it is the same. So it is tested before it is
 * kept, and they need not. Here nothing is forgiven: to do without what a process ended over costs time alone.
 */
static bool passes_again(struct qkvi_programs *programs, const struct qkvi_problem *problem,
                         const struct qkvi_solver *solver, const struct qkvi_attempt *attempt) {
    struct qkvi_attempt again;
    struct qkvi_text what = {0};
    struct qkvi_plan plan = {0};
    qkvi_text_add(&what, "loading ");
    name_attempt(&what, problem, solver);
    qkvi_attempt_begin(&again, programs, qkvi_text_get(&what), 0);
    again.of = attempt;
    const qkv_status status = build_and_test(&plan, programs, problem, solver, true);
    qkvi_plan_destroy(&plan);
    qkvi_attempt_end(&again, status);
    qkvi_text_free(&what);
    if (status)
        qkvi_log(&programs->rt->log, status == QKV_SELF_TEST_FAILED ? QKV_LOG_WARNING : QKV_LOG_INFO,
                 "binaries are not kept: %s", qkv_error_message());
    return !status;
}

/* What came from the disk may be at fault. What cannot be helped, and what is no fault, is as it was from source too. */
static bool may_be_mended(struct qkvi_attempt *attempt, qkv_status status) {
    return status && status != QKV_UNSUPPORTED && status != QKV_OUT_OF_MEMORY && attempt->tried &&
           qkvi_attempt_forget(attempt);
}

qkv_status qkvi_plan_try(struct qkvi_plan *out, struct qkvi_programs *programs, const struct qkvi_problem *problem,
                         const struct qkvi_solver *solver, enum qkvi_trial trial) {
    struct qkvi_attempt attempt;
    struct qkvi_text what = {0};
    qkv_status status = qkvi_plan_applicable(solver, problem, &programs->limits);
    if (status) return status;
    name_attempt(&what, problem, solver);
    qkvi_attempt_begin(&attempt, programs, qkvi_text_get(&what), trial == QKVI_TRIAL_FORGIVING ? 1 : 0);
    status = build_and_test(out, programs, problem, solver, trial == QKVI_TRIAL_AFRESH);
    if (may_be_mended(&attempt, status)) {
        qkvi_log(&programs->rt->log, QKV_LOG_WARNING, "%s is built from source again: %s", qkvi_text_get(&what),
                 qkv_error_message());
        status = build_and_test(out, programs, problem, solver, trial == QKVI_TRIAL_AFRESH);
    }
    qkvi_attempt_end(&attempt, status);
    qkvi_text_free(&what);
    if (!status && qkvi_cache_take(&attempt))
        qkvi_cache_keep(&attempt, passes_again(programs, problem, solver, &attempt));
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

/* What says more of why nobody could do it: exhausted memory is for the caller to mend. */
static int weight_of(qkv_status status) {
    return status == QKV_OUT_OF_MEMORY || status == QKV_OUT_OF_DEVICE_MEMORY ? 2 : status == QKV_SELF_TEST_FAILED;
}

struct search {
    struct qkvi_programs *programs;
    const struct qkvi_problem *problem;
    const struct qkvi_solver *candidates[MAX_CANDIDATES];
    size_t count;
    struct qkvi_text reasons; /* why each one failed; compilers' logs are cut, lest the first leave no room */
    bool given_up;            /* one at least, perhaps only for how a process ended */
};

/* Tries them in turn. A lost device is no solver's fault, and ends it; memory may be what one solver's kernel takes for
 * itself, or its compiler. */
static qkv_status try_candidates(struct qkvi_plan *out, struct search *s) {
    qkv_status result = QKV_UNSUPPORTED;
    for (size_t i = 0; i < s->count; i++) {
        const qkv_status status = qkvi_plan_try(out, s->programs, s->problem, s->candidates[i], QKVI_TRIAL);
        if (!status) return QKV_OK;
        qkvi_fail_prefix(status, "solver %s=%s", qkvi_operation_name(s->problem->operation), s->candidates[i]->name);
        qkvi_text_add(&s->reasons, "%s%.1500s", i ? "\n" : "", qkv_error_message());
        if (status == QKV_DEVICE_LOST) return status;
        if (s->count > 1) tell(s->programs, s->problem, s->candidates[i], status);
        s->given_up = s->given_up || status == QKV_SELF_TEST_FAILED;
        if (i == 0 || weight_of(status) >= weight_of(result)) result = status;
    }
    return result;
}

/* Where nothing is left, what one process died of gets another try, the simplest first: the user may have ended them all,
 * and shall not be left with a library that does nothing. */
static qkv_status try_again(struct qkvi_plan *out, const struct search *s, qkv_status before) {
    qkv_status status = before;
    for (size_t i = s->count; i-- > 0 && status && status != QKV_DEVICE_LOST;)
        status = qkvi_plan_try(out, s->programs, s->problem, s->candidates[i], QKVI_TRIAL_FORGIVING);
    return status && status != QKV_DEVICE_LOST && s->count > 1 ? before : status;
}

qkv_status qkvi_plan_create(struct qkvi_plan *out, struct qkvi_programs *programs, const struct qkvi_problem *problem,
                            const struct qkvi_choice *forced) {
    const struct qkvi_log *log = &programs->rt->log;
    const char *operation = qkvi_operation_name(problem->operation), *name = forced->name[problem->operation];
    struct search s = {.programs = programs, .problem = problem};
    qkv_status status = qkvi_programs_probe(programs);
    if (status) return status;
    s.count = list_candidates(s.candidates, programs, problem, forced);
    status = try_candidates(out, &s);
    if (status && s.given_up && programs->cache.store) status = try_again(out, &s, status);
    if (status && status != QKV_DEVICE_LOST && s.count > 1 && !s.reasons.failed)
        qkvi_fail(status, "%s", qkvi_text_get(&s.reasons));
    qkvi_text_free(&s.reasons);
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
