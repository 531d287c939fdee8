#include "solver/attention_args.h"

bool qkvi_attention_is_causal(const struct qkvi_attention_run *run) {
    return run->causal_offset < (int64_t)run->seq_kv - 1;
}

static cl_long attention_flags(const struct qkvi_attention_run *run) {
    cl_long flags = run->mask.buffer != NULL ? (cl_long)run->mask_kind : 0;
    if (run->weights.buffer != NULL) flags |= QKVI_FLAG_WEIGHTS;
    if (run->scores.buffer != NULL) flags |= QKVI_FLAG_SCORES;
    if (run->logsumexp.buffer != NULL) flags |= QKVI_FLAG_LSE;
    return flags;
}

void qkvi_attention_args_set(struct qkvi_attention_args *args, const struct qkvi_attention_problem *problem,
                             const struct qkvi_attention_run *run, cl_long flags) {
    const struct qkvi_view4 *views[QKVI_ATTENTION_VIEWS] = {&run->q,    &run->k,       &run->v,      &run->out,
                                                            &run->mask, &run->weights, &run->scores, &run->logsumexp};
    for (size_t i = 0; i < QKVI_ATTENTION_VIEWS; i++) {
        /* An absent buffer is never touched, but some implementations reject a NULL argument. */
        args->buffer[i] = views[i]->buffer != NULL ? views[i]->buffer : run->out.buffer;
        args->view[i] = qkvi_view4_pack(views[i]);
        args->list[i] = QKVI_ARG(args->buffer[i]);
        args->list[QKVI_ATTENTION_VIEWS + i] = QKVI_ARG(args->view[i]);
    }
    /* Query i + offset must not overflow in the kernels; beyond seq_kv an offset changes nothing. */
    const int64_t offset = run->causal_offset > (int64_t)run->seq_kv ? (int64_t)run->seq_kv : run->causal_offset;
    args->shape = (cl_long8){{(cl_long)run->seq_q, (cl_long)run->seq_kv, (cl_long)problem->num_heads,
                              (cl_long)problem->num_kv_heads, (cl_long)problem->head_dim, (cl_long)problem->value_dim,
                              (cl_long)offset, attention_flags(run) | flags}};
    args->scale = run->scale;
    args->list[2 * QKVI_ATTENTION_VIEWS] = QKVI_ARG(args->shape);
    args->list[2 * QKVI_ATTENTION_VIEWS + 1] = QKVI_ARG(args->scale);
}
