/*
 * libqkv: query, key and value projections and scaled dot-product attention
 * on any OpenCL device.
 *
 * This header includes the whole interface. Read the parts in this order:
 *
 *   qkv/status.h     status codes, error messages, log callback
 *   qkv/version.h    version macros and functions
 *   qkv/tensor.h     views of cl_mem buffers (shape, strides, offset)
 *   qkv/device.h     which devices there are, and which one "auto" takes
 *   qkv/context.h    a device to work on; scratch memory
 *   qkv/linear.h     y = x W^T + b and y = x W + b, several outputs in one pass
 *   qkv/attention.h  softmax(scale Q K^T + mask) V
 *   qkv/rotary.h     rotary position embeddings of queries and keys
 *   qkv/layer.h      multi-head attention: projections, attention, output projection
 *   qkv/host.h       the same in one call on plain float arrays
 *
 * Conventions that hold everywhere:
 *
 *   - Every function that can fail returns qkv_status and takes its output
 *     first. On failure the output is untouched unless the text says otherwise, and
 *     qkv_error_message() says what was wrong with which argument.
 *   - Structs that begin with struct_size are set up with their INIT macro;
 *     zero or NULL in a field means "off" or "the default".
 *   - Sizes count elements unless a name says bytes. Strides are in elements.
 *   - The library never prints, never exits, starts no threads, and enqueues
 *     only on the queue it is given (or, in qkv/host.h, on the context's own).
 *   - Functions named qkv_*_run only enqueue: they allocate nothing, build
 *     nothing, do not wait and do not flush. Their event, or the queue, says when they
 *     are done; who waits elsewhere than on that queue calls clFlush() first.
 *   - OpenCL's headers are included for whatever version the application targets:
 *     define CL_TARGET_OPENCL_VERSION (120 is enough here) before this header, or they say so.
 *   - Functions on different objects may be called from different threads. An
 *     object may be used by several threads at once unless its text says no;
 *     destroying it while another call uses it is an error of the caller's.
 */
#ifndef QKV_H
#define QKV_H

#include "qkv/status.h"
#include "qkv/version.h"
#include "qkv/tensor.h"
#include "qkv/device.h"
#include "qkv/context.h"
#include "qkv/linear.h"
#include "qkv/attention.h"
#include "qkv/rotary.h"
#include "qkv/layer.h"
#include "qkv/host.h"

#endif
