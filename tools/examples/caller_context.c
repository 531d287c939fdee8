/*
 * Attention on OpenCL objects the program made itself: its own context, queue and buffers.
 *   cc caller_context.c $(pkg-config --cflags --libs qkv) -lOpenCL
 */
#define CL_TARGET_OPENCL_VERSION 120 /* or any later version; libqkv itself needs no more */
#include <qkv.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 4, SEQ = 100, DIM = 64, COUNT = HEADS * SEQ * DIM };

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

/* The first device of the first platform that has any: a platform without devices is nothing unusual. */
static cl_device_id first_device(void) {
    cl_platform_id platforms[16];
    cl_uint count = 0;
    check_cl(clGetPlatformIDs(16, platforms, &count), "clGetPlatformIDs");
    for (cl_uint i = 0; i < count && i < 16; i++) {
        cl_device_id device;
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL) == CL_SUCCESS) return device;
    }
    fprintf(stderr, "no OpenCL device\n");
    exit(1);
}

int main(void) {
    /* What an application has anyway. */
    cl_int error;
    cl_device_id device = first_device();
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    check_cl(error, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &error);
    check_cl(error, "clCreateCommandQueue");

    static float q[COUNT], out[COUNT];
    for (int i = 0; i < COUNT; i++)
        q[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    cl_mem q_buffer = clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, sizeof q, q, &error);
    check_cl(error, "clCreateBuffer");
    cl_mem out_buffer = clCreateBuffer(context, CL_MEM_WRITE_ONLY, sizeof out, NULL, &error);
    check_cl(error, "clCreateBuffer");

    /* libqkv works inside them, and keeps them alive until it is done with them. */
    qkv_context *qkv;
    check(qkv_context_wrap(&qkv, context, device, queue, NULL));
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    desc.head_dim = DIM;
    desc.num_heads = HEADS;
    desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_kv = SEQ;
    qkv_attention *attention;
    check(qkv_attention_create(&attention, qkv, &desc));
    qkv_workspace *workspace;
    check(qkv_workspace_create(&workspace, qkv, qkv_attention_workspace_bytes(attention)));

    const size_t shape[4] = {1, HEADS, SEQ, DIM};
    qkv_tensor q_tensor, out_tensor;
    check(qkv_tensor_dense(&q_tensor, q_buffer, QKV_F32, 4, shape));
    check(qkv_tensor_dense(&out_tensor, out_buffer, QKV_F32, 4, shape));
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    args.q = args.k = args.v = &q_tensor;
    args.out = &out_tensor;
    args.causal = QKV_CAUSAL_LAST;
    args.workspace = workspace;
    /* The first two zeros: nothing to wait for. The event orders what follows on any queue, in order or not. */
    cl_event done;
    check(qkv_attention_run(attention, queue, &args, 0, NULL, &done));
    check_cl(clEnqueueReadBuffer(queue, out_buffer, CL_TRUE, 0, sizeof out, out, 1, &done, NULL),
             "clEnqueueReadBuffer");

    /* The first query sees the first key alone, so its output is the first value. */
    printf("%s\nout[0] = %.6f, v[0] = %.6f\n", qkv_attention_describe(attention), (double)out[0], (double)q[0]);
    int wrong = out[0] < q[0] - 1e-6f || out[0] > q[0] + 1e-6f;

    clReleaseEvent(done);
    qkv_workspace_destroy(workspace);
    qkv_attention_destroy(attention);
    qkv_context_destroy(qkv);
    clReleaseMemObject(q_buffer);
    clReleaseMemObject(out_buffer);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
    return wrong;
}
