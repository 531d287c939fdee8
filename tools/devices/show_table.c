/* For people: the table of all devices, the line that each gets below it, and what is wrong with the machine. */
#include <stdlib.h>
#include <string.h>

#include "devices/machine.h"
#include "devices/probe.h"
#include "devices/property.h"
#include "devices/show.h"
#include "support/text.h"

enum { GAP = 2, MARK_WIDTH = 3, MAX_COLUMNS = 16, NAME_MIN = 12 };

struct column {
    const struct property *property;
    size_t width;
    bool number; /* aligned to the right */
};

const char *paint(const struct screen *screen, enum colour colour) {
    static const char *const codes[] = {
        [PLAIN] = "\033[0m", [GOOD] = "\033[32m", [MILD] = "\033[33m", [BAD] = "\033[31m", [FAINT] = "\033[2m"};
    return screen->colours ? codes[colour] : "";
}

void print_words(const struct screen *screen, size_t column, const char *text) {
    size_t at = column;
    while (*text) {
        text += strspn(text, " \t\n");
        size_t length = strcspn(text, " \t\n");
        if (length == 0) break;
        char word[512];
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), text);
        size_t width = tool_text_width(word);
        if (at > column && at + 1 + width > screen->width) {
            fprintf(screen->out, "\n%*s", (int)column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', screen->out);
            at++;
        }
        fputs(word, screen->out);
        at += width;
        text += length;
    }
    fputc('\n', screen->out);
}

