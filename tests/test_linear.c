/* Linear layers: both weight layouts, every rank, fused outputs, views, updates. */
#include <stdlib.h>
#include <string.h>

#include "support/linear_case.h"

/* The textbook's y = x W, QKV_WEIGHT_IN_OUT: (2, 3) [[1, 10], [0, -1]] = (2*1 + 3*0, 2*10 + 3*-1) = (2, 17).
 * As PyTorch stores it, W transposed is [[1, 0], [10, -1]]. All numbers are small integers: exact. */
START_TEST(worked_example) {
    float in_out[] = {1, 10, 0, -1}, out_in[] = {1, 0, 10, -1}, x[] = {2, 3};
    for (size_t s = 0; s < (size_t)2 * TEST_NUM_SOLVERS; s++) {
        bool textbook = s % 2;
        struct linear_case c = {.batch = 1,
                                .seq = 1,
                                .in = 2,
                                .num_outputs = 1,
                                .out = {2},
                                .x_rank = 2,
                                .out_rank = {2},
                                .layout = textbook ? QKV_WEIGHT_IN_OUT : QKV_WEIGHT_OUT_IN};
        struct linear_weights weights = {.weight = {textbook ? in_out : out_in}};
        static const size_t shape[] = {1, 2};
        struct test_array xs, ys;
        linear_note(&c, test_solver(s / 2), 0);
        qkv_linear *linear = linear_make(&c, &weights, test_solver(s / 2));
        if (!linear) continue;
        test_array_input(&xs, QKV_F32, 2, shape, NULL, x);
        test_array_output(&ys, 2, shape, NULL);
        linear_run(linear, &c, &xs, &ys);
        float *y = TEST_READ(&ys);
        TEST_TRUE(y[0] == 2 && y[1] == 17);
        free(y);
        test_array_free(&xs);
        test_array_free(&ys);
        qkv_linear_destroy(linear);
    }
}
END_TEST

/* Ranks and heads that fit the sizes drawn. */
static void draw_ranks(struct linear_case *c, struct test_random *random) {
    static const size_t heads[] = {1, 2, 3, 5, 7};
    c->x_rank = test_random_between(random, 2, 4);
    c->x_heads = heads[test_random_below(random, TEST_COUNT(heads))];
    if (c->in % c->x_heads) c->x_heads = 1;
    for (size_t i = 0; i < c->num_outputs; i++) {
        c->out_rank[i] = test_random_between(random, 2, 4);
        c->out_heads[i] = heads[test_random_below(random, TEST_COUNT(heads))];
        if (c->out[i] % c->out_heads[i]) c->out_heads[i] = 1;
    }
}

START_TEST(random_shapes) {
    const char *solver = test_solver((size_t)_i);
    size_t cap = test_cap(130);
    for (size_t n = 0; n < test_cases(60); n++) {
        struct test_random random = test_random_start(test_seed() + 31, n);
        struct linear_case c = {.batch = test_random_between(&random, 1, 3)};
        c.seq = test_random_size(&random, cap);
        c.in = test_random_size(&random, cap);
        c.num_outputs = test_random_between(&random, 1, QKV_LINEAR_MAX_OUTPUTS);
        for (size_t i = 0; i < c.num_outputs; i++)
            c.out[i] = test_random_size(&random, cap);
        draw_ranks(&c, &random);
        c.layout = test_random_once_in(&random, 2) ? QKV_WEIGHT_OUT_IN : QKV_WEIGHT_IN_OUT;
        c.biases = (unsigned)test_random_below(&random, 16);
        c.views = test_random_once_in(&random, 2);
        linear_check_case(&c, solver, n);
    }
}
END_TEST

/* Every edge of a tile as number of rows, of inputs and of outputs; rows on one layer. */
START_TEST(tile_edges) {
    static const size_t edges[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129};
    const char *solver = test_solver((size_t)_i);
    size_t most_rows = test_is_pressed() ? 33 : 129;
    for (size_t n = 0; n < TEST_COUNT(edges); n += test_is_slow() ? 5 : 1) {
        size_t out = edges[(7 * n + 2) % TEST_COUNT(edges)], in = edges[(11 * n + 5) % TEST_COUNT(edges)];
        struct linear_case c = {.batch = 1,
                                .in = in,
                                .num_outputs = 2,
                                .out = {edges[n], out},
                                .x_rank = 2,
                                .out_rank = {2, 2},
                                .layout = QKV_WEIGHT_OUT_IN,
                                .biases = 1};
        struct test_random random = test_random_start(test_seed(), n);
        struct linear_weights weights;
        linear_note(&c, solver, n);
        linear_weights_make(&weights, &c, &random);
        qkv_linear *linear = linear_make(&c, &weights, solver);
        for (size_t r = 0; linear && r < TEST_COUNT(edges) && edges[r] <= most_rows; r += 1 + n % 4) {
            c.seq = edges[r];
            linear_note(&c, solver, n);
            linear_check(linear, &c, &weights, &random);
        }
        qkv_linear_destroy(linear);
        linear_weights_free(&weights);
    }
}
END_TEST

