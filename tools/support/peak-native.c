/* The peak of fused multiply-adds as a C loop reaches it: what the OpenCL peak kernel is held against. */
#include "peak.h"

#include "stats.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Twelve chains: two units with a latency of four or five cycles need eight to ten. Each step of ONE is twelve
 * multiply-adds of `lanes` lanes. */
#define TWELVE(ONE) ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9) ONE(10) ONE(11)
#define CHAINS 12

typedef float (*chain_function)(size_t iterations, float seed);

struct chain_kind {
    const char *name;
    size_t lanes;
    chain_function run;
};

#define DECLARE(i) VEC x##i = SPLAT(seed + (float)i);
#define STEP(i) x##i = FMA(x##i, a, b);
#define TOTAL(i) total = ADD(total, x##i);
#define CHAIN_BODY                                                                                                     \
    VEC a = SPLAT(0.999f), b = SPLAT(0.001f), total = SPLAT(0.0f);                                                     \
    TWELVE(DECLARE)                                                                                                    \
    for (size_t n = 0; n < iterations; ++n) {                                                                          \
        TWELVE(STEP)                                                                                                   \
    }                                                                                                                  \
    TWELVE(TOTAL)

#if defined(__x86_64__) && defined(__GNUC__)

#define VEC __m512
#define SPLAT _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define ADD _mm512_add_ps
__attribute__((target("avx512f"))) static float chain_avx512(size_t iterations, float seed) {
    CHAIN_BODY
    return _mm512_reduce_add_ps(total);
}
#undef VEC
#undef SPLAT
#undef FMA
#undef ADD

#define VEC __m256
#define SPLAT _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define ADD _mm256_add_ps
__attribute__((target("avx2,fma"))) static float chain_avx2(size_t iterations, float seed) {
    CHAIN_BODY
    float lanes[8];
    _mm256_storeu_ps(lanes, total);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
}
#undef VEC
#undef SPLAT
#undef FMA
#undef ADD

#elif defined(__aarch64__)

#define VEC float32x4_t
#define SPLAT vdupq_n_f32
#define FMA(x, m, c) vfmaq_f32(c, x, m)
#define ADD vaddq_f32
static float chain_neon(size_t iterations, float seed) {
    CHAIN_BODY
    return vaddvq_f32(total);
}
#undef VEC
#undef SPLAT
#undef FMA
#undef ADD

#endif

#if !defined(__aarch64__)
#define VEC float
#define SPLAT(x) (x)
#define FMA(x, m, c) ((x) * (m) + (c))
#define ADD(x, y) ((x) + (y))
static float chain_plain(size_t iterations, float seed) {
    CHAIN_BODY
    return total;
}
#endif

static struct chain_kind native_kind(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f")) {
        return (struct chain_kind){"AVX-512", 16, chain_avx512};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return (struct chain_kind){"AVX2", 8, chain_avx2};
    }
#elif defined(__aarch64__)
    return (struct chain_kind){"NEON", 4, chain_neon};
#endif
#if !defined(__aarch64__)
    return (struct chain_kind){"C", 1, chain_plain};
#endif
}

const char *tool_native_name(void) {
    return native_kind().name;
}

/* Pieces of work a thread takes at most if all go at the same speed: as many as the OpenCL kernel has work-groups for a
 * compute unit, so that a core that is busy with something else strikes both alike. */
#define PIECES TOOL_PEAK_GROUPS

enum { WAIT, GO, LEAVE };

struct work {
    struct chain_kind kind;
    size_t iterations; /* of a piece */
    unsigned pieces;
    atomic_uint next;
    atomic_int signal;
};

struct worker {
    pthread_t thread;
    struct work *work;
    double begin, end;
    double used;  /* seconds of a processor */
    float result; /* kept, so that the loop is */
};

/* Of this thread; where there is no such clock, of the wall. */
static double thread_seconds(void) {
#ifdef CLOCK_THREAD_CPUTIME_ID
    struct timespec time;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0) return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
#endif
    return tool_clock_seconds();
}

static void *run_pieces(void *argument) {
    struct worker *worker = argument;
    struct work *work = worker->work;
    while (atomic_load(&work->signal) == WAIT) {
        sched_yield();
    }
    if (atomic_load(&work->signal) == LEAVE) {
        return NULL;
    }
    worker->begin = tool_clock_seconds();
    double used = thread_seconds();
    while (atomic_fetch_add(&work->next, 1) < work->pieces) {
        worker->result += work->kind.run(work->iterations, worker->result * 1e-9f);
    }
    worker->used = thread_seconds() - used;
    worker->end = tool_clock_seconds();
    return NULL;
}

/* From the first thread's start to the last one's end; 0 where the threads cannot be had. *used is what a thread used of
 * a processor, on the average. */
static double run_once(double *used, struct worker *workers, unsigned threads, size_t iterations) {
    struct work work = {.kind = native_kind(), .iterations = iterations, .pieces = threads * PIECES};
    atomic_init(&work.next, 0);
    atomic_init(&work.signal, WAIT);
    *used = 0;
    unsigned started = 1; /* the caller is the first */
    for (; started < threads; ++started) {
        workers[started].work = &work;
        if (pthread_create(&workers[started].thread, NULL, run_pieces, &workers[started]) != 0) {
            break;
        }
    }
    double begin = 0, end = 0;
    workers[0].work = &work;
    atomic_store(&work.signal, started == threads ? GO : LEAVE);
    if (started == threads) {
        run_pieces(&workers[0]);
        begin = workers[0].begin;
        end = workers[0].end;
        *used = workers[0].used / threads;
    }
    for (unsigned i = 1; i < started; ++i) {
        pthread_join(workers[i].thread, NULL);
        begin = workers[i].begin < begin ? workers[i].begin : begin;
        end = workers[i].end > end ? workers[i].end : end;
        *used += workers[i].used / threads;
    }
    return end - begin;
}

double tool_native_peak(unsigned threads, double seconds, double *share) {
    static size_t iterations = 1000; /* kept: later calls need no calibration */
    struct worker *workers = calloc(threads ? threads : 1, sizeof *workers);
    double used = 0, elapsed = workers && threads ? run_once(&used, workers, threads, iterations) : 0;
    /* By the processor's time: on a busy machine the wall's would end the search far too soon, for good. */
    while (elapsed > 0 && used < seconds / 2) {
        iterations *= 2;
        elapsed = run_once(&used, workers, threads, iterations);
    }
    free(workers);
    if (share) *share = elapsed > 0 ? used / elapsed : 0;
    double flops = 2.0 * CHAINS * (double)native_kind().lanes * (double)iterations * (double)(threads * PIECES);
    return elapsed > 0 ? flops / elapsed * 1e-9 : 0;
}
