#include "api/internal.h"

#include <stdlib.h>

struct qkv_linear {
    qkv_context *context;
    struct qkvi_plan plan;
    struct qkvi_weights weights;
    qkv_weight_layout layout;
    size_t max_rows;
};

/* ---- creating ---- */

static qkv_status check_desc(struct qkvi_linear_problem *problem, const qkv_linear_desc *desc) {
    if (desc->in_features == 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.in_features is 0");
    if (desc->layout != QKV_WEIGHT_OUT_IN && desc->layout != QKV_WEIGHT_IN_OUT)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.layout is %d; it must be QKV_WEIGHT_OUT_IN or QKV_WEIGHT_IN_OUT",
                         (int)desc->layout);
    if (desc->num_outputs == 0 || desc->num_outputs > QKV_LINEAR_MAX_OUTPUTS)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.num_outputs is %zu; it must be 1 to %d", desc->num_outputs,
                         QKV_LINEAR_MAX_OUTPUTS);
    if (!desc->outputs) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.outputs is NULL");
    *problem = (struct qkvi_linear_problem){
        .in_features = desc->in_features,
        .num_outputs = desc->num_outputs,
        .max_rows = desc->max_rows ? desc->max_rows : SIZE_MAX,
    };
    for (size_t i = 0; i < desc->num_outputs; i++) {
        const qkv_linear_output *output = &desc->outputs[i];
        if (output->out_features == 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "desc.outputs[%zu].out_features is 0", i);
        for (size_t j = 0; j < QKVI_COUNT(output->reserved); j++)
            if (output->reserved[j]) return qkvi_fail(QKV_UNSUPPORTED, "desc.outputs[%zu].reserved is not zero", i);
        size_t bytes;
        if (!qkvi_mul(&bytes, output->out_features, sizeof(float)) || !qkvi_mul(&bytes, bytes, desc->in_features))
            return qkvi_fail(QKV_OVERFLOW, "desc.outputs[%zu].out_features times desc.in_features overflows", i);
        problem->out_features[i] = output->out_features;
    }
    return QKV_OK;
}

static void weight_strides(const qkv_linear *linear, size_t output, int64_t *stride_k, int64_t *stride_n) {
    bool out_in = linear->layout == QKV_WEIGHT_OUT_IN;
    *stride_k = out_in ? 1 : (int64_t)linear->weights.packed.out_features[output];
    *stride_n = out_in ? (int64_t)linear->weights.packed.in_features : 1;
}

static qkv_status pack_host_output(const qkv_linear *linear, size_t index, const qkv_linear_output *output,
                                   cl_mem weight, cl_mem bias) {
    const struct qkvi_runtime *rt = &linear->context->rt;
    size_t n = output->out_features, k = linear->weights.packed.in_features;
    int64_t stride_k, stride_n;
    struct qkvi_chain chain;
    cl_event done = NULL;
    weight_strides(linear, index, &stride_k, &stride_n);
    qkv_status status = QKV_OK;
    if (output->weight) status = qkvi_buffer_write(rt, weight, 0, output->weight, n * k * sizeof(float));
    if (!status && output->bias) status = qkvi_buffer_write(rt, bias, 0, output->bias, n * sizeof(float));
    if (!status) status = qkvi_chain_begin(&chain, NULL, rt->queue, 0, NULL, &done);
    if (status) return status;
    status = qkvi_weights_pack(&linear->weights, &chain, index, output->weight ? weight : NULL, 0, stride_k, stride_n);
    if (!status) status = qkvi_weights_pack_bias(&linear->weights, &chain, index, output->bias ? bias : NULL, 0, 1);
    status = qkvi_chain_end(&chain, status);
    return qkvi_runtime_wait(rt, done, status);
}

