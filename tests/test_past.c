/* Past and present keys and values: present is the concatenation bit by bit, and attention is that over it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/buffers.h"
#include "support/storage.h"

enum { HEADS = 4, KV_HEADS = 2, LIMIT = 96 };

struct shape {
    size_t batch, seq_q, seq_past, seq_new, head_dim, value_dim;
    qkv_dtype k_dtype, v_dtype;
    bool in_place, no_past; /* no_past: the slots are NULL, not empty */
    bool views;
    qkv_causal causal;
};

static void note(const struct shape *s, const char *solver) {
    test_note("solver %s, batch %zu, seq_q %zu, seq_past %zu, seq_new %zu, dims %zu %zu, dtypes %d %d, in place %d, no "
              "past %d, views %d, causal %d",
              solver ? solver : "(default)", s->batch, s->seq_q, s->seq_past, s->seq_new, s->head_dim, s->value_dim,
              (int)s->k_dtype, (int)s->v_dtype, s->in_place, s->no_past, s->views, (int)s->causal);
}

static qkv_attention *make_plan(const struct shape *s, const char *solver) {
    qkv_attention_desc desc = QKV_ATTENTION_DESC_INIT;
    qkv_attention *attention = NULL;
    desc.head_dim = s->head_dim, desc.value_dim = s->value_dim;
    desc.num_heads = HEADS, desc.num_kv_heads = KV_HEADS;
    desc.max_batch = 2, desc.max_seq_q = desc.max_seq_kv = LIMIT;
    desc.features = QKV_ATTENTION_PAST;
    desc.k_dtype = s->k_dtype, desc.v_dtype = s->v_dtype;
    desc.solver = solver;
    const qkv_status status = qkv_attention_create(&attention, test_context(), &desc);
    if (test_solver_refused(status, solver)) return NULL;
    TEST_OK(status);
    return attention;
}

/* ---- keys or values ---- */

struct part {
    size_t dim, bytes;
    qkv_dtype dtype;
    unsigned char *past, *fresh, *whole; /* dense (batch, head, row, dim); whole: what present must be */
    struct test_array past_array, fresh_array, whole_array;
    struct test_memory cache; /* of present; in place of past too */
    qkv_tensor past_view, present_view;
};

static unsigned char *values(struct test_random *random, size_t n, qkv_dtype dtype) {
    double *numbers = test_alloc(n, sizeof(double));
    for (size_t i = 0; i < n; i++)
        numbers[i] = (double)test_random_float(random);
    void *stored = storage_from(numbers, n, dtype);
    free(numbers);
    return stored;
}

static void concatenate(struct part *p, const struct shape *s) {
    const size_t width = p->dim * p->bytes, past = s->seq_past * width, fresh = s->seq_new * width;
    p->whole = test_alloc(s->batch * KV_HEADS * (past + fresh), 1);
    for (size_t plane = 0; plane < s->batch * KV_HEADS; plane++) {
        memcpy(p->whole + plane * (past + fresh), p->past + plane * past, past);
        memcpy(p->whole + plane * (past + fresh) + past, p->fresh + plane * fresh, fresh);
    }
}

