/* Layouts people use, as views: fused QKV, (batch, seq, heads, dim), reversed, repeated, interleaved outputs. */
#include <stdlib.h>
#include <string.h>

#include "support/attention_case.h"
#include "support/compare.h"

enum { BATCH = 2, HEADS = 3, SEQ = 11, DIM = 5 };

struct views {
    qkv_tensor q, k, v, out, weights, logsumexp;
    bool has_weights, has_logsumexp;
};

/* Makes a plan, runs it on `views`, and compares with the reference of the values the views show. The outputs are in
 * `memory`, whose guard bands are checked. */
static void check(struct views *views, struct test_memory *memory, const char *solver) {
    struct attention_case c = {.batch = BATCH,
                               .num_heads = HEADS,
                               .num_kv_heads = (size_t)views->k.shape[1],
                               .seq_q = SEQ,
                               .seq_kv = SEQ,
                               .head_dim = DIM,
                               .value_dim = DIM,
                               .weights = views->has_weights};
    struct ref_attention r = {.batch = BATCH,
                              .num_heads = HEADS,
                              .num_kv_heads = c.num_kv_heads,
                              .seq_q = SEQ,
                              .seq_kv = SEQ,
                              .head_dim = DIM,
                              .value_dim = DIM};
    const qkv_tensor *inputs[] = {&views->q, &views->k, &views->v};
    double *values[3];
    for (size_t i = 0; i < 3; i++) {
        float *dense = test_alloc(qkv_tensor_count(inputs[i]), sizeof(float));
        test_memory_get(memory->image, inputs[i], dense);
        values[i] = ref_doubles(dense, qkv_tensor_count(inputs[i]));
        free(dense);
    }
    r.q = values[0], r.k = values[1], r.v = values[2];
    qkv_attention *plan = attention_plan(&c, solver);
    if (plan) {
        qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
        args.q = &views->q, args.k = &views->k, args.v = &views->v, args.out = &views->out;
        args.weights = views->has_weights ? &views->weights : NULL;
        args.logsumexp = views->has_logsumexp ? &views->logsumexp : NULL;
        TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_attention_workspace_bytes(plan)));
        test_memory_upload(memory);
        TEST_OK(qkv_attention_run(plan, test_queue(), &args, 0, NULL, NULL));
        TEST_DOWNLOAD(memory);
        qkv_workspace_destroy(args.workspace);
        ref_attention_run(&r);
        float *got = test_alloc(BATCH * HEADS * SEQ * (DIM + SEQ), sizeof(float));
        test_memory_get(memory->result, &views->out, got);
        TEST_CLOSE("out", got, r.out, r.dout, BATCH * HEADS * SEQ * DIM);
        if (views->has_weights) {
            test_memory_get(memory->result, &views->weights, got);
            TEST_CLOSE("weights", got, r.weights, r.dweights, BATCH * HEADS * SEQ * SEQ);
        }
        if (views->has_logsumexp) {
            test_memory_get(memory->result, &views->logsumexp, got);
            TEST_CLOSE("logsumexp", got, r.logsumexp, r.dlogsumexp, BATCH * HEADS * SEQ);
        }
        free(got);
        ref_attention_free(&r);
    }
    qkv_attention_destroy(plan);
    for (size_t i = 0; i < 3; i++)
        free(values[i]);
}

/* A dense view of `memory` from element `offset`. */
static qkv_tensor place(const struct test_memory *memory, size_t offset, size_t rank, const size_t *shape) {
    qkv_tensor t;
    TEST_OK(qkv_tensor_dense(&t, memory->mem, QKV_F32, rank, shape));
    t.offset = offset;
    return t;
}

static void fill(struct test_memory *memory, const qkv_tensor *view, uint64_t stream) {
    struct test_random random = test_random_start(test_seed(), stream);
    float *values = test_random_floats(&random, qkv_tensor_count(view), 1);
    test_memory_put(memory, view, values);
    free(values);
}

