#include "solver/report_args.h"

static void set_common(struct qkvi_attention_args *args, const struct qkvi_attention_problem *problem,
                       const struct qkvi_attention_run *run) {
    struct qkvi_attention_run own = *run;
    own.weights = run->reports.weights;
    own.scores = run->reports.scores;
    qkvi_attention_args_set(args, problem, &own, 0);
}

void qkvi_report_set_pairs(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                           const struct qkvi_attention_run *run) {
    set_common(&out->args, problem, run);
    out->stage = (cl_int)run->reports.stage;
    out->dtype = (cl_int)problem->report_dtype;
    QKVI_ATTENTION_ADD(&out->args, out->stage);
    QKVI_ATTENTION_ADD(&out->args, out->dtype);
}

void qkvi_report_set_received(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                              const struct qkvi_attention_run *run) {
    set_common(&out->args, problem, run);
    out->received = run->reports.received.buffer;
    out->received_view = qkvi_view4_pack(&run->reports.received);
    QKVI_ATTENTION_ADD(&out->args, out->received);
    QKVI_ATTENTION_ADD(&out->args, out->received_view);
}

void qkvi_report_set_keys(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                          const struct qkvi_attention_run *run) {
    qkvi_report_set_pairs(out, problem, run);
    out->wanted = run->reports.received.buffer != NULL;
    /* Where nobody wants it, it is never touched, but some implementations reject a NULL argument. */
    out->received = out->wanted ? run->reports.received.buffer : run->out.buffer;
    out->received_view = qkvi_view4_pack(&run->reports.received);
    QKVI_ATTENTION_ADD(&out->args, out->received);
    QKVI_ATTENTION_ADD(&out->args, out->received_view);
    QKVI_ATTENTION_ADD(&out->args, out->wanted);
}

void qkvi_report_set_top(struct qkvi_report_args *out, const struct qkvi_attention_problem *problem,
                         const struct qkvi_attention_run *run) {
    struct qkvi_attention_run own = *run;
    /* In the place of what these kernels do not write: devices take few bytes of arguments. */
    own.weights = run->reports.top_weights;
    own.scores = run->reports.top_keys;
    qkvi_attention_args_set(&out->args, problem, &own, 0);
    out->top = (cl_int)run->reports.top;
    QKVI_ATTENTION_ADD(&out->args, out->top);
}
