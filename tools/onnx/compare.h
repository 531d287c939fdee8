/* An output beside the one that a case gives and the one in double precision. */
#ifndef ONNX_COMPARE_H
#define ONNX_COMPARE_H

#include "onnx/node.h"

typedef struct onnx_tolerance {
    double rtol, atol;
} onnx_tolerance;

/* Over all outputs of a case. */
typedef struct onnx_difference {
    double worst; /* the largest distance from the given outputs */
    double share; /* the largest distance from the double evaluation, in terms of its bound for fp32 arithmetic */
    size_t by_evaluation; /* elements that pass by the double evaluation and not by ONNX's tolerance */
    size_t count;
} onnx_difference;

/*
 * An element passes within ONNX's tolerance of what is given: |got - given| <= atol + rtol |given|, NaN and infinity in
 * kind. Or by the double evaluation: fp32 within its bound, fp16 and bfloat16 within 2 units in the last place, where
 * what is given is itself within the bound of arithmetic in the node's dtypes.
 */
bool onnx_compare(onnx_difference *out, const char *name, const onnx_tensor *got, const onnx_tensor *given,
                  const onnx_values *values, const onnx_tolerance *tolerance, tool_error *error);

#endif
