/* A decode loop in place: one plan for every length, and runs that only enqueue. */
#include "support/interpose.h"

#include <pthread.h>

#include "support/decode_case.h"

/* All a run may call once the plan exists. clGet* ask what a handle belongs to. */
static const enum cl_call run_calls[] = {CALL_clEnqueueNDRangeKernel, CALL_clSetKernelArg, CALL_clGetCommandQueueInfo,
                                         CALL_clGetMemObjectInfo, CALL_clReleaseEvent};

static void check_only_enqueued(size_t steps) {
    for (size_t i = 0; i < NUM_COUNTS; i++) {
        bool allowed = false;
        for (size_t j = 0; j < TEST_COUNT(run_calls); j++)
            allowed = allowed || run_calls[j] == (enum cl_call)i;
        if (!allowed && interposed_counts[i] != 0)
            test_fail(__FILE__, __LINE__, "%zu calls of %s in %zu steps", (size_t)interposed_counts[i],
                      cl_call_names[i], steps);
    }
    TEST_TRUE(steps == 0 || interposed_counts[CALL_clEnqueueNDRangeKernel] >= 2 * steps);
}

/* One decoder on one queue. `last` chains its commands where the queue does not. */
struct decoder {
    struct decode_sequence sequence;
    cl_command_queue queue;
    qkv_workspace *workspace;
    bool chained;
    cl_event last;
    size_t begin, end;
    qkv_status status;
    char message[256];
};

static qkv_status decode_step(struct decoder *d, size_t t) {
    const struct decode_model *model = d->sequence.model;
    struct decode_step at;
    qkv_linear_args linear = QKV_LINEAR_ARGS_INIT;
    qkv_attention_args attention = QKV_ATTENTION_ARGS_INIT;
    cl_event projected = NULL, attended = NULL;
    cl_uint num_wait = d->last ? 1 : 0;
    qkv_status status;
    IN_LIBRARY(status = decode_step_views(&at, &d->sequence, t));
    if (status) return status;
    linear.x = &at.x;
    linear.outputs[0] = &at.q;
    linear.outputs[1] = &at.k;
    linear.outputs[2] = &at.v;
    attention.q = &at.q;
    attention.k = &at.keys;
    attention.v = &at.values;
    attention.out = &at.out;
    attention.causal = QKV_CAUSAL_LAST;
    attention.workspace = d->workspace;
    IN_LIBRARY(status = qkv_linear_run(model->linear, d->queue, &linear, num_wait, num_wait ? &d->last : NULL,
                                       d->chained ? &projected : NULL));
    if (!status)
        IN_LIBRARY(status = qkv_attention_run(model->attention, d->queue, &attention, projected ? 1 : 0,
                                              projected ? &projected : NULL, d->chained ? &attended : NULL));
    if (projected) clReleaseEvent(projected);
    if (d->last) clReleaseEvent(d->last);
    d->last = attended;
    return status;
}

/* Steps begin .. end-1; no Check assertion, since it may run in a thread. */
static void *decode(void *argument) {
    struct decoder *d = argument;
    for (size_t t = d->begin; !d->status && t < d->end; t++) {
        d->status = decode_step(d, t);
        if (d->status) snprintf(d->message, sizeof d->message, "step %zu: %s", t, qkv_error_message());
    }
    clFlush(d->queue);
    return NULL;
}

static void expect_decoded(const struct decoder *d) {
    if (d->status) test_fail(__FILE__, __LINE__, "%s: %s", qkv_status_name(d->status), d->message);
}

static void decoder_make(struct decoder *d, const struct decode_model *model, size_t number,
                         cl_command_queue_properties properties) {
    cl_int error = CL_SUCCESS;
    memset(d, 0, sizeof *d);
    d->queue = clCreateCommandQueue(test_cl_context(), qkv_context_cl_device(test_context()), properties, &error);
    TEST_CL(error);
    d->chained = properties != 0;
    decode_sequence_make(&d->sequence, model, d->queue, number);
    TEST_OK(qkv_workspace_create(&d->workspace, test_context(), qkv_attention_workspace_bytes(model->attention)));
}

static void decoder_free(struct decoder *d) {
    decode_sequence_free(&d->sequence);
    qkv_workspace_destroy(d->workspace);
    if (d->last) clReleaseEvent(d->last);
    clReleaseCommandQueue(d->queue);
}

/* The first step of each, then the rest, counted; in threads where there are several. */
static void decode_all(struct decoder *decoders, size_t n, size_t steps) {
    pthread_t threads[4];
    for (size_t i = 0; i < n; i++) {
        decoders[i].end = 1;
        (void)decode(&decoders[i]);
        expect_decoded(&decoders[i]);
        decoders[i].begin = 1;
        decoders[i].end = steps;
    }
    struct cl_balance before = interpose_balance();
    interpose_reset_counts();
    for (size_t i = 1; i < n; i++)
        TEST_TRUE(pthread_create(&threads[i], NULL, decode, &decoders[i]) == 0);
    (void)decode(&decoders[0]);
    for (size_t i = 1; i < n; i++)
        (void)pthread_join(threads[i], NULL);
    for (size_t i = 0; i < n; i++)
        expect_decoded(&decoders[i]);
    check_only_enqueued(n * (steps - 1));
    interpose_check_balance(&before);
    for (size_t i = 0; i < n; i++) {
        if (decoders[i].last) TEST_CL(clWaitForEvents(1, &decoders[i].last));
        decode_sequence_check(&decoders[i].sequence, steps);
    }
}

static void run_decoders(const struct decode_case *c, size_t n, cl_command_queue_properties properties) {
    struct decode_model model;
    struct decoder decoders[4];
    decode_model_make(&model, c, test_context());
    if (model.linear) {
        for (size_t i = 0; i < n; i++)
            decoder_make(&decoders[i], &model, i, properties);
        decode_all(decoders, n, c->steps);
        for (size_t i = 0; i < n; i++)
            decoder_free(&decoders[i]);
    }
    decode_model_free(&model);
}

/* 4096, or what a slow implementation can bear. */
static size_t num_steps(void) {
    return test_cap(test_is_pressed() ? 2048 : 4096);
}

START_TEST(decode_in_order) {
    const struct decode_case cases[] = {
        {48, 4, 4, 32, 32, num_steps(), NULL},     {64, 8, 2, 16, 48, num_steps(), NULL}, /* grouped heads */
        {20, 6, 1, 10, 10, num_steps(), NULL},                                            /* nothing divides a vector */
        {48, 4, 2, 32, 32, test_cap(60), "plain"}, {48, 4, 2, 32, 32, test_cap(200), "vector"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++)
        run_decoders(&cases[i], 1, 0);
}
END_TEST

START_TEST(decode_two_threads) {
    const struct decode_case c = {48, 4, 2, 32, 32, num_steps(), NULL};
    if (qkv_context_device(test_context())->kind == QKV_DEVICE_SIMULATOR)
        test_skip("the simulator takes calls from one thread only");
    else
        run_decoders(&c, 2, 0);
}
END_TEST

START_TEST(decode_out_of_order) {
    const struct decode_case c = {48, 4, 2, 32, 32, num_steps(), NULL};
    cl_command_queue_properties can = 0;
    TEST_CL(clGetDeviceInfo(qkv_context_cl_device(test_context()), CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL));
    if (can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        run_decoders(&c, 1, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    else
        test_skip("the device has no out-of-order queues");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("contract");
    TCase *tcase = tcase_create("decode");
    tcase_add_test(tcase, decode_in_order);
    tcase_add_test(tcase, decode_two_threads);
    tcase_add_test(tcase, decode_out_of_order);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
