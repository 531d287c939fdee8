/* A context: one OpenCL context and device, the programs built for them, a log. */
#ifndef QKV_CONTEXT_H
#define QKV_CONTEXT_H

#include "device.h"
#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qkv_context qkv_context;

/*
 * Told of every kernel a run enqueues, in order: its name, and its event, valid during the call (retain it to keep it).
 * On a queue made with CL_QUEUE_PROFILING_ENABLE clGetEventProfilingInfo() gives each kernel's times once it is done.
 * Called from the thread that runs, which may hold the kernel's lock: it must not call back into the library.
 */
typedef void (*qkv_kernel_function)(void *user, const char *kernel, cl_event event);

typedef struct qkv_context_options {
    size_t struct_size;
    qkv_log_function log; /* NULL: silent */
    void *log_user;
    /*
     * Solvers to use, for tests and for working round a driver: NULL or "" for the best
     * one; "plain", "vector" (CPUs) or "tile" (GPUs) for every operation; or per operation,
     * "linear=vector,attention=plain,rotary=plain"; beside attention there are "copy" (a past), "report" (what is
     * derived from weights) and "layer" (a whole layer in one launch, where no step is forced away from "vector"). A
     * name for every operation leaves those alone that have no such solver. A forced solver that cannot do a problem is
     * QKV_UNSUPPORTED when the plan is created. Where NULL, the environment variable QKV_SOLVER in the same form.
     * Copied.
     */
    const char *solver;
    /*
     * GEMM backend of linear layers: "native" (this library's own kernels), "clblast" (CLBlast's SGEMM, opened with
     * dlopen at first use and tried against known answers; where it is absent or wrong, that is logged and native used;
     * its runs may allocate, and the order and error of its sums are its own), or "auto": CLBlast where
     * qkv_context_measure_gemm() found it faster, else native. Where NULL, the environment variable QKV_GEMM, then
     * "auto".
     */
    const char *gemm;
    qkv_kernel_function kernel; /* NULL: nobody is told */
    void *kernel_user;
    /*
     * A directory in which built programs, passed self-tests and measurements are kept for later processes
     * (tools/doc/cache.md). Created where it is missing; one that cannot be used or trusted (not this user's own, mode
     * other than 0700, a symbolic link) is logged, and nothing kept. With one, a solver that an earlier process did not
     * survive is not used again. NULL for the environment variable QKV_CACHE_DIR, and nothing is kept where that is not
     * set either; "" keeps nothing whatever the environment says. Copied.
     */
    const char *cache_dir;
} qkv_context_options;

#define QKV_CONTEXT_OPTIONS_INIT {sizeof(qkv_context_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL}

/*
 * A context on a device of the caller's choice.
 * selector: see qkv_device_list_select(); NULL means QKV_DEVICE, else "auto".
 * options: NULL for the defaults.
 * Ownership: qkv_context_destroy(). Plans, linear layers and workspaces keep what they need of it
 * alive, so the order of destruction is free.
 * Errors: QKV_INVALID_ARGUMENT, QKV_NO_DEVICE, QKV_AMBIGUOUS_DEVICE, QKV_UNSUPPORTED,
 * QKV_OUT_OF_MEMORY, QKV_OUT_OF_DEVICE_MEMORY, QKV_DEVICE_LOST, QKV_OPENCL_ERROR.
 */
QKV_API qkv_status qkv_context_create(qkv_context **out, const char *selector,
                                      const qkv_context_options *options);

/*
 * A context around OpenCL objects the caller made (qkv_device_list_select() and device_id in
 * qkv_device_info choose a device as qkv_context_create() would). They are retained, and released again by
 * qkv_context_destroy().
 * context: may hold several devices. device: one of them.
 * queue: a queue of that context and device, in order or not. Creating plans and layers and the host functions use it
 * and wait for it to be empty, so it must not be held up by an event that only the same thread sets; NULL makes one.
 * Errors: as above, and QKV_WRONG_CONTEXT if device or queue do not belong to context.
 */
QKV_API qkv_status qkv_context_wrap(qkv_context **out, cl_context context, cl_device_id device,
                                    cl_command_queue queue, const qkv_context_options *options);

/* NULL is allowed. */
QKV_API void qkv_context_destroy(qkv_context *context);

