/* Several threads on one context: plans are shared, and made while others run. */
#include "support/interpose.h"

#include <pthread.h>

#include "support/compare.h"
#include "support/layer_job.h"

static cl_command_queue make_queue(void) {
    cl_int error = CL_SUCCESS;
    cl_command_queue queue = clCreateCommandQueue(test_cl_context(), qkv_context_cl_device(test_context()), 0, &error);
    TEST_CL(error);
    return queue;
}

/* true after a counted skip. */
static bool one_at_a_time(void) {
    if (test_is_simulator()) test_skip("this simulator cannot run two kernels at once, whoever starts them");
    return test_is_simulator();
}

struct worker {
    struct job *job;
    cl_command_queue queue;
    qkv_status status;
    cl_int error;
    char message[256];
};

/* Check's assertions belong to the main thread: a worker only keeps what went wrong. */
static void *work(void *argument) {
    struct worker *worker = argument;
    for (size_t n = 0; n < test_cases(30) && worker->status == QKV_OK && worker->error == CL_SUCCESS; n++) {
        cl_event done = NULL;
        worker->status = qkv_layer_run(worker->job->layer, worker->queue, &worker->job->args, 0, NULL, &done);
        if (worker->status != QKV_OK) {
            strncpy(worker->message, qkv_error_message(), sizeof worker->message - 1);
            break;
        }
        worker->error = clWaitForEvents(1, &done);
        clReleaseEvent(done);
    }
    return NULL;
}

/* Two threads, two queues; even turns: one plan shared, odd turns: a plan each, on one context. */
START_TEST(two_at_once) {
    if (one_at_a_time()) return;
    struct job jobs[2];
    struct worker workers[2];
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        job_open(&jobs[i], test_context(), test_queue(), 10 + i);
        test_memory_upload(&jobs[i].x);
        workers[i] = (struct worker){.job = &jobs[i], .queue = make_queue()};
    }
    qkv_layer *second = jobs[1].layer;
    if (_i == 0) { /* the second job then computes the first's layer, into its own output */
        jobs[1].layer = jobs[0].layer;
        memcpy(jobs[1].x.image, jobs[0].x.image, jobs[0].x.bytes);
        test_memory_upload(&jobs[1].x);
    }
    for (size_t i = 0; i < 2; i++)
        TEST_TRUE(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    for (size_t i = 0; i < 2; i++)
        TEST_TRUE(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < 2; i++) {
        TEST_CL(workers[i].error);
        if (workers[i].status != QKV_OK)
            test_fail(__FILE__, __LINE__, "thread %zu: %s: %s", i, qkv_status_name(workers[i].status),
                      workers[i].message);
        TEST_CL(clFinish(workers[i].queue));
        TEST_CL(clReleaseCommandQueue(workers[i].queue));
    }
    job_check(&jobs[0]);
    if (_i == 0) {
        struct layer_reference own_reference = jobs[1].reference;
        jobs[1].reference = jobs[0].reference;
        job_check(&jobs[1]);
        jobs[1].reference = own_reference;
    } else {
        job_check(&jobs[1]);
    }
    jobs[1].layer = second;
    job_close(&jobs[0]);
    job_close(&jobs[1]);
}
END_TEST

static void *create_plans(void *argument) {
    struct worker *worker = argument;
    for (size_t n = 0; n < test_cases(6) && worker->status == QKV_OK; n++) {
        qkv_layer_desc desc = layer_desc(&worker->job->c, &worker->job->data);
        qkv_layer *layer = NULL;
        desc.max_batch = 2, desc.max_seq_q = 9;
        worker->status = qkv_layer_create(&layer, test_context(), &desc);
        if (worker->status != QKV_OK) strncpy(worker->message, qkv_error_message(), sizeof worker->message - 1);
        qkv_layer_destroy(layer);
    }
    return NULL;
}

