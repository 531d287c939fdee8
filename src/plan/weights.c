#include "plan/plan.h"
#include "solver/linear_pack.h"

static qkv_status lay_out(struct qkvi_linear_weights *w, size_t *packed_bytes, size_t *bias_bytes,
                          const struct qkvi_linear_problem *problem, size_t panel) {
    *w = (struct qkvi_linear_weights){
        .in_features = problem->in_features,
        .panel = panel,
        .num_outputs = problem->num_outputs,
    };
    for (size_t i = 0; i < problem->num_outputs; i++) {
        w->out_features[i] = problem->out_features[i];
        w->first_panel[i] = w->num_panels;
        if (!qkvi_add(&w->num_panels, w->num_panels, qkvi_div_up(problem->out_features[i], panel)))
            return qkvi_fail(QKV_OVERFLOW, "the outputs' features add up to more than can be counted");
    }
    if (!qkvi_mul(bias_bytes, w->num_panels, panel * sizeof(float)) ||
        !qkvi_mul(packed_bytes, *bias_bytes, problem->in_features))
        return qkvi_fail(QKV_OVERFLOW, "in_features times the outputs' features is more than can be counted");
    return QKV_OK;
}

qkv_status qkvi_weights_create(struct qkvi_weights *out, struct qkvi_programs *programs,
                               const struct qkvi_linear_problem *problem, size_t panel) {
    struct qkvi_weights weights = {0};
    size_t packed_bytes, bias_bytes;
    qkv_status status = lay_out(&weights.packed, &packed_bytes, &bias_bytes, problem, panel);
    if (!status) status = qkvi_linear_pack_create(&weights.pack_weight, &weights.pack_bias, programs);
    if (!status) status = qkvi_buffer_create(&weights.packed.packed, programs->rt, packed_bytes, "packed weights");
    if (!status) status = qkvi_buffer_create(&weights.packed.bias, programs->rt, bias_bytes, "packed biases");
    weights.bytes = packed_bytes + bias_bytes;
    if (status)
        qkvi_weights_destroy(&weights);
    else
        *out = weights;
    return status;
}

void qkvi_weights_destroy(struct qkvi_weights *weights) {
    qkvi_kernel_destroy(weights->pack_weight);
    qkvi_kernel_destroy(weights->pack_bias);
    qkvi_buffer_release(weights->packed.packed);
    qkvi_buffer_release(weights->packed.bias);
    *weights = (struct qkvi_weights){0};
}

qkv_status qkvi_weights_pack(const struct qkvi_weights *weights, struct qkvi_chain *chain, size_t output, cl_mem weight,
                             int64_t offset, int64_t stride_k, int64_t stride_n) {
    return qkvi_linear_pack(weights->pack_weight, chain, &weights->packed, output, weight, offset, stride_k, stride_n);
}

qkv_status qkvi_weights_pack_bias(const struct qkvi_weights *weights, struct qkvi_chain *chain, size_t output,
                                  cl_mem bias, int64_t offset, int64_t stride) {
    return qkvi_linear_pack_bias(weights->pack_bias, chain, &weights->packed, output, bias, offset, stride);
}
