/* Other libraries' matrix products, opened where they are installed: nothing here is linked. */
#include "bench.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* A case for the peers that compute on the host. */
struct host_product {
    size_t n, m, k; /* y (n, m) = x (n, k) W^T */
    float *x, *y;
    float *w;        /* (m, k), as linear layers store it */
    float *w_by_row; /* (k, m) */
    bool by_row;     /* which of the two this library is faster with; both are prepared, as ours are */
};

static void *symbol(void *library, const char *name)
{
    return library ? dlsym(library, name) : NULL;
}

/* ISO C has no conversion between object and function pointers; POSIX promises equal representation. */
#define FIND(target, library, name)                  \
    do {                                             \
        void *found_ = symbol((library), (name));    \
        memcpy(&(target), &found_, sizeof found_);   \
    } while (0)

static void *open_first(const char *const *names)
{
    void *library = NULL;
    for (; *names && !library; ++names) {
        library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
    }
    return library;
}

static void release_host(struct bench_peer *peer)
{
    struct host_product *p = peer->state;
    if (p) {
        free(p->x);
        free(p->w);
        free(p->w_by_row);
        free(p->y);
        free(p);
    }
    peer->state = NULL;
}

static void choose_layout(struct bench_peer *peer)
{
    struct host_product *p = peer->state;
    double best[2] = {1e30, 1e30};
    for (int i = 0; i < 8; ++i) {
        p->by_row = i & 1;
        double begin = tool_clock_seconds();
        peer->run(peer);
        double seconds = tool_clock_seconds() - begin;
        best[i & 1] = seconds < best[i & 1] ? seconds : best[i & 1];
    }
    p->by_row = best[1] < best[0];
}

static bool prepare_host(struct bench_peer *peer, qkv_context *context, const struct bench_case *c)
{
    (void)context;
    struct host_product *p = c->kind == BENCH_PROJECTION ? calloc(1, sizeof *p) : NULL;
    peer->state = p;
    if (!p) {
        return false;
    }
    p->n = c->rows;
    p->m = c->out_features;
    p->k = c->in_features;
    p->x = bench_values(BENCH_SEED_X, 0, p->n * p->k, 1.0f);
    p->w = bench_values(BENCH_SEED_W, 0, p->m * p->k, bench_weight_scale(p->k));
    p->w_by_row = malloc(p->m * p->k * sizeof *p->w_by_row);
    p->y = calloc(p->n * p->m, sizeof *p->y);
    if (!p->x || !p->w || !p->w_by_row || !p->y) {
        release_host(peer);
        return false;
    }
    for (size_t i = 0; i < p->k; ++i) {
        for (size_t j = 0; j < p->m; ++j) {
            p->w_by_row[i * p->m + j] = p->w[j * p->k + i];
        }
    }
    choose_layout(peer);
    return true;
}

static bool output_host(struct bench_peer *peer, float *y)
{
    struct host_product *p = peer->state;
    memcpy(y, p->y, p->n * p->m * sizeof *y);
    return true;
}

/* ---- OpenBLAS ---- */

enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };

static void (*blas_sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                          int);
static void (*blas_sgemv)(int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static bool open_openblas(struct bench_peer *peer, unsigned threads)
{
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so", "libopenblas.dylib", NULL};
    void (*set_threads)(int) = NULL;
    peer->library = open_first(names);
    FIND(blas_sgemm, peer->library, "cblas_sgemm");
    FIND(blas_sgemv, peer->library, "cblas_sgemv");
    FIND(set_threads, peer->library, "openblas_set_num_threads");
    if (set_threads) {
        set_threads((int)threads);
    }
    return blas_sgemm && blas_sgemv;
}

static bool run_openblas(struct bench_peer *peer)
{
    struct host_product *p = peer->state;
    int n = (int)p->n, m = (int)p->m, k = (int)p->k;
    if (n == 1) { /* what its users call for a single row, and the faster of the two */
        if (p->by_row) {
            blas_sgemv(CBLAS_ROW_MAJOR, CBLAS_TRANS, k, m, 1.0f, p->w_by_row, m, p->x, 1, 0.0f, p->y, 1);
        } else {
            blas_sgemv(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, m, k, 1.0f, p->w, k, p->x, 1, 0.0f, p->y, 1);
        }
    } else {
        blas_sgemm(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, p->by_row ? CBLAS_NO_TRANS : CBLAS_TRANS, n, m, k, 1.0f, p->x, k,
                   p->by_row ? p->w_by_row : p->w, p->by_row ? m : k, 0.0f, p->y, m);
    }
    return true;
}

/* ---- oneDNN ---- */

static int (*dnnl_product)(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t,
                           float, float *, int64_t);

static bool open_onednn(struct bench_peer *peer, unsigned threads)
{
    (void)threads; /* OMP_NUM_THREADS, set before any library is opened */
    static const char *const names[] = {"libdnnl.so.3", "libdnnl.so.2",    "libdnnl.so.1",
                                        "libdnnl.so",   "libdnnl.3.dylib", NULL};
    peer->library = open_first(names);
    FIND(dnnl_product, peer->library, "dnnl_sgemm");
    return dnnl_product != NULL;
}

static bool run_onednn(struct bench_peer *peer)
{
    struct host_product *p = peer->state;
    int64_t n = (int64_t)p->n, m = (int64_t)p->m, k = (int64_t)p->k;
    return dnnl_product('N', p->by_row ? 'N' : 'T', n, m, k, 1.0f, p->x, k, p->by_row ? p->w_by_row : p->w,
                        p->by_row ? m : k, 0.0f, p->y, m) == 0;
}

/* ---- CLBlast, on the benchmark's own device and queue ---- */

struct device_product {
    size_t n, m, k;
    cl_mem x, w, y;
    cl_command_queue queue;
};

static int (*clblast_sgemm)(int, int, int, size_t, size_t, size_t, float, cl_mem, size_t, size_t, cl_mem, size_t,
                            size_t, float, cl_mem, size_t, size_t, cl_command_queue *, cl_event *);

static bool open_clblast(struct bench_peer *peer, unsigned threads)
{
    (void)threads;
    static const char *const names[] = {"libclblast.so.1", "libclblast.so", "libclblast.dylib", NULL};
    peer->library = open_first(names);
    FIND(clblast_sgemm, peer->library, "CLBlastSgemm");
    return clblast_sgemm != NULL;
}

static void release_clblast(struct bench_peer *peer)
{
    struct device_product *p = peer->state;
    if (p) {
        cl_mem all[] = {p->x, p->w, p->y};
        for (size_t i = 0; i < 3; ++i) {
            if (all[i]) {
                clReleaseMemObject(all[i]);
            }
        }
        free(p);
    }
    peer->state = NULL;
}

static cl_mem upload(cl_context context, enum bench_seed seed, size_t count, float scale)
{
    float *values = bench_values(seed, 0, count, scale);
    cl_mem mem = values ? clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, count * sizeof *values,
                                         values, NULL)
                        : NULL;
    free(values);
    return mem;
}

