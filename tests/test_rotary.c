/* Rotary embeddings: both pairings, partial, every dtype, positions and angles of every kind, in place, views. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/reference.h"
#include "support/rotary_case.h"
#include "support/storage.h"

/* There is no "tile": plain serves GPUs. */
#define NUM_SOLVERS 3

/* A quarter turn a position: (1, 2) becomes (-2, 1) at position 1 and (-1, -2) at position 2. */
START_TEST(worked_example) {
    static const double quarter[] = {1.57079632679489661923};
    static const size_t shape[] = {1, 1, 3, 2};
    float x[] = {1, 2, 1, 2, 1, 2};
    /* (|1| + |2|) 2^-22 for what the plan computes, 2^-23 |2| for the products. */
    const double far = 4 * 0x1p-22;
    const double expected[] = {1, 2, -2, 1, -1, -2}, bound[] = {0, 0, far, far, far, far};
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        struct test_array in, out;
        qkv_rotary *rotary = NULL;
        qkv_rotary_desc desc = QKV_ROTARY_DESC_INIT;
        qkv_rotary_args args = QKV_ROTARY_ARGS_INIT;
        test_note("worked example, interleaved %d", interleaved);
        desc.head_dim = 2, desc.interleaved = interleaved, desc.frequencies = quarter, desc.max_position = 3;
        TEST_OK(qkv_rotary_create(&rotary, test_context(), &desc));
        test_array_input(&in, QKV_F32, 4, shape, NULL, x);
        test_array_output(&out, 4, shape, NULL);
        args.x = &in.view, args.out = &out.view;
        TEST_OK(qkv_rotary_run(rotary, test_queue(), &args, 0, NULL, NULL));
        float *got = TEST_READ(&out);
        TEST_CLOSE("out", got, expected, bound, 6);
        free(got);
        test_array_free(&in);
        test_array_free(&out);
        TEST_TRUE(qkv_rotary_memory_bytes(rotary) > 0 && qkv_rotary_describe(rotary)[0] != '\0');
        qkv_rotary_destroy(rotary);
    }
}
END_TEST

static qkv_dtype draw_dtype(struct test_random *random) {
    static const qkv_dtype dtypes[] = {QKV_F32, QKV_F32, QKV_F16, QKV_BF16};
    return dtypes[test_random_below(random, TEST_COUNT(dtypes))];
}

static void draw_angles(struct rotary_case *c, struct test_random *random) {
    static const double bases[] = {0, 500000, 100}, scales[] = {0, 0.125, 1.0 / 3};
    c->angles = (enum rotary_angles)test_random_below(random, 4);
    if (c->angles <= ANGLES_ROWS) c->positions = (enum rotary_positions)test_random_below(random, 3);
    c->positions_shape = test_random_below(random, 3);
    c->num_rows = c->seq + test_random_below(random, 2000);
    if (c->angles <= ANGLES_ROWS && c->positions == POSITIONS_FIRST)
        c->first_position = (int64_t)test_random_below(random, c->num_rows - c->seq + 1);
    c->outside = test_random_once_in(random, 3);
    c->base = bases[test_random_below(random, TEST_COUNT(bases))];
    c->position_scale = scales[test_random_below(random, TEST_COUNT(scales))];
    c->magnitude = test_random_once_in(random, 2) ? 0 : 1.2079;
    c->own_frequencies = test_random_once_in(random, 3);
    c->inverse = test_random_once_in(random, 4);
}

static struct rotary_case draw_case(struct test_random *random) {
    struct rotary_case c = {.batch = test_random_between(random, 1, 3), .num_heads = test_random_between(random, 1, 5)};
    c.seq = test_random_size(random, test_cap(130));
    c.head_dim = 1 + test_random_size(random, test_cap(129));
    c.rotary_dim = c.head_dim / 2 * 2;
    if (test_random_once_in(random, 2)) c.rotary_dim = 2 * test_random_between(random, 1, c.head_dim / 2);
    c.interleaved = test_random_once_in(random, 2);
    draw_angles(&c, random);
    c.x = draw_dtype(random), c.out = draw_dtype(random), c.cos = draw_dtype(random), c.sin = draw_dtype(random);
    c.in_place = test_random_once_in(random, 3);
    c.views = test_random_once_in(random, 2);
    c.tokens_first = test_random_once_in(random, 2);
    return c;
}

