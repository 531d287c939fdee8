/* Runs of a layer: every step is validated before the first is enqueued. */
#include "api/layer_internal.h"

#include <string.h>

/* A run as the steps see it. */
struct wishes {
    const qkv_layer_args *layer;
    qkv_attention_args attention; /* all of attention's own, the layer's fields merged in */
    size_t seq_past;
    bool in_place; /* K and V are projected to where the cache wants them */
};

/* The four intermediates as (batch, heads, seq, dim): the caller's tensors, or views of the workspace. */
struct intermediates {
    qkv_tensor tensor[NUM_PARTS];
};

static qkv_status make_view(qkv_tensor *out, const qkv_layer *layer, const qkv_workspace *workspace, enum part part,
                            const size_t *shape) {
    qkv_status status = qkv_tensor_dense(out, workspace->buffer, QKV_F32, 4, shape);
    out->offset = (workspace->offset + layer->part_offset[part]) / sizeof(float);
    return status;
}

/* The rows of the cache that are new. */
static qkv_status place_in_cache(qkv_tensor *out, const struct wishes *wishes, enum part part, const size_t *shape,
                                 const char *name) {
    const qkv_tensor *present = part == PART_K ? wishes->attention.present_k : wishes->attention.present_v;
    size_t whole[4];
    memcpy(whole, shape, sizeof whole);
    whole[2] += wishes->seq_past;
    const qkv_status status = qkvi_operand_shape(present, name, 4, whole);
    return status ? status : qkv_tensor_slice(out, present, 2, wishes->seq_past, shape[2]);
}

static qkv_status place(struct intermediates *at, const qkv_layer *layer, const struct wishes *wishes) {
    const qkv_layer_args *args = wishes->layer;
    const qkv_layer_desc *d = &layer->desc;
    const qkv_tensor *kv = args->kv ? args->kv : args->x, *given[] = {args->q, args->k, args->v, args->heads};
    size_t b = (size_t)args->x->shape[0], q = (size_t)args->x->shape[1], k = (size_t)kv->shape[1];
    const size_t shapes[NUM_PARTS][4] = {
        [PART_Q] = {b, d->num_heads, q, d->head_dim},
        [PART_K] = {b, d->num_kv_heads, k, d->head_dim},
        [PART_V] = {b, d->num_kv_heads, k, d->value_dim},
        /* side by side per token, as wo reads them in one row */
        [PART_HEADS] = {b, q, d->num_heads, d->value_dim},
    };
    const size_t heads_shape[4] = {b, d->num_heads, q, d->value_dim};
    static const char *const names[NUM_PARTS] = {"args.q", "args.k", "args.v", "args.heads"};
    static const size_t swap[] = {0, 2, 1, 3};
    qkv_status status = QKV_OK;
    for (int i = 0; !status && i < NUM_PARTS; i++) {
        if (given[i]) {
            status = qkvi_operand_check(layer->context, given[i], names[i], false, QKVI_DTYPE(QKV_F32));
            if (!status) status = qkvi_operand_shape(given[i], names[i], 4, i == PART_HEADS ? heads_shape : shapes[i]);
        }
        if (status) break;
        if (wishes->in_place && (i == PART_K || i == PART_V)) {
            status = place_in_cache(&at->tensor[i], wishes, (enum part)i, shapes[i],
                                    i == PART_K ? "args.attention->present_k" : "args.attention->present_v");
        } else if (i == PART_HEADS && !layer->out) {
            status = qkv_tensor_heads(&at->tensor[i], args->out, d->num_heads);
        } else if (given[i]) {
            at->tensor[i] = *given[i];
        } else {
            status = make_view(&at->tensor[i], layer, args->workspace, (enum part)i, shapes[i]);
            if (!status && i == PART_HEADS) status = qkv_tensor_permute(&at->tensor[i], &at->tensor[i], swap);
        }
    }
    return status;
}

