/* Structs of older and newer versions of the interface: shorter, longer, and wrong. */
#include <string.h>

#include "support/buffers.h"

/* A struct as a program compiled against another version has it, in room for a longer one. */
union versioned {
    size_t struct_size;
    qkv_context_options options;
    qkv_linear_desc linear_desc;
    qkv_linear_args linear_args;
    qkv_attention_desc attention_desc;
    qkv_attention_args attention_args;
    qkv_layer_desc layer_desc;
    qkv_layer_args layer_args;
    qkv_rotary_desc rotary_desc;
    qkv_rotary_args rotary_args;
    unsigned char bytes[512];
};

/* What the calls below need; each takes one struct, complete but for its size. */
struct callee {
    qkv_linear *linear;
    qkv_attention *attention;
    qkv_layer *layer;
    qkv_rotary *rotary;
};

static qkv_status call_context(const struct callee *c, const union versioned *v) {
    qkv_context *out = NULL;
    (void)c;
    qkv_status status =
        qkv_context_wrap(&out, test_cl_context(), qkv_context_cl_device(test_context()), test_queue(), &v->options);
    qkv_context_destroy(out);
    return status;
}

static qkv_status call_linear_create(const struct callee *c, const union versioned *v) {
    qkv_linear *out = NULL;
    (void)c;
    qkv_status status = qkv_linear_create(&out, test_context(), &v->linear_desc);
    qkv_linear_destroy(out);
    return status;
}

static qkv_status call_linear_run(const struct callee *c, const union versioned *v) {
    return qkv_linear_run(c->linear, test_queue(), &v->linear_args, 0, NULL, NULL);
}

static qkv_status call_attention_create(const struct callee *c, const union versioned *v) {
    qkv_attention *out = NULL;
    (void)c;
    qkv_status status = qkv_attention_create(&out, test_context(), &v->attention_desc);
    qkv_attention_destroy(out);
    return status;
}

static qkv_status call_attention_run(const struct callee *c, const union versioned *v) {
    return qkv_attention_run(c->attention, test_queue(), &v->attention_args, 0, NULL, NULL);
}

static qkv_status call_layer_create(const struct callee *c, const union versioned *v) {
    qkv_layer *out = NULL;
    (void)c;
    qkv_status status = qkv_layer_create(&out, test_context(), &v->layer_desc);
    qkv_layer_destroy(out);
    return status;
}

static qkv_status call_layer_run(const struct callee *c, const union versioned *v) {
    return qkv_layer_run(c->layer, test_queue(), &v->layer_args, 0, NULL, NULL);
}

static qkv_status call_rotary_create(const struct callee *c, const union versioned *v) {
    qkv_rotary *out = NULL;
    (void)c;
    qkv_status status = qkv_rotary_create(&out, test_context(), &v->rotary_desc);
    qkv_rotary_destroy(out);
    return status;
}

static qkv_status call_rotary_run(const struct callee *c, const union versioned *v) {
    return qkv_rotary_run(c->rotary, test_queue(), &v->rotary_args, 0, NULL, NULL);
}

/* `v` is complete. Fields from `cut` on are off in it, so that a version without them means the same. */
static void check_versions(const struct callee *c, qkv_status (*call)(const struct callee *, const union versioned *),
                           union versioned *v, size_t cut, const char *name) {
    size_t size = v->struct_size;
    test_note("%s of another version", name);
    TEST_OK(call(c, v));
    v->struct_size = cut;
    memset(v->bytes + cut, 0xa5, sizeof v->bytes - cut); /* an older program's memory goes on with anything */
    TEST_OK(call(c, v));
    memset(v->bytes + cut, 0, sizeof v->bytes - cut);
    v->struct_size = size + 24;
    TEST_OK(call(c, v));
    for (size_t at = size; at < size + 24; at += 23) {
        v->bytes[at] = 1;
        TEST_FAILS(QKV_UNSUPPORTED, name, call(c, v));
        v->bytes[at] = 0;
    }
    for (size_t tiny = 0; tiny <= sizeof(size_t); tiny += sizeof(size_t)) {
        v->struct_size = tiny;
        TEST_FAILS(QKV_INVALID_ARGUMENT, name, call(c, v));
    }
    v->struct_size = size;
}

#define CUT(type, field) offsetof(type, field)

