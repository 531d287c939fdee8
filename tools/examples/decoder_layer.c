/*
 * A decoder's attention block as Llama has it: grouped heads, rotary positions, a cache. One plan serves the prompt and each
 * token after it; keys and values are projected, turned and kept where they stay, and nothing is copied.
 *   cc decoder_layer.c $(pkg-config --cflags --libs qkv) -lOpenCL
 */
#define CL_TARGET_OPENCL_VERSION 120 /* or any later version; libqkv itself needs no more */
#include <qkv.h>
#include <stdio.h>
#include <stdlib.h>

enum { EMBED = 64, HEADS = 4, KV_HEADS = 2, DIM = 16, PROMPT = 12, STEPS = 20, CAPACITY = PROMPT + STEPS };

static void check(qkv_status status) {
    if (status == QKV_OK) return;
    fprintf(stderr, "%s: %s\n", qkv_status_name(status), qkv_error_message());
    exit(1);
}

static const float *fill(float *data, int count, int step) {
    for (int i = 0; i < count; i++)
        data[i] = (float)((long)i * step % 83) / 415.0f - 0.1f;
    return data;
}

static qkv_layer *make_layer(qkv_context *context) {
    static float wq[EMBED * EMBED], wk[KV_HEADS * DIM * EMBED], wv[KV_HEADS * DIM * EMBED], wo[EMBED * EMBED];
    qkv_rotary_desc rotary = QKV_ROTARY_DESC_INIT; /* half-split, base 10000 */
    rotary.max_position = CAPACITY;
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    desc.embed_dim = EMBED;
    desc.num_heads = HEADS;
    desc.num_kv_heads = KV_HEADS;
    desc.wq.weight = fill(wq, EMBED * EMBED, 29);
    desc.wk.weight = fill(wk, KV_HEADS * DIM * EMBED, 31);
    desc.wv.weight = fill(wv, KV_HEADS * DIM * EMBED, 37);
    desc.wo.weight = fill(wo, EMBED * EMBED, 41);
    desc.rotary = &rotary;
    desc.features = QKV_ATTENTION_PAST;
    desc.max_batch = 1;
    desc.max_seq_q = PROMPT;
    desc.max_seq_kv = CAPACITY;
    qkv_layer *layer;
    check(qkv_layer_create(&layer, context, &desc));
    return layer;
}

/* A tensor with memory of its own. */
static void make_tensor(qkv_tensor *tensor, qkv_context *context, size_t rank, const size_t *shape) {
    size_t floats = 1;
    cl_int error;
    for (size_t i = 0; i < rank; i++)
        floats *= shape[i];
    cl_mem buffer =
        clCreateBuffer(qkv_context_cl_context(context), CL_MEM_READ_WRITE, floats * sizeof(float), NULL, &error);
    if (error != CL_SUCCESS) {
        fprintf(stderr, "clCreateBuffer failed: %d\n", error);
        exit(1);
    }
    check(qkv_tensor_dense(tensor, buffer, QKV_F32, rank, shape));
}

int main(void) {
    qkv_context *context;
    check(qkv_context_create(&context, NULL, NULL));
    cl_command_queue queue = qkv_context_cl_queue(context);
    qkv_layer *layer = make_layer(context);
    qkv_workspace *workspace;
    check(qkv_workspace_create(&workspace, context, qkv_layer_workspace_bytes(layer)));

    qkv_tensor all_x, all_out, key_cache, value_cache;
    make_tensor(&all_x, context, 3, (const size_t[]){1, PROMPT, EMBED});
    make_tensor(&all_out, context, 3, (const size_t[]){1, PROMPT, EMBED});
    make_tensor(&key_cache, context, 4, (const size_t[]){1, KV_HEADS, CAPACITY, DIM});
    make_tensor(&value_cache, context, 4, (const size_t[]){1, KV_HEADS, CAPACITY, DIM});

    static float tokens[PROMPT * EMBED];
    float result[EMBED];
    for (size_t past = 0, count = PROMPT; past < CAPACITY; past += count, count = 1) {
        fill(tokens, (int)(count * EMBED), 7 + (int)past);
        clEnqueueWriteBuffer(queue, all_x.memory.buffer, CL_TRUE, 0, count * EMBED * sizeof(float), tokens, 0, NULL, NULL);

        qkv_tensor x, out, past_k, past_v, present_k, present_v;
        check(qkv_tensor_slice(&x, &all_x, 1, 0, count));
        check(qkv_tensor_slice(&out, &all_out, 1, 0, count));
        check(qkv_tensor_slice(&past_k, &key_cache, 2, 0, past));
        check(qkv_tensor_slice(&past_v, &value_cache, 2, 0, past));
        check(qkv_tensor_slice(&present_k, &key_cache, 2, 0, past + count));
        check(qkv_tensor_slice(&present_v, &value_cache, 2, 0, past + count));

        qkv_attention_args cache = QKV_ATTENTION_ARGS_INIT;
        cache.past_k = &past_k; /* the beginning of present: nothing moves */
        cache.past_v = &past_v;
        cache.present_k = &present_k;
        cache.present_v = &present_v;
        qkv_layer_args args = QKV_LAYER_ARGS_INIT;
        args.x = &x;
        args.out = &out;
        args.causal = QKV_CAUSAL_LAST;
        args.attention = &cache;
        args.workspace = workspace;
        check(qkv_layer_run(layer, queue, &args, 0, NULL, NULL));
        clEnqueueReadBuffer(queue, all_out.memory.buffer, CL_TRUE, (count - 1) * EMBED * sizeof(float), sizeof result,
                            result, 0, NULL, NULL);
    }
    printf("%s\n", qkv_layer_describe(layer));
    printf("after %d tokens: out[0] = %.6f\n", CAPACITY, (double)result[0]);

    const qkv_tensor *tensors[] = {&all_x, &all_out, &key_cache, &value_cache};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        clReleaseMemObject(tensors[i]->memory.buffer);
    qkv_workspace_destroy(workspace);
    qkv_layer_destroy(layer);
    qkv_context_destroy(context);
    return 0;
}
