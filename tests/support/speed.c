#include "support/speed.h"

#include <stdio.h>
#include <time.h>

#include "support/fixture.h"

/* Enough for every implementation to use what parallelism it has. */
#define ITEMS 1024

/* Below 2, whatever the number of steps; no compiler may shorten it. */
static const char source[] = "kernel void steps(global float *out, int count)\n"
                             "{\n"
                             "    float x = (float)get_global_id(0) * 0.0009765625f;\n"
                             "    for (int i = 0; i < count; i++)\n"
                             "        x = x * 0.75f + 0.5f;\n"
                             "    out[get_global_id(0)] = x;\n"
                             "}\n";

/* A core of 1 GHz without vectors, a step in ten cycles, is full size. Below, a scale is the part of that which is
 * reached, rounded down. */
static const double full_speed = 1e8;
static const double scales[] = {1, 0.5, 0.2, 0.1, 0.05};

double test_scale_of(double speed) {
    size_t i = 0;
    while (speed > 0 && i + 1 < TEST_COUNT(scales) && speed < scales[i] * full_speed)
        i++;
    return scales[i];
}

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one launch that is waited for; below 0 where it fails. */
static double launch(cl_command_queue queue, cl_kernel kernel, cl_int steps) {
    const size_t items = ITEMS;
    const double begin = now();
    if (clSetKernelArg(kernel, 1, sizeof steps, &steps) != CL_SUCCESS ||
        clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL) != CL_SUCCESS ||
        clFinish(queue) != CL_SUCCESS)
        return -1;
    return now() - begin;
}

static double best_of(cl_command_queue queue, cl_kernel kernel, cl_int steps) {
    double best = -1;
    for (int i = 0; i < 5; i++) {
        double seconds = launch(queue, kernel, steps);
        if (seconds < 0) return -1;
        if (best < 0 || seconds < best) best = seconds;
    }
    return best;
}

/* More and more steps, until it is fast enough or the launch itself no longer counts; a simulator never sees many. */
static double time_kernel(cl_command_queue queue, cl_kernel kernel) {
    double speed = 0;
    if (launch(queue, kernel, 1) < 0) return 0; /* compilers work now */
    for (cl_int steps = 4; steps <= 2048; steps *= 8) {
        double seconds = best_of(queue, kernel, steps);
        if (seconds < 0) return 0;
        if (seconds > 0 && (double)steps * ITEMS / seconds > speed) speed = (double)steps * ITEMS / seconds;
        if (speed >= full_speed || seconds > 2e-3) break;
    }
    return speed;
}

double test_speed(cl_context context, cl_device_id device, cl_command_queue queue) {
    const char *text = source;
    cl_int error = CL_SUCCESS;
    double speed = 0;
    cl_kernel kernel = NULL;
    cl_mem out = clCreateBuffer(context, CL_MEM_WRITE_ONLY, ITEMS * sizeof(float), NULL, &error);
    cl_program program = out ? clCreateProgramWithSource(context, 1, &text, NULL, &error) : NULL;
    if (program && clBuildProgram(program, 1, &device, "-cl-std=CL1.2", NULL, NULL) == CL_SUCCESS)
        kernel = clCreateKernel(program, "steps", &error);
    if (kernel && clSetKernelArg(kernel, 0, sizeof out, &out) == CL_SUCCESS) speed = time_kernel(queue, kernel);
    if (kernel) (void)clReleaseKernel(kernel);
    if (program) (void)clReleaseProgram(program);
    if (out) (void)clReleaseMemObject(out);
    return speed;
}
