#include "onnx/node.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool split(size_t *out, size_t width, int64_t heads, const char *name, tool_error *error) {
    if (heads <= 0 || width % (size_t)heads != 0)
        return tool_fail(error, "%s is %lld, which does not divide a width of %zu", name, (long long)heads, width);
    *out = width / (size_t)heads;
    return true;
}

static bool packed_sizes(onnx_attention *n, tool_error *error) {
    const onnx_attributes *a = n->attributes;
    size_t key_dim = 0;
    if (!split(&n->head_dim, n->q->shape[2], a->q_num_heads, "q_num_heads", error) ||
        !split(&key_dim, n->k->shape[2], a->kv_num_heads, "kv_num_heads", error) ||
        !split(&n->value_dim, n->v->shape[2], a->kv_num_heads, "kv_num_heads", error))
        return false;
    n->num_heads = (size_t)a->q_num_heads;
    n->num_kv_heads = (size_t)a->kv_num_heads;
    n->seq_q = n->q->shape[1];
    n->seq_new = n->k->shape[1];
    return key_dim == n->head_dim || tool_fail(error, "K's heads are %zu wide, Q's %zu", key_dim, n->head_dim);
}

static void split_sizes(onnx_attention *n) {
    n->num_heads = n->q->shape[1];
    n->num_kv_heads = n->k->shape[1];
    n->seq_q = n->q->shape[2];
    n->seq_new = n->k->shape[2];
    n->head_dim = n->q->shape[3];
    n->value_dim = n->v->shape[3];
}

static bool has_shape(const onnx_tensor *t, const char *name, size_t rank, const size_t *shape, tool_error *error) {
    if (t == NULL) return true;
    if (t->rank != rank) return tool_fail(error, "%s has %zu axes; it must have %zu", name, t->rank, rank);
    for (size_t i = 0; i < rank; i++)
        if (t->shape[i] != shape[i])
            return tool_fail(error, "%s has size %zu at axis %zu; it must be %zu", name, t->shape[i], i, shape[i]);
    return true;
}

/* The operator lets a mask's last axis end before the keys do; the others are broadcast. */
static bool mask_fits(const onnx_attention *n, tool_error *error) {
    const size_t full[4] = {n->batch, n->num_heads, n->seq_q, n->seq_kv};
    if (n->mask == NULL) return true;
    if (n->mask->rank < 1 || n->mask->rank > 4)
        return tool_fail(error, "attn_mask has %zu axes; it must have 1 to 4", n->mask->rank);
    for (size_t i = 0; i < n->mask->rank; i++) {
        const size_t size = n->mask->shape[i], at = 4 - n->mask->rank + i;
        if (at < 3 ? size != 1 && size != full[at] : size > full[at])
            return tool_fail(error, "attn_mask has size %zu at axis %zu; it must be %s%zu", size, i,
                             at < 3 ? "1 or " : "at most ", full[at]);
    }
    return true;
}

static bool attention_fits(const onnx_attention *n, tool_error *error) {
    const size_t k[4] = {n->batch, n->num_kv_heads, n->seq_new, n->head_dim};
    const size_t v[4] = {n->batch, n->num_kv_heads, n->seq_new, n->value_dim};
    const size_t packed_k[3] = {n->batch, n->seq_new, n->num_kv_heads * n->head_dim};
    const size_t packed_v[3] = {n->batch, n->seq_new, n->num_kv_heads * n->value_dim};
    const size_t past_k[4] = {n->batch, n->num_kv_heads, n->seq_past, n->head_dim};
    const size_t past_v[4] = {n->batch, n->num_kv_heads, n->seq_past, n->value_dim};
    if ((n->past_k == NULL) != (n->past_v == NULL))
        return tool_fail(error, "past_key and past_value must be given together");
    if (n->past_k != NULL && n->lengths != NULL)
        return tool_fail(error, "nonpad_kv_seqlen must not be given together with past_key");
    if (n->num_kv_heads == 0 || n->num_heads % n->num_kv_heads != 0)
        return tool_fail(error, "%zu heads of keys do not divide %zu heads of queries", n->num_kv_heads, n->num_heads);
    return has_shape(n->k, "K", n->q->rank, n->packed ? packed_k : k, error) &&
           has_shape(n->v, "V", n->q->rank, n->packed ? packed_v : v, error) &&
           has_shape(n->past_k, "past_key", 4, past_k, error) && has_shape(n->past_v, "past_value", 4, past_v, error) &&
           has_shape(n->lengths, "nonpad_kv_seqlen", 1, &n->batch, error) && mask_fits(n, error);
}

