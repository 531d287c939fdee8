/* Tensors that share one cl_mem: what is disjoint works, what is not is named. */
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/buffers.h"
#include "support/reference.h"

/* (batch, seq, 4, heads, dim) in one buffer: Q, K, V and out side by side for each token. */
struct fused {
    struct test_memory memory;
    float *data; /* (batch, seq, 4 * heads * dim) */
    qkv_tensor all, slot[4];
    qkv_attention *plan;
    qkv_workspace *workspace;
};

enum { FB = 2, FS = 37, FH = 3, FD = 16, FE = FH * FD };

static void fused_free(struct fused *f) {
    test_memory_free(&f->memory);
    free(f->data);
    qkv_attention_destroy(f->plan);
    qkv_workspace_destroy(f->workspace);
}

/* false after a counted skip; nothing is to be freed then. */
static bool fused_make(struct fused *f) {
    static const size_t shape[] = {FB, FS, 4 * FE};
    struct test_random random = test_random_start(test_seed(), 1);
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    memset(f, 0, sizeof *f);
    f->data = test_random_floats(&random, FB * FS * 4 * FE, 1.0f);
    test_memory_create(&f->memory, FB * FS * 4 * FE * sizeof(float));
    TEST_OK(qkv_tensor_dense(&f->all, f->memory.mem, QKV_F32, 3, shape));
    test_memory_put(&f->memory, &f->all, f->data);
    for (size_t i = 0; i < 4; i++) {
        TEST_OK(qkv_tensor_slice(&f->slot[i], &f->all, 2, i * FE, FE));
        TEST_OK(qkv_tensor_heads(&f->slot[i], &f->slot[i], FH));
    }
    test_memory_allow(&f->memory, &f->slot[3]);
    test_memory_upload(&f->memory);
    desc.head_dim = FD;
    desc.num_heads = FH;
    desc.max_batch = FB;
    desc.max_seq_q = FS;
    desc.max_seq_kv = 1024; /* enough for a plan that splits the keys to want scratch memory */
    desc.features = QKV_ATTENTION_MASK | QKV_ATTENTION_WEIGHTS;
    const qkv_status status = qkv_attention_create(&f->plan, test_context(), &desc);
    if (test_solver_refused(status, NULL)) {
        fused_free(f);
        return false;
    }
    TEST_OK(status);
    TEST_OK(qkv_workspace_create(&f->workspace, test_context(), qkv_attention_workspace_bytes(f->plan)));
    return true;
}

static qkv_attention_args fused_args(const struct fused *f) {
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    args.q = &f->slot[0];
    args.k = &f->slot[1];
    args.v = &f->slot[2];
    args.out = &f->slot[3];
    args.workspace = f->workspace;
    return args;
}

static qkv_status fused_run(const struct fused *f, const qkv_attention_args *args) {
    return qkv_attention_run(f->plan, test_queue(), args, 0, NULL, NULL);
}

static void fused_check(struct fused *f) {
    double *parts[3];
    float *slot = test_alloc(FB * FS * FE, sizeof(float));
    for (size_t i = 0; i < 3; i++) {
        test_memory_get(f->memory.image, &f->slot[i], slot);
        parts[i] = ref_doubles(slot, FB * FS * FE);
    }
    struct ref_attention a = {
        .batch = FB,
        .num_heads = FH,
        .num_kv_heads = FH,
        .seq_q = FS,
        .seq_kv = FS,
        .head_dim = FD,
        .value_dim = FD,
        .q = parts[0],
        .k = parts[1],
        .v = parts[2],
    };
    ref_attention_run(&a);
    TEST_DOWNLOAD(&f->memory);
    test_memory_get(f->memory.result, &f->slot[3], slot);
    TEST_CLOSE("out", slot, a.out, a.dout, FB * FS * FE);
    ref_attention_free(&a);
    for (size_t i = 0; i < 3; i++)
        free(parts[i]);
    free(slot);
}