/* What the steps do not check themselves, or would name by another name. */
static qkv_status check_args(const qkv_layer *layer, const qkv_layer_args *args) {
    const qkv_layer_desc *d = &layer->desc;
    const unsigned f32 = QKVI_DTYPE(QKV_F32);
    qkv_status status = qkvi_operand_check(layer->context, args->x, "args.x", true, f32);
    if (!status && args->x->rank != 3)
        status = qkvi_fail(QKV_INVALID_SHAPE, "args.x.rank is %u; (batch, seq_q, embed_dim) has 3", args->x->rank);
    if (status) return status;
    size_t b = (size_t)args->x->shape[0], q = (size_t)args->x->shape[1];
    const size_t x_shape[] = {b, q, d->embed_dim},
                 out_shape[] = {b, q, layer->out ? d->out_dim : d->num_heads * d->value_dim};
    status = qkvi_operand_shape(args->x, "args.x", 3, x_shape);
    if (!status) status = qkvi_limit_check("batch of args.x", b, "max_batch", d->max_batch);
    if (!status) status = qkvi_limit_check("seq_q of args.x", q, "max_seq_q", d->max_seq_q);
    if (!status && args->kv && !layer->cross)
        status = qkvi_fail(QKV_INVALID_ARGUMENT, "args.kv is given, but the layer was made without desc.cross");
    if (!status && !args->kv && d->kv_embed_dim != d->embed_dim)
        status = qkvi_fail(QKV_INVALID_ARGUMENT, "args.kv is NULL, but kv_embed_dim (%zu) differs from embed_dim (%zu)",
                           d->kv_embed_dim, d->embed_dim);
    size_t k = q;
    if (!status && args->kv) {
        status = qkvi_operand_check(layer->context, args->kv, "args.kv", true, f32);
        k = args->kv->rank == 3 ? (size_t)args->kv->shape[1] : 0;
        const size_t kv_shape[] = {b, k, d->kv_embed_dim};
        if (!status) status = qkvi_operand_shape(args->kv, "args.kv", 3, kv_shape);
    }
    if (!status) status = qkvi_operand_check(layer->context, args->out, "args.out", false, f32);
    if (!status) status = qkvi_operand_shape(args->out, "args.out", 3, out_shape);
    if (!status)
        status = qkvi_limit_check(args->kv ? "seq_kv of args.kv" : "seq_kv of args.x", k, "max_seq_kv", d->max_seq_kv);
    return status ? status : qkvi_workspace_check(layer->context, args->workspace, layer->workspace);
}

/* Every output against every input: the steps see only their own. */
static qkv_status check_overlap(const qkv_layer *layer, const struct wishes *wishes) {
    const qkv_layer_args *args = wishes->layer;
    const qkv_attention_args *a = &wishes->attention;
    const struct qkvi_operand outputs[] = {
        {args->out, "args.out"},
        {args->q, "args.q"},
        {args->k, "args.k"},
        {args->v, "args.v"},
        {args->heads, "args.heads"},
        {a->weights, "args.weights"},
        {a->scores, "args.scores"},
        {a->logsumexp, "args.logsumexp"},
        {a->present_k, "args.attention->present_k"},
        {a->present_v, "args.attention->present_v"},
        {a->received, "args.attention->received"},
        {a->top_keys, "args.attention->top_keys"},
        {a->top_weights, "args.attention->top_weights"},
    };
    const struct qkvi_operand inputs[] = {
        {args->x, "args.x"},
        {args->kv, "args.kv"},
        {args->positions, "args.positions"},
        {a->mask, "args.mask"},
        {qkvi_attention_in_place(a->past_k, a->present_k) ? NULL : a->past_k, "args.attention->past_k"},
        {qkvi_attention_in_place(a->past_v, a->present_v) ? NULL : a->past_v, "args.attention->past_v"},
        {a->kv_lengths, "args.attention->kv_lengths"},
        {a->query_offsets, "args.attention->query_offsets"},
        {a->alibi_slopes, "args.attention->alibi_slopes"},
        {a->sinks, "args.attention->sinks"},
    };
    const struct qkvi_operand *all[] = {outputs, inputs};
    const size_t counts[] = {QKVI_COUNT(outputs), QKVI_COUNT(inputs)};
    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < counts[side]; i++) {
            if (!all[side][i].tensor) continue;
            qkv_status status = qkvi_view_check(all[side][i].tensor, all[side][i].name, side == 1);
            if (!status) status = qkvi_workspace_disjoint(args->workspace, layer->workspace, &all[side][i], 1);
            if (status) return status;
        }
    return qkvi_operands_disjoint(outputs, QKVI_COUNT(outputs), inputs, QKVI_COUNT(inputs));
}

/* Attention's arguments in one struct. What the layer has fields for is given there. */
static qkv_status merge_attention(qkv_attention_args *out, const qkv_layer_args *args) {
    qkv_attention_args a = QKV_ATTENTION_ARGS_INIT;
    if (args->attention) {
        qkv_status status = qkvi_struct_read(&a, sizeof a, args->attention, "args.attention");
        if (status) return status;
    }
    const struct {
        const char *name;
        bool set;
    } taken[] = {{"q", a.q},
                 {"k", a.k},
                 {"v", a.v},
                 {"out", a.out},
                 {"mask", a.mask},
                 {"weights", a.weights},
                 {"scores", a.scores},
                 {"logsumexp", a.logsumexp},
                 {"scale", a.scale != 0.0f},
                 {"causal", a.causal != QKV_CAUSAL_OFF},
                 {"workspace", a.workspace}};
    for (size_t i = 0; i < QKVI_COUNT(taken); i++)
        if (taken[i].set)
            return qkvi_fail(QKV_INVALID_ARGUMENT, "args.attention->%s is given: the layer sees to it, or has a field",
                             taken[i].name);
    a.mask = args->mask;
    a.weights = args->weights;
    a.scores = args->scores;
    a.logsumexp = args->logsumexp;
    a.scale = args->scale;
    a.causal = args->causal;
    *out = a;
    return QKV_OK;
}

