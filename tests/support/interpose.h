/*
 * Stands between the library and what it calls. A program that includes this, first and in one file, defines OpenCL's
 * functions itself: the library in it was linked statically, so its calls come here and are counted, refused on
 * request and passed on. The allocator is interposed the same way; what the driver or the test allocate is told from
 * the library's own by the caller's address and by the thread being inside IN_LIBRARY.
 */
#ifndef TEST_INTERPOSE_H
#define TEST_INTERPOSE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif
#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/sweep.h"

/* Calls made inside IN_LIBRARY, since interpose_reset_counts(). */
static atomic_size_t interposed_counts[NUM_COUNTS];
/* References the program holds (created and retained less released); of allocations only the library's. */
static atomic_long interposed_live[NUM_OBJECTS];
static _Thread_local int interposed_depth;

/* Runs a statement that calls the library. */
#define IN_LIBRARY(statement)                                                                                          \
    do {                                                                                                               \
        interposed_depth++;                                                                                            \
        statement;                                                                                                     \
        interposed_depth--;                                                                                            \
    } while (0)

/* The nth call of one kind fails; every one from there on where `forever`. Nothing fails while nth is 0. */
static struct {
    enum cl_call call;
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

/* Lets other threads run before every call, so that what a lock must keep together comes apart without it. */
static bool interposed_hesitates;

static cl_int interposed_enter(enum cl_call call) {
    if (interposed_hesitates) sched_yield();
    if (interposed_depth == 0) return CL_SUCCESS;
    atomic_fetch_add_explicit(&interposed_counts[call], 1, memory_order_relaxed);
    if (interposed_second_fault.nth && interposed_second_fault.call == call) {
        interposed_second_fault.fired = true;
        return interposed_second_fault.error;
    }
    if (interposed_fault.nth == 0 || interposed_fault.call != call) return CL_SUCCESS;
    size_t seen = ++interposed_fault.seen;
    if (seen != interposed_fault.nth && !(interposed_fault.forever && seen > interposed_fault.nth)) return CL_SUCCESS;
    interposed_fault.fired = true;
    return interposed_fault.error;
}

#include "support/interpose_calls.inc"

/* ---- what tests do with it ---- */

static inline void interpose_reset_counts(void) {
    for (size_t i = 0; i < NUM_COUNTS; i++)
        atomic_store(&interposed_counts[i], 0);
}

static inline void interpose_fault(enum cl_call call, size_t nth, cl_int error) {
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

static inline struct cl_balance interpose_balance(void) {
    struct cl_balance balance;
    for (size_t i = 0; i < NUM_OBJECTS; i++)
        balance.live[i] = atomic_load(&interposed_live[i]);
    return balance;
}

/* Fails unless the program holds as many objects of each kind as it did. */
static inline void interpose_check_balance(const struct cl_balance *before) {
    struct cl_balance now = interpose_balance();
    sweep_check_balance(before, &now);
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
        if (i > 0) (void)nanosleep(&moment, NULL);
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