START_TEST(fused_buffer) {
    struct fused f;
    test_note("Q, K, V and out interleaved in one buffer");
    if (!fused_make(&f)) return;
    qkv_attention_args args = fused_args(&f);
    TEST_OK(fused_run(&f, &args));
    fused_check(&f);
    fused_free(&f);
}
END_TEST

static void expect_overlap(const struct fused *f, const qkv_attention_args *args, const char *first,
                           const char *second) {
    TEST_FAILS(QKV_OVERLAP, first, fused_run(f, args));
    TEST_FAILS(QKV_OVERLAP, second, fused_run(f, args));
}

/* Overlaps of one element at least, and neighbours that only look like it. */
START_TEST(overlaps_are_named) {
    static const char *const inputs[] = {"args.q", "args.k", "args.v"};
    struct fused f;
    if (!fused_make(&f)) return;
    for (size_t i = 0; i < 3; i++) {
        qkv_attention_args args = fused_args(&f);
        qkv_tensor out = f.slot[i];
        test_note("out on %s", inputs[i]);
        args.out = &out;
        expect_overlap(&f, &args, "args.out", inputs[i]);
        out.offset += FE / 2; /* half on the next slot; the first half still on this one */
        expect_overlap(&f, &args, "args.out", inputs[i]);
    }
    qkv_attention_args args = fused_args(&f);
    qkv_tensor out = f.slot[3];
    test_note("out from the last token to the first");
    args.out = &out;
    out.offset += (FS - 1) * 4 * FE;
    out.stride[2] = -out.stride[2];
    TEST_OK(fused_run(&f, &args));
    out.offset--; /* one element into V's slot */
    expect_overlap(&f, &args, "args.out", "args.v");
    args = fused_args(&f);
    static const size_t lse_shape[] = {FB, FH, FS};
    qkv_tensor lse;
    test_note("logsumexp on out, and on q");
    TEST_OK(qkv_tensor_dense(&lse, f.memory.mem, QKV_F32, 3, lse_shape));
    args.logsumexp = &lse;
    expect_overlap(&f, &args, "args.logsumexp", "args.q");
    lse.offset = 3 * FE;
    lse.stride[0] = FS * 4 * FE;
    lse.stride[1] = 1;
    lse.stride[2] = 4 * FE;
    expect_overlap(&f, &args, "args.logsumexp", "args.out");
    TEST_CL(clFinish(test_queue()));
    fused_free(&f);
}
END_TEST

/* A mask is bytes: its last one in the word before out is a neighbour, one further is not. */
START_TEST(overlap_counts_bytes) {
    struct fused f;
    static const size_t shape[] = {1};
    if (!fused_make(&f)) return;
    qkv_attention_args args = fused_args(&f);
    qkv_tensor mask;
    TEST_OK(qkv_tensor_dense(&mask, f.memory.mem, QKV_BOOL, 1, shape));
    args.mask = &mask;
    mask.offset = 3 * FE * sizeof(float) - 1;
    TEST_OK(fused_run(&f, &args));
    mask.offset++;
    expect_overlap(&f, &args, "args.out", "args.mask");
    mask.offset += sizeof(float) * FE - 1;
    expect_overlap(&f, &args, "args.out", "args.mask");
    mask.offset++;
    TEST_OK(fused_run(&f, &args));
    TEST_CL(clFinish(test_queue()));
    fused_free(&f);
}
END_TEST

/* Scratch memory inside a buffer that an argument uses: the run would overwrite the argument, or the argument it. */
START_TEST(workspace_in_a_shared_buffer) {
    struct fused f;
    qkv_workspace *inside = NULL;
    if (!fused_make(&f)) return;
    size_t bytes = qkv_attention_workspace_bytes(f.plan);
    if (bytes == 0 || bytes > f.memory.bytes) {
        test_skip("this plan's workspace has %zu bytes", bytes);
    } else {
        qkv_attention_args args = fused_args(&f);
        TEST_OK(qkv_workspace_wrap(&inside, test_context(), f.memory.mem, 0, bytes));
        args.workspace = inside;
        TEST_FAILS(QKV_OVERLAP, "args.workspace", fused_run(&f, &args));
        TEST_CL(clFinish(test_queue()));
    }
    qkv_workspace_destroy(inside);
    fused_free(&f);
}
END_TEST

