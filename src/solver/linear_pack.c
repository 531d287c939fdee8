#include "solver/linear_pack.h"

#include <string.h>

/* Work-items side by side write side by side; more than this in a group gains nothing anywhere. */
#define MAX_GROUP 64

qkv_status qkvi_linear_pack_create(struct qkvi_kernel **weight_kernel, struct qkvi_kernel **bias_kernel,
                                   struct qkvi_programs *programs) {
    struct qkvi_kernel *weight = NULL, *bias = NULL;
    qkv_status status = qkvi_kernel_create(&weight, programs, "linear_pack", "", "linear_pack");
    if (!status) status = qkvi_kernel_create(&bias, programs, "linear_pack", "", "linear_pack");
    if (status) {
        qkvi_kernel_destroy(weight);
        return status;
    }
    weight->any_group = bias->any_group = true;
    *weight_kernel = weight;
    *bias_kernel = bias;
    return QKV_OK;
}

/* A bias is a weight matrix with one k. */
struct packing {
    cl_mem from, to;
    int64_t offset, stride_k, stride_n;
    size_t in_features;
};

static qkv_status enqueue(struct qkvi_kernel *kernel, struct qkvi_chain *chain, const struct qkvi_linear_weights *w,
                          size_t output, const struct packing *p) {
    /* A kernel argument has to be a buffer even where nothing is read from it. */
    const cl_mem from = p->from ? p->from : p->to;
    const cl_int present = p->from != NULL;
    const cl_long offset = p->from ? p->offset : 0;
    const cl_long stride_k = p->from ? p->stride_k : 0;
    const cl_long stride_n = p->from ? p->stride_n : 0;
    const cl_long in_features = (cl_long)p->in_features;
    const cl_long out_features = (cl_long)w->out_features[output];
    const cl_long panel = (cl_long)w->panel;
    const cl_long first_panel = (cl_long)w->first_panel[output];
    const size_t columns = qkvi_round_up(w->out_features[output], w->panel);
    const struct qkvi_arg args[] = {
        QKVI_ARG(p->to),    QKVI_ARG(from),        QKVI_ARG(present),      QKVI_ARG(offset), QKVI_ARG(stride_k),
        QKVI_ARG(stride_n), QKVI_ARG(in_features), QKVI_ARG(out_features), QKVI_ARG(panel),  QKVI_ARG(first_panel),
    };
    const size_t local[2] = {qkvi_kernel_group(kernel, MAX_GROUP), 1};
    const size_t global[2] = {qkvi_round_up(columns, local[0]), p->in_features};
    return qkvi_kernel_run(kernel, chain, args, QKVI_COUNT(args), 2, global, local);
}

qkv_status qkvi_linear_pack(struct qkvi_kernel *pack_kernel, struct qkvi_chain *chain,
                            const struct qkvi_linear_weights *w, size_t output, cl_mem weight, int64_t offset,
                            int64_t stride_k, int64_t stride_n) {
    const struct packing p = {.from = weight,
                              .to = w->packed,
                              .offset = offset,
                              .stride_k = stride_k,
                              .stride_n = stride_n,
                              .in_features = w->in_features};
    return enqueue(pack_kernel, chain, w, output, &p);
}

qkv_status qkvi_linear_pack_bias(struct qkvi_kernel *pack_kernel, struct qkvi_chain *chain,
                                 const struct qkvi_linear_weights *w, size_t output, cl_mem bias, int64_t offset,
                                 int64_t stride) {
    const struct packing p = {.from = bias, .to = w->bias, .offset = offset, .stride_n = stride, .in_features = 1};
    return enqueue(pack_kernel, chain, w, output, &p);
}

/* Two views to an argument. */
static void put_view(struct qkvi_linear_args *args, size_t at, const cl_long8 *view) {
    memcpy(&args->views[at / 2].s[at % 2 * 8], view, sizeof *view);
}

void qkvi_linear_args_fill(struct qkvi_linear_args *args, const struct qkvi_linear_run *run) {
    const struct qkvi_linear_weights *w = run->weights;
    struct qkvi_arg *list = args->list;
    const cl_long8 x = qkvi_matrix_pack(&run->x);
    cl_long8 widths;
    *list++ = QKVI_ARG(run->x.buffer);
    *list++ = QKVI_ARG(w->packed);
    *list++ = QKVI_ARG(w->bias);
    put_view(args, 0, &x);
    for (size_t i = 0; i < QKV_LINEAR_MAX_OUTPUTS; i++) {
        const bool used = i < w->num_outputs;
        const size_t from = used ? i : 0;
        const cl_long8 output = qkvi_matrix_pack(&run->outputs[from]);
        put_view(args, 1 + i, &output);
        widths.s[i] = (cl_long)(used ? w->first_panel[i] : w->num_panels);
        widths.s[QKV_LINEAR_MAX_OUTPUTS + i] = (cl_long)w->out_features[from];
        *list++ = QKVI_ARG(run->outputs[from].buffer);
    }
    put_view(args, 1 + QKV_LINEAR_MAX_OUTPUTS, &widths);
    args->sizes = (cl_long8){{(cl_long)run->rows, (cl_long)w->in_features, (cl_long)w->num_panels}};
    for (size_t i = 0; i < QKVI_COUNT(args->views); i++)
        *list++ = QKVI_ARG(args->views[i]);
    *list++ = QKVI_ARG(args->sizes);
}