/* (batch, seq, 3 * heads * dim) as a fused projection writes it; the output beside it as (batch, seq, heads * dim). */
START_TEST(fused_qkv) {
    static const size_t fused_shape[] = {BATCH, SEQ, 3 * HEADS * DIM}, out_shape[] = {BATCH, SEQ, HEADS * DIM};
    size_t count = BATCH * SEQ * 4 * HEADS * DIM + 11;
    struct test_memory memory;
    struct views views = {0};
    qkv_tensor *parts[] = {&views.q, &views.k, &views.v};
    test_note("fused QKV, solver %d", _i);
    test_memory_create(&memory, count * sizeof(float));
    qkv_tensor fused = place(&memory, 7, 3, fused_shape);
    for (size_t i = 0; i < 3; i++) {
        TEST_OK(qkv_tensor_slice(parts[i], &fused, 2, i * HEADS * DIM, HEADS * DIM));
        TEST_OK(qkv_tensor_heads(parts[i], parts[i], HEADS));
    }
    fill(&memory, &fused, 1);
    views.out = place(&memory, 7 + BATCH * SEQ * 3 * HEADS * DIM, 3, out_shape);
    TEST_OK(qkv_tensor_heads(&views.out, &views.out, HEADS));
    test_memory_allow(&memory, &views.out);
    check(&views, &memory, test_solver((size_t)_i));
    test_memory_free(&memory);
}
END_TEST

/* The output in a fourth column of the same rows: inputs and output interleaved, no element shared. */
START_TEST(output_between_inputs) {
    static const size_t shape[] = {BATCH, SEQ, 4 * HEADS * DIM};
    struct test_memory memory;
    struct views views = {0};
    qkv_tensor *parts[] = {&views.q, &views.out, &views.k, &views.v};
    test_note("output between inputs, solver %d", _i);
    test_memory_create(&memory, BATCH * SEQ * 4 * HEADS * DIM * sizeof(float));
    qkv_tensor all = place(&memory, 0, 3, shape);
    for (size_t i = 0; i < 4; i++) {
        TEST_OK(qkv_tensor_slice(parts[i], &all, 2, i * HEADS * DIM, HEADS * DIM));
        TEST_OK(qkv_tensor_heads(parts[i], parts[i], HEADS));
        if (parts[i] != &views.out) fill(&memory, parts[i], i);
    }
    test_memory_allow(&memory, &views.out);
    check(&views, &memory, test_solver((size_t)_i));
    test_memory_free(&memory);
}
END_TEST

/* All three outputs interleaved in one array whose last axis holds dim outputs, then weights, then the log-sum-exp. */
START_TEST(interleaved_outputs) {
    enum { WIDTH = DIM + SEQ + 1 };
    static const size_t in_shape[] = {BATCH, HEADS, SEQ, DIM}, row_shape[] = {BATCH, HEADS, SEQ, WIDTH};
    size_t in_count = BATCH * HEADS * SEQ * DIM;
    struct test_memory memory;
    struct views views = {.has_weights = true, .has_logsumexp = true};
    qkv_tensor *inputs[] = {&views.q, &views.k, &views.v};
    test_note("interleaved outputs, solver %d", _i);
    test_memory_create(&memory, (3 * in_count + BATCH * HEADS * SEQ * WIDTH) * sizeof(float));
    for (size_t i = 0; i < 3; i++) {
        *inputs[i] = place(&memory, i * in_count, 4, in_shape);
        fill(&memory, inputs[i], i);
    }
    qkv_tensor rows = place(&memory, 3 * in_count, 4, row_shape);
    TEST_OK(qkv_tensor_slice(&views.out, &rows, 3, 0, DIM));
    TEST_OK(qkv_tensor_slice(&views.weights, &rows, 3, DIM, SEQ));
    TEST_OK(qkv_tensor_slice(&views.logsumexp, &rows, 3, DIM + SEQ, 1));
    views.logsumexp.rank = 3;
    test_memory_allow(&memory, &rows);
    check(&views, &memory, test_solver((size_t)_i));
    test_memory_free(&memory);
}
END_TEST