START_TEST(structs_of_other_versions) {
    static const float weight[64];
    const qkv_linear_output output = {8, weight, NULL, {NULL}};
    const size_t x_shape[] = {1, 1, 8};
    struct callee c = {NULL, NULL, NULL, NULL};
    union versioned v[9];
    qkv_workspace *workspace = NULL, *scratch = NULL;
    qkv_tensor x_heads, y_heads;
    struct test_array x, y;
    float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    test_array_input(&x, QKV_F32, 3, x_shape, NULL, ones);
    test_array_output(&y, 3, x_shape, NULL);
    memset(v, 0, sizeof v);
    v[0].options = (qkv_context_options)QKV_CONTEXT_OPTIONS_INIT;
    check_versions(&c, call_context, &v[0], CUT(qkv_context_options, solver), "options");
    v[1].linear_desc = (qkv_linear_desc)QKV_LINEAR_DESC_INIT;
    v[1].linear_desc.in_features = 8;
    v[1].linear_desc.num_outputs = 1;
    v[1].linear_desc.outputs = &output;
    TEST_OK(qkv_linear_create(&c.linear, test_context(), &v[1].linear_desc));
    check_versions(&c, call_linear_create, &v[1], CUT(qkv_linear_desc, max_rows), "desc");
    v[2].linear_args = (qkv_linear_args)QKV_LINEAR_ARGS_INIT;
    v[2].linear_args.x = &x.view;
    v[2].linear_args.outputs[0] = &y.view;
    check_versions(&c, call_linear_run, &v[2], CUT(qkv_linear_args, outputs[1]), "args");
    v[3].attention_desc = (qkv_attention_desc)QKV_ATTENTION_DESC_INIT;
    v[3].attention_desc.head_dim = 8;
    v[3].attention_desc.num_heads = v[3].attention_desc.max_batch = 1;
    v[3].attention_desc.max_seq_q = v[3].attention_desc.max_seq_kv = 4;
    check_versions(&c, call_attention_create, &v[3], CUT(qkv_attention_desc, features), "desc");
    TEST_OK(qkv_attention_create(&c.attention, test_context(), &v[3].attention_desc));
    TEST_OK(qkv_tensor_heads(&x_heads, &x.view, 1));
    TEST_OK(qkv_tensor_heads(&y_heads, &y.view, 1));
    v[4].attention_args = (qkv_attention_args)QKV_ATTENTION_ARGS_INIT;
    v[4].attention_args.q = v[4].attention_args.k = v[4].attention_args.v = &x_heads;
    v[4].attention_args.out = &y_heads;
    /* The last field is the workspace: nothing before it can be cut where the plan needs one. */
    size_t bytes = qkv_attention_workspace_bytes(c.attention);
    if (bytes > 0) TEST_OK(qkv_workspace_create(&scratch, test_context(), bytes));
    v[4].attention_args.workspace = scratch;
    check_versions(&c, call_attention_run, &v[4], scratch ? sizeof(qkv_attention_args) : CUT(qkv_attention_args, mask),
                   "args");
    v[5].layer_desc = (qkv_layer_desc)QKV_LAYER_DESC_INIT;
    v[5].layer_desc.embed_dim = 8;
    v[5].layer_desc.num_heads = v[5].layer_desc.max_batch = v[5].layer_desc.max_seq_q = 1;
    v[5].layer_desc.wq.weight = v[5].layer_desc.wk.weight = v[5].layer_desc.wv.weight = weight;
    TEST_OK(qkv_layer_create(&c.layer, test_context(), &v[5].layer_desc));
    check_versions(&c, call_layer_create, &v[5], CUT(qkv_layer_desc, max_seq_kv), "desc");
    TEST_OK(qkv_workspace_create(&workspace, test_context(), qkv_layer_workspace_bytes(c.layer)));
    v[6].layer_args = (qkv_layer_args)QKV_LAYER_ARGS_INIT;
    v[6].layer_args.x = &x.view;
    v[6].layer_args.out = &y.view;
    v[6].layer_args.workspace = workspace;
    check_versions(&c, call_layer_run, &v[6], sizeof(qkv_layer_args), "args");
    v[7].rotary_desc = (qkv_rotary_desc)QKV_ROTARY_DESC_INIT;
    v[7].rotary_desc.head_dim = 8;
    v[7].rotary_desc.max_position = 1;
    TEST_OK(qkv_rotary_create(&c.rotary, test_context(), &v[7].rotary_desc));
    check_versions(&c, call_rotary_create, &v[7], CUT(qkv_rotary_desc, base), "desc");
    v[8].rotary_args = (qkv_rotary_args)QKV_ROTARY_ARGS_INIT;
    v[8].rotary_args.x = v[8].rotary_args.out = &x_heads;
    check_versions(&c, call_rotary_run, &v[8], CUT(qkv_rotary_args, positions), "args");
    TEST_CL(clFinish(test_queue()));
    qkv_workspace_destroy(workspace);
    qkv_workspace_destroy(scratch);
    qkv_attention_destroy(c.attention);
    qkv_layer_destroy(c.layer);
    qkv_linear_destroy(c.linear);
    qkv_rotary_destroy(c.rotary);
    test_array_free(&x);
    test_array_free(&y);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("versions");
    TCase *tcase = tcase_create("versions");
    tcase_add_test(tcase, structs_of_other_versions);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
