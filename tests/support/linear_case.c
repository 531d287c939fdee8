#include "support/linear_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/compare.h"
#include "support/reference.h"

void linear_note(const struct linear_case *c, const char *solver, size_t number) {
    char outs[256];
    int at = 0;
    for (size_t i = 0; i < c->num_outputs; i++)
        at += snprintf(outs + at, sizeof outs - (size_t)at, " %zu(rank %zu, heads %zu)", c->out[i], c->out_rank[i],
                       c->out_heads[i]);
    test_note("seed %llu, case %zu, solver %s: batch %zu, seq %zu, in %zu (rank %zu, heads %zu), out%s, layout %d, "
              "biases %u, views %d",
              (unsigned long long)test_seed(), number, solver ? solver : "(default)", c->batch, c->seq, c->in,
              c->x_rank, c->x_heads, outs, (int)c->layout, c->biases, c->views);
}

void linear_weights_make(struct linear_weights *w, const struct linear_case *c, struct test_random *random) {
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < c->num_outputs; i++) {
        w->weight[i] = test_random_floats(random, c->in * c->out[i], 1);
        if (c->biases & (1u << i)) w->bias[i] = test_random_floats(random, c->out[i], 2);
    }
}

void linear_weights_free(struct linear_weights *w) {
    for (size_t i = 0; i < QKV_LINEAR_MAX_OUTPUTS; i++) {
        free(w->weight[i]);
        free(w->bias[i]);
    }
}

qkv_linear *linear_make(const struct linear_case *c, const struct linear_weights *w, const char *solver) {
    qkv_linear_output outputs[QKV_LINEAR_MAX_OUTPUTS];
    qkv_linear_desc desc = QKV_LINEAR_DESC_INIT;
    memset(outputs, 0, sizeof outputs);
    float *copies[2 * QKV_LINEAR_MAX_OUTPUTS] = {NULL};
    for (size_t i = 0; i < c->num_outputs; i++) {
        copies[2 * i] = test_alloc(c->in * c->out[i], sizeof(float));
        memcpy(copies[2 * i], w->weight[i], c->in * c->out[i] * sizeof(float));
        outputs[i].out_features = c->out[i];
        outputs[i].weight = copies[2 * i];
        if (!w->bias[i]) continue;
        copies[2 * i + 1] = test_alloc(c->out[i], sizeof(float));
        memcpy(copies[2 * i + 1], w->bias[i], c->out[i] * sizeof(float));
        outputs[i].bias = copies[2 * i + 1];
    }
    desc.in_features = c->in;
    desc.layout = c->layout;
    desc.num_outputs = c->num_outputs;
    desc.outputs = outputs;
    desc.solver = solver;
    qkv_linear *linear = NULL;
    qkv_status status = qkv_linear_create(&linear, test_context(), &desc);
    for (size_t i = 0; i < TEST_COUNT(copies); i++)
        free(copies[i]);
    if (test_solver_refused(status, solver)) return NULL;
    TEST_OK(status);
    return linear;
}

static void shape_of(size_t *shape, size_t rank, size_t batch, size_t seq, size_t heads, size_t features) {
    if (rank == 2) {
        shape[0] = batch * seq, shape[1] = features;
    } else if (rank == 3) {
        shape[0] = batch, shape[1] = seq, shape[2] = features;
    } else {
        shape[0] = batch, shape[1] = heads, shape[2] = seq, shape[3] = features / heads;
    }
}

/* Dense values of a rank-4 view to the (rows, features) order of the others, and back. */
static void merge_heads(float *values, size_t batch, size_t heads, size_t seq, size_t dim, bool back) {
    size_t n = batch * heads * seq * dim;
    double *in = ref_doubles(values, n), *out = test_alloc(n, sizeof(double));
    if (back)
        ref_split_heads(out, in, batch, heads, seq, dim);
    else
        ref_join_heads(out, in, batch, heads, seq, dim);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)out[i];
    free(in);
    free(out);
}

void linear_run(const qkv_linear *linear, const struct linear_case *c, struct test_array *x, struct test_array *out) {
    qkv_linear_args args = QKV_LINEAR_ARGS_INIT;
    args.x = &x->view;
    for (size_t i = 0; i < c->num_outputs; i++)
        args.outputs[i] = &out[i].view;
    TEST_OK(qkv_workspace_create(&args.workspace, test_context(), qkv_linear_workspace_bytes(linear)));
    TEST_OK(qkv_linear_run(linear, test_queue(), &args, 0, NULL, NULL));
    TEST_CL(clFinish(test_queue()));
    qkv_workspace_destroy(args.workspace);
}

static void check_output(const struct linear_case *c, const struct linear_weights *w, size_t i, const float *x,
                         struct test_array *out) {
    size_t rows = c->batch * c->seq, n = rows * c->out[i];
    double *xd = ref_doubles(x, rows * c->in), *y = test_alloc(n, sizeof(double)), *dy = test_alloc(n, sizeof(double));
    ref_linear(y, dy, xd, NULL, rows, c->in, w->weight[i], c->layout, w->bias[i], c->out[i]);
    float *got = TEST_READ(out);
    char name[32];
    snprintf(name, sizeof name, "outputs[%zu]", i);
    if (c->out_rank[i] == 4) merge_heads(got, c->batch, c->out_heads[i], c->seq, c->out[i] / c->out_heads[i], false);
    TEST_CLOSE(name, got, y, dy, n);
    free(got);
    free(xd);
    free(y);
    free(dy);
}

void linear_check(const qkv_linear *linear, const struct linear_case *c, const struct linear_weights *w,
                  struct test_random *random) {
    size_t shape[4], rows = c->batch * c->seq;
    struct test_layout layout = c->views ? test_layout_random(random, c->x_rank) : (struct test_layout){.step = 1};
    struct test_array x, out[QKV_LINEAR_MAX_OUTPUTS];
    float *values = test_random_floats(random, rows * c->in, 1);
    shape_of(shape, c->x_rank, c->batch, c->seq, c->x_heads, c->in);
    test_array_input(&x, QKV_F32, c->x_rank, shape, &layout, values);
    if (c->x_rank == 4) merge_heads(values, c->batch, c->x_heads, c->seq, c->in / c->x_heads, false);
    for (size_t i = 0; i < c->num_outputs; i++) {
        layout = c->views ? test_layout_random(random, c->out_rank[i]) : (struct test_layout){.step = 1};
        shape_of(shape, c->out_rank[i], c->batch, c->seq, c->out_heads[i], c->out[i]);
        test_array_output(&out[i], c->out_rank[i], shape, &layout);
    }
    linear_run(linear, c, &x, out);
    for (size_t i = 0; i < c->num_outputs; i++) {
        check_output(c, w, i, values, &out[i]);
        test_array_free(&out[i]);
    }
    test_array_free(&x);
    free(values);
}

void linear_check_case(const struct linear_case *c, const char *solver, size_t number) {
    struct test_random random = test_random_start(test_seed(), number);
    struct linear_weights weights;
    linear_note(c, solver, number);
    linear_weights_make(&weights, c, &random);
    qkv_linear *linear = linear_make(c, &weights, solver);
    if (linear) linear_check(linear, c, &weights, &random);
    qkv_linear_destroy(linear);
    linear_weights_free(&weights);
}
