#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *qkv_device_kind_name(qkv_device_kind kind) {
    switch (kind) {
    case QKV_DEVICE_GPU:
        return "GPU";
    case QKV_DEVICE_CPU:
        return "CPU";
    case QKV_DEVICE_ACCELERATOR:
        return "accelerator";
    case QKV_DEVICE_SOFTWARE_GPU:
        return "software GPU";
    case QKV_DEVICE_SIMULATOR:
        return "simulator";
    }
    return "unknown";
}

/* Type bits do not tell the whole: Oclgrind sets every one, Mesa's rasterisers call themselves CPU or GPU. */
static qkv_device_kind kind_of(const qkv_device_info *info) {
    static const char *const rasterisers[] = {"llvmpipe", "softpipe", "swrast", "lavapipe", "swiftshader"};
    if (qkvi_text_has(info->name, "oclgrind") || qkvi_text_has(info->platform_name, "oclgrind"))
        return QKV_DEVICE_SIMULATOR;
    for (size_t i = 0; i < QKVI_COUNT(rasterisers); i++)
        if (qkvi_text_has(info->name, rasterisers[i])) return QKV_DEVICE_SOFTWARE_GPU;
    bool cpu = (info->type & CL_DEVICE_TYPE_CPU) != 0, gpu = (info->type & CL_DEVICE_TYPE_GPU) != 0;
    if (cpu && gpu) return QKV_DEVICE_SIMULATOR;
    if (gpu) return QKV_DEVICE_GPU;
    if (cpu) return QKV_DEVICE_CPU;
    return QKV_DEVICE_ACCELERATOR;
}

/* Only a clear no counts: a driver that fails to answer may still work. */
static bool says_no(cl_device_id device, cl_device_info name) {
    cl_bool value = CL_TRUE;
    return clGetDeviceInfo(device, name, sizeof value, &value, NULL) == CL_SUCCESS && value == CL_FALSE;
}

/* Is this word in what the driver says? */
static bool says(cl_device_id device, cl_device_info name, const char *word) {
    char *text = qkvi_device_text(device, name);
    bool found = text && qkvi_text_has(text, word);
    free(text);
    return found;
}

bool qkvi_device_embedded(cl_device_id device) {
    return says(device, CL_DEVICE_PROFILE, "EMBEDDED_PROFILE");
}

struct refusal {
    const char *reason, *advice;
};

/* NULL where nothing speaks against the device. */
static const struct refusal *why_unusable(const qkv_device_info *info) {
    static const struct refusal unavailable = {"cannot be used: the driver says it is not available",
                                               "another program may hold it for itself alone, or the driver failed: "
                                               "the system's log (dmesg) and the vendor's own tool say more"};
    static const struct refusal no_compiler = {"cannot be used: the driver has no OpenCL C compiler",
                                               "install the part of the driver that compiles: the vendor's full driver "
                                               "instead of an embedded or minimal one"};
    static const struct refusal old = {"cannot be used: older than OpenCL 1.2",
                                       "install a newer driver; hardware too old for one has another platform at "
                                       "best, such as rusticl, or the CPU through PoCL"};
    static const struct refusal big_endian = {"cannot be used: big-endian devices were never tried",
                                              "the CPU through PoCL, or another device"};
    static const struct refusal embedded = {"cannot be used: an embedded profile of OpenCL without 64-bit integers "
                                            "(cles_khr_int64)",
                                            "another device; a driver with the full profile, if the vendor has one"};
    unsigned major = 0, minor = 0;
    if (says_no(info->device_id, CL_DEVICE_AVAILABLE)) return &unavailable;
    if (says_no(info->device_id, CL_DEVICE_COMPILER_AVAILABLE)) return &no_compiler;
    if (sscanf(info->device_version, "OpenCL %u.%u", &major, &minor) == 2 && (major < 1 || (major == 1 && minor < 2)))
        return &old;
    if (says_no(info->device_id, CL_DEVICE_ENDIAN_LITTLE)) return &big_endian;
    if (qkvi_device_embedded(info->device_id) && !says(info->device_id, CL_DEVICE_EXTENSIONS, "cles_khr_int64"))
        return &embedded;
    return NULL;
}

static cl_platform_id platform_of(cl_device_id device) {
    cl_platform_id platform = NULL;
    (void)clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL);
    return platform;
}

qkv_status qkvi_device_describe(qkv_device_info *out, cl_device_id device) {
    qkv_device_info info = {.struct_size = sizeof info, .device_id = device, .platform_id = platform_of(device)};
    info.selector = qkvi_strdup("");
    info.name = qkvi_device_text(device, CL_DEVICE_NAME);
    info.vendor = qkvi_device_text(device, CL_DEVICE_VENDOR);
    info.platform_name = info.platform_id ? qkvi_platform_text(info.platform_id, CL_PLATFORM_NAME) : qkvi_strdup("");
    info.device_version = qkvi_device_text(device, CL_DEVICE_VERSION);
    info.opencl_c_version = qkvi_device_text(device, CL_DEVICE_OPENCL_C_VERSION);
    info.driver_version = qkvi_device_text(device, CL_DRIVER_VERSION);
    if (!info.selector || !info.name || !info.vendor || !info.platform_name || !info.device_version ||
        !info.opencl_c_version || !info.driver_version || !qkvi_device_identify(&info, device)) {
        qkvi_device_info_free(&info);
        return qkvi_fail_memory("device list");
    }
    info.type = qkvi_device_number(device, CL_DEVICE_TYPE);
    info.kind = kind_of(&info);
    info.compute_units = (uint32_t)qkvi_device_number(device, CL_DEVICE_MAX_COMPUTE_UNITS);
    info.clock_mhz = (uint32_t)qkvi_device_number(device, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    info.global_memory = qkvi_device_number(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    info.max_allocation = qkvi_device_number(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info.local_memory = qkvi_device_number(device, CL_DEVICE_LOCAL_MEM_SIZE);
    info.max_work_group_size = qkvi_device_number(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info.vendor_id = (uint32_t)qkvi_device_number(device, CL_DEVICE_VENDOR_ID);
    info.native_float_width = (uint32_t)qkvi_device_number(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    const struct refusal *why = why_unusable(&info);
    info.usable = why == NULL;
    info.verdict = why ? "refused" : "usable";
    info.advice = why ? why->advice : "";
    info.reason = qkvi_strdup(why ? why->reason : "");
    if (!info.reason) {
        qkvi_device_info_free(&info);
        return qkvi_fail_memory("device list");
    }
    *out = info;
    return QKV_OK;
}

void qkvi_device_info_free(qkv_device_info *info) {
    const char *texts[] = {
        info->selector,         info->name,           info->vendor, info->platform_name, info->device_version,
        info->opencl_c_version, info->driver_version, info->reason, info->pci_address,   info->uuid};
    for (size_t i = 0; i < QKVI_COUNT(texts); i++)
        free((void *)(uintptr_t)texts[i]);
    *info = (qkv_device_info){0};
}

bool qkvi_device_adopt(qkv_device_info *info, const qkv_device_info *listed) {
    char *selector = qkvi_strdup(listed->selector), *reason = qkvi_strdup(listed->reason);
    free((void *)(uintptr_t)info->selector);
    free((void *)(uintptr_t)info->reason);
    info->selector = selector;
    info->reason = reason;
    info->verdict = listed->verdict;
    info->is_auto = listed->is_auto;
    info->projection_gflops = listed->projection_gflops;
    info->prefill_gflops = listed->prefill_gflops;
    info->decode_gbps = listed->decode_gbps;
    return selector && reason;
}
