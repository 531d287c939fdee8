/*
 * Linear layers on CPU devices: out_i[r][c] = sum_k x[r][k] * W_i[k][c] + b_i[c] for up to four outputs i.
 *
 * Each element is one chain of multiply-adds over increasing k, and then the bias, in every tile: results
 * depend neither on the number of rows nor on how rows are divided among work-groups.
 *
 * x: read as it is, a scalar at a time, broadcast over a vector of VW columns.
 * W: packed in panels of PANEL = NV * VW columns: element (k, c) of panel p lies at (p * K + k) * PANEL + c.
 * b: element c of panel p lies at p * PANEL + c.
 * NDRange: (chunks of rows_per_group rows in a band, panels, bands), one work-item per work-group. A work-group runs
 * down its rows in register tiles of ROWS x NV vectors, and the chunks are the fast index, so that a panel of W stays
 * in the core's own cache while a band of x, which is to fit the cache behind it, passes by.
 * Register tile and panels follow Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication",
 * less the packing of x: its rows are read as they are.
 */
#include "common.clh"
#include "linear.clh"

/* Rows and vectors of a tile: ROWS * NV accumulators, NV vectors of W and one of x have to fit the registers. */
#ifndef ROWS
#define ROWS 8
#endif
#ifndef NV
#define NV 3
#endif
#define PANEL (NV * VW)

#define VECTORS_1(F, r) F(r, 0)
#define VECTORS_2(F, r) VECTORS_1(F, r) F(r, 1)
#define VECTORS_3(F, r) VECTORS_2(F, r) F(r, 2)
#define VECTORS_4(F, r) VECTORS_3(F, r) F(r, 3)
#define EACH_VECTOR(F, r) QKV_PASTE(VECTORS_, NV)(F, r)

#define EACH_ROW_1(F) F(0)
#define EACH_ROW_2(F) EACH_ROW_1(F) F(1)
#define EACH_ROW_4(F) EACH_ROW_2(F) F(2) F(3)
#define EACH_ROW_6(F) EACH_ROW_4(F) F(4) F(5)
#define EACH_ROW_8(F) EACH_ROW_6(F) F(6) F(7)
#define EACH_ROW_12(F) EACH_ROW_8(F) F(8) F(9) F(10) F(11)
#define EACH_ROW_16(F) EACH_ROW_12(F) F(12) F(13) F(14) F(15)

/* Where the panel's columns go: per vector its offset in a row, its first column's number in its run of columns (runs
 * are broken by col_inner), how many of its columns exist, and whether these are VW side by side. */
struct columns {
    long offset[NV], inner[NV], count[NV];
    bool dense[NV];
};

static void find_columns(struct columns *c, long8 view, long column, long num_columns)
{
    for (int v = 0; v < NV; v++, column += VW) {
        const long outer = column < view.s4 ? 0 : column / view.s4;
        c->inner[v] = column - outer * view.s4;
        c->offset[v] = outer * view.s5 + c->inner[v] * view.s6;
        c->count[v] = min((long)VW, num_columns - column);
        c->dense[v] = view.s6 == 1 && c->count[v] == VW && c->inner[v] + VW <= view.s4;
    }
}

static void store_lanes(global float *to, vec value, long8 view, long inner, long count)
{
    float lane[VW];
    QKV_VSTORE(value, lane);
    for (long i = 0; i < count; i++) {
        *to = lane[i];
        to += view.s6;
        if (++inner == view.s4) {
            inner = 0;
            to += view.s5 - view.s4 * view.s6;
        }
    }
}

/* Adds the bias to the sums of `count` rows of a panel and writes them. */
static void store_rows(global float *out, long8 view, const struct columns *c, long row, long count,
                       global const float *bias, const float *sums)
{
    for (long r = 0; r < count; r++, sums += PANEL) {
        global float *to = out + linear_row_offset(view, row + r);
        for (int v = 0; v < NV; v++) {
            const vec value = QKV_VLOAD(sums + v * VW) + QKV_VLOAD(bias + v * VW);
            if (c->dense[v])
                QKV_VSTORE(value, to + c->offset[v]);
            else
                store_lanes(to + c->offset[v], value, view, c->inner[v], c->count[v]);
        }
    }
}

