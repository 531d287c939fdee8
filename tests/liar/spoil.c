/*
 * Kernels that compute something else. Nobody says which arguments a kernel writes and where, so the buffers it is given
 * are read before and after its launch, and only what changed is spoilt. Launches become blocking by that.
 */
#include "liar/lies.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARGUMENTS 32

static const cl_icd_dispatch *driver;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Buffers and kernels that the program holds: an argument is a buffer if it is one of these. */
struct object {
    void *object; /* cl_mem or cl_kernel */
    long references;
    cl_mem arguments[MAX_ARGUMENTS]; /* of a kernel */
    size_t sizes[MAX_ARGUMENTS];     /* of its arguments; 0: not set */
    size_t local[MAX_ARGUMENTS];     /* bytes of local memory that an argument is */
    struct object *next;
};
static struct object *objects;

void spoil_begin(const cl_icd_dispatch *true_ones) {
    driver = true_ones;
}

static struct object **find(const void *object) {
    struct object **at = &objects;
    while (*at && (*at)->object != object)
        at = &(*at)->next;
    return at;
}

void spoil_count(void *object, long more) {
    (void)pthread_mutex_lock(&lock);
    struct object **at = find(object), *it = *at;
    if (!it && more > 0 && (it = calloc(1, sizeof *it)) != NULL) {
        it->object = object;
        *at = it;
    }
    if (it && (it->references += more) <= 0) {
        *at = it->next;
        free(it);
    }
    (void)pthread_mutex_unlock(&lock);
}

void spoil_remember_argument(cl_kernel kernel, cl_uint index, size_t bytes, const void *value) {
    if (index >= MAX_ARGUMENTS) return;
    (void)pthread_mutex_lock(&lock);
    struct object *it = *find(kernel);
    if (it) {
        it->arguments[index] = NULL;
        it->sizes[index] = value ? bytes : sizeof(cl_mem);
        it->local[index] = value ? 0 : bytes;
    }
    if (it && value && bytes == sizeof(cl_mem)) {
        void *candidate;
        memcpy(&candidate, value, sizeof candidate);
        if (candidate && *find(candidate)) it->arguments[index] = candidate;
    }
    (void)pthread_mutex_unlock(&lock);
}

size_t spoil_argument_bytes(cl_kernel kernel) {
    size_t bytes = 0;
    (void)pthread_mutex_lock(&lock);
    const struct object *it = *find(kernel);
    for (size_t i = 0; it && i < MAX_ARGUMENTS && it->sizes[i]; i++)
        bytes = (bytes + it->sizes[i] - 1) / it->sizes[i] * it->sizes[i] + it->sizes[i];
    (void)pthread_mutex_unlock(&lock);
    return bytes;
}

size_t spoil_local_bytes(cl_kernel kernel) {
    size_t bytes = 0;
    (void)pthread_mutex_lock(&lock);
    const struct object *it = *find(kernel);
    for (size_t i = 0; it && i < MAX_ARGUMENTS; i++)
        bytes += it->local[i];
    (void)pthread_mutex_unlock(&lock);
    return bytes;
}

/* A buffer's bytes before the launch, and then after it. */
struct snapshot {
    cl_mem buffer;
    size_t bytes;
    unsigned char *before, *after;
};

static cl_int take(unsigned char **out, const struct snapshot *s, cl_command_queue queue) {
    *out = malloc(s->bytes ? s->bytes : 1);
    if (!*out) return CL_OUT_OF_HOST_MEMORY;
    return driver->clEnqueueReadBuffer(queue, s->buffer, CL_TRUE, 0, s->bytes, *out, 0, NULL, NULL);
}

/* Arguments that share a buffer share its snapshot. */
static size_t list_buffers(struct snapshot *list, cl_kernel kernel, long argument) {
    size_t count = 0;
    (void)pthread_mutex_lock(&lock);
    const struct object *it = *find(kernel);
    for (size_t i = 0; it && i < MAX_ARGUMENTS; i++) {
        bool known = it->arguments[i] == NULL || (argument >= 0 && i != (size_t)argument);
        for (size_t j = 0; j < count; j++)
            known = known || list[j].buffer == it->arguments[i];
        if (!known) list[count++] = (struct snapshot){.buffer = it->arguments[i]};
    }
    (void)pthread_mutex_unlock(&lock);
    return count;
}

static cl_int spoil(struct snapshot *s, cl_command_queue queue, double part) {
    for (size_t at = 0; at + sizeof(float) <= s->bytes; at += sizeof(float)) {
        float value;
        if (!memcmp(s->before + at, s->after + at, sizeof value)) continue;
        memcpy(&value, s->after + at, sizeof value);
        value += (float)part * (value < 0 ? value - 1 : value + 1);
        memcpy(s->after + at, &value, sizeof value);
    }
    return driver->clEnqueueWriteBuffer(queue, s->buffer, CL_TRUE, 0, s->bytes, s->after, 0, NULL, NULL);
}

cl_int spoil_launch(const struct launch *l, double part, long argument) {
    struct snapshot list[MAX_ARGUMENTS];
    cl_int error = l->num_wait ? driver->clWaitForEvents(l->num_wait, l->wait) : CL_SUCCESS;
    if (error == CL_SUCCESS) error = driver->clFinish(l->queue);
    size_t count = list_buffers(list, l->kernel, argument);
    for (size_t i = 0; i < count && error == CL_SUCCESS; i++) {
        error = driver->clGetMemObjectInfo(list[i].buffer, CL_MEM_SIZE, sizeof list[i].bytes, &list[i].bytes, NULL);
        if (error == CL_SUCCESS) error = take(&list[i].before, &list[i], l->queue);
    }
    if (error == CL_SUCCESS)
        error = driver->clEnqueueNDRangeKernel(l->queue, l->kernel, l->dims, l->offset, l->global, l->local,
                                               l->num_wait, l->wait, l->event);
    if (error == CL_SUCCESS) error = driver->clFinish(l->queue);
    for (size_t i = 0; i < count && error == CL_SUCCESS; i++) {
        error = take(&list[i].after, &list[i], l->queue);
        if (error == CL_SUCCESS) error = spoil(&list[i], l->queue, part);
    }
    for (size_t i = 0; i < count; i++) {
        free(list[i].before);
        free(list[i].after);
    }
    return error;
}
