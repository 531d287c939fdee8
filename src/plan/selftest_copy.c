#include "plan/selftest.h"

#include <string.h>

/* Keys of four bytes in no whole vector, values of two in several and a rest; the present has room behind it. */
#define HEADS 2
#define PAST 5
#define FRESH 4
#define ROOM 11
#define K_DIM 21
#define V_DIM 56
#define MOST (HEADS * ROOM * V_DIM * 4)

/* Keys or values. */
struct part {
    size_t dim, bytes; /* of an element */
    unsigned char past[MOST], fresh[MOST], got[MOST];
    cl_mem dpast, dfresh, dpresent;
};

/* Every bit pattern is a value to a copy, those of NaN too. */
static void fill(unsigned char *data, size_t seed) {
    for (size_t i = 0; i < MOST; i++)
        data[i] = (unsigned char)(1.0f + 120.0f * (1.0f + qkvi_selftest_value(seed, i)));
}

static qkv_status prepare(struct part *part, const struct qkvi_runtime *rt, size_t dim, size_t bytes) {
    part->dim = dim;
    part->bytes = bytes;
    fill(part->past, dim);
    fill(part->fresh, dim + 1);
    memset(part->got, 0, MOST);
    qkv_status status = qkvi_selftest_renew(&part->dpast, rt, part->past, MOST);
    if (!status) status = qkvi_selftest_renew(&part->dfresh, rt, part->fresh, MOST);
    if (!status) status = qkvi_selftest_renew(&part->dpresent, rt, part->got, MOST);
    return status;
}

static struct qkvi_view4 rows_of(cl_mem buffer, size_t rows, size_t dim) {
    return (struct qkvi_view4){.buffer = buffer,
                               .stride = {(int64_t)(HEADS * rows * dim), (int64_t)(rows * dim), (int64_t)dim, 1}};
}

static qkv_status check_rows(const struct part *part, size_t head, size_t row, const unsigned char *expected) {
    static const unsigned char zeros[MOST];
    const size_t width = part->dim * part->bytes;
    if (!memcmp(part->got + (head * ROOM + row) * width, expected ? expected : zeros, width)) return QKV_OK;
    return qkvi_fail(QKV_SELF_TEST_FAILED, "self-test of a copy: row %zu of head %zu is not what it was copied from",
                     row, head);
}

/* past: was it to be copied? */
static qkv_status check(struct part *part, const struct qkvi_runtime *rt, bool past) {
    const size_t width = part->dim * part->bytes;
    qkv_status status = qkvi_buffer_read(rt, part->got, part->dpresent, 0, MOST);
    for (size_t h = 0; h < HEADS; h++)
        for (size_t j = 0; !status && j < ROOM; j++)
            status = check_rows(part, h, j,
                                j < PAST           ? past ? part->past + (h * PAST + j) * width : NULL
                                : j < PAST + FRESH ? part->fresh + (h * FRESH + j - PAST) * width
                                                   : NULL);
    return status;
}

static qkv_status check_both(struct part *parts, const struct qkvi_runtime *rt, const struct qkvi_solver *solver,
                             const void *state, bool past) {
    const struct part *k = &parts[0], *v = &parts[1];
    const struct qkvi_attention_run run = {
        .batch = 1,
        .k = rows_of(k->dpresent, ROOM, K_DIM),
        .v = rows_of(v->dpresent, ROOM, V_DIM),
        .past = {.wanted = true,
                 .seq_past = PAST,
                 .seq_new = FRESH,
                 .past_k = rows_of(past ? k->dpast : NULL, PAST, K_DIM),
                 .past_v = rows_of(past ? v->dpast : NULL, PAST, V_DIM),
                 .new_k = rows_of(k->dfresh, FRESH, K_DIM),
                 .new_v = rows_of(v->dfresh, FRESH, V_DIM)},
    };
    qkv_status status = qkvi_selftest_run(rt, solver, state, &run);
    if (!status) status = check(&parts[0], rt, past);
    return status ? status : check(&parts[1], rt, past);
}

qkv_status qkvi_selftest_copy(struct qkvi_programs *programs, const struct qkvi_solver *solver) {
    const struct qkvi_problem problem = {.operation = QKVI_COPY,
                                         .u.attention = {.head_dim = K_DIM,
                                                         .value_dim = V_DIM,
                                                         .num_heads = HEADS,
                                                         .num_kv_heads = HEADS,
                                                         .max_batch = 1,
                                                         .max_seq_q = 1,
                                                         .max_seq_kv = ROOM,
                                                         .k_dtype = QKV_F32,
                                                         .v_dtype = QKV_F16}};
    struct part parts[2] = {{.dim = 0}};
    void *state = NULL;
    qkv_status status = prepare(&parts[0], programs->rt, K_DIM, sizeof(uint32_t));
    if (!status) status = prepare(&parts[1], programs->rt, V_DIM, sizeof(uint16_t));
    if (!status) status = solver->create(&state, programs, &problem);
    /* What lies there already first: it must stay as it is. */
    if (!status) status = check_both(parts, programs->rt, solver, state, false);
    if (!status) status = check_both(parts, programs->rt, solver, state, true);
    for (size_t i = 0; i < 2; i++) {
        qkvi_buffer_release(parts[i].dpast);
        qkvi_buffer_release(parts[i].dfresh);
        qkvi_buffer_release(parts[i].dpresent);
    }
    if (state) solver->destroy(state);
    return status;
}
