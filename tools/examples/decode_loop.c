/*
 * A decoder's loop: each step projects one token, appends its key and value to a cache and attends to everything in
 * it. One plan serves every length; after it is made nothing is built or allocated.
 *   cc decode_loop.c $(pkg-config --cflags --libs qkv) -lOpenCL
 */
#define CL_TARGET_OPENCL_VERSION 120 /* or any later version; libqkv itself needs no more */
#include <qkv.h>
#include <stdio.h>
#include <stdlib.h>

enum { EMBED = 64, HEADS = 4, KV_HEADS = 2, DIM = 16, STEPS = 50 };
enum { Q_FEATURES = HEADS * DIM, KV_FEATURES = KV_HEADS * DIM };

static void check(qkv_status status) {
    if (status == QKV_OK) return;
    fprintf(stderr, "%s: %s\n", qkv_status_name(status), qkv_error_message());
    exit(1);
}

static void check_cl(cl_int error, const char *call) {
    if (error == CL_SUCCESS) return;
    fprintf(stderr, "%s failed: %d\n", call, error);
    exit(1);
}

static cl_mem make_buffer(qkv_context *context, size_t floats) {
    cl_int error;
    cl_mem buffer =
        clCreateBuffer(qkv_context_cl_context(context), CL_MEM_READ_WRITE, floats * sizeof(float), NULL, &error);
    check_cl(error, "clCreateBuffer");
    return buffer;
}

static qkv_linear *make_projection(qkv_context *context) {
    static float wq[Q_FEATURES * EMBED], wk[KV_FEATURES * EMBED], wv[KV_FEATURES * EMBED];
    for (int i = 0; i < Q_FEATURES * EMBED; i++)
        wq[i] = (float)(i * 29 % 83) / 830.0f - 0.05f;
    for (int i = 0; i < KV_FEATURES * EMBED; i++) {
        wk[i] = (float)(i * 31 % 89) / 890.0f - 0.05f;
        wv[i] = (float)(i * 37 % 97) / 970.0f - 0.05f;
    }
    const qkv_linear_output outputs[3] = {
        {.out_features = Q_FEATURES, .weight = wq},
        {.out_features = KV_FEATURES, .weight = wk},
        {.out_features = KV_FEATURES, .weight = wv},
    };
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = EMBED;
    desc.num_outputs = 3;
    desc.outputs = outputs;
    desc.max_rows = 1;
    qkv_linear *linear;
    check(qkv_linear_create(&linear, context, &desc));
    return linear;
}

static qkv_attention *make_attention(qkv_context *context) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = DIM;
    desc.num_heads = HEADS;
    desc.num_kv_heads = KV_HEADS;
    desc.max_batch = 1;
    desc.max_seq_q = 1;
    desc.max_seq_kv = STEPS;
    qkv_attention *attention;
    check(qkv_attention_create(&attention, context, &desc));
    return attention;
}

int main(void) {
    qkv_context *context;
    check(qkv_context_create(&context, NULL, NULL));
    cl_command_queue queue = qkv_context_cl_queue(context);
    qkv_linear *projection = make_projection(context);
    qkv_attention *attention = make_attention(context);
    qkv_workspace *workspace;
    check(qkv_workspace_create(&workspace, context, qkv_attention_workspace_bytes(attention)));

    /* Caches with room for every step; what is in use of them is a slice. */
    const size_t x_shape[] = {1, 1, EMBED}, q_shape[] = {1, HEADS, 1, DIM}, cache_shape[] = {1, KV_HEADS, STEPS, DIM};
    cl_mem buffers[5] = {make_buffer(context, EMBED), make_buffer(context, Q_FEATURES),
                         make_buffer(context, Q_FEATURES), make_buffer(context, KV_FEATURES * STEPS),
                         make_buffer(context, KV_FEATURES * STEPS)};
    qkv_tensor x, q, out, key_cache, value_cache;
    check(qkv_tensor_dense(&x, buffers[0], QKV_F32, 3, x_shape));
    check(qkv_tensor_dense(&q, buffers[1], QKV_F32, 4, q_shape));
    check(qkv_tensor_dense(&out, buffers[2], QKV_F32, 4, q_shape));
    check(qkv_tensor_dense(&key_cache, buffers[3], QKV_F32, 4, cache_shape));
    check(qkv_tensor_dense(&value_cache, buffers[4], QKV_F32, 4, cache_shape));

    float token[EMBED], result[Q_FEATURES];
    for (size_t step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < EMBED; i++)
            token[i] = (float)((step + 1) * (i + 3) % 17) / 17.0f - 0.5f;
        check_cl(clEnqueueWriteBuffer(queue, buffers[0], CL_TRUE, 0, sizeof token, token, 0, NULL, NULL),
                 "clEnqueueWriteBuffer");

        qkv_tensor new_key, new_value, keys, values;
        check(qkv_tensor_slice(&new_key, &key_cache, 2, step, 1));
        check(qkv_tensor_slice(&new_value, &value_cache, 2, step, 1));
        check(qkv_tensor_slice(&keys, &key_cache, 2, 0, step + 1));
        check(qkv_tensor_slice(&values, &value_cache, 2, 0, step + 1));

        /* The context's queue is in order, so each run sees what the one before it wrote. */
        qkv_linear_args project = QKV_LINEAR_ARGS_INIT;
        project.x = &x;
        project.outputs[0] = &q;
        project.outputs[1] = &new_key; /* written where it stays */
        project.outputs[2] = &new_value;
        check(qkv_linear_run(projection, queue, &project, 0, NULL, NULL));

        qkv_attention_args attend = QKV_ATTENTION_ARGS_INIT;
        attend.q = &q;
        attend.k = &keys;
        attend.v = &values;
        attend.out = &out;
        attend.workspace = workspace;
        check(qkv_attention_run(attention, queue, &attend, 0, NULL, NULL));
    }
    check_cl(clEnqueueReadBuffer(queue, buffers[2], CL_TRUE, 0, sizeof result, result, 0, NULL, NULL),
             "clEnqueueReadBuffer");
    printf("%s\n%s\n", qkv_linear_describe(projection), qkv_attention_describe(attention));
    printf("after %d tokens: out[0] = %.6f\n", (int)STEPS, (double)result[0]);

    for (size_t i = 0; i < 5; i++)
        clReleaseMemObject(buffers[i]);
    qkv_workspace_destroy(workspace);
    qkv_attention_destroy(attention);
    qkv_linear_destroy(projection);
    qkv_context_destroy(context);
    return 0;
}
