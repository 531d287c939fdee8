/* Contexts: selectors, options, the environment, logs, workspaces, lifetimes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/attention_case.h"
#include "support/buffers.h"
#include "support/compare.h"

static qkv_linear_desc linear_desc(const qkv_linear_output *output) {
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    desc.in_features = 2, desc.num_outputs = 1, desc.outputs = output;
    desc.layout = QKV_WEIGHT_IN_OUT;
    return desc;
}

static const float example[] = {1, 10, 0, -1};

/* y = x W on any context; the test's own buffers, so that nothing of the shared context is used. */
static void run_example(qkv_linear *linear, cl_context context, cl_command_queue queue, qkv_workspace *workspace) {
    static const size_t shape[] = {1, 2};
    float values[] = {2, 3}, y[2];
    struct test_memory memory;
    qkv_tensor x, out;
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    test_memory_create_in(&memory, context, queue, 4 * sizeof(float));
    TEST_OK(qkv_tensor_dense(&x, memory.mem, QKV_F32, 2, shape));
    out = x;
    out.offset = 2;
    test_memory_put(&memory, &x, values);
    test_memory_allow(&memory, &out);
    test_memory_upload(&memory);
    args.x = &x, args.outputs[0] = &out, args.workspace = workspace;
    TEST_OK(qkv_linear_run(linear, queue, &args, 0, NULL, NULL));
    TEST_DOWNLOAD(&memory);
    test_memory_get(memory.result, &out, y);
    TEST_TRUE(y[0] == 2 && y[1] == 17);
    test_memory_free(&memory);
}

START_TEST(what_a_context_tells) {
    const qkv_device_info *info = qkv_context_device(test_context());
    cl_device_id device = NULL;
    cl_context context = NULL;
    TEST_TRUE(info && info->name[0] && info->platform_name[0] && info->reason && info->usable == 1);
    TEST_TRUE(info->device_id == qkv_context_cl_device(test_context()));
    TEST_CL(clGetCommandQueueInfo(test_queue(), CL_QUEUE_DEVICE, sizeof device, &device, NULL));
    TEST_CL(clGetCommandQueueInfo(test_queue(), CL_QUEUE_CONTEXT, sizeof context, &context, NULL));
    TEST_TRUE(device == info->device_id && context == test_cl_context());
    qkv_context *same = NULL;
    TEST_OK(qkv_context_create(&same, info->selector, NULL));
    TEST_TRUE(qkv_context_cl_device(same) == info->device_id);
    ck_assert_str_eq(qkv_context_device(same)->name, info->name);
    qkv_context_destroy(same);
    qkv_context_destroy(NULL);
}
END_TEST

START_TEST(device_list) {
    qkv_device_list *list = NULL;
    size_t index = 99, num_auto = 0;
    TEST_OK(qkv_device_list_create(&list));
    size_t count = qkv_device_list_num_devices(list), platforms = qkv_device_list_num_platforms(list), sum = 0;
    TEST_TRUE(count >= 1 && platforms >= 1);
    TEST_TRUE(qkv_device_list_device(list, count) == NULL && qkv_device_list_platform(list, platforms) == NULL);
    for (size_t i = 0; i < platforms; i++)
        sum += qkv_device_list_platform(list, i)->num_devices;
    TEST_TRUE(sum == count);
    for (size_t i = 0; i < count; i++) {
        const qkv_device_info *info = qkv_device_list_device(list, i);
        size_t at = 99;
        TEST_TRUE(qkv_device_kind_name(info->kind)[0] != '\0');
        num_auto += info->is_auto ? 1u : 0u;
        cl_uint vendor = 0;
        TEST_CL(clGetDeviceInfo(info->device_id, CL_DEVICE_VENDOR_ID, sizeof vendor, &vendor, NULL));
        TEST_TRUE(info->vendor_id == vendor);
        if (!info->usable) continue;
        TEST_OK(qkv_device_list_select(&at, list, info->selector));
        TEST_TRUE(at == i);
    }
    TEST_TRUE(num_auto == 1);
    TEST_OK(qkv_device_list_select(&index, list, "auto"));
    TEST_TRUE(qkv_device_list_device(list, index)->is_auto);
    TEST_FAILS(QKV_NO_DEVICE, NULL, qkv_device_list_select(&index, list, "no such device"));
    TEST_TRUE(strstr(qkv_error_message(), "no such device") != NULL);
    TEST_TRUE(strstr(qkv_error_message(), qkv_device_list_device(list, 0)->name) != NULL);
    TEST_FAILS(QKV_NO_DEVICE, NULL, qkv_device_list_select(&index, list, "97:3"));
    TEST_TRUE(qkv_device_list_device(list, index)->is_auto); /* untouched on failure */
    qkv_device_list_destroy(list);
    qkv_device_list_destroy(NULL);
}
END_TEST

