#include "solver/attention_args.h"

#include <stdio.h>

void qkvi_attention_options(char out[QKVI_ATTENTION_OPTIONS], const struct qkvi_attention_problem *problem) {
    snprintf(out, QKVI_ATTENTION_OPTIONS,
             "-DMASK=%d -DWEIGHTS=%d -DTERMS=%d -DQ_DTYPE=%d -DK_DTYPE=%d -DV_DTYPE=%d -DOUT_DTYPE=%d", problem->mask,
             problem->weights, problem->terms, (int)problem->q_dtype, (int)problem->k_dtype, (int)problem->v_dtype,
             (int)problem->out_dtype);
}

size_t qkvi_larger_dim(const struct qkvi_attention_problem *p) {
    return p->head_dim > p->value_dim ? p->head_dim : p->value_dim;
}

bool qkvi_attention_is_causal(const struct qkvi_attention_run *run) {
    return run->causal_offset < (int64_t)run->seq_kv - 1;
}

static cl_long attention_flags(const struct qkvi_attention_run *run) {
    cl_long flags = run->mask.buffer != NULL ? (cl_long)run->mask_kind : 0;
    if (flags == QKVI_MASK_ADD && run->mask_dtype == QKV_F16) flags |= QKVI_FLAG_MASK_F16;
    if (flags == QKVI_MASK_ADD && run->mask_dtype == QKV_BF16) flags |= QKVI_FLAG_MASK_BF16;
    if (run->weights.buffer != NULL) flags |= QKVI_FLAG_WEIGHTS;
    if (run->scores.buffer != NULL) flags |= QKVI_FLAG_SCORES;
    if (run->logsumexp.buffer != NULL) flags |= QKVI_FLAG_LSE;
    return flags;
}

static cl_long term_flags(const struct qkvi_attention_terms *terms) {
    cl_long flags = terms->from_end ? QKVI_TERM_FROM_END : 0;
    if (terms->lengths.buffer != NULL) flags |= QKVI_TERM_LENGTHS;
    if (terms->lengths_dtype == QKV_I64) flags |= QKVI_TERM_LENGTHS_I64;
    if (terms->offsets.buffer != NULL) flags |= QKVI_TERM_OFFSETS;
    if (terms->offsets_dtype == QKV_I64) flags |= QKVI_TERM_OFFSETS_I64;
    if (terms->slopes.buffer != NULL) flags |= QKVI_TERM_SLOPES;
    if (terms->sinks.buffer != NULL) flags |= QKVI_TERM_SINKS;
    return flags;
}

static void set_terms(struct qkvi_attention_args *args, const struct qkvi_attention_run *run) {
    const struct qkvi_attention_terms *terms = &run->terms;
    const struct qkvi_view4 *views[QKVI_ATTENTION_TERMS] = {&terms->lengths, &terms->offsets, &terms->slopes,
                                                            &terms->sinks};
    for (size_t i = 0; i < QKVI_ATTENTION_TERMS; i++) {
        args->term_buffer[i] = views[i]->buffer != NULL ? views[i]->buffer : run->out.buffer;
        args->term_views.s[2 * i] = views[i]->offset;
        args->term_views.s[2 * i + 1] = views[i]->stride[0];
        args->list[args->count++] = QKVI_ARG(args->term_buffer[i]);
    }
    args->reach = (cl_long8){{terms->left, terms->right, terms->query_offset, term_flags(terms), 0, 0, 0, 0}};
    args->softcap = terms->softcap;
    args->list[args->count++] = QKVI_ARG(args->term_views);
    args->list[args->count++] = QKVI_ARG(args->reach);
    args->list[args->count++] = QKVI_ARG(args->softcap);
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
    args->view[QKVI_VIEW_MASK].s[5] = (cl_long)run->mask_keys;
    /* Query i + offset must not overflow in the kernels; beyond seq_kv an offset changes nothing. */
    const int64_t offset = run->causal_offset > (int64_t)run->seq_kv ? (int64_t)run->seq_kv : run->causal_offset;
    args->shape = (cl_long8){{(cl_long)run->seq_q, (cl_long)run->seq_kv, (cl_long)problem->num_heads,
                              (cl_long)problem->num_kv_heads, (cl_long)problem->head_dim, (cl_long)problem->value_dim,
                              (cl_long)offset, attention_flags(run) | flags}};
    args->scale = run->scale;
    args->count = 2 * QKVI_ATTENTION_VIEWS;
    args->list[args->count++] = QKVI_ARG(args->shape);
    args->list[args->count++] = QKVI_ARG(args->scale);
    if (problem->terms) set_terms(args, run);
}