/* Sizes of real models, once each. */
START_TEST(model_sizes) {
    const char *solver = test_solver((size_t)_i);
    size_t part = test_is_slow() ? 8 : 1;
    struct linear_case c = {.batch = 2,
                            .seq = 33 / part + 1,
                            .in = 768 / part,
                            .num_outputs = 3,
                            .out = {768 / part, 256 / part, 256 / part},
                            .x_rank = 3,
                            .out_rank = {4, 4, 4},
                            .out_heads = {12, 4, 4},
                            .layout = QKV_WEIGHT_OUT_IN,
                            .biases = 7};
    if (test_is_slow()) c.out_heads[0] = 4;
    linear_check_case(&c, solver, 0);
    c.layout = QKV_WEIGHT_IN_OUT, c.batch = 1, c.seq = 1;
    linear_check_case(&c, solver, 1);
}
END_TEST

/* Heads of an odd size: a panel of columns then holds parts of several heads. */
START_TEST(odd_head_dims) {
    static const size_t dims[] = {1, 3, 5, 7, 13, 17, 31, 33, 63, 65};
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < TEST_COUNT(dims); n += test_is_slow() ? 3 : 1) {
        struct linear_case c = {.batch = 2,
                                .seq = 5,
                                .in = 3 * dims[n],
                                .x_heads = 3,
                                .num_outputs = 2,
                                .out = {5 * dims[n], 2 * dims[n]},
                                .x_rank = 4,
                                .out_rank = {4, 4},
                                .out_heads = {5, 2},
                                .layout = QKV_WEIGHT_IN_OUT,
                                .biases = 2,
                                .views = n % 2};
        linear_check_case(&c, solver, n);
    }
}
END_TEST

START_TEST(no_rows) {
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < 4; n++) {
        struct linear_case c = {.batch = n == 1 ? 0 : 2,
                                .seq = n == 1 ? 3 : 0,
                                .in = 6,
                                .x_heads = 2,
                                .num_outputs = 1,
                                .out = {4},
                                .x_rank = n < 2    ? 3
                                          : n == 2 ? 2
                                                   : 4,
                                .out_rank = {n == 3   ? 4
                                             : n == 2 ? 2
                                                      : 3},
                                .out_heads = {2},
                                .layout = QKV_WEIGHT_OUT_IN};
        linear_check_case(&c, solver, n);
    }
}
END_TEST

/* Numbers of panels that are no multiple of a tile's, in one output and as a seam between two. */
START_TEST(panels_left_over) {
    const char *solver = test_solver((size_t)_i);
    static const size_t outs[][2] = {{112, 0}, {80, 0}, {48, 64}, {16, 16}, {5, 200}, {130, 33}};
    static const size_t rows[] = {1, 2, 4, 5, 8, 9, 12, 13, 40};
    for (size_t n = 0; n < TEST_COUNT(outs); n += test_is_slow() ? 5 : 1) {
        struct linear_case c = {.batch = 1,
                                .in = 19,
                                .num_outputs = outs[n][1] ? 2 : 1,
                                .out = {outs[n][0], outs[n][1]},
                                .x_rank = 2,
                                .out_rank = {2, 2},
                                .layout = QKV_WEIGHT_OUT_IN,
                                .biases = 3};
        struct test_random random = test_random_start(test_seed() + 5, n);
        struct linear_weights weights;
        linear_note(&c, solver, n);
        linear_weights_make(&weights, &c, &random);
        qkv_linear *linear = linear_make(&c, &weights, solver);
        for (size_t r = 0; linear && r < TEST_COUNT(rows); r += test_is_pressed() ? 2 : 1) {
            c.seq = rows[r];
            linear_note(&c, solver, n);
            linear_check(linear, &c, &weights, &random);
        }
        qkv_linear_destroy(linear);
        linear_weights_free(&weights);
    }
}
END_TEST

