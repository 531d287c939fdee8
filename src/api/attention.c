#include <stdlib.h>

#include "api/attention_internal.h"

#define MAX_DIM 512
/* All bits that there are: each is followed by the next. */
#define FEATURES ((uint64_t)(2 * QKV_ATTENTION_REDUCED - 1))
/* Bits that the kernels know by one macro. */
#define TERMS                                                                                                          \
    ((uint64_t)(QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_WINDOW | QKV_ATTENTION_LENGTHS | QKV_ATTENTION_ALIBI |           \
                QKV_ATTENTION_SINKS))

/* ---- creating ---- */

static qkv_status check_dim(const char *name, size_t value) {
    return value >= 1 && value <= MAX_DIM
               ? QKV_OK
               : qkvi_fail(QKV_INVALID_ARGUMENT, "desc.%s is %zu; it must be 1 to %d", name, value, MAX_DIM);
}

static qkv_status check_limits(const qkv_attention_desc *desc) {
    const struct {
        const char *name;
        size_t value;
    } limits[] = {{"max_batch", desc->max_batch}, {"max_seq_q", desc->max_seq_q}, {"max_seq_kv", desc->max_seq_kv}};
    for (size_t i = 0; i < QKVI_COUNT(limits); i++)
        if (limits[i].value == 0)
            return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.%s is 0; it must be at least 1", limits[i].name);
    size_t sizes[] = {desc->max_batch, desc->num_heads, desc->max_seq_q, MAX_DIM * sizeof(float)}, product;
    if (!qkvi_product(&product, sizes, 4) || product > PTRDIFF_MAX / 16)
        return qkvi_fail(QKV_OVERFLOW, "desc.max_batch * num_heads * max_seq_q is more than can be addressed");
    sizes[2] = desc->max_seq_kv;
    if (!qkvi_product(&product, sizes, 4) || product > PTRDIFF_MAX / 16)
        return qkvi_fail(QKV_OVERFLOW, "desc.max_batch * num_heads * max_seq_kv is more than can be addressed");
    return QKV_OK;
}

/* 0 is F32. */
static qkv_status check_dtypes(qkv_attention_desc *desc) {
    const struct {
        const char *name;
        qkv_dtype *dtype;
    } all[] = {{"q_dtype", &desc->q_dtype},
               {"k_dtype", &desc->k_dtype},
               {"v_dtype", &desc->v_dtype},
               {"out_dtype", &desc->out_dtype},
               {"weights_dtype", &desc->weights_dtype}};
    for (size_t i = 0; i < QKVI_COUNT(all); i++) {
        qkv_dtype *dtype = all[i].dtype;
        if ((int)*dtype == 0) *dtype = QKV_F32;
        if (*dtype != QKV_F32 && *dtype != QKV_F16 && *dtype != QKV_BF16)
            return qkvi_fail(QKV_INVALID_DTYPE, "desc.%s is %d; it must be QKV_F32, QKV_F16 or QKV_BF16", all[i].name,
                             (int)*dtype);
    }
    return QKV_OK;
}

