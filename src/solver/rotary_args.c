#include "solver/rotary_args.h"

static cl_long4 given_view(const struct qkvi_rotary_given *given) {
    return (cl_long4){{given->offset, given->stride_batch, given->stride_row, given->stride}};
}

static cl_long rotary_flags(const struct qkvi_rotary_problem *problem, const struct qkvi_rotary_run *run) {
    cl_long flags = run->cos.buffer ? 0 : QKVI_ROTARY_TABLE;
    if (run->inverse) flags |= QKVI_ROTARY_INVERSE;
    if (run->in_place) flags |= QKVI_ROTARY_IN_PLACE;
    if (problem->interleaved) flags |= QKVI_ROTARY_INTERLEAVED;
    if (run->positions.buffer)
        flags |= run->positions_dtype == QKV_I64 ? QKVI_ROTARY_POSITIONS_I64 : QKVI_ROTARY_POSITIONS_I32;
    return flags;
}

/* The plan's table seen as what a run may be given: the sines of a row lie behind its cosines. */
static void table_views(struct qkvi_rotary_given *cos, struct qkvi_rotary_given *sin,
                        const struct qkvi_rotary_table *table) {
    *cos = (struct qkvi_rotary_given){
        .buffer = table->buffer, .stride_row = 2 * (int64_t)table->width, .stride = 1, .dtype = QKV_F32};
    *sin = *cos;
    sin->offset = (int64_t)table->width;
}

void qkvi_rotary_args_set(struct qkvi_rotary_args *args, const struct qkvi_rotary_problem *problem,
                          const struct qkvi_rotary_run *run) {
    struct qkvi_rotary_given cos = run->cos, sin = run->sin;
    if (!cos.buffer) table_views(&cos, &sin, run->table);
    const struct qkvi_view4 *positions = &run->positions;
    /* An absent buffer is never touched, but some implementations reject a NULL argument. */
    const cl_mem buffers[QKVI_ROTARY_BUFFERS] = {run->x.buffer, run->out.buffer, cos.buffer, sin.buffer,
                                                 positions->buffer ? positions->buffer : run->out.buffer};
    args->x = qkvi_view4_pack(&run->x);
    args->out = qkvi_view4_pack(&run->out);
    args->cos = given_view(&cos);
    args->sin = given_view(&sin);
    args->positions = (cl_long4){{positions->offset, positions->stride[0], positions->stride[1], 0}};
    args->shape =
        (cl_long8){{(cl_long)run->num_heads, (cl_long)run->seq, (cl_long)problem->head_dim,
                    (cl_long)problem->rotary_dim, run->first_position, (cl_long)run->num_rows,
                    cos.buffer == run->cos.buffer ? 0 : (cl_long)run->table->block_bits, rotary_flags(problem, run)}};
    args->dtypes = (cl_int4){{(cl_int)run->x_dtype, (cl_int)run->out_dtype, (cl_int)cos.dtype, (cl_int)sin.dtype}};
    for (size_t i = 0; i < QKVI_ROTARY_BUFFERS; i++) {
        args->buffer[i] = buffers[i];
        args->list[i] = QKVI_ARG(args->buffer[i]);
    }
    const struct qkvi_arg views[] = {QKVI_ARG(args->x),     QKVI_ARG(args->out),       QKVI_ARG(args->cos),
                                     QKVI_ARG(args->sin),   QKVI_ARG(args->positions), QKVI_ARG(args->shape),
                                     QKVI_ARG(args->dtypes)};
    for (size_t i = 0; i < QKVI_COUNT(views); i++)
        args->list[QKVI_ROTARY_BUFFERS + i] = views[i];
}
