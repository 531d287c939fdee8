/*
 * Stands between the library and what it calls. A program that includes this, first and in one file, defines OpenCL's
 * functions itself: the library in it was linked statically, so its calls come here and are counted, refused on
 * request and passed on. The allocator is interposed the same way; what the driver or the test allocate is told from
 * the library's own by the caller's address and by the thread being inside IN_LIBRARY.
 *
 * A function that the library begins to call needs its line here (nm libqkv.a lists them).
 */
#ifndef TEST_INTERPOSE_H
#define TEST_INTERPOSE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/fixture.h"

#define INTERPOSED_CALLS(X)                                                                                        \
    X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext)               \
    X(clRetainContext) X(clReleaseContext) X(clGetContextInfo) X(clCreateCommandQueue) X(clRetainCommandQueue)     \
    X(clReleaseCommandQueue) X(clGetCommandQueueInfo) X(clCreateBuffer) X(clRetainMemObject) X(clReleaseMemObject) \
    X(clGetMemObjectInfo) X(clCreateProgramWithSource) X(clBuildProgram) X(clRetainProgram) X(clReleaseProgram)    \
    X(clGetProgramBuildInfo) X(clGetProgramInfo) X(clCreateKernel) X(clRetainKernel) X(clReleaseKernel)            \
    X(clSetKernelArg) X(clGetKernelWorkGroupInfo) X(clCreateUserEvent) X(clEnqueueNDRangeKernel)                   \
    X(clEnqueueMarkerWithWaitList) X(clEnqueueReadBuffer) X(clEnqueueWriteBuffer) X(clEnqueueFillBuffer) X(clEnqueueCopyBuffer)                   \
    X(clRetainEvent) X(clReleaseEvent) X(clGetEventInfo) X(clWaitForEvents) X(clFlush) X(clFinish)

enum interposed_call {
#define INTERPOSED_ENUM(name) CALL_##name,
    INTERPOSED_CALLS(INTERPOSED_ENUM)
#undef INTERPOSED_ENUM
    NUM_CALLS,
    CALL_ALLOCATION = NUM_CALLS, /* malloc, calloc, realloc */
    NUM_COUNTS
};

static const char *const interposed_names[NUM_COUNTS] = {
#define INTERPOSED_NAME(name) #name,
    INTERPOSED_CALLS(INTERPOSED_NAME)
#undef INTERPOSED_NAME
        "malloc",
};

enum interposed_object { OBJECT_CONTEXT, OBJECT_QUEUE, OBJECT_MEM, OBJECT_PROGRAM, OBJECT_KERNEL, OBJECT_EVENT,
                         OBJECT_ALLOCATION, NUM_OBJECTS };
static const char *const interposed_objects[NUM_OBJECTS] = {"context", "queue",  "mem",       "program",
                                                            "kernel",  "event", "allocation"};

/* Calls made inside IN_LIBRARY, since interpose_reset_counts(). */
static atomic_size_t interposed_counts[NUM_COUNTS];
/* References the program holds (created and retained less released); of allocations only the library's. */
static atomic_long interposed_live[NUM_OBJECTS];
static _Thread_local int interposed_depth;

/* Runs a statement that calls the library. */
#define IN_LIBRARY(statement)  \
    do {                       \
        interposed_depth++;    \
        statement;             \
        interposed_depth--;    \
    } while (0)

/* The nth call of one kind fails; every one from there on where `forever`. Nothing fails while nth is 0. */
static struct {
    enum interposed_call call;
    size_t nth;
    cl_int error;
    bool forever;
    size_t seen;
    bool fired;
} interposed_fault, interposed_second_fault;

/* Events of everything enqueued while `interposed_tracking`, retained. */
#define MAX_TRACKED 256
static bool interposed_tracking;
static cl_event interposed_events[MAX_TRACKED];
static size_t interposed_num_events;

static cl_int interposed_enter(enum interposed_call call) {
    if (interposed_depth == 0)
        return CL_SUCCESS;
    atomic_fetch_add_explicit(&interposed_counts[call], 1, memory_order_relaxed);
    if (interposed_second_fault.nth && interposed_second_fault.call == call) {
        interposed_second_fault.fired = true;
        return interposed_second_fault.error;
    }
    if (interposed_fault.nth == 0 || interposed_fault.call != call)
        return CL_SUCCESS;
    size_t seen = ++interposed_fault.seen;
    if (seen != interposed_fault.nth && !(interposed_fault.forever && seen > interposed_fault.nth))
        return CL_SUCCESS;
    interposed_fault.fired = true;
    return interposed_fault.error;
}

/* With every call defined here, linkers would find the OpenCL library superfluous and leave it out. */
static cl_int(CL_API_CALL *volatile interposed_anchor)(cl_event, cl_profiling_info, size_t, void *,
                                                       size_t *) = clGetEventProfilingInfo;

static void *interposed_symbol(enum interposed_call call) {
    static void *_Atomic symbols[NUM_CALLS];
    void *symbol = atomic_load(&symbols[call]);
    if (symbol)
        return symbol;
    symbol = dlsym(RTLD_NEXT, interposed_names[call]);
    if (!symbol || !interposed_anchor) {
        fprintf(stderr, "the OpenCL library has no %s\n", interposed_names[call]);
        abort();
    }
    atomic_store(&symbols[call], symbol);
    return symbol;
}

