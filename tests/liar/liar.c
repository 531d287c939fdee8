/* The layer's outside: every call is counted, perhaps refused, and passed on. */
#include "liar/lies.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORTED __attribute__((visibility("default")))

static cl_icd_dispatch outside, next;
static atomic_long live[NUM_OBJECTS];
static atomic_size_t seen[NUM_CALLS];
static atomic_bool attached, fired;
static atomic_bool listening = true;

static void wait_for(unsigned long long microseconds) {
    const struct timespec delay = {(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000};
    (void)nanosleep(&delay, NULL);
}

static cl_int enter(enum cl_call call) {
    const struct lie *delay = lies_about_code(LIE_DELAY, call);
    if (delay) wait_for(delay->number);
    if (!atomic_load(&listening)) return CL_SUCCESS;
    const struct lie *fail = lies_about_code(LIE_FAIL, call), *crash = lies_about_code(LIE_CRASH, call);
    if (!fail && !crash) return CL_SUCCESS;
    size_t nth = atomic_fetch_add(&seen[call], 1) + 1;
    if (crash && nth == crash->number) abort();
    if (!fail || nth != fail->number) return CL_SUCCESS;
    atomic_store(&fired, true);
    return (cl_int)fail->error;
}

#define CL_CALL_STATUS(name, params, args)                                                                             \
    static cl_int CL_API_CALL layer_##name params {                                                                    \
        cl_int refused = enter(CALL_##name);                                                                           \
        return refused ? refused : next.name args;                                                                     \
    }

#define CL_CALL_CREATE(type, object, name, params, args)                                                               \
    static type CL_API_CALL layer_##name params {                                                                      \
        cl_int refused = enter(CALL_##name);                                                                           \
        if (refused) {                                                                                                 \
            if (error) *error = refused;                                                                               \
            return NULL;                                                                                               \
        }                                                                                                              \
        type made = next.name args;                                                                                    \
        if (made) live[object]++;                                                                                      \
        return made;                                                                                                   \
    }

#define CL_CALL_RETAIN(name, type, object)                                                                             \
    static cl_int CL_API_CALL layer_##name(type it) {                                                                  \
        cl_int status = enter(CALL_##name);                                                                            \
        if (status == CL_SUCCESS) status = next.name(it);                                                              \
        if (status == CL_SUCCESS) live[object]++;                                                                      \
        return status;                                                                                                 \
    }

#define CL_CALL_RELEASE(name, type, object)                                                                            \
    static cl_int CL_API_CALL layer_##name(type it) {                                                                  \
        cl_int refused = enter(CALL_##name), status = next.name(it);                                                   \
        if (status == CL_SUCCESS) live[object]--;                                                                      \
        return refused ? refused : status;                                                                             \
    }

#define CL_CALL_ENQUEUE(name, params, args)                                                                            \
    static cl_int CL_API_CALL layer_##name params {                                                                    \
        cl_event *slot = event;                                                                                        \
        cl_int status = enter(CALL_##name);                                                                            \
        if (status == CL_SUCCESS) status = next.name args;                                                             \
        if (status == CL_SUCCESS && event) live[OBJECT_EVENT]++;                                                       \
        return status;                                                                                                 \
    }

#include "support/cl_calls.inc"

static void fill_outside(void) {
#define CL_CALL_STATUS(name, params, args) outside.name = layer_##name;
#define CL_CALL_CREATE(type, object, name, params, args) outside.name = layer_##name;
#define CL_CALL_RETAIN(name, type, object) outside.name = layer_##name;
#define CL_CALL_RELEASE(name, type, object) outside.name = layer_##name;
#define CL_CALL_ENQUEUE(name, params, args) outside.name = layer_##name;
#include "support/cl_calls.inc"
}

/* ---- what the loader calls ---- */

EXPORTED cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t bytes, void *value, size_t *size) {
    static const char title[] = "liar";
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    const void *answer = name == CL_LAYER_API_VERSION ? (const void *)&version : title;
    size_t needed = name == CL_LAYER_API_VERSION ? sizeof version : sizeof title;
    if (name != CL_LAYER_API_VERSION && name != CL_LAYER_NAME) return CL_INVALID_VALUE;
    if (value && bytes < needed) return CL_INVALID_VALUE;
    if (value) memcpy(value, answer, needed);
    if (size) *size = needed;
    return CL_SUCCESS;
}

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target, cl_uint *num_entries_ret,
                                        const cl_icd_dispatch **layer) {
    static cl_icd_dispatch driver; /* of a loader that knows fewer functions the rest stays NULL */
    const char *lies = getenv("LIAR");
    size_t bytes = num_entries * sizeof(void *);
    if (!target || !layer || !num_entries_ret) return CL_INVALID_VALUE;
    memcpy(&driver, target, bytes < sizeof driver ? bytes : sizeof driver);
    next = outside = driver;
    twist_table(&next, &driver);
    fill_outside();
    if (lies && !lies_tell(lies)) return CL_INVALID_VALUE;
    atomic_store(&attached, true);
    *layer = &outside;
    *num_entries_ret = (cl_uint)(sizeof outside / sizeof(void *));
    if (num_entries < *num_entries_ret) *num_entries_ret = num_entries;
    return CL_SUCCESS;
}

/* ---- what a test calls ---- */

static bool is_attached(void) {
    return atomic_load(&attached);
}

static bool tell(const char *lies) {
    for (size_t i = 0; i < NUM_CALLS; i++)
        atomic_store(&seen[i], 0);
    atomic_store(&fired, false);
    fault_forget();
    record_forget();
    return lies_tell(lies);
}

void lies_fire(void) {
    atomic_store(&fired, true);
}

static void listen(bool on) {
    atomic_store(&listening, on);
}

static bool has_fired(void) {
    return atomic_load(&fired);
}

static struct cl_balance balance(void) {
    struct cl_balance now;
    for (size_t i = 0; i < NUM_OBJECTS; i++)
        now.live[i] = atomic_load(&live[i]);
    return now;
}

EXPORTED const struct liar_interface liar_interface = {is_attached, tell, listen, has_fired, balance, record_list};
