/* What the operators say, in the library's terms. */
#include <math.h>
#include <string.h>

#include "onnx/device_internal.h"

/* Kernels know these by one macro: a plan that has one may as well have all. */
#define ONNX_TERMS (QKV_ATTENTION_SOFTCAP | QKV_ATTENTION_WINDOW | QKV_ATTENTION_LENGTHS)

enum { Y, PRESENT_KEY, PRESENT_VALUE, QK_MATMUL, NUM_OUTPUTS };

/* The host's copies and the device's views of one Attention node. */
typedef struct attention_job {
    onnx_job job;
    const onnx_attention *node;
    const bool *wanted;
    onnx_tensor *outputs;
    onnx_tensor mask, offsets; /* made here, where the library's conventions are others */
    qkv_tensor q, k, v, mask_view, past_k, past_v, lengths, offsets_view, out[NUM_OUTPUTS];
    qkv_window window;
} attention_job;

static bool has_window(const onnx_attributes *a) {
    return a->left_window_size >= 0 || a->right_window_size >= 0;
}

static qkv_attention_desc describe(const onnx_attention *n, const bool *wanted) {
    const onnx_attributes *a = n->attributes;
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = n->head_dim;
    desc.value_dim = n->value_dim;
    desc.num_heads = n->num_heads;
    desc.num_kv_heads = n->num_kv_heads;
    desc.max_batch = n->batch != 0 ? n->batch : 1;
    desc.max_seq_q = n->seq_q != 0 ? n->seq_q : 1;
    desc.max_seq_kv = n->seq_kv != 0 ? n->seq_kv : 1;
    desc.q_dtype = desc.out_dtype = desc.weights_dtype = n->q->dtype;
    desc.k_dtype = n->k->dtype;
    desc.v_dtype = n->v->dtype;
    if (n->mask != NULL) desc.features |= QKV_ATTENTION_MASK;
    if (a->softcap > 0 || has_window(a) || n->lengths != NULL) desc.features |= ONNX_TERMS;
    if (n->past_k != NULL || wanted[PRESENT_KEY] || wanted[PRESENT_VALUE]) desc.features |= QKV_ATTENTION_PAST;
    /* Reports are made of many kernels; one plan with everything serves all that want them. */
    if (wanted[QK_MATMUL])
        desc.features |=
            QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS | QKV_ATTENTION_REDUCED | QKV_ATTENTION_PAST | ONNX_TERMS;
    return desc;
}

/* The operator fills a mask whose last axis is 1 with -inf; the library broadcasts it, unless it is 2. */
static bool upload_mask(attention_job *j) {
    const onnx_tensor *mask = j->node->mask;
    const size_t last = mask->rank - 1;
    if (mask->shape[last] != 1 || j->node->seq_kv <= 1) return onnx_upload(&j->mask_view, &j->job, mask);
    const size_t element = qkv_dtype_size(mask->dtype);
    const uint32_t infinity = mask->dtype == QKV_F16 ? 0xfc00 : mask->dtype == QKV_BF16 ? 0xff80 : 0xff800000;
    const uint16_t half = (uint16_t)infinity;
    size_t shape[QKV_MAX_RANK];
    memcpy(shape, mask->shape, sizeof shape);
    shape[last] = 2;
    if (!onnx_tensor_create(&j->mask, mask->dtype, mask->rank, shape, 0, j->job.error)) return false;
    for (size_t i = 0; i < mask->count; i++) {
        unsigned char *to = j->mask.data + 2 * i * element;
        memcpy(to, mask->data + i * element, element);
        if (mask->dtype == QKV_F32) memcpy(to + element, &infinity, element);
        if (element == sizeof half) memcpy(to + element, &half, element);
    }
    return onnx_upload(&j->mask_view, &j->job, &j->mask);
}

static bool upload_heads(qkv_tensor *out, attention_job *j, const onnx_tensor *tensor, size_t heads) {
    return onnx_upload(out, &j->job, tensor) &&
           (!j->node->packed || onnx_check(qkv_tensor_heads(out, out, heads), j->job.error));
}