static size_t collect_columns(struct column *columns, const json_t *devices) {
    size_t count = 0, index;
    char text[VALUE_TEXT_MAX];
    const json_t *device;
    for (size_t p = 0; p < num_properties && count < MAX_COLUMNS; p++) {
        if (!properties[p].heading) continue;
        struct column *column = &columns[count++];
        column->property = &properties[p];
        column->width = strlen(properties[p].heading);
        column->number = properties[p].type == VALUE_COUNT || properties[p].type == VALUE_BYTES;
        json_array_foreach(devices, index, device) {
            property_format(text, column->property, device, true);
            if (tool_text_width(text) > column->width) column->width = tool_text_width(text);
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

enum colour verdict_colour(const json_t *device) {
    const char *verdict = text_at(device, "verdict");
    return strcmp(verdict, "use") == 0 ? GOOD : strcmp(verdict, "refused") == 0 ? BAD : PLAIN;
}

static void print_row(const struct screen *screen, const struct column *columns, size_t count, const json_t *device) {
    char text[VALUE_TEXT_MAX];
    bool is_auto = device && json_is_true(json_object_get(device, "auto"));
    fprintf(screen->out, "%-*s", MARK_WIDTH, is_auto ? "->" : "");
    for (size_t c = 0; c < count; c++) {
        bool last = c + 1 == count;
        bool verdict = device && strcmp(columns[c].property->key, "verdict") == 0;
        if (device)
            property_format(text, columns[c].property, device, true);
        else
            snprintf(text, sizeof text, "%s", columns[c].property->heading);
        if (verdict) fputs(paint(screen, verdict_colour(device)), screen->out);
        if (last && !columns[c].number)
            fputs(text, screen->out);
        else
            tool_text_print(screen->out, text, columns[c].width, columns[c].number);
        if (verdict) fputs(paint(screen, PLAIN), screen->out);
        if (!last) fprintf(screen->out, "%*s", GAP, "");
    }
    fputc('\n', screen->out);
}

/* What the trial showed: how many are as claimed, and each that is not. */
static void print_trial(const struct screen *screen, const json_t *device, size_t indent) {
    const json_t *outcomes = json_object_get(device, "probes");
    char text[VALUE_TEXT_MAX];
    size_t agree = 0, tried = 0;
    if (!outcomes) return;
    for (size_t i = 0; i < num_probes; i++) {
        enum agreement agreement = probe_agreement(json_object_get(outcomes, probes[i].key));
        agree += agreement == AGREES;
        tried += agreement != UNKNOWN;
    }
    fprintf(screen->out, "%*sTried: %zu of %zu capabilities are what the driver claims%s\n", (int)indent, "", agree,
            tried, agree == tried ? "." : "; not these:");
    for (size_t i = 0; i < num_probes; i++) {
        const json_t *outcome = json_object_get(outcomes, probes[i].key);
        enum agreement agreement = probe_agreement(outcome);
        if (agreement == AGREES || agreement == UNKNOWN) continue;
        fprintf(screen->out, "%*s%s%s%s ", (int)indent, "", paint(screen, agreement == LESS ? BAD : MILD),
                agreement == LESS ? "!" : "+", paint(screen, PLAIN));
        format_difference(text, &probes[i], outcome);
        print_words(screen, indent + 2, text);
    }
}

static void print_device_below(const struct screen *screen, const json_t *device) {
    char text[2048];
    bool is_auto = json_is_true(json_object_get(device, "auto"));
    int indent = fprintf(screen->out, "%s%s  ", is_auto ? "-> " : "   ", text_at(device, "selector"));
    snprintf(text, sizeof text, "%s (%s): %s", name_at(device, "name"), name_at(device, "platform"),
             text_at(device, "reason"));
    print_words(screen, (size_t)indent, text);
    if (text_at(device, "advice")[0]) {
        fprintf(screen->out, "%*sWhat would help: ", indent, "");
        print_words(screen, (size_t)indent + 17, text_at(device, "advice"));
    }
    /* Where nothing works, that was the line above. */
    if (strcmp(text_at(device, "verdict"), "refused") != 0) print_trial(screen, device, (size_t)indent);
}

void show_problems(const struct screen *screen, const json_t *machine) {
    size_t index;
    const json_t *problem;
    json_array_foreach(json_object_get(machine, "problems"), index, problem) {
        fprintf(screen->out, "\n%s*%s ", paint(screen, MILD), paint(screen, PLAIN));
        print_words(screen, 2, text_at(problem, "problem"));
        fprintf(screen->out, "  To do: ");
        print_words(screen, 9, text_at(problem, "fix"));
    }
}

/* Which device a program gets, where the environment has a say in it. */
static void print_environment(const struct screen *screen, const json_t *machine) {
    const char *environment = getenv("QKV_DEVICE");
    if (!environment || !environment[0]) return;
    if (text_at(machine, "selected")[0])
        fprintf(screen->out, "\nThe environment's QKV_DEVICE=%s takes %s instead of auto.\n", environment,
                text_at(machine, "selected"));
    else
        fprintf(screen->out, "\n%s\n", text_at(machine, "selection_error"));
}

static void plural(char text[48], size_t count, const char *what) {
    snprintf(text, 48, "%zu %s%s", count, what, count == 1 ? "" : "s");
}

/* For whom OpenCL's words are new. */
static const char column_words[] =
    "-> what auto takes; SELECTOR what QKV_DEVICE and -d name it by; CL C the version of OpenCL's language; UNITS how "
    "many "
    "processors it has; LARGEST the largest single allocation in its memory; LOCAL the fast memory of a work-group.";

void show_table(const struct screen *screen, const json_t *machine, const struct options *options) {
    struct column columns[MAX_COLUMNS];
    const json_t *device, *devices = json_object_get(machine, "devices");
    size_t index, count = collect_columns(columns, devices);
    char platforms[48], number[48];
    plural(platforms, json_array_size(json_object_get(machine, "platforms")), "OpenCL platform");
    plural(number, json_array_size(devices), "device");
    fprintf(screen->out, "libqkv %s: %s, %s\n", text_at(machine, "version"), platforms, number);
    if (json_array_size(devices) > 0) {
        fputc('\n', screen->out);
        fit_columns(columns, count, screen->width);
        print_row(screen, columns, count, NULL);
        json_array_foreach(devices, index, device) {
            print_row(screen, columns, count, device);
        }
        json_array_foreach(devices, index, device) {
            fputc('\n', screen->out);
            print_device_below(screen, device);
        }
        print_environment(screen, machine);
    } else if (json_array_size(json_object_get(machine, "platforms")) == 0) {
        fputs("\nNo OpenCL platform was found: no driver is installed, or none could be loaded.\n", screen->out);
    }
    show_problems(screen, machine);
    if (!best_usable(machine)) {
        if (json_array_size(json_object_get(machine, "platforms")) > 0)
            fputs("\nNo usable OpenCL device was found.\n", screen->out);
        print_packages(screen->out);
    } else if (!options->selector) {
        if (json_array_size(devices) > 1) {
            fputs("\nHow auto chooses: ", screen->out);
            print_words(screen, 18, text_at(machine, "rule"));
        }
        fputs("\nColumns: ", screen->out);
        print_words(screen, 9, column_words);
        fputs("\nqkv-devices -d SELECTOR shows a device in full; --measure, how fast each is.\n", screen->out);
    }
}