#define DECLARE_VECTOR(r, v) vec sum##r##_##v = (vec)(0.0f);
#define DECLARE_ROW(r)                                                                        \
    global const float *x##r = x + linear_row_offset(x_view, row + (r < count ? (long)r : count - 1)); \
    EACH_VECTOR(DECLARE_VECTOR, r)

#define KEEP_VECTOR(r, v) QKV_VSTORE(sum##r##_##v, sums + r * PANEL + v * VW);
#define KEEP_ROW(r) EACH_VECTOR(KEEP_VECTOR, r)

#define LOAD_W(i, v) const vec w##v = QKV_VLOAD(w + (i) * PANEL + v * VW);
#define ADD_VECTOR(r, v) sum##r##_##v = QKV_FMA(x_value, w##v, sum##r##_##v);
#define ADD_ROW(r)                             \
    {                                          \
        const vec x_value = (vec)(x##r[x_at]); \
        EACH_VECTOR(ADD_VECTOR, r)             \
    }
#define STEP(i, each_row)       \
    {                           \
        const long x_at = at + (i); \
        EACH_VECTOR(LOAD_W, i)  \
        each_row(ADD_ROW)       \
    }

/*
 * The sums of rows row .. row + count - 1 of one panel, 1 <= count <= R; rows past them repeat the last one.
 * The columns of x are walked run by run.
 */
#define DEFINE_TILE(R, each_row)                                                                                    \
    static void tile_##R(global const float *x, long8 x_view, long row, long count, long k, global const float *w,  \
                         float *sums)                                                                               \
    {                                                                                                               \
        each_row(DECLARE_ROW)                                                                                       \
        for (long start = 0; k > 0; start += x_view.s5) {                                                           \
            long left = min(k, x_view.s4);                                                                          \
            long at = start;                                                                                        \
            k -= left;                                                                                              \
            if (x_view.s6 == 1) {                                                                                   \
                for (; left >= 4; left -= 4, at += 4, w += 4 * PANEL) {                                             \
                    STEP(0, each_row)                                                                               \
                    STEP(1, each_row)                                                                               \
                    STEP(2, each_row)                                                                               \
                    STEP(3, each_row)                                                                               \
                }                                                                                                   \
            }                                                                                                       \
            for (; left > 0; left--, at += x_view.s6, w += PANEL)                                                   \
                STEP(0, each_row)                                                                                   \
        }                                                                                                           \
        each_row(KEEP_ROW)                                                                                          \
    }

DEFINE_TILE(1, EACH_ROW_1)
#if ROWS >= 2
DEFINE_TILE(2, EACH_ROW_2)
#endif
#if ROWS >= 4
DEFINE_TILE(4, EACH_ROW_4)
#endif
#if ROWS == 6
DEFINE_TILE(6, EACH_ROW_6)
#endif
#if ROWS >= 8
DEFINE_TILE(8, EACH_ROW_8)
#endif
#if ROWS == 12
DEFINE_TILE(12, EACH_ROW_12)
#endif
#if ROWS >= 16
DEFINE_TILE(16, EACH_ROW_16)
#endif

/* A tile is taken while at most a quarter of its rows would be idle; smaller tiles take the rest. */
#define RUN_TILES(R)                                                                  \
    for (; 4 * (end - row) >= 3 * R; row += R) {                                      \
        const long count = min((long)R, end - row);                                   \
        QKV_PASTE(tile_, R)(x, x_view, row, count, in_features, packed, sums);        \
        store_rows(out, view, &columns, row, count, bias, sums);                      \
    }

kernel void linear_vector(LINEAR_ARGS, long rows_per_group)
{
    const long panel = (long)get_group_id(1);
    long row = (long)(get_group_id(2) * get_num_groups(0) + get_group_id(0)) * rows_per_group;
    const long end = min(rows, row + rows_per_group);
    packed += panel * in_features * PANEL;
    bias += panel * PANEL;

    LINEAR_SELECT_OUTPUT(panel)
    struct columns columns;
    find_columns(&columns, view, (panel - first) * PANEL, features);
    float sums[ROWS * PANEL];
    RUN_TILES(ROWS)
#if ROWS > 8
    RUN_TILES(8)
#endif
#if ROWS > 4
    RUN_TILES(4)
#endif
#if ROWS > 2
    RUN_TILES(2)
#endif
#if ROWS > 1
    RUN_TILES(1)
#endif
}
