/* The only folder that calls cl*: devices, buffers, kernels' launch, chains of events. */
#ifndef QKVI_RUNTIME_H
#define QKVI_RUNTIME_H

#include "core/core.h"

/* ---- error.c ---- */
const char *qkvi_cl_error_name(cl_int error);
/* Maps an OpenCL error to a status and records "call: CL_NAME (-n)". */
qkv_status qkvi_cl_fail(cl_int error, const char *call);

/* ---- info.c: queries; numbers are 0 and texts "" where the driver fails to answer ---- */
char *qkvi_device_text(cl_device_id device, cl_device_info name); /* malloc'ed, NULL without memory */
char *qkvi_platform_text(cl_platform_id platform, cl_platform_info name);
uint64_t qkvi_device_number(cl_device_id device, cl_device_info name); /* of 4 or 8 bytes */

/* ---- device.c ---- */
/* What the kernels and solvers may rely on; lowered by test profiles, never raised. */
struct qkvi_limits {
    size_t max_work_group_size; /* along the first axis, and altogether */
    size_t max_group_rows; /* of a work-group's second axis */
    size_t local_memory;   /* bytes */
    size_t max_allocation; /* bytes */
    size_t max_arguments;  /* bytes of a kernel's */
    size_t private_bytes;  /* of arrays that a work-item of a CPU device may declare */
    uint32_t compute_units;
    size_t max_iterations; /* of all loops of one work-item together; SIZE_MAX on sound devices */
    uint32_t vector_width; /* float lanes for vector kernels: 4, 8 or 16 */
    bool cpu;              /* a CPU with a CPU's compiler */
    bool gpu;
    bool simulator;
};
/* What the device says, lowered by the environment (QKV_LIMITS, QKV_VECTOR_WIDTH). */
qkv_status qkvi_limits_read(struct qkvi_limits *limits, const qkv_device_info *info);

/* Fills `info` (texts malloc'ed; qkvi_device_info_free) for one device. */
qkv_status qkvi_device_describe(qkv_device_info *info, cl_device_id device);
void qkvi_device_info_free(qkv_device_info *info);
/* Of the profile in which infinities, NaN and rounding to nearest are optional, and so is long. */
bool qkvi_device_embedded(cl_device_id device);
/* Takes over what only a list knows of the device: selector, verdict, reason, measurement. False without memory. */
bool qkvi_device_adopt(qkv_device_info *info, const qkv_device_info *listed);
/* list.c: qkv_device_list_create() with the measurements in cache_dir; NULL or "" for none. */
qkv_status qkvi_list_create(qkv_device_list **out, const char *cache_dir);
/* identity.c: pci_address and uuid, malloc'ed. False without memory. */
bool qkvi_device_identify(qkv_device_info *info, cl_device_id device);
/* All that a driver's answers may depend on: library version, platform, device, driver. The clock is left out: some
 * drivers report what it is at the moment. */
void qkvi_device_key(struct qkvi_text *out, const qkv_device_info *info);

/* Told of every kernel that a run enqueues; see qkv_context_options. */
struct qkvi_observer {
    qkv_kernel_function function; /* NULL: nobody listens */
    void *user;
};

/* One device in one OpenCL context. Everything below the api works with this. */
struct qkvi_runtime {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue; /* the context's own or the caller's */
    struct qkvi_limits limits;
    qkv_device_info info;
    struct qkvi_log log;
    struct qkvi_observer observer;
};
qkv_status qkvi_runtime_open(struct qkvi_runtime *rt, cl_device_id device, const struct qkvi_log *log);
qkv_status qkvi_runtime_wrap(struct qkvi_runtime *rt, cl_context context, cl_device_id device, cl_command_queue queue,
                             const struct qkvi_log *log);
void qkvi_runtime_close(struct qkvi_runtime *rt);

/* ---- buffer.c ---- */
/* At least 1 byte is allocated; larger than max_allocation is QKV_OUT_OF_DEVICE_MEMORY, `what` names it. */
qkv_status qkvi_buffer_create(cl_mem *out, const struct qkvi_runtime *rt, size_t bytes, const char *what);
/* With a copy of `bytes`, at least 1, in it: without a command to wait for. */
qkv_status qkvi_buffer_create_from(cl_mem *out, const struct qkvi_runtime *rt, const void *data, size_t bytes,
                                   const char *what);
void qkvi_buffer_release(cl_mem buffer); /* NULL is allowed */
qkv_status qkvi_buffer_retain(cl_mem buffer, const char *name);
/* Blocking, on rt->queue. */
qkv_status qkvi_buffer_write(const struct qkvi_runtime *rt, cl_mem buffer, size_t offset, const void *data,
                             size_t bytes);
qkv_status qkvi_buffer_read(const struct qkvi_runtime *rt, void *data, cl_mem buffer, size_t offset, size_t bytes);
/* Does the buffer belong to rt's context, may kernels read it (or write it), and how large is it? */
qkv_status qkvi_buffer_inspect(size_t *out_bytes, const struct qkvi_runtime *rt, cl_mem buffer, const char *name,
                               bool written);

