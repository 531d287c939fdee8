#include "api/internal.h"

#include <stdlib.h>
#include <string.h>

qkv_context *qkvi_context_retain(qkv_context *context) {
    atomic_fetch_add(&context->references, 1);
    return context;
}

void qkv_context_destroy(qkv_context *context) {
    if (!context || atomic_fetch_sub(&context->references, 1) != 1) return;
    qkvi_programs_close(&context->programs);
    qkvi_runtime_close(&context->rt);
    free(context);
}

static qkv_status read_gemm(bool *automatic, bool *clblast, const char *given) {
    const char *gemm = given && *given ? given : getenv("QKV_GEMM");
    const char *source = given && *given ? "options.gemm" : "environment variable QKV_GEMM";
    *clblast = gemm && !strcmp(gemm, "clblast");
    *automatic = !gemm || !*gemm || !strcmp(gemm, "auto");
    if (*automatic || *clblast || !strcmp(gemm, "native")) return QKV_OK;
    return qkvi_fail(QKV_INVALID_ARGUMENT, "%s is \"%s\"; it must be auto, native or clblast", source, gemm);
}

struct settings {
    struct qkvi_choice choice;
    struct qkvi_log log;
    struct qkvi_observer observer;
    bool gemm_auto;
    const char *cache_dir; /* the caller's or the environment's, NULL or "" for none */
};

static qkv_status read_options(struct settings *out, const qkv_context_options *given) {
    qkv_context_options options = QKV_CONTEXT_OPTIONS_INIT;
    qkv_status status = given ? qkvi_struct_read(&options, sizeof options, given, "options") : QKV_OK;
    if (status) return status;
    bool given_solver = options.solver && *options.solver;
    status = qkvi_choice_parse(&out->choice, NULL, given_solver ? options.solver : getenv("QKV_SOLVER"),
                               given_solver ? "options.solver" : "environment variable QKV_SOLVER");
    if (!status) status = read_gemm(&out->gemm_auto, &out->choice.clblast, options.gemm);
    out->cache_dir = options.cache_dir ? options.cache_dir : getenv("QKV_CACHE_DIR");
    out->log = (struct qkvi_log){options.log, options.log_user};
    out->observer = (struct qkvi_observer){options.kernel, options.kernel_user};
    return status;
}

/* The runtime is open; on failure it is closed. */
static qkv_status finish(qkv_context **out, qkv_context *context, const struct settings *settings) {
    context->choice = settings->choice;
    context->gemm_auto = settings->gemm_auto;
    atomic_init(&context->clblast_faster, false);
    context->rt.observer = settings->observer;
    qkv_status status = qkvi_programs_open(&context->programs, &context->rt);
    if (status) {
        qkvi_runtime_close(&context->rt);
        return status;
    }
    qkvi_cache_open(&context->programs, settings->cache_dir);
    atomic_init(&context->references, 1);
    const qkv_device_info *info = &context->rt.info;
    qkvi_log(&context->rt.log, QKV_LOG_INFO, "device %s%s%s [%s], %s, driver %s, %u compute units", info->selector,
             *info->selector ? " " : "", info->name, info->platform_name, qkv_device_kind_name(info->kind),
             info->driver_version, info->compute_units);
    *out = context;
    return QKV_OK;
}

static qkv_status open_selected(struct qkvi_runtime *rt, const char *selector, const struct qkvi_log *log,
                                const char *cache_dir) {
    qkv_device_list *list;
    size_t index;
    qkv_status status = qkvi_list_create(&list, cache_dir);
    if (status) return status;
    status = qkv_device_list_select(&index, list, selector);
    const qkv_device_info *chosen = status ? NULL : qkv_device_list_device(list, index);
    if (!status) status = qkvi_runtime_open(rt, chosen->device_id, log);
    if (!status && !qkvi_device_adopt(&rt->info, chosen)) {
        qkvi_runtime_close(rt);
        status = qkvi_fail_memory("context");
    }
    qkv_device_list_destroy(list);
    return status;
}

qkv_status qkv_context_create(qkv_context **out, const char *selector, const qkv_context_options *options) {
    struct settings settings;
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    qkv_status status = read_options(&settings, options);
    if (status) return status;
    qkv_context *context = calloc(1, sizeof *context);
    if (!context) return qkvi_fail_memory("context");
    status = open_selected(&context->rt, selector, &settings.log, settings.cache_dir);
    if (!status) status = finish(out, context, &settings);
    if (status) free(context);
    return status;
}

qkv_status qkv_context_wrap(qkv_context **out, cl_context cl, cl_device_id device, cl_command_queue queue,
                            const qkv_context_options *options) {
    struct settings settings;
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    if (!cl) return qkvi_fail(QKV_INVALID_ARGUMENT, "context is NULL");
    if (!device) return qkvi_fail(QKV_INVALID_ARGUMENT, "device is NULL");
    qkv_status status = read_options(&settings, options);
    if (status) return status;
    qkv_context *context = calloc(1, sizeof *context);
    if (!context) return qkvi_fail_memory("context");
    status = qkvi_runtime_wrap(&context->rt, cl, device, queue, &settings.log);
    if (!status) status = finish(out, context, &settings);
    if (status) free(context);
    return status;
}

cl_context qkv_context_cl_context(const qkv_context *context) {
    return context ? context->rt.context : NULL;
}

cl_device_id qkv_context_cl_device(const qkv_context *context) {
    return context ? context->rt.device : NULL;
}

cl_command_queue qkv_context_cl_queue(const qkv_context *context) {
    return context ? context->rt.queue : NULL;
}

const qkv_device_info *qkv_context_device(const qkv_context *context) {
    return context ? &context->rt.info : NULL;
}