/* One thread makes and destroys plans on the context while another runs. */
START_TEST(creating_while_running) {
    if (one_at_a_time()) return;
    struct job job;
    pthread_t threads[2];
    job_open(&job, test_context(), test_queue(), 20);
    test_memory_upload(&job.x);
    struct worker runner = {.job = &job, .queue = make_queue()}, maker = {.job = &job};
    TEST_TRUE(pthread_create(&threads[0], NULL, work, &runner) == 0);
    TEST_TRUE(pthread_create(&threads[1], NULL, create_plans, &maker) == 0);
    TEST_TRUE(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
    if (runner.status != QKV_OK || maker.status != QKV_OK)
        test_fail(__FILE__, __LINE__, "run: %s; create: %s", runner.message, maker.message);
    TEST_CL(runner.error);
    TEST_CL(clFinish(runner.queue));
    TEST_CL(clReleaseCommandQueue(runner.queue));
    job_check(&job);
    job_close(&job);
}
END_TEST

/* ---- more threads than cores, all beginning at once ---- */

#define NUM_THREADS 4

struct crowd {
    qkv_context *context;
    qkv_layer *layer; /* NULL: each makes its own, again and again */
    atomic_bool go;
};

struct member {
    struct crowd *crowd;
    struct job job;
    cl_command_queue queue;
    size_t index, rounds;
    float *got;
    qkv_status status;
    cl_int error;
    char message[256];
};

/* A failure's message belongs to the thread it happened on. */
static qkv_status provoke(const struct member *m) {
    char number[16];
    qkv_tensor slice;
    snprintf(number, sizeof number, "%zu", 100 + m->index);
    if (qkv_tensor_slice(&slice, &m->job.x_view, 100 + m->index, 0, 1) != QKV_INVALID_SHAPE)
        return QKV_SELF_TEST_FAILED;
    sched_yield();
    return strstr(qkv_error_message(), number) ? QKV_OK : QKV_SELF_TEST_FAILED;
}

static qkv_status run_once(struct member *m, const qkv_layer *layer) {
    qkv_layer_args args = m->job.args;
    qkv_workspace *workspace = NULL;
    cl_event done = NULL;
    qkv_status status = qkv_workspace_create(&workspace, m->crowd->context, qkv_layer_workspace_bytes(layer));
    args.workspace = workspace;
    if (!status) status = qkv_layer_run(layer, m->queue, &args, 0, NULL, &done);
    if (!status) {
        m->error = clWaitForEvents(1, &done);
        (void)clReleaseEvent(done);
    }
    qkv_workspace_destroy(workspace);
    return status;
}

static qkv_status live_once(struct member *m) {
    qkv_layer *layer = NULL;
    qkv_layer_desc desc = layer_desc(&m->job.c, &m->job.data);
    desc.max_batch = m->job.c.batch;
    desc.max_seq_q = m->job.c.seq_q;
    qkv_status status = qkv_layer_create(&layer, m->crowd->context, &desc);
    if (!status) status = run_once(m, layer);
    qkv_layer_destroy(layer);
    if (status || m->index % 2 == 0) return status;
    qkv_host_layer_args args = QKV_HOST_LAYER_ARGS_INIT;
    args.batch = m->job.c.batch;
    args.seq_q = m->job.c.seq_q;
    args.x = m->job.data.x;
    args.causal = m->job.c.causal;
    return qkv_host_layer(m->got, m->crowd->context, &desc, &args);
}

static void *live(void *argument) {
    struct member *m = argument;
    while (!atomic_load(&m->crowd->go))
        sched_yield();
    for (size_t n = 0; n < m->rounds && !m->status && !m->error; n++) {
        m->status = m->crowd->layer ? run_once(m, m->crowd->layer) : live_once(m);
        if (m->status) snprintf(m->message, sizeof m->message, "%s", qkv_error_message());
        if (!m->status) m->status = provoke(m);
    }
    return NULL;
}

static void crowd_run(struct crowd *crowd, struct member *members) {
    pthread_t threads[NUM_THREADS];
    for (size_t i = 0; i < NUM_THREADS; i++)
        TEST_TRUE(pthread_create(&threads[i], NULL, live, &members[i]) == 0);
    atomic_store(&crowd->go, true);
    for (size_t i = 0; i < NUM_THREADS; i++)
        TEST_TRUE(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < NUM_THREADS; i++) {
        TEST_CL(members[i].error);
        if (members[i].status)
            test_fail(__FILE__, __LINE__, "thread %zu: %s: %s", i, qkv_status_name(members[i].status),
                      members[i].message);
    }
}

/* Members with data of their own, or all with the first one's where they share its layer. */
static void members_open(struct member *members, struct crowd *crowd, bool same, size_t rounds) {
    memset(members, 0, NUM_THREADS * sizeof *members);
    for (size_t i = 0; i < NUM_THREADS; i++) {
        struct member *m = &members[i];
        *m = (struct member){.crowd = crowd, .index = i, .rounds = rounds, .queue = make_queue()};
        job_open(&m->job, test_context(), test_queue(), same ? 40 : 40 + i);
        m->got = test_alloc(qkv_tensor_count(&m->job.out_view), sizeof(float));
        test_memory_upload(&m->job.x);
    }
}

static void members_close(struct member *members, bool host) {
    for (size_t i = 0; i < NUM_THREADS; i++) {
        struct member *m = &members[i];
        job_check(&m->job);
        if (host && i % 2 == 1)
            TEST_CLOSE("host layer", m->got, m->job.reference.out, m->job.reference.dout,
                       qkv_tensor_count(&m->job.out_view));
        free(m->got);
        TEST_CL(clReleaseCommandQueue(m->queue));
        job_close(&m->job);
    }
}

START_TEST(one_plan_four_queues) {
    if (one_at_a_time()) return;
    struct crowd crowd = {.context = test_context()};
    struct member members[NUM_THREADS];
    members_open(members, &crowd, true, test_cases(40));
    crowd.layer = members[0].job.layer;
    interposed_hesitates = true;
    crowd_run(&crowd, members);
    interposed_hesitates = false;
    members_close(members, false);
}
END_TEST

/* A context that has built nothing: probes, builds and self-tests meet. */
START_TEST(everything_at_once) {
    if (one_at_a_time()) return;
    struct crowd crowd = {0};
    struct member members[NUM_THREADS];
    members_open(members, &crowd, false, test_cases(4));
    TEST_OK(qkv_context_wrap(&crowd.context, test_cl_context(), qkv_context_cl_device(test_context()), NULL, NULL));
    crowd_run(&crowd, members);
    members_close(members, true);
    qkv_context_destroy(crowd.context);
}
END_TEST

static void *open_context(void *argument) {
    struct member *m = argument;
    for (size_t n = 0; n < test_cases(4) && !m->status; n++) {
        qkv_context *context = NULL;
        m->status = qkv_context_create(&context, NULL, NULL);
        if (m->status) snprintf(m->message, sizeof m->message, "%s", qkv_error_message());
        qkv_context_destroy(context);
    }
    return NULL;
}

START_TEST(contexts_at_once) {
    if (one_at_a_time()) return;
    struct member members[NUM_THREADS];
    pthread_t threads[NUM_THREADS];
    memset(members, 0, sizeof members);
    (void)test_context();
    for (size_t i = 0; i < NUM_THREADS; i++)
        TEST_TRUE(pthread_create(&threads[i], NULL, open_context, &members[i]) == 0);
    for (size_t i = 0; i < NUM_THREADS; i++)
        TEST_TRUE(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < NUM_THREADS; i++)
        if (members[i].status)
            test_fail(__FILE__, __LINE__, "thread %zu: %s: %s", i, qkv_status_name(members[i].status),
                      members[i].message);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("threads");
    TCase *tcase = tcase_create("threads");
    tcase_add_loop_test(tcase, two_at_once, 0, 2);
    tcase_add_test(tcase, creating_while_running);
    tcase_add_test(tcase, one_plan_four_queues);
    tcase_add_test(tcase, everything_at_once);
    tcase_add_test(tcase, contexts_at_once);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
