/*
 * A whole layer over few tokens on CPU devices, in one launch: where the work takes no longer than waking the threads
 * for it, every launch that waits for another costs as much again.
 *
 *   q, k, v = x W + b;  heads[r,:] = sum_j softmax_j(scale * q[r,:].k[j,:]) v[j,:];  out = heads W_o + b_o,
 *
 * the first and the last as in linear_vector.clh, softmax over all of at most MAX_KEYS keys at once.
 *
 * NDRange: (as many work-groups as the device has cores, or fewer), local size 1. Each phase is divided into jobs;
 * every work-group has a share of them side by side, as panels of W are asked for ahead, and when that is done takes
 * what is left of the others'. No work-group depends on another's progress: whoever finishes a phase's last job goes on to
 * the next phase, and the others join it if that is soon, else end. Jobs write apart and do the same whoever takes
 * them, so results are always the same.
 * `counters`: for each phase a line of LINE ints for the jobs done, and one a work-group for those taken of its share;
 * zero when the launch begins: layer_clear makes them so.
 *
 * Jobs of attention: one for every VW queries of a head. Query rows lie along the vector lanes, as in
 * attention_vector.cl.
 * `places`: (offset, batch, head and row stride) of q, k, v and heads; their dims lie side by side.
 * `shape`: batch, heads, key heads, rows of a sequence, where the counters begin. `grids`: chunks, column groups and
 * bands of the first and, from element 4 on, of the last phase. Views and sizes as in linear.clh, less what the last
 * projection has no use for, as devices take few bytes of arguments; element 7 of sizes_o is out's columns.
 */
#include "common.clh"
#include "exp2.clh"
#include "transpose.clh"
#include "linear.clh"
#include "linear_vector.clh"

/* Multiples of VW and of 8. */
#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef VALUE_DIM
#define VALUE_DIM 64
#endif
#ifndef MAX_KEYS
#define MAX_KEYS 64
#endif
/*
 * What one work-group wrote before it raised a counter, another reads after it: OpenCL 1.2 leaves that open, compilers for
 * a processor do not. By way of SPIR only who knows the translator can say (TRANSLATED); a simulator may end where it
 * finds a fence. Where this does not build the steps are taken one by one. ALONE: there is one work-group only.
 */
#ifndef ALONE
#define ALONE 1
#endif
#ifndef TRANSLATED
#define TRANSLATED 0
#endif
#if ALONE
#define FENCE mem_fence(CLK_GLOBAL_MEM_FENCE)
#elif QKV_CPU_COMPILER || TRANSLATED
#define FENCE __atomic_thread_fence(__ATOMIC_SEQ_CST)
#else
#error "work-groups can tell each other nothing: this compiler's target is no processor that is known"
#endif
/* Looks at a counter before giving up: longer than any job takes, much shorter than anybody would notice. */
#define PATIENCE 200000
/* Counters that cores write lie in cache lines of their own. */
#define LINE 16
#define PHASE(p) (counters + (p) * ((int)get_num_groups(0) + 1) * LINE)

#define EACH_8(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define DECLARE_SCORE(i)         \
    vec sum##i = (vec)(0.0f);    \
    global const float *key##i = k + min(j + i, (long)keys - 1) * stride;
#define ADD_SCORE(i) sum##i = QKV_FMA((vec)(key##i[d]), query, sum##i);
#define KEEP_SCORE(i) s[j + i] = sum##i;
#define DECLARE_VALUE(i) vec sum##i = (vec)(0.0f);
#define ADD_VALUE(i) sum##i = QKV_FMA((vec)(value[i]), weight, sum##i);
#define KEEP_VALUE(i) o[d + i] = sum##i * inverse;

/* VW rows of n dims, transposed and scaled; rows past the last repeat it. */
static void load_queries(vec *x, global const float *q, long stride, long rows, float scale)
{
    for (int d = 0; d < HEAD_DIM; d += VW, x += VW) {
        for (int r = 0; r < VW; r++)
            x[r] = QKV_VLOAD(q + min((long)r, rows - 1) * stride + d) * scale;
        qkv_transpose(x, 1, x);
    }
}

static void store_heads(global float *heads, long stride, long rows, vec *o)
{
    for (int d = 0; d < VALUE_DIM; d += VW, o += VW) {
        qkv_transpose(o, 1, o);
        for (int r = 0; r < VW && r < rows; r++)
            QKV_VSTORE(o[r], heads + r * stride + d);
    }
}

/* Softmax without its division: the weights' sum. */
static vec exponentials(vec *s, long keys)
{
    vec top = s[0], sum = (vec)(0.0f);
    for (long j = 1; j < keys; j++)
        top = fmax(top, s[j]);
    for (long j = 0; j < keys; j++) {
        s[j] = qkv_exp2(s[j] - top);
        sum += s[j];
    }
    return sum;
}

