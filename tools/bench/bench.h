/* What the parts of qkv-bench share. */
#ifndef QKV_BENCH_H
#define QKV_BENCH_H

#include <stdbool.h>
#include <stdio.h>

#include "qkv.h"
#include "support/peak.h"
#include "support/stats.h"

/* ---- cases.c ---- */

enum bench_kind {
    BENCH_PROJECTION,
    BENCH_ATTENTION,
    BENCH_LAYER,
    BENCH_DECODE,
    BENCH_ROTARY,
    BENCH_START,
    BENCH_KNOWN /* the library's self-tests */
};

struct bench_case {
    char name[40];
    enum bench_kind kind;
    bool by_default;
    /* projection */
    size_t rows, in_features, out_features, num_outputs;
    /* attention, decode and layer */
    size_t batch, num_heads, num_kv_heads, seq_q, seq_kv, head_dim, value_dim;
    bool causal, weights;
    uint64_t features; /* QKV_ATTENTION_* bits the plan has besides, whether a run uses them or not */
    size_t window;     /* a query sees as many keys, its own the last; 0: all */
    float softcap;
    bool received, half; /* weight received by each key; q, k, v and out in fp16 */
    size_t embed_dim; /* layer */
    /* start: a small problem of that kind, with or without what the driver keeps of earlier builds */
    enum bench_kind start_of;
    bool cold;
    bool process; /* from the start of the process, with this library's cache */
};

/* The table, in the order it is run; never NULL. */
const struct bench_case *bench_cases(size_t *out_count);
const struct bench_case *bench_case_find(const char *name);
const char *bench_kind_name(enum bench_kind kind);
/* Is it one computation, with a rate, a result to check and peers? */
bool bench_case_computes(const struct bench_case *c);

/* Multiplications and additions the formula asks for; causal attention counts S(S+1)/2 pairs. */
double bench_case_flops(const struct bench_case *c);
/* Bytes that must move at least once: weights, inputs, outputs; K and V alone for decode. */
double bench_case_bytes(const struct bench_case *c);
/* Whether reading memory bounds the case rather than arithmetic: fewer than 4 flops a byte. A fixed rule,
 * so that a case is held to the same roof on every run. */
bool bench_case_reads(const struct bench_case *c);

/* ---- inputs.c ---- */

/* One stream of values for each tensor. */
enum bench_seed {
    BENCH_SEED_X = 1,
    BENCH_SEED_W = 2, /* Wq, Wk, Wv stacked: (out, in) */
    BENCH_SEED_B = 3,
    BENCH_SEED_WO = 4,
    BENCH_SEED_BO = 5,
    BENCH_SEED_Q = 6,
    BENCH_SEED_K = 7,
    BENCH_SEED_V = 8
};

/* Element `index` of a stream, uniform in [-1, 1). A hash of (seed, index), so that any element of any input can be
 * had without keeping the input, and tools/bench-peers.py computes the same ones. */
float bench_value(enum bench_seed seed, size_t index);
/* `count` elements from `first`, times scale; NULL if memory is exhausted. The caller frees it. */
float *bench_values(enum bench_seed seed, size_t first, size_t count, float scale);
/* What fp16 holds of a value within [-1, 1], and its bits. */
uint16_t bench_half_bits(float value);
float bench_half_value(float value);
/* Weights are uniform in +-1/sqrt(in_features), as nn.Linear sets them up. */
float bench_weight_scale(size_t in_features);

/* ---- subject.c: this library's side of a case ---- */

struct bench_subject;

/* Prepares plan, weights, inputs and output. NULL on failure, with the reason in error. */
struct bench_subject *bench_subject_create(qkv_context *context, const struct bench_case *c, char *error,
                                           size_t error_size);
void bench_subject_destroy(struct bench_subject *subject);
/* One run, from enqueue to the end of clFinish. */
bool bench_subject_run(struct bench_subject *subject, char *error, size_t error_size);
/* The output on the host as floats, *out_count elements; NULL on failure. The caller frees it. */
float *bench_subject_output(struct bench_subject *subject, size_t *out_count, char *error, size_t error_size);
/* The attention weights of a case that asks for them, in the same way. */
float *bench_subject_weights(struct bench_subject *subject, size_t *out_count, char *error, size_t error_size);
/* A layer's own q, k and v, from a run that asks for them. The caller frees what is not NULL, on failure too. */
bool bench_subject_layer_parts(struct bench_subject *subject, float *parts[3], char *error, size_t error_size);
const struct bench_case *bench_subject_case(const struct bench_subject *subject);
/* What the plan says of itself. */
const char *bench_subject_describe(const struct bench_subject *subject);

/* ---- check.c ---- */

