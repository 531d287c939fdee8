/* Values as people read them, and as --raw and --prop print them. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "devices/property.h"

static size_t append(char *text, size_t size, size_t length, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 4, 5)))
#endif
    ;
static size_t append(char *text, size_t size, size_t length, const char *format, ...) {
    va_list list;
    if (length + 1 >= size) return length;
    va_start(list, format);
    int added = vsnprintf(text + length, size - length, format, list);
    va_end(list);
    if (added < 0) return length;
    length += (size_t)added;
    return length < size ? length : size - 1;
}

void format_bytes(char *text, size_t size, json_int_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024.0 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024.0;
        unit++;
    }
    int whole = value >= 100.0 || value == (double)(unsigned long long)value;
    snprintf(text, size, whole ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

/* Elements of an array with `between` between them. */
static void format_array(char text[VALUE_TEXT_MAX], const json_t *array, const char *between) {
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        const char *gap = i ? between : "";
        if (json_is_string(item))
            length = append(text, VALUE_TEXT_MAX, length, "%s%s", gap, json_string_value(item));
        else
            length = append(text, VALUE_TEXT_MAX, length, "%s%lld", gap, (long long)json_integer_value(item));
    }
}

static void clean(char *text) {
    for (char *c = text; *c; c++)
        if (iscntrl((unsigned char)*c)) *c = ' ';
}

/* What stands where there is no value; false where there is one. */
static bool format_missing(char text[VALUE_TEXT_MAX], const struct property *property, const json_t *device,
                           const json_t *value) {
    const char *error = json_string_value(json_object_get(json_object_get(device, "errors"), property->key));
    if (value && !json_is_null(value)) return false;
    if (error)
        snprintf(text, VALUE_TEXT_MAX, "query failed: %s", error);
    else
        snprintf(text, VALUE_TEXT_MAX, "not offered");
    return true;
}

/* What a driver means by 0, where that is no quantity. */
static const char *word_for_zero(const char *key) {
    static const struct {
        const char *key, *word;
    } words[] = {
        {"clock_mhz", "unknown"},
        {"timer_resolution", "unknown"},
        {"cache_size", "unknown or none"},
        {"cache_line", "unknown or none"},
        {"max_sub_devices", "none"},
        {"max_subgroups", "none: no subgroups"},
        {"max_global_variable", "none"},
        {"max_device_queues", "none"},
        {"preferred_half_width", "none: no fp16 arithmetic"},
        {"native_half_width", "none: no fp16 arithmetic"},
        {"preferred_double_width", "none: no fp64 arithmetic"},
        {"native_double_width", "none: no fp64 arithmetic"},
        {"svm_atomic_alignment", "as the type's own"},
        {"global_atomic_alignment", "as the type's own"},
        {"local_atomic_alignment", "as the type's own"},
        {"max_read_write_images", "none"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(key, words[i].key) == 0) return words[i].word;
    return NULL;
}

static void format_number(char text[VALUE_TEXT_MAX], const struct property *property, json_int_t number) {
    switch (property->type) {
    case VALUE_BYTES:
    case VALUE_KIBIBYTES:
        format_bytes(text, VALUE_TEXT_MAX, number);
        break;
    case VALUE_BITS:
        if (number % 8)
            snprintf(text, VALUE_TEXT_MAX, "%lld bits", (long long)number);
        else
            format_bytes(text, VALUE_TEXT_MAX, number / 8);
        break;
    case VALUE_MEGAHERTZ:
        snprintf(text, VALUE_TEXT_MAX, "%lld MHz", (long long)number);
        break;
    case VALUE_NANOSECONDS:
        snprintf(text, VALUE_TEXT_MAX, "%lld ns", (long long)number);
        break;
    case VALUE_HEX:
        snprintf(text, VALUE_TEXT_MAX, "0x%04llx", (unsigned long long)number);
        break;
    default:
        snprintf(text, VALUE_TEXT_MAX, "%lld", (long long)number);
    }
}

void property_format(char text[VALUE_TEXT_MAX], const struct property *property, const json_t *device, bool brief) {
    const json_t *value = json_object_get(device, property->key);
    const char *prefix = "OpenCL C ";
    if (format_missing(text, property, device, value)) {
        if (brief) snprintf(text, VALUE_TEXT_MAX, "?");
    } else if (json_is_string(value) && strcmp(json_string_value(value), "v0000-01-01-00") == 0) {
        snprintf(text, VALUE_TEXT_MAX, "none"); /* how OpenCL spells it */
    } else if (json_is_string(value)) {
        const char *string = json_string_value(value);
        if (property->type == VALUE_LANGUAGE && strncmp(string, prefix, strlen(prefix)) == 0) string += strlen(prefix);
        bool cut = brief && property->type == VALUE_LANGUAGE;
        snprintf(text, VALUE_TEXT_MAX, "%.*s", cut ? (int)strcspn(string, " ") : VALUE_TEXT_MAX - 1, string);
    } else if (json_is_boolean(value)) {
        snprintf(text, VALUE_TEXT_MAX, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_array(value)) {
        format_array(text, value, property->type == VALUE_WORDS ? " " : ", ");
        if (json_array_size(value) == 0) snprintf(text, VALUE_TEXT_MAX, "none");
    } else if (json_is_real(value)) {
        snprintf(text, VALUE_TEXT_MAX, "%.4g", json_real_value(value));
    } else if (json_integer_value(value) == 0 && word_for_zero(property->key)) {
        snprintf(text, VALUE_TEXT_MAX, "%s", word_for_zero(property->key));
    } else {
        format_number(text, property, json_integer_value(value));
    }
    clean(text);
}

void property_format_raw(char text[VALUE_TEXT_MAX], const struct property *property, const json_t *device) {
    const json_t *value = json_object_get(device, property->key);
    if (format_missing(text, property, device, value))
        ;
    else if (json_is_string(value))
        snprintf(text, VALUE_TEXT_MAX, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        snprintf(text, VALUE_TEXT_MAX, "%s", json_is_true(value) ? "true" : "false");
    else if (json_is_array(value))
        format_array(text, value, property->type == VALUE_WORDS || property->type == VALUE_SIZES ? " " : ";");
    else if (json_is_real(value))
        snprintf(text, VALUE_TEXT_MAX, "%.6g", json_real_value(value));
    else if (property->type == VALUE_HEX)
        format_number(text, property, json_integer_value(value));
    else
        snprintf(text, VALUE_TEXT_MAX, "%lld", (long long)json_integer_value(value));
    clean(text);
}
