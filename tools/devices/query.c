/* Asks a driver for the properties: from its bytes to JSON values. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/property.h"
#include "support/text.h"

/* More than any driver answers; what is longer is a driver's error. */
#define ANSWER_MAX ((size_t)1 << 20)

struct answer {
    unsigned char *bytes; /* a NUL follows */
    size_t size;
};

/* Whatever could steer a terminal becomes blanks: C0 but for ends of lines and tabs, DEL, and C1 in its UTF-8. */
static void clean(char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i], next = i + 1 < length ? (unsigned char)text[i + 1] : 0;
        if (c == 0xc2 && next >= 0x80 && next < 0xa0) text[i] = text[i + 1] = ' ';
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) text[i] = ' ';
    }
}

json_t *text_value(const char *text) {
    tool_error error;
    size_t length;
    if (!text) text = "";
    char *good = tool_text_repair(text, strlen(text), &length, &error);
    if (good) clean(good, length);
    json_t *value = json_stringn(good ? good : "", good ? length : 0);
    free(good);
    return value;
}

/* One line, without the blanks on either side which some drivers pad their names with. */
static json_t *trimmed(char *text) {
    for (char *c = text; *c; c++)
        if (strchr("\t\n\v\f\r", *c)) *c = ' ';
    text += strspn(text, " ");
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == ' ')
        text[--length] = '\0';
    return text_value(text);
}

/* A number of the width the driver chose. */
static json_int_t number_at(const struct answer *answer, size_t offset, size_t width) {
    cl_uint narrow = 0;
    cl_ulong wide = 0;
    if (offset + width > answer->size) return 0;
    if (width == sizeof narrow) {
        memcpy(&narrow, answer->bytes + offset, sizeof narrow);
        return narrow;
    }
    if (width == sizeof wide) memcpy(&wide, answer->bytes + offset, sizeof wide);
    return (json_int_t)wide;
}

static json_int_t number(const struct answer *answer) {
    return number_at(answer, 0, answer->size >= 8 ? 8 : answer->size);
}

static json_t *numbers(const struct answer *answer) {
    json_t *array = json_array();
    for (size_t at = 0; at + sizeof(size_t) <= answer->size; at += sizeof(size_t))
        json_array_append_new(array, json_integer(number_at(answer, at, sizeof(size_t))));
    return array;
}

/* The names of the bits set; a bit without one as a number. */
static json_t *names_of(const struct property *property, cl_ulong bits) {
    json_t *array = json_array();
    char text[32];
    for (const struct value_name *name = property->names; name->name; name++) {
        if (bits & name->value) json_array_append_new(array, json_string(name->name));
        bits &= ~name->value;
    }
    snprintf(text, sizeof text, "0x%llx", (unsigned long long)bits);
    if (bits) json_array_append_new(array, json_string(text));
    return array;
}

static json_t *name_of(const struct property *property, cl_ulong value) {
    char text[32];
    for (const struct value_name *name = property->names; name->name; name++)
        if (value == name->value) return json_string(name->name);
    snprintf(text, sizeof text, "0x%llx", (unsigned long long)value);
    return json_string(text);
}

/* A list of cl_device_partition_property that a 0 may end. */
static json_t *partition_names(const struct property *property, const struct answer *answer) {
    json_t *array = json_array();
    for (size_t at = 0; at + sizeof(intptr_t) <= answer->size; at += sizeof(intptr_t)) {
        json_int_t value = number_at(answer, at, sizeof(intptr_t));
        if (value != 0) json_array_append_new(array, name_of(property, (cl_ulong)value));
    }
    return array;
}

static json_t *split(char *text, const char *separators) {
    json_t *array = json_array();
    char *rest = NULL;
    for (char *word = strtok_r(text, separators, &rest); word; word = strtok_r(NULL, separators, &rest))
        json_array_append_new(array, text_value(word));
    return array;
}

/* cl_version: 10 bits major, 10 bits minor, 12 bits patch. */
static json_t *version(cl_ulong value, const char *before) {
    char text[160];
    snprintf(text, sizeof text, "%.120s%s%u.%u.%u", before, before[0] ? " " : "", (unsigned)(value >> 22),
             (unsigned)(value >> 12 & 0x3ff), (unsigned)(value & 0xfff));
    return text_value(text);
}

