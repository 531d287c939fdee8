#include "api/internal.h"

/*
 * Each call makes its objects, runs them on the context's queue and destroys them. What is dear (programs, probes,
 * self-tests) stays in the context.
 */

/* A device copy of a host array, or room for a result; rank and shape make it a dense tensor. */
struct array {
    qkv_tensor tensor;
    cl_mem buffer;
    size_t bytes;
};

static qkv_status make_array(struct array *a, qkv_context *context, const char *name, const void *data, qkv_dtype dtype,
                             size_t rank, const size_t *shape) {
    size_t count;
    if (!qkvi_product(&count, shape, rank) || !qkvi_mul(&a->bytes, count, qkv_dtype_size(dtype)))
        return qkvi_fail(QKV_OVERFLOW, "%s: the product of its sizes overflows", name);
    qkv_status status = qkvi_buffer_create(&a->buffer, &context->rt, a->bytes, name);
    if (!status && data) status = qkvi_buffer_write(&context->rt, a->buffer, 0, data, a->bytes);
    return status ? status : qkv_tensor_dense(&a->tensor, a->buffer, dtype, rank, shape);
}

static qkv_status input(struct array *a, qkv_context *context, const char *name, const void *data, size_t rank,
                        const size_t *shape) {
    size_t count;
    if (!data && qkvi_product(&count, shape, rank) && count > 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "%s is NULL", name);
    return make_array(a, context, name, data, QKV_F32, rank, shape);
}

/* Absent where nobody asked for it. */
static qkv_status output(struct array *a, qkv_context *context, const char *name, const float *wanted, size_t rank,
                         const size_t *shape) {
    return wanted ? make_array(a, context, name, NULL, QKV_F32, rank, shape) : QKV_OK;
}

static qkv_status fetch(qkv_context *context, float *data, const struct array *a) {
    return data && a->buffer ? qkvi_buffer_read(&context->rt, data, a->buffer, 0, a->bytes) : QKV_OK;
}

static const qkv_tensor *tensor_of(const struct array *a) {
    return a->buffer ? &a->tensor : NULL;
}

static void release(struct array *arrays, size_t count) {
    for (size_t i = 0; i < count; i++)
        qkvi_buffer_release(arrays[i].buffer);
}

/* ---- linear ---- */

static qkv_status run_linear(const qkv_linear *linear, qkv_context *context, const struct array *x,
                             const struct array *y) {
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    qkv_workspace *workspace = NULL;
    cl_event done = NULL;
    qkv_status status = qkv_workspace_create(&workspace, context, qkv_linear_workspace_bytes(linear));
    args.x = &x->tensor;
    args.outputs[0] = &y->tensor;
    args.workspace = workspace;
    if (!status) status = qkv_linear_run(linear, context->rt.queue, &args, 0, NULL, &done);
    status = qkvi_runtime_wait(&context->rt, done, status);
    qkv_workspace_destroy(workspace);
    return status;
}

qkv_status qkv_host_linear(float *y, qkv_context *context, const float *x, size_t rows, size_t in_features,
                           const float *weight, size_t out_features, qkv_weight_layout layout, const float *bias) {
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    if (!weight) return qkvi_fail(QKV_INVALID_ARGUMENT, "weight is NULL");
    if (!y && rows > 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "y is NULL");
    if (in_features == 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "in_features is 0");
    if (out_features == 0) return qkvi_fail(QKV_INVALID_ARGUMENT, "out_features is 0");
    if (layout != QKV_WEIGHT_OUT_IN && layout != QKV_WEIGHT_IN_OUT)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "layout is %d; it must be QKV_WEIGHT_OUT_IN or QKV_WEIGHT_IN_OUT",
                         (int)layout);
    const qkv_linear_output out = {.out_features = out_features, .weight = weight, .bias = bias};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    qkv_linear *linear = NULL;
    struct array a[2] = {{.bytes = 0}};
    const size_t x_shape[] = {rows, in_features}, y_shape[] = {rows, out_features};
    desc.in_features = in_features;
    desc.layout = layout;
    desc.num_outputs = 1;
    desc.outputs = &out;
    qkv_status status = qkv_linear_create(&linear, context, &desc);
    if (!status) status = input(&a[0], context, "x", x, 2, x_shape);
    if (!status) status = make_array(&a[1], context, "y", NULL, QKV_F32, 2, y_shape);
    if (!status) status = run_linear(linear, context, &a[0], &a[1]);
    if (!status) status = fetch(context, y, &a[1]);
    release(a, 2);
    qkv_linear_destroy(linear);
    return status;
}

