#include "support/rotary_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/reference.h"
#include "support/storage.h"

static qkv_dtype or_f32(qkv_dtype dtype) {
    return dtype ? dtype : QKV_F32;
}

void rotary_note(const struct rotary_case *c, const char *solver, size_t number) {
    test_note("seed %llu, case %zu, solver %s: batch %zu, heads %zu, seq %zu, dim %zu of %zu, interleaved %d, base %g, "
              "scale %g, magnitude %g, own %d, rows %zu, positions %d (shape %zu), first %lld, angles %d, dtypes %d %d "
              "%d %d, in place %d, inverse %d, views %d, tokens first %d, outside %d",
              (unsigned long long)test_seed(), number, solver ? solver : "(default)", c->batch, c->num_heads, c->seq,
              c->rotary_dim, c->head_dim, c->interleaved, c->base, c->position_scale, c->magnitude, c->own_frequencies,
              c->num_rows, (int)c->positions, c->positions_shape, (long long)c->first_position, (int)c->angles,
              (int)c->x, (int)c->out, (int)c->cos, (int)c->sin, c->in_place, c->inverse, c->views, c->tokens_first,
              c->outside);
}

double *rotary_frequencies(const struct rotary_case *c) {
    double *frequencies = test_alloc(c->rotary_dim / 2, sizeof *frequencies), base = c->base != 0 ? c->base : 10000;
    for (size_t p = 0; p < c->rotary_dim / 2; p++)
        frequencies[p] =
            c->own_frequencies ? 2.0 / (double)(3 * p + 1) : pow(base, -2.0 * (double)p / (double)c->rotary_dim);
    return frequencies;
}

qkv_rotary *rotary_make(const struct rotary_case *c, const double *frequencies, const char *solver) {
    qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
    qkv_rotary *rotary = NULL;
    size_t bytes = c->rotary_dim / 2 * sizeof(double);
    double *copy = c->own_frequencies ? test_alloc(1, bytes) : NULL;
    if (copy) memcpy(copy, frequencies, bytes);
    desc.head_dim = c->head_dim;
    desc.rotary_dim = c->rotary_dim == c->head_dim ? 0 : c->rotary_dim;
    desc.interleaved = c->interleaved;
    desc.base = c->base;
    desc.position_scale = c->position_scale;
    desc.frequencies = copy;
    desc.magnitude = c->magnitude;
    desc.max_position = c->angles == ANGLES_PLAN ? c->num_rows : 0;
    desc.solver = solver;
    qkv_status status = qkv_rotary_create(&rotary, test_context(), &desc);
    free(copy); /* before it is used: the plan has its own */
    if (test_solver_refused(status, solver)) return NULL;
    TEST_OK(status);
    return rotary;
}

/* What a run is given besides x: positions, cosines and sines, on the device and here. */
struct inputs {
    struct test_array positions, cos, sin;
    int64_t *position; /* (batch, seq) */
    double *cos_values, *sin_values;
};

static struct test_layout layout_of(const struct rotary_case *c, struct test_random *random, size_t rank) {
    struct test_layout dense = {.step = 1};
    return c->views ? test_layout_random(random, rank) : dense;
}

static int64_t draw_position(const struct rotary_case *c, struct test_random *random) {
    static const int64_t outside[] = {-1, INT32_MIN, INT32_MAX, 0, INT64_MIN, INT64_MAX};
    int64_t position = (int64_t)test_random_below(random, c->num_rows);
    if (!c->outside || !test_random_once_in(random, 3)) return position;
    position = outside[test_random_below(random, c->positions == POSITIONS_I64 ? 6 : 4)];
    return position ? position : (int64_t)c->num_rows;
}

static void make_positions(struct inputs *in, const struct rotary_case *c, struct test_random *random) {
    const size_t n = c->batch * c->seq, shape[] = {c->positions_shape ? 1 : c->batch, c->seq};
    const size_t rank = c->positions_shape == 2 ? 1 : 2, given = shape[0] * c->seq;
    in->position = test_alloc(n, sizeof *in->position);
    for (size_t i = 0; i < n; i++)
        in->position[i] = c->first_position + (int64_t)(i % c->seq);
    if (c->positions == POSITIONS_FIRST) return;
    int32_t *narrow = test_alloc(given, sizeof *narrow);
    int64_t *wide = test_alloc(given, sizeof *wide);
    for (size_t i = 0; i < given; i++) {
        wide[i] = draw_position(c, random);
        narrow[i] = (int32_t)wide[i];
    }
    struct test_layout layout = layout_of(c, random, rank);
    bool is_wide = c->positions == POSITIONS_I64;
    test_array_input(&in->positions, is_wide ? QKV_I64 : QKV_I32, rank, shape + 2 - rank, &layout,
                     is_wide ? (void *)wide : narrow);
    for (size_t i = 0; i < n; i++)
        in->position[i] = is_wide ? wide[i % given] : narrow[i % given];
    free(narrow);
    free(wide);
}

