#include "api/internal.h"

#include <stdlib.h>

enum part { PART_Q, PART_K, PART_V, PART_HEADS, NUM_PARTS };

struct qkv_layer {
    qkv_context *context;
    qkv_layer_desc desc; /* every default filled in; its pointers are not kept */
    bool cross;
    qkv_linear *in; /* Q, K, V; with cross Q alone */
    qkv_linear *kv; /* K, V; only with cross */
    qkv_attention *attention;
    qkv_linear *out;               /* NULL without wo */
    size_t part_offset[NUM_PARTS]; /* bytes into the workspace, for the largest sizes */
    size_t scratch_offset;         /* what the steps need themselves; they run one after the other */
    size_t workspace;
    char *description;
};

#define ALIGNMENT 256

/* ---- creating ---- */

static qkv_status fill_defaults(qkv_layer_desc *d) {
    if (d->num_heads == 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.num_heads is 0; it must be at least 1");
    if (d->embed_dim == 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.embed_dim is 0");
    if (d->head_dim == 0 && d->embed_dim % d->num_heads != 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT,
                         "desc.num_heads (%zu) does not divide embed_dim (%zu); set desc.head_dim", d->num_heads,
                         d->embed_dim);
    if (d->head_dim == 0) d->head_dim = d->embed_dim / d->num_heads;
    if (d->value_dim == 0) d->value_dim = d->head_dim;
    if (d->num_kv_heads == 0) d->num_kv_heads = d->num_heads;
    if (d->kv_embed_dim == 0) d->kv_embed_dim = d->embed_dim;
    if (d->out_dim == 0) d->out_dim = d->embed_dim;
    if (d->max_seq_kv == 0) d->max_seq_kv = d->max_seq_q;
    if (!d->cross && d->kv_embed_dim != d->embed_dim)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.kv_embed_dim (%zu) differs from embed_dim (%zu): set desc.cross",
                         d->kv_embed_dim, d->embed_dim);
    if (!d->cross && d->max_seq_kv < d->max_seq_q)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.max_seq_kv (%zu) is less than max_seq_q (%zu)", d->max_seq_kv,
                         d->max_seq_q);
    const struct {
        const char *name;
        const float *weight;
    } needed[] = {{"wq", d->wq.weight}, {"wk", d->wk.weight}, {"wv", d->wv.weight}};
    for (size_t i = 0; i < QKVI_COUNT(needed); i++)
        if (!needed[i].weight) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.%s.weight is NULL", needed[i].name);
    if (!d->wo.weight && d->wo.bias) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.wo.bias is given without a weight");
    return QKV_OK;
}

static qkv_status make_linear(qkv_linear **out, const qkv_layer *layer, const char *name, size_t in_features,
                              const qkv_linear_output *outputs, size_t num_outputs) {
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = in_features;
    desc.layout = layer->desc.layout;
    desc.outputs = outputs;
    desc.num_outputs = num_outputs;
    desc.solver = layer->desc.solver;
    qkv_status status = qkv_linear_create(out, layer->context, &desc);
    return status ? qkvi_fail_prefix(status, "%s", name) : QKV_OK;
}

static qkv_linear_output output_of(const qkv_layer_weight *w, size_t features) {
    return (qkv_linear_output){.out_features = features, .weight = w->weight, .bias = w->bias};
}

static qkv_status make_linears(qkv_layer *layer) {
    const qkv_layer_desc *d = &layer->desc;
    const qkv_linear_output qkv[3] = {
        output_of(&d->wq, d->num_heads * d->head_dim),
        output_of(&d->wk, d->num_kv_heads * d->head_dim),
        output_of(&d->wv, d->num_kv_heads * d->value_dim),
    };
    const qkv_linear_output wo = output_of(&d->wo, d->out_dim);
    qkv_status status;
    if (layer->cross) {
        status = make_linear(&layer->in, layer, "wq", d->embed_dim, &qkv[0], 1);
        if (!status) status = make_linear(&layer->kv, layer, "wk and wv", d->kv_embed_dim, &qkv[1], 2);
    } else {
        status = make_linear(&layer->in, layer, "wq, wk and wv", d->embed_dim, qkv, 3);
    }
    if (!status && d->wo.weight) status = make_linear(&layer->out, layer, "wo", d->num_heads * d->value_dim, &wo, 1);
    return status;
}

static qkv_status make_attention(qkv_layer *layer) {
    const qkv_layer_desc *d = &layer->desc;
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = d->head_dim;
    desc.value_dim = d->value_dim;
    desc.num_heads = d->num_heads;
    desc.num_kv_heads = d->num_kv_heads;
    desc.max_batch = d->max_batch;
    desc.max_seq_q = d->max_seq_q;
    desc.max_seq_kv = d->max_seq_kv;
    desc.features = d->features;
    desc.solver = d->solver;
    return qkv_attention_create(&layer->attention, layer->context, &desc);
}

