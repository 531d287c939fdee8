/*
 * A multi-head attention layer on plain float arrays, with the attention weights and Q read back.
 *   cc layer_host.c $(pkg-config --cflags --libs qkv)
 */
#define CL_TARGET_OPENCL_VERSION 120 /* without it the OpenCL headers remark on it at each compilation */
#include <qkv.h>
#include <stdio.h>

enum { SEQ = 5, EMBED = 16, HEADS = 2 };

static void fill(float *data, int count, int step) {
    for (int i = 0; i < count; i++)
        data[i] = (float)(i * step % 23) / 23.0f - 0.5f;
}

int main(void) {
    float x[SEQ * EMBED], w[4][EMBED * EMBED], out[SEQ * EMBED], q[HEADS][SEQ][EMBED / HEADS];
    float weights[HEADS][SEQ][SEQ];
    fill(x, SEQ * EMBED, 7);
    for (int i = 0; i < 4; i++)
        fill(w[i], EMBED * EMBED, 5 + 2 * i);

    qkv_context *context;
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    desc.embed_dim = EMBED;
    desc.num_heads = HEADS;
    desc.layout = QKV_WEIGHT_OUT_IN; /* as nn.MultiheadAttention stores them */
    desc.wq.weight = w[0];
    desc.wk.weight = w[1];
    desc.wv.weight = w[2];
    desc.wo.weight = w[3];
    qkv_host_layer_args args = QKV_HOST_LAYER_ARGS_INIT;
    args.batch = 1;
    args.seq_q = SEQ;
    args.x = x;
    args.causal = QKV_CAUSAL_FIRST;
    args.q = &q[0][0][0];
    args.weights = &weights[0][0][0];
    if (qkv_context_create(&context, NULL, NULL) || qkv_host_layer(out, context, &desc, &args)) {
        fprintf(stderr, "%s\n", qkv_error_message());
        return 1;
    }
    for (int i = 0; i < SEQ; i++) {
        printf("token %d attends in head 0 to:", i);
        for (int j = 0; j < SEQ; j++)
            printf(" %.3f", (double)weights[0][i][j]);
        printf("\n");
    }
    printf("its query in head 1 begins with %.3f %.3f\n", (double)q[1][SEQ - 1][0], (double)q[1][SEQ - 1][1]);
    printf("its output begins with %.3f %.3f\n", (double)out[(SEQ - 1) * EMBED], (double)out[(SEQ - 1) * EMBED + 1]);
    qkv_context_destroy(context);
    return 0;
}
