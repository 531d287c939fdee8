/*
 * An OpenCL driver with one platform and one device that does no work, for tests of what copes with drivers that fail.
 * The environment says what it does:
 *   FAKE_DRIVER_PLATFORMS=2               there are two platforms
 *   FAKE_DRIVER_ICD=0                     its platform does not say that loaders may take it
 *   FAKE_DRIVER_CRASH, FAKE_DRIVER_HANG   the function in which it aborts, or sleeps: clGetDeviceIDs, clCreateContext ...
 *   FAKE_DRIVER_DEVICES=0                 the platform has no device
 *   FAKE_DRIVER_FAIL                      the query that fails, as a number: 0x102C
 *   FAKE_DRIVER_EMPTY, FAKE_DRIVER_HUGE   the query that is answered with no byte, or with 2^64 - 1
 *   FAKE_DRIVER_DELAY                     milliseconds that listing its platforms takes
 *   FAKE_DRIVER_OLD                       the device has OpenCL 1.1, and knows no query of later ones
 *   FAKE_DRIVER_VENDOR                    the number of the device's vendor
 *   FAKE_DRIVER_PCI                       the PCI bus on which the device says that it is
 *   FAKE_DRIVER_NAME                      the device's name
 *   FAKE_DRIVER_COMPILER=0                the device has no compiler
 */
#define _DEFAULT_SOURCE 1 /* usleep() */
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <CL/cl_icd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCI_BUS_INFO 0x410F /* not in every system's headers */

/* The loader finds a function through the first member of every object. */
struct object {
    cl_icd_dispatch *dispatch;
};
static cl_icd_dispatch dispatch;
static struct object platform = {&dispatch}, second_platform = {&dispatch}, device = {&dispatch};

static void reach(const char *function) {
    const char *crash = getenv("FAKE_DRIVER_CRASH"), *hang = getenv("FAKE_DRIVER_HANG");
    if (crash && !strcmp(crash, function)) {
        fputs("fake driver: gives up\n", stderr);
        abort();
    }
    while (hang && !strcmp(hang, function))
        (void)sleep(1000);
}

static int is_off(const char *variable) {
    const char *value = getenv(variable);
    return value && !strcmp(value, "0");
}