/* cl_name_version: the version, then a name of 64 bytes. */
static json_t *versions(const struct answer *answer) {
    enum { NAME = 64, ENTRY = 4 + NAME };
    json_t *array = json_array();
    for (size_t at = 0; at + ENTRY <= answer->size; at += ENTRY) {
        char name[NAME + 1] = "";
        memcpy(name, answer->bytes + at + 4, NAME);
        json_array_append_new(array, version((cl_ulong)number_at(answer, at, 4), name));
    }
    return array;
}

static json_t *hexadecimal(const struct answer *answer, const char *dashes_after) {
    char text[80] = "";
    size_t length = 0;
    for (size_t i = 0; i < answer->size && i < 16; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%02x%s", answer->bytes[i],
                                   strchr(dashes_after, (int)('a' + i)) ? "-" : "");
    return json_string(text);
}

static json_t *pci_address(json_int_t domain, json_int_t bus, json_int_t device, json_int_t function) {
    char text[64];
    snprintf(text, sizeof text, "%04x:%02x:%02x.%x", (unsigned)domain, (unsigned)bus, (unsigned)device,
             (unsigned)function);
    return json_string(text);
}

static json_t *value_of(const struct property *property, struct answer *answer) {
    char *text = (char *)answer->bytes;
    switch (property->type) {
    case VALUE_TEXT:
    case VALUE_LANGUAGE:
        return trimmed(text);
    case VALUE_COUNT:
    case VALUE_BYTES:
    case VALUE_BITS:
    case VALUE_MEGAHERTZ:
    case VALUE_NANOSECONDS:
    case VALUE_HEX:
        return json_integer(number(answer));
    case VALUE_KIBIBYTES:
        return json_integer(number_at(answer, 0, sizeof(size_t)) * 1024);
    case VALUE_FLAG:
        return json_boolean(number(answer) != 0);
    case VALUE_ONE_OF:
        return name_of(property, (cl_ulong)number(answer));
    case VALUE_SET:
        return names_of(property, (cl_ulong)number(answer));
    case VALUE_PARTITIONS:
        return partition_names(property, answer);
    case VALUE_SIZES:
        return numbers(answer);
    case VALUE_WORDS:
        return split(text, " \t\n");
    case VALUE_LIST:
        return split(text, ";");
    case VALUE_VERSION:
        return version((cl_ulong)number(answer), "");
    case VALUE_VERSIONED:
        return versions(answer);
    case VALUE_UUID:
        return hexadecimal(answer, "dfhj");
    case VALUE_LUID:
        return hexadecimal(answer, "");
    case VALUE_PCI:
        return pci_address(number_at(answer, 0, 4), number_at(answer, 4, 4), number_at(answer, 8, 4),
                           number_at(answer, 12, 4));
    case VALUE_PCI_AMD:
        /* A 4-byte type, 17 unused bytes, then bus, device and function of a byte each. */
        if (answer->size < 24) return json_null();
        return pci_address(0, answer->bytes[21], answer->bytes[22], answer->bytes[23]);
    case VALUE_REAL: /* no query answers one */
        break;
    }
    return json_null();
}

/* Has the answer the size that such a value has? Drivers give numbers and flags 4 bytes as well as 8. */
static bool fits(const struct property *property, size_t size) {
    switch (property->type) {
    case VALUE_TEXT:
    case VALUE_LANGUAGE:
    case VALUE_WORDS:
    case VALUE_LIST:
        return true;
    case VALUE_PARTITIONS:
        return size % sizeof(intptr_t) == 0;
    case VALUE_SIZES:
        return size > 0 && size % sizeof(size_t) == 0;
    case VALUE_VERSIONED:
        return size % 68 == 0;
    case VALUE_KIBIBYTES:
        return size >= sizeof(size_t);
    case VALUE_UUID:
        return size == 16;
    case VALUE_LUID:
        return size == 8;
    case VALUE_PCI:
        return size == 16;
    case VALUE_PCI_AMD:
        return size == 24;
    default:
        return size == 4 || size == 8;
    }
}

/* A number that no device has, and JSON's integers cannot hold. */
static bool is_absurd(const struct property *property, const struct answer *answer) {
    size_t step = sizeof(cl_ulong);
    json_int_t most = INT64_MAX;
    switch (property->type) {
    case VALUE_COUNT:
    case VALUE_BYTES:
    case VALUE_BITS:
    case VALUE_MEGAHERTZ:
    case VALUE_NANOSECONDS:
    case VALUE_HEX:
        break;
    case VALUE_KIBIBYTES:
        most /= 1024; /* fall through */
    case VALUE_SIZES:
        step = sizeof(size_t);
        break;
    default:
        return false;
    }
    for (size_t at = 0; at + step <= answer->size; at += step)
        if (number_at(answer, at, step) < 0 || number_at(answer, at, step) > most) return true;
    return false;
}

