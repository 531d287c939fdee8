/* RotaryEmbedding in double precision. */
#include <float.h>
#include <math.h>

#include "onnx/node.h"

static bool values_create(onnx_values *out, size_t count, tool_error *error) {
    out->count = count;
    out->value = tool_alloc(count, sizeof(double), error);
    out->ours = tool_alloc(count, sizeof(double), error);
    out->given = tool_alloc(count, sizeof(double), error);
    return out->value != NULL && out->ours != NULL && out->given != NULL;
}

/* Two products and a sum: three roundings of what they add up to in magnitude. */
static void write_value(onnx_values *out, size_t at, double a, double b, double u, double tiny) {
    out->value[at] = a + b;
    out->ours[at] = 3 * onnx_roundoff(QKV_F32) * (fabs(a) + fabs(b)) + 3 * (double)FLT_MIN;
    out->given[at] = 3 * u * (fabs(a) + fabs(b)) + 3 * tiny;
}

static void turn(onnx_values *out, const onnx_rotary *n, size_t first, size_t row, double u, double tiny) {
    const size_t half = n->rotary_dim / 2;
    const bool interleaved = n->attributes->interleaved != 0;
    for (size_t p = 0; p < half; p++) {
        const size_t i = first + (interleaved ? 2 * p : p), j = first + (interleaved ? 2 * p + 1 : p + half);
        const double x = onnx_tensor_at(n->x, i), y = onnx_tensor_at(n->x, j);
        const double c = onnx_tensor_at(n->cos, row * half + p), s = onnx_tensor_at(n->sin, row * half + p);
        write_value(out, i, x * c, -y * s, u, tiny);
        write_value(out, j, y * c, x * s, u, tiny);
    }
    for (size_t d = n->rotary_dim; d < n->head_dim; d++)
        out->value[first + d] = onnx_tensor_at(n->x, first + d);
}

bool onnx_rotary_evaluate(onnx_values *out, const onnx_rotary *node, tool_error *error) {
    const double u = onnx_roundoff(node->x->dtype), tiny = onnx_spacing(node->x->dtype, 0);
    if (!values_create(out, node->x->count, error)) return false;
    for (size_t b = 0; b < node->batch; b++)
        for (size_t s = 0; s < node->seq; s++) {
            size_t row = b * node->seq + s;
            if (node->positions != NULL) {
                const double position = onnx_tensor_at(node->positions, row);
                if (!(position >= 0 && position < (double)node->cos->shape[0]))
                    return tool_fail(error, "position_ids has %g, which is no row of cos_cache", position);
                row = (size_t)position;
            }
            for (size_t h = 0; h < node->num_heads; h++) {
                const size_t token = node->packed ? (b * node->seq + s) * node->num_heads + h
                                                  : (b * node->num_heads + h) * node->seq + s;
                turn(out, node, token * node->head_dim, row, u, tiny);
            }
        }
    return true;
}