/* An argument beats QKV_DEVICE, which beats auto. */
START_TEST(selectors) {
    qkv_context *context = NULL;
    const char *before = getenv("QKV_DEVICE");
    char saved[256] = "";
    snprintf(saved, sizeof saved, "%s", before ? before : "");
    const char *selector = qkv_context_device(test_context())->selector;
    TEST_FAILS(QKV_NO_DEVICE, NULL, qkv_context_create(&context, "no such device", NULL));
    setenv("QKV_DEVICE", "no such device", 1);
    TEST_FAILS(QKV_NO_DEVICE, NULL, qkv_context_create(&context, NULL, NULL));
    TEST_FAILS(QKV_NO_DEVICE, NULL, qkv_context_create(&context, "", NULL));
    TEST_TRUE(context == NULL);
    qkv_status status = qkv_context_create(&context, selector, NULL);
    if (before)
        setenv("QKV_DEVICE", saved, 1);
    else
        unsetenv("QKV_DEVICE");
    TEST_OK(status);
    qkv_context_destroy(context);
}
END_TEST

struct log_lines {
    size_t count;
    size_t levels[5];
};

static void count_line(void *user, qkv_log_level level, const char *message) {
    struct log_lines *lines = user;
    size_t length = strlen(message);
    TEST_TRUE(level >= QKV_LOG_ERROR && level <= QKV_LOG_DEBUG);
    TEST_TRUE(length > 0 && message[length - 1] != '\n');
    lines->count++;
    lines->levels[level]++;
}

static qkv_context *context_with(const qkv_context_options *options) {
    qkv_context *context = NULL;
    TEST_OK(qkv_context_create(&context, qkv_context_device(test_context())->selector, options));
    return context;
}

START_TEST(log_hears_of_plans) {
    struct log_lines lines = {0};
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_linear_output output = {.out_features = 2, .weight = example};
    qkv_linear_desc desc = linear_desc(&output);
    qkv_linear *linear = NULL;
    options.log = count_line, options.log_user = &lines;
    qkv_context *context = context_with(&options);
    size_t before = lines.count;
    TEST_OK(qkv_linear_create(&linear, context, &desc));
    TEST_TRUE(lines.count > before);
    TEST_TRUE(lines.levels[QKV_LOG_INFO] + lines.levels[QKV_LOG_DEBUG] > 0 && lines.levels[QKV_LOG_ERROR] == 0);
    qkv_linear_destroy(linear);
    qkv_context_destroy(context);
}
END_TEST

static qkv_status create_both(qkv_context *context, qkv_linear **linear, qkv_attention **attention) {
    qkv_linear_output output = {.out_features = 2, .weight = example};
    qkv_linear_desc desc = linear_desc(&output);
    qkv_attention_desc attend = QKV_ATTENTION_DESC_INIT;
    attend.head_dim = 8, attend.num_heads = 2, attend.max_batch = attend.max_seq_q = attend.max_seq_kv = 4;
    qkv_status status = qkv_linear_create(linear, context, &desc);
    return status != QKV_OK ? status : qkv_attention_create(attention, context, &attend);
}

