/* Names for OpenCL's functions and objects, for what stands between the library and them: interpose.h and the liar. */
#ifndef TEST_CL_CALLS_H
#define TEST_CL_CALLS_H

enum cl_call {
#define CL_CALL_STATUS(name, params, args) CALL_##name,
#define CL_CALL_CREATE(type, object, name, params, args) CALL_##name,
#define CL_CALL_RETAIN(name, type, object) CALL_##name,
#define CL_CALL_RELEASE(name, type, object) CALL_##name,
#define CL_CALL_ENQUEUE(name, params, args) CALL_##name,
#include "support/cl_calls.inc"
    NUM_CALLS,
    CALL_ALLOCATION = NUM_CALLS, /* malloc, calloc, realloc */
    NUM_COUNTS
};

static const char *const cl_call_names[NUM_COUNTS] = {
#define CL_CALL_STATUS(name, params, args) #name,
#define CL_CALL_CREATE(type, object, name, params, args) #name,
#define CL_CALL_RETAIN(name, type, object) #name,
#define CL_CALL_RELEASE(name, type, object) #name,
#define CL_CALL_ENQUEUE(name, params, args) #name,
#include "support/cl_calls.inc"
    "malloc",
};

enum cl_object {
    OBJECT_CONTEXT,
    OBJECT_QUEUE,
    OBJECT_MEM,
    OBJECT_PROGRAM,
    OBJECT_KERNEL,
    OBJECT_EVENT,
    OBJECT_ALLOCATION,
    NUM_OBJECTS
};
static const char *const cl_object_names[NUM_OBJECTS] = {"context", "queue", "mem",       "program",
                                                         "kernel",  "event", "allocation"};

/* References that the program holds (created and retained less released); of allocations only the library's. */
struct cl_balance {
    long live[NUM_OBJECTS];
};

#endif
