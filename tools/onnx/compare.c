#include "onnx/compare.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

static bool alike(double a, double b, double distance) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabs(a - b) <= distance;
}

/* The exact value as the dtype has it where it is past the largest one. */
static double saturate(qkv_dtype dtype, double value) {
    const double past = dtype == QKV_F16 ? 65520.0 : (double)FLT_MAX * (1 + onnx_roundoff(dtype));
    return fabs(value) >= past ? copysign((double)INFINITY, value) : value;
}

typedef struct element {
    double got, given, value, ours, theirs, spacing;
    bool either;
} element;

static element element_at(const onnx_tensor *got, const onnx_tensor *given, const onnx_values *values, size_t at) {
    element e = {.got = onnx_tensor_at(got, at),
                 .given = onnx_tensor_at(given, at),
                 .value = saturate(got->dtype, values->value[at]),
                 .either = values->either != NULL && values->either[at]};
    e.spacing = onnx_spacing(got->dtype, e.value);
    /* A copy has no error at all. */
    e.ours = values->ours[at] > 0 ? values->ours[at] + e.spacing / 2 : 0;
    e.theirs = values->given[at] > 0 ? values->given[at] + e.spacing : 0;
    return e;
}

static bool by_evaluation(const element *e, qkv_dtype dtype) {
    const double distance = dtype == QKV_F32 || e->ours == 0 ? e->ours : 2 * e->spacing;
    if (e->either) return (isnan(e->got) || e->got == e->value) && (isnan(e->given) || e->given == e->value);
    return alike(e->got, e->value, distance) && alike(e->given, e->value, e->theirs);
}

static void explain(char *out, size_t size, const element *e, const onnx_tensor *t, size_t at) {
    size_t index[QKV_MAX_RANK], length = 0;
    for (size_t i = t->rank; i-- > 0; at /= t->shape[i])
        index[i] = at % t->shape[i];
    for (size_t i = 0; i < t->rank && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "%s%zu", i == 0 ? "(" : ", ", index[i]);
    if (length < size)
        snprintf(out + length, size - length, ") is %.9g, given %.9g; in double precision %.9g, fp32 within %.2g",
                 e->got, e->given, e->value, e->ours);
}

static bool same_shape(const char *name, const onnx_tensor *got, const onnx_tensor *given, tool_error *error) {
    if (got->type != given->type)
        return tool_fail(error, "%s is %s; what is given is %s", name, onnx_type_name(got->type),
                         onnx_type_name(given->type));
    bool same = got->rank == given->rank;
    for (size_t i = 0; same && i < got->rank; i++)
        same = got->shape[i] == given->shape[i];
    return same || tool_fail(error, "%s has another shape than what is given: %zu axes and %zu elements, %zu and %zu",
                             name, got->rank, got->count, given->rank, given->count);
}

bool onnx_compare(onnx_difference *out, const char *name, const onnx_tensor *got, const onnx_tensor *given,
                  const onnx_values *values, const onnx_tolerance *tolerance, tool_error *error) {
    char first[400] = "";
    size_t wrong = 0;
    if (!same_shape(name, got, given, error)) return false;
    for (size_t i = 0; i < got->count; i++) {
        const element e = element_at(got, given, values, i);
        const bool plain = alike(e.got, e.given, tolerance->atol + tolerance->rtol * fabs(e.given));
        const bool fine = plain || by_evaluation(&e, got->dtype);
        if (!fine && wrong++ == 0) explain(first, sizeof first, &e, got, i);
        out->by_evaluation += fine && !plain;
        if (isfinite(e.got) && isfinite(e.given)) out->worst = fmax(out->worst, fabs(e.got - e.given));
        if (isfinite(e.got) && isfinite(e.value))
            out->share = fmax(out->share, e.got == e.value ? 0 : fabs(e.got - e.value) / fmax(e.ours, (double)FLT_MIN));
        else if (!e.either && !alike(e.got, e.value, 0))
            out->share = (double)INFINITY;
    }
    out->count += got->count;
    return wrong == 0 ||
           tool_fail(error, "%s: %zu of %zu elements differ, the first one %s", name, wrong, got->count, first);
}
