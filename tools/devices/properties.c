/* The properties shown of a device, one row each. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "devices/devices.h"

#define MEMBER(name) offsetof(qkv_device_info, name), sizeof(((qkv_device_info *)0)->name)

const struct property properties[] = {
    {"selector", "selector", "SELECTOR", PROPERTY_TEXT, MEMBER(selector)},
    {"name", "device", "DEVICE", PROPERTY_TEXT, MEMBER(name)},
    {"kind", "kind", "KIND", PROPERTY_KIND, MEMBER(kind)},
    {"types", "types it reports", NULL, PROPERTY_TYPE_BITS, MEMBER(type)},
    {"vendor", "vendor", NULL, PROPERTY_TEXT, MEMBER(vendor)},
    {"platform", "platform", NULL, PROPERTY_TEXT, MEMBER(platform_name)},
    {"device_version", "OpenCL", NULL, PROPERTY_TEXT, MEMBER(device_version)},
    {"opencl_c_version", "OpenCL C", "CL C", PROPERTY_C_VERSION, MEMBER(opencl_c_version)},
    {"driver_version", "driver", NULL, PROPERTY_TEXT, MEMBER(driver_version)},
    {"compute_units", "compute units", "UNITS", PROPERTY_COUNT, MEMBER(compute_units)},
    {"clock_mhz", "clock", NULL, PROPERTY_MEGAHERTZ, MEMBER(clock_mhz)},
    {"global_memory", "memory", "MEMORY", PROPERTY_BYTES, MEMBER(global_memory)},
    {"max_allocation", "largest allocation", "LARGEST", PROPERTY_BYTES, MEMBER(max_allocation)},
    {"local_memory", "local memory", "LOCAL", PROPERTY_BYTES, MEMBER(local_memory)},
    {"max_work_group_size", "work-group size, at most", NULL, PROPERTY_COUNT, MEMBER(max_work_group_size)},
    {"native_float_width", "float lanes, native", NULL, PROPERTY_COUNT, MEMBER(native_float_width)},
    {"usable", "usable", NULL, PROPERTY_FLAG, MEMBER(usable)},
    {"auto", "taken by auto", NULL, PROPERTY_FLAG, MEMBER(is_auto)},
    {"reason", "why", NULL, PROPERTY_TEXT, MEMBER(reason)},
};
const size_t num_properties = sizeof properties / sizeof properties[0];

static const struct {
    uint64_t bit;
    const char *name;
} type_bits[] = {
    {CL_DEVICE_TYPE_CPU, "CPU"},       {CL_DEVICE_TYPE_GPU, "GPU"},         {CL_DEVICE_TYPE_ACCELERATOR, "accelerator"},
    {CL_DEVICE_TYPE_CUSTOM, "custom"}, {CL_DEVICE_TYPE_DEFAULT, "default"},
};

const char *type_bit_name(uint64_t type, size_t i) {
    for (size_t t = 0; t < sizeof type_bits / sizeof type_bits[0]; t++)
        if ((type & type_bits[t].bit) && i-- == 0) return type_bits[t].name;
    return NULL;
}

const char *property_text(const struct property *property, const qkv_device_info *info) {
    const char *text;
    if (property->type == PROPERTY_KIND) return qkv_device_kind_name(info->kind);
    memcpy(&text, (const char *)info + property->offset, sizeof text);
    return text ? text : "";
}

uint64_t property_number(const struct property *property, const qkv_device_info *info) {
    const char *at = (const char *)info + property->offset;
    uint32_t narrow;
    uint64_t wide;
    if (property->size == sizeof narrow) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, at, sizeof wide);
    return wide;
}

/* "512 KiB", "15.6 GiB": one decimal where it says something. */
static void format_bytes(char *text, size_t size, uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024.0 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024.0;
        unit++;
    }
    int whole = value >= 100.0 || value == (double)(uint64_t)value;
    snprintf(text, size, whole ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void format_types(char *text, size_t size, uint64_t type) {
    size_t length = 0;
    const char *name;
    text[0] = '\0';
    for (size_t i = 0; (name = type_bit_name(type, i)) != NULL && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%s", i ? ", " : "", name);
}

void property_format(char text[PROPERTY_TEXT_MAX], const struct property *property, const qkv_device_info *info,
                     int brief) {
    const char *prefix = "OpenCL C ";
    const char *value;
    switch (property->type) {
    case PROPERTY_TEXT:
    case PROPERTY_KIND:
        snprintf(text, PROPERTY_TEXT_MAX, "%s", property_text(property, info));
        break;
    case PROPERTY_C_VERSION:
        value = property_text(property, info);
        if (strncmp(value, prefix, strlen(prefix)) == 0) value += strlen(prefix);
        snprintf(text, PROPERTY_TEXT_MAX, "%.*s", brief ? (int)strcspn(value, " ") : PROPERTY_TEXT_MAX - 1, value);
        break;
    case PROPERTY_TYPE_BITS:
        format_types(text, PROPERTY_TEXT_MAX, property_number(property, info));
        break;
    case PROPERTY_COUNT:
        snprintf(text, PROPERTY_TEXT_MAX, "%" PRIu64, property_number(property, info));
        break;
    case PROPERTY_MEGAHERTZ:
        snprintf(text, PROPERTY_TEXT_MAX, "%" PRIu64 " MHz", property_number(property, info));
        break;
    case PROPERTY_BYTES:
        format_bytes(text, PROPERTY_TEXT_MAX, property_number(property, info));
        break;
    case PROPERTY_FLAG:
        snprintf(text, PROPERTY_TEXT_MAX, "%s", property_number(property, info) ? "yes" : "no");
        break;
    }
    for (char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c)) *c = ' ';
}

size_t auto_index(const qkv_device_list *list) {
    size_t i = 0;
    while (i < qkv_device_list_num_devices(list) && !qkv_device_list_device(list, i)->is_auto)
        i++;
    return i;
}