/* VW queries of one head against all its keys. */
static void attend(global const float *q, global const float *k, global const float *v, global float *heads,
                   long16 places, long rows, long keys, float scale)
{
    vec x[HEAD_DIM], s[MAX_KEYS + 8], o[VALUE_DIM];
    load_queries(x, q, places.s3, rows, scale * QKV_LOG2E);
    const long stride = places.s7;
    for (long j = 0; j < keys; j += 8) {
        EACH_8(DECLARE_SCORE)
        for (int d = 0; d < HEAD_DIM; d++) {
            const vec query = x[d];
            EACH_8(ADD_SCORE)
        }
        EACH_8(KEEP_SCORE)
    }
    const vec inverse = (vec)(1.0f) / exponentials(s, keys);
    for (int d = 0; d < VALUE_DIM; d += 8) {
        global const float *value = v + d;
        EACH_8(DECLARE_VALUE)
        for (long j = 0; j < keys; j++, value += places.sb) {
            const vec weight = s[j];
            EACH_8(ADD_VALUE)
        }
        EACH_8(KEEP_VALUE)
    }
    store_heads(heads, places.sf, rows, o);
}

static void attend_job(int job, global const float *q, global const float *k, global const float *v,
                       global float *heads, long16 places, long8 shape, float scale)
{
    const long blocks = (shape.s3 + VW - 1) / VW, pair = job / blocks, row = job % blocks * VW;
    const long batch = pair / shape.s1, head = pair % shape.s1, key_head = head / (shape.s1 / shape.s2);
    attend(q + places.s0 + batch * places.s1 + head * places.s2 + row * places.s3,
           k + places.s4 + batch * places.s5 + key_head * places.s6,
           v + places.s8 + batch * places.s9 + key_head * places.sa,
           heads + places.sc + batch * places.sd + head * places.se + row * places.sf, places,
           min((long)VW, shape.s3 - row), shape.s3, scale);
}

/* The next job, of *share or of those after it; -1: all are taken. */
static int take_job(volatile global int *phase, int jobs, int *share)
{
    const int shares = (int)get_num_groups(0);
    for (int i = 0; i < shares; i++, *share = (*share + 1) % shares) {
        const int job = (int)((long)*share * jobs / shares) + atomic_inc(phase + (*share + 1) * LINE);
        if (job < (*share + 1L) * jobs / shares)
            return job;
    }
    return -1;
}

/* Says that a job of the phase is done; true where it was the last. */
static bool finish_job(volatile global int *phase, int jobs)
{
    FENCE;
    return atomic_inc(phase) == jobs - 1;
}

/* Is the phase done, by the one who asks or soon after? The last look is atomic: what was written before the counter
 * was raised is read after it. */
static bool await_phase(volatile global int *phase, int jobs, bool done)
{
    for (int i = 0; !done && i < PATIENCE; i++)
        done = *phase == jobs;
    done = atomic_or(phase, 0) == jobs;
    FENCE;
    return done;
}

#define CHUNK(job, grid) (job) % grid.s0
#define GROUP(job, grid) (job) / grid.s0 % grid.s1
#define BAND(job, grid) (job) / (grid.s0 * grid.s1)

/* Of an only output: what LINEAR_ARGS has of the slots that are not used. */
#define ONLY_VIEWS(view) (long16)(view, view)
#define ONLY_WIDTHS(view, panels, features) (long16)(view, 0, (long3)(panels), (long4)(features))

kernel void layer_vector(global const float *x, global const float *packed, global const float *bias, global float *q,
                         global float *k, global float *v, global float *heads, global const float *packed_o,
                         global const float *bias_o, global float *out, volatile global int *counters, int8 grids,
                         long16 views_x0, long16 views_12, long16 view_3_widths, long16 views_heads_out,
                         long16 places, long8 sizes, long8 sizes_o, long8 shape, float scale)
{
    const int4 grid_in = grids.lo, grid_out = grids.hi;
    const int jobs_in = grid_in.s0 * grid_in.s1 * grid_in.s2, jobs_out = grid_out.s0 * grid_out.s1 * grid_out.s2;
    const int jobs_attention = (int)(shape.s0 * shape.s1 * ((shape.s3 + VW - 1) / VW));
    counters += shape.s4;
    const int own = (int)get_group_id(0);
    bool done = false;
    for (int job, share = own; (job = take_job(PHASE(0), jobs_in, &share)) >= 0;) {
        linear_group(x, packed, bias, q, k, v, q, views_x0, views_12, view_3_widths, sizes,
                     CHUNK(job, grid_in), grid_in.s0, GROUP(job, grid_in), BAND(job, grid_in));
        done = finish_job(PHASE(0), jobs_in);
    }
    if (!await_phase(PHASE(0), jobs_in, done))
        return;
    done = false;
    for (int job, share = own; (job = take_job(PHASE(1), jobs_attention, &share)) >= 0;) {
        attend_job(job, q, k, v, heads, places, shape, scale);
        done = finish_job(PHASE(1), jobs_attention);
    }
    if (!await_phase(PHASE(1), jobs_attention, done))
        return;
    for (int job, share = own; (job = take_job(PHASE(2), jobs_out, &share)) >= 0;)
        linear_group(heads, packed_o, bias_o, out, out, out, out, views_heads_out, ONLY_VIEWS(views_heads_out.hi),
                     ONLY_WIDTHS(views_heads_out.hi, sizes_o.s2, sizes_o.s7), sizes_o, CHUNK(job, grid_out),
                     grid_out.s0, GROUP(job, grid_out), BAND(job, grid_out));
}

kernel void layer_clear(global int *counters, long offset, int count)
{
    for (int i = 0; i < count; i++)
        counters[offset + i] = 0;
}
