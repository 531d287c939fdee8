/*
 * Linear layers on CPU devices: out_i[r][c] = sum_k x[r][k] * W_i[k][c] + b_i[c] for up to four outputs i.
 *
 * Each element is one chain of multiply-adds over increasing k, and then the bias, in every tile: results
 * depend neither on the number of rows nor on how rows are divided among work-groups.
 *
 * x: read as it is, a scalar at a time, broadcast over a vector of VW columns.
 * W: packed in panels of VW columns: element (k, c) of panel p lies at (p * K + k) * VW + c. A tile reads several
 *    panels side by side: streams of their own, of which a core follows a few at once faster than one.
 * b: element c of panel p lies at p * VW + c.
 * NDRange: (chunks of rows_per_group rows in a band, column groups, bands), one work-item per work-group. The first
 * wide_groups column groups have NV panels each, the others LOW_NV, which may end past the last panel.
 * A work-group runs down its rows in register tiles of ROWS x NV vectors; few rows, and what ROWS leaves over, go in
 * tiles of LOW_ROWS x LOW_NV and 1 x LOW_NV. The chunks are the fast index, so that panels of W stay in the core's own
 * cache while a band of x, which is to fit the cache behind it, passes by.
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
#ifndef LOW_ROWS
#define LOW_ROWS 4
#endif
#ifndef LOW_NV
#define LOW_NV 4 /* at least NV */
#endif
#define MAX_SUMS (ROWS * NV > LOW_ROWS * LOW_NV ? ROWS * NV : LOW_ROWS * LOW_NV)
/* Steps of k by which a tile that is the only one to read its panels asks for W ahead of its use: the time that the
 * cache behind the core's own takes. */
#ifndef AHEAD
#define AHEAD 64
#endif
/* Floats of W that are asked for a work-group ahead, at most: to fit the core's own cache beside those in use. */
#ifndef MOST_ASKED
#define MOST_ASKED (1 << 17)
#endif

#define VECTORS_1(F, r) F(r, 0)
#define VECTORS_2(F, r) VECTORS_1(F, r) F(r, 1)
#define VECTORS_3(F, r) VECTORS_2(F, r) F(r, 2)
#define VECTORS_4(F, r) VECTORS_3(F, r) F(r, 3)
#define EACH_VECTOR(n, F, r) QKV_PASTE(VECTORS_, n)(F, r)

#define ROWS_1(F, n) F(0, n)
#define ROWS_2(F, n) ROWS_1(F, n) F(1, n)
#define ROWS_3(F, n) ROWS_2(F, n) F(2, n)
#define ROWS_4(F, n) ROWS_3(F, n) F(3, n)
#define ROWS_5(F, n) ROWS_4(F, n) F(4, n)
#define ROWS_6(F, n) ROWS_5(F, n) F(5, n)
#define ROWS_7(F, n) ROWS_6(F, n) F(6, n)
#define ROWS_8(F, n) ROWS_7(F, n) F(7, n)
#define ROWS_9(F, n) ROWS_8(F, n) F(8, n)
#define ROWS_10(F, n) ROWS_9(F, n) F(9, n)
#define ROWS_11(F, n) ROWS_10(F, n) F(10, n)
#define ROWS_12(F, n) ROWS_11(F, n) F(11, n)
#define ROWS_13(F, n) ROWS_12(F, n) F(12, n)
#define ROWS_14(F, n) ROWS_13(F, n) F(13, n)
#define ROWS_15(F, n) ROWS_14(F, n) F(14, n)
#define ROWS_16(F, n) ROWS_15(F, n) F(15, n)
#define EACH_ROW(rows, F, n) QKV_PASTE(ROWS_, rows)(F, n)

/* Where a panel's columns go: its output, its offset in a row, its first column's number in its run of columns (runs
 * are broken by col_inner), how many of its columns exist (0: no such panel), and whether these are VW side by side. */
struct columns {
    global float *out;
    long8 view;
    long offset, inner, count;
    bool dense;
};

