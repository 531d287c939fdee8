/* For people: the table of all devices, and one device in full. */
#include <stdlib.h>
#include <string.h>

#include "devices/devices.h"

enum { GAP = 2, MARK_WIDTH = 3, MAX_COLUMNS = 16, NAME_MIN = 12 };

struct column {
    const struct property *property;
    size_t width;
    int number; /* aligned to the right */
};

/* Columns on the screen: bytes less UTF-8 continuations. */
static size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

/* Ends the text with "..." where it is wider than `width`, never inside a character. */
static void shorten(char *text, size_t width) {
    if (text_width(text) <= width) return;
    char *at = text;
    for (size_t used = 0; *at; at++) {
        int first = ((unsigned char)*at & 0xC0) != 0x80;
        if (first && used == width - 3) break;
        used += (size_t)first;
    }
    while (at > text && at[-1] == ' ')
        at--;
    memcpy(at, "...", 4);
}

static size_t collect_columns(struct column *columns, const qkv_device_list *list) {
    size_t count = 0;
    char text[PROPERTY_TEXT_MAX];
    for (size_t p = 0; p < num_properties && count < MAX_COLUMNS; p++) {
        if (!properties[p].heading) continue;
        struct column *column = &columns[count++];
        column->property = &properties[p];
        column->width = strlen(properties[p].heading);
        column->number = properties[p].type == PROPERTY_COUNT || properties[p].type == PROPERTY_BYTES;
        for (size_t i = 0; i < qkv_device_list_num_devices(list); i++) {
            property_format(text, column->property, qkv_device_list_device(list, i), 1);
            if (text_width(text) > column->width) column->width = text_width(text);
        }
    }
    return count;
}

/* The device's name is the one column that can give way; it stands in full below the table. */
static void fit_columns(struct column *columns, size_t count, size_t width) {
    size_t used = MARK_WIDTH;
    struct column *name = NULL;
    for (size_t c = 0; c < count; c++) {
        used += columns[c].width + (c + 1 < count ? GAP : 0);
        if (strcmp(columns[c].property->key, "name") == 0) name = &columns[c];
    }
    if (!name || used <= width) return;
    size_t excess = used - width;
    name->width = name->width > excess + NAME_MIN ? name->width - excess : NAME_MIN;
}

static void print_cell(FILE *out, char *text, const struct column *column, int last) {
    shorten(text, column->width);
    size_t pad = column->width - text_width(text);
    if (column->number)
        fprintf(out, "%*s%s", (int)pad, "", text);
    else
        fprintf(out, "%s%*s", text, last ? 0 : (int)pad, "");
    fprintf(out, "%*s", last ? 0 : GAP, "");
}

/* "because ..." of one device, with its full name. Continuation lines are indented to the text. */
static void print_reason(FILE *out, const qkv_device_info *info, size_t width) {
    int indent = fprintf(out, "%s%s  ", info->is_auto ? "-> " : "   ", info->selector);
    size_t column = (size_t)indent;
    char text[2 * PROPERTY_TEXT_MAX];
    snprintf(text, sizeof text, "%s (%s): %s", info->name, info->platform_name, info->reason);
    for (char *word = strtok(text, " \n\t"); word; word = strtok(NULL, " \n\t")) {
        size_t length = text_width(word);
        if (column > (size_t)indent && column + 1 + length > width) {
            fprintf(out, "\n%*s", indent, "");
            column = (size_t)indent;
        } else if (column > (size_t)indent) {
            fputc(' ', out);
            column++;
        }
        fputs(word, out);
        column += length;
    }
    fputc('\n', out);
}

void print_table(FILE *out, const qkv_device_list *list, size_t width) {
    struct column columns[MAX_COLUMNS];
    char text[PROPERTY_TEXT_MAX];
    size_t count = collect_columns(columns, list);
    size_t devices = qkv_device_list_num_devices(list);
    fit_columns(columns, count, width);

    fprintf(out, "%*s", MARK_WIDTH, "");
    for (size_t c = 0; c < count; c++) {
        snprintf(text, sizeof text, "%s", columns[c].property->heading);
        print_cell(out, text, &columns[c], c + 1 == count);
    }
    fputc('\n', out);
    for (size_t i = 0; i < devices; i++) {
        const qkv_device_info *info = qkv_device_list_device(list, i);
        fprintf(out, "%-*s", MARK_WIDTH, info->is_auto ? "->" : "");
        for (size_t c = 0; c < count; c++) {
            property_format(text, columns[c].property, info, 1);
            print_cell(out, text, &columns[c], c + 1 == count);
        }
        fputc('\n', out);
    }
    fputc('\n', out);
    for (size_t i = 0; i < devices; i++)
        print_reason(out, qkv_device_list_device(list, i), width);
}

void print_platform_notes(FILE *out, const qkv_device_list *list) {
    for (size_t p = 0; p < qkv_device_list_num_platforms(list); p++) {
        const qkv_platform_info *platform = qkv_device_list_platform(list, p);
        if (platform->note && platform->note[0])
            fprintf(out, "Platform %zu, %s: %s%s\n", p, platform->name, platform->note,
                    strcmp(platform->name, "rusticl") ? "" : " (RUSTICL_ENABLE=llvmpipe or a driver's name turns it on)");
        else if (platform->num_devices == 0)
            fprintf(out, "Platform %zu, %s: no device\n", p, platform->name);
    }
}

void print_device(FILE *out, const qkv_device_info *info) {
    char text[PROPERTY_TEXT_MAX];
    size_t width = 0;
    for (size_t p = 0; p < num_properties; p++)
        if (strlen(properties[p].label) > width) width = strlen(properties[p].label);
    for (size_t p = 0; p < num_properties; p++) {
        property_format(text, &properties[p], info, 0);
        fprintf(out, "%-*s  %s\n", (int)width, properties[p].label, text);
    }
}