/* ---- attention ---- */

/* What the plan would refuse under a name the caller has not used. */
static qkv_status check_attention(const qkv_host_attention_args *s) {
    const struct {
        const char *name;
        size_t value, least, most;
        const char *expected;
    } sizes[] = {{"num_heads", s->num_heads, 1, SIZE_MAX, "at least 1"},
                 {"head_dim", s->head_dim, 1, 512, "1 to 512"},
                 {"value_dim", s->value_dim, 0, 512, "1 to 512, or 0 for head_dim"}};
    for (size_t i = 0; i < QKVI_COUNT(sizes); i++)
        if (sizes[i].value < sizes[i].least || sizes[i].value > sizes[i].most)
            return qkvi_fail(QKV_INVALID_ARGUMENT, "args.%s is %zu; it must be %s", sizes[i].name, sizes[i].value,
                             sizes[i].expected);
    if (s->num_kv_heads && s->num_heads % s->num_kv_heads != 0)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.num_kv_heads is %zu, which does not divide num_heads (%zu)",
                         s->num_kv_heads, s->num_heads);
    if (s->mask_bool && s->mask_add)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.mask_bool and args.mask_add are both given; one mask at most");
    const size_t full[4] = {s->batch, s->num_heads, s->seq_q, s->seq_kv};
    for (size_t i = 0; i < 4 && (s->mask_bool || s->mask_add); i++)
        if (s->mask_shape[i] != 1 && s->mask_shape[i] != full[i])
            return qkvi_fail(QKV_INVALID_SHAPE, "args.mask_shape[%zu] is %zu; it must be 1 or all %zu of that axis", i,
                             s->mask_shape[i], full[i]);
    return QKV_OK;
}

enum attention_array { Q, K, V, OUT, MASK, WEIGHTS, LSE, NUM_ATTENTION };

static qkv_status plan_attention(qkv_attention **out, qkv_context *context, const qkv_host_attention_args *args) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = args->head_dim;
    desc.value_dim = args->value_dim;
    desc.num_heads = args->num_heads;
    desc.num_kv_heads = args->num_kv_heads;
    desc.max_batch = args->batch ? args->batch : 1;
    desc.max_seq_q = args->seq_q ? args->seq_q : 1;
    desc.max_seq_kv = args->seq_kv ? args->seq_kv : 1;
    if (args->mask_bool || args->mask_add) desc.features |= QKV_ATTENTION_MASK;
    if (args->weights) desc.features |= QKV_ATTENTION_WEIGHTS;
    qkv_status status = qkv_attention_create(out, context, &desc);
    if (status == QKV_OVERFLOW) /* of limits that the caller has not named */
        return qkvi_fail(status, "args.batch * num_heads * seq_q, or seq_kv instead, is more than can be addressed");
    return status;
}

static qkv_status load_attention(struct array *a, qkv_context *context, float *out, const qkv_host_attention_args *s) {
    size_t kv_heads = s->num_kv_heads ? s->num_kv_heads : s->num_heads;
    size_t value_dim = s->value_dim ? s->value_dim : s->head_dim;
    const size_t q[] = {s->batch, s->num_heads, s->seq_q, s->head_dim},
                 k[] = {s->batch, kv_heads, s->seq_kv, s->head_dim};
    const size_t v[] = {s->batch, kv_heads, s->seq_kv, value_dim}, o[] = {s->batch, s->num_heads, s->seq_q, value_dim};
    const size_t w[] = {s->batch, s->num_heads, s->seq_q, s->seq_kv};
    qkv_status status = input(&a[Q], context, "args.q", s->q, 4, q);
    if (!status) status = input(&a[K], context, "args.k", s->k, 4, k);
    if (!status) status = input(&a[V], context, "args.v", s->v, 4, v);
    if (!status && s->mask_bool)
        status = make_array(&a[MASK], context, "args.mask_bool", s->mask_bool, QKV_BOOL, 4, s->mask_shape);
    if (!status && s->mask_add)
        status = make_array(&a[MASK], context, "args.mask_add", s->mask_add, QKV_F32, 4, s->mask_shape);
    if (!status && !out && s->batch * s->num_heads * s->seq_q * value_dim > 0)
        status = qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!status) status = make_array(&a[OUT], context, "out", NULL, QKV_F32, 4, o);
    if (!status) status = output(&a[WEIGHTS], context, "args.weights", s->weights, 4, w);
    if (!status) status = output(&a[LSE], context, "args.logsumexp", s->logsumexp, 3, w);
    return status;
}

