#include "plan/plan.h"

#include <math.h>
#include <stdlib.h>

/* Pairs in a row are padded to the widest vector that kernels read. */
#define WIDEST 16

/* Of position * frequency, without what the product loses in rounding. */
static void turn(double *c, double *s, double position, double frequency) {
    const double angle = position * frequency, rest = fma(position, frequency, -angle);
    *c = cos(angle) - rest * sin(angle);
    *s = sin(angle) + rest * cos(angle);
}

static void fill_row(float *row, size_t width, size_t position, const double *frequencies, size_t num_pairs,
                     double magnitude) {
    for (size_t p = 0; p < num_pairs; p++) {
        double c, s;
        turn(&c, &s, (double)position, frequencies[p]);
        row[p] = (float)(magnitude * c);
        row[width + p] = (float)(magnitude * s);
    }
}

/* Blocks of about the square root make both levels small together. */
static qkv_status lay_out(struct qkvi_rotary_table *table, size_t *num_rows, size_t max_position, size_t num_pairs) {
    *table = (struct qkvi_rotary_table){.width = qkvi_round_up(num_pairs, WIDEST), .max_position = max_position};
    while (((size_t)1 << table->block_bits) < qkvi_div_up(max_position, (size_t)1 << table->block_bits))
        table->block_bits++;
    const size_t block = (size_t)1 << table->block_bits;
    *num_rows = block + qkvi_div_up(max_position, block);
    if (!qkvi_product(&table->bytes, (const size_t[]){*num_rows, 2 * table->width, sizeof(float)}, 3))
        return qkvi_fail(QKV_OVERFLOW, "desc.max_position (%zu) needs more memory than can be counted", max_position);
    return QKV_OK;
}

qkv_status qkvi_rotary_table_create(struct qkvi_rotary_table *out, const struct qkvi_runtime *rt,
                                    const struct qkvi_rotary_problem *problem, const double *frequencies,
                                    double magnitude, size_t max_position) {
    struct qkvi_rotary_table table;
    size_t num_rows, num_pairs = problem->rotary_dim / 2;
    qkv_status status = lay_out(&table, &num_rows, max_position, num_pairs);
    if (!status) status = qkvi_buffer_create(&table.buffer, rt, table.bytes, "tables of cosines and sines");
    if (status) return status;
    const size_t block = (size_t)1 << table.block_bits;
    float *rows = calloc(num_rows, 2 * table.width * sizeof *rows);
    if (!rows) status = qkvi_fail_memory("tables of cosines and sines");
    for (size_t r = 0; !status && r < num_rows; r++)
        fill_row(rows + r * 2 * table.width, table.width, r < block ? r : (r - block) << table.block_bits, frequencies,
                 num_pairs, r < block ? magnitude : 1);
    if (!status) status = qkvi_buffer_write(rt, table.buffer, 0, rows, table.bytes);
    free(rows);
    if (status)
        qkvi_rotary_table_destroy(&table);
    else
        *out = table;
    return status;
}

void qkvi_rotary_table_destroy(struct qkvi_rotary_table *table) {
    qkvi_buffer_release(table->buffer);
    *table = (struct qkvi_rotary_table){0};
}
