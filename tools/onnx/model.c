#include "onnx/model.h"

#include <string.h>

#include <onnx.pb-c.h>

#include "support/files.h"

enum { MAX_MODEL_BYTES = 1 << 28 };

static const struct attribute {
    unsigned ops;
    const char *name;
    size_t offset;
    bool is_float;
    int64_t least, most;
} attributes[] = {
#define INT(OPS, NAME, LEAST, MOST)                                                                                    \
    { OPS, #NAME, offsetof(onnx_attributes, NAME), false, LEAST, MOST }
#define FLOAT(OPS, NAME)                                                                                               \
    { OPS, #NAME, offsetof(onnx_attributes, NAME), true, 0, 0 }
    FLOAT(ONNX_ATTENTION, scale),
    FLOAT(ONNX_ATTENTION, softcap),
    INT(ONNX_ATTENTION, is_causal, 0, 1),
    INT(ONNX_ATTENTION, q_num_heads, 1, INT32_MAX),
    INT(ONNX_ATTENTION, kv_num_heads, 1, INT32_MAX),
    INT(ONNX_ATTENTION, softmax_precision, 0, INT32_MAX),
    INT(ONNX_ATTENTION, qk_matmul_output_mode, 0, 3),
    INT(ONNX_ATTENTION, left_window_size, -1, INT64_MAX),
    INT(ONNX_ATTENTION, right_window_size, -1, INT64_MAX),
    INT(ONNX_ROTARY_EMBEDDING, interleaved, 0, 1),
    INT(ONNX_ROTARY_EMBEDDING, rotary_embedding_dim, 0, INT32_MAX),
    INT(ONNX_ROTARY_EMBEDDING, num_heads, 0, INT32_MAX),
#undef INT
#undef FLOAT
};

static bool read_attribute(onnx_model *out, const Onnx__AttributeProto *proto, const char *path, tool_error *error) {
    const char *name = proto->name != NULL ? proto->name : "";
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        const struct attribute *row = &attributes[i];
        char *to = (char *)&out->attributes + row->offset;
        if (!(row->ops & (unsigned)out->op) || strcmp(row->name, name) != 0) continue;
        if (row->is_float ? !proto->has_f : !proto->has_i)
            return tool_fail(error, "%s: attribute %s is no %s", path, name, row->is_float ? "float" : "integer");
        if (row->is_float) {
            const double value = (double)proto->f;
            memcpy(to, &value, sizeof value);
            if (row->offset == offsetof(onnx_attributes, scale)) out->attributes.has_scale = true;
            return true;
        }
        if (proto->i < row->least || proto->i > row->most)
            return tool_fail(error, "%s: attribute %s is %lld, which the operator does not know", path, name,
                             (long long)proto->i);
        memcpy(to, &proto->i, sizeof proto->i);
        return true;
    }
    return tool_fail(error, "%s: attribute %s is unknown", path, name);
}

static long find(const char *name, Onnx__ValueInfoProto **values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (values[i]->name != NULL && strcmp(values[i]->name, name) == 0) return (long)i;
    return -1;
}

static bool read_input(onnx_slot *out, const Onnx__GraphProto *graph, const char *name, const char *path,
                       tool_error *error) {
    out->given = name[0] != '\0';
    out->file = -1;
    if (!out->given) return true;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *constant = graph->initializer[i];
        if (constant->name != NULL && strcmp(constant->name, name) == 0)
            return onnx_tensor_decode(&out->constant, constant, path, error);
    }
    out->file = find(name, graph->input, graph->n_input);
    return out->file >= 0 || tool_fail(error, "%s: the graph has no input named %s", path, name);
}

static bool read_slots(onnx_model *out, const Onnx__GraphProto *graph, const char *path, tool_error *error) {
    const Onnx__NodeProto *node = graph->node[0];
    const size_t inputs = out->op == ONNX_ATTENTION ? 7 : 4, outputs = out->op == ONNX_ATTENTION ? 4 : 1;
    const size_t required = 3;
    if (node->n_input > inputs || node->n_output > outputs)
        return tool_fail(error, "%s: the node has %zu inputs and %zu outputs; the operator has at most %zu and %zu",
                         path, node->n_input, node->n_output, inputs, outputs);
    for (size_t i = 0; i < node->n_input; i++)
        if (!read_input(&out->inputs[i], graph, node->input[i], path, error)) return false;
    for (size_t i = 0; i < required; i++)
        if (!out->inputs[i].given) return tool_fail(error, "%s: the node has no input %zu", path, i);
    for (size_t i = 0; i < node->n_output; i++) {
        out->outputs[i].file = find(node->output[i], graph->output, graph->n_output);
        out->outputs[i].given = out->outputs[i].file >= 0;
    }
    out->num_outputs = graph->n_output;
    for (size_t i = 0; i < graph->n_output; i++) {
        bool found = false;
        for (size_t j = 0; j < node->n_output; j++)
            found = found || out->outputs[j].file == (long)i;
        if (!found) return tool_fail(error, "%s: output %zu of the graph is not one of the node's", path, i);
    }
    return graph->n_output > 0 || tool_fail(error, "%s: the graph has no outputs", path);
}

static bool read_operator(onnx_model *out, const Onnx__NodeProto *node, const char *path, tool_error *error) {
    const char *type = node->op_type != NULL ? node->op_type : "", *domain = node->domain != NULL ? node->domain : "";
    if (strcmp(type, "Attention") == 0) out->op = ONNX_ATTENTION;
    if (strcmp(type, "RotaryEmbedding") == 0) out->op = ONNX_ROTARY_EMBEDDING;
    if (out->op == 0 || (domain[0] != '\0' && strcmp(domain, "ai.onnx") != 0))
        return tool_fail(error, "%s: the node is %s%s%s, neither Attention nor RotaryEmbedding of ONNX", path, domain,
                         domain[0] != '\0' ? "." : "", type);
    return true;
}

static bool read_graph(onnx_model *out, const Onnx__ModelProto *model, const char *path, tool_error *error) {
    const Onnx__GraphProto *graph = model->graph;
    if (graph == NULL) return tool_fail(error, "%s: not an ONNX model: it has no graph", path);
    if (graph->n_node != 1)
        return tool_fail(error, "%s: the graph has %zu nodes; it must have one", path, graph->n_node);
    if (!read_operator(out, graph->node[0], path, error) || !read_slots(out, graph, path, error)) return false;
    for (size_t i = 0; i < graph->node[0]->n_attribute; i++)
        if (!read_attribute(out, graph->node[0]->attribute[i], path, error)) return false;
    return true;
}

bool onnx_model_read(onnx_model *out, const char *path, tool_error *error) {
    tool_bytes bytes;
    memset(out, 0, sizeof *out);
    out->attributes.left_window_size = out->attributes.right_window_size = -1;
    if (!tool_read_file(&bytes, path, MAX_MODEL_BYTES, error)) return false;
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, bytes.size, (const uint8_t *)bytes.data);
    const bool ok = model != NULL ? read_graph(out, model, path, error)
                                  : tool_fail(error, "%s: not an ONNX model: protobuf cannot read it", path);
    if (model != NULL) onnx__model_proto__free_unpacked(model, NULL);
    tool_bytes_free(&bytes);
    if (!ok) onnx_model_free(out);
    return ok;
}

void onnx_model_free(onnx_model *model) {
    for (size_t i = 0; i < ONNX_MAX_INPUTS; i++)
        onnx_tensor_free(&model->inputs[i].constant);
}