static struct columns find_columns(LINEAR_OUTPUT_PARAMETERS, long panel)
{
    LINEAR_SELECT_OUTPUT(panel)
    const long column = (panel - first) * VW;
    const long outer = column < view.s4 ? 0 : column / view.s4;
    struct columns c;
    c.out = out;
    c.view = view;
    c.inner = column - outer * view.s4;
    c.offset = outer * view.s5 + c.inner * view.s6;
    c.count = min((long)VW, features - column);
    c.dense = view.s6 == 1 && c.count == VW && c.inner + VW <= view.s4;
    return c;
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

/* Adds the bias to the sums of `count` rows of `panels` panels, which lie `width` vectors to a row, and writes them. */
static void store_tile(const struct columns *columns, long panels, long row, long count, global const float *bias,
                       const float *sums, long width)
{
    for (long v = 0; v < panels; v++, sums += VW) {
        const struct columns c = columns[v];
        const vec b = QKV_VLOAD(bias + v * VW);
        for (long r = 0; r < count; r++) {
            global float *to = c.out + linear_row_offset(c.view, row + r) + c.offset;
            const vec value = QKV_VLOAD(sums + r * width * VW) + b;
            if (c.dense)
                QKV_VSTORE(value, to);
            else
                store_lanes(to, value, c.view, c.inner, c.count);
        }
    }
}

#define DECLARE_VECTOR(r, v) vec sum##r##_##v = (vec)(0.0f);
#define DECLARE_ROW(r, n)                                                                              \
    global const float *x##r = x + linear_row_offset(x_view, row + (r < count ? (long)r : count - 1)); \
    EACH_VECTOR(n, DECLARE_VECTOR, r)
/* Panels past the last repeat it. */
#define DECLARE_PANEL(r, v) const long panel##v = (v < panels ? (long)v : v > 0 ? panels - 1 : 0) * in_features * VW;

#define KEEP_VECTOR(r, v) QKV_VSTORE(sum##r##_##v, at_row + v * VW);
#define KEEP_ROW(r, n)                      \
    {                                       \
        float *at_row = sums + r * n * VW;  \
        EACH_VECTOR(n, KEEP_VECTOR, r)      \
    }

#define LOAD_W(i, v) const vec w##v = QKV_VLOAD(w + panel##v + (i) * VW);
/* Once a line, of 64 bytes nearly everywhere. */
#define NEW_LINE(i) ((i) * VW % 16 == 0)
#define ASK_AHEAD(i, v) \
    if (NEW_LINE(i))    \
        QKV_PREFETCH(w + panel##v + ((i) + AHEAD) * VW);
#define ASK_LATER(i, v) \
    if (NEW_LINE(i))    \
        QKV_PREFETCH(later + panel##v + (i) * VW);
#define ASK_NOTHING(i, v)
#define ADD_VECTOR(r, v) sum##r##_##v = QKV_FMA(x_value, w##v, sum##r##_##v);
#define ADD_ROW(r, n)                          \
    {                                          \
        const vec x_value = (vec)(x##r[x_at]); \
        EACH_VECTOR(n, ADD_VECTOR, r)          \
    }
#define STEP(i, rows, n, ask)       \
    {                               \
        const long x_at = at + (i); \
        EACH_VECTOR(n, LOAD_W, i)   \
        EACH_VECTOR(n, ask, i)      \
        EACH_ROW(rows, ADD_ROW, n)  \
    }

#define STEPS_2(rows, n, ask) \
    STEP(0, rows, n, ask)     \
    STEP(1, rows, n, ask)
#define STEPS_4(rows, n, ask) \
    STEPS_2(rows, n, ask)     \
    STEP(2, rows, n, ask)     \
    STEP(3, rows, n, ask)

/*
 * The sums of rows row .. row + count - 1 of some panels, 1 <= count <= R, 1 <= panels <= N; rows past them repeat the
 * last one. The columns of x are walked run by run, U steps at a time: more steps than the few that keep the loop from
 * costing anything only take longer to compile. Meanwhile lines of W are asked for, one a step: by ASK_LATER U lines from
 * `later` on, then U from later_step floats behind it, and so on.
 */
#define DEFINE_TILE(NAME, R, N, ASK, U)                                                                         \
    static void NAME(global const float *x, long8 x_view, long row, long count, long in_features,               \
                     global const float *w, long panels, global const float *later, long later_step,            \
                     float *sums)                                                                               \
    {                                                                                                           \
        EACH_ROW(R, DECLARE_ROW, N)                                                                             \
        EACH_VECTOR(N, DECLARE_PANEL, 0)                                                                        \
        for (long start = 0, k = in_features; k > 0; start += x_view.s5) {                                      \
            long left = min(k, x_view.s4);                                                                      \
            long at = start;                                                                                    \
            k -= left;                                                                                          \
            if (x_view.s6 == 1) {                                                                               \
                for (; left >= U; left -= U, at += U, w += U * VW, later += later_step) {                       \
                    QKV_PASTE(STEPS_, U)(R, N, ASK)                                                             \
                }                                                                                               \
            }                                                                                                   \
            for (; left > 0; left--, at += x_view.s6, w += VW)                                                  \
                STEP(0, R, N, ASK)                                                                              \
        }                                                                                                       \
        EACH_ROW(R, KEEP_ROW, N)                                                                                \
    }

DEFINE_TILE(main_tile, ROWS, NV, ASK_LATER, 2)
DEFINE_TILE(low_tile, LOW_ROWS, LOW_NV, ASK_AHEAD, 2)
#if LOW_ROWS > 1
/* Nothing but reading: the hardware's own prefetching does better alone. */
DEFINE_TILE(row_tile, 1, LOW_NV, ASK_NOTHING, 4)
#endif

kernel void linear_vector(LINEAR_ARGS)
{
    LINEAR_DECLARE
    const long num_panels = sizes.s2, rows_per_group = sizes.s3, wide_groups = sizes.s4;
    const long group = (long)get_group_id(1), narrow = max(group - wide_groups, 0L);
    const long panel = (group - narrow) * NV + narrow * LOW_NV;
    const long panels = min(group < wide_groups ? (long)NV : (long)LOW_NV, num_panels - panel);
    long row = (long)(get_group_id(2) * get_num_groups(0) + get_group_id(0)) * rows_per_group;
    const long end = min(rows, row + rows_per_group);
    packed += panel * in_features * VW;
    bias += panel * VW;

    struct columns columns[LOW_NV];
    for (long v = 0; v < panels; v++)
        columns[v] = find_columns(LINEAR_OUTPUT_ARGUMENTS, panel + v);
    float sums[MAX_SUMS * VW];
    if (panels <= NV) {
        /* Where several tiles pass by the same panels, each asks for half of the next ones: the first to read them
         * would otherwise wait for all that the farther cache has to bring. */
        const long span = panels * in_features * VW, part = in_features / 2 * VW;
        const bool several = end - row > ROWS && span <= MOST_ASKED;
        global const float *next = packed + (get_group_id(0) + 1 < get_num_groups(0) ? 0 : span);
        for (long t = 0; end - row > LOW_ROWS; row += ROWS, t++) {
            const long count = min((long)ROWS, end - row);
            main_tile(x, x_view, row, count, in_features, packed, panels,
                      several ? next + (t & 1) * part : packed + AHEAD * VW, several ? VW : 2 * VW, sums);
            store_tile(columns, panels, row, count, bias, sums, NV);
        }
    }
    for (; row < end; row += LOW_ROWS) {
        const long count = min((long)LOW_ROWS, end - row);
#if LOW_ROWS > 1
        if (count == 1)
            row_tile(x, x_view, row, count, in_features, packed, panels, packed, 0, sums);
        else
#endif
            low_tile(x, x_view, row, count, in_features, packed, panels, packed, 0, sums);
        store_tile(columns, panels, row, count, bias, sums, LOW_NV);
    }
}
