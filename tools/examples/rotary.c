/*
 * Rotary position embeddings: a query and a key are turned in place to their positions, and their product then depends
 * on the distance alone, near or a million tokens away.
 *   cc rotary.c $(pkg-config --cflags --libs qkv) -lOpenCL
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <qkv.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIM = 64 };

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

int main(void) {
    qkv_context *context;
    check(qkv_context_create(&context, NULL, NULL));
    cl_command_queue queue = qkv_context_cl_queue(context);

    qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
    desc.head_dim = DIM;
    desc.base = 500000;
    desc.max_position = 1 << 20;
    qkv_rotary *rotary;
    check(qkv_rotary_create(&rotary, context, &desc));
    printf("%s\n", qkv_rotary_describe(rotary));

    /* One head with two tokens, the query and the key; each has a position of its own. */
    const size_t shape[] = {1, 1, 2, DIM}, line[] = {2};
    cl_int error;
    cl_mem memory =
        clCreateBuffer(qkv_context_cl_context(context), CL_MEM_READ_WRITE, 2 * DIM * sizeof(float), NULL, &error);
    check_cl(error, "clCreateBuffer");
    cl_mem where = clCreateBuffer(qkv_context_cl_context(context), CL_MEM_READ_ONLY, 2 * sizeof(cl_int), NULL, &error);
    check_cl(error, "clCreateBuffer");
    qkv_tensor x, positions;
    check(qkv_tensor_dense(&x, memory, QKV_F32, 4, shape));
    check(qkv_tensor_dense(&positions, where, QKV_I32, 1, line));

    static const cl_int pairs[][2] = {{7, 4}, {1007, 1004}, {1000007, 1000004}, {1000007, 4}};
    for (size_t n = 0; n < sizeof pairs / sizeof pairs[0]; n++) {
        float values[2][DIM];
        for (int d = 0; d < DIM; d++) {
            values[0][d] = (float)(d * 7 % 23) / 23.0f;
            values[1][d] = (float)(d * 5 % 19) / 19.0f;
        }
        check_cl(clEnqueueWriteBuffer(queue, memory, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL),
                 "clEnqueueWriteBuffer");
        check_cl(clEnqueueWriteBuffer(queue, where, CL_TRUE, 0, sizeof pairs[n], pairs[n], 0, NULL, NULL),
                 "clEnqueueWriteBuffer");
        qkv_rotary_args args = QKV_ROTARY_ARGS_INIT;
        args.x = &x;
        args.out = &x;
        args.positions = &positions;
        check(qkv_rotary_run(rotary, queue, &args, 0, NULL, NULL));
        check_cl(clEnqueueReadBuffer(queue, memory, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL),
                 "clEnqueueReadBuffer");
        double product = 0;
        for (int d = 0; d < DIM; d++)
            product += (double)values[0][d] * (double)values[1][d];
        printf("query at %7d, key at %7d, distance %6d: product %.4f\n", (int)pairs[n][0], (int)pairs[n][1],
               (int)(pairs[n][0] - pairs[n][1]), product);
    }
    clReleaseMemObject(memory);
    clReleaseMemObject(where);
    qkv_rotary_destroy(rotary);
    qkv_context_destroy(context);
    return 0;
}
