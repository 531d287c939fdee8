/*
 * One plan, two threads: each has its own queue and workspace.
 *   cc two_threads.c $(pkg-config --cflags --libs qkv) -lOpenCL -pthread
 */
#define CL_TARGET_OPENCL_VERSION 120 /* or any later version; libqkv itself needs no more */
#include <pthread.h>
#include <qkv.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 2, SEQ = 64, DIM = 32, COUNT = HEADS * SEQ * DIM, REPEATS = 20 };

struct worker {
    qkv_context *context;
    const qkv_attention *attention; /* shared: plans are immutable */
    float out[COUNT];
    int failed;
};

static int run(struct worker *w, cl_command_queue queue, qkv_workspace *workspace, cl_mem in, cl_mem out) {
    const size_t shape[4] = {1, HEADS, SEQ, DIM};
    qkv_tensor in_tensor, out_tensor;
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    if (qkv_tensor_dense(&in_tensor, in, QKV_F32, 4, shape) || qkv_tensor_dense(&out_tensor, out, QKV_F32, 4, shape))
        return 1;
    args.q = args.k = args.v = &in_tensor;
    args.out = &out_tensor;
    args.workspace = workspace;
    for (int i = 0; i < REPEATS; i++)
        if (qkv_attention_run(w->attention, queue, &args, 0, NULL, NULL)) return 1;
    return clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof w->out, w->out, 0, NULL, NULL) != CL_SUCCESS;
}

static void *work(void *argument) {
    struct worker *w = argument;
    cl_context cl = qkv_context_cl_context(w->context);
    float data[COUNT];
    for (int i = 0; i < COUNT; i++)
        data[i] = (float)(i * 13 % 71) / 71.0f - 0.5f;
    cl_command_queue queue = clCreateCommandQueue(cl, qkv_context_cl_device(w->context), 0, NULL);
    cl_mem in = clCreateBuffer(cl, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, sizeof data, data, NULL);
    cl_mem out = clCreateBuffer(cl, CL_MEM_READ_WRITE, sizeof data, NULL, NULL);
    qkv_workspace *workspace = NULL;
    w->failed = !queue || !in || !out ||
                qkv_workspace_create(&workspace, w->context, qkv_attention_workspace_bytes(w->attention)) ||
                run(w, queue, workspace, in, out);
    /* The message is this thread's own: another thread's failure does not replace it. */
    if (w->failed) fprintf(stderr, "a thread failed: %s\n", qkv_error_message());
    qkv_workspace_destroy(workspace);
    if (in) clReleaseMemObject(in);
    if (out) clReleaseMemObject(out);
    if (queue) clReleaseCommandQueue(queue);
    return NULL;
}

int main(void) {
    static struct worker workers[2];
    pthread_t threads[2];
    qkv_context *context;
    qkv_attention *attention;
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = DIM;
    desc.num_heads = HEADS;
    desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_kv = SEQ;
    if (qkv_context_create(&context, NULL, NULL) || qkv_attention_create(&attention, context, &desc)) {
        fprintf(stderr, "%s\n", qkv_error_message());
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        workers[i].context = context;
        workers[i].attention = attention;
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) return 1;
    }
    int wrong = 0;
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        wrong |= workers[i].failed;
    }
    for (int i = 0; i < COUNT; i++)
        wrong |= workers[0].out[i] != workers[1].out[i];
    printf("%s\n%s\n", qkv_attention_describe(attention),
           wrong ? "a thread failed, or the threads disagree" : "both threads have the same result");
    qkv_attention_destroy(attention);
    qkv_context_destroy(context);
    return wrong;
}