/* One staging buffer, as large as the largest output, serves all. */
static qkv_status pack_host_weights(const qkv_linear *linear, const qkv_linear_desc *desc) {
    const struct qkvi_runtime *rt = &linear->context->rt;
    cl_mem weight = NULL, bias = NULL;
    size_t most = 0, most_weights = 0;
    for (size_t i = 0; i < desc->num_outputs; i++) {
        if (desc->outputs[i].out_features > most) most = desc->outputs[i].out_features;
        if (desc->outputs[i].weight && desc->outputs[i].out_features > most_weights)
            most_weights = desc->outputs[i].out_features;
    }
    qkv_status status = qkvi_buffer_create(&weight, rt, most_weights * desc->in_features * sizeof(float), "weights");
    if (!status) status = qkvi_buffer_create(&bias, rt, most * sizeof(float), "biases");
    for (size_t i = 0; !status && i < desc->num_outputs; i++)
        status = pack_host_output(linear, i, &desc->outputs[i], weight, bias);
    qkvi_buffer_release(weight);
    qkvi_buffer_release(bias);
    return status;
}

/* What packs is no solver's, so it has an attempt of its own; without it there is no layer, whatever happened before. */
static qkv_status create_weights(qkv_linear *linear, const struct qkvi_linear_problem *problem,
                                 const qkv_linear_desc *desc) {
    struct qkvi_programs *programs = &linear->context->programs;
    const size_t panel = linear->plan.solver->panel(linear->plan.state);
    struct qkvi_attempt attempt;
    qkvi_attempt_begin(&attempt, programs, "linear=pack", QKVI_FORGIVE_ALL);
    qkv_status status = qkvi_weights_create(&linear->weights, programs, problem, panel);
    if (status == QKV_OPENCL_ERROR && qkvi_attempt_forget(&attempt))
        status = qkvi_weights_create(&linear->weights, programs, problem, panel);
    if (!status) status = pack_host_weights(linear, desc);
    qkvi_attempt_end(&attempt, status);
    /* A plan's self-test has it kept as a rule; others' files may have pushed it out since. */
    if (!status && qkvi_cache_take(&attempt)) qkvi_cache_keep(&attempt, true);
    return status;
}

qkv_status qkv_linear_create(qkv_linear **out, qkv_context *context, const qkv_linear_desc *given) {
    qkv_linear_desc desc;
    struct qkvi_problem problem = {.operation = QKVI_LINEAR};
    struct qkvi_choice choice;
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    qkv_status status = qkvi_struct_read(&desc, sizeof desc, given, "desc");
    if (!status) status = check_desc(&problem.u.linear, &desc);
    if (!status) status = qkvi_choice_parse(&choice, &context->choice, desc.solver, "desc.solver");
    if (!status && context->gemm_auto) choice.clblast = atomic_load(&context->clblast_faster);
    if (status) return status;
    qkv_linear *linear = calloc(1, sizeof *linear);
    if (!linear) return qkvi_fail_memory("linear layer");
    linear->context = qkvi_context_retain(context);
    linear->layout = desc.layout;
    linear->max_rows = problem.u.linear.max_rows;
    status = qkvi_plan_create(&linear->plan, &context->programs, &problem, &choice);
    if (!status) status = create_weights(linear, &problem.u.linear, &desc);
    if (status) {
        qkv_linear_destroy(linear);
        return status;
    }
    *out = linear;
    return QKV_OK;
}

void qkv_linear_destroy(qkv_linear *linear) {
    if (!linear) return;
    qkvi_weights_destroy(&linear->weights);
    qkvi_plan_destroy(&linear->plan);
    qkv_context_destroy(linear->context);
    free(linear);
}

/* ---- running ---- */

static const char *const output_names[QKV_LINEAR_MAX_OUTPUTS] = {"args.outputs[0]", "args.outputs[1]",
                                                                 "args.outputs[2]", "args.outputs[3]"};

static qkv_status check_features(const char *name, size_t features, size_t expected) {
    return features == expected
               ? QKV_OK
               : qkvi_fail(QKV_INVALID_SHAPE, "%s has %zu features; expected %zu", name, features, expected);
}