/* Borrowed: retain them to keep them longer than the context. */
QKV_API cl_context qkv_context_cl_context(const qkv_context *context);
QKV_API cl_device_id qkv_context_cl_device(const qkv_context *context);
QKV_API cl_command_queue qkv_context_cl_queue(const qkv_context *context);

/*
 * Times y = x W^T of these sizes with this library's own kernels and with CLBlast, in turns, and lets linear layers that
 * are created in this context afterwards use the faster one. Takes as long as CLBlast compiles: seconds.
 * out_seconds: [0] native, [1] CLBlast, or 0 where it is absent or wrong. The best of five runs each.
 * Only for a context whose gemm is "auto". Errors: those of qkv_linear_create() and qkv_linear_run().
 */
QKV_API qkv_status qkv_context_measure_gemm(double out_seconds[2], qkv_context *context, size_t rows,
                                            size_t in_features, size_t out_features);

typedef enum qkv_verdict {
    QKV_VERDICT_TRYING = 0, /* about to be built and run: what a driver that crashes was given last */
    QKV_VERDICT_PASSED = 1,
    QKV_VERDICT_FAILED = 2,
    QKV_VERDICT_NOT_APPLICABLE = 3
} qkv_verdict;

/* Texts are valid during the call. */
typedef struct qkv_self_test_result {
    size_t struct_size;
    const char *operation; /* "linear", "attention", "rotary", "copy", "report" or "layer" */
    const char *solver;    /* "plain", "vector", "tile", "clblast" */
    const char *variant;   /* what the kernels were specialised for: "mask, weights", or "" */
    qkv_verdict verdict;
    qkv_status status;     /* what failed: QKV_BUILD_FAILED, QKV_SELF_TEST_FAILED ...; QKV_UNSUPPORTED where not applicable */
    const char *reason;    /* of a failure; how the solver was set up where it passed */
    double milliseconds;   /* building and testing; 0 while QKV_VERDICT_TRYING */
} qkv_self_test_result;

typedef void (*qkv_self_test_function)(void *user, const qkv_self_test_result *result);

/*
 * Builds and runs every solver on problems with known answers, believing nothing that was found out or kept before, and
 * tells `function` (NULL: nobody) of each twice: before it and after it. With a cache what is there is replaced or
 * removed, and solvers are used again that are not because an earlier process did not survive them.
 * Takes seconds, minutes on a slow compiler; CLBlast is tried where it is installed. A solver that fails is a row and not
 * an error. function must not call back into the library with this context.
 * Errors: QKV_INVALID_ARGUMENT; QKV_OUT_OF_MEMORY, QKV_DEVICE_LOST and those of the probes, after which nothing more is
 * tried.
 */
QKV_API qkv_status qkv_context_self_test(qkv_context *context, qkv_self_test_function function, void *user);

/* What is known of the device, texts included; lives as long as the context. `selector` and `reason`
 * are "" and is_auto is 0 for a wrapped context. */
QKV_API const qkv_device_info *qkv_context_device(const qkv_context *context);

/*
 * Scratch memory for qkv_*_run(). Each run that is in flight at the same time
 * needs one of its own; runs that follow each other (in-order queue, or chained by events)
 * may share one. Where a plan needs 0 bytes, args.workspace may be NULL; the same plan may need some on another
 * device, so portable programs always make one.
 */
typedef struct qkv_workspace qkv_workspace;

/* Allocates `bytes` (0 is allowed) on the context's device.
 * Errors: QKV_INVALID_ARGUMENT, QKV_OUT_OF_DEVICE_MEMORY, QKV_OUT_OF_MEMORY. */
QKV_API qkv_status qkv_workspace_create(qkv_workspace **out, qkv_context *context, size_t bytes);

/* Uses `bytes` of the caller's buffer from byte `offset`, a multiple of 256. The buffer is retained.
 * Errors: QKV_INVALID_ARGUMENT, QKV_OUT_OF_BOUNDS, QKV_WRONG_CONTEXT, QKV_OUT_OF_MEMORY. */
QKV_API qkv_status qkv_workspace_wrap(qkv_workspace **out, qkv_context *context, cl_mem buffer,
                                      size_t offset, size_t bytes);

QKV_API size_t qkv_workspace_bytes(const qkv_workspace *workspace);

/* NULL is allowed. Commands in flight that use it are not disturbed. */
QKV_API void qkv_workspace_destroy(qkv_workspace *workspace);

#ifdef __cplusplus
}
#endif

#endif
