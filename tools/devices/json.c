/* For programs: {"schema":1, "platforms":[...], "devices":[...], "auto":"P:D" or null}. */
#include <jansson.h>
#include <string.h>

#include "devices/devices.h"

/* A driver's text need not be UTF-8, JSON must be. */
static json_t *json_text(const char *text) {
    json_t *value = json_string(text);
    if (value) return value;
    char copy[PROPERTY_TEXT_MAX];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    return json_string(copy);
}

static json_t *json_property(const struct property *property, const qkv_device_info *info) {
    const char *name;
    json_t *array;
    switch (property->type) {
    case PROPERTY_TEXT:
    case PROPERTY_C_VERSION:
    case PROPERTY_KIND:
        return json_text(property_text(property, info));
    case PROPERTY_TYPE_BITS:
        array = json_array();
        for (size_t i = 0; (name = type_bit_name(property_number(property, info), i)) != NULL; i++)
            json_array_append_new(array, json_string(name));
        return array;
    case PROPERTY_FLAG:
        return json_boolean(property_number(property, info) != 0);
    case PROPERTY_COUNT:
    case PROPERTY_MEGAHERTZ:
    case PROPERTY_BYTES:
        break;
    }
    return json_integer((json_int_t)property_number(property, info));
}

static json_t *json_device(const qkv_device_info *info) {
    json_t *object = json_object();
    for (size_t p = 0; p < num_properties; p++)
        json_object_set_new(object, properties[p].key, json_property(&properties[p], info));
    return object;
}

static json_t *json_platform(const qkv_platform_info *platform) {
    json_t *object = json_object();
    json_object_set_new(object, "name", json_text(platform->name));
    json_object_set_new(object, "vendor", json_text(platform->vendor));
    json_object_set_new(object, "version", json_text(platform->version));
    json_object_set_new(object, "num_devices", json_integer((json_int_t)platform->num_devices));
    json_object_set_new(object, "note", json_text(platform->note));
    return object;
}

int write_json(FILE *out, const qkv_device_list *list, const size_t *only) {
    json_t *root = json_object();
    json_t *platforms = json_array();
    json_t *devices = json_array();
    size_t count = qkv_device_list_num_devices(list);
    size_t taken = auto_index(list);

    for (size_t p = 0; p < qkv_device_list_num_platforms(list); p++)
        json_array_append_new(platforms, json_platform(qkv_device_list_platform(list, p)));
    for (size_t i = 0; i < count; i++)
        if (!only || *only == i) json_array_append_new(devices, json_device(qkv_device_list_device(list, i)));

    json_object_set_new(root, "schema", json_integer(1));
    json_object_set_new(root, "version", json_string(qkv_version_string()));
    json_object_set_new(root, "platforms", platforms);
    json_object_set_new(root, "devices", devices);
    json_object_set_new(root, "auto",
                        taken < count ? json_string(qkv_device_list_device(list, taken)->selector) : json_null());
    int failed = json_dumpf(root, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF;
    json_decref(root);
    return failed;
}