/* Axes of seq: 1 in (batch, seq, features), 2 in (batch, num_heads, seq, head_dim). */
static qkv_status check_batch_seq(const qkv_tensor *x, const qkv_tensor *y, const char *name) {
    if (x->rank < 3 || y->rank < 3) return QKV_OK;
    uint64_t x_seq = x->shape[x->rank - 2], y_seq = y->shape[y->rank - 2];
    if (x->shape[0] == y->shape[0] && x_seq == y_seq) return QKV_OK;
    return qkvi_fail(QKV_INVALID_SHAPE, "%s has batch %zu and seq %zu; args.x has batch %zu and seq %zu", name,
                     (size_t)y->shape[0], (size_t)y_seq, (size_t)x->shape[0], (size_t)x_seq);
}

qkv_status qkvi_linear_prepare(struct qkvi_linear_run *run, const qkv_linear *linear, const qkv_linear_args *args) {
    const struct qkvi_linear_weights *w = &linear->weights.packed;
    const unsigned f32 = QKVI_DTYPE(QKV_F32);
    struct qkvi_operand x = {args->x, "args.x"}, outputs[QKV_LINEAR_MAX_OUTPUTS];
    size_t features, rows;
    qkv_status status = qkvi_operand_check(linear->context, args->x, "args.x", true, f32);
    if (!status) status = qkvi_operand_matrix(&run->x, &run->rows, &features, args->x, "args.x");
    if (!status) status = check_features("args.x", features, w->in_features);
    if (!status && run->rows > linear->max_rows)
        status =
            qkvi_fail(QKV_INVALID_SHAPE, "args.x has %zu rows; desc.max_rows was %zu", run->rows, linear->max_rows);
    for (size_t i = 0; !status && i < w->num_outputs; i++) {
        const char *name = output_names[i];
        outputs[i] = (struct qkvi_operand){args->outputs[i], name};
        status = qkvi_operand_check(linear->context, args->outputs[i], name, false, f32);
        if (!status) status = qkvi_operand_matrix(&run->outputs[i], &rows, &features, args->outputs[i], name);
        if (!status) status = check_features(name, features, w->out_features[i]);
        if (!status && rows != run->rows)
            status = qkvi_fail(QKV_INVALID_SHAPE, "%s has %zu rows; args.x has %zu", name, rows, run->rows);
        if (!status) status = check_batch_seq(args->x, args->outputs[i], name);
    }
    if (!status) status = qkvi_operands_disjoint(outputs, w->num_outputs, &x, 1);
    if (!status) status = qkvi_workspace_check(linear->context, args->workspace, linear->plan.workspace);
    if (!status) status = qkvi_workspace_disjoint(args->workspace, linear->plan.workspace, &x, 1);
    if (!status) status = qkvi_workspace_disjoint(args->workspace, linear->plan.workspace, outputs, w->num_outputs);
    run->weights = w;
    return status;
}

qkv_status qkvi_linear_arrange(struct qkvi_linear_run *run, const qkv_linear *linear, const qkv_linear_args *args) {
    size_t features, rows;
    run->weights = &linear->weights.packed;
    qkv_status status = qkvi_operand_matrix(&run->x, &run->rows, &features, args->x, "args.x");
    for (size_t i = 0; !status && i < run->weights->num_outputs; i++)
        status = qkvi_operand_matrix(&run->outputs[i], &rows, &features, args->outputs[i], output_names[i]);
    return status;
}

qkv_status qkvi_linear_enqueue(const qkv_linear *linear, struct qkvi_chain *chain, const struct qkvi_linear_run *run) {
    return run->rows == 0 ? QKV_OK : linear->plan.solver->run(linear->plan.state, chain, run);
}