START_TEST(random_cases) {
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < test_cases(400); n++) {
        struct test_random random = test_random_start(test_seed() + 77, n);
        struct rotary_case c = draw_case(&random);
        rotary_check_case(&c, solver, n);
    }
}
END_TEST

/* Every edge of a vector, as number of pairs and of what passes through. */
START_TEST(vector_edges) {
    const char *solver = test_solver((size_t)_i);
    for (size_t pairs = 1; pairs <= 40; pairs += test_is_slow() ? 7 : 1)
        for (size_t n = 0; n < 2; n++) {
            struct rotary_case c = {.batch = 1,
                                    .num_heads = 2,
                                    .seq = 3,
                                    .head_dim = 2 * pairs + pairs % 9,
                                    .rotary_dim = 2 * pairs,
                                    .interleaved = n == 1,
                                    .num_rows = 40,
                                    .first_position = 30,
                                    .in_place = pairs % 4 == 0,
                                    .x = pairs % 3 == 2 ? QKV_F16 : QKV_F32};
            rotary_check_case(&c, solver, 2 * pairs + n);
        }
}
END_TEST

/* Models' own shapes: whole and partial, grouped heads as K has them, prompts and one token. */
START_TEST(model_sizes) {
    static const struct rotary_case models[] = {
        {.batch = 1, .num_heads = 32, .seq = 130, .head_dim = 128, .rotary_dim = 128, .base = 500000}, /* Llama 3 */
        {.batch = 2, .num_heads = 8, .seq = 1, .head_dim = 128, .rotary_dim = 128, .first_position = 4000},
        {.batch = 1, .num_heads = 16, .seq = 70, .head_dim = 256, .rotary_dim = 64, .interleaved = true}, /* GPT-J */
        {.batch = 1, .num_heads = 64, .seq = 33, .head_dim = 96, .rotary_dim = 24},                       /* GPT-NeoX */
        {.batch = 1, .num_heads = 128, .seq = 5, .head_dim = 512, .rotary_dim = 512}, /* the largest, many lines */
    };
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < 2 * TEST_COUNT(models); n++) {
        struct rotary_case c = models[n / 2];
        c.num_rows = 4096;
        c.tokens_first = n % 2;
        c.in_place = n % 2;
        if (test_is_slow()) c.num_heads = c.num_heads / 16 + 1, c.seq = c.seq / 8 + 1;
        rotary_check_case(&c, solver, n);
    }
}
END_TEST

START_TEST(nothing_to_do) {
    for (size_t n = 0; n < 3; n++) {
        struct rotary_case c = {.batch = n != 0, .num_heads = n != 1, .seq = n != 2, .head_dim = 4, .rotary_dim = 4};
        c.num_rows = 1;
        rotary_check_case(&c, NULL, n);
    }
}
END_TEST

/* x = 1 at i and 0 at j gives the cosine and the sine themselves, which the header promises within 2^-22, however far the
 * position is; seen here beside the angle in long double. */
START_TEST(far_positions) {
    static const size_t limits[] = {300, 131072, 1000001, (size_t)1 << 31};
    enum { DIM = 128, SEQ = 64 };
    const char *solver = test_solver((size_t)_i);
    /* The last one's tables are large for a simulator. */
    for (size_t n = 0; n < TEST_COUNT(limits) - test_is_slow(); n++) {
        struct rotary_case c = {.head_dim = DIM, .rotary_dim = DIM, .num_rows = limits[n]};
        struct test_random random = test_random_start(test_seed(), n);
        static const size_t shape[] = {1, 1, SEQ, DIM}, line[] = {SEQ};
        qkv_rotary_args args = QKV_ROTARY_ARGS_INIT;
        struct test_array x, out, positions;
        float values[SEQ * DIM];
        int64_t where[SEQ];
        double expected[SEQ * DIM], bound[SEQ * DIM], *frequencies = rotary_frequencies(&c);
        rotary_note(&c, solver, n);
        for (size_t t = 0; t < SEQ; t++) {
            where[t] = (int64_t)(t ? test_random_below(&random, limits[n]) : limits[n] - 1);
            for (size_t d = 0; d < DIM; d++) {
                struct ref_angle angle = ref_rotary_angle((double)where[t], frequencies[d % (DIM / 2)], 1);
                values[t * DIM + d] = d < DIM / 2;
                expected[t * DIM + d] = d < DIM / 2 ? angle.cos : angle.sin;
                bound[t * DIM + d] = 0x1p-22;
            }
        }
        qkv_rotary *rotary = rotary_make(&c, frequencies, solver);
        free(frequencies);
        if (!rotary) continue;
        test_array_input(&x, QKV_F32, 4, shape, NULL, values);
        test_array_input(&positions, QKV_I64, 1, line, NULL, where);
        test_array_output(&out, 4, shape, NULL);
        args.x = &x.view, args.out = &out.view, args.positions = &positions.view;
        TEST_OK(qkv_rotary_run(rotary, test_queue(), &args, 0, NULL, NULL));
        float *got = TEST_READ(&out);
        TEST_CLOSE("cosines and sines", got, expected, bound, SEQ * DIM);
        free(got);
        test_array_free(&x);
        test_array_free(&positions);
        test_array_free(&out);
        qkv_rotary_destroy(rotary);
    }
}
END_TEST

