/* What the forms of output share. */
#ifndef QKV_TOOLS_DEVICES_SHOW_H
#define QKV_TOOLS_DEVICES_SHOW_H

#include "devices/machine.h"
#include "devices/probe.h"
#include "devices/property.h"

/* A text of the document, "" where there is none. */
static inline const char *text_at(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* The same for names that people read. */
static inline const char *name_at(const json_t *object, const char *key) {
    const char *text = text_at(object, key);
    return text[0] ? text : "name unknown";
}

enum colour verdict_colour(const json_t *device);

/* show_probe.c */
void format_claimed(char text[64], const struct probe *probe, const json_t *outcome);
void format_found(char text[VALUE_TEXT_MAX], const struct probe *probe, const json_t *outcome); /* with its detail */
void format_claimed_raw(char text[VALUE_TEXT_MAX], const json_t *outcome);
void format_found_raw(char text[VALUE_TEXT_MAX], const struct probe *probe, const json_t *outcome);
/* "fp16 arithmetic: not claimed, yet it works" */
void format_difference(char text[VALUE_TEXT_MAX], const struct probe *probe, const json_t *outcome);

#endif
