/*
 * Linear layers on GPUs: out_i[r][c] = sum_k x[r][k] * W_i[k][c] + b_i[c] for up to four outputs i.
 *
 * A work-group computes BM rows by BN columns. Slices of BK steps of x and W pass through local memory, the next one
 * being read from global memory while the present one is used; each of the WORKERS first work-items sums a tile of
 * TM x TN in registers (after Volkov and Demmel 2008, "Benchmarking GPUs to tune dense linear algebra", and Nath,
 * Tomov and Dongarra 2010, "An improved MAGMA GEMM for Fermi GPUs"). With few rows BM is small and BK large: the same
 * kernel then streams W through all work-items' loads.
 * Each element is one chain of multiply-adds over increasing k, and then the bias, whatever the tile: results
 * depend neither on the number of rows nor on the tile that was chosen for it.
 *
 * x: a view, element by element, neighbouring work-items reading neighbouring k.
 * W: panels of PANEL columns: element (k, c) of panel p lies at (p * K + k) * PANEL + c. BN divides PANEL.
 * b: element c of panel p lies at p * PANEL + c.
 * NDRange: (row blocks of a band * THREADS, panels * PANEL / BN, bands), local (THREADS, 1, 1). Row blocks of a band
 * are the fast index, so that groups that run together share both columns of W and rows of x.
 * Floats read from global memory, for R = ceil(rows / BM) and C = columns rounded up to BN / BN:
 *   R * C * ((BM + BN) * ceil(K / BK) * BK + WORKERS * TN), the last term being the bias.
 * Local memory: BUFFERS * BK * (BM + PAD + BN) floats.
 */
#include "common.clh"
#include "linear.clh"

#ifndef BM
#define BM 32
#endif
#ifndef BN
#define BN 32
#endif
#ifndef BK
#define BK 16
#endif
#ifndef TM
#define TM 4
#endif
#ifndef TN
#define TN 4
#endif
#ifndef THREADS
#define THREADS 64
#endif
#ifndef PANEL
#define PANEL 32
#endif
#ifndef BUFFERS
#define BUFFERS 2
#endif
/* 1 for GPUs, where arrays are registers only if every index is a constant; CPU compilers rather take their time. */
#ifndef UNROLL
#define UNROLL 1
#endif
#if UNROLL
#define TILE_UNROLL _Pragma("unroll")
#define TILE_UNROLL_4 _Pragma("unroll 4")
#else
#define TILE_UNROLL
#define TILE_UNROLL_4
#endif
#define PAD 4
#define LDX (BM + PAD)
#define WORKERS ((BM / TM) * (BN / TN))

/* A work-item's rows and columns lie in runs of FM and FN, so that a run is one load of a vector from local memory
 * and neighbouring work-items read neighbouring runs. */
#if TM % 4 == 0
#define FM 4
#define LOAD_M(to, tile, at) vstore4(((local const float4 *)(tile))[(at) / 4], 0, (to))
#elif TM % 2 == 0
#define FM 2
#define LOAD_M(to, tile, at) vstore2(((local const float2 *)(tile))[(at) / 2], 0, (to))
#else
#define FM 1
#define LOAD_M(to, tile, at) *(to) = (tile)[at]
#endif
#if TN % 4 == 0
#define FN 4
#define LOAD_N(to, tile, at) vstore4(((local const float4 *)(tile))[(at) / 4], 0, (to))
#elif TN % 2 == 0
#define FN 2
#define LOAD_N(to, tile, at) vstore2(((local const float2 *)(tile))[(at) / 2], 0, (to))
#else
#define FN 1
#define LOAD_N(to, tile, at) *(to) = (tile)[at]
#endif
#define RUN_M(i) ((i) / FM * (BM / (TM / FM)) + (i) % FM)
#define RUN_N(j) ((j) / FN * (BN / (TN / FN)) + (j) % FN)

/* Elements of a slice that a work-item brings; of x, XK neighbouring k come first: a sector of memory, and no two
 * work-items then write to the same bank of local memory. Element e of a work-item is what it starts with plus a
 * constant: addresses computed from e at run time would take the registers. */
#define PER_X (BM * BK / THREADS)
#define PER_W (BN * BK / THREADS)
#define XK (THREADS < 8 ? (BK < THREADS ? BK : THREADS) : BK < 8 ? BK : 8)
#define STRIDE (THREADS / XK)
#if THREADS >= 8 && THREADS > 8 * BM
#define X_ROW(e, lid) ((int)((uint)(lid) / XK % BM))
#define X_K(e, lid) ((int)((uint)(lid) % XK + (uint)(lid) / XK / BM * XK) + (e) * (STRIDE / BM) * XK)
#else
#define X_ROW(e, lid) ((int)((uint)(lid) / XK) + (e) * STRIDE % BM)
#define X_K(e, lid) ((int)((uint)(lid) % XK) + (e) * STRIDE / BM * XK)
#endif
#if THREADS >= BN
#define W_K(e, lid) ((int)((uint)(lid) / BN) + (e) * (THREADS / BN))
#define W_COLUMN(e, lid) ((int)((uint)(lid) % BN))
#else
#define W_K(e, lid) ((e) / (BN / THREADS))
#define W_COLUMN(e, lid) ((lid) + (e) % (BN / THREADS) * THREADS)
#endif

