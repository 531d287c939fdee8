/* The definitions behind interpose.h, which includes this: OpenCL's functions and the allocator's. */
#ifndef TEST_INTERPOSE_CALLS_H
#define TEST_INTERPOSE_CALLS_H

#include "support/interpose.h"

/* With every call defined here, linkers would find the OpenCL library superfluous and leave it out. */
static cl_int(CL_API_CALL *volatile interposed_anchor)(cl_event, cl_profiling_info, size_t, void *,
                                                       size_t *) = clGetEventProfilingInfo;

static void *interposed_symbol(enum interposed_call call) {
    static void *_Atomic symbols[NUM_CALLS];
    void *symbol = atomic_load(&symbols[call]);
    if (symbol) return symbol;
    symbol = dlsym(RTLD_NEXT, interposed_names[call]);
    if (!symbol || !interposed_anchor) {
        fprintf(stderr, "the OpenCL library has no %s\n", interposed_names[call]);
        abort();
    }
    atomic_store(&symbols[call], symbol);
    return symbol;
}

/* ISO C has no cast from an object pointer to a function pointer. */
#define INTERPOSED_REAL(type, name, params)                                                                            \
    type(CL_API_CALL *real) params;                                                                                    \
    void *real_symbol = interposed_symbol(CALL_##name);                                                                \
    memcpy(&real, &real_symbol, sizeof real)

#define INTERPOSE_STATUS(name, params, args)                                                                           \
    cl_int CL_API_CALL name params {                                                                                   \
        INTERPOSED_REAL(cl_int, name, params);                                                                         \
        cl_int injected = interposed_enter(CALL_##name);                                                               \
        return injected ? injected : real args;                                                                        \
    }

#define INTERPOSE_CREATE(type, object, name, params, args)                                                             \
    type CL_API_CALL name params {                                                                                     \
        INTERPOSED_REAL(type, name, params);                                                                           \
        cl_int injected = interposed_enter(CALL_##name);                                                               \
        if (injected) {                                                                                                \
            if (error) *error = injected;                                                                              \
            return NULL;                                                                                               \
        }                                                                                                              \
        type made = real args;                                                                                         \
        if (made) interposed_live[object]++;                                                                           \
        return made;                                                                                                   \
    }

#define INTERPOSE_RETAIN(name, type, object)                                                                           \
    cl_int CL_API_CALL name(type it) {                                                                                 \
        INTERPOSED_REAL(cl_int, name, (type));                                                                         \
        cl_int injected = interposed_enter(CALL_##name);                                                               \
        if (injected) return injected;                                                                                 \
        cl_int status = real(it);                                                                                      \
        if (status == CL_SUCCESS) interposed_live[object]++;                                                           \
        return status;                                                                                                 \
    }

/* A release that reports a failure has released all the same: nobody could try it again. */
#define INTERPOSE_RELEASE(name, type, object)                                                                          \
    cl_int CL_API_CALL name(type it) {                                                                                 \
        INTERPOSED_REAL(cl_int, name, (type));                                                                         \
        cl_int injected = interposed_enter(CALL_##name);                                                               \
        cl_int status = real(it);                                                                                      \
        if (status == CL_SUCCESS) interposed_live[object]--;                                                           \
        return injected ? injected : status;                                                                           \
    }

static void interposed_track(cl_event event, bool callers) {
    if (callers) {
        INTERPOSED_REAL(cl_int, clRetainEvent, (cl_event));
        (void)real(event);
    }
    if (interposed_num_events == MAX_TRACKED) {
        fprintf(stderr, "more commands than the test can follow\n");
        abort();
    }
    interposed_events[interposed_num_events++] = event;
}

#define INTERPOSE_ENQUEUE(name, params, args)                                                                          \
    cl_int CL_API_CALL name params {                                                                                   \
        INTERPOSED_REAL(cl_int, name, params);                                                                         \
        cl_int injected = interposed_enter(CALL_##name);                                                               \
        cl_event own = NULL;                                                                                           \
        cl_event *slot = event ? event : interposed_tracking ? &own : NULL;                                            \
        cl_int status = injected ? injected : real args;                                                               \
        if (status == CL_SUCCESS && event) interposed_live[OBJECT_EVENT]++;                                            \
        if (status == CL_SUCCESS && interposed_tracking) interposed_track(*slot, event != NULL);                       \
        return status;                                                                                                 \
    }

INTERPOSE_STATUS(clGetPlatformIDs, (cl_uint n, cl_platform_id *ids, cl_uint *count), (n, ids, count))
INTERPOSE_STATUS(clGetPlatformInfo, (cl_platform_id it, cl_platform_info what, size_t n, void *value, size_t *size),
                 (it, what, n, value, size))
INTERPOSE_STATUS(clGetDeviceIDs, (cl_platform_id it, cl_device_type type, cl_uint n, cl_device_id *ids, cl_uint *count),
                 (it, type, n, ids, count))
INTERPOSE_STATUS(clGetDeviceInfo, (cl_device_id it, cl_device_info what, size_t n, void *value, size_t *size),
                 (it, what, n, value, size))
INTERPOSE_STATUS(clGetContextInfo, (cl_context it, cl_context_info what, size_t n, void *value, size_t *size),
                 (it, what, n, value, size))
INTERPOSE_STATUS(clGetCommandQueueInfo,
                 (cl_command_queue it, cl_command_queue_info what, size_t n, void *value, size_t *size),
                 (it, what, n, value, size))
INTERPOSE_STATUS(clGetMemObjectInfo, (cl_mem it, cl_mem_info what, size_t n, void *value, size_t *size),
                 (it, what, n, value, size))
INTERPOSE_STATUS(clGetEventInfo, (cl_event it, cl_event_info what, size_t n, void *value, size_t *size),
                 (it, what, n, value, size))
INTERPOSE_STATUS(clGetProgramInfo, (cl_program it, cl_program_info what, size_t n, void *value, size_t *size),
                 (it, what, n, value, size))
INTERPOSE_STATUS(clGetProgramBuildInfo,
                 (cl_program it, cl_device_id device, cl_program_build_info what, size_t n, void *value, size_t *size),
                 (it, device, what, n, value, size))
INTERPOSE_STATUS(clGetKernelWorkGroupInfo,
                 (cl_kernel it, cl_device_id device, cl_kernel_work_group_info what, size_t n, void *value,
                  size_t *size),
                 (it, device, what, n, value, size))
INTERPOSE_STATUS(clBuildProgram,
                 (cl_program it, cl_uint n, const cl_device_id *devices, const char *options,
                  void(CL_CALLBACK *notify)(cl_program, void *), void *user),
                 (it, n, devices, options, notify, user))
INTERPOSE_STATUS(clSetKernelArg, (cl_kernel it, cl_uint index, size_t n, const void *value), (it, index, n, value))
INTERPOSE_STATUS(clWaitForEvents, (cl_uint n, const cl_event *events), (n, events))
INTERPOSE_STATUS(clFlush, (cl_command_queue it), (it))
INTERPOSE_STATUS(clFinish, (cl_command_queue it), (it))

INTERPOSE_CREATE(cl_context, OBJECT_CONTEXT, clCreateContext,
                 (const cl_context_properties *properties, cl_uint n, const cl_device_id *devices,
                  void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *error),
                 (properties, n, devices, notify, user, error))
INTERPOSE_CREATE(cl_command_queue, OBJECT_QUEUE, clCreateCommandQueue,
                 (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *error),
                 (context, device, properties, error))
INTERPOSE_CREATE(cl_mem, OBJECT_MEM, clCreateBuffer,
                 (cl_context context, cl_mem_flags flags, size_t n, void *host, cl_int *error),
                 (context, flags, n, host, error))
INTERPOSE_CREATE(cl_program, OBJECT_PROGRAM, clCreateProgramWithSource,
                 (cl_context context, cl_uint n, const char **text, const size_t *length, cl_int *error),
                 (context, n, text, length, error))
INTERPOSE_CREATE(cl_kernel, OBJECT_KERNEL, clCreateKernel, (cl_program program, const char *name, cl_int *error),
                 (program, name, error))
INTERPOSE_CREATE(cl_event, OBJECT_EVENT, clCreateUserEvent, (cl_context context, cl_int *error), (context, error))

INTERPOSE_RETAIN(clRetainContext, cl_context, OBJECT_CONTEXT)
INTERPOSE_RETAIN(clRetainCommandQueue, cl_command_queue, OBJECT_QUEUE)
INTERPOSE_RETAIN(clRetainMemObject, cl_mem, OBJECT_MEM)
INTERPOSE_RETAIN(clRetainProgram, cl_program, OBJECT_PROGRAM)
INTERPOSE_RETAIN(clRetainKernel, cl_kernel, OBJECT_KERNEL)
INTERPOSE_RETAIN(clRetainEvent, cl_event, OBJECT_EVENT)
INTERPOSE_RELEASE(clReleaseContext, cl_context, OBJECT_CONTEXT)
INTERPOSE_RELEASE(clReleaseCommandQueue, cl_command_queue, OBJECT_QUEUE)
INTERPOSE_RELEASE(clReleaseMemObject, cl_mem, OBJECT_MEM)
INTERPOSE_RELEASE(clReleaseProgram, cl_program, OBJECT_PROGRAM)
INTERPOSE_RELEASE(clReleaseKernel, cl_kernel, OBJECT_KERNEL)
INTERPOSE_RELEASE(clReleaseEvent, cl_event, OBJECT_EVENT)

INTERPOSE_ENQUEUE(clEnqueueNDRangeKernel,
                  (cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset, const size_t *global,
                   const size_t *local, cl_uint n, const cl_event *wait, cl_event *event),
                  (queue, kernel, dims, offset, global, local, n, wait, slot))
INTERPOSE_ENQUEUE(clEnqueueMarkerWithWaitList,
                  (cl_command_queue queue, cl_uint n, const cl_event *wait, cl_event *event), (queue, n, wait, slot))
INTERPOSE_ENQUEUE(clEnqueueBarrierWithWaitList,
                  (cl_command_queue queue, cl_uint n, const cl_event *wait, cl_event *event), (queue, n, wait, slot))
INTERPOSE_ENQUEUE(clEnqueueReadBuffer,
                  (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size, void *host,
                   cl_uint n, const cl_event *wait, cl_event *event),
                  (queue, buffer, blocking, offset, size, host, n, wait, slot))
INTERPOSE_ENQUEUE(clEnqueueWriteBuffer,
                  (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
                   const void *host, cl_uint n, const cl_event *wait, cl_event *event),
                  (queue, buffer, blocking, offset, size, host, n, wait, slot))
INTERPOSE_ENQUEUE(clEnqueueFillBuffer,
                  (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t width, size_t offset, size_t size,
                   cl_uint n, const cl_event *wait, cl_event *event),
                  (queue, buffer, pattern, width, offset, size, n, wait, slot))
INTERPOSE_ENQUEUE(clEnqueueCopyBuffer,
                  (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t size,
                   cl_uint n, const cl_event *wait, cl_event *event),
                  (queue, from, to, from_offset, to_offset, size, n, wait, slot))

/* ---- the allocator: glibc's has a second name. Sanitizers bring one of their own, which stays. ---- */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define INTERPOSED_ALLOCATOR 1
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *it, size_t size);
extern void __libc_free(void *it);
extern const char __executable_start[], etext[];

static bool interposed_ours(const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    return interposed_depth > 0 && at >= (uintptr_t)__executable_start && at < (uintptr_t)etext;
}

/* True: the allocation is to fail. */
static bool interposed_allocate(const void *caller, bool grows) {
    if (!interposed_ours(caller)) return false;
    if (interposed_enter(CALL_ALLOCATION)) return true;
    interposed_live[OBJECT_ALLOCATION] += grows;
    return false;
}

void *malloc(size_t size) {
    return interposed_allocate(__builtin_return_address(0), true) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    return interposed_allocate(__builtin_return_address(0), true) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *it, size_t size) {
    return interposed_allocate(__builtin_return_address(0), it == NULL) ? NULL : __libc_realloc(it, size);
}

void free(void *it) {
    if (it && interposed_ours(__builtin_return_address(0))) interposed_live[OBJECT_ALLOCATION]--;
    __libc_free(it);
}
#else
#define INTERPOSED_ALLOCATOR 0
#endif

#endif