/* Where nothing places the queries, a window counts from the end of each batch's keys: length - seq_q. */
static bool upload_offsets(attention_job *j) {
    const onnx_attention *n = j->node;
    if (!onnx_tensor_create(&j->offsets, QKV_I64, 1, &n->batch, 0, j->job.error)) return false;
    for (size_t b = 0; b < n->batch; b++) {
        const int64_t offset = (int64_t)onnx_tensor_at(n->lengths, b) - (int64_t)n->seq_q;
        memcpy(j->offsets.data + b * sizeof offset, &offset, sizeof offset);
    }
    return onnx_upload(&j->offsets_view, &j->job, &j->offsets);
}

static bool upload_inputs(attention_job *j) {
    const onnx_attention *n = j->node;
    const onnx_attributes *a = n->attributes;
    if (!upload_heads(&j->q, j, n->q, n->num_heads) || !upload_heads(&j->k, j, n->k, n->num_kv_heads) ||
        !upload_heads(&j->v, j, n->v, n->num_kv_heads))
        return false;
    if (n->mask != NULL && !upload_mask(j)) return false;
    if (n->past_k != NULL && !onnx_upload(&j->past_k, &j->job, n->past_k)) return false;
    if (n->past_v != NULL && !onnx_upload(&j->past_v, &j->job, n->past_v)) return false;
    if (n->lengths != NULL && !onnx_upload(&j->lengths, &j->job, n->lengths)) return false;
    return n->lengths == NULL || a->is_causal || !has_window(a) || upload_offsets(j);
}

/* Of NaNs, so that what is not written shows. */
static bool make_output(attention_job *j, int which, qkv_dtype dtype, size_t rank, const size_t *shape) {
    return onnx_tensor_create(&j->outputs[which], dtype, rank, shape, 0xff, j->job.error) &&
           onnx_upload(&j->out[which], &j->job, &j->outputs[which]);
}

static bool make_outputs(attention_job *j) {
    const onnx_attention *n = j->node;
    const qkv_dtype t1 = n->q->dtype, t2 = n->v->dtype;
    const size_t packed[3] = {n->batch, n->seq_q, n->num_heads * n->value_dim};
    const size_t split[4] = {n->batch, n->num_heads, n->seq_q, n->value_dim};
    const size_t key[4] = {n->batch, n->num_kv_heads, n->seq_kv, n->head_dim};
    const size_t value[4] = {n->batch, n->num_kv_heads, n->seq_kv, n->value_dim};
    const size_t scores[4] = {n->batch, n->num_heads, n->seq_q, n->seq_kv};
    /* The library takes a past with a present only, and both halves of it. */
    const bool present = n->past_k != NULL || j->wanted[PRESENT_KEY] || j->wanted[PRESENT_VALUE];
    if (!make_output(j, Y, t1, n->packed ? 3 : 4, n->packed ? packed : split)) return false;
    if (n->packed && !onnx_check(qkv_tensor_heads(&j->out[Y], &j->out[Y], n->num_heads), j->job.error)) return false;
    return (!present ||
            (make_output(j, PRESENT_KEY, n->k->dtype, 4, key) && make_output(j, PRESENT_VALUE, t2, 4, value))) &&
           (!j->wanted[QK_MATMUL] || make_output(j, QK_MATMUL, t1, 4, scores));
}

static const qkv_tensor *if_made(const qkv_tensor *view) {
    return view->memory.buffer != NULL ? view : NULL;
}

static void set_scores(qkv_attention_args *args, const attention_job *j) {
    static const qkv_scores_stage stages[] = {QKV_SCORES_RAW, QKV_SCORES_CAPPED, QKV_SCORES_MASKED};
    const int64_t mode = j->node->attributes->qk_matmul_output_mode;
    if (!j->wanted[QK_MATMUL]) return;
    if (mode == 3) {
        args->weights = &j->out[QK_MATMUL];
    } else {
        args->scores = &j->out[QK_MATMUL];
        args->scores_stage = stages[mode];
    }
}