/* Tables grow with the square root: 2^18 positions of 64 pairs take 2 * 512 rows of 2 * 64 floats. */
START_TEST(memory_as_promised) {
    struct rotary_case c = {.head_dim = 128, .rotary_dim = 128, .num_rows = (size_t)1 << 18};
    test_note("memory");
    qkv_rotary *rotary = rotary_make(&c, NULL, NULL);
    ck_assert_uint_eq(qkv_rotary_memory_bytes(rotary), 1024 * 128 * sizeof(float));
    qkv_rotary_destroy(rotary);
    c.angles = ANGLES_ROWS;
    rotary = rotary_make(&c, NULL, NULL);
    ck_assert_uint_eq(qkv_rotary_memory_bytes(rotary), 0);
    qkv_rotary_destroy(rotary);
}
END_TEST

/* The RotaryEmbedding node cases of the onnx package, by their shapes: 50 rows of cosines and sines that are random, and
 * no point of a circle. Of rank 3 there is (batch, seq, heads * dim), which is heads in another order of axes. */
START_TEST(onnx_node_cases) {
    static const struct {
        const char *name;
        bool positions, interleaved, tokens_first;
        size_t rotary_dim;
    } cases[] = {
        {"rotary_embedding", true, false, false, 8},
        {"rotary_embedding_3d_input", true, false, true, 8},
        {"rotary_embedding_interleaved", true, true, false, 8},
        {"rotary_embedding_with_rotary_dim", true, false, false, 4},
        {"rotary_embedding_with_interleaved_rotary_dim", true, true, false, 4},
        {"rotary_embedding_no_position_ids", false, false, false, 8},
        {"rotary_embedding_no_position_ids_interleaved", false, true, false, 8},
        {"rotary_embedding_no_position_ids_rotary_dim", false, false, false, 4},
    };
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < TEST_COUNT(cases); n++) {
        struct rotary_case c = {.batch = 2,
                                .num_heads = 4,
                                .seq = 3,
                                .head_dim = 8,
                                .rotary_dim = cases[n].rotary_dim,
                                .interleaved = cases[n].interleaved,
                                .num_rows = 50,
                                .positions = cases[n].positions ? POSITIONS_I64 : POSITIONS_FIRST,
                                .angles = cases[n].positions ? ANGLES_ROWS : ANGLES_TOKENS,
                                .tokens_first = cases[n].tokens_first};
        for (c.x = QKV_F32; c.x <= QKV_BF16; c.x++) {
            c.out = c.cos = c.sin = c.x;
            rotary_check_case(&c, solver, 100 * n + c.x);
        }
    }
}
END_TEST

/* Elements that pass through, two of each token's turning. */
enum { STORED_DIM = 512, STORED_PASSING = STORED_DIM - 2 };