qkv_status qkv_linear_run(const qkv_linear *linear, cl_command_queue queue, const qkv_linear_args *given,
                          cl_uint num_wait, const cl_event *wait_list, cl_event *event) {
    qkv_linear_args args;
    struct qkvi_linear_run run = {0};
    struct qkvi_chain chain;
    if (!linear) return qkvi_fail(QKV_INVALID_ARGUMENT, "linear is NULL");
    qkv_status status = qkvi_queue_check(&linear->context->rt, queue);
    if (!status) status = qkvi_struct_read(&args, sizeof args, given, "args");
    if (!status) status = qkvi_linear_prepare(&run, linear, &args);
    if (!status) status = qkvi_chain_begin(&chain, &linear->context->rt.observer, queue, num_wait, wait_list, event);
    if (status) return status;
    return qkvi_chain_end(&chain, qkvi_linear_enqueue(linear, &chain, &run));
}

/* ---- updating ---- */

/* Both are checked before either is enqueued: an error leaves the layer as it was. */
static qkv_status check_update(const qkv_linear *linear, size_t output, const qkv_tensor *weight,
                               const qkv_tensor *bias) {
    bool out_in = linear->layout == QKV_WEIGHT_OUT_IN;
    size_t n = linear->weights.packed.out_features[output], k = linear->weights.packed.in_features;
    const size_t shape[2] = {out_in ? n : k, out_in ? k : n};
    const unsigned f32 = QKVI_DTYPE(QKV_F32);
    qkv_status status = weight ? qkvi_operand_check(linear->context, weight, "weight", true, f32) : QKV_OK;
    if (!status && weight) status = qkvi_operand_shape(weight, "weight", 2, shape);
    if (!status && bias) status = qkvi_operand_check(linear->context, bias, "bias", true, f32);
    if (!status && bias) status = qkvi_operand_shape(bias, "bias", 1, &n);
    return status;
}

static qkv_status enqueue_update(const qkv_linear *linear, struct qkvi_chain *chain, size_t output,
                                 const qkv_tensor *weight, const qkv_tensor *bias) {
    int k = linear->layout == QKV_WEIGHT_OUT_IN ? 1 : 0;
    qkv_status status = QKV_OK;
    if (weight)
        status = qkvi_weights_pack(&linear->weights, chain, output, weight->memory.buffer, (int64_t)weight->offset,
                                   weight->stride[k], weight->stride[1 - k]);
    if (!status && bias)
        status = qkvi_weights_pack_bias(&linear->weights, chain, output, bias->memory.buffer, (int64_t)bias->offset,
                                        bias->stride[0]);
    return status;
}

qkv_status qkv_linear_update(qkv_linear *linear, cl_command_queue queue, size_t output, const qkv_tensor *weight,
                             const qkv_tensor *bias, cl_uint num_wait, const cl_event *wait_list, cl_event *event) {
    struct qkvi_chain chain;
    if (!linear) return qkvi_fail(QKV_INVALID_ARGUMENT, "linear is NULL");
    if (output >= linear->weights.packed.num_outputs)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "output is %zu; the layer has %zu outputs", output,
                         linear->weights.packed.num_outputs);
    qkv_status status = qkvi_queue_check(&linear->context->rt, queue);
    if (!status) status = check_update(linear, output, weight, bias);
    if (!status) status = qkvi_chain_begin(&chain, &linear->context->rt.observer, queue, num_wait, wait_list, event);
    if (status) return status;
    return qkvi_chain_end(&chain, enqueue_update(linear, &chain, output, weight, bias));
}

/* ---- asking ---- */

const struct qkvi_solver *qkvi_linear_solver(const qkv_linear *linear) {
    return linear->plan.solver;
}

size_t qkv_linear_workspace_bytes(const qkv_linear *linear) {
    return linear ? linear->plan.workspace : 0;
}

size_t qkv_linear_memory_bytes(const qkv_linear *linear) {
    return linear ? linear->weights.bytes : 0;
}

const char *qkv_linear_describe(const qkv_linear *linear) {
    return linear && linear->plan.description ? linear->plan.description : "";
}