static void set_args(qkv_attention_args *args, attention_job *j) {
    const onnx_attention *n = j->node;
    const onnx_attributes *a = n->attributes;
    args->q = &j->q;
    args->k = &j->k;
    args->v = &j->v;
    args->out = &j->out[Y];
    args->mask = if_made(&j->mask_view);
    args->past_k = if_made(&j->past_k);
    args->past_v = if_made(&j->past_v);
    args->present_k = if_made(&j->out[PRESENT_KEY]);
    args->present_v = if_made(&j->out[PRESENT_VALUE]);
    args->kv_lengths = if_made(&j->lengths);
    args->query_offsets = if_made(&j->offsets_view);
    args->softcap = a->softcap > 0 ? (float)a->softcap : 0.0f;
    if (a->has_scale) args->scale = (float)(a->scale != 0 ? a->scale : ONNX_SCALE_ZERO);
    if (a->is_causal) args->causal = n->lengths != NULL ? QKV_CAUSAL_LAST : QKV_CAUSAL_FIRST;
    j->window = (qkv_window){a->left_window_size, a->right_window_size};
    if (has_window(a)) args->window = &j->window;
    set_scores(args, j);
}

static bool run_attention(attention_job *j) {
    const qkv_attention_desc desc = describe(j->node, j->wanted);
    const qkv_attention *plan;
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    cl_command_queue queue = qkv_context_cl_queue(onnx_device_context(j->job.device));
    if (!onnx_attention_plan(&plan, &args.workspace, j->job.device, &desc, j->job.error) || !upload_inputs(j) ||
        !make_outputs(j))
        return false;
    set_args(&args, j);
    if (!onnx_check(qkv_attention_run(plan, queue, &args, 0, NULL, NULL), j->job.error)) return false;
    for (int i = 0; i < NUM_OUTPUTS; i++)
        if (j->outputs[i].data != NULL && !onnx_download(&j->outputs[i], &j->job, &j->out[i])) return false;
    return true;
}

bool onnx_attention_run(onnx_tensor *outputs, onnx_device *device, const onnx_attention *node, const bool *wanted,
                        tool_error *error) {
    attention_job job;
    memset(&job, 0, sizeof job);
    job.job = (onnx_job){.device = device, .error = error};
    job.node = node;
    job.wanted = wanted;
    job.outputs = outputs;
    const bool ok = run_attention(&job);
    onnx_job_end(&job.job);
    onnx_tensor_free(&job.mask);
    onnx_tensor_free(&job.offsets);
    return ok;
}

static bool upload_rotary(qkv_tensor *out, onnx_job *job, const onnx_tensor *tensor, const onnx_rotary *node) {
    return onnx_upload(out, job, tensor) &&
           (!node->packed || onnx_check(qkv_tensor_heads(out, out, node->num_heads), job->error));
}

bool onnx_rotary_run(onnx_tensor *output, onnx_device *device, const onnx_rotary *node, tool_error *error) {
    onnx_job job = {.device = device, .error = error};
    qkv_tensor x, out, cos, sin, positions;
    qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
    qkv_rotary_args args = QKV_ROTARY_ARGS_INIT;
    const qkv_rotary *plan;
    desc.head_dim = node->head_dim;
    desc.rotary_dim = node->rotary_dim;
    desc.interleaved = node->attributes->interleaved != 0;
    args.x = &x;
    args.out = &out;
    args.cos = &cos;
    args.sin = &sin;
    if (node->positions != NULL) args.positions = &positions;
    bool ok = onnx_tensor_create(output, node->x->dtype, node->x->rank, node->x->shape, 0xff, error) &&
              onnx_rotary_plan(&plan, device, &desc, error) && upload_rotary(&x, &job, node->x, node) &&
              upload_rotary(&out, &job, output, node) && onnx_upload(&cos, &job, node->cos) &&
              onnx_upload(&sin, &job, node->sin) &&
              (node->positions == NULL || onnx_upload(&positions, &job, node->positions)) &&
              onnx_check(qkv_rotary_run(plan, qkv_context_cl_queue(onnx_device_context(device)), &args, 0, NULL, NULL),
                         error) &&
              onnx_download(output, &job, &out);
    onnx_job_end(&job);
    return ok;
}