bool onnx_attention_open(onnx_attention *out, const onnx_attributes *attributes, const onnx_tensor *const *inputs,
                         tool_error *error) {
    *out = (onnx_attention){.attributes = attributes,
                            .q = inputs[0],
                            .k = inputs[1],
                            .v = inputs[2],
                            .mask = inputs[3],
                            .past_k = inputs[4],
                            .past_v = inputs[5],
                            .lengths = inputs[6]};
    const size_t rank = out->q->rank;
    if ((rank != 3 && rank != 4) || out->k->rank != rank || out->v->rank != rank)
        return tool_fail(error, "Q, K and V have %zu, %zu and %zu axes; they must have 3 or 4 alike", rank,
                         out->k->rank, out->v->rank);
    out->batch = out->q->shape[0];
    out->packed = rank == 3;
    if (!out->packed)
        split_sizes(out);
    else if (!packed_sizes(out, error))
        return false;
    if (out->past_k != NULL && out->past_k->rank == 4) out->seq_past = out->past_k->shape[2];
    out->seq_kv = out->seq_past + out->seq_new;
    return attention_fits(out, error);
}

bool onnx_rotary_open(onnx_rotary *out, const onnx_attributes *attributes, const onnx_tensor *const *inputs,
                      tool_error *error) {
    *out = (onnx_rotary){
        .attributes = attributes, .x = inputs[0], .cos = inputs[1], .sin = inputs[2], .positions = inputs[3]};
    const onnx_tensor *x = out->x;
    if (x->rank != 3 && x->rank != 4) return tool_fail(error, "X has %zu axes; it must have 3 or 4", x->rank);
    out->packed = x->rank == 3;
    out->batch = x->shape[0];
    out->seq = x->shape[out->packed ? 1 : 2];
    out->num_heads = out->packed ? (size_t)attributes->num_heads : x->shape[1];
    out->head_dim = x->shape[3];
    if (out->packed && !split(&out->head_dim, x->shape[2], attributes->num_heads, "num_heads", error)) return false;
    out->rotary_dim = (size_t)attributes->rotary_embedding_dim;
    if (out->rotary_dim == 0) out->rotary_dim = out->head_dim;
    if (out->rotary_dim > out->head_dim || out->rotary_dim % 2 != 0)
        return tool_fail(error, "rotary_embedding_dim is %zu; it must be even and at most %zu", out->rotary_dim,
                         out->head_dim);
    const size_t by_position[2] = {out->cos->shape[0], out->rotary_dim / 2};
    const size_t by_token[3] = {out->batch, out->seq, out->rotary_dim / 2}, positions[2] = {out->batch, out->seq};
    const size_t rank = out->positions != NULL ? 2 : 3;
    const size_t *shape = out->positions != NULL ? by_position : by_token;
    return has_shape(out->cos, "cos_cache", rank, shape, error) &&
           has_shape(out->sin, "sin_cache", rank, shape, error) &&
           has_shape(out->positions, "position_ids", 2, positions, error);
}

void onnx_values_free(onnx_values *values) {
    free(values->value);
    free(values->ours);
    free(values->given);
    free(values->either);
    memset(values, 0, sizeof *values);
}

double onnx_roundoff(qkv_dtype dtype) {
    return dtype == QKV_F16 ? 0x1p-11 : dtype == QKV_BF16 ? 0x1p-8 : 0x1p-24;
}

double onnx_spacing(qkv_dtype dtype, double value) {
    const int least = dtype == QKV_F16 ? -14 : -126;
    int exponent = least;
    if (isfinite(value) && value != 0) exponent = ilogb(value);
    if (exponent < least) exponent = least;
    return ldexp(2 * onnx_roundoff(dtype), exponent);
}
