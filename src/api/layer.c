#include "api/layer_internal.h"

#include <stdlib.h>

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

static qkv_status make_rotary(qkv_layer *layer) {
    const qkv_layer_desc *d = &layer->desc;
    qkv_rotary_desc desc;
    if (!d->rotary) return QKV_OK;
    qkv_status status = qkvi_struct_read(&desc, sizeof desc, d->rotary, "desc.rotary");
    if (status) return status;
    if (layer->cross)
        return qkvi_fail(QKV_UNSUPPORTED, "desc.rotary is given with desc.cross, where Q and K have positions of their "
                                          "own: use qkv_linear, qkv_rotary and qkv_attention");
    if (desc.head_dim == 0) desc.head_dim = d->head_dim;
    if (desc.head_dim != d->head_dim)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.rotary->head_dim is %zu; the layer's is %zu (0 takes it)",
                         desc.head_dim, d->head_dim);
    if (!desc.solver) desc.solver = d->solver;
    status = qkv_rotary_create(&layer->rotary, layer->context, &desc);
    return status ? qkvi_fail_prefix(status, "rotary") : QKV_OK;
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
    if (layer->whole.workspace > scratch) scratch = layer->whole.workspace;
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
    if (layer->rotary) qkvi_text_add(&text, "%s\n", qkv_rotary_describe(layer->rotary));
    qkvi_text_add(&text, "%s\n", qkv_attention_describe(layer->attention));
    if (layer->out) qkvi_text_add(&text, "%s\n", qkv_linear_describe(layer->out));
    if (layer->whole.solver) qkvi_text_add(&text, "%s\n", layer->whole.description);
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
    if (!status) status = make_rotary(layer);
    if (!status) status = qkvi_layer_whole_create(layer);
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
    layer->desc.rotary = NULL;
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
    qkv_rotary_destroy(layer->rotary);
    qkv_attention_destroy(layer->attention);
    qkv_linear_destroy(layer->out);
    qkvi_plan_destroy(&layer->whole);
    qkv_context_destroy(layer->context);
    free(layer->description);
    free(layer);
}

/* ---- asking ---- */

size_t qkv_layer_workspace_bytes(const qkv_layer *layer) {
    return layer ? layer->workspace : 0;
}

size_t qkv_layer_memory_bytes(const qkv_layer *layer) {
    if (!layer) return 0;
    return qkv_linear_memory_bytes(layer->in) + qkv_linear_memory_bytes(layer->kv) +
           qkv_linear_memory_bytes(layer->out) + qkv_rotary_memory_bytes(layer->rotary);
}

const char *qkv_layer_describe(const qkv_layer *layer) {
    return layer && layer->description ? layer->description : "";
}
