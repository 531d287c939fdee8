/* Kernel source + options -> cl_program -> cl_kernel, built once per context; self-test ledger. */
#ifndef QKVI_PROGRAM_H
#define QKVI_PROGRAM_H

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

/* Every program built for one context. Thread-safe. */
struct qkvi_programs {
    const struct qkvi_runtime *rt;
    pthread_mutex_t lock;
    struct qkvi_program_entry *first;
    struct qkvi_ledger_entry *ledger;
    char base_options[128]; /* what every build gets: "-cl-std=CL1.2 -DQKV_FMA=..." */
    bool probed;
    struct qkvi_limits limits; /* the runtime's, and what the probes found; complete after qkvi_programs_probe() */
};
qkv_status qkvi_programs_open(struct qkvi_programs *programs, const struct qkvi_runtime *rt);
void qkvi_programs_close(struct qkvi_programs *programs);
/* Finds out whether fma() is fast, for base_options, and whether loops run to their end, for limits; called before each
 * plan, measured once. QKV_FMA=fma|mad in the environment skips the first. */
qkv_status qkvi_programs_probe(struct qkvi_programs *programs);

/*
 * A kernel of cl/<stem>.cl built with `options` (may be ""), e.g. "-DROWS=8 -DNV=3". The program is shared
 * and built at the first request, under one process-wide lock; a failed build is remembered and not tried again.
 * struct qkvi_kernel has its own lock: set-arguments-and-enqueue is atomic.
 */
struct qkvi_kernel {
    cl_kernel kernel;
    pthread_mutex_t lock;
    struct qkvi_program_entry *entry;
    const char *name; /* as given at creation: static text */
    size_t group_limit; /* CL_KERNEL_WORK_GROUP_SIZE */
    size_t local_bytes; /* CL_KERNEL_LOCAL_MEM_SIZE */
};
qkv_status qkvi_kernel_create(struct qkvi_kernel **out, struct qkvi_programs *programs, const char *stem,
                              const char *options, const char *name);
void qkvi_kernel_destroy(struct qkvi_kernel *kernel); /* NULL is allowed */
qkv_status qkvi_kernel_run(struct qkvi_kernel *kernel, struct qkvi_chain *chain, const struct qkvi_arg *args,
                           size_t num_args, cl_uint dims, const size_t *global, const size_t *local);

/* The ledger: has this (stem, options, test) been tried in this context, and did it pass? Thread-safe. */
enum qkvi_verdict { QKVI_UNTRIED, QKVI_PASSED, QKVI_FAILED };
enum qkvi_verdict qkvi_ledger_get(struct qkvi_programs *programs, const char *key);
void qkvi_ledger_set(struct qkvi_programs *programs, const char *key, enum qkvi_verdict verdict);

#endif