/* A row's result has the same bits whatever other rows are computed with it, as the header promises. */
START_TEST(rows_do_not_depend_on_their_number) {
    const char *solver = test_solver((size_t)_i);
    static const size_t counts[] = {1, 2, 5, 16, 33, 129};
    struct linear_case c = {.batch = 1,
                            .seq = 129,
                            .in = 67,
                            .num_outputs = 1,
                            .out = {101}, /* panels of any width: some groups by threes, some by fours */
                            .x_rank = 2,
                            .out_rank = {2},
                            .layout = QKV_WEIGHT_OUT_IN,
                            .biases = 1};
    struct test_random random = test_random_start(test_seed(), 4);
    struct linear_weights weights;
    linear_note(&c, solver, 4);
    linear_weights_make(&weights, &c, &random);
    float *values = test_random_floats(&random, 129 * 67, 1), *all = NULL;
    qkv_linear *linear = linear_make(&c, &weights, solver);
    for (size_t n = TEST_COUNT(counts); linear && n-- > (test_is_slow() ? 3 : 0);) {
        const size_t xs[] = {counts[n], 67}, ys[] = {counts[n], 101};
        struct test_array x, y;
        c.seq = counts[n];
        test_array_input(&x, QKV_F32, 2, xs, NULL, values);
        test_array_output(&y, 2, ys, NULL);
        linear_run(linear, &c, &x, &y);
        float *got = TEST_READ(&y);
        if (!all) all = got;
        TEST_TRUE(memcmp(all, got, counts[n] * 101 * sizeof(float)) == 0);
        if (got != all) free(got);
        test_array_free(&x);
        test_array_free(&y);
    }
    free(all);
    free(values);
    qkv_linear_destroy(linear);
    linear_weights_free(&weights);
}
END_TEST

/* Weights and biases from device memory, one at a time, in dense, transposed and gapped views. */
START_TEST(update) {
    const char *solver = test_solver((size_t)_i);
    for (size_t n = 0; n < 8; n++) {
        struct test_random random = test_random_start(test_seed(), n);
        struct linear_case c = {.batch = 1,
                                .seq = 9,
                                .in = 21,
                                .num_outputs = 2,
                                .out = {35, 18},
                                .x_rank = 2,
                                .out_rank = {2, 2},
                                .layout = n % 2 ? QKV_WEIGHT_IN_OUT : QKV_WEIGHT_OUT_IN,
                                .biases = 1};
        struct linear_weights weights;
        struct test_array weight, bias;
        size_t which = n / 2 % 2, out = c.out[which];
        linear_note(&c, solver, n);
        linear_weights_make(&weights, &c, &random);
        qkv_linear *linear = linear_make(&c, &weights, solver);
        if (linear) {
            const size_t shape[] = {n % 2 ? c.in : out, n % 2 ? out : c.in}, width[] = {out};
            struct test_layout layout = test_layout_random(&random, 2), line = test_layout_random(&random, 1);
            bool new_weight = n < 6, new_bias = n % 4 != 0 || !new_weight;
            float *w = test_random_floats(&random, c.in * out, 1), *b = test_random_floats(&random, out, 3);
            test_array_input(&weight, QKV_F32, 2, shape, &layout, w);
            test_array_input(&bias, QKV_F32, 1, width, &line, b);
            TEST_OK(qkv_linear_update(linear, test_queue(), which, new_weight ? &weight.view : NULL,
                                      new_bias ? &bias.view : NULL, 0, NULL, NULL));
            free(new_weight ? weights.weight[which] : w);
            weights.weight[which] = new_weight ? w : weights.weight[which];
            free(new_bias ? weights.bias[which] : b);
            weights.bias[which] = new_bias ? b : weights.bias[which];
            linear_check(linear, &c, &weights, &random);
            test_array_free(&weight);
            test_array_free(&bias);
        }
        qkv_linear_destroy(linear);
        linear_weights_free(&weights);
    }
}
END_TEST

/* Without weights a layer gives zeros, until an update brings some. */
START_TEST(zeros_until_update) {
    struct linear_case c = {.batch = 1,
                            .seq = 3,
                            .in = 5,
                            .num_outputs = 1,
                            .out = {4},
                            .x_rank = 2,
                            .out_rank = {2},
                            .layout = QKV_WEIGHT_OUT_IN};
    struct linear_weights weights = {.weight = {test_alloc(20, sizeof(float))}};
    struct test_random random = test_random_start(test_seed(), 0);
    qkv_linear_output output = {.out_features = 4};
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    qkv_linear *linear = NULL;
    linear_note(&c, NULL, 0);
    desc.in_features = 5, desc.num_outputs = 1, desc.outputs = &output, desc.max_rows = 3;
    TEST_OK(qkv_linear_create(&linear, test_context(), &desc));
    linear_check(linear, &c, &weights, &random);
    TEST_TRUE(qkv_linear_memory_bytes(linear) >= 20 * sizeof(float));
    TEST_TRUE(qkv_linear_describe(linear)[0] != '\0');
    qkv_linear_destroy(linear);
    linear_weights_free(&weights);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("linear");
    TCase *tcase = tcase_create("linear");
    tcase_add_test(tcase, worked_example);
    tcase_add_loop_test(tcase, random_shapes, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, tile_edges, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, model_sizes, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, odd_head_dims, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, no_rows, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, panels_left_over, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, rows_do_not_depend_on_their_number, 0, TEST_NUM_SOLVERS);
    tcase_add_loop_test(tcase, update, 0, TEST_NUM_SOLVERS);
    tcase_add_test(tcase, zeros_until_update);
    suite_add_tcase(suite, tcase);
    return test_main(suite);
}
