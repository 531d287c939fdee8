/* qkv-devices: one table of properties; every form of output is made from it. */
#ifndef QKV_TOOLS_DEVICES_H
#define QKV_TOOLS_DEVICES_H

#include <stdio.h>

#include "qkv.h"

enum property_type {
    PROPERTY_TEXT,
    PROPERTY_C_VERSION, /* text "OpenCL C 1.2 ..." */
    PROPERTY_KIND,
    PROPERTY_TYPE_BITS,
    PROPERTY_COUNT, /* uint32_t or uint64_t */
    PROPERTY_MEGAHERTZ,
    PROPERTY_BYTES,
    PROPERTY_FLAG
};

/* One member of qkv_device_info. */
struct property {
    const char *key;     /* in JSON */
    const char *label;   /* in the full view */
    const char *heading; /* in the table; NULL: not a column */
    enum property_type type;
    size_t offset;
    size_t size;
};

extern const struct property properties[];
extern const size_t num_properties;

#define PROPERTY_TEXT_MAX 512

/* A value as a person reads it: units chosen, control characters replaced. `brief` for a table's cell. */
void property_format(char text[PROPERTY_TEXT_MAX], const struct property *property, const qkv_device_info *info,
                     int brief);

/* The member itself, for JSON. */
const char *property_text(const struct property *property, const qkv_device_info *info);
uint64_t property_number(const struct property *property, const qkv_device_info *info);

/* The i-th name of the OpenCL type bits set in `type`, or NULL after the last one. */
const char *type_bit_name(uint64_t type, size_t i);

/* Index of the device "auto" takes, or the number of devices. */
size_t auto_index(const qkv_device_list *list);

/* table.c */
void print_table(FILE *out, const qkv_device_list *list, size_t width);
void print_platform_notes(FILE *out, const qkv_device_list *list);
void print_device(FILE *out, const qkv_device_info *info);

/* json.c: all devices, or the one at *only. 0 if written. */
int write_json(FILE *out, const qkv_device_list *list, const size_t *only);

/* advice.c: what to install where nothing usable was found. */
void print_advice(FILE *out, const qkv_device_list *list);

#endif
