#include "runtime/list.h"

#include <stdio.h>
#include <stdlib.h>

/* OpenCL's own limit on what a loader reports is far below this. */
#define MAX_PLATFORMS 64

static qkv_status add_device(struct qkv_device_list *list, size_t platform, size_t index, cl_device_id device) {
    char selector[48];
    qkv_device_info *info = &list->devices[list->num_devices];
    qkv_status status = qkvi_device_describe(info, device);
    if (status) return status;
    list->num_devices++;
    (void)snprintf(selector, sizeof selector, "%zu:%zu", platform, index);
    char *copy = qkvi_strdup(selector);
    if (!copy) return qkvi_fail_memory("device list");
    free((void *)(uintptr_t)info->selector);
    info->selector = copy;
    return QKV_OK;
}

static const char *platform_note(cl_int error, cl_uint count) {
    if (error == CL_DEVICE_NOT_FOUND || (error == CL_SUCCESS && count == 0)) return "shows no device";
    if (error != CL_SUCCESS) return qkvi_cl_error_name(error);
    return "";
}

static qkv_status add_platform(struct qkv_device_list *list, cl_platform_id id) {
    qkv_platform_info *platform = &list->platforms[list->num_platforms];
    cl_device_id devices[QKVI_MAX_DEVICES];
    cl_uint count = 0;
    cl_int error = clGetDeviceIDs(id, CL_DEVICE_TYPE_ALL, QKVI_MAX_DEVICES, devices, &count);
    if (error != CL_SUCCESS) count = 0;
    if (count > QKVI_MAX_DEVICES - list->num_devices) count = (cl_uint)(QKVI_MAX_DEVICES - list->num_devices);
    *platform = (qkv_platform_info){
        .struct_size = sizeof *platform,
        .name = qkvi_platform_text(id, CL_PLATFORM_NAME),
        .vendor = qkvi_platform_text(id, CL_PLATFORM_VENDOR),
        .version = qkvi_platform_text(id, CL_PLATFORM_VERSION),
        .num_devices = count,
        .note = platform_note(error, count),
    };
    size_t index = list->num_platforms++;
    if (!platform->name || !platform->vendor || !platform->version) return qkvi_fail_memory("device list");
    for (cl_uint i = 0; i < count; i++) {
        qkv_status status = add_device(list, index, i, devices[i]);
        if (status) return status;
    }
    return QKV_OK;
}

static qkv_status fill(struct qkv_device_list *list, const char *cache_dir) {
    cl_platform_id ids[MAX_PLATFORMS];
    cl_uint count = 0;
    /* Without any platform loaders answer with an error (-1001); that is an empty list, not a failure. */
    if (clGetPlatformIDs(MAX_PLATFORMS, ids, &count) != CL_SUCCESS) count = 0;
    if (count > MAX_PLATFORMS) count = MAX_PLATFORMS;
    list->platforms = calloc(count + 1, sizeof *list->platforms);
    list->devices = calloc(QKVI_MAX_DEVICES, sizeof *list->devices);
    if (!list->platforms || !list->devices) return qkvi_fail_memory("device list");
    for (cl_uint i = 0; i < count; i++) {
        qkv_status status = add_platform(list, ids[i]);
        if (status) return status;
    }
    qkvi_list_recall(list, cache_dir);
    return qkvi_list_judge(list);
}

qkv_status qkvi_list_create(qkv_device_list **out, const char *cache_dir) {
    struct qkv_device_list *list = calloc(1, sizeof *list);
    if (!list) return qkvi_fail_memory("device list");
    qkv_status status = fill(list, cache_dir);
    if (status) {
        qkv_device_list_destroy(list);
        return status;
    }
    *out = list;
    return QKV_OK;
}

qkv_status qkv_device_list_create(qkv_device_list **out) {
    if (!out) return qkvi_fail(QKV_INVALID_ARGUMENT, "out is NULL");
    return qkvi_list_create(out, getenv("QKV_CACHE_DIR"));
}

void qkv_device_list_destroy(qkv_device_list *list) {
    if (!list) return;
    for (size_t i = 0; i < list->num_platforms; i++) {
        free((void *)(uintptr_t)list->platforms[i].name);
        free((void *)(uintptr_t)list->platforms[i].vendor);
        free((void *)(uintptr_t)list->platforms[i].version);
    }
    for (size_t i = 0; i < list->num_devices; i++)
        qkvi_device_info_free(&list->devices[i]);
    free(list->platforms);
    free(list->devices);
    free(list);
}

size_t qkv_device_list_num_platforms(const qkv_device_list *list) {
    return list ? list->num_platforms : 0;
}

size_t qkv_device_list_num_devices(const qkv_device_list *list) {
    return list ? list->num_devices : 0;
}

const qkv_platform_info *qkv_device_list_platform(const qkv_device_list *list, size_t index) {
    return list && index < list->num_platforms ? &list->platforms[index] : NULL;
}

const qkv_device_info *qkv_device_list_device(const qkv_device_list *list, size_t index) {
    return list && index < list->num_devices ? &list->devices[index] : NULL;
}
