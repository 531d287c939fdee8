/* Wrong arguments of runs: every tensor of every run spoiled in every way, queues, wait lists, workspaces, limits. */
#include <stdlib.h>
#include <string.h>

#include "support/error_world.h"

/* ---- linear ---- */

static qkv_status run_linear(void *user) {
    struct error_call *call = user;
    cl_event event = error_event();
    return error_finish(qkv_linear_run(call->object, call->queue, call->args, call->num_wait, call->wait_list, &event),
                        &event);
}

START_TEST(linear_runs) {
    qkv_linear_output outputs[2] = {{.out_features = 6}, {.out_features = 10}};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    qkv_linear *linear = NULL;
    desc.in_features = 8, desc.num_outputs = 2, desc.outputs = outputs, desc.max_rows = 12;
    TEST_OK(qkv_linear_create(&linear, test_context(), &desc));
    qkv_tensor x = error_tensor(0, 3, 2, 5, 8, 0), first = error_tensor(1, 2, 10, 6, 0, 0),
               second = error_tensor(2, 4, 2, 5, 5, 2);
    struct error_call call = {.object = linear, .queue = test_queue(), .args = &args, .run = run_linear};
    struct error_slot slots[] = {
        {.name = "x", .tensor = &x, .required = true, .leads = true, .arg = &args.x},
        {.name = "outputs", .tensor = &first, .output = true, .required = true, .arg = &args.outputs[0]},
        {.name = "outputs", .tensor = &second, .output = true, .required = true, .arg = &args.outputs[1]}};
    args.x = &x, args.outputs[0] = &first, args.outputs[1] = &second;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_linear_workspace_bytes(linear)));
    error_check_slots(slots, TEST_COUNT(slots), error_world.buffer, run_linear, &call);
    error_check_overlaps(slots, TEST_COUNT(slots), run_linear, &call);
    test_note("linear run");
    error_check_call(&call);
    error_check_workspace(&call, &args.workspace, qkv_linear_workspace_bytes(linear));
    x.shape[0] = 3, first.shape[0] = 15, second.shape[0] = 3; /* 15 rows, the limit is 12 */
    error_expect(run_linear(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, NULL, "more than max_rows");
    x = error_tensor(0, 3, 2, 5, 8, 0), first = error_tensor(1, 2, 10, 6, 0, 0),
    second = error_tensor(2, 4, 5, 5, 2, 2);
    error_expect(run_linear(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "outputs", "batch and seq exchanged");
    qkv_workspace_destroy(args.workspace);
    qkv_linear_destroy(linear);
}
END_TEST

struct update_call {
    struct error_call call;
    size_t output;
    const qkv_tensor *weight, *bias;
};

static qkv_status run_update(void *user) {
    struct update_call *update = user;
    cl_event event = error_event();
    return error_finish(qkv_linear_update(update->call.object, update->call.queue, update->output, update->weight,
                                          update->bias, 0, NULL, &event),
                        &event);
}

START_TEST(linear_updates) {
    qkv_linear_output outputs[2] = {{.out_features = 6}, {.out_features = 10}};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    qkv_linear *linear = NULL;
    desc.in_features = 8, desc.num_outputs = 2, desc.outputs = outputs;
    TEST_OK(qkv_linear_create(&linear, test_context(), &desc));
    qkv_tensor weight = error_tensor(0, 2, 10, 8, 0, 0), bias = error_tensor(1, 1, 10, 0, 0, 0);
    struct update_call update = {.call = {.object = linear, .queue = test_queue()}, .output = 1, .weight = &weight};
    struct error_slot weights = {.name = "weight", .tensor = &weight, .arg = &update.weight};
    error_check_slots(&weights, 1, error_world.buffer, run_update, &update);
    update.bias = &bias;
    test_note("bias");
    bias.shape[0] = 9;
    error_expect(run_update(&update), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "bias", "bias too short");
    bias = error_tensor(1, 2, 1, 10, 0, 0);
    error_expect(run_update(&update), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "bias", "bias of rank 2");
    bias = error_tensor(1, 1, 10, 0, 0, 0), bias.dtype = QKV_BF16;
    error_expect(run_update(&update), QKV_INVALID_DTYPE, QKV_INVALID_DTYPE, "bias", "bias of BF16");
    bias = error_tensor(1, 1, 10, 0, 0, 0);
    weight = error_tensor(0, 2, 8, 10, 0, 0); /* the other layout */
    error_expect(run_update(&update), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "weight", "weight transposed");
    weight = error_tensor(0, 2, 10, 8, 0, 0), update.output = 2;
    error_expect(run_update(&update), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "output", "no such output");
    update.output = 1, update.call.queue = error_world.queue;
    error_expect(run_update(&update), QKV_WRONG_CONTEXT, QKV_WRONG_CONTEXT, "queue", "queue of another context");
    update.call.queue = NULL;
    error_expect(run_update(&update), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "queue", "NULL queue");
    update.call.queue = test_queue(), update.call.object = NULL;
    error_expect(run_update(&update), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "linear", "NULL linear");
    qkv_linear_destroy(linear);
}
END_TEST

/* ---- attention ---- */

static qkv_status run_attention(void *user) {
    struct error_call *call = user;
    cl_event event = error_event();
    return error_finish(
        qkv_attention_run(call->object, call->queue, call->args, call->num_wait, call->wait_list, &event), &event);
}

START_TEST(attention_runs) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    qkv_attention *attention = NULL;
    desc.head_dim = 6, desc.value_dim = 4, desc.num_heads = 4, desc.num_kv_heads = 2;
    desc.max_batch = desc.max_seq_q = desc.max_seq_kv = 8;
    desc.features = QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS;
    TEST_OK(qkv_attention_create(&attention, test_context(), &desc));
    qkv_tensor q = error_tensor(0, 4, 2, 4, 5, 6), k = error_tensor(1, 4, 2, 2, 7, 6),
               v = error_tensor(2, 4, 2, 2, 7, 4);
    qkv_tensor out = error_tensor(3, 4, 2, 4, 5, 4), mask = error_tensor(4, 4, 2, 4, 5, 7),
               weights = error_tensor(5, 4, 2, 4, 5, 7);
    qkv_tensor scores = error_tensor(6, 4, 2, 4, 5, 7), logsumexp = error_tensor(7, 3, 2, 4, 5, 0);
    struct error_call call = {.object = attention, .queue = test_queue(), .args = &args, .run = run_attention};
    struct error_slot slots[] = {{.name = "q", .tensor = &q, .required = true, .leads = true, .arg = &args.q},
                                 {.name = "k", .tensor = &k, .required = true, .arg = &args.k},
                                 {.name = "v", .tensor = &v, .required = true, .arg = &args.v},
                                 {.name = "out", .tensor = &out, .output = true, .required = true, .arg = &args.out},
                                 {.name = "mask", .tensor = &mask, .broadcast = true, .arg = &args.mask},
                                 {.name = "weights", .tensor = &weights, .output = true, .arg = &args.weights},
                                 {.name = "scores", .tensor = &scores, .output = true, .arg = &args.scores},
                                 {.name = "logsumexp", .tensor = &logsumexp, .output = true, .arg = &args.logsumexp}};
    for (size_t i = 0; i < TEST_COUNT(slots); i++)
        *slots[i].arg = slots[i].tensor;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_attention_workspace_bytes(attention)));
    error_check_slots(slots, TEST_COUNT(slots), error_world.buffer, run_attention, &call);
    error_check_overlaps(slots, TEST_COUNT(slots), run_attention, &call);
    test_note("attention run");
    error_check_call(&call);
    error_check_workspace(&call, &args.workspace, qkv_attention_workspace_bytes(attention));
    args.causal = (qkv_causal)3;
    error_expect(run_attention(&call), QKV_INVALID_ARGUMENT, QKV_INVALID_ARGUMENT, "causal", "causal 3");
    args.causal = QKV_CAUSAL_OFF, k.shape[1] = 4;
    error_expect(run_attention(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "k", "num_heads in place of num_kv_heads");
    k.shape[1] = 2, v.shape[2] = 6;
    error_expect(run_attention(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "v", "seq_kv of k and v");
    v.shape[2] = 7, mask.shape[2] = 2;
    error_expect(run_attention(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "mask", "mask of another seq_q");
    mask.shape[2] = 5;
    args.mask = args.weights = args.scores = args.logsumexp = NULL;
    q = error_tensor(0, 4, 9, 4, 5, 6), k = error_tensor(1, 4, 9, 2, 7, 6), v = error_tensor(2, 4, 9, 2, 7, 4),
    out = error_tensor(3, 4, 9, 4, 5, 4);
    error_expect(run_attention(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, NULL, "batch beyond the limit");
    q = error_tensor(0, 4, 2, 4, 9, 6), k = error_tensor(1, 4, 2, 2, 7, 6), v = error_tensor(2, 4, 2, 2, 7, 4),
    out = error_tensor(3, 4, 2, 4, 9, 4);
    error_expect(run_attention(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, NULL, "seq_q beyond the limit");
    q = error_tensor(0, 4, 2, 4, 5, 6), k = error_tensor(1, 4, 2, 2, 9, 6), v = error_tensor(2, 4, 2, 2, 9, 4),
    out = error_tensor(3, 4, 2, 4, 5, 4);
    error_expect(run_attention(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, NULL, "seq_kv beyond the limit");
    q = error_tensor(0, 4, 8, 4, 8, 6), k = error_tensor(1, 4, 8, 2, 8, 6), v = error_tensor(2, 4, 8, 2, 8, 4),
    out = error_tensor(3, 4, 8, 4, 8, 4);
    TEST_OK(run_attention(&call));
    qkv_workspace_destroy(args.workspace);
    qkv_attention_destroy(attention);
}
END_TEST

START_TEST(features_not_asked_for) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    qkv_attention *attention = NULL;
    test_note("features");
    desc.head_dim = 6, desc.num_heads = 2, desc.max_batch = desc.max_seq_q = desc.max_seq_kv = 8;
    TEST_OK(qkv_attention_create(&attention, test_context(), &desc));
    qkv_tensor q = error_tensor(0, 4, 2, 2, 5, 6), k = error_tensor(1, 4, 2, 2, 5, 6),
               out = error_tensor(2, 4, 2, 2, 5, 6);
    qkv_tensor square = error_tensor(3, 4, 2, 2, 5, 5);
    struct error_call call = {.object = attention, .queue = test_queue(), .args = &args, .run = run_attention};
    struct {
        const char *name;
        const qkv_tensor **slot;
    } cases[] = {{"mask", &args.mask}, {"weights", &args.weights}, {"scores", &args.scores}};
    args.q = &q, args.k = args.v = &k, args.out = &out;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_attention_workspace_bytes(attention)));
    TEST_OK(run_attention(&call));
    for (size_t n = 0; n < TEST_COUNT(cases); n++) {
        *cases[n].slot = &square;
        error_expect(run_attention(&call), QKV_UNSUPPORTED, QKV_UNSUPPORTED, cases[n].name, "a feature the plan lacks");
        *cases[n].slot = NULL;
    }
    qkv_workspace_destroy(args.workspace);
    qkv_attention_destroy(attention);
}
END_TEST

/* ---- layer ---- */

static qkv_status run_layer(void *user) {
    struct error_call *call = user;
    cl_event event = error_event();
    return error_finish(qkv_layer_run(call->object, call->queue, call->args, call->num_wait, call->wait_list, &event),
                        &event);
}

/* A wrong last argument is found before the first step is enqueued. */
static void check_nothing_written(struct error_call *call, qkv_tensor *last) {
    const qkv_tensor whole = *last;
    unsigned char *bytes = test_alloc(ERROR_BUFFER_BYTES, 1);
    memset(bytes, 0x5a, ERROR_BUFFER_BYTES);
    for (size_t i = 2; i < 7; i++) /* out, q, k, v, heads */
        TEST_CL(clEnqueueWriteBuffer(test_queue(), error_world.own[i], CL_TRUE, 0, ERROR_BUFFER_BYTES, bytes, 0, NULL,
                                     NULL));
    last->dtype = QKV_BF16;
    error_expect(call->run(call), QKV_INVALID_DTYPE, QKV_INVALID_DTYPE, "logsumexp", "dtype BF16");
    *last = whole;
    for (size_t i = 2; i < 7; i++) {
        TEST_CL(clEnqueueReadBuffer(test_queue(), error_world.own[i], CL_TRUE, 0, ERROR_BUFFER_BYTES, bytes, 0, NULL,
                                    NULL));
        for (size_t at = 0; at < ERROR_BUFFER_BYTES; at++)
            if (bytes[at] != 0x5a) test_fail(__FILE__, __LINE__, "a layer that failed wrote to its tensor %zu", i);
    }
    free(bytes);
}

START_TEST(layer_runs) {
    static float numbers[24 * 24];
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    qkv_layer_args args = QKV_LAYER_ARGS_INIT;
    qkv_layer *layer = NULL;
    desc.embed_dim = 12, desc.kv_embed_dim = 10, desc.num_heads = 4, desc.num_kv_heads = 2, desc.head_dim = 6;
    desc.value_dim = 5, desc.cross = 1, desc.max_batch = desc.max_seq_q = desc.max_seq_kv = 8;
    desc.wq.weight = desc.wk.weight = desc.wv.weight = desc.wo.weight = numbers;
    desc.features = QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS;
    TEST_OK(qkv_layer_create(&layer, test_context(), &desc));
    qkv_tensor x = error_tensor(0, 3, 2, 5, 12, 0), kv = error_tensor(1, 3, 2, 7, 10, 0),
               out = error_tensor(2, 3, 2, 5, 12, 0);
    qkv_tensor q = error_tensor(3, 4, 2, 4, 5, 6), k = error_tensor(4, 4, 2, 2, 7, 6),
               v = error_tensor(5, 4, 2, 2, 7, 5);
    qkv_tensor heads = error_tensor(6, 4, 2, 4, 5, 5), mask = error_tensor(7, 4, 2, 4, 5, 7),
               weights = error_tensor(8, 4, 2, 4, 5, 7);
    qkv_tensor scores = error_tensor(9, 4, 2, 4, 5, 7), logsumexp = error_tensor(10, 3, 2, 4, 5, 0);
    struct error_call call = {.object = layer, .queue = test_queue(), .args = &args, .run = run_layer};
    struct error_slot slots[] = {{.name = "x", .tensor = &x, .required = true, .leads = true, .arg = &args.x},
                                 {.name = "kv", .tensor = &kv, .arg = &args.kv},
                                 {.name = "out", .tensor = &out, .output = true, .required = true, .arg = &args.out},
                                 {.name = "q", .tensor = &q, .output = true, .arg = &args.q},
                                 {.name = "k", .tensor = &k, .output = true, .arg = &args.k},
                                 {.name = "v", .tensor = &v, .output = true, .arg = &args.v},
                                 {.name = "heads", .tensor = &heads, .output = true, .arg = &args.heads},
                                 {.name = "mask", .tensor = &mask, .broadcast = true, .arg = &args.mask},
                                 {.name = "weights", .tensor = &weights, .output = true, .arg = &args.weights},
                                 {.name = "scores", .tensor = &scores, .output = true, .arg = &args.scores},
                                 {.name = "logsumexp", .tensor = &logsumexp, .output = true, .arg = &args.logsumexp}};
    for (size_t i = 0; i < TEST_COUNT(slots); i++)
        *slots[i].arg = slots[i].tensor;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_layer_workspace_bytes(layer)));
    error_check_slots(slots, TEST_COUNT(slots), error_world.buffer, run_layer, &call);
    error_check_overlaps(slots, TEST_COUNT(slots), run_layer, &call);
    test_note("layer run");
    error_check_call(&call);
    error_check_workspace(&call, &args.workspace, qkv_layer_workspace_bytes(layer));
    const qkv_tensor q_before = q;
    q = error_tensor(3, 4, 2, 6, 5, 4); /* as many features a row, cut into other heads */
    error_expect(run_layer(&call), QKV_INVALID_SHAPE, QKV_INVALID_SHAPE, "q", "heads and head_dim exchanged");
    q = q_before;
    check_nothing_written(&call, &logsumexp);
    args.kv = NULL; /* x has 12 features, K and V are made from 10 */
    error_expect(run_layer(&call), QKV_INVALID_ARGUMENT, QKV_INVALID_SHAPE, NULL, "no kv, and x does not fit");
    qkv_workspace_destroy(args.workspace);
    qkv_layer_destroy(layer);
    desc.cross = 0, desc.kv_embed_dim = 0;
    TEST_OK(qkv_layer_create(&layer, test_context(), &desc));
    args = (qkv_layer_args)QKV_LAYER_ARGS_INIT;
    args.x = &x, args.out = &out, args.kv = &kv;
    call.object = layer;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_layer_workspace_bytes(layer)));
    error_expect(run_layer(&call), QKV_INVALID_ARGUMENT, QKV_UNSUPPORTED, "kv", "kv without cross");
    qkv_workspace_destroy(args.workspace);
    qkv_layer_destroy(layer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("run errors");
    TCase *tcase = tcase_create("runs");
    tcase_add_unchecked_fixture(tcase, error_world_open, error_world_close);
    tcase_add_test(tcase, linear_runs);
    tcase_add_test(tcase, linear_updates);
    tcase_add_test(tcase, attention_runs);
    tcase_add_test(tcase, features_not_asked_for);
    tcase_add_test(tcase, layer_runs);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
