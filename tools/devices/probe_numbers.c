/* Probes of arithmetic that every device has: is it what the standard, and the driver, says? */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "devices/probe.h"

#define BASELINE "-cl-std=CL1.2"
#define FAST 2.0

static bool run_numbers(struct outcome *outcome, struct probe_device *device, const char *kernel, void *out,
                        size_t out_bytes, const void *in, size_t in_bytes) {
    char options[64];
    snprintf(options, sizeof options, BASELINE " -DPROBE_%s", kernel);
    const struct launch launch = {.source = tool_source_probe_numbers,
                                  .options = options,
                                  .kernel = kernel,
                                  .global = 1,
                                  .in = in,
                                  .in_bytes = in_bytes,
                                  .out = out,
                                  .out_bytes = out_bytes};
    return probe_launch(outcome, device, &launch);
}

void probe_basic(struct outcome *outcome, struct probe_device *device) {
    enum { ITEMS = 1000 };
    cl_int in[ITEMS], out[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        in[i] = 7 * i - 3000;
    const struct launch launch = {.source = tool_source_probe_basic,
                                  .options = BASELINE,
                                  .kernel = "basic",
                                  .global = ITEMS,
                                  .in = in,
                                  .in_bytes = sizeof in,
                                  .out = out,
                                  .out_bytes = sizeof out};
    probe_claim(outcome, 1);
    if (!probe_launch(outcome, device, &launch)) return;
    for (int i = 0; i < ITEMS; i++)
        if (out[i] != in[i] * 3 + i / 2) {
            probe_result(outcome, PROBE_WRONG, "work-item %d computes %d, not %d", i, (int)out[i], in[i] * 3 + i / 2);
            return;
        }
    probe_result(outcome, PROBE_WORKS, "%s", "");
}

void probe_denormals(struct outcome *outcome, struct probe_device *device) {
    const float smallest = ldexpf(1, -149);
    const cl_float in[4] = {ldexpf(1, -126), 0.5f, smallest, ldexpf(1, 24)};
    cl_float out[3];
    cl_ulong config;
    if (probe_query(device, CL_DEVICE_SINGLE_FP_CONFIG, &config)) probe_claim(outcome, (config & CL_FP_DENORM) != 0);
    if (!run_numbers(outcome, device, "denormals", out, sizeof out, in, sizeof in)) return;
    bool results = out[0] == ldexpf(1, -127), operands = out[2] == ldexpf(1, -125), sums = out[1] == 2 * smallest;
    if (results && operands && sums)
        probe_result(outcome, PROBE_WORKS, "%s", "");
    else
        probe_result(outcome, PROBE_ABSENT, "flushed to zero%s%s%s", results ? "" : " as results",
                     results || operands ? "" : " and", operands ? "" : " as operands");
}

void probe_infinities(struct outcome *outcome, struct probe_device *device) {
    static const char *const what[] = {
        "1e30 * 1e30 is not infinite", "infinity - infinity is not NaN", "the constant INFINITY is not infinite",
        "fmax(-INFINITY, 3) is not 3", "exp(-infinity) is not 0",        "isinf(infinity) is false",
        "3 / infinity is not 0",       "infinity * 0 is not NaN",        "3 > -INFINITY is false"};
    const cl_float in[4] = {1e30f, INFINITY, 3, 0};
    cl_float out[9];
    cl_ulong config;
    if (probe_query(device, CL_DEVICE_SINGLE_FP_CONFIG, &config)) probe_claim(outcome, (config & CL_FP_INF_NAN) != 0);
    if (!run_numbers(outcome, device, "infinities", out, sizeof out, in, sizeof in)) return;
    const bool good[9] = {isinf(out[0]) && out[0] > 0,
                          isnan(out[1]) != 0,
                          isinf(out[2]) && out[2] > 0,
                          out[3] == 3,
                          out[4] == 0,
                          out[5] == 1,
                          out[6] == 0,
                          out[7] == 1,
                          out[8] == 1};
    for (int i = 0; i < 9; i++)
        if (!good[i]) {
            probe_result(outcome, PROBE_WRONG, "%s", what[i]);
            return;
        }
    probe_result(outcome, PROBE_WORKS, "%s", "");
}

/* OpenCL C has vload_half() and vstore_half() without any extension. */
void probe_half_storage(struct outcome *outcome, struct probe_device *device) {
    const cl_ushort in[8] = {0x3c00, 0xc100, 0x7bff, 0x0001, 0x7c00, 0x8000, 0, 0};
    const float expected[6] = {1, -2.5f, 65504, ldexpf(1, -24), INFINITY, 0};
    cl_float out[10];
    cl_ushort back[7];
    probe_claim(outcome, 1);
    if (!run_numbers(outcome, device, "half_storage", out, sizeof out, in, sizeof in)) return;
    memcpy(back, &out[6], sizeof back);
    for (int i = 0; i < 6; i++) {
        if (!(out[i] == expected[i]) || back[i] != in[i]) {
            probe_result(outcome, PROBE_WRONG, "0x%04x is read as %g and written as 0x%04x", in[i], (double)out[i],
                         back[i]);
            return;
        }
    }
    if (back[6] != 0x7c00)
        probe_result(outcome, PROBE_WRONG, "the constant INFINITY is written as 0x%04x, not 0x7c00", back[6]);
    else
        probe_result(outcome, PROBE_WORKS, "%s", "");
}

/* The high half of a product of 64 bits by 64. */
static cl_ulong high_product(cl_ulong a, cl_ulong b) {
    cl_ulong al = a & 0xffffffffu, ah = a >> 32, bl = b & 0xffffffffu, bh = b >> 32;
    cl_ulong middle = ah * bl + (al * bl >> 32);
    return ah * bh + (middle >> 32) + ((al * bh + (middle & 0xffffffffu)) >> 32);
}

void probe_wide_integers(struct outcome *outcome, struct probe_device *device) {
    const cl_ulong in[2] = {0x123456789abcdef1u, 0x00000fedcba98765u};
    const cl_ulong expected[5] = {in[0] * in[1], in[0] + in[1], in[0] >> 33, high_product(in[0], in[1]), in[0] / in[1]};
    cl_ulong out[6];
    cl_ulong bits;
    if (probe_query(device, CL_DEVICE_ADDRESS_BITS, &bits)) probe_claim(outcome, bits == 64);
    if (!run_numbers(outcome, device, "wide_integers", out, sizeof out, in, sizeof in)) return;
    for (int i = 0; i < 5; i++)
        if (out[i] != expected[i]) {
            probe_result(outcome, PROBE_WRONG, "operation %d gives 0x%llx, not 0x%llx", i, (unsigned long long)out[i],
                         (unsigned long long)expected[i]);
            return;
        }
    if (out[5] == 8)
        probe_result(outcome, PROBE_WORKS, "%s", "");
    else
        probe_result(outcome, PROBE_ABSENT, "size_t has %d bytes", (int)out[5]);
}

/* How many times as long a chain of fma() takes as one of mad(). */
static bool time_chains(double *ratio, struct outcome *outcome, struct probe_device *device) {
    const cl_float in[2] = {0.999f, 0.001f};
    const cl_int steps = 30000;
    cl_float out[2][4];
    struct launch launches[2];
    for (int i = 0; i < 2; i++)
        launches[i] = (struct launch){.source = tool_source_probe_numbers,
                                      .options = BASELINE " -DPROBE_chain",
                                      .kernel = i ? "chain_mad" : "chain_fma",
                                      .global = 1,
                                      .local = 1,
                                      .in = in,
                                      .in_bytes = sizeof in,
                                      .out = out[i],
                                      .out_bytes = sizeof out[i],
                                      .steps = &steps};
    return probe_race(ratio, outcome, device, launches, FAST);
}

/*
 * One instruction on one device and a software routine on another. mad() may be two instructions, so less than twice its
 * time (FAST) is fast. The compiler claims it with FP_FAST_FMAF.
 */
void probe_fma(struct outcome *outcome, struct probe_device *device) {
    const float a = 1 + ldexpf(1, -12);
    const cl_float in[3] = {a, a, -(1 + ldexpf(1, -11))};
    cl_float out[2];
    double ratio;
    if (!run_numbers(outcome, device, "exact_fma", out, sizeof out, in, sizeof in)) return;
    probe_claim(outcome, out[1] == 1);
    if (out[0] != ldexpf(1, -24)) {
        probe_result(outcome, PROBE_WRONG, "rounds twice: %g instead of %g", (double)out[0], ldexp(1, -24));
        return;
    }
    if (device->kind == QKV_DEVICE_SIMULATOR) {
        outcome->claim_known = false;
        probe_result(outcome, PROBE_WORKS, "exact; a simulator's speed means nothing");
        return;
    }
    if (!time_chains(&ratio, outcome, device)) return;
    probe_result(outcome, ratio < FAST ? PROBE_WORKS : PROBE_ABSENT, "exact, %.1f times mad()'s time", ratio);
}
