#include "support/liar_client.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char path[4096];
static const struct liar_interface *liar;
static int depth;

void liar_place(const char *program) {
    const char *slash = strrchr(program, '/');
    (void)snprintf(path, sizeof path, "%.*sliar.so", slash ? (int)(slash - program + 1) : 0, program);
    (void)setenv("OPENCL_LAYERS", path, 1);
}

const struct liar_interface *liar_meet(void) {
    cl_uint count = 0;
    if (liar) return liar;
    (void)clGetPlatformIDs(0, NULL, &count); /* now the loader has read its environment */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct liar_interface *found = library ? dlsym(library, "liar_interface") : NULL;
    if (!found || !found->attached()) {
        test_skip("no OpenCL layer: %s", library ? "this loader does not know OPENCL_LAYERS" : dlerror());
        return NULL;
    }
    liar = found;
    liar->listen(false);
    return liar;
}

void liar_step(int more) {
    depth += more;
    liar->listen(depth > 0);
}

void liar_tell(const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (!liar->tell(text)) test_fail(__FILE__, __LINE__, "not understood: %s", text);
}

static void fault(enum cl_call call, size_t n, cl_int error) {
    liar_tell("fail=%s:%zu:%d", cl_call_names[call], n, (int)error);
}

static bool disarm(void) {
    bool fired = liar->fired();
    liar_tell("%s", "");
    return fired;
}

static struct cl_balance balance(void) {
    return liar->balance();
}

const struct saboteur liar_saboteur = {liar_step, fault, disarm, balance};
