/* One table of properties; every form of output is made from it. */
#ifndef QKV_TOOLS_DEVICES_PROPERTY_H
#define QKV_TOOLS_DEVICES_PROPERTY_H

#include <jansson.h>
#include <stdbool.h>

#include "qkv.h"

/* In the order of the full view; property_sections[] has their headings. */
enum section {
    SECTION_CHOICE,
    SECTION_NAMES,
    SECTION_PROCESSOR,
    SECTION_GROUPS,
    SECTION_MEMORY,
    SECTION_FLOATS,
    SECTION_VECTORS,
    SECTION_QUEUES,
    SECTION_SHARED,
    SECTION_IMAGES,
    SECTION_LANGUAGES,
    SECTION_VENDOR,
    NUM_SECTIONS
};
extern const char *const property_sections[NUM_SECTIONS];

/* What a query answers, and with it how the value stands in JSON: a text, a number, a boolean or an array. */
enum value_type {
    VALUE_TEXT,
    VALUE_LANGUAGE, /* text "OpenCL C 1.2 ..." */
    VALUE_COUNT,
    VALUE_BYTES,
    VALUE_BITS, /* a number of bits, shown in bytes where it is whole ones */
    VALUE_MEGAHERTZ,
    VALUE_NANOSECONDS,
    VALUE_KIBIBYTES,
    VALUE_HEX,
    VALUE_REAL,
    VALUE_FLAG,
    VALUE_ONE_OF, /* a number with a name */
    VALUE_SET,    /* bits with names */
    VALUE_PARTITIONS,
    VALUE_SIZES,     /* size_t, several */
    VALUE_WORDS,     /* a text of words */
    VALUE_LIST,      /* a text with semicolons */
    VALUE_VERSION,   /* cl_version */
    VALUE_VERSIONED, /* cl_name_version, several */
    VALUE_UUID,
    VALUE_LUID,
    VALUE_PCI,
    VALUE_PCI_AMD
};

struct value_name {
    cl_ulong value;
    const char *name; /* NULL ends a table */
};

struct property {
    const char *key;     /* in JSON, and for --prop */
    const char *raw;     /* in --raw, and for --prop: OpenCL's name, or QKV_... for the library's own */
    const char *label;   /* for people */
    const char *heading; /* of a column in the table; NULL: none */
    enum section section;
    enum value_type type;
    cl_device_info id; /* 0: not asked of the driver but of the library, or worked out by the tool */
    const struct value_name *names;
    const char *needs; /* "3.0": the version that brought it; an extension; both: either will do; NULL: always there */
};
extern const struct property properties[];
extern const size_t num_properties;

/* By key or raw name, in any case; NULL where there is none. */
const struct property *property_find(const char *name);

/* query.c. Asks the driver for every property with an id: sets object[key], or object.errors[key] where the
 * query fails. What the device does not offer is null without an error. */
void query_properties(json_t *object, cl_device_id device);
/* The same of a platform, which is few. */
void query_platform(json_t *object, cl_platform_id platform);
/* A driver's text need not be UTF-8, JSON must be; and it shall not steer a terminal, whatever prints it. NULL is "". */
json_t *text_value(const char *text);

/* "CL_INVALID_VALUE (-30)"; cl_error.c. */
const char *cl_error_text(char text[64], cl_int code);

/* format.c. A value as a person reads it: units chosen, control characters replaced. brief: for a table's cell. */
#define VALUE_TEXT_MAX 4096
void property_format(char text[VALUE_TEXT_MAX], const struct property *property, const json_t *device, bool brief);
/* The same for programs and --raw: no units, no sentences. */
void property_format_raw(char text[VALUE_TEXT_MAX], const struct property *property, const json_t *device);
/* "512 KiB", "15.6 GiB". */
void format_bytes(char *text, size_t size, json_int_t bytes);

#endif
