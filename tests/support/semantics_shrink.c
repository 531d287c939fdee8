/* A case that fails made smaller, one thing at a time, while it still fails. */
#include <string.h>

#include "support/semantics_case.h"

/* Each makes the case plainer; one that has nothing to do leaves it as it is. */
#define DROP(name, statement)                                                                                          \
    static void name(struct semantics_case *c) {                                                                       \
        statement;                                                                                                     \
    }
DROP(no_batch, if (c->batch > 1) c->batch = 1)
DROP(half_q, c->seq_q /= 2)
DROP(less_q, if (c->seq_q) c->seq_q--)
DROP(half_kv, c->seq_kv /= 2; if (c->mask_missing + 1 >= c->seq_kv) c->mask_missing = 0)
DROP(less_kv, if (c->seq_kv) c->seq_kv--; if (c->mask_missing + 1 >= c->seq_kv) c->mask_missing = 0)
DROP(no_mask, c->mask = (qkv_dtype)0; c->mask_rank = 0; c->mask_axes = 0; c->mask_missing = 0)
DROP(bool_mask, if (c->mask) c->mask = QKV_BOOL)
DROP(full_mask, c->mask_missing = 0)
DROP(key_mask, if (c->mask) c->mask_rank = 1; if (c->mask) c->mask_axes = 8)
DROP(no_causal, c->causal = QKV_CAUSAL_OFF)
DROP(no_offset, c->query_offset = 0)
DROP(no_offsets, c->offsets = (qkv_dtype)0)
DROP(no_lengths, c->lengths = (qkv_dtype)0)
DROP(no_window, c->windowed = false)
DROP(no_left, c->window.left = -1)
DROP(no_right, c->window.right = -1)
DROP(half_left, if (c->window.left > 0) c->window.left /= 2)
DROP(half_right, if (c->window.right > 0) c->window.right /= 2)
DROP(no_softcap, c->softcap = 0)
DROP(no_slopes, c->slopes = false)
DROP(no_sinks, c->sinks = false)
DROP(no_weights, c->weights = false)
DROP(no_scores, c->scores = false)
DROP(no_lse, c->logsumexp = false)
DROP(no_traps, c->traps = false)
DROP(no_stage, c->stage = QKV_SCORES_MASKED)
DROP(no_past, c->present = c->in_place = false; c->past = 0)
DROP(half_past, c->past /= 2)
DROP(not_in_place, c->in_place = false)
DROP(no_received, c->received = false)
DROP(no_top, c->top = 0)
DROP(half_top, if (c->top > 1) c->top /= 2)
DROP(no_scale, c->scale = 0)
DROP(no_magnitude, c->magnitude = 1)
DROP(no_layout, c->layout = SEMANTICS_BHSD)
/* From here on a plan of its own is needed. */
DROP(no_group, c->num_heads = c->num_kv_heads)
DROP(no_heads, c->num_heads /= c->num_kv_heads; c->num_kv_heads = 1)
DROP(half_dim, if (c->head_dim > 1) c->head_dim /= 2)
DROP(half_value, if (c->value_dim > 1) c->value_dim /= 2)
DROP(q_f32, c->q_dtype = QKV_F32)
DROP(k_f32, c->k_dtype = QKV_F32)
DROP(v_f32, c->v_dtype = QKV_F32)
DROP(out_f32, c->out_dtype = QKV_F32)
DROP(weights_f32, c->weights_dtype = QKV_F32)

static void (*const drops[])(struct semantics_case *) = {
    no_batch,   half_q,       less_q,      half_kv,    less_kv,   no_mask,  bool_mask,    full_mask,   key_mask,
    no_causal,  no_offset,    no_offsets,  no_lengths, no_window, no_left,  no_right,     half_left,   half_right,
    no_softcap, no_slopes,    no_sinks,    no_weights, no_scores, no_lse,   no_traps,     no_stage,    no_past,
    half_past,  not_in_place, no_received, no_top,     half_top,  no_scale, no_magnitude, no_layout,   no_group,
    no_heads,   half_dim,     half_value,  q_f32,      k_f32,     v_f32,    out_f32,      weights_f32,
};

static bool same_plan(const struct semantics_case *a, const struct semantics_case *b) {
    return a->num_heads == b->num_heads && a->num_kv_heads == b->num_kv_heads && a->head_dim == b->head_dim &&
           a->value_dim == b->value_dim && a->q_dtype == b->q_dtype && a->k_dtype == b->k_dtype &&
           a->v_dtype == b->v_dtype && a->out_dtype == b->out_dtype && a->weights_dtype == b->weights_dtype;
}

static bool fails(const qkv_attention *plan, const struct semantics_case *c, char *error, size_t size) {
    char text[400] = "";
    struct semantics_data data;
    struct semantics_reference reference;
    semantics_data_make(&data, c);
    semantics_reference_make(&reference, c, &data);
    const bool right = semantics_check(plan, c, &data, &reference, text, sizeof text);
    semantics_reference_free(&reference);
    semantics_data_free(&data);
    if (!right && size) memcpy(error, text, size < sizeof text ? size : sizeof text);
    return !right;
}

struct semantics_case semantics_shrink(const struct semantics_case *c, uint64_t features,
                                       const struct semantics_limits *limits, const char *solver, char *error,
                                       size_t size) {
    enum { MOST_PLANS = 40 };
    struct semantics_case least = *c;
    qkv_attention *plan = NULL;
    if (semantics_plan_create(&plan, c, features, limits, solver)) return least;
    for (size_t i = 0, plans = 0, since = 0; since < TEST_COUNT(drops); i = (i + 1) % TEST_COUNT(drops), since++) {
        struct semantics_case next = least;
        qkv_attention *own = NULL;
        drops[i](&next);
        if (next.past > next.seq_kv) next.past = next.seq_kv;
        if (!memcmp(&next, &least, sizeof next)) continue;
        if (!same_plan(&next, &least) &&
            (plans++ >= MOST_PLANS || semantics_plan_create(&own, &next, features, limits, solver)))
            continue;
        if (fails(own ? own : plan, &next, error, size)) {
            least = next;
            since = 0;
            if (own) {
                qkv_attention_destroy(plan);
                plan = own;
            }
        } else {
            qkv_attention_destroy(own);
        }
    }
    qkv_attention_destroy(plan);
    return least;
}
