/* The child that lists platforms and devices, with everything their drivers say of them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/child.h"
#include "devices/machine.h"
#include "devices/measure.h"
#include "devices/property.h"

#define MAX_PLATFORMS 64

static json_t *platform_value(const qkv_platform_info *info, size_t index, cl_platform_id id) {
    json_t *object = json_object();
    json_object_set_new(object, "index", json_integer((json_int_t)index));
    if (id) query_platform(object, id);
    json_object_set_new(object, "num_devices", json_integer((json_int_t)info->num_devices));
    json_object_set_new(object, "note", text_value(info->note));
    return object;
}

static json_t *known_text(const char *text) {
    return text && text[0] ? text_value(text) : json_null();
}

static json_t *known_number(double number) {
    return number > 0 ? json_real(number) : json_null();
}

static json_t *device_value(const qkv_device_info *info) {
    json_t *object = json_object();
    json_object_set_new(object, "selector", text_value(info->selector));
    json_object_set_new(object, "kind", text_value(qkv_device_kind_name(info->kind)));
    json_object_set_new(object, "platform", text_value(info->platform_name));
    json_object_set_new(object, "usable", json_boolean(info->usable));
    json_object_set_new(object, "auto", json_boolean(info->is_auto));
    json_object_set_new(object, "verdict", text_value(info->verdict));
    json_object_set_new(object, "reason", text_value(info->reason));
    json_object_set_new(object, "advice", text_value(info->advice));
    json_object_set_new(object, "pci_address", known_text(info->pci_address));
    json_object_set_new(object, "uuid", known_text(info->uuid));
    json_object_set_new(object, "projection_gflops", known_number(info->projection_gflops));
    json_object_set_new(object, "prefill_gflops", known_number(info->prefill_gflops));
    json_object_set_new(object, "decode_gbps", known_number(info->decode_gbps));
    query_properties(object, info->device_id);
    return object;
}

/* What a program gets that names this selector, or none. */
static void add_selected(json_t *root, const qkv_device_list *list, const char *selector) {
    size_t index;
    if (qkv_device_list_select(&index, list, selector) == QKV_OK)
        json_object_set_new(root, "selected", text_value(qkv_device_list_device(list, index)->selector));
    else
        json_object_set_new(root, "selection_error", text_value(qkv_error_message()));
}

/* What the tool found not to work: out of the question for the library's ranking. */
static void leave_out(json_t *root, qkv_device_list *list) {
    size_t index;
    char selector[48];
    const char *without = getenv(WITHOUT_VARIABLE);
    if (!without) return;
    for (size_t i = 0; i < qkv_device_list_num_devices(list); i++) {
        /* The list is this process's own, and nobody else reads it. */
        qkv_device_info *info = (qkv_device_info *)(uintptr_t)qkv_device_list_device(list, i);
        snprintf(selector, sizeof selector, " %s ", info->selector);
        if (strstr(without, selector)) info->usable = 0;
    }
    bool some = qkv_device_list_select(&index, list, "auto") == QKV_OK;
    json_object_set_new(root, "auto", some ? text_value(qkv_device_list_device(list, index)->selector) : json_null());
}

int child_list(const char *selector) {
    cl_platform_id ids[MAX_PLATFORMS];
    cl_uint num_ids = 0;
    qkv_device_list *list;
    json_t *root = json_object(), *platforms = json_array(), *devices = json_array();
    if (qkv_device_list_create(&list) != QKV_OK) {
        json_object_set_new(root, "error", text_value(qkv_error_message()));
        child_tell(root);
        return 1;
    }
    if (clGetPlatformIDs(MAX_PLATFORMS, ids, &num_ids) != CL_SUCCESS) num_ids = 0;
    for (size_t p = 0; p < qkv_device_list_num_platforms(list); p++)
        json_array_append_new(platforms,
                              platform_value(qkv_device_list_platform(list, p), p, p < num_ids ? ids[p] : NULL));
    json_object_set_new(root, "auto", json_null());
    for (size_t i = 0; i < qkv_device_list_num_devices(list); i++) {
        const qkv_device_info *info = qkv_device_list_device(list, i);
        json_array_append_new(devices, device_value(info));
        if (info->is_auto) json_object_set_new(root, "auto", text_value(info->selector));
    }
    leave_out(root, list);
    json_object_set_new(root, "platforms", platforms);
    json_object_set_new(root, "devices", devices);
    json_object_set_new(root, "best", measure_best_json(list));
    json_object_set_new(root, "rule", text_value(qkv_device_rule()));
    add_selected(root, list, selector);
    qkv_device_list_destroy(list);
    child_tell(root);
    return 0;
}
