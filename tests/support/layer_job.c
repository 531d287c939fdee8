#include "support/layer_job.h"

#include <stdlib.h>
#include <string.h>

#include "support/compare.h"

void job_open(struct job *job, qkv_context *context, cl_command_queue transfers, uint64_t stream) {
    struct test_random random = test_random_start(test_seed(), stream);
    memset(job, 0, sizeof *job);
    job->c = (struct layer_case){.batch = 2,
                                 .seq_q = 9,
                                 .embed_dim = 24,
                                 .num_heads = 3,
                                 .num_kv_heads = 3,
                                 .head_dim = 8,
                                 .value_dim = 8,
                                 .out_dim = 24,
                                 .layout = QKV_WEIGHT_OUT_IN,
                                 .biases = true,
                                 .wo = true,
                                 .causal = QKV_CAUSAL_FIRST};
    layer_note(&job->c, NULL, (size_t)stream);
    layer_data_make(&job->data, &job->c, &random);
    layer_reference_make(&job->reference, &job->c, &job->data);
    qkv_layer_desc desc = layer_desc(&job->c, &job->data);
    desc.max_batch = 2, desc.max_seq_q = 9;
    TEST_OK(qkv_layer_create(&job->layer, context, &desc));
    static const size_t shape[] = {2, 9, 24};
    test_memory_create_in(&job->x, qkv_context_cl_context(context), transfers, 2 * 9 * 24 * sizeof(float));
    test_memory_create_in(&job->out, qkv_context_cl_context(context), transfers, 2 * 9 * 24 * sizeof(float));
    TEST_OK(qkv_tensor_dense(&job->x_view, job->x.mem, QKV_F32, 3, shape));
    TEST_OK(qkv_tensor_dense(&job->out_view, job->out.mem, QKV_F32, 3, shape));
    test_memory_allow(&job->out, &job->out_view);
    test_memory_put(&job->x, &job->x_view, job->data.x);
    test_memory_upload(&job->out);
    job->args = (qkv_layer_args)QKV_LAYER_ARGS_INIT;
    job->args.x = &job->x_view, job->args.out = &job->out_view, job->args.causal = job->c.causal;
    TEST_OK(qkv_workspace_create(&job->args.workspace, context, qkv_layer_workspace_bytes(job->layer)));
}

void job_check(struct job *job) {
    float *got = test_alloc(2 * 9 * 24, sizeof(float));
    TEST_DOWNLOAD(&job->out);
    test_memory_get(job->out.result, &job->out_view, got);
    TEST_CLOSE("out", got, job->reference.out, job->reference.dout, 2 * 9 * 24);
    free(got);
}

void job_close(struct job *job) {
    qkv_workspace_destroy(job->args.workspace);
    qkv_layer_destroy(job->layer);
    test_memory_free(&job->x);
    test_memory_free(&job->out);
    layer_reference_free(&job->reference);
    layer_data_free(&job->data);
}
