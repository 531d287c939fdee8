/* Attention's arguments, validated once and turned into a run. */
#include "api/attention_internal.h"

#include <math.h>

enum slot {
    Q,
    K,
    V,
    OUT,
    MASK,
    WEIGHTS,
    SCORES,
    LSE,
    PAST_K,
    PAST_V,
    PRESENT_K,
    PRESENT_V,
    LENGTHS,
    OFFSETS,
    SLOPES,
    SINKS,
    RECEIVED,
    TOP_KEYS,
    TOP_WEIGHTS,
    NUM_SLOTS
};

#define STORED (QKVI_DTYPE(QKV_F32) | QKVI_DTYPE(QKV_F16) | QKVI_DTYPE(QKV_BF16))
#define INTEGER (QKVI_DTYPE(QKV_I32) | QKVI_DTYPE(QKV_I64))

/* dtypes: 0 where the plan's description names it. */
static const struct row {
    const char *name, *axes, *bit_name;
    uint64_t bit; /* the feature without which it must be NULL */
    bool output;
    unsigned rank, dtypes; /* rank 0: checked by itself */
} rows[NUM_SLOTS] = {
    [Q] = {"args.q", " = (batch, num_heads, seq_q, head_dim)", NULL, 0, false, 4, 0},
    [K] = {"args.k", " = (batch, num_kv_heads, seq_kv, head_dim)", NULL, 0, false, 4, 0},
    [V] = {"args.v", " = (batch, num_kv_heads, seq_kv, value_dim)", NULL, 0, false, 4, 0},
    [OUT] = {"args.out", " = (batch, num_heads, seq_q, value_dim)", NULL, 0, true, 4, 0},
    [MASK] = {"args.mask", "", "MASK", QKV_ATTENTION_MASK, false, 0, STORED | QKVI_DTYPE(QKV_BOOL)},
    [WEIGHTS] = {"args.weights", " = (batch, num_heads, seq_q, seq_kv)", "WEIGHTS", QKV_ATTENTION_WEIGHTS, true, 4, 0},
    [SCORES] = {"args.scores", " = (batch, num_heads, seq_q, seq_kv)", "WEIGHTS", QKV_ATTENTION_WEIGHTS, true, 4, 0},
    [LSE] = {"args.logsumexp", " = (batch, num_heads, seq_q)", NULL, 0, true, 3, QKVI_DTYPE(QKV_F32)},
    [PAST_K] = {"args.past_k", " = (batch, num_kv_heads, seq_past, head_dim)", "PAST", QKV_ATTENTION_PAST, false, 4, 0},
    [PAST_V] = {"args.past_v", " = (batch, num_kv_heads, seq_past, value_dim)", "PAST", QKV_ATTENTION_PAST, false, 4,
                0},
    [PRESENT_K] = {"args.present_k", " = (batch, num_kv_heads, seq_past + seq_kv, head_dim)", "PAST",
                   QKV_ATTENTION_PAST, true, 4, 0},
    [PRESENT_V] = {"args.present_v", " = (batch, num_kv_heads, seq_past + seq_kv, value_dim)", "PAST",
                   QKV_ATTENTION_PAST, true, 4, 0},
    [LENGTHS] = {"args.kv_lengths", " = (batch)", "LENGTHS", QKV_ATTENTION_LENGTHS, false, 1, INTEGER},
    [OFFSETS] = {"args.query_offsets", " = (batch)", "LENGTHS", QKV_ATTENTION_LENGTHS, false, 1, INTEGER},
    [SLOPES] = {"args.alibi_slopes", " = (num_heads)", "ALIBI", QKV_ATTENTION_ALIBI, false, 1, QKVI_DTYPE(QKV_F32)},
    [SINKS] = {"args.sinks", " = (num_heads)", "SINKS", QKV_ATTENTION_SINKS, false, 1, QKVI_DTYPE(QKV_F32)},
    [RECEIVED] = {"args.received", " = (batch, num_heads, seq_kv)", "REDUCED", QKV_ATTENTION_REDUCED, true, 3,
                  QKVI_DTYPE(QKV_F32)},
    [TOP_KEYS] = {"args.top_keys", " = (batch, num_heads, seq_q, n)", "REDUCED", QKV_ATTENTION_REDUCED, true, 4,
                  QKVI_DTYPE(QKV_I32)},
    [TOP_WEIGHTS] = {"args.top_weights", " = (batch, num_heads, seq_q, n)", "REDUCED", QKV_ATTENTION_REDUCED, true, 4,
                     QKVI_DTYPE(QKV_F32)},
};