/* Are K and V to be projected straight into a cache? Then attention sees the cache and no past. */
static qkv_status read_wishes(struct wishes *out, const qkv_layer *layer, const qkv_layer_args *args) {
    struct wishes w = {.layer = args};
    qkv_attention_args *a = &w.attention;
    qkv_status status = merge_attention(a, args);
    if (status) return status;
    if (!layer->rotary && (args->positions || args->first_position))
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.%s is given, but the layer was made without desc.rotary",
                         args->positions ? "positions" : "first_position");
    const qkv_tensor *past[] = {a->past_k, a->past_v}, *present[] = {a->present_k, a->present_v};
    static const char *const names[2][2] = {{"args.attention->past_k", "args.attention->present_k"},
                                            {"args.attention->past_v", "args.attention->present_v"}};
    const unsigned f32 = QKVI_DTYPE(QKV_F32);
    w.in_place = a->present_k && a->present_v && !a->past_k == !a->past_v && !args->k && !args->v;
    for (int i = 0; i < 2; i++) {
        if (!past[i] && !present[i]) continue;
        if (!(layer->desc.features & QKV_ATTENTION_PAST))
            return qkvi_fail(QKV_UNSUPPORTED, "%s is given, but the layer was made without QKV_ATTENTION_PAST",
                             names[i][past[i] ? 0 : 1]);
        if (past[i]) status = qkvi_operand_check(layer->context, past[i], names[i][0], true, f32);
        if (!status && present[i]) status = qkvi_operand_check(layer->context, present[i], names[i][1], false, f32);
        if (status) return status;
        if ((past[i] && past[i]->rank != 4) || (present[i] && present[i]->rank != 4))
            return qkvi_fail(QKV_INVALID_SHAPE, "%s.rank is not 4 = (batch, num_kv_heads, seq, dim)",
                             names[i][past[i] && past[i]->rank != 4 ? 0 : 1]);
        w.in_place = w.in_place && (!past[i] || qkvi_attention_in_place(past[i], present[i]));
    }
    if (past[0]) w.seq_past = (size_t)past[0]->shape[2];
    if (past[0] && past[1] && past[1]->shape[2] != past[0]->shape[2])
        return qkvi_fail(QKV_INVALID_SHAPE, "args.attention->past_v has %zu keys, past_k %zu",
                         (size_t)past[1]->shape[2], w.seq_past);
    if (w.in_place && past[0] && a->kv_lengths)
        return qkvi_fail(QKV_INVALID_ARGUMENT,
                         "args.attention->kv_lengths is given with past_k: a past has no padding");
    *out = w;
    return QKV_OK;
}

/* Everything is validated before the first step is enqueued: a wrong argument leaves all outputs untouched. */
struct steps {
    struct qkvi_linear_run in, kv, out;
    struct qkvi_rotary_run turn_q, turn_k;
    struct qkvi_attention_run attention, heads;
    bool both; /* without wo, out is the heads in another axis order; asking for both is rare: attention runs twice */
};

/* Their operands are the layer's own, checked by now, or parts of its workspace: once is enough. */
static qkv_status prepare_projections(struct steps *steps, const qkv_layer *layer, const qkv_layer_args *args,
                                      const struct intermediates *at) {
    qkv_linear_args in = QKV_LINEAR_ARGS_INIT, kv = QKV_LINEAR_ARGS_INIT, out = QKV_LINEAR_ARGS_INIT;
    in.x = args->x;
    in.outputs[0] = &at->tensor[PART_Q];
    qkv_linear_args *kv_args = layer->cross ? &kv : &in;
    size_t first = layer->cross ? 0 : 1;
    kv_args->outputs[first] = &at->tensor[PART_K];
    kv_args->outputs[first + 1] = &at->tensor[PART_V];
    kv.x = args->kv ? args->kv : args->x;
    out.x = &at->tensor[PART_HEADS];
    out.outputs[0] = args->out;
    qkv_status status = qkvi_linear_arrange(&steps->in, layer->in, &in);
    if (!status && layer->kv) status = qkvi_linear_arrange(&steps->kv, layer->kv, &kv);
    if (!status && layer->out) status = qkvi_linear_arrange(&steps->out, layer->out, &out);
    return status;
}