/* Not on the unit circle: a run uses what it is given. */
static double *make_given(struct test_array *array, const struct rotary_case *c, qkv_dtype dtype,
                          struct test_random *random) {
    const size_t rows = c->angles == ANGLES_ROWS ? c->num_rows : c->seq, rank = c->angles == ANGLES_ROWS ? 2 : 3;
    const size_t shape[] = {c->angles == ANGLES_TOKENS ? c->batch : 1, rows, c->rotary_dim / 2};
    const size_t n = shape[0] * shape[1] * shape[2];
    struct test_layout layout = layout_of(c, random, rank);
    double *values = test_alloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (double)test_random_float(random);
    void *stored = storage_from(values, n, dtype);
    test_array_input(array, dtype, rank, shape + 3 - rank, &layout, stored);
    free(values);
    values = storage_values(stored, n, dtype);
    free(stored);
    return values;
}

static void inputs_make(struct inputs *in, const struct rotary_case *c, struct test_random *random) {
    memset(in, 0, sizeof *in);
    make_positions(in, c, random);
    if (c->angles == ANGLES_PLAN) return;
    in->cos_values = make_given(&in->cos, c, or_f32(c->cos), random);
    in->sin_values = make_given(&in->sin, c, or_f32(c->sin), random);
}

static void inputs_free(struct inputs *in) {
    if (in->positions.memory.mem) test_array_free(&in->positions);
    if (in->cos.memory.mem) test_array_free(&in->cos);
    if (in->sin.memory.mem) test_array_free(&in->sin);
    free(in->position);
    free(in->cos_values);
    free(in->sin_values);
}

static struct ref_angle angle_of(const struct rotary_case *c, const struct inputs *in, const double *frequencies,
                                 size_t batch, size_t token, size_t pair) {
    const double magnitude = c->magnitude != 0 ? c->magnitude : 1,
                 scale = c->position_scale != 0 ? c->position_scale : 1;
    const int64_t position = in->position[batch * c->seq + token];
    const size_t row = c->angles == ANGLES_ROWS     ? (size_t)position
                       : c->angles == ANGLES_TOKENS ? batch * c->seq + token
                                                    : token;
    struct ref_angle angle = {NAN, NAN, 0};
    if (c->angles == ANGLES_PLAN || c->angles == ANGLES_ROWS)
        if (position < 0 || position >= (int64_t)c->num_rows) return angle;
    if (c->angles == ANGLES_PLAN)
        angle = ref_rotary_angle((double)position, scale * frequencies[pair], magnitude);
    else
        angle = (struct ref_angle){in->cos_values[row * (c->rotary_dim / 2) + pair],
                                   in->sin_values[row * (c->rotary_dim / 2) + pair], 0};
    if (c->inverse) angle.sin = -angle.sin;
    return angle;
}

/* y and its bound, storage included, for dense x. */
static void reference(double *y, double *dy, const struct rotary_case *c, const struct inputs *in,
                      const double *frequencies, const double *x) {
    const qkv_dtype dtype = or_f32(c->in_place ? c->x : c->out);
    struct ref_angle angles[256];
    for (size_t line = 0; line < c->batch * c->num_heads * c->seq; line++) {
        const size_t batch = line / c->seq / c->num_heads, at = line * c->head_dim;
        for (size_t p = 0; p < c->rotary_dim / 2; p++)
            angles[p] = angle_of(c, in, frequencies, batch, line % c->seq, p);
        ref_rotary(y + at, dy + at, x + at, NULL, angles, c->head_dim, c->rotary_dim, c->interleaved);
    }
    for (size_t i = 0; i < c->batch * c->num_heads * c->seq * c->head_dim; i++) {
        const bool copied = i % c->head_dim >= c->rotary_dim && (dtype == or_f32(c->x) || dtype == QKV_F32);
        if (!copied) dy[i] += storage_error(fabs(y[i]) + dy[i], dtype);
    }
}

