/* Which kernels a program made and which of them it launched. One kernel is a name and the options it was built with. */
#include "liar/lies.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cl_icd_dispatch *driver;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct record {
    char *what;
    size_t launches, held; /* held: made and not released */
    struct record *next;
};
static struct record *records;

void record_begin(const cl_icd_dispatch *true_ones) {
    driver = true_ones;
}

void record_forget(void) {
    (void)pthread_mutex_lock(&lock);
    for (struct record *it = records, *next; it; it = next) {
        next = it->next;
        free(it->what);
        free(it);
    }
    records = NULL;
    (void)pthread_mutex_unlock(&lock);
}

void record_options(char *out, size_t bytes, cl_kernel kernel) {
    cl_program program = NULL;
    cl_device_id devices[16] = {NULL};
    *out = '\0';
    if (driver->clGetKernelInfo(kernel, CL_KERNEL_PROGRAM, sizeof program, &program, NULL) != CL_SUCCESS ||
        driver->clGetProgramInfo(program, CL_PROGRAM_DEVICES, sizeof devices, devices, NULL) != CL_SUCCESS ||
        driver->clGetProgramBuildInfo(program, devices[0], CL_PROGRAM_BUILD_OPTIONS, bytes, out, NULL) != CL_SUCCESS)
        *out = '\0';
}

static struct record *find_or_add(const char *what) {
    for (struct record *it = records; it; it = it->next)
        if (!strcmp(it->what, what)) return it;
    struct record *made = calloc(1, sizeof *made);
    if (made && !(made->what = strdup(what))) {
        free(made);
        return NULL;
    }
    if (!made) return NULL;
    made->next = records;
    return records = made;
}

size_t record_kernel(cl_kernel kernel, enum record_what happened) {
    char name[128] = "", options[1024], what[1280];
    size_t launches = 0;
    (void)driver->clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name - 1, name, NULL);
    record_options(options, sizeof options, kernel);
    (void)snprintf(what, sizeof what, "%s %s", name, options);
    (void)pthread_mutex_lock(&lock);
    struct record *record = find_or_add(what);
    if (record && happened == RECORD_LAUNCHED) launches = ++record->launches;
    if (record && happened == RECORD_MADE) record->held++;
    if (record && happened == RECORD_RELEASED && record->held > 0) record->held--;
    (void)pthread_mutex_unlock(&lock);
    return launches;
}

size_t record_list(char *out, size_t bytes, bool launched) {
    size_t count = 0, used = 0;
    if (bytes) *out = '\0';
    (void)pthread_mutex_lock(&lock);
    for (const struct record *it = records; it; it = it->next) {
        if (launched ? it->launches == 0 : it->launches > 0 || it->held == 0) continue;
        const int length = snprintf(out + used, bytes - used, "%s\n", it->what);
        if (length > 0) used = used + (size_t)length < bytes ? used + (size_t)length : bytes - 1;
        count++;
    }
    (void)pthread_mutex_unlock(&lock);
    return count;
}