static qkv_status run_attention(const qkv_attention *attention, qkv_context *context, const struct array *a,
                                const qkv_host_attention_args *s) {
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    qkv_workspace *workspace = NULL;
    cl_event done = NULL;
    qkv_status status = qkv_workspace_create(&workspace, context, qkv_attention_workspace_bytes(attention));
    args.q = &a[Q].tensor;
    args.k = &a[K].tensor;
    args.v = &a[V].tensor;
    args.out = &a[OUT].tensor;
    args.mask = tensor_of(&a[MASK]);
    args.weights = tensor_of(&a[WEIGHTS]);
    args.logsumexp = tensor_of(&a[LSE]);
    args.scale = s->scale;
    args.causal = s->causal;
    args.workspace = workspace;
    if (!status) status = qkv_attention_run(attention, context->rt.queue, &args, 0, NULL, &done);
    status = qkvi_runtime_wait(&context->rt, done, status);
    qkv_workspace_destroy(workspace);
    return status;
}

qkv_status qkv_host_attention(float *out, qkv_context *context, const qkv_host_attention_args *given) {
    qkv_host_attention_args s;
    qkv_attention *attention = NULL;
    struct array a[NUM_ATTENTION] = {{.bytes = 0}};
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    qkv_status status = qkvi_struct_read(&s, sizeof s, given, "args");
    if (!status) status = check_attention(&s);
    if (!status) status = plan_attention(&attention, context, &s);
    if (!status) status = load_attention(a, context, out, &s);
    if (!status) status = run_attention(attention, context, a, &s);
    if (!status) status = fetch(context, out, &a[OUT]);
    if (!status) status = fetch(context, s.weights, &a[WEIGHTS]);
    if (!status) status = fetch(context, s.logsumexp, &a[LSE]);
    release(a, NUM_ATTENTION);
    qkv_attention_destroy(attention);
    return status;
}

/* ---- layer ---- */

enum layer_array { LX, LKV, LOUT, LQ, LK, LV, LHEADS, LWEIGHTS, NUM_LAYER };

struct layer_call {
    qkv_layer_desc desc;
    qkv_host_layer_args args;
    struct array a[NUM_LAYER];
};

static qkv_status load_layer(struct layer_call *c, qkv_context *context, float *out) {
    const qkv_layer_desc *d = &c->desc;
    const qkv_host_layer_args *s = &c->args;
    /* qkv_layer_create() has checked that these are consistent. */
    size_t head_dim = d->head_dim ? d->head_dim : d->embed_dim / d->num_heads;
    size_t value_dim = d->value_dim ? d->value_dim : head_dim;
    size_t kv_heads = d->num_kv_heads ? d->num_kv_heads : d->num_heads;
    size_t kv_embed = d->kv_embed_dim ? d->kv_embed_dim : d->embed_dim;
    size_t out_dim = d->wo.weight ? (d->out_dim ? d->out_dim : d->embed_dim) : d->num_heads * value_dim;
    size_t b = s->batch, sq = s->seq_q, sk = s->kv ? s->seq_kv : s->seq_q;
    const size_t x[] = {b, sq, d->embed_dim}, kv[] = {b, sk, kv_embed}, o[] = {b, sq, out_dim};
    const size_t q[] = {b, d->num_heads, sq, head_dim}, k[] = {b, kv_heads, sk, head_dim};
    const size_t v[] = {b, kv_heads, sk, value_dim}, h[] = {b, d->num_heads, sq, value_dim};
    const size_t w[] = {b, d->num_heads, sq, sk};
    qkv_status status = input(&c->a[LX], context, "args.x", s->x, 3, x);
    if (!status && s->kv) status = input(&c->a[LKV], context, "args.kv", s->kv, 3, kv);
    if (!status && !out && b * sq > 0) status = qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!status) status = make_array(&c->a[LOUT], context, "out", NULL, QKV_F32, 3, o);
    if (!status) status = output(&c->a[LQ], context, "args.q", s->q, 4, q);
    if (!status) status = output(&c->a[LK], context, "args.k", s->k, 4, k);
    if (!status) status = output(&c->a[LV], context, "args.v", s->v, 4, v);
    if (!status) status = output(&c->a[LHEADS], context, "args.heads", s->heads, 4, h);
    if (!status) status = output(&c->a[LWEIGHTS], context, "args.weights", s->weights, 4, w);
    return status;
}

