/* What a device can do at most, by fixed kernels through plain OpenCL; and the same arithmetic in C. */
#ifndef TOOL_PEAK_H
#define TOOL_PEAK_H

#include "qkv.h"

/* Work-groups of the multiply-add kernel for each compute unit of a CPU. */
#define TOOL_PEAK_GROUPS 16

struct tool_peak;

struct tool_peak *tool_peak_create(qkv_context *context, char *error, size_t error_size);
void tool_peak_destroy(struct tool_peak *peak);
/* One run of the fixed kernel of fused multiply-adds, some milliseconds: GFLOP/s, 0 on failure. */
double tool_peak_run(struct tool_peak *peak);
/* `runs` runs, then one clFinish, of the fixed kernel that reads `bytes` (0: as much as is set aside, past every cache):
 * GB/s, 0 on failure. */
double tool_peak_read(struct tool_peak *peak, double bytes, size_t runs);
/* The same of the fixed kernel that copies half of what is set aside to the other half: GB/s read and written together,
 * 0 on failure. */
double tool_peak_copy(struct tool_peak *peak, size_t runs);
/* How much is set aside for reading, in bytes. */
double tool_peak_bytes(const struct tool_peak *peak);
/* Seconds from the enqueue of an empty kernel to the end of clFinish; 0 on failure. */
double tool_peak_launch(struct tool_peak *peak);
/* "fma", "mad" or "a*b+c": what the device does fastest. */
const char *tool_peak_operation(const struct tool_peak *peak);

/*
 * The multiply-add kernel in fp16, whatever the driver says of it: it must compile, and round and overflow as fp16 does.
 * NULL where it does not, with the reason in error. What tool_peak_run() and tool_peak_operation() say of it is fp16's;
 * there is nothing to read or copy.
 */
struct tool_peak *tool_peak_create_half(qkv_context *context, char *error, size_t error_size);

/* The same arithmetic as tool_peak_run() in C on `threads` threads, about `seconds` long: GFLOP/s, 0 on failure.
 * share: unless NULL, the part of the time for which the threads had a processor: 1 on an idle machine. */
double tool_native_peak(unsigned threads, double seconds, double *share);
/* "AVX-512", "AVX2", "NEON" or "C". */
const char *tool_native_name(void);

/* tools/support/peak.cl, embedded. */
extern const char tool_source_peak[];

#endif