/* Q and K, where the projections left them. */
static qkv_status prepare_turns(struct steps *steps, const qkv_layer *layer, const struct wishes *wishes,
                                const struct intermediates *at) {
    if (!layer->rotary) return QKV_OK;
    qkv_rotary_args r = QKV_ROTARY_ARGS_INIT;
    r.positions = wishes->layer->positions;
    r.first_position = wishes->layer->first_position;
    if (!r.positions) r.first_position += (int64_t)wishes->seq_past;
    r.x = r.out = &at->tensor[PART_Q];
    qkv_status status = qkvi_rotary_prepare(&steps->turn_q, layer->rotary, &r);
    r.x = r.out = &at->tensor[PART_K];
    return status ? status : qkvi_rotary_prepare(&steps->turn_k, layer->rotary, &r);
}

static qkv_status prepare_attention(struct steps *steps, const qkv_layer *layer, const struct wishes *wishes,
                                    const struct intermediates *at, qkv_workspace *scratch) {
    qkv_attention_args a = wishes->attention;
    a.q = &at->tensor[PART_Q];
    a.k = wishes->in_place ? a.present_k : &at->tensor[PART_K];
    a.v = wishes->in_place ? a.present_v : &at->tensor[PART_V];
    a.out = &at->tensor[PART_HEADS];
    a.workspace = scratch;
    if (wishes->in_place) {
        a.past_k = a.past_v = a.present_k = a.present_v = NULL;
        if (a.causal != QKV_CAUSAL_LAST) a.query_offset += (int64_t)wishes->seq_past;
    }
    qkv_status status = qkvi_attention_prepare(&steps->attention, layer->attention, &a);
    steps->both = !layer->out && wishes->layer->heads;
    if (status || !steps->both) return status;
    a.out = wishes->layer->heads;
    a.weights = a.scores = a.logsumexp = a.received = a.top_keys = a.top_weights = NULL;
    return qkvi_attention_prepare(&steps->heads, layer->attention, &a);
}

static qkv_status prepare(struct steps *steps, const qkv_layer *layer, const qkv_layer_args *args) {
    struct intermediates at;
    struct wishes wishes = {.in_place = false};
    qkv_status status = check_args(layer, args);
    if (!status) status = read_wishes(&wishes, layer, args);
    if (!status) status = check_overlap(layer, &wishes);
    if (!status) status = place(&at, layer, &wishes);
    if (status) return status;
    qkv_workspace scratch = *args->workspace;
    scratch.offset += layer->scratch_offset;
    scratch.bytes -= layer->scratch_offset;
    status = prepare_projections(steps, layer, args, &at);
    if (!status) status = prepare_turns(steps, layer, &wishes, &at);
    return status ? status : prepare_attention(steps, layer, &wishes, &at, &scratch);
}

static qkv_status enqueue(const qkv_layer *layer, struct qkvi_chain *chain, const struct steps *steps,
                          const qkv_workspace *workspace) {
    if (qkvi_layer_whole_takes(layer, &steps->in, &steps->attention))
        return qkvi_layer_whole_enqueue(layer, chain, &steps->in, &steps->attention, &steps->out, workspace);
    qkv_status status = qkvi_linear_enqueue(layer->in, chain, &steps->in);
    if (!status && layer->kv) status = qkvi_linear_enqueue(layer->kv, chain, &steps->kv);
    if (!status && layer->rotary) status = qkvi_rotary_enqueue(layer->rotary, chain, &steps->turn_q);
    if (!status && layer->rotary) status = qkvi_rotary_enqueue(layer->rotary, chain, &steps->turn_k);
    if (!status) status = qkvi_attention_enqueue(layer->attention, chain, &steps->attention);
    if (!status && steps->both) status = qkvi_attention_enqueue(layer->attention, chain, &steps->heads);
    if (!status && layer->out) status = qkvi_linear_enqueue(layer->out, chain, &steps->out);
    return status;
}

qkv_status qkv_layer_run(const qkv_layer *layer, cl_command_queue queue, const qkv_layer_args *given, cl_uint num_wait,
                         const cl_event *wait_list, cl_event *event) {
    qkv_layer_args args;
    struct steps steps = {.both = false};
    struct qkvi_chain chain;
    if (!layer) return qkvi_fail(QKV_INVALID_ARGUMENT, "layer is NULL");
    qkv_status status = qkvi_queue_check(&layer->context->rt, queue);
    if (!status) status = qkvi_struct_read(&args, sizeof args, given, "args");
    if (!status) status = prepare(&steps, layer, &args);
    if (!status) status = qkvi_chain_begin(&chain, &layer->context->rt.observer, queue, num_wait, wait_list, event);
    if (status) return status;
    return qkvi_chain_end(&chain, enqueue(layer, &chain, &steps, args.workspace));
}