/* Every axis of every tensor reversed in turn, then the last axis in steps, then (dim, seq, heads, batch) order. */
START_TEST(reversed_stepped_transposed) {
    for (size_t n = 0; n < 6; n++) {
        static const size_t shape[] = {BATCH, HEADS, SEQ, DIM};
        struct test_layout layout = {.step = 1, .front = 3};
        struct views views = {0};
        qkv_tensor *all[] = {&views.q, &views.k, &views.v, &views.out};
        size_t elements = 0;
        struct test_memory memory;
        test_note("reversed_stepped_transposed %zu, solver %d", n, _i);
        if (n < 4) layout.reversed = 1u << n;
        if (n == 4) layout.step = 3, layout.gap[3] = 2;
        for (size_t axis = 0; axis < 4; axis++)
            layout.order[axis] = 3 - axis;
        layout.permuted = n == 5;
        qkv_tensor first;
        test_view_make(&first, &elements, &layout, QKV_F32, 4, shape);
        test_memory_create(&memory, 4 * elements * sizeof(float));
        first.memory.buffer = memory.mem;
        for (size_t i = 0; i < 4; i++) {
            *all[i] = first;
            all[i]->offset += i * elements;
            if (all[i] != &views.out) fill(&memory, all[i], i);
        }
        test_memory_allow(&memory, &views.out);
        check(&views, &memory, test_solver((size_t)_i));
        test_memory_free(&memory);
    }
}
END_TEST

/* Strides of 0: one key head seen as three, one batch entry as two, a single value vector for all keys. */
START_TEST(repeated_inputs) {
    for (unsigned n = 0; n < 3; n++) {
        static const size_t shape[] = {BATCH, HEADS, SEQ, DIM};
        struct test_layout layout = {.step = 1, .repeated = 1u << n};
        size_t dense = BATCH * HEADS * SEQ * DIM, elements = 0;
        struct test_memory memory;
        struct views views = {0};
        test_note("repeated_inputs %u, solver %d", n, _i);
        test_memory_create(&memory, 4 * dense * sizeof(float));
        views.q = place(&memory, 0, 4, shape);
        test_view_make(&views.k, &elements, &layout, QKV_F32, 4, shape);
        views.k.memory.buffer = memory.mem;
        views.v = views.k;
        views.k.offset = dense, views.v.offset = 2 * dense;
        views.out = place(&memory, 3 * dense, 4, shape);
        fill(&memory, &views.q, 0);
        fill(&memory, &views.k, 1);
        fill(&memory, &views.v, 2);
        test_memory_allow(&memory, &views.out);
        check(&views, &memory, test_solver((size_t)_i));
        test_memory_free(&memory);
    }
}
END_TEST

/* Q, K and V are one and the same view: inputs may share everything. */
START_TEST(inputs_may_be_one) {
    static const size_t shape[] = {BATCH, HEADS, SEQ, DIM};
    size_t dense = BATCH * HEADS * SEQ * DIM;
    struct test_memory memory;
    struct views views = {0};
    test_note("inputs_may_be_one, solver %d", _i);
    test_memory_create(&memory, 2 * dense * sizeof(float));
    views.q = views.k = views.v = place(&memory, dense, 4, shape);
    views.out = place(&memory, 0, 4, shape);
    fill(&memory, &views.q, 0);
    test_memory_allow(&memory, &views.out);
    check(&views, &memory, test_solver((size_t)_i));
    test_memory_free(&memory);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("views");
    TCase *tcase = tcase_create("views");
    tcase_add_loop_test(tcase, fused_qkv, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, output_between_inputs, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, interleaved_outputs, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, reversed_stepped_transposed, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, repeated_inputs, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, inputs_may_be_one, 0, TEST_NUM_SOLVERS);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
