#include "api/internal.h"

#include <math.h>
#include <stdlib.h>

#define MAX_DIM 512
#define NO_CAUSAL (INT64_MAX / 2)

struct qkv_attention {
    qkv_context *context;
    struct qkvi_plan plan;
};

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
    if (desc->features & ~(uint64_t)(QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS))
        return qkvi_fail(QKV_UNSUPPORTED, "desc.features is 0x%llx; this version knows the bits 0x%x",
                         (unsigned long long)desc->features, QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS);
    status = check_limits(desc);
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
        .weights = (desc->features & QKV_ATTENTION_WEIGHTS) != 0,
    };
    return QKV_OK;
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
    status = qkvi_plan_create(&attention->plan, &context->programs, &problem, &choice);
    if (status)
        qkv_attention_destroy(attention);
    else
        *out = attention;
    return status;
}

void qkv_attention_destroy(qkv_attention *attention) {
    if (!attention) return;
    qkvi_plan_destroy(&attention->plan);
    qkv_context_destroy(attention->context);
    free(attention);
}

/* ---- running ---- */

enum slot { Q, K, V, OUT, MASK, WEIGHTS, SCORES, LSE, NUM_SLOTS };
static const char *const slot_names[NUM_SLOTS] = {"args.q",    "args.k",       "args.v",      "args.out",
                                                  "args.mask", "args.weights", "args.scores", "args.logsumexp"};

static void list_slots(struct qkvi_operand *slots, const qkv_attention_args *args) {
    const qkv_tensor *tensors[NUM_SLOTS] = {args->q,    args->k,       args->v,      args->out,
                                            args->mask, args->weights, args->scores, args->logsumexp};
    for (int i = 0; i < NUM_SLOTS; i++)
        slots[i] = (struct qkvi_operand){tensors[i], slot_names[i]};
}

static qkv_status check_slots(const qkv_attention *attention, const struct qkvi_operand *slots) {
    const struct qkvi_attention_problem *p = &attention->plan.problem.u.attention;
    if (slots[MASK].tensor && !p->mask)
        return qkvi_fail(QKV_UNSUPPORTED, "args.mask is given, but the plan was made without QKV_ATTENTION_MASK");
    for (int i = WEIGHTS; i <= SCORES; i++)
        if (slots[i].tensor && !p->weights)
            return qkvi_fail(QKV_UNSUPPORTED, "%s is given, but the plan was made without QKV_ATTENTION_WEIGHTS",
                             slots[i].name);
    for (int i = 0; i < NUM_SLOTS; i++) {
        bool input = i == Q || i == K || i == V || i == MASK;
        unsigned dtypes = QKVI_DTYPE(QKV_F32) | (i == MASK ? QKVI_DTYPE(QKV_BOOL) : 0);
        if (!slots[i].tensor && i > OUT) continue;
        qkv_status status = qkvi_operand_check(attention->context, slots[i].tensor, slots[i].name, input, dtypes);
        if (status) return status;
    }
    const struct qkvi_operand outputs[] = {slots[OUT], slots[WEIGHTS], slots[SCORES], slots[LSE]};
    const struct qkvi_operand inputs[] = {slots[Q], slots[K], slots[V], slots[MASK]};
    return qkvi_operands_disjoint(outputs, 4, inputs, 4);
}

static const char *const slot_axes[NUM_SLOTS] = {
    [Q] = " = (batch, num_heads, seq_q, head_dim)",
    [K] = " = (batch, num_kv_heads, seq_kv, head_dim)",
    [V] = " = (batch, num_kv_heads, seq_kv, value_dim)",
    [OUT] = " = (batch, num_heads, seq_q, value_dim)",
    [WEIGHTS] = " = (batch, num_heads, seq_q, seq_kv)",
    [SCORES] = " = (batch, num_heads, seq_q, seq_kv)",
    [LSE] = " = (batch, num_heads, seq_q)",
};

static qkv_status check_sizes(struct qkvi_attention_run *run, const struct qkvi_attention_problem *p,
                              const struct qkvi_operand *s) {
    for (int i = Q; i <= OUT; i++)
        if (s[i].tensor->rank != 4)
            return qkvi_fail(QKV_INVALID_SHAPE, "%s.rank is %u; it must be 4%s", s[i].name, s[i].tensor->rank,
                             slot_axes[i]);
    size_t b = (size_t)s[Q].tensor->shape[0], q = (size_t)s[Q].tensor->shape[2], k = (size_t)s[K].tensor->shape[2];
    const size_t shapes[NUM_SLOTS][4] = {
        [Q] = {b, p->num_heads, q, p->head_dim},
        [K] = {b, p->num_kv_heads, k, p->head_dim},
        [V] = {b, p->num_kv_heads, k, p->value_dim},
        [OUT] = {b, p->num_heads, q, p->value_dim},
        [WEIGHTS] = {b, p->num_heads, q, k},
        [SCORES] = {b, p->num_heads, q, k},
        [LSE] = {b, p->num_heads, q, 0},
    };
    for (int i = 0; i < NUM_SLOTS; i++) {
        if (i == MASK || !s[i].tensor) continue;
        qkv_status status = qkvi_operand_shape(s[i].tensor, s[i].name, i == LSE ? 3 : 4, shapes[i]);
        if (status) return qkvi_fail_append(status, slot_axes[i]);
    }
    run->batch = b;
    run->seq_q = q;
    run->seq_kv = k;
    qkv_status status = qkvi_limit_check("batch of args.q", b, "max_batch", p->max_batch);
    if (!status) status = qkvi_limit_check("seq_q of args.q", q, "max_seq_q", p->max_seq_q);
    if (!status) status = qkvi_limit_check("seq_kv of args.k", k, "max_seq_kv", p->max_seq_kv);
    return status;
}

