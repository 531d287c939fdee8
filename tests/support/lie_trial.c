#include "support/lie_trial.h"

#include <stdio.h>
#include <string.h>

void (*lie_planned)(void);

void lie_plan_made(char *out, size_t bytes, const char *description) {
    (void)snprintf(out, bytes, "%s", description);
    if (lie_planned) lie_planned();
}

qkv_status lie_plan_layer(char *out, size_t bytes, qkv_context *context, const char *solver) {
    static const float weight[64 * 64] = {0};
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    qkv_layer *layer = NULL;
    desc.embed_dim = 64;
    desc.num_heads = 2;
    desc.wq.weight = desc.wk.weight = desc.wv.weight = desc.wo.weight = weight;
    desc.max_batch = 1;
    desc.max_seq_q = 16;
    desc.solver = solver;
    qkv_status status = qkv_layer_create(&layer, context, &desc);
    if (!status) lie_plan_made(out, bytes, qkv_layer_describe(layer));
    qkv_layer_destroy(layer);
    return status;
}

qkv_status lie_plan_rotary(char *out, size_t bytes, qkv_context *context, const char *solver) {
    qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
    qkv_rotary *rotary = NULL;
    desc.head_dim = 64;
    desc.max_position = 16;
    desc.solver = solver;
    qkv_status status = qkv_rotary_create(&rotary, context, &desc);
    if (!status) lie_plan_made(out, bytes, qkv_rotary_describe(rotary));
    qkv_rotary_destroy(rotary);
    return status;
}

qkv_status lie_plan_described(char *out, size_t bytes, qkv_context *context, const qkv_attention_desc *desc) {
    qkv_attention *attention = NULL;
    qkv_status status = qkv_attention_create(&attention, context, desc);
    if (!status) lie_plan_made(out, bytes, qkv_attention_describe(attention));
    qkv_attention_destroy(attention);
    return status;
}

qkv_status lie_plan_attention(char *out, size_t bytes, qkv_context *context, const char *solver, uint64_t features) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = 16;
    desc.num_heads = 2;
    desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_kv = 8;
    desc.features = features;
    desc.solver = solver;
    return lie_plan_described(out, bytes, context, &desc);
}

struct listener {
    struct lie_trial *trial;
    qkv_log_level level;
};

static void hear(void *user, qkv_log_level level, const char *message) {
    const struct listener *listener = user;
    char *log = listener->trial->log;
    size_t used = strlen(log);
    if (level <= listener->level) (void)snprintf(log + used, sizeof listener->trial->log - used, "%s\n", message);
}

void lie_try(struct lie_trial *trial, qkv_log_level level, const char *context_solver, lie_plan plan,
             const char *solver) {
    struct cl_balance before = liar_saboteur.balance();
    struct listener listener = {trial, level};
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_context *context = NULL;
    memset(trial, 0, sizeof *trial);
    options.log = hear, options.log_user = &listener, options.solver = context_solver;
    trial->status = qkv_context_create(&context, NULL, &options);
    if (!trial->status) trial->status = plan(trial->description, sizeof trial->description, context, solver);
    if (trial->status) (void)snprintf(trial->message, sizeof trial->message, "%s", qkv_error_message());
    qkv_context_destroy(context);
    struct cl_balance now = liar_saboteur.balance();
    sweep_check_balance(&before, &now);
}

bool lie_is_whole(const struct lie_trial *trial) {
    return strstr(trial->description, "layer=") != NULL;
}
