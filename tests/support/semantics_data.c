#include <math.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "support/semantics_case.h"
#include "support/storage.h"

enum stream { Q_DATA, K_DATA, V_DATA, MASK_DATA, LENGTHS_DATA, OFFSETS_DATA, SLOPES_DATA, SINKS_DATA, TRAPS_DATA };

/* A stream of its own for each tensor: dropping one leaves the others' data alone. */
static struct test_random stream_of(const struct semantics_case *c, enum stream which) {
    return test_random_start(c->stream, (uint64_t)which);
}

/* What a tensor of that dtype holds of these values. */
static void round_to(double *values, size_t n, qkv_dtype dtype) {
    void *stored = storage_from(values, n, dtype);
    double *rounded = storage_values(stored, n, dtype);
    memcpy(values, rounded, n * sizeof *values);
    free(rounded);
    free(stored);
}

static double *uniform(const struct semantics_case *c, enum stream which, size_t n, double magnitude, qkv_dtype dtype) {
    struct test_random random = stream_of(c, which);
    double *values = test_alloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = magnitude * (double)test_random_float(&random);
    round_to(values, n, dtype);
    return values;
}

static void mask_make(struct semantics_data *data, const struct semantics_case *c) {
    const size_t full[4] = {c->batch, c->num_heads, c->seq_q, c->seq_kv};
    struct test_random random = stream_of(c, MASK_DATA);
    size_t count = 1;
    for (size_t axis = 0; axis < 4; axis++) {
        data->mask_shape[axis] = axis + c->mask_rank >= 4 && c->mask_axes & 1u << axis ? full[axis] : 1;
        if (axis == 3 && data->mask_shape[3] == c->seq_kv) data->mask_shape[3] -= c->mask_missing;
        count *= data->mask_shape[axis];
    }
    data->mask = test_alloc(count, sizeof(double));
    const size_t sparse = test_random_between(&random, 1, 5); /* 1: next to nothing is left */
    for (size_t i = 0; i < count; i++) {
        const bool excluded = sparse == 1 ? !test_random_once_in(&random, 8) : test_random_once_in(&random, sparse);
        const double value =
            c->mask == QKV_BOOL ? (double)test_random_between(&random, 1, 255) : 3 * (double)test_random_float(&random);
        data->mask[i] = !excluded ? value : c->mask == QKV_BOOL ? 0 : -INFINITY;
    }
    if (c->mask != QKV_BOOL) round_to(data->mask, count, c->mask);
}

/* Within the keys and a little beyond, now and then as far as the dtype goes. */
static double *lengths_make(const struct semantics_case *c) {
    struct test_random random = stream_of(c, LENGTHS_DATA);
    const double far = c->lengths == QKV_I64 ? 0x1p62 : 0x1p30;
    double *lengths = test_alloc(c->batch, sizeof *lengths);
    for (size_t b = 0; b < c->batch; b++) {
        lengths[b] = (double)test_random_below(&random, c->seq_kv + 8) - 3;
        if (test_random_once_in(&random, 12)) lengths[b] = test_random_once_in(&random, 2) ? -2 * far : far;
    }
    return lengths;
}

static double *offsets_make(const struct semantics_case *c) {
    struct test_random random = stream_of(c, OFFSETS_DATA);
    const double far = c->offsets == QKV_I64 ? 0x1p40 : 0x1p30;
    double *offsets = test_alloc(c->batch, sizeof *offsets);
    for (size_t b = 0; b < c->batch; b++) {
        offsets[b] = (double)test_random_below(&random, c->seq_kv + c->seq_q + 6) - (double)c->seq_q - 3;
        /* A far position's distances swamp every score with ALiBi's slope, and with it what a test can see. */
        if (!c->slopes && test_random_once_in(&random, 12)) offsets[b] = test_random_once_in(&random, 2) ? -far : far;
    }
    return offsets;
}

static double *heads_make(const struct semantics_case *c, enum stream which) {
    struct test_random random = stream_of(c, which);
    double *values = test_alloc(c->num_heads, sizeof *values);
    for (size_t h = 0; h < c->num_heads; h++) {
        values[h] = which == SLOPES_DATA ? ldexp(1, -(int)test_random_between(&random, 0, 8))
                                         : 5 * (double)test_random_float(&random);
        if (test_random_once_in(&random, 8)) values[h] = which == SLOPES_DATA ? 0 : -INFINITY;
        if (which == SLOPES_DATA && test_random_once_in(&random, 8)) values[h] = -0.0625;
    }
    round_to(values, c->num_heads, QKV_F32);
    return values;
}