/* x in the order of the case: heads first, or tokens first as projections write them. */
static void make_x(struct test_array *x, const struct rotary_case *c, struct test_random *random, const void *stored) {
    const size_t shape[] = {c->batch, c->num_heads, c->seq, c->head_dim};
    struct test_layout layout = layout_of(c, random, 4);
    if (c->tokens_first && !c->views) {
        layout.permuted = true;
        memcpy(layout.order, (const size_t[]){0, 2, 1, 3}, 4 * sizeof(size_t));
    }
    size_t bytes = c->batch * c->num_heads * c->seq * c->head_dim * qkv_dtype_size(or_f32(c->x));
    void *copy = test_alloc(1, bytes);
    memcpy(copy, stored, bytes);
    test_array_input(x, or_f32(c->x), 4, shape, &layout, copy);
    free(copy);
}

static void enqueue(const qkv_rotary *rotary, const struct rotary_case *c, const struct inputs *in, const qkv_tensor *x,
                    const qkv_tensor *out) {
    qkv_rotary_args args = QKV_ROTARY_ARGS_INIT;
    args.x = x;
    args.out = out;
    args.positions = in->positions.memory.mem ? &in->positions.view : NULL;
    args.first_position = args.positions ? 0 : c->first_position;
    args.cos = in->cos.memory.mem ? &in->cos.view : NULL;
    args.sin = in->sin.memory.mem ? &in->sin.view : NULL;
    args.inverse = c->inverse;
    TEST_OK(qkv_rotary_run(rotary, test_queue(), &args, 0, NULL, NULL));
    TEST_CL(clFinish(test_queue()));
}

static void compare(const struct rotary_case *c, struct test_array *result, const struct inputs *in,
                    const double *frequencies, const double *x) {
    const size_t n = qkv_tensor_count(&result->view);
    const qkv_dtype dtype = (qkv_dtype)result->view.dtype;
    double *y = test_alloc(n, sizeof *y), *dy = test_alloc(n, sizeof *dy);
    void *stored = test_alloc(n, qkv_dtype_size(dtype));
    float *got = test_alloc(n, sizeof *got);
    TEST_DOWNLOAD(&result->memory);
    test_memory_get(result->memory.result, &result->view, stored);
    double *values = storage_values(stored, n, dtype);
    for (size_t i = 0; i < n; i++)
        got[i] = (float)values[i];
    reference(y, dy, c, in, frequencies, x);
    TEST_CLOSE(c->in_place ? "x, turned in place" : "out", got, y, dy, n);
    free(values);
    free(stored);
    free(got);
    free(y);
    free(dy);
}

static void check(const qkv_rotary *rotary, const struct rotary_case *c, const double *frequencies,
                  struct test_random *random) {
    const size_t shape[] = {c->batch, c->num_heads, c->seq, c->head_dim};
    const size_t n = shape[0] * shape[1] * shape[2] * shape[3];
    struct test_layout layout = layout_of(c, random, 4);
    struct test_array x, out;
    struct inputs in;
    inputs_make(&in, c, random);
    float *drawn = test_random_floats(random, n, 2);
    double *values = ref_doubles(drawn, n);
    /* What passes through may be anything. */
    for (size_t i = 0; i < n; i++)
        if (i % c->head_dim >= c->rotary_dim && i % 5 == 0) values[i] = i % 2 ? NAN : INFINITY;
    void *stored = storage_from(values, n, or_f32(c->x));
    free(values);
    values = storage_values(stored, n, or_f32(c->x));
    make_x(&x, c, random, stored);
    if (c->in_place) {
        qkv_tensor turned;
        TEST_OK(qkv_tensor_slice(&turned, &x.view, 3, 0, c->rotary_dim));
        test_memory_allow(&x.memory, &turned);
    } else {
        test_array_output_of(&out, or_f32(c->out), 4, shape, &layout);
    }
    enqueue(rotary, c, &in, &x.view, c->in_place ? &x.view : &out.view);
    compare(c, c->in_place ? &x : &out, &in, frequencies, values);
    if (!c->in_place) test_array_free(&out);
    test_array_free(&x);
    inputs_free(&in);
    free(drawn);
    free(values);
    free(stored);
}

void rotary_check_case(const struct rotary_case *c, const char *solver, size_t number) {
    struct test_random random = test_random_start(test_seed(), number);
    double *frequencies = rotary_frequencies(c);
    rotary_note(c, solver, number);
    qkv_rotary *rotary = rotary_make(c, frequencies, solver);
    if (rotary) check(rotary, c, frequencies, &random);
    qkv_rotary_destroy(rotary);
    free(frequencies);
}