/* A forced solver's name is in the description of what it made. */
static void check_forced(const char *text, const char *linear_name, const char *attention_name, bool by_environment) {
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_linear *linear = NULL;
    qkv_attention *attention = NULL;
    test_note("solver \"%s\", by environment %d", text, by_environment);
    options.solver = by_environment ? NULL : text;
    if (by_environment) setenv("QKV_SOLVER", text, 1);
    qkv_context *context = context_with(&options);
    qkv_status status = create_both(context, &linear, &attention);
    unsetenv("QKV_SOLVER");
    if (!test_solver_refused(status, text)) {
        TEST_OK(status);
        if (linear_name) TEST_TRUE(test_has_word(qkv_linear_describe(linear), linear_name));
        if (attention_name) TEST_TRUE(test_has_word(qkv_attention_describe(attention), attention_name));
        qkv_workspace *workspace = NULL;
        TEST_OK(qkv_workspace_create(&workspace, context, qkv_linear_workspace_bytes(linear)));
        run_example(linear, qkv_context_cl_context(context), qkv_context_cl_queue(context), workspace);
        qkv_workspace_destroy(workspace);
    }
    qkv_attention_destroy(attention);
    qkv_linear_destroy(linear);
    qkv_context_destroy(context);
}

START_TEST(forced_solvers) {
    unsetenv("QKV_SOLVER");
    for (int by_environment = 0; by_environment < 2; by_environment++) {
        check_forced("", NULL, NULL, by_environment);
        check_forced("plain", "plain", "plain", by_environment);
        check_forced("vector", "vector", "vector", by_environment);
        check_forced("linear=vector,attention=plain", "vector", "plain", by_environment);
        check_forced("attention=vector", NULL, "vector", by_environment);
        check_forced("linear=plain", "plain", NULL, by_environment);
    }
}
END_TEST

/* Options beat the environment; a description's own solver beats both. */
START_TEST(precedence_of_solvers) {
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_linear_output output = {.out_features = 2, .weight = example};
    qkv_linear_desc desc = linear_desc(&output);
    qkv_linear *linear = NULL;
    options.solver = "plain";
    setenv("QKV_SOLVER", "vector", 1);
    qkv_context *context = context_with(&options);
    unsetenv("QKV_SOLVER");
    TEST_OK(qkv_linear_create(&linear, context, &desc));
    TEST_TRUE(test_has_word(qkv_linear_describe(linear), "plain"));
    qkv_linear_destroy(linear);
    desc.solver = "vector";
    qkv_status status = qkv_linear_create(&linear, context, &desc);
    if (!test_solver_refused(status, "vector")) {
        TEST_OK(status);
        TEST_TRUE(test_has_word(qkv_linear_describe(linear), "vector"));
        qkv_linear_destroy(linear);
    }
    qkv_context_destroy(context);
}
END_TEST

/* An unknown name is an error, of the context or of the plan, that lists the known ones. */
START_TEST(unknown_solver) {
    static const char *const names[] = {"quick", "linear=quick", "attention=quick,linear=plain", "dance=plain"};
    for (size_t n = 0; n < TEST_COUNT(names); n++) {
        qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
        qkv_context *context = NULL;
        qkv_linear *linear = NULL;
        qkv_attention *attention = NULL;
        test_note("solver %s", names[n]);
        options.solver = names[n];
        qkv_status status = qkv_context_create(&context, qkv_context_device(test_context())->selector, &options);
        if (status == QKV_OK) status = create_both(context, &linear, &attention);
        TEST_TRUE(status == QKV_INVALID_ARGUMENT);
        if (n < 3)
            TEST_TRUE(test_has_word(qkv_error_message(), "quick") && test_has_word(qkv_error_message(), "vector") &&
                      test_has_word(qkv_error_message(), "plain"));
        else
            TEST_TRUE(test_has_word(qkv_error_message(), "dance"));
        qkv_linear_destroy(linear);
        qkv_attention_destroy(attention);
        qkv_context_destroy(context);
    }
    qkv_linear_output output = {.out_features = 2, .weight = example};
    qkv_linear_desc desc = linear_desc(&output);
    qkv_linear *linear = NULL;
    desc.solver = "quick";
    TEST_FAILS(QKV_INVALID_ARGUMENT, "plain", qkv_linear_create(&linear, test_context(), &desc));
}
END_TEST