static void list_slots(struct qkvi_operand *slots, const qkv_attention_args *a) {
    const qkv_tensor *tensors[NUM_SLOTS] = {
        [Q] = a->q,
        [K] = a->k,
        [V] = a->v,
        [OUT] = a->out,
        [MASK] = a->mask,
        [WEIGHTS] = a->weights,
        [SCORES] = a->scores,
        [LSE] = a->logsumexp,
        [PAST_K] = a->past_k,
        [PAST_V] = a->past_v,
        [PRESENT_K] = a->present_k,
        [PRESENT_V] = a->present_v,
        [LENGTHS] = a->kv_lengths,
        [OFFSETS] = a->query_offsets,
        [SLOPES] = a->alibi_slopes,
        [SINKS] = a->sinks,
        [RECEIVED] = a->received,
        [TOP_KEYS] = a->top_keys,
        [TOP_WEIGHTS] = a->top_weights,
    };
    for (int i = 0; i < NUM_SLOTS; i++)
        slots[i] = (struct qkvi_operand){tensors[i], rows[i].name};
}

static unsigned dtypes_of(const qkv_attention *attention, int slot) {
    const struct qkvi_attention_problem *p = &attention->plan.problem.u.attention;
    switch (slot) {
    case Q:
        return QKVI_DTYPE(p->q_dtype);
    case OUT:
        return QKVI_DTYPE(p->out_dtype);
    case K:
    case PAST_K:
    case PRESENT_K:
        return QKVI_DTYPE(p->k_dtype);
    case V:
    case PAST_V:
    case PRESENT_V:
        return QKVI_DTYPE(p->v_dtype);
    case WEIGHTS:
    case SCORES:
        return QKVI_DTYPE(p->report_dtype);
    default:
        return rows[slot].dtypes;
    }
}

static qkv_status check_feature(const qkv_attention *attention, const char *name, uint64_t bit, const char *bit_name) {
    if (!bit || attention->features & bit) return QKV_OK;
    return qkvi_fail(QKV_UNSUPPORTED, "%s is given, but the plan was made without QKV_ATTENTION_%s", name, bit_name);
}

bool qkvi_attention_in_place(const qkv_tensor *past, const qkv_tensor *present) {
    if (!past || !present || past->memory.buffer != present->memory.buffer || past->offset != present->offset)
        return false;
    for (uint32_t i = 0; i < past->rank; i++)
        if (past->stride[i] != present->stride[i] && past->shape[i] > 1) return false;
    return true;
}

static qkv_status check_disjoint(const struct qkvi_operand *slots) {
    struct qkvi_operand outputs[NUM_SLOTS], inputs[NUM_SLOTS];
    size_t num_outputs = 0, num_inputs = 0;
    for (int i = 0; i < NUM_SLOTS; i++) {
        if (!slots[i].tensor) continue;
        if (rows[i].output)
            outputs[num_outputs++] = slots[i];
        else if (!((i == PAST_K || i == PAST_V) &&
                   qkvi_attention_in_place(slots[i].tensor, slots[i + PRESENT_K - PAST_K].tensor)))
            inputs[num_inputs++] = slots[i];
    }
    return qkvi_operands_disjoint(outputs, num_outputs, inputs, num_inputs);
}

/* Which go together. */
static qkv_status check_pairs(const struct qkvi_operand *slots) {
    static const int needs[][2] = {{PAST_K, PRESENT_K}, {PAST_V, PRESENT_V},    {PAST_K, PAST_V},
                                   {PAST_V, PAST_K},    {PRESENT_K, PRESENT_V}, {PRESENT_V, PRESENT_K}};
    for (size_t i = 0; i < QKVI_COUNT(needs); i++)
        if (slots[needs[i][0]].tensor && !slots[needs[i][1]].tensor)
            return qkvi_fail(QKV_INVALID_ARGUMENT, "%s is given, but %s is NULL", slots[needs[i][0]].name,
                             slots[needs[i][1]].name);
    if (slots[PAST_K].tensor && slots[LENGTHS].tensor)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.kv_lengths is given with args.past_k: a past has no padding");
    return QKV_OK;
}

