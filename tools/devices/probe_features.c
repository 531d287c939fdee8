/* Probes of what is optional in OpenCL C 1.2. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "devices/ids.h"
#include "devices/probe.h"

/* Rounding tells what arithmetic really is: `small` is lost beside `big`, twice `huge` is infinite. */
static bool run_rounding(struct outcome *outcome, struct probe_device *device, cl_float out[4], const char *options,
                         const cl_float in[4]) {
    const struct launch launch = {.source = tool_source_probe_real,
                                  .options = options,
                                  .kernel = "rounding",
                                  .global = 1,
                                  .in = in,
                                  .in_bytes = 4 * sizeof in[0],
                                  .out = out,
                                  .out_bytes = 4 * sizeof out[0]};
    return probe_launch(outcome, device, &launch);
}

void probe_half(struct outcome *outcome, struct probe_device *device) {
    const cl_float in[4] = {2048, 1, 40000, 1};
    cl_float out[4];
    probe_claim_extension(outcome, device, probe_has_extension(device, "cl_khr_fp16"));
    if (!run_rounding(outcome, device, out, "-cl-std=CL1.2 -DREAL=half", in)) return;
    if (out[0] != 0)
        probe_result(outcome, PROBE_WRONG, "rounds as a wider type: (2048 + 1) - 2048 is %g", (double)out[0]);
    else if (!isinf(out[1]))
        probe_result(outcome, PROBE_WRONG, "40000 + 40000 is %g, not infinite", (double)out[1]);
    else if (out[2] != -1 || out[3] != 2)
        probe_result(outcome, PROBE_WRONG, "1 - 2 is %g, sqrt(4) is %g", (double)out[2], (double)out[3]);
    else
        probe_result(outcome, PROBE_WORKS, "%s", "");
}

void probe_double(struct outcome *outcome, struct probe_device *device) {
    const cl_float small = ldexpf(1, -40), in[4] = {1, small, 3e38f, 1};
    cl_float out[4];
    cl_ulong config;
    bool claimed = probe_has_extension(device, "cl_khr_fp64"),
         told = probe_query(device, CL_DEVICE_DOUBLE_FP_CONFIG, &config);
    if (claimed || told) probe_claim(outcome, claimed || config != 0);
    if (!run_rounding(outcome, device, out, "-cl-std=CL1.2 -DREAL=double", in)) return;
    if (out[0] != small || out[2] != -small || out[3] != 2)
        probe_result(outcome, PROBE_WRONG, "(1 + 2^-40) - 1 is %g", (double)out[0]);
    else
        probe_result(outcome, PROBE_WORKS, "%s", "");
}

enum { SUBGROUP_ITEMS = 64 };

static size_t subgroup_items(const struct probe_device *device) {
    cl_ulong most = probe_number(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    return most && most < SUBGROUP_ITEMS ? (size_t)most : SUBGROUP_ITEMS;
}

static void judge_subgroups(struct outcome *outcome, const cl_int *out, size_t items) {
    cl_int largest = 0;
    for (size_t i = 0; i < items; i++) {
        if (out[i] < 1 || out[i] > (cl_int)items || out[items + i] != out[i] || out[2 * items + i] != 0) {
            probe_result(outcome, PROBE_WRONG, "work-item %zu: size %d, sum of ones %d, value from elsewhere off by %d",
                         i, (int)out[i], (int)out[items + i], (int)out[2 * items + i]);
            return;
        }
        if (out[i] > largest) largest = out[i];
    }
    probe_result(outcome, PROBE_WORKS, "%d work-items each", (int)largest);
}

static bool claims_subgroups(const struct probe_device *device) {
    return probe_has_extension(device, "cl_khr_subgroups") || probe_has_extension(device, "cl_intel_subgroups") ||
           (probe_version(device) >= 210 && probe_number(device, ID_MAX_NUM_SUB_GROUPS) > 0);
}

static void run_subgroups(struct outcome *outcome, struct probe_device *device, bool shuffle) {
    char options[48];
    cl_int out[3 * SUBGROUP_ITEMS];
    size_t items = subgroup_items(device);
    snprintf(options, sizeof options, "%s -DSHUFFLE=%d", probe_newest(device), shuffle);
    const struct launch launch = {.source = tool_source_probe_subgroups,
                                  .options = options,
                                  .kernel = "subgroups",
                                  .global = items,
                                  .local = items,
                                  .out = out,
                                  .out_bytes = 3 * items * sizeof *out};
    if (probe_launch(outcome, device, &launch)) judge_subgroups(outcome, out, items);
}

void probe_subgroups(struct outcome *outcome, struct probe_device *device) {
    probe_claim_extension(outcome, device, claims_subgroups(device));
    run_subgroups(outcome, device, false);
    device->no_subgroups = outcome->state == PROBE_ABSENT;
}

void probe_shuffle(struct outcome *outcome, struct probe_device *device) {
    probe_claim_extension(outcome, device,
                          probe_has_extension(device, "cl_khr_subgroup_shuffle") ||
                              probe_has_extension(device, "cl_intel_subgroups"));
    if (device->no_subgroups) {
        probe_result(outcome, PROBE_ABSENT, "no subgroups");
        return;
    }
    run_subgroups(outcome, device, true);
    if (outcome->state == PROBE_WORKS) outcome->detail[0] = '\0';
}

void probe_dot(struct outcome *outcome, struct probe_device *device) {
    const cl_uint in[2] = {0x80017f02u, 0x037ffe05u}; /* bytes 2, 127, 1, -128 and 5, -2, 127, 3 */
    const cl_int is_signed = 2 * 5 - 127 * 2 + 1 * 127 - 128 * 3;
    const cl_int is_unsigned = 2 * 5 + 127 * 254 + 1 * 127 + 128 * 3;
    cl_int out[2];
    const struct launch launch = {.source = tool_source_probe_dot,
                                  .options = probe_newest(device),
                                  .kernel = "dot_product",
                                  .global = 1,
                                  .in = in,
                                  .in_bytes = sizeof in,
                                  .out = out,
                                  .out_bytes = sizeof out};
    probe_claim_extension(outcome, device,
                          probe_has_extension(device, "cl_khr_integer_dot_product") ||
                              probe_has_extension(device, "cl_arm_integer_dot_product_int8"));
    if (!probe_launch(outcome, device, &launch)) return;
    if (out[0] == is_signed && out[1] == is_unsigned)
        probe_result(outcome, PROBE_WORKS, "%s", "");
    else
        probe_result(outcome, PROBE_WRONG, "%d and %d instead of %d and %d", (int)out[0], (int)out[1], (int)is_signed,
                     (int)is_unsigned);
}