/* Present in a cache with room behind it; past in its beginning, or somewhere else. */
static void place(struct part *p, const struct shape *s, struct test_random *random) {
    const size_t room[4] = {s->batch, KV_HEADS, s->seq_past + s->seq_new + 5, p->dim};
    const size_t past[4] = {s->batch, KV_HEADS, s->seq_past, p->dim},
                 fresh[4] = {s->batch, KV_HEADS, s->seq_new, p->dim};
    const size_t whole[4] = {s->batch, KV_HEADS, s->seq_past + s->seq_new, p->dim};
    const struct test_layout dense = {.step = 1};
    struct test_layout layouts[3];
    size_t elements = 0;
    for (size_t i = 0; i < 3; i++)
        layouts[i] = s->views ? test_layout_random(random, 4) : dense;
    /* With rows that run backwards a longer view would begin elsewhere. */
    layouts[0].reversed &= ~4u;
    test_view_make(&p->present_view, &elements, &layouts[0], p->dtype, 4, room);
    test_memory_create(&p->cache, elements * p->bytes);
    p->present_view.memory.buffer = p->cache.mem;
    p->past_view = p->present_view;
    p->present_view.shape[2] = s->seq_past + s->seq_new;
    p->past_view.shape[2] = s->seq_past;
    if (s->in_place) test_memory_put(&p->cache, &p->past_view, p->past);
    test_memory_allow(&p->cache, &p->present_view);
    /* What is there already must not change. */
    for (size_t i = 0; s->in_place && i < qkv_tensor_count(&p->past_view); i++)
        memset(p->cache.writable + p->bytes * test_view_element(&p->past_view, i), 0, p->bytes);
    test_memory_upload(&p->cache);
    test_array_input(&p->fresh_array, p->dtype, 4, fresh, &layouts[1], p->fresh);
    test_array_input(&p->whole_array, p->dtype, 4, whole, &dense, p->whole);
    if (!s->in_place) {
        test_array_input(&p->past_array, p->dtype, 4, past, &layouts[2], p->past);
        p->past_view = p->past_array.view;
    }
}

static void part_make(struct part *p, const struct shape *s, size_t dim, qkv_dtype dtype, struct test_random *random) {
    memset(p, 0, sizeof *p);
    p->dim = dim, p->dtype = dtype, p->bytes = qkv_dtype_size(dtype);
    p->past = values(random, s->batch * KV_HEADS * s->seq_past * dim, dtype);
    p->fresh = values(random, s->batch * KV_HEADS * s->seq_new * dim, dtype);
    concatenate(p, s);
    place(p, s, random);
}

static void part_check(struct part *p, const char *what) {
    const size_t bytes = qkv_tensor_count(&p->present_view) * p->bytes;
    unsigned char *got = test_alloc(bytes, 1);
    TEST_DOWNLOAD(&p->cache);
    test_memory_get(p->cache.result, &p->present_view, got);
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != p->whole[i])
            test_fail(__FILE__, __LINE__, "present_%s: element %zu is not what it was copied from", what, i / p->bytes);
    free(got);
}

static void part_free(struct part *p) {
    free(p->past), free(p->fresh), free(p->whole);
    test_memory_free(&p->cache);
    if (p->past_array.memory.mem) test_array_free(&p->past_array);
    test_array_free(&p->fresh_array);
    test_array_free(&p->whole_array);
}

/* ---- the run, and the same over the concatenation ---- */

static float *attend(const qkv_attention *attention, const struct shape *s, const qkv_tensor *q, struct part *k,
                     struct part *v, bool past) {
    const size_t shape[4] = {s->batch, HEADS, s->seq_q, s->value_dim};
    qkv_attention_args args = QKV_ATTENTION_ARGS_INIT;
    struct test_array out;
    test_array_output(&out, 4, shape, NULL);
    args.q = q, args.out = &out.view;
    args.k = past ? &k->fresh_array.view : &k->whole_array.view;
    args.v = past ? &v->fresh_array.view : &v->whole_array.view;
    args.causal = s->causal;
    if (past) {
        if (!s->no_past) args.past_k = &k->past_view, args.past_v = &v->past_view;
        args.present_k = &k->present_view, args.present_v = &v->present_view;
    } else if (s->causal == QKV_CAUSAL_FIRST) {
        args.query_offset = (int64_t)s->seq_past;
    }
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_attention_workspace_bytes(attention)));
    TEST_OK(qkv_attention_run(attention, test_queue(), &args, 0, NULL, NULL));
    TEST_CL(clFinish(test_queue()));
    qkv_workspace_destroy(args.workspace);
    float *got = TEST_READ(&out);
    test_array_free(&out);
    return got;
}

/*
 * Both are within a bound of what is exact: the scores' error, (head_dim + 6) u of a product of numbers below 1 times the
 * scale, and the softmax's, (9 n + 20) u for n keys, of values below 1; see reference.c.
 */
