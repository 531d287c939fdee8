/* Kernel source + options -> cl_program -> cl_kernel, built once per context; self-test ledger. */
#ifndef QKVI_PROGRAM_H
#define QKVI_PROGRAM_H

#include <stdatomic.h>

#include "core/store.h"
#include "runtime/runtime.h"

/* The sources of cl/, embedded at build time with their #include lines expanded (generated kernels.c). */
struct qkvi_source {
    const char *stem; /* "attention_vector" for cl/attention_vector.cl */
    const char *text;
    size_t length;
};
extern const struct qkvi_source qkvi_sources[];
extern const size_t qkvi_num_sources;

struct qkvi_program_entry;
struct qkvi_ledger_entry;

/* What is kept on disk from one process to the next, where the caller asked for that (cache.c). */
struct qkvi_cache {
    struct qkvi_store *store; /* NULL: nothing is kept */
    char *identity;           /* of device, driver and library */
    atomic_bool afresh;       /* what is there is not believed */
};

/* What this device's compiler turned out to lack: where one build had to do without, the next one begins without. */
struct qkvi_dialect {
    bool no_standard; /* the option -cl-std */
    bool soft_half;   /* vload_half() and vstore_half(), which OpenCL C has without cl_khr_fp16 */
};

/* Every program built for one context. Thread-safe. */
struct qkvi_programs {
    const struct qkvi_runtime *rt;
    pthread_mutex_t lock;
    struct qkvi_program_entry *first;
    struct qkvi_ledger_entry *ledger;
    struct qkvi_cache cache;
    struct qkvi_dialect dialect;
    char base_options[64];  /* what the probes found out, for every build: "-DQKV_USE_FMA=1" */
    const char *forced_fma; /* "fma" or "mad"; NULL: it is measured */
    bool probed;
    struct qkvi_limits limits; /* the runtime's, and what the probes found; complete after qkvi_programs_probe() */
};
/* QKV_INVALID_ARGUMENT where the environment's QKV_FMA is neither fma nor mad. */
qkv_status qkvi_programs_open(struct qkvi_programs *programs, const struct qkvi_runtime *rt);
void qkvi_programs_close(struct qkvi_programs *programs);
/* Finds out whether fma() is fast, for base_options, and whether loops run to their end, for limits; called before each
 * plan, measured once. forced_fma skips the first. */
qkv_status qkvi_programs_probe(struct qkvi_programs *programs);

/*
 * A kernel of cl/<stem>.cl built with `options` (may be ""), e.g. "-DROWS=8 -DNV=3". The program is shared
 * and built at the first request, under one process-wide lock; a failed build is remembered and not tried again.
 * struct qkvi_kernel has its own lock: set-arguments-and-enqueue is atomic.
 */
struct qkvi_kernel {
    cl_kernel kernel;
    pthread_mutex_t lock;
    const char *name;      /* as given at creation: static text */
    size_t group_limit;    /* CL_KERNEL_WORK_GROUP_SIZE, at least 1 and no more than the device runs */
    size_t local_bytes;    /* CL_KERNEL_LOCAL_MEM_SIZE */
    size_t most_arguments; /* bytes of them that the device takes */
    bool any_group;        /* set by solvers whose work-items share nothing: a driver may choose other groups */
};
qkv_status qkvi_kernel_create(struct qkvi_kernel **out, struct qkvi_programs *programs, const char *stem,
                              const char *options, const char *name);
void qkvi_kernel_destroy(struct qkvi_kernel *kernel); /* NULL is allowed */
/* The work-items of a group that it may have, up to `most`. */
size_t qkvi_kernel_group(const struct qkvi_kernel *kernel, size_t most);
/* QKV_UNSUPPORTED where the arguments take more bytes than the device has for them. */
qkv_status qkvi_kernel_run(struct qkvi_kernel *kernel, struct qkvi_chain *chain, const struct qkvi_arg *args,
                           size_t num_args, cl_uint dims, const size_t *global, const size_t *local);

/*
 * Keeps things in `directory` from now on. One that cannot be used is logged, and nothing is kept: a cache is no reason
 * for a program not to run.
 */
void qkvi_cache_open(struct qkvi_programs *programs, const char *directory);
/* Until the second call nothing that is there is believed: programs are built anew and replaced, and what processes that
 * died left is forgotten. */
void qkvi_cache_distrust(struct qkvi_programs *programs);
void qkvi_cache_trust(struct qkvi_programs *programs);

/*
 * The ledger: has this (stem, options, test) been tried, and did it pass? Thread-safe. What passed is known to later
 * processes too (`lasting`, and a cache); what failed is tried again by each, for its cause may have been mended in ways
 * that no version shows.
 */
enum qkvi_verdict { QKVI_UNTRIED, QKVI_PASSED, QKVI_FAILED };
enum qkvi_verdict qkvi_ledger_get(struct qkvi_programs *programs, const char *key, bool lasting);
void qkvi_ledger_set(struct qkvi_programs *programs, const char *key, enum qkvi_verdict verdict, bool lasting);
/* Has nothing been told of this yet? */
bool qkvi_ledger_first(struct qkvi_programs *programs, const char *key);

/*
 * Around all that a solver needs, on one thread; attempts may be nested (attempt.c). What a broken driver may not survive in
 * between, building a program and the first runs, begins with qkvi_attempt_mark(): with a cache, QKV_SELF_TEST_FAILED where
 * earlier processes ended after it for the same `what`; the message names the file that says so. What does nothing of that
 * writes nothing. One death is forgiven where it succeeded before, for the user may have ended the process, and as many as
 * are `forgiven` to any.
 */
#define QKVI_ATTEMPT_PROGRAMS 16
struct qkvi_attempt {
    struct qkvi_programs *programs;
    const char *what;
    struct qkvi_attempt *outer;
    struct qkvi_mark mark;
    unsigned forgiven;
    bool tried, marked;
    struct qkvi_program_entry *used[QKVI_ATTEMPT_PROGRAMS];
    size_t num_used;
    struct qkvi_blob {
        char *data;
        size_t size;
    } blobs[QKVI_ATTEMPT_PROGRAMS]; /* their binaries, between qkvi_cache_take() and qkvi_cache_keep() */
    const struct qkvi_attempt *of;  /* not NULL: builds nothing, loads that one's binaries, and has them for itself */
};
#define QKVI_FORGIVE_ALL 1000u
void qkvi_attempt_begin(struct qkvi_attempt *attempt, struct qkvi_programs *programs, const char *what,
                        unsigned forgiven);
void qkvi_attempt_end(struct qkvi_attempt *attempt, qkv_status result);
/* Of the attempt that this thread is making, if any. */
qkv_status qkvi_attempt_mark(void);
/* Did the last process die of what this thread is trying? Perhaps of what the cache gave it. */
bool qkvi_attempt_was_deadly(void);
/* Does it load binaries alone? */
bool qkvi_attempt_is_of_binaries(void);
/* Which programs it uses came from the disk, and what they do without: they are not the ones that others tested. */
void qkvi_attempt_add(struct qkvi_text *text);
/* It failed. Perhaps for what it took from the disk: then that is forgotten, and it is worth another try from source. */
bool qkvi_attempt_forget(struct qkvi_attempt *attempt);
/*
 * What an attempt that ended well built and no disk has: take the binaries from the driver (is there any?), then keep them
 * for later processes, or not. After the kernels have run: only then is a binary whole on some implementations.
 */
bool qkvi_cache_take(struct qkvi_attempt *attempt);
void qkvi_cache_keep(struct qkvi_attempt *attempt, bool good);

#endif