/*
 * Compares sampled rows of `output` with double precision, under bounds derived from lengths and precision.
 * *worst: the largest error as a part of its bound; above 1 is a mismatch. False if the check could not be made.
 */
bool bench_check(struct bench_subject *subject, const float *output, double *worst, char *error, size_t error_size);
/* Bound on the difference of two fp32 projections of the same inputs, any element. */
double bench_projection_bound(const struct bench_case *c);

/* ---- peers.c ---- */

#define BENCH_MAX_PEERS 3

struct bench_peer {
    const char *name;
    void *library; /* NULL: not installed */
    void *state;   /* prepared for a case */
    bool (*open)(struct bench_peer *peer, unsigned threads);
    /* False: does not do this case. */
    bool (*prepare)(struct bench_peer *peer, qkv_context *context, const struct bench_case *c);
    bool (*run)(struct bench_peer *peer);
    /* rows * out_features elements. */
    bool (*output)(struct bench_peer *peer, float *y);
    void (*release)(struct bench_peer *peer);
};

/* Whether a comma-separated choice names peers there are, or "none". */
bool bench_peers_named(const char *names);

/* Opens the libraries that are installed. Those that run on the host only where `host` is set. names: a comma-separated
 * choice, NULL for all. Missing ones are named on `log` once. Returns how many are open; they come first. */
size_t bench_peers_open(struct bench_peer peers[BENCH_MAX_PEERS], const char *names, bool host, unsigned threads,
                        FILE *log);
void bench_peers_close(struct bench_peer peers[BENCH_MAX_PEERS], size_t count);

/* ---- measure.c ---- */

struct bench_peer_result {
    const char *name;
    double median_us;
    struct tool_quartiles ratio; /* peer's time / ours, paired run by run */
};

struct bench_result {
    const struct bench_case *spec;
    struct tool_quartiles us;
    size_t runs;
    double gflops, gbps;
    double read_share; /* of the read kernel's best rate over as many bytes, paired; 0 unless bench_case_reads() */
    size_t num_peers;
    struct bench_peer_result peers[BENCH_MAX_PEERS];
    bool mismatch; /* see note */
    bool failed;   /* no figures: see note */
    char note[600];
};

struct bench {
    qkv_context *context;
    struct tool_peak *peak;
    struct bench_peer peers[BENCH_MAX_PEERS];
    size_t num_peers;
    double seconds;
    const char *program, *device; /* this program and its -d, to start it again; device may be NULL */
    /* The highest median of the peak kernel among the cases so far; clocks drift, so it is taken all along. */
    double peak_gflops;
    double read_gbps; /* of memory past the caches */
    struct tool_quartiles native_gflops, native_ratio;
    double cores_ours; /* the part of the cores' time this process got while all of them were wanted; 0: not known */
};

/* Peak kernel and C loop in alternation; sets the peaks. False where the kernels do not run. */
bool bench_measure_peaks(struct bench *bench, unsigned threads);
void bench_measure(struct bench *bench, const struct bench_case *c, struct bench_result *result);
/* The fastest run in a turn of the reading kernel: GB/s, 0 on failure. */
double bench_best_reading(struct tool_peak *peak, double bytes);
/* Part of the roof that bounds the case. */
double bench_share(const struct bench *bench, const struct bench_result *result);

/* ---- start.c ---- */

/* In new processes: plan and first run, or all from the start of the process to the first result. */
void bench_start_measure(const struct bench *bench, const struct bench_case *c, struct bench_result *result);
/* Such a process's part: prints the microseconds of plan and first run, and the monotonic clock after them. Returns the
 * exit status. */
int bench_start_once(qkv_context *context, const char *name);

/* ---- known.c ---- */

/* Every solver's known answers; the time is that of the solver they take longest for. */
void bench_known_measure(const struct bench *bench, const struct bench_case *c, struct bench_result *result);

/* ---- empty.c ---- */

/* The same for one empty kernel, without this library. The environment names the file that keeps its program. */
#define BENCH_EMPTY_FILE "QKV_BENCH_EMPTY"
int bench_start_empty(const char *selector);

/* ---- report.c ---- */

void bench_report_head(FILE *out, const struct bench *bench);
void bench_report_row(FILE *out, const struct bench *bench, const struct bench_result *result);
bool bench_report_json(FILE *out, const struct bench *bench, const struct bench_result *results, size_t count);
void bench_report_list(FILE *out, const struct bench_case *c);
/* A new reference to jansson's json_t, as the JSON's "shape" has it. */
struct json_t *bench_shape_json(const struct bench_case *c);

/* ---- serve.c ---- */

/* Answers commands on standard input until it ends; see qkv-bench --help. Returns the exit status. */
int bench_serve(struct bench *bench);

#endif