static void compare(const float *got, const float *expected, const struct shape *s) {
    const double keys = (double)(s->seq_past + s->seq_new), dim = (double)s->head_dim;
    const double bound = 2 * 0x1p-24 * ((dim + 6) * sqrt(dim) + 9 * keys + 20);
    for (size_t i = 0; i < s->batch * HEADS * s->seq_q * s->value_dim; i++)
        if (!(fabs((double)got[i] - (double)expected[i]) <= bound))
            test_fail(__FILE__, __LINE__, "out: element %zu is %.9g, over the concatenation %.9g", i, (double)got[i],
                      (double)expected[i]);
}

static void check(const qkv_attention *attention, const struct shape *s, struct test_random *random) {
    const size_t q_shape[4] = {s->batch, HEADS, s->seq_q, s->head_dim};
    float *numbers = test_random_floats(random, s->batch * HEADS * s->seq_q * s->head_dim, 1);
    struct test_array q;
    struct part k, v;
    test_array_input(&q, QKV_F32, 4, q_shape, NULL, numbers);
    part_make(&k, s, s->head_dim, s->k_dtype, random);
    part_make(&v, s, s->value_dim, s->v_dtype, random);
    float *got = attend(attention, s, &q.view, &k, &v, true);
    part_check(&k, "k");
    part_check(&v, "v");
    float *expected = attend(attention, s, &q.view, &k, &v, false);
    compare(got, expected, s);
    free(got), free(expected), free(numbers);
    part_free(&k), part_free(&v);
    test_array_free(&q);
}

static void check_solvers(const struct shape *shapes, size_t n) {
    for (size_t i = 0; i < TEST_NUM_SOLVERS; i++) {
        const char *solver = test_solver(i);
        note(&shapes[0], solver);
        qkv_attention *attention = make_plan(&shapes[0], solver);
        for (size_t c = 0; attention && c < n; c++) {
            struct test_random random = test_random_start(test_seed(), c);
            note(&shapes[c], solver);
            check(attention, &shapes[c], &random);
        }
        qkv_attention_destroy(attention);
    }
}

#define F32 .head_dim = 24, .value_dim = 19, .k_dtype = QKV_F32, .v_dtype = QKV_F32

START_TEST(appends) {
    const struct shape shapes[] = {
        {.batch = 2, .seq_q = 3, .seq_past = 20, .seq_new = 3, F32},
        {.batch = 2, .seq_q = 3, .seq_past = 20, .seq_new = 3, .in_place = true, F32},
        {.batch = 1, .seq_q = 1, .seq_past = 70, .seq_new = 1, .in_place = true, .causal = QKV_CAUSAL_LAST, F32},
        {.batch = 1, .seq_q = 5, .seq_past = 12, .seq_new = 5, .causal = QKV_CAUSAL_FIRST, F32},
        {.batch = 1, .seq_q = 5, .seq_past = 0, .seq_new = 5, F32},
        {.batch = 1, .seq_q = 5, .seq_past = 0, .seq_new = 5, .no_past = true, F32},
        {.batch = 1, .seq_q = 5, .seq_past = 12, .seq_new = 0, F32},
        {.batch = 1, .seq_q = 5, .seq_past = 12, .seq_new = 0, .in_place = true, F32},
        {.batch = 1, .seq_q = 5, .seq_past = 0, .seq_new = 0, F32},
        {.batch = 1, .seq_q = 0, .seq_past = 12, .seq_new = 4, F32},
        {.batch = 0, .seq_q = 2, .seq_past = 12, .seq_new = 4, F32},
    };
    check_solvers(shapes, TEST_COUNT(shapes));
}
END_TEST

