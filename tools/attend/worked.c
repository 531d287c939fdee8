#include "worked.h"

#include <math.h>
#include <qkv.h>
#include <string.h>

#include "engine.h"
#include "support/context.h"

enum { TOKENS = 3, WIDTH = 4, DIM = 3 };

static const float x[TOKENS * WIDTH] = {1, 0, 1, 0, 0, 2, 0, 2, 1, 1, 1, 1};
static const float wq[WIDTH * DIM] = {1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 1};
static const float wk[WIDTH * DIM] = {0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0};
static const float wv[WIDTH * DIM] = {0, 2, 0, 0, 3, 0, 1, 0, 3, 1, 1, 0};

typedef struct worked {
    float q[TOKENS * DIM], k[TOKENS * DIM], v[TOKENS * DIM];
    float weights[TOKENS * TOKENS], out[TOKENS * DIM];
} worked;

/* The same in double precision. */
typedef struct expected {
    double q[TOKENS * DIM], k[TOKENS * DIM], v[TOKENS * DIM];
    double scores[TOKENS * TOKENS], weights[TOKENS * TOKENS], out[TOKENS * DIM];
} expected;

static void project(double *y, const float *weight) {
    for (int row = 0; row < TOKENS; row++)
        for (int column = 0; column < DIM; column++) {
            double sum = 0.0;
            for (int i = 0; i < WIDTH; i++)
                sum += (double)x[row * WIDTH + i] * (double)weight[i * DIM + column];
            y[row * DIM + column] = sum;
        }
}

static void compute_expected(expected *e) {
    project(e->q, wq);
    project(e->k, wk);
    project(e->v, wv);
    for (int row = 0; row < TOKENS; row++) {
        double *scores = e->scores + row * TOKENS, *weights = e->weights + row * TOKENS, sum = 0.0;
        for (int key = 0; key < TOKENS; key++) {
            double dot = 0.0;
            for (int i = 0; i < DIM; i++)
                dot += e->q[row * DIM + i] * e->k[key * DIM + i];
            scores[key] = dot / sqrt((double)DIM);
            weights[key] = exp(scores[key]);
            sum += weights[key];
        }
        for (int key = 0; key < TOKENS; key++)
            weights[key] /= sum;
        for (int i = 0; i < DIM; i++) {
            double total = 0.0;
            for (int key = 0; key < TOKENS; key++)
                total += weights[key] * e->v[key * DIM + i];
            e->out[row * DIM + i] = total;
        }
    }
}

static bool compute(worked *out, qkv_context *context, tool_error *error) {
    qkv_layer_desc desc = QKV_LAYER_DESC_INIT;
    desc.embed_dim = WIDTH;
    desc.num_heads = 1;
    desc.head_dim = DIM;
    desc.layout = QKV_WEIGHT_IN_OUT;
    desc.wq.weight = wq;
    desc.wk.weight = wk;
    desc.wv.weight = wv;
    qkv_host_layer_args args = QKV_HOST_LAYER_ARGS_INIT;
    args.batch = 1;
    args.seq_q = TOKENS;
    args.x = x;
    args.q = out->q;
    args.k = out->k;
    args.v = out->v;
    args.weights = out->weights;
    return attend_check(qkv_host_layer(out->out, context, &desc, &args), error);
}

static void print_matrix(FILE *stream, const char *name, const float *values, int rows, int columns, int digits) {
    for (int row = 0; row < rows; row++) {
        fprintf(stream, "  %-26s", row == 0 ? name : "");
        for (int column = 0; column < columns; column++)
            fprintf(stream, "%9.*f", digits, (double)values[row * columns + column]);
        fputc('\n', stream);
    }
    fputc('\n', stream);
}

static double difference(const float *got, const double *wanted, size_t count) {
    double worst = 0.0;
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, isnan(got[i]) ? INFINITY : fabs((double)got[i] - wanted[i]));
    return worst;
}

static void print_steps(FILE *stream, const worked *w, const expected *e) {
    float scores[TOKENS * TOKENS];
    for (int i = 0; i < TOKENS * TOKENS; i++)
        scores[i] = (float)e->scores[i];
    fputs("Three tokens, a row of X each; one head, d_k = 3.\n\n", stream);
    print_matrix(stream, "X", x, TOKENS, WIDTH, 0);
    print_matrix(stream, "Wq", wq, WIDTH, DIM, 0);
    print_matrix(stream, "Wk", wk, WIDTH, DIM, 0);
    print_matrix(stream, "Wv", wv, WIDTH, DIM, 0);
    print_matrix(stream, "Q = X Wq", w->q, TOKENS, DIM, 0);
    print_matrix(stream, "K = X Wk", w->k, TOKENS, DIM, 0);
    print_matrix(stream, "V = X Wv", w->v, TOKENS, DIM, 0);
    print_matrix(stream, "S = Q K^T / sqrt(d_k)", scores, TOKENS, TOKENS, 4);
    print_matrix(stream, "A = softmax(S), by rows", w->weights, TOKENS, TOKENS, 4);
    print_matrix(stream, "output = A V", w->out, TOKENS, DIM, 4);
}

/* A token's weights and output are sums of few numbers below 8: 64 units of the last place are ample, and whole
 * numbers are exact. */
static bool compare(FILE *stream, const worked *w, const expected *e, tool_error *error) {
    const double exact = fmax(difference(w->q, e->q, TOKENS * DIM),
                              fmax(difference(w->k, e->k, TOKENS * DIM), difference(w->v, e->v, TOKENS * DIM)));
    const double weights = difference(w->weights, e->weights, TOKENS * TOKENS);
    const double out = difference(w->out, e->out, TOKENS * DIM);
    fprintf(stream, "Against double precision: Q, K, V %s, weights within %.1e, output within %.1e.\n",
            exact == 0.0 ? "exact" : "differ", weights, out);
    if (exact != 0.0 || !(weights <= 64 * 0x1p-24) || !(out <= 64 * 8 * 0x1p-24))
        return tool_fail(error, "the worked example's results are wrong on this device");
    return true;
}

bool attend_worked_example(FILE *stream, const char *selector, tool_error *error) {
    qkv_context *context;
    worked w;
    expected e;
    memset(&w, 0, sizeof w);
    if (!attend_check(tool_context_create(&context, selector), error)) return false;
    bool ok = compute(&w, context, error);
    if (ok) {
        compute_expected(&e);
        fprintf(stream, "The textbook's attention, computed by libqkv on %s.\n", qkv_context_device(context)->name);
        print_steps(stream, &w, &e);
        ok = compare(stream, &w, &e, error);
    }
    qkv_context_destroy(context);
    return ok;
}
