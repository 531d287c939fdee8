/* A layer's steps as one operation, where there is a solver that does them all at once. */
#include "api/attention_internal.h"
#include "api/layer_internal.h"

/* Plans for more rows than this are seldom run with so few that it matters, and shall not wait for one more kernel. */
#define MOST_PLANNED_ROWS 512

/* What such a solver may take for granted: both projections are packed as the vector solver has them, and none of
 * attention's terms can be asked for. Whoever forced another solver for a step gets that one. */
static bool may_be_whole(const qkv_layer *layer) {
    const struct qkvi_plan *attention = &layer->attention->plan;
    return layer->desc.max_seq_q <= MOST_PLANNED_ROWS / layer->desc.max_batch && !layer->cross && !layer->rotary &&
           layer->out && !attention->problem.u.attention.terms && attention->solver == &qkvi_attention_vector &&
           qkvi_linear_solver(layer->in) == &qkvi_linear_vector &&
           qkvi_linear_solver(layer->out) == &qkvi_linear_vector;
}

qkv_status qkvi_layer_whole_create(qkv_layer *layer) {
    const qkv_layer_desc *d = &layer->desc;
    struct qkvi_runtime *rt = &layer->context->rt;
    const struct qkvi_problem problem = {.operation = QKVI_LAYER,
                                         .u.layer = {.in_features = d->embed_dim,
                                                     .head_dim = d->head_dim,
                                                     .value_dim = d->value_dim,
                                                     .num_heads = d->num_heads,
                                                     .num_kv_heads = d->num_kv_heads}};
    if (!may_be_whole(layer)) return QKV_OK;
    qkv_status status =
        qkvi_plan_try(&layer->whole, &layer->context->programs, &problem, &qkvi_layer_vector, QKVI_TRIAL);
    if (!status) {
        qkvi_log(&rt->log, QKV_LOG_INFO, "%s", layer->whole.description);
        return QKV_OK;
    }
    /* The steps do the same; only without a device they would not. */
    if (status == QKV_DEVICE_LOST) return status;
    qkvi_log(&rt->log, status == QKV_UNSUPPORTED ? QKV_LOG_INFO : QKV_LOG_WARNING, "layer=vector: %s",
             qkv_error_message());
    return QKV_OK;
}

/* Are dims side by side? */
static bool is_dense(const struct qkvi_view4 *view) {
    return view->stride[3] == 1;
}

bool qkvi_layer_whole_takes(const qkv_layer *layer, const struct qkvi_linear_run *in,
                            const struct qkvi_attention_run *a) {
    return layer->whole.solver && in->rows > 0 && in->rows <= QKVI_LAYER_ROWS && a->seq_kv == a->seq_q &&
           a->mask_kind == QKVI_MASK_NONE && a->mask_keys >= a->seq_kv && a->causal_offset >= (int64_t)a->seq_kv - 1 &&
           !a->weights.buffer && !a->scores.buffer && !a->logsumexp.buffer && !a->past.wanted && !a->reports.wanted &&
           is_dense(&a->q) && is_dense(&a->k) && is_dense(&a->v) && is_dense(&a->out);
}

qkv_status qkvi_layer_whole_enqueue(const qkv_layer *layer, struct qkvi_chain *chain, const struct qkvi_linear_run *in,
                                    const struct qkvi_attention_run *attention, const struct qkvi_linear_run *out,
                                    const qkv_workspace *workspace) {
    const struct qkvi_layer_run run = {.in = in,
                                       .out = out,
                                       .attention = attention,
                                       .workspace = workspace->buffer,
                                       .workspace_offset = workspace->offset + layer->scratch_offset};
    return layer->whole.solver->run(layer->whole.state, chain, &run);
}
