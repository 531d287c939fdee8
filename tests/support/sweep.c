#include "support/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "support/compare.h"

const struct fault_error fault_errors[NUM_FAULT_ERRORS] = {
    {CL_OUT_OF_HOST_MEMORY, QKV_OUT_OF_MEMORY},
    {CL_OUT_OF_RESOURCES, QKV_DEVICE_LOST},
    {CL_INVALID_VALUE, QKV_OPENCL_ERROR},
};
int sweep_anything;

/* Runs a statement that calls the library. */
#define INSIDE(stage, statement)                                                                                       \
    do {                                                                                                               \
        (stage)->saboteur->inside(1);                                                                                  \
        statement;                                                                                                     \
        (stage)->saboteur->inside(-1);                                                                                 \
    } while (0)

/* ---- sequences ---- */

qkv_status play_host(struct stage *stage) {
    const struct job *job = stage->job;
    qkv_status status = QKV_OK;
    if (!stage->context) {
        stage->context = UNTOUCHED;
        INSIDE(stage, status = qkv_context_create(&stage->context, NULL, NULL));
        TAKE(stage->context, status);
    }
    if (status) return status;
    size_t count = job->c.batch * job->c.seq_q * job->c.out_dim;
    float *out = test_alloc(count, sizeof(float));
    qkv_layer_desc desc = layer_desc(&job->c, &job->data);
    qkv_host_layer_args args = QKV_HOST_LAYER_ARGS_INIT;
    args.batch = job->c.batch;
    args.seq_q = job->c.seq_q;
    args.x = job->data.x;
    args.causal = job->c.causal;
    INSIDE(stage, status = qkv_host_layer(out, stage->context, &desc, &args));
    if (!status) TEST_CLOSE("out", out, job->reference.out, job->reference.dout, count);
    free(out);
    return status;
}

qkv_status play_wrap(struct stage *stage) {
    qkv_workspace *workspace = NULL;
    qkv_status status = QKV_OK;
    if (!stage->context) {
        stage->context = UNTOUCHED;
        INSIDE(stage, status = qkv_context_wrap(&stage->context, test_cl_context(),
                                                qkv_context_cl_device(test_context()), stage->queue, NULL));
        TAKE(stage->context, status);
    }
    for (int i = 0; i < 2 && !status; i++) {
        workspace = UNTOUCHED;
        INSIDE(stage, status = i ? qkv_workspace_create(&workspace, stage->context, 256)
                                 : qkv_workspace_wrap(&workspace, stage->context, stage->scratch, 0, 256));
        TAKE(workspace, status);
        INSIDE(stage, qkv_workspace_destroy(workspace));
    }
    return status;
}

qkv_status play_run(struct stage *stage, const qkv_layer *layer, qkv_workspace *workspace) {
    qkv_layer_args args = stage->job->args;
    cl_event done = UNTOUCHED;
    qkv_status status;
    args.workspace = workspace;
    test_memory_upload(&stage->job->out); /* so that an earlier result cannot pass for this one */
    INSIDE(stage, status = qkv_layer_run(layer, stage->queue, &args, 0, NULL, &done));
    TAKE(done, status);
    if (status) return status;
    TEST_CL(clWaitForEvents(1, &done));
    TEST_CL(clReleaseEvent(done));
    job_check(stage->job);
    return QKV_OK;
}

qkv_status play_layer(struct stage *stage) {
    qkv_layer_desc desc = layer_desc(&stage->job->c, &stage->job->data);
    qkv_layer *layer = UNTOUCHED;
    qkv_workspace *workspace = NULL;
    qkv_status status;
    desc.max_batch = stage->job->c.batch;
    desc.max_seq_q = stage->job->c.seq_q;
    INSIDE(stage, status = qkv_layer_create(&layer, stage->context, &desc));
    TAKE(layer, status);
    if (!status) {
        workspace = UNTOUCHED;
        INSIDE(stage, status = qkv_workspace_create(&workspace, stage->context, qkv_layer_workspace_bytes(layer)));
        TAKE(workspace, status);
    }
    if (!status) status = play_run(stage, layer, workspace);
    INSIDE(stage, qkv_workspace_destroy(workspace));
    INSIDE(stage, qkv_layer_destroy(layer));
    return status;
}

/* ---- one fault after the other ---- */

/* Answers the library can do without, or in its own words. */
static bool is_query(enum cl_call call) {
    return call == CALL_clGetPlatformIDs || call == CALL_clGetPlatformInfo || call == CALL_clGetDeviceIDs ||
           call == CALL_clGetDeviceInfo || call == CALL_clGetKernelWorkGroupInfo || call == CALL_clGetProgramBuildInfo;
}

void sweep_expect_told(enum cl_call call, const struct fault_error *e, qkv_status status) {
    const char *message = qkv_error_message();
    TEST_TRUE(message[0] != '\0');
    if (is_query(call)) return;
    if (call == CALL_ALLOCATION) {
        TEST_TRUE(status == QKV_OUT_OF_MEMORY);
        return;
    }
    qkv_status expected = call == CALL_clBuildProgram && e->status == QKV_OPENCL_ERROR ? QKV_BUILD_FAILED : e->status;
    /* A device that still answers is not lost; with a solver by force there is no other one to try. */
    if (e->error == CL_OUT_OF_RESOURCES && status == QKV_UNSUPPORTED && TEST_NUM_SOLVERS == 1) expected = status;
    if (status != expected || !test_has_word(message, cl_call_names[call]))
        test_fail(__FILE__, __LINE__, "%s instead of %s, or the call is not named: %s", qkv_status_name(status),
                  qkv_status_name(expected), message);
}