/* The attention plan has checked that batch * heads * seq * 512 floats can be counted. */
static qkv_status lay_out_workspace(qkv_layer *layer) {
    const qkv_layer_desc *d = &layer->desc;
    const size_t floats[NUM_PARTS] = {
        [PART_Q] = d->max_batch * d->num_heads * d->max_seq_q * d->head_dim,
        [PART_K] = d->max_batch * d->num_kv_heads * d->max_seq_kv * d->head_dim,
        [PART_V] = d->max_batch * d->num_kv_heads * d->max_seq_kv * d->value_dim,
        [PART_HEADS] = layer->out ? d->max_batch * d->num_heads * d->max_seq_q * d->value_dim : 0,
    };
    size_t total = 0, scratch = qkv_attention_workspace_bytes(layer->attention);
    const qkv_linear *linears[] = {layer->in, layer->kv, layer->out};
    for (size_t i = 0; i < QKVI_COUNT(linears); i++)
        if (qkv_linear_workspace_bytes(linears[i]) > scratch) scratch = qkv_linear_workspace_bytes(linears[i]);
    for (int i = 0; i < NUM_PARTS; i++) {
        layer->part_offset[i] = total;
        if (!qkvi_add(&total, total, qkvi_round_up(floats[i] * sizeof(float), ALIGNMENT)))
            return qkvi_fail(QKV_OVERFLOW, "desc: the workspace for these limits overflows");
    }
    layer->scratch_offset = total;
    return qkvi_add(&layer->workspace, total, scratch)
               ? QKV_OK
               : qkvi_fail(QKV_OVERFLOW, "desc: the workspace for these limits overflows");
}

static qkv_status describe(qkv_layer *layer) {
    struct qkvi_text text = {0};
    qkvi_text_add(&text, "%s\n", qkv_linear_describe(layer->in));
    if (layer->kv) qkvi_text_add(&text, "%s\n", qkv_linear_describe(layer->kv));
    qkvi_text_add(&text, "%s\n", qkv_attention_describe(layer->attention));
    if (layer->out) qkvi_text_add(&text, "%s\n", qkv_linear_describe(layer->out));
    qkvi_text_add(&text, "workspace %zu bytes", layer->workspace);
    if (text.failed) {
        qkvi_text_free(&text);
        return qkvi_fail_memory("layer");
    }
    layer->description = text.data;
    return QKV_OK;
}

static qkv_status check_counts(const qkv_layer_desc *d) {
    const size_t head_counts[] = {d->num_heads, d->num_kv_heads};
    for (size_t i = 0; i < 2; i++) {
        size_t features;
        if (!qkvi_mul(&features, head_counts[i], d->head_dim) || !qkvi_mul(&features, head_counts[i], d->value_dim))
            return qkvi_fail(QKV_OVERFLOW, "desc: heads times head_dim or value_dim overflows");
    }
    return QKV_OK;
}

static qkv_status build(qkv_layer *layer) {
    /* Attention first: it checks the dimensions and the limits. */
    qkv_status status = fill_defaults(&layer->desc);
    if (!status) status = check_counts(&layer->desc);
    if (!status) status = make_attention(layer);
    if (!status) status = make_linears(layer);
    if (!status) status = lay_out_workspace(layer);
    return status ? status : describe(layer);
}

qkv_status qkv_layer_create(qkv_layer **out, qkv_context *context, const qkv_layer_desc *given) {
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    qkv_layer *layer = calloc(1, sizeof *layer);
    if (!layer) return qkvi_fail_memory("layer");
    layer->context = qkvi_context_retain(context);
    qkv_status status = qkvi_struct_read(&layer->desc, sizeof layer->desc, given, "desc");
    layer->cross = layer->desc.cross != 0;
    if (!status) status = build(layer);
    layer->desc.solver = NULL;
    if (status)
        qkv_layer_destroy(layer);
    else
        *out = layer;
    return status;
}

void qkv_layer_destroy(qkv_layer *layer) {
    if (!layer) return;
    qkv_linear_destroy(layer->in);
    qkv_linear_destroy(layer->kv);
    qkv_attention_destroy(layer->attention);
    qkv_linear_destroy(layer->out);
    qkv_context_destroy(layer->context);
    free(layer->description);
    free(layer);
}

/* ---- running ---- */

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