/* Past the last k both factors are 0: what lies there in memory need not be finite. */
static inline void fetch(float *x_next, float *w_next, global const float *x, const long *x_row, long8 x_view,
                         global const float *w, long k, long in_features, int lid)
{
    TILE_UNROLL
    for (int e = 0; e < PER_X; e++) {
        const long at = k + X_K(e, lid), c = min(at, in_features - 1);
        const long outer = c < x_view.s4 ? 0 : c / x_view.s4;
        const float value = x[x_row[e] + outer * x_view.s5 + (c - outer * x_view.s4) * x_view.s6];
        x_next[e] = at < in_features ? value : 0.0f;
    }
    TILE_UNROLL
    for (int e = 0; e < PER_W; e++) {
        const long at = k + W_K(e, lid);
        const float value = w[min(at, in_features - 1) * PANEL + W_COLUMN(e, lid)];
        w_next[e] = at < in_features ? value : 0.0f;
    }
}

static inline void keep(local float *xs, local float *ws, const float *x_next, const float *w_next, int lid)
{
    TILE_UNROLL
    for (int e = 0; e < PER_X; e++)
        xs[X_K(e, lid) * LDX + X_ROW(e, lid)] = x_next[e];
    TILE_UNROLL
    for (int e = 0; e < PER_W; e++)
        ws[e * THREADS + lid] = w_next[e];
}

static inline void add_slice(float *sum, local const float *xs, local const float *ws, int row, int column)
{
    TILE_UNROLL_4
    for (int k = 0; k < BK; k++) {
        float a[TM], b[TN];
        TILE_UNROLL
        for (int i = 0; i < TM; i += FM)
            LOAD_M(a + i, xs, k * LDX + row + RUN_M(i));
        TILE_UNROLL
        for (int j = 0; j < TN; j += FN)
            LOAD_N(b + j, ws, k * BN + column + RUN_N(j));
        TILE_UNROLL
        for (int i = 0; i < TM; i++)
            TILE_UNROLL
            for (int j = 0; j < TN; j++)
                sum[i * TN + j] = QKV_FMA(a[i], b[j], sum[i * TN + j]);
    }
}

static inline void store(global float *out, long8 view, long row, long rows, long column, long features,
                         global const float *bias, const float *sum)
{
    TILE_UNROLL
    for (int j = 0; j < TN; j++) {
        const long c = column + RUN_N(j);
        const long outer = c < view.s4 ? 0 : c / view.s4;
        const long offset = outer * view.s5 + (c - outer * view.s4) * view.s6;
        const float add = bias[RUN_N(j)];
        TILE_UNROLL
        for (int i = 0; i < TM; i++)
            if (c < features && row + RUN_M(i) < rows)
                out[linear_row_offset(view, row + RUN_M(i)) + offset] = sum[i * TN + j] + add;
    }
}

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void linear_tile(LINEAR_ARGS)
{
    LINEAR_DECLARE
    local float4 xs4[BUFFERS * BK * LDX / 4], ws4[BUFFERS * BK * BN / 4];
    const int lid = (int)get_local_id(0);
    const long row0 = (long)(get_group_id(2) * get_num_groups(0) + get_group_id(0)) * BM;
    const long panel = (long)get_group_id(1) / (PANEL / BN);
    const int part = (int)get_group_id(1) % (PANEL / BN) * BN;
    LINEAR_SELECT_OUTPUT(panel)
    const long column0 = (panel - first) * PANEL + part;
    if (row0 >= rows || column0 >= features)
        return;

    global const float *w = packed + panel * in_features * PANEL + part;
    long x_row[PER_X];
    float sum[TM * TN], x_next[PER_X], w_next[PER_W];
    TILE_UNROLL
    for (int e = 0; e < PER_X; e++)
        x_row[e] = linear_row_offset(x_view, min(row0 + X_ROW(e, lid), rows - 1));
    TILE_UNROLL
    for (int i = 0; i < TM * TN; i++)
        sum[i] = 0.0f;

    /* Work-items whose rows lie past the end, or that have no tile, only bring what the others use. */
    const int row = lid / (BN / TN) * FM, column = lid % (BN / TN) * FN;
    const bool works = lid < WORKERS && row0 + row < rows;
    int buffer = 0;
    fetch(x_next, w_next, x, x_row, x_view, w, 0, in_features, lid);
    keep((local float *)xs4, (local float *)ws4, x_next, w_next, lid);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (long k = BK; k < in_features + BK; k += BK) {
        const bool more = k < in_features;
        if (more)
            fetch(x_next, w_next, x, x_row, x_view, w, k, in_features, lid);
        if (works)
            add_slice(sum, (local float *)xs4 + buffer * BK * LDX, (local float *)ws4 + buffer * BK * BN, row, column);
#if BUFFERS == 1
        barrier(CLK_LOCAL_MEM_FENCE);
#else
        buffer = 1 - buffer;
#endif
        if (more)
            keep((local float *)xs4 + buffer * BK * LDX, (local float *)ws4 + buffer * BK * BN, x_next, w_next, lid);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (works)
        store(out, view, row0 + row, rows, column0 + column, features, bias + panel * PANEL + part + column, sum);
}
