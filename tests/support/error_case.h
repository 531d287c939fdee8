/* Wrong arguments, one at a time: each tensor of a run is spoiled in each way, and the run must say so by name. */
#ifndef TEST_ERROR_CASE_H
#define TEST_ERROR_CASE_H

#include "support/fixture.h"

/* One tensor slot of a run's arguments. */
struct error_slot {
    const char *name; /* as in the args struct; messages must name it */
    qkv_tensor *tensor;
    bool output;
    bool required;  /* NULL is an error */
    bool broadcast; /* a mask: rank and sizes of 1 are free */
    bool halves;    /* takes F16 and BF16 too */
    bool integers;  /* takes I32, not F32 */
    bool leads;     /* its sizes are the measure: where others then differ, they may be named */
    const qkv_tensor **arg;
};

/* Calls the run with its arguments as they are now. */
typedef qkv_status (*error_run)(void *user);

/* Every slot spoiled in every way, and whole again afterwards. `foreign`: a buffer of another context. */
void error_check_slots(struct error_slot *slots, size_t num_slots, cl_mem foreign, error_run run, void *user);

/* Every output laid over every other slot. */
void error_check_overlaps(struct error_slot *slots, size_t num_slots, error_run run, void *user);

/* Status is one of `a` and `b`, and the message names `word`. */
void error_expect(qkv_status got, qkv_status a, qkv_status b, const char *word, const char *what);

#endif