void sweep_check_balance(const struct cl_balance *before, const struct cl_balance *now) {
    for (size_t i = 0; i < NUM_OBJECTS; i++)
        if (now->live[i] != before->live[i])
            test_fail(__FILE__, __LINE__, "%ld %s references more than before", now->live[i] - before->live[i],
                      cl_object_names[i]);
}

/* false where the sequence makes fewer than n such calls. */
static bool strike(const struct sweep *sweep, struct stage *stage, enum cl_call call, size_t n,
                   const struct fault_error *e) {
    test_note("%s: %s number %zu fails with %d", sweep->name, cl_call_names[call], n, (int)e->error);
    if (!sweep->shared) {
        stage->context = NULL;
    } else if (is_query(call)) { /* what is built and tested for another answer stays in the context */
        stage->saboteur->fault(call, n, e->error);
        (void)sweep->play(stage);
        (void)stage->saboteur->disarm();
    }
    struct cl_balance before = stage->saboteur->balance();
    stage->saboteur->fault(call, n, e->error);
    qkv_status status = sweep->play(stage);
    bool fired = stage->saboteur->disarm();
    if (status && !fired) test_fail(__FILE__, __LINE__, "failed for no reason: %s", qkv_error_message());
    if (status) sweep_expect_told(call, e, status);
    if (fired) { /* a compiler's refusal is remembered; all else was that one time's */
        status = sweep->play(stage);
        if (status && !(call == CALL_clBuildProgram && status == QKV_BUILD_FAILED))
            test_fail(__FILE__, __LINE__, "afterwards %s: %s", qkv_status_name(status), qkv_error_message());
    }
    if (!sweep->shared) {
        INSIDE(stage, qkv_context_destroy(stage->context));
        stage->context = NULL;
    }
    struct cl_balance now = stage->saboteur->balance();
    sweep_check_balance(&before, &now);
    return fired;
}

/* Cold contexts take a second on some implementations: for them, and where everything is slow, n grows in leaps. */
static size_t next_call(const struct sweep *sweep, size_t n) {
    bool leaps = test_is_slow() || sweep->depth == EVERY_CALL;
    if (leaps && !test_is_thorough()) return 8 * n + 1;
    return sweep->depth == SAMPLED_CALLS ? 3 * n + 1 : n + 1;
}

void sweep_call(const struct sweep *sweep, struct stage *stage, enum cl_call call) {
    bool one_error = sweep->depth != EVERY_ERROR || test_is_slow();
    size_t turn = 0;
    for (size_t n = test_is_slow() ? 1 + call % 4 : 1;; n = next_call(sweep, n), turn++) {
        bool fired = false;
        for (size_t i = 0; i < NUM_FAULT_ERRORS; i++)
            if (!one_error || i == (turn + call) % NUM_FAULT_ERRORS)
                fired = strike(sweep, stage, call, n, &fault_errors[i]);
        if (!fired || (sweep->depth != EVERY_ERROR && test_is_slow())) return;
    }
}

/* ---- the stage ---- */

void stage_open(struct stage *stage, const struct saboteur *saboteur, struct job *job,
                cl_command_queue_properties properties) {
    cl_int error = CL_SUCCESS;
    cl_device_id device = qkv_context_cl_device(test_context());
    memset(stage, 0, sizeof *stage);
    job_open(job, test_context(), test_queue(), 30);
    test_memory_upload(&job->x);
    stage->saboteur = saboteur;
    stage->job = job;
    stage->queue = clCreateCommandQueue(test_cl_context(), device, properties, &error);
    TEST_CL(error);
    stage->scratch = clCreateBuffer(test_cl_context(), CL_MEM_READ_WRITE, 256, NULL, &error);
    TEST_CL(error);
}

void stage_close(struct stage *stage) {
    TEST_CL(clReleaseMemObject(stage->scratch));
    TEST_CL(clReleaseCommandQueue(stage->queue));
    job_close(stage->job);
}

/* A shared context has built what each solver needs, so that falling back to another one adds nothing to it. */
void stage_share(struct stage *stage) {
    for (size_t i = 0; i < TEST_NUM_SOLVERS; i++) {
        qkv_layer *layer = NULL;
        qkv_layer_desc desc = layer_desc(&stage->job->c, &stage->job->data);
        desc.max_batch = stage->job->c.batch;
        desc.max_seq_q = stage->job->c.seq_q;
        desc.solver = test_solver(i);
        qkv_status status;
        INSIDE(stage, status = qkv_layer_create(&layer, test_context(), &desc));
        if (!test_solver_refused(status, desc.solver)) TEST_OK(status);
        INSIDE(stage, qkv_layer_destroy(layer));
    }
    stage->context = test_context();
}