static bool prepare_clblast(struct bench_peer *peer, qkv_context *context, const struct bench_case *c)
{
    struct device_product *p = c->kind == BENCH_PROJECTION ? calloc(1, sizeof *p) : NULL;
    peer->state = p;
    if (!p) {
        return false;
    }
    cl_context cl = qkv_context_cl_context(context);
    p->n = c->rows;
    p->m = c->out_features;
    p->k = c->in_features;
    p->queue = qkv_context_cl_queue(context);
    p->x = upload(cl, BENCH_SEED_X, p->n * p->k, 1.0f);
    p->w = upload(cl, BENCH_SEED_W, p->m * p->k, bench_weight_scale(p->k));
    p->y = clCreateBuffer(cl, CL_MEM_READ_WRITE, p->n * p->m * sizeof(float), NULL, NULL);
    if (!p->x || !p->w || !p->y) {
        release_clblast(peer);
    }
    return peer->state != NULL;
}

static bool run_clblast(struct bench_peer *peer)
{
    struct device_product *p = peer->state;
    cl_event event = NULL;
    int code = clblast_sgemm(CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, CBLAS_TRANS, p->n, p->m, p->k, 1.0f, p->x, 0, p->k, p->w,
                             0, p->k, 0.0f, p->y, 0, p->m, &p->queue, &event);
    if (event) {
        clWaitForEvents(1, &event);
        clReleaseEvent(event);
    }
    return code == 0 && clFinish(p->queue) == CL_SUCCESS;
}

static bool output_clblast(struct bench_peer *peer, float *y)
{
    struct device_product *p = peer->state;
    return clEnqueueReadBuffer(p->queue, p->y, CL_TRUE, 0, p->n * p->m * sizeof *y, y, 0, NULL, NULL) == CL_SUCCESS;
}

/* ---- all of them ---- */

static const struct {
    struct bench_peer peer;
    bool host;
} known[BENCH_MAX_PEERS] = {
    {{"openblas", NULL, NULL, open_openblas, prepare_host, run_openblas, output_host, release_host}, true},
    {{"onednn", NULL, NULL, open_onednn, prepare_host, run_onednn, output_host, release_host}, true},
    {{"clblast", NULL, NULL, open_clblast, prepare_clblast, run_clblast, output_clblast, release_clblast}, false},
};

static bool named(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = names; at && *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return names == NULL;
}

bool bench_peers_named(const char *names)
{
    size_t wanted = 0, found = 0;
    for (const char *at = names; *at; ++at) {
        wanted += at == names || at[-1] == ',';
    }
    for (size_t i = 0; i < BENCH_MAX_PEERS; ++i) {
        found += named(names, known[i].peer.name);
    }
    return wanted == found || strcmp(names, "none") == 0;
}

size_t bench_peers_open(struct bench_peer peers[BENCH_MAX_PEERS], const char *names, bool host, unsigned threads,
                        FILE *log)
{
    /* Read by OpenMP when the first library that needs it is opened. */
    char count[16];
    snprintf(count, sizeof count, "%u", threads);
    setenv("OMP_NUM_THREADS", count, 0);
    size_t num_open = 0;
    for (size_t i = 0; i < BENCH_MAX_PEERS; ++i) {
        if (!named(names, known[i].peer.name) || (known[i].host && !host)) {
            continue;
        }
        peers[num_open] = known[i].peer;
        if (known[i].peer.open(&peers[num_open], threads)) {
            ++num_open;
        } else {
            fprintf(log, "%s is not installed: left out\n", known[i].peer.name);
        }
    }
    return num_open;
}

void bench_peers_close(struct bench_peer peers[BENCH_MAX_PEERS], size_t count)
{
    /* The libraries stay open: their threads may still be on the way to sleep. */
    for (size_t i = 0; i < count; ++i) {
        peers[i].release(&peers[i]);
    }
}
