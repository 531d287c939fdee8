#include "support/lie_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"

const struct lie_way lie_ways[LIE_WAYS] = {
    {"wrong", "", QKV_SELF_TEST_FAILED, "self-test"},
    {"lazy", "", QKV_SELF_TEST_FAILED, "self-test"},
    {"short", "", QKV_SELF_TEST_FAILED, "self-test"},
    {"refuse", "", QKV_BUILD_FAILED, "refused by the liar"},
    /* What one kernel takes for itself is not the end of all memory. */
    {"refuse", ":-6", QKV_OUT_OF_MEMORY, "CL_OUT_OF_HOST_MEMORY"},
    {"launch", ":-4", QKV_OUT_OF_DEVICE_MEMORY, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
};

void problem_open(struct problem *p) {
    struct test_random random = test_random_start(test_seed(), 31);
    p->c = (struct layer_case){.batch = 1,
                               .seq_q = 5,
                               .embed_dim = 24,
                               .num_heads = 2,
                               .num_kv_heads = 2,
                               .head_dim = 16,
                               .value_dim = 16,
                               .out_dim = 20,
                               .layout = QKV_WEIGHT_OUT_IN,
                               .biases = true,
                               .wo = true,
                               .causal = QKV_CAUSAL_FIRST};
    p->weights = NULL;
    p->max_seq = 0;
    layer_data_make(&p->data, &p->c, &random);
    layer_reference_make(&p->reference, &p->c, &p->data);
    liar_tell("%s", "");
}

void problem_close(struct problem *p) {
    liar_tell("%s", "");
    layer_reference_free(&p->reference);
    layer_data_free(&p->data);
}

qkv_status problem_run(const struct problem *p, qkv_context *context) {
    qkv_layer_desc desc = layer_desc(&p->c, &p->data);
    qkv_host_layer_args args = QKV_HOST_LAYER_ARGS_INIT;
    size_t count = p->c.batch * p->c.seq_q * p->c.out_dim;
    float *result = test_alloc(count, sizeof(float));
    args.batch = p->c.batch, args.seq_q = p->c.seq_q, args.x = p->data.x, args.causal = p->c.causal;
    args.weights = p->weights;
    qkv_status status = qkv_host_layer(result, context, &desc, &args);
    if (!status) TEST_CLOSE("out", result, p->reference.out, p->reference.dout, count);
    free(result);
    return status;
}

static void hear(void *user, qkv_log_level level, const char *message) {
    struct outcome *out = user;
    size_t used = strlen(out->log);
    if (level <= QKV_LOG_WARNING) (void)snprintf(out->log + used, sizeof out->log - used, "%s\n", message);
}

static void read_solver(char *out, size_t bytes, const char *text, const char *operation) {
    const char *at = strstr(text, operation);
    out[0] = '\0';
    if (at) (void)snprintf(out, bytes, "%.*s", (int)strcspn(at + strlen(operation), " "), at + strlen(operation));
}

static qkv_status describe_layer(struct outcome *out, const struct problem *p, qkv_context *context) {
    qkv_layer_desc desc = layer_desc(&p->c, &p->data);
    qkv_layer *layer = NULL;
    desc.max_batch = p->c.batch, desc.max_seq_q = p->max_seq > p->c.seq_q ? p->max_seq : p->c.seq_q;
    qkv_status status = qkv_layer_create(&layer, context, &desc);
    if (!status) {
        read_solver(out->solvers[0], sizeof out->solvers[0], qkv_layer_describe(layer), "linear=");
        read_solver(out->solvers[1], sizeof out->solvers[1], qkv_layer_describe(layer), "attention=");
    }
    qkv_layer_destroy(layer);
    return status;
}

void try_layer(struct outcome *out, const struct problem *p, const char *solver) {
    struct cl_balance before = liar_saboteur.balance();
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_context *context = NULL;
    memset(out, 0, sizeof *out);
    options.log = hear, options.log_user = out, options.solver = solver;
    liar_step(1);
    out->status = qkv_context_create(&context, NULL, &options);
    if (!out->status) out->status = describe_layer(out, p, context);
    if (!out->status) out->status = problem_run(p, context);
    if (out->status) (void)snprintf(out->message, sizeof out->message, "%s", qkv_error_message());
    qkv_context_destroy(context);
    liar_step(-1);
    struct cl_balance now = liar_saboteur.balance();
    sweep_check_balance(&before, &now);
}
