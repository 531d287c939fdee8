/* What a device really does: small kernels, compiled and run, beside what the driver claims. */
#ifndef QKV_TOOLS_DEVICES_PROBE_H
#define QKV_TOOLS_DEVICES_PROBE_H

#include <jansson.h>
#include <stdbool.h>

#include "qkv.h"

enum probe_unit { PROBE_YES_NO, PROBE_COUNT, PROBE_BYTES };

enum probe_state {
    PROBE_WORKS,
    PROBE_ABSENT,  /* does not compile, or is not offered */
    PROBE_WRONG,   /* ran, and the result is not what it must be */
    PROBE_FAILED,  /* an OpenCL call failed */
    PROBE_CRASHED, /* from here on: not of the probe itself but of whoever ran it */
    PROBE_HUNG,
    PROBE_SKIPPED
};
extern const char *const probe_state_names[]; /* in JSON: "works", ... */

#define PROBE_DETAIL_MAX 240

struct outcome {
    bool claim_known;
    cl_ulong claimed; /* 0 and 1 for PROBE_YES_NO */
    enum probe_state state;
    bool has_value;
    cl_ulong value;
    bool capped; /* the value is as far as was tried, not as far as it goes */
    char detail[PROBE_DETAIL_MAX];
};

struct probe_device {
    cl_device_id id;
    cl_platform_id platform;
    qkv_device_kind kind;
    cl_context context;
    cl_command_queue queue;
    char *extensions;
    bool extensions_known;
    bool measure_memory;
    bool no_subgroups; /* set once that is known: compilers take their time to say no */
    bool doubtful;     /* a command failed: on many drivers its context is lost then, while the process goes on */
};

struct probe {
    const char *key;
    const char *label;
    enum probe_unit unit;
    bool essential; /* the library cannot work without it: it must work, of an amount something must be found */
    void (*run)(struct outcome *outcome, struct probe_device *device);
};
extern const struct probe probes[];
extern const size_t num_probes;
/* What was found, a member of "probes", leaves the library without what it cannot work without. */
bool probe_fails_essential(const struct probe *probe, const json_t *outcome);
const struct probe *probe_find(const char *name); /* by key, QKV_PROBE_KEY or QKV_CLAIM_KEY, in any case */
bool probe_name_is_claim(const char *name);
void probe_raw_name(char name[64], const char *prefix, const struct probe *probe); /* prefix: "QKV_PROBE_" */

/* ---- probe_launch.c: what the probes share ---- */
struct launch {
    const char *source, *options, *kernel;
    size_t global, local; /* local 0: the driver's choice */
    const void *in;       /* argument 1, unless in_bytes is 0 */
    size_t in_bytes;
    void *out; /* argument 0, zeroed before, read back after */
    size_t out_bytes;
    const cl_int *steps; /* argument 2, unless NULL */
};
/* False, with the outcome filled, where a build or a call fails. */
bool probe_launch(struct outcome *outcome, struct probe_device *device, const struct launch *launch);
/* How many times as long the first one takes as the second. Measured again where that is more than `suspicious`, which a
 * busy machine may have brought about. */
bool probe_race(double *ratio, struct outcome *outcome, struct probe_device *device, const struct launch launches[2],
                double suspicious);
cl_program probe_build(struct outcome *outcome, const struct probe_device *device, const char *source,
                       const char *options);
void probe_result(struct outcome *outcome, enum probe_state state, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 3, 4)))
#endif
    ;
/* "clCreateBuffer: CL_OUT_OF_RESOURCES (-5)" */
void probe_failed(struct outcome *outcome, const char *call, cl_int code);
/* The same of what a queue was to do: the context is doubtful then. */
void probe_command_failed(struct outcome *outcome, struct probe_device *device, const char *call, cl_int code);
/* probes.c. A new context and queue where they are doubtful. Nothing made in the old ones may be left. False, with the
 * outcome filled, where there is none. */
bool probe_renew(struct outcome *outcome, struct probe_device *device);
void probe_claim(struct outcome *outcome, cl_ulong claimed);
/* The claim is what the extensions say, and unknown where the driver does not tell them. */
void probe_claim_extension(struct outcome *outcome, const struct probe_device *device, bool claimed);
bool probe_has_extension(const struct probe_device *device, const char *name);
/* False where the query fails, or answers what can be no number of anything; *value is 0 then. */
bool probe_query(const struct probe_device *device, cl_device_info id, cl_ulong *value);
/* 0 where the query fails. */
cl_ulong probe_number(const struct probe_device *device, cl_device_info id);
cl_uint probe_version(const struct probe_device *device); /* 120, 300 */
const char *probe_newest(struct probe_device *device);    /* the option for that OpenCL C */

/* probe_numbers.c, probe_features.c, probe_limits.c */
void probe_basic(struct outcome *, struct probe_device *);
void probe_denormals(struct outcome *, struct probe_device *);
void probe_infinities(struct outcome *, struct probe_device *);
void probe_half_storage(struct outcome *, struct probe_device *);
void probe_wide_integers(struct outcome *, struct probe_device *);
void probe_fma(struct outcome *, struct probe_device *);
void probe_half(struct outcome *, struct probe_device *);
void probe_double(struct outcome *, struct probe_device *);
void probe_subgroups(struct outcome *, struct probe_device *);
void probe_shuffle(struct outcome *, struct probe_device *);
void probe_dot(struct outcome *, struct probe_device *);
void probe_loops(struct outcome *, struct probe_device *);
void probe_group_size(struct outcome *, struct probe_device *);
void probe_local_memory(struct outcome *, struct probe_device *);
void probe_allocation(struct outcome *, struct probe_device *);

/* The kernels' sources, embedded. */
extern const char tool_source_probe_basic[], tool_source_probe_numbers[], tool_source_probe_real[],
    tool_source_probe_subgroups[], tool_source_probe_dot[], tool_source_probe_limits[], tool_source_probe_loops[];

#endif