START_TEST(mixed_storage) {
#define MIXED .head_dim = 40, .value_dim = 33, .k_dtype = QKV_F16, .v_dtype = QKV_BF16
    const struct shape shapes[] = {
        {.batch = 2, .seq_q = 3, .seq_past = 20, .seq_new = 3, MIXED},
        {.batch = 2, .seq_q = 3, .seq_past = 20, .seq_new = 3, .views = true, MIXED},
        {.batch = 2, .seq_q = 1, .seq_past = 40, .seq_new = 1, .in_place = true, .views = true, MIXED},
    };
    check_solvers(shapes, TEST_COUNT(shapes));
}
END_TEST

START_TEST(strided) {
    struct shape shapes[12];
    for (size_t i = 0; i < TEST_COUNT(shapes); i++) {
        struct test_random random = test_random_start(test_seed(), 500 + i);
        shapes[i] = (struct shape){.batch = 2,
                                   .seq_q = test_random_between(&random, 1, 9),
                                   .seq_past = test_random_below(&random, LIMIT / 2),
                                   .seq_new = test_random_between(&random, 1, LIMIT / 2),
                                   .in_place = test_random_once_in(&random, 2),
                                   .views = true,
                                   .causal = (qkv_causal)test_random_below(&random, 3),
                                   F32};
    }
    check_solvers(shapes, TEST_COUNT(shapes));
}
END_TEST

/* Copies are of bits: a signaling NaN, its payload and its sign, -0, a subnormal. */
START_TEST(bits) {
    static const uint32_t words[] = {0x7f800001, 0xffc12345, 0x7fa5a5a5, 0x80000000, 0x00000001, 0xff800000};
    static const uint16_t halves[] = {0x7c01, 0xfe55, 0x7d80, 0x8000, 0x0001, 0xfc00};
    static const qkv_dtype dtypes[] = {QKV_F32, QKV_F16};
    for (size_t d = 0; d < TEST_COUNT(dtypes); d++)
        for (size_t i = 0; i < TEST_NUM_SOLVERS; i++) {
            const struct shape s = {.batch = 1,
                                    .seq_q = 1,
                                    .seq_past = 7,
                                    .seq_new = 2,
                                    .head_dim = 20,
                                    .value_dim = 20,
                                    .k_dtype = dtypes[d],
                                    .v_dtype = dtypes[d]};
            struct test_random random = test_random_start(test_seed(), 1);
            struct part k, v;
            const size_t q_shape[4] = {1, HEADS, 1, 20};
            float numbers[HEADS * 20] = {0};
            struct test_array q;
            note(&s, test_solver(i));
            qkv_attention *attention = make_plan(&s, test_solver(i));
            if (!attention) continue;
            part_make(&k, &s, 20, dtypes[d], &random);
            part_make(&v, &s, 20, dtypes[d], &random);
            test_array_free(&k.past_array);
            test_array_free(&v.fresh_array);
            const void *special = dtypes[d] == QKV_F32 ? (const void *)words : (const void *)halves;
            memcpy(k.past, special, TEST_COUNT(words) * k.bytes);
            memcpy(v.fresh, special, TEST_COUNT(words) * v.bytes);
            memcpy(k.whole, special, TEST_COUNT(words) * k.bytes);
            memcpy(v.whole + 7 * 20 * v.bytes, special, TEST_COUNT(words) * v.bytes);
            const size_t past[4] = {1, KV_HEADS, 7, 20}, fresh[4] = {1, KV_HEADS, 2, 20};
            test_array_input(&k.past_array, dtypes[d], 4, past, NULL, k.past);
            test_array_input(&v.fresh_array, dtypes[d], 4, fresh, NULL, v.fresh);
            k.past_view = k.past_array.view;
            test_array_input(&q, QKV_F32, 4, q_shape, NULL, numbers);
            free(attend(attention, &s, &q.view, &k, &v, true));
            part_check(&k, "k");
            part_check(&v, "v");
            part_free(&k), part_free(&v);
            test_array_free(&q);
            qkv_attention_destroy(attention);
        }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("past");
    TCase *tcase = tcase_create("past");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, appends);
    tcase_add_test(tcase, mixed_storage);
    tcase_add_test(tcase, strided);
    tcase_add_test(tcase, bits);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