static qkv_status place(struct intermediates *at, const qkv_layer *layer, const qkv_layer_args *args) {
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
        if (i == PART_HEADS && !layer->out) {
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
static qkv_status check_overlap(const qkv_layer *layer, const qkv_layer_args *args) {
    const struct qkvi_operand outputs[] = {
        {args->out, "args.out"},       {args->q, "args.q"},
        {args->k, "args.k"},           {args->v, "args.v"},
        {args->heads, "args.heads"},   {args->weights, "args.weights"},
        {args->scores, "args.scores"}, {args->logsumexp, "args.logsumexp"},
    };
    const struct qkvi_operand inputs[] = {{args->x, "args.x"}, {args->kv, "args.kv"}, {args->mask, "args.mask"}};
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

/* Every step validated before the first is enqueued: a wrong argument leaves all outputs untouched. */
struct steps {
    struct qkvi_linear_run in, kv, out;
    struct qkvi_attention_run attention, heads;
    bool both; /* without wo, out is the heads in another axis order; asking for both is rare: attention runs twice */
};

static qkv_status prepare_projections(struct steps *steps, const qkv_layer *layer, const qkv_layer_args *args,
                                      const struct intermediates *at, qkv_workspace *scratch) {
    qkv_linear_args in = QKV_LINEAR_ARGS_INIT, kv = QKV_LINEAR_ARGS_INIT, out = QKV_LINEAR_ARGS_INIT;
    in.x = args->x;
    in.workspace = kv.workspace = out.workspace = scratch;
    in.outputs[0] = &at->tensor[PART_Q];
    qkv_linear_args *kv_args = layer->cross ? &kv : &in;
    size_t first = layer->cross ? 0 : 1;
    kv_args->outputs[first] = &at->tensor[PART_K];
    kv_args->outputs[first + 1] = &at->tensor[PART_V];
    kv.x = args->kv ? args->kv : args->x;
    out.x = &at->tensor[PART_HEADS];
    out.outputs[0] = args->out;
    qkv_status status = qkvi_linear_prepare(&steps->in, layer->in, &in);
    if (!status && layer->kv) status = qkvi_linear_prepare(&steps->kv, layer->kv, &kv);
    if (!status && layer->out) status = qkvi_linear_prepare(&steps->out, layer->out, &out);
    return status;
}

static qkv_status prepare_attention(struct steps *steps, const qkv_layer *layer, const qkv_layer_args *args,
                                    const struct intermediates *at, qkv_workspace *scratch) {
    qkv_attention_args a = QKV_ATTENTION_ARGS_INIT;
    a.q = &at->tensor[PART_Q];
    a.k = &at->tensor[PART_K];
    a.v = &at->tensor[PART_V];
    a.out = &at->tensor[PART_HEADS];
    a.mask = args->mask;
    a.weights = args->weights;
    a.scores = args->scores;
    a.logsumexp = args->logsumexp;
    a.scale = args->scale;
    a.causal = args->causal;
    a.workspace = scratch;
    qkv_status status = qkvi_attention_prepare(&steps->attention, layer->attention, &a);
    steps->both = !layer->out && args->heads;
    if (status || !steps->both) return status;
    a.out = args->heads;
    a.weights = a.scores = a.logsumexp = NULL;
    return qkvi_attention_prepare(&steps->heads, layer->attention, &a);
}

static qkv_status prepare(struct steps *steps, const qkv_layer *layer, const qkv_layer_args *args) {
    struct intermediates at;
    qkv_status status = check_args(layer, args);
    if (!status) status = check_overlap(layer, args);
    if (!status) status = place(&at, layer, args);
    if (status) return status;
    qkv_workspace scratch = *args->workspace;
    scratch.offset += layer->scratch_offset;
    scratch.bytes -= layer->scratch_offset;
    status = prepare_projections(steps, layer, args, &at, &scratch);
    return status ? status : prepare_attention(steps, layer, args, &at, &scratch);
}

static qkv_status enqueue(const qkv_layer *layer, struct qkvi_chain *chain, const struct steps *steps) {
    qkv_status status = qkvi_linear_enqueue(layer->in, chain, &steps->in);
    if (!status && layer->kv) status = qkvi_linear_enqueue(layer->kv, chain, &steps->kv);
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
    return qkvi_chain_end(&chain, enqueue(layer, &chain, &steps));
}

/* ---- asking ---- */

size_t qkv_layer_workspace_bytes(const qkv_layer *layer) {
    return layer ? layer->workspace : 0;
}

size_t qkv_layer_memory_bytes(const qkv_layer *layer) {
    if (!layer) return 0;
    return qkv_linear_memory_bytes(layer->in) + qkv_linear_memory_bytes(layer->kv) +
           qkv_linear_memory_bytes(layer->out);
}

const char *qkv_layer_describe(const qkv_layer *layer) {
    return layer && layer->description ? layer->description : "";
}