/* One projection writes Q, K and V into one buffer that also holds x; then their overlaps. */
START_TEST(projection_into_its_own_buffer) {
    enum { ROWS = 19, IN = 24, OUT = 16, WIDTH = IN + 3 * OUT };
    static const size_t shape[] = {ROWS, WIDTH};
    struct test_random random = test_random_start(test_seed(), 2);
    struct test_memory memory;
    qkv_tensor all, x, y[3];
    qkv_linear_output outputs[3];
    float *weight = test_random_floats(&random, IN * OUT, 1.0f),
          *data = test_random_floats(&random, ROWS * WIDTH, 1.0f);
    memset(outputs, 0, sizeof outputs);
    test_memory_create(&memory, ROWS * WIDTH * sizeof(float));
    TEST_OK(qkv_tensor_dense(&all, memory.mem, QKV_F32, 2, shape));
    test_memory_put(&memory, &all, data);
    TEST_OK(qkv_tensor_slice(&x, &all, 1, 0, IN));
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    args.x = &x;
    for (size_t i = 0; i < 3; i++) {
        outputs[i].out_features = OUT;
        outputs[i].weight = weight;
        TEST_OK(qkv_tensor_slice(&y[i], &all, 1, IN + i * OUT, OUT));
        test_memory_allow(&memory, &y[i]);
        args.outputs[i] = &y[i];
    }
    test_memory_upload(&memory);
    qkv_linear *linear = NULL;
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = IN;
    desc.num_outputs = 3;
    desc.outputs = outputs;
    TEST_OK(qkv_linear_create(&linear, test_context(), &desc));
    TEST_OK(qkv_linear_run(linear, test_queue(), &args, 0, NULL, NULL));
    TEST_DOWNLOAD(&memory);
    float *x_dense = test_alloc(ROWS * IN, sizeof(float)), *got = test_alloc(ROWS * OUT, sizeof(float));
    double *expected = test_alloc(ROWS * OUT, sizeof(double)), *bound = test_alloc(ROWS * OUT, sizeof(double));
    test_memory_get(memory.image, &x, x_dense);
    double *x_double = ref_doubles(x_dense, ROWS * IN);
    ref_linear(expected, bound, x_double, NULL, ROWS, IN, weight, QKV_WEIGHT_OUT_IN, NULL, OUT);
    for (size_t i = 0; i < 3; i++) {
        test_memory_get(memory.result, &y[i], got);
        TEST_CLOSE("output", got, expected, bound, ROWS * OUT);
    }
    y[1].offset = y[0].offset + OUT - 1;
    TEST_FAILS(QKV_OVERLAP, "args.outputs[0]", qkv_linear_run(linear, test_queue(), &args, 0, NULL, NULL));
    TEST_FAILS(QKV_OVERLAP, "args.outputs[1]", qkv_linear_run(linear, test_queue(), &args, 0, NULL, NULL));
    y[1].offset = IN - 1;
    TEST_FAILS(QKV_OVERLAP, "args.x", qkv_linear_run(linear, test_queue(), &args, 0, NULL, NULL));
    TEST_FAILS(QKV_OVERLAP, "args.outputs[1]", qkv_linear_run(linear, test_queue(), &args, 0, NULL, NULL));
    qkv_linear_destroy(linear);
    test_memory_free(&memory);
    free(weight);
    free(data);
    free(x_dense);
    free(got);
    free(expected);
    free(bound);
    free(x_double);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sharing");
    TCase *tcase = tcase_create("sharing");
    tcase_add_test(tcase, fused_buffer);
    tcase_add_test(tcase, overlaps_are_named);
    tcase_add_test(tcase, overlap_counts_bytes);
    tcase_add_test(tcase, workspace_in_a_shared_buffer);
    tcase_add_test(tcase, projection_into_its_own_buffer);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