static qkv_status check_slots(const qkv_attention *attention, const struct qkvi_operand *slots) {
    for (int i = 0; i < NUM_SLOTS; i++) {
        if (!slots[i].tensor && i > OUT) continue;
        qkv_status status = check_feature(attention, slots[i].name, rows[i].bit, rows[i].bit_name);
        if (!status)
            status = qkvi_operand_check(attention->context, slots[i].tensor, slots[i].name, !rows[i].output,
                                        dtypes_of(attention, i));
        if (status) return status;
        if (rows[i].rank && slots[i].tensor->rank != rows[i].rank)
            return qkvi_fail(QKV_INVALID_SHAPE, "%s.rank is %u; it must be %u%s", slots[i].name, slots[i].tensor->rank,
                             rows[i].rank, rows[i].axes);
    }
    qkv_status status = check_pairs(slots);
    return status ? status : check_disjoint(slots);
}

static size_t axis(const struct qkvi_operand *slot, int i) {
    return slot->tensor ? (size_t)slot->tensor->shape[i] : 0;
}

static qkv_status check_sizes(struct qkvi_attention_run *run, const struct qkvi_attention_problem *p,
                              const struct qkvi_operand *s) {
    const size_t b = axis(&s[Q], 0), q = axis(&s[Q], 2), fresh = axis(&s[K], 2), past = axis(&s[PAST_K], 2);
    const size_t h = p->num_heads, g = p->num_kv_heads, d = p->head_dim, dv = p->value_dim;
    const struct qkvi_operand *ranked = s[TOP_KEYS].tensor ? &s[TOP_KEYS] : &s[TOP_WEIGHTS];
    const size_t k = past + fresh, n = axis(ranked, 3);
    const size_t shapes[NUM_SLOTS][4] = {
        [Q] = {b, h, q, d},
        [K] = {b, g, fresh, d},
        [V] = {b, g, fresh, dv},
        [OUT] = {b, h, q, dv},
        [WEIGHTS] = {b, h, q, k},
        [SCORES] = {b, h, q, k},
        [LSE] = {b, h, q, 0},
        [PAST_K] = {b, g, past, d},
        [PAST_V] = {b, g, past, dv},
        [PRESENT_K] = {b, g, k, d},
        [PRESENT_V] = {b, g, k, dv},
        [LENGTHS] = {b},
        [OFFSETS] = {b},
        [SLOPES] = {h},
        [SINKS] = {h},
        [RECEIVED] = {b, h, k, 0},
        [TOP_KEYS] = {b, h, q, n},
        [TOP_WEIGHTS] = {b, h, q, n},
    };
    for (int i = 0; i < NUM_SLOTS; i++) {
        if (i == MASK || !s[i].tensor) continue;
        qkv_status status = qkvi_operand_shape(s[i].tensor, s[i].name, rows[i].rank, shapes[i]);
        if (status) return qkvi_fail_append(status, rows[i].axes);
    }
    if (ranked->tensor && (n < 1 || n > QKVI_MOST_TOP))
        return qkvi_fail(QKV_INVALID_SHAPE, "%s.shape[3] is %zu; it must be 1 to %d", ranked->name, n, QKVI_MOST_TOP);
    run->batch = b;
    run->seq_q = q;
    run->seq_kv = k;
    run->reports.top = n;
    run->past.seq_past = past;
    run->past.seq_new = fresh;
    qkv_status status = qkvi_limit_check("batch of args.q", b, "max_batch", p->max_batch);
    if (!status) status = qkvi_limit_check("seq_q of args.q", q, "max_seq_q", p->max_seq_q);
    if (!status)
        status = qkvi_limit_check(past ? "seq_past + seq_kv" : "seq_kv of args.k", k, "max_seq_kv", p->max_seq_kv);
    return status;
}