static qkv_status run_layer(const qkv_layer *layer, qkv_context *context, const struct layer_call *c) {
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    qkv_workspace *workspace = NULL;
    cl_event done = NULL;
    qkv_status status = qkv_workspace_create(&workspace, context, qkv_layer_workspace_bytes(layer));
    args.x = &c->a[LX].tensor;
    args.kv = tensor_of(&c->a[LKV]);
    args.out = &c->a[LOUT].tensor;
    args.q = tensor_of(&c->a[LQ]);
    args.k = tensor_of(&c->a[LK]);
    args.v = tensor_of(&c->a[LV]);
    args.heads = tensor_of(&c->a[LHEADS]);
    args.weights = tensor_of(&c->a[LWEIGHTS]);
    args.scale = c->args.scale;
    args.causal = c->args.causal;
    args.workspace = workspace;
    if (!status) status = qkv_layer_run(layer, context->rt.queue, &args, 0, NULL, &done);
    status = qkvi_runtime_wait(&context->rt, done, status);
    qkv_workspace_destroy(workspace);
    return status;
}

static qkv_status fetch_layer(struct layer_call *c, qkv_context *context, float *out) {
    qkv_status status = fetch(context, out, &c->a[LOUT]);
    if (!status) status = fetch(context, c->args.q, &c->a[LQ]);
    if (!status) status = fetch(context, c->args.k, &c->a[LK]);
    if (!status) status = fetch(context, c->args.v, &c->a[LV]);
    if (!status) status = fetch(context, c->args.heads, &c->a[LHEADS]);
    return status ? status : fetch(context, c->args.weights, &c->a[LWEIGHTS]);
}

qkv_status qkv_host_layer(float *out, qkv_context *context, const qkv_layer_desc *desc,
                          const qkv_host_layer_args *args) {
    struct layer_call c = {.a = {{.bytes = 0}}};
    qkv_layer *layer = NULL;
    if (!context) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    qkv_status status = qkvi_struct_read(&c.desc, sizeof c.desc, desc, "desc");
    if (!status) status = qkvi_struct_read(&c.args, sizeof c.args, args, "args");
    if (status) return status;
    if (c.args.seq_kv && !c.args.kv)
        return qkvi_fail(QKV_INVALID_ARGUMENT, "args.seq_kv is %zu, but args.kv is NULL", c.args.seq_kv);
    c.desc.max_batch = c.args.batch ? c.args.batch : 1;
    c.desc.max_seq_q = c.args.seq_q ? c.args.seq_q : 1;
    c.desc.max_seq_kv = c.args.kv && c.args.seq_kv ? c.args.seq_kv : c.desc.max_seq_q;
    c.desc.features = c.args.weights ? QKV_ATTENTION_WEIGHTS : 0;
    status = qkv_layer_create(&layer, context, &c.desc);
    if (!status) status = load_layer(&c, context, out);
    if (!status) status = run_layer(layer, context, &c);
    if (!status) status = fetch_layer(&c, context, out);
    release(c.a, NUM_LAYER);
    qkv_layer_destroy(layer);
    return status;
}