/* ISO C has no cast from an object pointer to a function pointer. */
#define INTERPOSED_REAL(type, name, params)                  \
    type(CL_API_CALL *real) params;                          \
    void *real_symbol = interposed_symbol(CALL_##name);      \
    memcpy(&real, &real_symbol, sizeof real)

#define INTERPOSE_STATUS(name, params, args)           \
    cl_int CL_API_CALL name params {                   \
        INTERPOSED_REAL(cl_int, name, params);         \
        cl_int injected = interposed_enter(CALL_##name); \
        return injected ? injected : real args;        \
    }

#define INTERPOSE_CREATE(type, object, name, params, args) \
    type CL_API_CALL name params {                         \
        INTERPOSED_REAL(type, name, params);               \
        cl_int injected = interposed_enter(CALL_##name);   \
        if (injected) {                                    \
            if (error)                                     \
                *error = injected;                         \
            return NULL;                                   \
        }                                                  \
        type made = real args;                             \
        if (made)                                          \
            interposed_live[object]++;                     \
        return made;                                       \
    }

#define INTERPOSE_RETAIN(name, type, object)             \
    cl_int CL_API_CALL name(type it) {                   \
        INTERPOSED_REAL(cl_int, name, (type));           \
        cl_int injected = interposed_enter(CALL_##name); \
        if (injected)                                    \
            return injected;                             \
        cl_int status = real(it);                        \
        if (status == CL_SUCCESS)                        \
            interposed_live[object]++;                   \
        return status;                                   \
    }

/* A release that reports a failure has released all the same: nobody could try it again. */
#define INTERPOSE_RELEASE(name, type, object)            \
    cl_int CL_API_CALL name(type it) {                   \
        INTERPOSED_REAL(cl_int, name, (type));           \
        cl_int injected = interposed_enter(CALL_##name); \
        cl_int status = real(it);                        \
        if (status == CL_SUCCESS)                        \
            interposed_live[object]--;                   \
        return injected ? injected : status;             \
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

#define INTERPOSE_ENQUEUE(name, params, args)                          \
    cl_int CL_API_CALL name params {                                   \
        INTERPOSED_REAL(cl_int, name, params);                         \
        cl_int injected = interposed_enter(CALL_##name);               \
        cl_event own = NULL;                                           \
        cl_event *slot = event ? event : interposed_tracking ? &own : NULL; \
        cl_int status = injected ? injected : real args;               \
        if (status == CL_SUCCESS && event)                             \
            interposed_live[OBJECT_EVENT]++;                           \
        if (status == CL_SUCCESS && interposed_tracking)               \
            interposed_track(*slot, event != NULL);                    \
        return status;                                                 \
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
                 (cl_kernel it, cl_device_id device, cl_kernel_work_group_info what, size_t n, void *value, size_t *size),
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
    if (!interposed_ours(caller))
        return false;
    if (interposed_enter(CALL_ALLOCATION))
        return true;
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
    if (it && interposed_ours(__builtin_return_address(0)))
        interposed_live[OBJECT_ALLOCATION]--;
    __libc_free(it);
}
#else
#define INTERPOSED_ALLOCATOR 0
#endif

/* ---- what tests do with it ---- */

static inline void interpose_reset_counts(void) {
    for (size_t i = 0; i < NUM_COUNTS; i++)
        atomic_store(&interposed_counts[i], 0);
}

static inline void interpose_fault(enum interposed_call call, size_t nth, cl_int error) {
    memset(&interposed_fault, 0, sizeof interposed_fault);
    memset(&interposed_second_fault, 0, sizeof interposed_second_fault);
    interposed_fault.call = call;
    interposed_fault.error = error;
    interposed_fault.nth = nth;
}

/* Returns whether the fault happened. */
static inline bool interpose_disarm(void) {
    bool fired = interposed_fault.fired;
    memset(&interposed_fault, 0, sizeof interposed_fault);
    memset(&interposed_second_fault, 0, sizeof interposed_second_fault);
    return fired;
}

struct interposed_balance {
    long live[NUM_OBJECTS];
};

static inline struct interposed_balance interpose_balance(void) {
    struct interposed_balance balance;
    for (size_t i = 0; i < NUM_OBJECTS; i++)
        balance.live[i] = atomic_load(&interposed_live[i]);
    return balance;
}

/* Fails unless the program holds as many objects of each kind as it did. */
static inline void interpose_check_balance(const struct interposed_balance *before) {
    struct interposed_balance now = interpose_balance();
    for (size_t i = 0; i < NUM_OBJECTS; i++)
        if (now.live[i] != before->live[i])
            test_fail(__FILE__, __LINE__, "%ld %s references more than before", now.live[i] - before->live[i],
                      interposed_objects[i]);
}

/* Starts following every command's event. */
static inline void interpose_track_begin(void) {
    interposed_num_events = 0;
    interposed_tracking = true;
}

/* One implementation tells of a command's end a moment after clFinish; its commands get that moment. */
static inline bool interposed_complete(cl_event event) {
    bool late = qkv_context_device(test_context())->kind == QKV_DEVICE_SOFTWARE_GPU;
    cl_int state = CL_QUEUED;
    for (int i = 0; state != CL_COMPLETE && i < (late ? 100 : 1); i++) {
        const struct timespec moment = {0, 1000000};
        if (i > 0)
            (void)nanosleep(&moment, NULL);
        TEST_CL(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    }
    return state == CL_COMPLETE;
}

/* How many commands were enqueued, and how many of them are not complete now. */
static inline size_t interpose_track_end(size_t *unfinished) {
    INTERPOSED_REAL(cl_int, clReleaseEvent, (cl_event));
    interposed_tracking = false;
    *unfinished = 0;
    for (size_t i = 0; i < interposed_num_events; i++) {
        *unfinished += !interposed_complete(interposed_events[i]);
        (void)real(interposed_events[i]);
    }
    return interposed_num_events;
}

#endif