/* Broadcast from the right: missing axes and axes of size 1 get stride 0; the last may be short. */
static qkv_status read_mask(struct qkvi_attention_run *run, const struct qkvi_attention_problem *p,
                            const qkv_tensor *t) {
    const size_t full[4] = {run->batch, p->num_heads, run->seq_q, run->seq_kv};
    run->mask_keys = run->seq_kv;
    if (!t) return QKV_OK;
    if (t->rank < 1 || t->rank > 4)
        return qkvi_fail(QKV_INVALID_SHAPE, "args.mask.rank is %u; it must be 1 to 4", t->rank);
    run->mask = (struct qkvi_view4){.buffer = t->memory.buffer, .offset = (int64_t)t->offset};
    run->mask_kind = t->dtype == QKV_BOOL ? QKVI_MASK_BOOL : QKVI_MASK_ADD;
    run->mask_dtype = (qkv_dtype)t->dtype;
    for (uint32_t i = 0; i < t->rank; i++) {
        uint32_t at = 4 - t->rank + i;
        const size_t size = (size_t)t->shape[i];
        if (size != full[at] && size != 1 && !(at == 3 && size < full[at]))
            return qkvi_fail(QKV_INVALID_SHAPE,
                             "args.mask.shape[%u] is %zu; it must be 1 or %zu to broadcast to (%zu, %zu, %zu, %zu)%s",
                             i, size, full[at], full[0], full[1], full[2], full[3],
                             at == 3 ? ", or less, which excludes the keys past it" : "");
        run->mask.stride[at] = size == 1 ? 0 : t->stride[i];
        if (at == 3 && size != 1) run->mask_keys = size;
    }
    return QKV_OK;
}

static qkv_status read_window(struct qkvi_attention_terms *terms, const qkv_attention *attention,
                              const qkv_window *window) {
    terms->left = terms->right = QKVI_UNBOUNDED;
    if (!window) return QKV_OK;
    qkv_status status = check_feature(attention, "args.window", QKV_ATTENTION_WINDOW, "WINDOW");
    if (status) return status;
    const struct {
        const char *name;
        int64_t value, *to;
    } sides[] = {{"left", window->left, &terms->left}, {"right", window->right, &terms->right}};
    for (size_t i = 0; i < 2; i++) {
        if (sides[i].value < -1)
            return qkvi_fail(QKV_INVALID_ARGUMENT, "args.window.%s is %lld; it must be at least 0, or -1 for unbounded",
                             sides[i].name, (long long)sides[i].value);
        if (sides[i].value >= 0 && sides[i].value < QKVI_FARTHEST) *sides[i].to = sides[i].value;
    }
    return QKV_OK;
}

/* Positions and causality; see struct qkvi_attention_terms. */
static qkv_status read_positions(struct qkvi_attention_run *run, const qkv_attention_args *args) {
    struct qkvi_attention_terms *terms = &run->terms;
    const bool last = args->causal == QKV_CAUSAL_LAST;
    if ((int)args->causal < QKV_CAUSAL_OFF || args->causal > QKV_CAUSAL_LAST)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.causal is %d, which is no qkv_causal", (int)args->causal);
    if (args->query_offset > QKVI_FARTHEST || args->query_offset < -QKVI_FARTHEST)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.query_offset is %lld; it must be within 2^40 of 0",
                         (long long)args->query_offset);
    if (last && (args->query_offset || args->query_offsets))
        return qkvi_fail(QKV_INVALID_ARGUMENT,
                         "args.query_offset or query_offsets is given, but QKV_CAUSAL_LAST places the queries");
    terms->from_end = last;
    terms->query_offset = args->query_offset + (int64_t)run->past.seq_past;
    if (args->causal != QKV_CAUSAL_OFF) terms->right = 0;
    if (last) terms->query_offset = (int64_t)run->seq_kv - (int64_t)run->seq_q;
    run->causal_offset = QKVI_NO_CAUSAL;
    if (terms->right != QKVI_UNBOUNDED && !(args->query_offsets))
        run->causal_offset = terms->query_offset + terms->right;
    return QKV_OK;
}

static qkv_status read_terms(struct qkvi_attention_run *run, const qkv_attention *attention,
                             const qkv_attention_args *args) {
    const struct qkvi_attention_problem *p = &attention->plan.problem.u.attention;
    struct qkvi_attention_terms *terms = &run->terms;
    if (!isfinite(args->scale)) return qkvi_fail(QKV_INVALID_ARGUMENT, "args.scale is not finite");
    run->scale = args->scale != 0.0f ? args->scale : (float)(1.0 / sqrt((double)p->head_dim));
    if (!(args->softcap >= 0.0f) || !isfinite(args->softcap))
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.softcap is %g; it must be above 0, or 0 for none",
                         (double)args->softcap);
    qkv_status status = QKV_OK;
    if (args->softcap != 0.0f) status = check_feature(attention, "args.softcap", QKV_ATTENTION_SOFTCAP, "SOFTCAP");
    if (!status) status = read_window(terms, attention, args->window);
    if (!status) status = read_positions(run, args);
    if (status) return status;
    terms->softcap = args->softcap;
    terms->lengths = qkvi_operand_view4(args->kv_lengths);
    terms->offsets = qkvi_operand_view4(args->query_offsets);
    terms->slopes = qkvi_operand_view4(args->alibi_slopes);
    terms->sinks = qkvi_operand_view4(args->sinks);
    if (args->kv_lengths) terms->lengths_dtype = (qkv_dtype)args->kv_lengths->dtype;
    if (args->query_offsets) terms->offsets_dtype = (qkv_dtype)args->query_offsets->dtype;
    return QKV_OK;
}

