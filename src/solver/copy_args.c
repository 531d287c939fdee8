#include "solver/copy_args.h"

void qkvi_copy_args_set(struct qkvi_copy_args *args, const struct qkvi_attention_problem *problem,
                        const struct qkvi_attention_run *run) {
    const struct qkvi_attention_past *past = &run->past;
    const struct qkvi_view4 *views[QKVI_COPY_VIEWS] = {&past->past_k, &past->new_k, &run->k,
                                                       &past->past_v, &past->new_v, &run->v};
    const size_t total = past->seq_past + past->seq_new;
    for (size_t i = 0; i < QKVI_COPY_VIEWS; i++) {
        /* An absent buffer is never touched, but some implementations reject a NULL argument. */
        args->buffer[i] = views[i]->buffer ? views[i]->buffer : run->k.buffer;
        args->view[i] = qkvi_view4_pack(views[i]);
        args->list[i] = QKVI_ARG(args->buffer[i]);
        args->list[QKVI_COPY_VIEWS + i] = QKVI_ARG(args->view[i]);
    }
    const size_t first[2] = {past->past_k.buffer ? 0 : past->seq_past, past->past_v.buffer ? 0 : past->seq_past};
    for (size_t i = 0; i < 2; i++)
        args->rows[i] = total - first[i];
    args->shape =
        (cl_long8){{(cl_long)total, (cl_long)past->seq_past, (cl_long)problem->num_kv_heads,
                    (cl_long)qkv_dtype_size(problem->k_dtype), (cl_long)qkv_dtype_size(problem->v_dtype), 0, 0, 0}};
    args->widths =
        (cl_long4){{(cl_long)problem->head_dim, (cl_long)problem->value_dim, (cl_long)first[0], (cl_long)first[1]}};
    args->list[2 * QKVI_COPY_VIEWS] = QKVI_ARG(args->shape);
    args->list[2 * QKVI_COPY_VIEWS + 1] = QKVI_ARG(args->widths);
}