static cl_int answer(const void *data, size_t bytes, size_t size, void *value, size_t *out_size) {
    if (value && size < bytes) return CL_INVALID_VALUE;
    if (value) memcpy(value, data, bytes);
    if (out_size) *out_size = bytes;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL platform_info(cl_platform_id id, cl_platform_info name, size_t size, void *value,
                                        size_t *out_size) {
    const char *text = name == CL_PLATFORM_NAME             ? "Fake platform"
                       : name == CL_PLATFORM_VERSION        ? "OpenCL 1.2 fake"
                       : name == CL_PLATFORM_PROFILE        ? "FULL_PROFILE"
                       : name == CL_PLATFORM_EXTENSIONS     ? is_off("FAKE_DRIVER_ICD") ? "" : "cl_khr_icd"
                       : name == CL_PLATFORM_ICD_SUFFIX_KHR ? "FAKE"
                                                            : "fake";
    (void)id;
    reach("clGetPlatformInfo");
    return answer(text, strlen(text) + 1, size, value, out_size);
}

static cl_int CL_API_CALL device_ids(cl_platform_id id, cl_device_type type, cl_uint room, cl_device_id *out,
                                     cl_uint *count) {
    (void)id, (void)type;
    reach("clGetDeviceIDs");
    if (is_off("FAKE_DRIVER_DEVICES")) return CL_DEVICE_NOT_FOUND;
    if (room && out) *out = (cl_device_id)&device;
    if (count) *count = 1;
    return CL_SUCCESS;
}

static int is_query(const char *variable, cl_device_info name) {
    const char *value = getenv(variable);
    return value && strtoul(value, NULL, 0) == name;
}

static const char *text_of(cl_device_info name) {
    switch (name) {
    case CL_DEVICE_NAME:
        return getenv("FAKE_DRIVER_NAME") ? getenv("FAKE_DRIVER_NAME") : "Fake GPU";
    case CL_DEVICE_VENDOR:
        return "Fake \033[31mvendor";
    case CL_DEVICE_VERSION:
        return getenv("FAKE_DRIVER_OLD") ? "OpenCL 1.1 fake" : "OpenCL 1.2 fake";
    case CL_DEVICE_OPENCL_C_VERSION:
        return getenv("FAKE_DRIVER_OLD") ? "OpenCL C 1.1 fake" : "OpenCL C 1.2 fake";
    case CL_DRIVER_VERSION:
        return "1.0";
    case CL_DEVICE_EXTENSIONS:
        return getenv("FAKE_DRIVER_PCI") ? "cl_khr_fp16 cl_khr_pci_bus_info" : "cl_khr_fp16";
    case CL_DEVICE_PROFILE:
        return "FULL_PROFILE";
    default:
        return NULL;
    }
}

/* OpenCL 1.1's queries end before CL_DEVICE_LINKER_AVAILABLE, and have none of fp64. */
static int is_unknown(cl_device_info name) {
    return getenv("FAKE_DRIVER_OLD") && name < 0x2000 &&
           (name >= CL_DEVICE_LINKER_AVAILABLE || name == CL_DEVICE_DOUBLE_FP_CONFIG);
}

static cl_int CL_API_CALL device_info(cl_device_id id, cl_device_info name, size_t size, void *value,
                                      size_t *out_size) {
    const char *text = text_of(name);
    const cl_ulong huge = ~(cl_ulong)0;
    const size_t sizes[3] = {1, 1, 1};
    const cl_platform_id of = (cl_platform_id)&platform;
    cl_ulong wide = 1 << 30;
    const char *bus = getenv("FAKE_DRIVER_PCI"), *vendor = getenv("FAKE_DRIVER_VENDOR");
    const cl_uint address[4] = {0, bus ? (cl_uint)strtoul(bus, NULL, 0) : 0, 0, 0};
    cl_uint narrow = 1;
    (void)id;
    reach("clGetDeviceInfo");
    if (is_unknown(name)) return CL_INVALID_VALUE;
    if (is_query("FAKE_DRIVER_FAIL", name)) return CL_OUT_OF_RESOURCES;
    if (is_query("FAKE_DRIVER_EMPTY", name)) return answer(&huge, 0, size, value, out_size);
    if (is_query("FAKE_DRIVER_HUGE", name)) return answer(&huge, sizeof huge, size, value, out_size);
    if (text) return answer(text, strlen(text) + 1, size, value, out_size);
    if (name == PCI_BUS_INFO) return bus ? answer(address, sizeof address, size, value, out_size) : CL_INVALID_VALUE;
    if (name == CL_DEVICE_VENDOR_ID && vendor) narrow = (cl_uint)strtoul(vendor, NULL, 0);
    if (name == CL_DEVICE_PLATFORM) return answer(&of, sizeof of, size, value, out_size);
    if (name == CL_DEVICE_MAX_WORK_ITEM_SIZES) return answer(sizes, sizeof sizes, size, value, out_size);
    if (name == CL_DEVICE_PARTITION_PROPERTIES) return answer(sizes, 0, size, value, out_size);
    if (name == CL_DEVICE_MAX_CLOCK_FREQUENCY || name == CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE) narrow = 0;
    if (name == CL_DEVICE_TYPE) wide = CL_DEVICE_TYPE_GPU;
    if (name == CL_DEVICE_COMPILER_AVAILABLE && is_off("FAKE_DRIVER_COMPILER")) narrow = 0;
    if (name == CL_DEVICE_TYPE || name == CL_DEVICE_GLOBAL_MEM_SIZE || name == CL_DEVICE_MAX_MEM_ALLOC_SIZE ||
        name == CL_DEVICE_LOCAL_MEM_SIZE || name == CL_DEVICE_MAX_WORK_GROUP_SIZE)
        return answer(&wide, sizeof wide, size, value, out_size);
    return answer(&narrow, sizeof narrow, size, value, out_size);
}

static cl_context CL_API_CALL create_context(const cl_context_properties *properties, cl_uint count,
                                             const cl_device_id *devices,
                                             void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
                                             void *user, cl_int *code) {
    (void)properties, (void)count, (void)devices, (void)notify, (void)user;
    reach("clCreateContext");
    if (code) *code = CL_OUT_OF_HOST_MEMORY;
    return NULL;
}

CL_API_ENTRY cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint room, cl_platform_id *out, cl_uint *count) {
    const char *delay = getenv("FAKE_DRIVER_DELAY");
    reach("clIcdGetPlatformIDsKHR");
    if (delay) (void)usleep((useconds_t)(strtoul(delay, NULL, 10) * 1000));
    dispatch.clGetPlatformInfo = platform_info;
    dispatch.clGetDeviceIDs = device_ids;
    dispatch.clGetDeviceInfo = device_info;
    dispatch.clCreateContext = create_context;
    const char *two = getenv("FAKE_DRIVER_PLATFORMS");
    if (room && out) out[0] = (cl_platform_id)&platform;
    if (two && room > 1 && out) out[1] = (cl_platform_id)&second_platform;
    if (count) *count = two ? 2 : 1;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clGetPlatformInfo(cl_platform_id id, cl_platform_info name, size_t size, void *value,
                                                  size_t *out_size) {
    return platform_info(id, name, size, value, out_size);
}

CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddress(const char *name) {
    static cl_int(CL_API_CALL *const function)(cl_uint, cl_platform_id *, cl_uint *) = clIcdGetPlatformIDsKHR;
    void *address = NULL;
    if (!strcmp(name, "clIcdGetPlatformIDsKHR")) memcpy(&address, &function, sizeof address);
    return address;
}
