/*
 * Kernels that fault as on a GPU: the launch is accepted, whatever waits for it fails, and so does every later command
 * of that context. With some drivers a new context is a good one then, with others nothing works any more in this
 * process.
 */
#include "liar/lies.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LOST 64

static cl_icd_dispatch driver;
static cl_context lost[MAX_LOST];
static size_t num_lost;
static bool all_lost;

static size_t find(cl_context context) {
    size_t i = 0;
    while (i < num_lost && lost[i] != context)
        i++;
    return i;
}

static cl_context context_of(cl_command_queue queue) {
    cl_context context = NULL;
    (void)driver.clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
    return context;
}

bool fault_has_lost(cl_command_queue queue) {
    return all_lost || (num_lost > 0 && find(context_of(queue)) < num_lost);
}

void fault_forget(void) {
    num_lost = 0;
    all_lost = false;
}

bool fault_strikes(const struct lie *lie, const struct launch *l) {
    size_t items = 1;
    for (cl_uint i = 0; i < l->dims; i++)
        items *= l->global[i];
    if (items <= lie->number && spoil_local_bytes(l->kernel) <= lie->number) return false;
    const char *colon = strchr(lie->value, ':');
    all_lost = all_lost || (colon && !strcmp(colon, ":process"));
    cl_context context = context_of(l->queue);
    if (find(context) == num_lost && num_lost < MAX_LOST) lost[num_lost++] = context;
    return true;
}

/* It may lie where a lost one lay. */
static cl_context CL_API_CALL create_context(const cl_context_properties *properties, cl_uint count,
                                             const cl_device_id *devices,
                                             void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
                                             void *user, cl_int *error) {
    cl_context made = driver.clCreateContext(properties, count, devices, notify, user, error);
    size_t at = find(made);
    if (at < num_lost) lost[at] = lost[--num_lost];
    return made;
}

static cl_int CL_API_CALL finish(cl_command_queue queue) {
    return fault_has_lost(queue) ? CL_OUT_OF_RESOURCES : driver.clFinish(queue);
}

static cl_int CL_API_CALL read_buffer(cl_command_queue queue, cl_mem buffer, cl_bool wait, size_t offset, size_t size,
                                      void *out, cl_uint n, const cl_event *list, cl_event *event) {
    if (fault_has_lost(queue)) return CL_OUT_OF_RESOURCES;
    return driver.clEnqueueReadBuffer(queue, buffer, wait, offset, size, out, n, list, event);
}

static cl_int CL_API_CALL write_buffer(cl_command_queue queue, cl_mem buffer, cl_bool wait, size_t offset, size_t size,
                                       const void *in, cl_uint n, const cl_event *list, cl_event *event) {
    if (fault_has_lost(queue)) return CL_OUT_OF_RESOURCES;
    return driver.clEnqueueWriteBuffer(queue, buffer, wait, offset, size, in, n, list, event);
}

void fault_table(cl_icd_dispatch *table, const cl_icd_dispatch *true_ones) {
    driver = *true_ones;
    table->clCreateContext = create_context;
    table->clFinish = finish;
    table->clEnqueueReadBuffer = read_buffer;
    table->clEnqueueWriteBuffer = write_buffer;
}