static void read_past(struct qkvi_attention_run *run, const qkv_attention_args *args) {
    run->k = qkvi_operand_view4(args->k);
    run->v = qkvi_operand_view4(args->v);
    if (!args->present_k) return;
    struct qkvi_attention_past *past = &run->past;
    past->wanted = true;
    past->new_k = run->k;
    past->new_v = run->v;
    if (!qkvi_attention_in_place(args->past_k, args->present_k)) past->past_k = qkvi_operand_view4(args->past_k);
    if (!qkvi_attention_in_place(args->past_v, args->present_v)) past->past_v = qkvi_operand_view4(args->past_v);
    run->k = qkvi_operand_view4(args->present_k);
    run->v = qkvi_operand_view4(args->present_v);
}

/* Scores and weights come from attention's own kernel in fp32 and at the stage that it has, else from the reports'. */
static qkv_status read_reports(struct qkvi_attention_run *run, const qkv_attention *attention,
                               const qkv_attention_args *args) {
    const struct qkvi_attention_problem *p = &attention->plan.problem.u.attention;
    struct qkvi_attention_reports *reports = &run->reports;
    if ((int)args->scores_stage < QKV_SCORES_MASKED || args->scores_stage > QKV_SCORES_CAPPED)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.scores_stage is %d, which is no qkv_scores_stage",
                         (int)args->scores_stage);
    qkv_status status = QKV_OK;
    if (args->scores_stage != QKV_SCORES_MASKED)
        status = check_feature(attention, "args.scores_stage", QKV_ATTENTION_REDUCED, "REDUCED");
    if (status) return status;
    const bool other = p->report_dtype != QKV_F32;
    *(other ? &reports->weights : &run->weights) = qkvi_operand_view4(args->weights);
    *(other || args->scores_stage != QKV_SCORES_MASKED ? &reports->scores : &run->scores) = qkvi_operand_view4(args->scores);
    reports->stage = args->scores_stage;
    reports->received = qkvi_operand_view4(args->received);
    reports->top_keys = qkvi_operand_view4(args->top_keys);
    reports->top_weights = qkvi_operand_view4(args->top_weights);
    reports->wanted = reports->weights.buffer || reports->scores.buffer || reports->received.buffer ||
                      reports->top_keys.buffer || reports->top_weights.buffer;
    return QKV_OK;
}

/* The reports start from the log-sum-exp: behind the solver's scratch where the caller does not want it. */
static void place_logsumexp(struct qkvi_attention_run *run, const qkv_attention *attention,
                            const qkv_attention_args *args) {
    const size_t heads = attention->plan.problem.u.attention.num_heads;
    run->logsumexp = qkvi_operand_view4(args->logsumexp);
    if (!run->reports.wanted || run->logsumexp.buffer) return;
    run->logsumexp = (struct qkvi_view4){
        .buffer = run->workspace,
        .offset = (int64_t)((run->workspace_offset + attention->logsumexp_at) / sizeof(float)),
        .stride = {(int64_t)(heads * run->seq_q), (int64_t)run->seq_q, 1, 0},
    };
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
    if (!status) status = read_terms(&run, attention, args);
    if (!status) status = read_reports(&run, attention, args);
    if (!status) status = qkvi_workspace_check(attention->context, args->workspace, attention->workspace);
    if (!status) status = qkvi_workspace_disjoint(args->workspace, attention->workspace, slots, NUM_SLOTS);
    if (status) return status;
    run.q = qkvi_operand_view4(args->q);
    run.out = qkvi_operand_view4(args->out);
    read_past(&run, args);
    if (args->workspace) {
        run.workspace = args->workspace->buffer;
        run.workspace_offset = args->workspace->offset;
    }
    place_logsumexp(&run, attention, args);
    *out = run;
    return QKV_OK;
}