static qkv_status check_desc(struct qkvi_attention_problem *problem, qkv_attention_desc *desc) {
    if (desc->value_dim == 0) desc->value_dim = desc->head_dim;
    if (desc->num_kv_heads == 0) desc->num_kv_heads = desc->num_heads;
    qkv_status status = check_dim("head_dim", desc->head_dim);
    if (!status) status = check_dim("value_dim", desc->value_dim);
    if (status) return status;
    if (desc->num_heads == 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.num_heads is 0");
    if (desc->num_heads % desc->num_kv_heads != 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.num_kv_heads is %zu, which does not divide num_heads (%zu)",
                         desc->num_kv_heads, desc->num_heads);
    if (desc->features & ~FEATURES)
        return qkvi_fail(QKV_UNSUPPORTED, "desc.features is 0x%llx; this version knows the bits 0x%llx",
                         (unsigned long long)desc->features, (unsigned long long)FEATURES);
    status = check_dtypes(desc);
    if (!status) status = check_limits(desc);
    if (status) return status;
    *problem = (struct qkvi_attention_problem){
        .head_dim = desc->head_dim,
        .value_dim = desc->value_dim,
        .num_heads = desc->num_heads,
        .num_kv_heads = desc->num_kv_heads,
        .max_batch = desc->max_batch,
        .max_seq_q = desc->max_seq_q,
        .max_seq_kv = desc->max_seq_kv,
        .mask = (desc->features & QKV_ATTENTION_MASK) != 0,
        .weights = (desc->features & QKV_ATTENTION_WEIGHTS) != 0 && desc->weights_dtype == QKV_F32,
        .terms = (desc->features & TERMS) != 0,
        .q_dtype = desc->q_dtype,
        .k_dtype = desc->k_dtype,
        .v_dtype = desc->v_dtype,
        .out_dtype = desc->out_dtype,
        .report_dtype = desc->weights_dtype,
    };
    return QKV_OK;
}

static bool needs_reports(uint64_t features, const struct qkvi_attention_problem *p) {
    return features & QKV_ATTENTION_REDUCED || (features & QKV_ATTENTION_WEIGHTS && p->report_dtype != QKV_F32);
}

/* The log-sum-exp that reports start from, behind the solver's scratch. check_limits() has ruled out that its size
 * cannot be counted. */
static qkv_status place_logsumexp(qkv_attention *attention, const struct qkvi_attention_problem *p) {
    const size_t bytes = p->max_batch * p->num_heads * p->max_seq_q * sizeof(float);
    attention->logsumexp_at = qkvi_round_up(attention->workspace, 256);
    return qkvi_add(&attention->workspace, attention->logsumexp_at, bytes)
               ? QKV_OK
               : qkvi_fail(QKV_OVERFLOW, "the workspace for these limits overflows");
}

static qkv_status describe(qkv_attention *attention) {
    const struct qkvi_plan *const more[] = {&attention->copy, &attention->report};
    struct qkvi_text text = {0};
    qkvi_text_add(&text, "%s", attention->plan.description);
    for (size_t i = 0; i < QKVI_COUNT(more); i++)
        if (more[i]->solver) qkvi_text_add(&text, "; %s", more[i]->description);
    attention->description = text.data;
    return text.failed ? qkvi_fail_memory("attention plan") : QKV_OK;
}

/* The plan itself, and those of what its features need besides. */
static qkv_status make_plans(qkv_attention *attention, struct qkvi_problem *problem, const struct qkvi_choice *choice) {
    struct qkvi_programs *programs = &attention->context->programs;
    qkv_status status = qkvi_plan_create(&attention->plan, programs, problem, choice);
    attention->workspace = attention->plan.workspace;
    problem->operation = QKVI_COPY;
    if (!status && attention->features & QKV_ATTENTION_PAST)
        status = qkvi_plan_create(&attention->copy, programs, problem, choice);
    problem->operation = QKVI_REPORT;
    if (!status && needs_reports(attention->features, &problem->u.attention)) {
        status = qkvi_plan_create(&attention->report, programs, problem, choice);
        if (!status) status = place_logsumexp(attention, &problem->u.attention);
    }
    return status ? status : describe(attention);
}

qkv_status qkv_attention_create(qkv_attention **out, qkv_context *context, const qkv_attention_desc *given) {
    qkv_attention_desc desc;
    struct qkvi_problem problem = {.operation = QKVI_ATTENTION};
    struct qkvi_choice choice;
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    qkv_status status = qkvi_struct_read(&desc, sizeof desc, given, "desc");
    if (!status) status = check_desc(&problem.u.attention, &desc);
    if (!status) status = qkvi_choice_parse(&choice, &context->choice, desc.solver, "desc.solver");
    if (status) return status;
    qkv_attention *attention = calloc(1, sizeof *attention);
    if (!attention) return qkvi_fail_memory("attention plan");
    attention->context = qkvi_context_retain(context);
    attention->features = desc.features;
    status = make_plans(attention, &problem, &choice);
    if (status)
        qkv_attention_destroy(attention);
    else
        *out = attention;
    return status;
}

void qkv_attention_destroy(qkv_attention *attention) {
    if (!attention) return;
    qkvi_plan_destroy(&attention->plan);
    qkvi_plan_destroy(&attention->copy);
    qkvi_plan_destroy(&attention->report);
    qkv_context_destroy(attention->context);
    free(attention->description);
    free(attention);
}

/* ---- running ---- */

qkv_status qkvi_attention_enqueue(const qkv_attention *attention, struct qkvi_chain *chain,
                                  const struct qkvi_attention_run *run) {
    qkv_status status = QKV_OK;
    if (run->batch == 0) return QKV_OK;
    if (run->past.wanted) status = attention->copy.solver->run(attention->copy.state, chain, run);
    if (!status && run->seq_q > 0) status = attention->plan.solver->run(attention->plan.state, chain, run);
    /* Without queries, keys still receive nothing, and it is to be written. */
    if (!status && run->reports.wanted) status = attention->report.solver->run(attention->report.state, chain, run);
    return status;
}

qkv_status qkv_attention_run(const qkv_attention *attention, cl_command_queue queue, const qkv_attention_args *given,
                             cl_uint num_wait, const cl_event *wait_list, cl_event *event) {
    qkv_attention_args args;
    struct qkvi_attention_run run;
    struct qkvi_chain chain;
    if (!attention) return qkvi_fail(QKV_INVALID_ARGUMENT, "attention is NULL");
    qkv_status status = qkvi_queue_check(&attention->context->rt, queue);
    if (!status) status = qkvi_struct_read(&args, sizeof args, given, "args");
    if (!status) status = qkvi_attention_prepare(&run, attention, &args);
    if (!status) status = qkvi_chain_begin(&chain, &attention->context->rt.observer, queue, num_wait, wait_list, event);
    if (status) return status;
    return qkvi_chain_end(&chain, qkvi_attention_enqueue(attention, &chain, &run));
}

/* ---- asking ---- */

size_t qkv_attention_workspace_bytes(const qkv_attention *attention) {
    return attention ? attention->workspace : 0;
}

const char *qkv_attention_describe(const qkv_attention *attention) {
    return attention && attention->description ? attention->description : "";
}
