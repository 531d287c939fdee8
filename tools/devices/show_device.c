/* One device in full, the tree, the summary, --raw and --prop. */
#include <string.h>

#include "devices/machine.h"
#include "devices/show.h"
#include "support/text.h"

static bool in_section(size_t index, enum section section, const json_t *device) {
    const struct property *property = &properties[index];
    const json_t *value = json_object_get(device, property->key);
    if (property->section != section) return false;
    /* What an older version or another vendor's device cannot have says nothing of this one. */
    if (!value || json_is_null(value)) return json_object_get(json_object_get(device, "errors"), property->key) != NULL;
    return !(json_is_string(value) && json_string_value(value)[0] == '\0');
}

static void show_section(const struct screen *screen, const json_t *device, enum section section, size_t width) {
    char text[VALUE_TEXT_MAX];
    bool any = false;
    for (size_t p = 0; p < num_properties; p++) {
        if (!in_section(p, section, device)) continue;
        if (!any) fprintf(screen->out, "%s%s\n", section ? "\n" : "", property_sections[section]);
        any = true;
        property_format(text, &properties[p], device, false);
        bool verdict = strcmp(properties[p].key, "verdict") == 0;
        bool failed = json_object_get(json_object_get(device, "errors"), properties[p].key) != NULL;
        fprintf(screen->out, "  %-*s  %s", (int)width, properties[p].label,
                paint(screen, failed    ? BAD
                              : verdict ? verdict_colour(device)
                                        : PLAIN));
        print_words(screen, width + 4, text);
        fputs(paint(screen, PLAIN), screen->out);
    }
}

static void show_trial(const struct screen *screen, const json_t *device) {
    enum { CLAIM_WIDTH = 10 };
    const json_t *outcomes = json_object_get(device, "probes");
    char text[VALUE_TEXT_MAX], claimed[64];
    size_t width = 0;
    if (!outcomes) return;
    for (size_t i = 0; i < num_probes; i++)
        if (strlen(probes[i].label) > width) width = strlen(probes[i].label);
    fprintf(screen->out, "\n%-*s  %-*s  %s\n", (int)width + 4, "Tried on the device", CLAIM_WIDTH, "claimed", "found");
    for (size_t i = 0; i < num_probes; i++) {
        const json_t *outcome = json_object_get(outcomes, probes[i].key);
        enum agreement agreement = probe_agreement(outcome);
        enum colour colour = agreement == LESS ? BAD : agreement == MORE ? MILD : PLAIN;
        format_claimed(claimed, &probes[i], outcome);
        format_found(text, &probes[i], outcome);
        fprintf(screen->out, "%s%c%s %-*s    %-*s  ", paint(screen, colour),
                agreement == LESS   ? '!'
                : agreement == MORE ? '+'
                                    : ' ',
                paint(screen, PLAIN), (int)width, probes[i].label, CLAIM_WIDTH, claimed);
        print_words(screen, width + CLAIM_WIDTH + 8, text);
    }
    fputs("  !: less than the driver claims, or broken; +: more\n", screen->out);
}

void show_full(const struct screen *screen, const json_t *device) {
    size_t width = 0;
    for (size_t p = 0; p < num_properties; p++)
        for (enum section s = 0; s < NUM_SECTIONS; s++)
            if (in_section(p, s, device) && strlen(properties[p].label) > width) width = strlen(properties[p].label);
    for (enum section section = 0; section < NUM_SECTIONS; section++) {
        show_section(screen, device, section, width);
        if (section == SECTION_CHOICE) show_trial(screen, device);
    }
}

static bool belongs(const json_t *device, long long platform) {
    long long number = -1;
    (void)sscanf(text_at(device, "selector"), "%lld:", &number);
    return number == platform;
}

