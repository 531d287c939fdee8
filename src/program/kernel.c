#include "program/internal.h"

#include <stdlib.h>

qkv_status qkvi_kernel_create(struct qkvi_kernel **out, struct qkvi_programs *programs, const char *stem,
                              const char *options, const char *name) {
    struct qkvi_program_entry *entry;
    qkv_status status = qkvi_program_get(&entry, programs, stem, options);
    if (status) return status;
    struct qkvi_kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel) return qkvi_fail_memory("kernel");
    if (pthread_mutex_init(&kernel->lock, NULL) != 0) {
        free(kernel);
        return qkvi_fail_memory("kernel");
    }
    kernel->name = name;
    status = qkvi_module_kernel(&kernel->kernel, entry->program, name);
    if (status) {
        qkvi_kernel_destroy(kernel);
        return status;
    }
    kernel->group_limit = qkvi_module_kernel_group_limit(programs->rt, kernel->kernel);
    kernel->local_bytes = qkvi_module_kernel_local_bytes(programs->rt, kernel->kernel);
    kernel->most_arguments = programs->limits.max_arguments;
    *out = kernel;
    return QKV_OK;
}

void qkvi_kernel_destroy(struct qkvi_kernel *kernel) {
    if (!kernel) return;
    qkvi_module_kernel_release(kernel->kernel);
    (void)pthread_mutex_destroy(&kernel->lock);
    free(kernel);
}

size_t qkvi_kernel_group(const struct qkvi_kernel *kernel, size_t most) {
    return kernel->group_limit < most ? kernel->group_limit : most;
}

/* Each lies at a multiple of its own size. What a buffer or local memory takes is a pointer. */
static size_t argument_bytes(const struct qkvi_arg *args, size_t num_args) {
    size_t bytes = 0;
    for (size_t i = 0; i < num_args; i++) {
        const size_t size = args[i].value ? args[i].size : sizeof(cl_mem);
        bytes = qkvi_round_up(bytes, size) + size;
    }
    return bytes;
}

/* A driver's own word for it may be that of a lost device. */
static qkv_status check_arguments(const struct qkvi_kernel *kernel, const struct qkvi_arg *args, size_t num_args) {
    const size_t bytes = argument_bytes(args, num_args);
    if (bytes <= kernel->most_arguments) return QKV_OK;
    return qkvi_fail(QKV_UNSUPPORTED, "kernel %s takes %zu bytes of arguments, the device %zu at most", kernel->name,
                     bytes, kernel->most_arguments);
}

qkv_status qkvi_kernel_run(struct qkvi_kernel *kernel, struct qkvi_chain *chain, const struct qkvi_arg *args,
                           size_t num_args, cl_uint dims, const size_t *global, const size_t *local) {
    qkv_status status = check_arguments(kernel, args, num_args);
    if (status) return status;
    (void)pthread_mutex_lock(&kernel->lock);
    status =
        qkvi_chain_launch(chain, kernel->kernel, kernel->name, args, num_args, dims, global, local, kernel->any_group);
    (void)pthread_mutex_unlock(&kernel->lock);
    return status;
}
