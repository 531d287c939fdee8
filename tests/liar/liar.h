/*
 * An OpenCL layer that lies: a library that the loader puts between every program and every driver when the environment
 * variable OPENCL_LAYERS names it (cl_loader_layers of the Khronos and ocl-icd loaders). It works for any program:
 *
 *   OPENCL_LAYERS=build/tests/liar.so LIAR='device=MAX_COMPUTE_UNITS:0; wrong=linear_vector' build/qkv-bench
 *
 * Lies, separated by ';'. CALL is a function of support/cl_calls.inc, KERNEL a kernel's name or '*':
 *   fail=CALL:N:ERROR      the Nth call from now answers ERROR, a number (a release releases all the same)
 *   crash=CALL:N           the Nth call ends the process by SIGABRT
 *   delay=CALL:US          every such call takes so many microseconds longer
 *   hide=PART              no device whose name has PART (in this case) is shown, '*' none at all
 *   device=PARAM:VALUE     clGetDeviceInfo(CL_DEVICE_PARAM): a number, or several with ',' between them of which the
 *                          last stands for all that follow, a text, or "fail" for CL_INVALID_VALUE
 *   size=PARAM:BYTES       clGetDeviceInfo(CL_DEVICE_PARAM) says that the answer has so many bytes
 *   kernel=PARAM:VALUE     clGetKernelWorkGroupInfo(CL_KERNEL_PARAM): a number or "fail"
 *   most=group:N           launches with more work-items a group fail, whatever was said
 *   most=item:N,N,N        launches with more of them along an axis fail, the last number stands for all that follow
 *   most=arguments:N       launches of kernels whose arguments have more bytes fail
 *   most=local:N           launches that use more bytes of local memory fail
 *   most=allocation:N      larger buffers are refused
 *   refuse=KERNEL:ERROR    programs with this kernel do not build; CL_BUILD_PROGRAM_FAILURE where no error is given
 *   launch=KERNEL:ERROR    its launches fail
 *   lack=NAME              the compiler knows nothing of OpenCL's whose name begins like this
 *   reject=TEXT            builds whose options have TEXT are CL_INVALID_BUILD_OPTIONS
 *   loaded=KERNEL:HOW      only of programs that were created from a binary: "absent", there is no such kernel, or
 *                          "wrong", as below
 *   lazy=KERNEL            its launches do nothing
 *   short=KERNEL           its launches leave out the last work-group along the first axis
 *   fault=KERNEL:N:process launches with more work-items, or bytes of local arguments, than N fail once they are waited
 *                          for, and with them all later commands of their context; with ":process" of every context
 *   skip=KERNEL:N          its Nth launch from now does nothing, the others what they shall
 *   late=KERNEL:ERROR      its launches succeed and end with this status, a negative number
 *   only=TEXT              lazy, short, skip, late and wrong are about programs whose options have TEXT
 *   many=AXIS              and about launches with more than one work-group along this axis, 0, 1 or 2
 *   wrong=KERNEL:PART:ARG  what a launch changes becomes wrong by this part of it, 0.001 where no part is given; only in
 *                          the buffer of argument ARG, where one is given
 */
#ifndef TEST_LIAR_H
#define TEST_LIAR_H

#include <stdbool.h>
#include <stddef.h>

#include "qkv/base.h" /* OpenCL's header */
#include "support/cl_calls.h"

/* What a program can ask of the layer, by dlsym("liar_interface"). To be used while no OpenCL call is in progress. */
struct liar_interface {
    /* Did a loader put the layer in place? */
    bool (*attached)(void);
    /* These lies instead of the ones before; "" for none. false, and none are told, where the text is not understood. */
    bool (*tell)(const char *lies);
    /* Only calls made while it listens are counted by "fail" and "crash"; it does until told otherwise. */
    void (*listen)(bool on);
    /* Did "fail" happen? */
    bool (*fired)(void);
    struct cl_balance (*balance)(void);
    /* How many kernels were launched since the latest `tell`, or else were made, are held and were not; a line of `out` names
     * each of them and the options it was built with. */
    size_t (*kernels)(char *out, size_t bytes, bool launched);
};
extern const struct liar_interface liar_interface;

#endif