START_TEST(gemm_backends) {
    static const struct {
        const char *gemm;
        qkv_status status;
    } cases[] = {{NULL, QKV_OK},
                 {"auto", QKV_OK},
                 {"native", QKV_OK},
                 {"clblast", QKV_OK},
                 {"abacus", QKV_INVALID_ARGUMENT}};
    for (size_t n = 0; n < TEST_COUNT(cases); n++) {
        qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
        qkv_context *context = NULL;
        test_note("gemm %s", cases[n].gemm ? cases[n].gemm : "NULL");
        options.gemm = cases[n].gemm;
        qkv_status status = qkv_context_create(&context, qkv_context_device(test_context())->selector, &options);
        if (cases[n].status == QKV_OK)
            TEST_OK(status);
        else
            TEST_FAILS(cases[n].status, "gemm", status);
        qkv_context_destroy(context);
        context = NULL;
        if (!cases[n].gemm) continue;
        setenv("QKV_GEMM", cases[n].gemm, 1);
        status = qkv_context_create(&context, qkv_context_device(test_context())->selector, NULL);
        unsetenv("QKV_GEMM");
        TEST_TRUE(status == cases[n].status);
        qkv_context_destroy(context);
    }
}
END_TEST

/* The order of destruction is free: the context goes first, the plan still runs. */
START_TEST(context_destroyed_first) {
    qkv_context *context = context_with(NULL);
    qkv_linear *linear = NULL;
    qkv_attention *attention = NULL;
    qkv_workspace *workspace = NULL;
    TEST_OK(create_both(context, &linear, &attention));
    size_t bytes = 1024 + qkv_linear_workspace_bytes(linear);
    TEST_OK(qkv_workspace_create(&workspace, context, bytes));
    cl_context cl = qkv_context_cl_context(context);
    cl_command_queue queue = qkv_context_cl_queue(context);
    TEST_CL(clRetainContext(cl));
    TEST_CL(clRetainCommandQueue(queue));
    qkv_context_destroy(context);
    run_example(linear, cl, queue, workspace);
    TEST_TRUE(qkv_workspace_bytes(workspace) == bytes && qkv_attention_describe(attention)[0] != '\0');
    qkv_linear_destroy(linear);
    qkv_attention_destroy(attention);
    qkv_workspace_destroy(workspace);
    TEST_CL(clReleaseCommandQueue(queue));
    TEST_CL(clReleaseContext(cl));
}
END_TEST