static cl_int ask(struct answer *answer, cl_device_id device, cl_device_info id) {
    *answer = (struct answer){NULL, 0};
    cl_int code = clGetDeviceInfo(device, id, 0, NULL, &answer->size);
    if (code != CL_SUCCESS) return code;
    if (answer->size > ANSWER_MAX) return CL_INVALID_VALUE;
    answer->bytes = calloc(answer->size + 1, 1);
    if (!answer->bytes) return CL_OUT_OF_HOST_MEMORY;
    return answer->size ? clGetDeviceInfo(device, id, answer->size, answer->bytes, NULL) : CL_SUCCESS;
}

/* Is there the version of OpenCL or the extension that brought the property. */
static bool offered(const struct property *property, const char *device_version, const char *extensions) {
    unsigned major = 1, minor = 2, least_major, least_minor;
    const char *extension = property->needs;
    int used = 0;
    if (!property->needs) return true;
    if (sscanf(property->needs, "%u.%u %n", &least_major, &least_minor, &used) == 2) {
        (void)sscanf(device_version, "OpenCL %u.%u", &major, &minor);
        if (major > least_major || (major == least_major && minor >= least_minor)) return true;
        extension += used;
    }
    size_t length = strlen(extension);
    if (length == 0) return false;
    for (const char *at = strstr(extensions, extension); at; at = strstr(at + length, extension))
        if ((at == extensions || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

static void add_error(json_t *object, const char *key, cl_int code) {
    char text[64];
    json_object_set_new(json_object_get(object, "errors"), key, json_string(cl_error_text(text, code)));
}

/* An answer that can be none counts as a query that failed. */
static void take_answer(json_t *object, const struct property *property, struct answer *answer) {
    char text[64];
    if (fits(property, answer->size) && !is_absurd(property, answer)) {
        json_object_set_new(object, property->key, value_of(property, answer));
        return;
    }
    if (fits(property, answer->size))
        snprintf(text, sizeof text, "the driver answers %llu", (unsigned long long)number_at(answer, 0, 8));
    else
        snprintf(text, sizeof text, "the driver answers %zu bytes", answer->size);
    json_object_set_new(json_object_get(object, "errors"), property->key, json_string(text));
}

void query_properties(json_t *object, cl_device_id device) {
    struct answer device_version, extensions;
    (void)ask(&device_version, device, CL_DEVICE_VERSION);
    (void)ask(&extensions, device, CL_DEVICE_EXTENSIONS);
    json_object_set_new(object, "errors", json_object());
    for (size_t i = 0; i < num_properties; i++) {
        const struct property *property = &properties[i];
        struct answer answer;
        if (property->id == 0) continue;
        json_object_set_new(object, property->key, json_null());
        if (!offered(property, device_version.bytes ? (const char *)device_version.bytes : "",
                     extensions.bytes ? (const char *)extensions.bytes : ""))
            continue;
        cl_int code = ask(&answer, device, property->id);
        if (code == CL_SUCCESS)
            take_answer(object, property, &answer);
        else
            add_error(object, property->key, code);
        free(answer.bytes);
    }
    free(device_version.bytes);
    free(extensions.bytes);
    /* Where there is none, the driver's answer is no LUID. */
    if (json_is_false(json_object_get(object, "luid_valid"))) json_object_set_new(object, "luid", json_null());
}

void query_platform(json_t *object, cl_platform_id platform) {
    static const struct {
        const char *key;
        cl_platform_info id;
    } texts[] = {{"name", CL_PLATFORM_NAME},
                 {"vendor", CL_PLATFORM_VENDOR},
                 {"version", CL_PLATFORM_VERSION},
                 {"profile", CL_PLATFORM_PROFILE},
                 {"extensions", CL_PLATFORM_EXTENSIONS}};
    json_object_set_new(object, "errors", json_object());
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[8192] = "";
        cl_int code = clGetPlatformInfo(platform, texts[i].id, sizeof text - 1, text, NULL);
        json_object_set_new(object, texts[i].key, code == CL_SUCCESS ? trimmed(text) : json_null());
        if (code != CL_SUCCESS) add_error(object, texts[i].key, code);
    }
}