/* Broadcast from the right: missing axes and axes of size 1 get stride 0. */
static qkv_status read_mask(struct qkvi_attention_run *run, const struct qkvi_attention_problem *p,
                            const qkv_tensor *t) {
    const size_t full[4] = {run->batch, p->num_heads, run->seq_q, run->seq_kv};
    if (!t) return QKV_OK;
    if (t->rank < 1 || t->rank > 4)
        return qkvi_fail(QKV_INVALID_SHAPE, "args.mask.rank is %u; it must be 1 to 4", t->rank);
    run->mask = (struct qkvi_view4){.buffer = t->memory.buffer, .offset = (int64_t)t->offset};
    run->mask_kind = t->dtype == QKV_BOOL ? QKVI_MASK_BOOL : QKVI_MASK_ADD;
    for (uint32_t i = 0; i < t->rank; i++) {
        uint32_t axis = 4 - t->rank + i;
        if (t->shape[i] != full[axis] && t->shape[i] != 1)
            return qkvi_fail(QKV_INVALID_SHAPE,
                             "args.mask.shape[%u] is %zu; it must be 1 or %zu to broadcast to (%zu, %zu, %zu, %zu)", i,
                             (size_t)t->shape[i], full[axis], full[0], full[1], full[2], full[3]);
        run->mask.stride[axis] = t->shape[i] == 1 ? 0 : t->stride[i];
    }
    return QKV_OK;
}

static qkv_status read_scalars(struct qkvi_attention_run *run, const struct qkvi_attention_problem *p,
                               const qkv_attention_args *args) {
    if (!isfinite(args->scale)) return qkvi_fail(QKV_INVALID_ARGUMENT, "args.scale is not finite");
    run->scale = args->scale != 0.0f ? args->scale : (float)(1.0 / sqrt((double)p->head_dim));
    switch (args->causal) {
    case QKV_CAUSAL_OFF:
        run->causal_offset = NO_CAUSAL;
        return QKV_OK;
    case QKV_CAUSAL_FIRST:
        run->causal_offset = 0;
        return QKV_OK;
    case QKV_CAUSAL_LAST:
        run->causal_offset = (int64_t)run->seq_kv - (int64_t)run->seq_q;
        return QKV_OK;
    }
    return qkvi_fail(QKV_INVALID_ARGUMENT, "args.causal is %d, which is no qkv_causal", (int)args->causal);
}

static struct qkvi_view4 optional_view(const qkv_tensor *t) {
    return t ? qkvi_operand_view4(t) : (struct qkvi_view4){0};
}

qkv_status qkvi_attention_prepare(struct qkvi_attention_run *out, const qkv_attention *attention,
                                  const qkv_attention_args *args) {
    const struct qkvi_attention_problem *problem = &attention->plan.problem.u.attention;
    struct qkvi_operand slots[NUM_SLOTS];
    struct qkvi_attention_run run = {0};
    list_slots(slots, args);
    qkv_status status = check_slots(attention, slots);
    if (!status) status = check_sizes(&run, problem, slots);
    if (!status) status = read_mask(&run, problem, args->mask);
    if (!status) status = read_scalars(&run, problem, args);
    if (!status) status = qkvi_workspace_check(attention->context, args->workspace, attention->plan.workspace);
    if (!status) status = qkvi_workspace_disjoint(args->workspace, attention->plan.workspace, slots, NUM_SLOTS);
    if (status) return status;
    run.q = qkvi_operand_view4(args->q);
    run.k = qkvi_operand_view4(args->k);
    run.v = qkvi_operand_view4(args->v);
    run.out = qkvi_operand_view4(args->out);
    run.weights = optional_view(args->weights);
    run.scores = optional_view(args->scores);
    run.logsumexp = optional_view(args->logsumexp);
    if (args->workspace) {
        run.workspace = args->workspace->buffer;
        run.workspace_offset = args->workspace->offset;
    }
    *out = run;
    return QKV_OK;
}

qkv_status qkvi_attention_enqueue(const qkv_attention *attention, struct qkvi_chain *chain,
                                  const struct qkvi_attention_run *run) {
    if (run->batch == 0 || run->seq_q == 0) return QKV_OK;
    return attention->plan.solver->run(attention->plan.state, chain, run);
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
    return attention ? attention->plan.workspace : 0;
}

const char *qkv_attention_describe(const qkv_attention *attention) {
    return attention && attention->plan.description ? attention->plan.description : "";
}
