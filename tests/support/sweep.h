/*
 * Every call of a sequence fails in its turn: the failure is told, nothing leaks, and the sequence works when it is played
 * again. Who makes the calls fail is a saboteur: interpose.h from inside the process, the liar from behind the loader.
 */
#ifndef TEST_SWEEP_H
#define TEST_SWEEP_H

#include "support/cl_calls.h"
#include "support/layer_job.h"

struct saboteur {
    void (*inside)(int step); /* 1 before each call of the library, -1 after it: only what happens between can fail */
    void (*fault)(enum cl_call call, size_t n, cl_int error);
    bool (*disarm)(void); /* did the fault happen? */
    struct cl_balance (*balance)(void);
};

/* What an error makes of a call that nothing can stand in for. */
struct fault_error {
    cl_int error;
    qkv_status status;
};
#define NUM_FAULT_ERRORS 3
extern const struct fault_error fault_errors[NUM_FAULT_ERRORS];

/* The objects of a sequence of calls that some fault is to strike. */
struct stage {
    const struct saboteur *saboteur;
    struct job *job; /* data, reference, buffers */
    cl_command_queue queue;
    qkv_context *context; /* NULL: the sequence makes one */
    cl_mem scratch;
};
void stage_open(struct stage *stage, const struct saboteur *saboteur, struct job *job,
                cl_command_queue_properties properties);
void stage_close(struct stage *stage);
/* Plays on the test's context, in which every solver is made to build what it needs: falling back to another one then adds
 * nothing to it. */
void stage_share(struct stage *stage);

/* Sequences; each can be played again on what the one before left in `stage`. */
qkv_status play_host(struct stage *stage);  /* a context, and a whole layer on host data */
qkv_status play_wrap(struct stage *stage);  /* a wrapped context and queue, workspaces */
qkv_status play_layer(struct stage *stage); /* a layer is created, run and destroyed */
/* One run of a layer: a step of play_layer. */
qkv_status play_run(struct stage *stage, const qkv_layer *layer, qkv_workspace *workspace);

struct sweep {
    const char *name;
    qkv_status (*play)(struct stage *stage);
    bool shared; /* on a context that has everything built already */
    enum sweep_depth {
        SAMPLED_CALLS, /* fewer as n grows, each with one of the errors */
        EVERY_CALL,    /* each with one of the errors, where test_is_thorough() */
        EVERY_ERROR    /* each call with all the errors */
    } depth;           /* where an implementation is slow SAMPLED_CALLS at most */
};
/* Makes one kind of call fail, the first, the second, and so on until the sequence makes no more of them. */
void sweep_call(const struct sweep *sweep, struct stage *stage, enum cl_call call);

/* Fails the test unless the status and the message are those of this call's failure. */
void sweep_expect_told(enum cl_call call, const struct fault_error *e, qkv_status status);
void sweep_check_balance(const struct cl_balance *before, const struct cl_balance *now);

/* What an output variable holds before a call, and after one that fails. */
extern int sweep_anything;
#define UNTOUCHED ((void *)&sweep_anything)
/* Takes over a new object, or NULL where the call failed. */
#define TAKE(variable, status)                                                                                         \
    do {                                                                                                               \
        if (status) {                                                                                                  \
            if ((void *)(variable) != UNTOUCHED)                                                                       \
                test_fail(__FILE__, __LINE__, "%s was changed by a failure", #variable);                               \
            (variable) = NULL;                                                                                         \
        }                                                                                                              \
    } while (0)

#endif