/* `values` through dtype x and back out as dtype out must be what the host makes of them, bit by bit but for NaN. */
static void check_stored(const qkv_rotary *rotary, const double *values, size_t n, qkv_dtype x, qkv_dtype out) {
    const size_t shape[] = {1, 1, n / STORED_PASSING, STORED_DIM}, all = shape[2] * STORED_DIM;
    qkv_rotary_args args = QKV_ROTARY_ARGS_INIT;
    struct test_array in, result;
    double *spread = test_alloc(all, sizeof *spread);
    for (size_t i = 0; i < n; i++)
        spread[i / STORED_PASSING * STORED_DIM + 2 + i % STORED_PASSING] = values[i];
    test_note("stored as dtype %d, then as dtype %d", (int)x, (int)out);
    void *stored = storage_from(spread, all, x), *got = test_alloc(all, qkv_dtype_size(out));
    test_array_input(&in, x, 4, shape, NULL, stored);
    test_array_output_of(&result, out, 4, shape, NULL);
    args.x = &in.view, args.out = &result.view;
    TEST_OK(qkv_rotary_run(rotary, test_queue(), &args, 0, NULL, NULL));
    TEST_DOWNLOAD(&result.memory);
    test_memory_get(result.memory.result, &result.view, got);
    double *there = storage_values(stored, all, x);
    void *expected = storage_from(there, all, out);
    double *want = storage_values(expected, all, out), *have = storage_values(got, all, out);
    for (size_t i = 0; i < all; i++)
        if (i % STORED_DIM >= 2 && (isnan(want[i]) ? !isnan(have[i]) : memcmp(&want[i], &have[i], sizeof *want) != 0))
            test_fail(__FILE__, __LINE__, "%.17g is %.17g, not %.17g", there[i], have[i], want[i]);
    free(spread);
    free(stored);
    free(got);
    free(there);
    free(expected);
    free(want);
    free(have);
    test_array_free(&in);
    test_array_free(&result);
}

/* Every number that fp16 and bfloat16 have, NaN and infinity among them, and every tie between two of them, from F32 and
 * to F32. */
START_TEST(storage_rounds_to_nearest_even) {
    static const qkv_dtype halves[] = {QKV_F16, QKV_BF16};
    const size_t step = test_is_slow() ? 61 : 1, numbers = 65536 / step;
    const size_t n = (2 * numbers + STORED_PASSING - 1) / STORED_PASSING * STORED_PASSING;
    struct rotary_case c = {.head_dim = STORED_DIM, .rotary_dim = 2, .num_rows = n / STORED_PASSING};
    uint16_t *bits = test_alloc(2 * numbers, sizeof *bits);
    double *values = test_alloc(n, sizeof *values);
    rotary_note(&c, test_solver((size_t)_i), 0);
    qkv_rotary *rotary = rotary_make(&c, NULL, test_solver((size_t)_i));
    for (size_t d = 0; rotary && d < TEST_COUNT(halves); d++) {
        for (size_t i = 0; i < numbers; i++) {
            bits[2 * i] = (uint16_t)(i * step);
            bits[2 * i + 1] = (uint16_t)(i * step + 1);
        }
        double *pairs = storage_values(bits, 2 * numbers, halves[d]);
        for (size_t i = 0; i < numbers; i++) {
            values[2 * i] = pairs[2 * i];
            values[2 * i + 1] = (pairs[2 * i] + pairs[2 * i + 1]) / 2;
        }
        free(pairs);
        check_stored(rotary, values, n, QKV_F32, halves[d]);
        check_stored(rotary, values, n, halves[d], QKV_F32);
        check_stored(rotary, values, n, halves[d], halves[d]);
    }
    qkv_rotary_destroy(rotary);
    free(values);
    free(bits);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rotary");
    TCase *tcase = tcase_create("rotary");
    tcase_add_test(tcase, worked_example);
    tcase_add_loop_test(tcase, random_cases, 0, NUM_SOLVERS);
    tcase_add_loop_test(tcase, vector_edges, 0, NUM_SOLVERS);
    tcase_add_loop_test(tcase, model_sizes, 0, NUM_SOLVERS);
    tcase_add_test(tcase, nothing_to_do);
    tcase_add_loop_test(tcase, far_positions, 0, NUM_SOLVERS);
    tcase_add_test(tcase, memory_as_promised);
    tcase_add_loop_test(tcase, onnx_node_cases, 0, NUM_SOLVERS);
    tcase_add_loop_test(tcase, storage_rounds_to_nearest_even, 0, NUM_SOLVERS);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