/* For each (batch, kv head, key): does any query of the group see it? */
static bool *seen_keys(const struct semantics_data *data, const struct semantics_case *c) {
    const size_t group = c->num_heads / c->num_kv_heads;
    bool *seen = test_alloc(c->batch * c->num_kv_heads * c->seq_kv, sizeof *seen);
    for (size_t row = 0; row < c->batch * c->num_heads * c->seq_q; row++) {
        const size_t i = row % c->seq_q, h = row / c->seq_q % c->num_heads, b = row / c->seq_q / c->num_heads;
        const struct semantics_reach reach = semantics_reach(c, data, b, i);
        bool *keys = seen + (b * c->num_kv_heads + h / group) * c->seq_kv;
        double add;
        for (size_t j = 0; j < c->seq_kv; j++)
            if (!keys[j] && (double)j >= reach.first && (double)j < reach.end)
                keys[j] = !semantics_masked(c, data, b, h, i, j, &add);
    }
    return seen;
}

/* What nobody sees must not show; a NaN that somebody sees must, to those. */
static void set_traps(struct semantics_data *data, const struct semantics_case *c) {
    static const double traps[] = {NAN, INFINITY, -INFINITY, (double)FLT_MAX};
    struct test_random random = stream_of(c, TRAPS_DATA);
    const size_t keys = c->batch * c->num_kv_heads * c->seq_kv, queries = c->batch * c->num_heads * c->seq_q;
    const size_t *mask = data->mask_shape, added = mask[0] * mask[1] * mask[2] * mask[3];
    if (data->mask && c->mask != QKV_BOOL && added && test_random_once_in(&random, 8))
        data->mask[test_random_below(&random, added)] = test_random_once_in(&random, 2) ? NAN : INFINITY;
    bool *seen = seen_keys(data, c);
    for (size_t at = 0; at < keys; at++) {
        if (seen[at]) continue;
        for (size_t d = 0; d < c->head_dim; d++)
            data->k[at * c->head_dim + d] = traps[(at + d) % 4];
        for (size_t d = 0; d < c->value_dim; d++)
            data->v[at * c->value_dim + d] = traps[(at + d + 1) % 4];
    }
    free(seen);
    if (keys && test_random_once_in(&random, 6))
        data->k[test_random_below(&random, keys) * c->head_dim + test_random_below(&random, c->head_dim)] = NAN;
    if (keys && test_random_once_in(&random, 6))
        data->v[test_random_below(&random, keys) * c->value_dim + test_random_below(&random, c->value_dim)] = NAN;
    if (queries && test_random_once_in(&random, 6))
        data->q[test_random_below(&random, queries) * c->head_dim + test_random_below(&random, c->head_dim)] = NAN;
}

void semantics_data_make(struct semantics_data *data, const struct semantics_case *c) {
    const size_t keys = c->batch * c->num_kv_heads * c->seq_kv;
    memset(data, 0, sizeof *data);
    data->q = uniform(c, Q_DATA, c->batch * c->num_heads * c->seq_q * c->head_dim, (double)c->magnitude, c->q_dtype);
    data->k = uniform(c, K_DATA, keys * c->head_dim, (double)c->magnitude, c->k_dtype);
    data->v = uniform(c, V_DATA, keys * c->value_dim, 1, c->v_dtype);
    if (c->mask) mask_make(data, c);
    if (c->lengths) data->lengths = lengths_make(c);
    if (c->offsets) data->offsets = offsets_make(c);
    if (c->slopes) data->slopes = heads_make(c, SLOPES_DATA);
    if (c->sinks) data->sinks = heads_make(c, SINKS_DATA);
    if (!c->traps) return;
    set_traps(data, c);
    round_to(data->k, keys * c->head_dim, c->k_dtype); /* FLT_MAX is infinity to fp16 */
    round_to(data->v, keys * c->value_dim, c->v_dtype);
}

static double *copy(const double *values, size_t n) {
    if (!values) return NULL;
    double *to = test_alloc(n, sizeof *to);
    memcpy(to, values, n * sizeof *to);
    return to;
}

void semantics_data_copy(struct semantics_data *to, const struct semantics_data *from, const struct semantics_case *c) {
    const size_t keys = c->batch * c->num_kv_heads * c->seq_kv;
    const size_t *mask = from->mask_shape;
    *to = *from;
    to->q = copy(from->q, c->batch * c->num_heads * c->seq_q * c->head_dim);
    to->k = copy(from->k, keys * c->head_dim);
    to->v = copy(from->v, keys * c->value_dim);
    to->mask = copy(from->mask, mask[0] * mask[1] * mask[2] * mask[3]);
    to->lengths = copy(from->lengths, c->batch);
    to->offsets = copy(from->offsets, c->batch);
    to->slopes = copy(from->slopes, c->num_heads);
    to->sinks = copy(from->sinks, c->num_heads);
}

void semantics_data_free(struct semantics_data *data) {
    double *all[] = {data->q, data->k, data->v, data->mask, data->lengths, data->offsets, data->slopes, data->sinks};
    for (size_t n = 0; n < TEST_COUNT(all); n++)
        free(all[n]);
    memset(data, 0, sizeof *data);
}