/* ---- queue.c ---- */
/* QKV_WRONG_CONTEXT unless the queue is of rt's context and device. */
qkv_status qkvi_queue_check(const struct qkvi_runtime *rt, cl_command_queue queue);

/*
 * A run's commands, one after the other. The wait list gates the first, each following one waits for the
 * one before, the caller's event covers the last. On an in-order queue no internal events are made.
 *
 *   qkvi_chain_begin(&chain, observer, queue, num_wait, wait_list, event);    observer: NULL tells nobody
 *   status = solver->run(..., &chain, ...);           any number of qkvi_kernel_run()
 *   return qkvi_chain_end(&chain, status);            on failure waits for what was enqueued
 */
struct qkvi_chain {
    const struct qkvi_observer *observer; /* NULL: nobody listens */
    cl_command_queue queue;
    cl_uint num_wait;
    const cl_event *wait_list;
    cl_event *event; /* the caller's, may be NULL */
    cl_event last;   /* of the latest command, NULL if none or not needed */
    bool in_order;
    size_t num_commands;
};
qkv_status qkvi_chain_begin(struct qkvi_chain *chain, const struct qkvi_observer *observer, cl_command_queue queue,
                            cl_uint num_wait, const cl_event *wait_list, cl_event *event);
/* An empty chain with an event or a wait list enqueues a marker, so that the event exists. */
qkv_status qkvi_chain_end(struct qkvi_chain *chain, qkv_status status);

/* One kernel argument. */
struct qkvi_arg {
    size_t size;
    const void *value; /* NULL with a size: local memory */
};
#define QKVI_ARG(lvalue) ((struct qkvi_arg){sizeof(lvalue), &(lvalue)})
#define QKVI_LOCAL(bytes) ((struct qkvi_arg){(bytes), NULL})

/* Sets all arguments and enqueues. Not thread-safe for one cl_kernel: see qkvi_kernel_run. A global size with a
 * 0 enqueues nothing. any_group: where the driver refuses groups of this size it may choose another one. */
qkv_status qkvi_chain_launch(struct qkvi_chain *chain, cl_kernel kernel, const char *name, const struct qkvi_arg *args,
                             size_t num_args, cl_uint dims, const size_t *global, const size_t *local,
                             bool any_group);
/* What a chain enqueued with an event it was given: keeps the event, tells the observer. */
void qkvi_chain_add(struct qkvi_chain *chain, const char *name, cl_event event);
/* Does the next command need an event: for the caller, for the command after it, or for the observer? */
bool qkvi_chain_needs_event(const struct qkvi_chain *chain);

/* ---- clblast.c ---- */
/* C = A B + beta C, all row-major; offsets and leading dimensions in elements. */
struct qkvi_gemm {
    size_t m, n, k;
    cl_mem a, b, c;
    size_t a_offset, a_ld, b_offset, b_ld, c_offset, c_ld;
    float beta;
};
/* Opened with dlopen at the first call; false, and why, where it cannot be. */
bool qkvi_clblast_available(struct qkvi_text *why);
/* Only where it is available. One call in the process at a time. */
qkv_status qkvi_chain_clblast(struct qkvi_chain *chain, const struct qkvi_gemm *gemm);

/* Blocks until the queue's commands are done (rt->queue only: never the caller's). */
qkv_status qkvi_runtime_finish(const struct qkvi_runtime *rt);
/* Waits for a chain's event, which it releases, unless `status` says that there is none to wait for. A command that fails
 * after it was enqueued is not to be learnt of in another way: clFinish() succeeds then. */
qkv_status qkvi_runtime_wait(const struct qkvi_runtime *rt, cl_event event, qkv_status status);

/* Several implementations are not safe when two threads compile at once: one build at a time in the process, CLBlast's
 * included. */
extern pthread_mutex_t qkvi_build_mutex;

/* ---- kernel objects (module.c): thin, the program folder decides what and when ---- */
/* refused_options: set where the driver did not get as far as the source. */
qkv_status qkvi_module_build(cl_program *out, const struct qkvi_runtime *rt, const char *source, size_t length,
                             const char *options, bool *refused_options, struct qkvi_text *build_log);
void qkvi_module_release(cl_program program);
qkv_status qkvi_module_kernel(cl_kernel *out, cl_program program, const char *name);
void qkvi_module_kernel_release(cl_kernel kernel);
size_t qkvi_module_kernel_group_limit(const struct qkvi_runtime *rt, cl_kernel kernel);
size_t qkvi_module_kernel_local_bytes(const struct qkvi_runtime *rt, cl_kernel kernel);

/* ---- binary.c: what can be kept from one process to the next ---- */
/* A built program as the driver has it, malloc'ed; false where it does not give it away. */
bool qkvi_module_binary(char **data, size_t *size, const struct qkvi_runtime *rt, cl_program program);
/* False where the driver refuses it. */
bool qkvi_module_load(cl_program *out, const struct qkvi_runtime *rt, const char *data, size_t size,
                      const char *options);

#endif
