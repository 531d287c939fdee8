#include "plan/plan.h"

/* To add a way of doing an operation: one .cl, one .c, and a row here. */
const struct qkvi_solver *const qkvi_solvers[] = {
    &qkvi_linear_tile,      &qkvi_linear_vector,   &qkvi_linear_plain,  &qkvi_linear_clblast, &qkvi_attention_tile,
    &qkvi_attention_vector, &qkvi_attention_plain, &qkvi_rotary_vector, &qkvi_rotary_plain,   &qkvi_copy_vector,
    &qkvi_copy_plain,       &qkvi_report_vector,   &qkvi_report_plain,  &qkvi_layer_vector,
};
const size_t qkvi_num_solvers = QKVI_COUNT(qkvi_solvers);

const char *qkvi_operation_name(enum qkvi_operation operation) {
    static const char *const names[QKVI_NUM_OPERATIONS] = {
        [QKVI_LINEAR] = "linear", [QKVI_ATTENTION] = "attention", [QKVI_ROTARY] = "rotary",
        [QKVI_COPY] = "copy",     [QKVI_REPORT] = "report",       [QKVI_LAYER] = "layer",
    };
    return names[operation];
}