START_TEST(workspaces) {
    qkv_workspace *workspace = NULL;
    cl_int error = CL_SUCCESS;
    TEST_OK(qkv_workspace_create(&workspace, test_context(), 0));
    TEST_TRUE(qkv_workspace_bytes(workspace) == 0);
    qkv_workspace_destroy(workspace);
    TEST_OK(qkv_workspace_create(&workspace, test_context(), 1000));
    TEST_TRUE(qkv_workspace_bytes(workspace) == 1000);
    qkv_workspace_destroy(workspace);
    qkv_workspace_destroy(NULL);
    workspace = NULL;
    TEST_FAILS(QKV_OUT_OF_DEVICE_MEMORY, NULL, qkv_workspace_create(&workspace, test_context(), SIZE_MAX / 2));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "out", qkv_workspace_create(NULL, test_context(), 1));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "context", qkv_workspace_create(&workspace, NULL, 1));
    cl_mem buffer = clCreateBuffer(test_cl_context(), CL_MEM_READ_WRITE, 1024, NULL, &error);
    TEST_CL(error);
    TEST_FAILS(QKV_INVALID_ARGUMENT, "offset", qkv_workspace_wrap(&workspace, test_context(), buffer, 100, 100));
    TEST_FAILS(QKV_OUT_OF_BOUNDS, NULL, qkv_workspace_wrap(&workspace, test_context(), buffer, 512, 513));
    TEST_FAILS(QKV_OUT_OF_BOUNDS, NULL, qkv_workspace_wrap(&workspace, test_context(), buffer, 256, SIZE_MAX - 10));
    TEST_FAILS(QKV_INVALID_ARGUMENT, "buffer", qkv_workspace_wrap(&workspace, test_context(), NULL, 0, 1));
    TEST_TRUE(workspace == NULL);
    TEST_OK(qkv_workspace_wrap(&workspace, test_context(), buffer, 512, 512));
    TEST_CL(clReleaseMemObject(buffer)); /* retained by the workspace */
    TEST_TRUE(qkv_workspace_bytes(workspace) == 512);
    qkv_workspace_destroy(workspace);
}
END_TEST

/* A run stays inside its part of the caller's buffer. */
START_TEST(wrapped_workspace_is_not_left) {
    for (size_t s = 0; s < TEST_NUM_SOLVERS; s++) {
        struct attention_case c = {.batch = 1,
                                   .num_heads = 2,
                                   .num_kv_heads = 1,
                                   .seq_q = 1,
                                   .seq_kv = test_cap(1500),
                                   .head_dim = 16,
                                   .value_dim = 16};
        test_note("solver %zu", s);
        qkv_attention *plan = attention_plan(&c, test_solver(s));
        if (!plan) continue;
        size_t bytes = qkv_attention_workspace_bytes(plan), elements = 16 * (2 + 2 * c.seq_kv + 2);
        struct test_memory scratch, memory;
        qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
        const size_t q[] = {1, 2, 1, 16}, k[] = {1, 1, c.seq_kv, 16};
        qkv_tensor views[4];
        test_memory_create(&scratch, 512 + bytes + 256);
        memset(scratch.writable + 512, 1, bytes);
        test_memory_upload(&scratch);
        test_memory_create(&memory, elements * sizeof(float));
        memset(memory.image, 0, memory.bytes);
        memset(memory.writable, 1, memory.bytes);
        test_memory_upload(&memory);
        for (size_t i = 0; i < 4; i++)
            TEST_OK(qkv_tensor_dense(&views[i], memory.mem, QKV_F32, 4, i % 3 ? k : q));
        views[1].offset = 32, views[2].offset = 32 + 16 * c.seq_kv, views[3].offset = 32 + 32 * c.seq_kv;
        args.q = &views[0], args.k = &views[1], args.v = &views[2], args.out = &views[3];
        TEST_OK(qkv_workspace_wrap(&args.workspace, test_context(), scratch.mem, 512, bytes));
        TEST_OK(qkv_attention_run(plan, test_queue(), &args, 0, NULL, NULL));
        TEST_DOWNLOAD(&scratch);
        qkv_workspace_destroy(args.workspace);
        test_memory_free(&scratch);
        test_memory_free(&memory);
        qkv_attention_destroy(plan);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("context");
    TCase *tcase = tcase_create("context");
    tcase_add_test(tcase, what_a_context_tells);
    tcase_add_test(tcase, device_list);
    tcase_add_test(tcase, selectors);
    tcase_add_test(tcase, log_hears_of_plans);
    tcase_add_test(tcase, forced_solvers);
    tcase_add_test(tcase, precedence_of_solvers);
    tcase_add_test(tcase, unknown_solver);
    tcase_add_test(tcase, gemm_backends);
    tcase_add_test(tcase, context_destroyed_first);
    tcase_add_test(tcase, workspaces);
    tcase_add_test(tcase, wrapped_workspace_is_not_left);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
