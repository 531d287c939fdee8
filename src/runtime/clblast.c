#include "runtime.h"

#include <dlfcn.h>
#include <stdlib.h>

/*
 * CLBlast is opened at its first use, so that this library depends neither on its being there nor on how it was built.
 * QKV_CLBLAST names another file, for tests. Its cache is not safe for threads before 1.6.1, and it compiles at calls:
 * they are serialised with every build.
 */
#define ROW_MAJOR 101
#define NO_TRANSPOSE 111

typedef int (*sgemm_function)(int layout, int a_transpose, int b_transpose, size_t m, size_t n, size_t k, float alpha,
                              cl_mem a, size_t a_offset, size_t a_ld, cl_mem b, size_t b_offset, size_t b_ld,
                              float beta, cl_mem c, size_t c_offset, size_t c_ld, cl_command_queue *queue,
                              cl_event *event);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool tried;
static sgemm_function sgemm;
static char reason[256];

static void open_library(void) {
#ifdef __APPLE__
    static const char *const names[] = {"libclblast.1.dylib", "libclblast.dylib"};
#else
    static const char *const names[] = {"libclblast.so.1", "libclblast.so"};
#endif
    const char *given = getenv("QKV_CLBLAST");
    void *library = given && *given ? dlopen(given, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (size_t i = 0; !library && !(given && *given) && i < QKVI_COUNT(names); i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    const char *error = library ? NULL : dlerror();
    if (library) {
        /* POSIX lets an object pointer hold a function's address; ISO C does not, hence the detour. */
        void *symbol = dlsym(library, "CLBlastSgemm");
        *(void **)(&sgemm) = symbol;
        if (!symbol) error = "it has no CLBlastSgemm";
    }
    if (error)
        for (size_t i = 0; i + 1 < sizeof reason && error[i]; i++)
            reason[i] = error[i];
}

bool qkvi_clblast_available(struct qkvi_text *why) {
    (void)pthread_mutex_lock(&mutex);
    if (!tried) open_library();
    tried = true;
    bool available = sgemm != NULL;
    (void)pthread_mutex_unlock(&mutex);
    if (!available) qkvi_text_add(why, "CLBlast cannot be used: %s", reason);
    return available;
}

/* CLBlast takes no wait list; what the call must wait for stands in the queue before it. */
static qkv_status gate(struct qkvi_chain *chain) {
    bool first = chain->num_commands == 0;
    cl_uint num_wait = first ? chain->num_wait : chain->last ? 1 : 0;
    if (num_wait == 0 || (!first && chain->in_order)) return QKV_OK;
    cl_int error = clEnqueueBarrierWithWaitList(chain->queue, num_wait, first ? chain->wait_list : &chain->last, NULL);
    return error == CL_SUCCESS ? QKV_OK : qkvi_cl_fail(error, "clEnqueueBarrierWithWaitList");
}

qkv_status qkvi_chain_clblast(struct qkvi_chain *chain, const struct qkvi_gemm *g) {
    qkv_status status = gate(chain);
    if (status) return status;
    cl_event event = NULL;
    cl_command_queue queue = chain->queue;
    (void)pthread_mutex_lock(&qkvi_build_mutex);
    int error = sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, g->m, g->n, g->k, 1.0f, g->a, g->a_offset, g->a_ld, g->b,
                      g->b_offset, g->b_ld, g->beta, g->c, g->c_offset, g->c_ld, &queue,
                      qkvi_chain_needs_event(chain) ? &event : NULL);
    (void)pthread_mutex_unlock(&qkvi_build_mutex);
    /* What it enqueued before it failed has no event to wait for. */
    if (error != 0) (void)clFinish(chain->queue);
    /* Its own codes lie below -1000, OpenCL's above. */
    if (error != 0 && error > -1000) return qkvi_cl_fail(error, "CLBlastSgemm");
    if (error != 0) return qkvi_fail(QKV_OPENCL_ERROR, "CLBlastSgemm failed with its code %d", error);
    qkvi_chain_add(chain, "CLBlastSgemm", event);
    return QKV_OK;
}