void show_tree(const struct screen *screen, const json_t *machine) {
    size_t p, d;
    const json_t *platform, *device;
    json_array_foreach(json_object_get(machine, "platforms"), p, platform) {
        long long index = json_integer_value(json_object_get(platform, "index"));
        long long left = json_integer_value(json_object_get(platform, "num_devices"));
        fprintf(screen->out, "Platform #%lld: %s\n", index, text_at(platform, "name"));
        json_array_foreach(json_object_get(machine, "devices"), d, device) {
            if (!belongs(device, index)) continue;
            fprintf(screen->out, " %s-- %s  %s (%s)%s\n", --left > 0 ? "+" : "`", text_at(device, "selector"),
                    text_at(device, "name"), text_at(device, "kind"),
                    json_is_true(json_object_get(device, "auto")) ? " <- auto" : "");
        }
    }
}

static bool wanted(const json_t *device, const char *only) {
    return !only || strcmp(only, text_at(device, "selector")) == 0;
}

void show_summary(const struct screen *screen, const json_t *machine, const char *only) {
    size_t index;
    const json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (!wanted(device, only)) continue;
        const char *verdict = text_at(device, "verdict"), *reason = text_at(device, "reason");
        /* "usable; auto prefers ..." need not be said twice. */
        if (strncmp(reason, verdict, strlen(verdict)) == 0)
            reason += strlen(verdict) + strspn(reason + strlen(verdict), ";: ");
        fprintf(screen->out, "%s  %s (%s, %s)  %s%s%s: %s\n", text_at(device, "selector"), text_at(device, "name"),
                text_at(device, "kind"), text_at(device, "platform"), paint(screen, verdict_colour(device)), verdict,
                paint(screen, PLAIN), reason);
    }
}

static void raw_row(const struct screen *screen, const json_t *device, const char *name, const char *text) {
    fprintf(screen->out, "[%s]  %-50s  %s\n", text_at(device, "selector"), name, text);
}

static void raw_probe_name(char name[64], const char *prefix, const struct probe *probe) {
    size_t length = (size_t)snprintf(name, 64, "%s%s", prefix, probe->key);
    for (size_t i = 0; i < length && i < 64; i++)
        if (name[i] >= 'a' && name[i] <= 'z') name[i] = (char)(name[i] - 'a' + 'A');
}

void show_raw(const struct screen *screen, const json_t *machine, const char *only) {
    size_t index;
    const json_t *device;
    char text[VALUE_TEXT_MAX], name[64], claimed[64];
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        const json_t *errors = json_object_get(device, "errors"), *outcomes = json_object_get(device, "probes");
        if (!wanted(device, only)) continue;
        for (size_t p = 0; p < num_properties; p++) {
            const json_t *value = json_object_get(device, properties[p].key);
            if ((!value || json_is_null(value)) && !json_object_get(errors, properties[p].key)) continue;
            property_format_raw(text, &properties[p], device);
            raw_row(screen, device, properties[p].raw, text);
        }
        for (size_t i = 0; i < num_probes && outcomes; i++) {
            const json_t *outcome = json_object_get(outcomes, probes[i].key);
            const json_t *claim = json_object_get(outcome, "claimed");
            raw_probe_name(name, "QKV_PROBE_", &probes[i]);
            format_found_raw(text, &probes[i], outcome);
            raw_row(screen, device, name, text);
            raw_probe_name(name, "QKV_CLAIM_", &probes[i]);
            snprintf(claimed, sizeof claimed, "%lld", (long long)json_integer_value(claim));
            raw_row(screen, device, name,
                    json_is_boolean(claim) ? json_is_true(claim) ? "true" : "false"
                    : json_is_null(claim)  ? "unknown"
                                           : claimed);
        }
    }
}

bool show_property(const struct screen *screen, const json_t *machine, const char *name, const char *only) {
    size_t index;
    const json_t *device;
    char text[VALUE_TEXT_MAX];
    const struct property *property = property_find(name);
    const struct probe *probe = property ? NULL : probe_find(name);
    if (!property && !probe) return false;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (!wanted(device, only)) continue;
        if (property)
            property_format_raw(text, property, device);
        else
            format_found_raw(text, probe, json_object_get(json_object_get(device, "probes"), probe->key));
        if (only)
            fprintf(screen->out, "%s\n", text);
        else
            fprintf(screen->out, "%s  %s\n", text_at(device, "selector"), text);
    }
    return true;
}

int write_json(FILE *out, const json_t *machine) {
    return json_dumpf(machine, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF;
}
