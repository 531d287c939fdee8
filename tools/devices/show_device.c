/* One device in full, the tree, the summary, --raw and --prop. */
#include <stdlib.h>
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
        fprintf(screen->out, "Platform #%lld: %s\n", index, name_at(platform, "name"));
        json_array_foreach(json_object_get(machine, "devices"), d, device) {
            if (!belongs(device, index)) continue;
            fprintf(screen->out, " %s-- %s  %s (%s)%s\n", --left > 0 ? "+" : "`", text_at(device, "selector"),
                    name_at(device, "name"), text_at(device, "kind"),
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
        fprintf(screen->out, "%s  %s (%s, %s)  %s%s%s: %s\n", text_at(device, "selector"), name_at(device, "name"),
                text_at(device, "kind"), name_at(device, "platform"), paint(screen, verdict_colour(device)), verdict,
                paint(screen, PLAIN), reason);
    }
}

static void raw_row(const struct screen *screen, const json_t *device, const char *name, const char *text) {
    fprintf(screen->out, "[%s]  %-50s  %s\n", text_at(device, "selector"), name, text);
}

static void raw_probe_row(const struct screen *screen, const json_t *device, const char *prefix,
                          const struct probe *probe, const char *text) {
    char name[64];
    probe_raw_name(name, prefix, probe);
    raw_row(screen, device, name, text);
}

static void show_raw_probe(const struct screen *screen, const json_t *device, const struct probe *probe) {
    char text[VALUE_TEXT_MAX];
    const json_t *outcome = json_object_get(json_object_get(device, "probes"), probe->key);
    if (!outcome) return;
    format_found_raw(text, probe, outcome);
    raw_probe_row(screen, device, "QKV_PROBE_", probe, text);
    format_claimed_raw(text, outcome);
    raw_probe_row(screen, device, "QKV_CLAIM_", probe, text);
    if (text_at(outcome, "agreement")[0])
        raw_probe_row(screen, device, "QKV_AGREEMENT_", probe, text_at(outcome, "agreement"));
    if (json_is_true(json_object_get(outcome, "capped"))) raw_probe_row(screen, device, "QKV_CAPPED_", probe, "true");
    if (text_at(outcome, "detail")[0]) raw_probe_row(screen, device, "QKV_DETAIL_", probe, text_at(outcome, "detail"));
}

static void show_raw_platform(const struct screen *screen, const json_t *platform) {
    static const char *const rows[][2] = {{"name", "CL_PLATFORM_NAME"},
                                          {"vendor", "CL_PLATFORM_VENDOR"},
                                          {"version", "CL_PLATFORM_VERSION"},
                                          {"profile", "CL_PLATFORM_PROFILE"},
                                          {"extensions", "CL_PLATFORM_EXTENSIONS"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (json_is_string(json_object_get(platform, rows[i][0])))
            fprintf(screen->out, "[%lld:*]  %-50s  %s\n",
                    (long long)json_integer_value(json_object_get(platform, "index")), rows[i][1],
                    text_at(platform, rows[i][0]));
}

/* What stands in the place of a value is no value: programs would take it for one. */
static bool report_missing(const json_t *device, const char *key, const char *name) {
    const json_t *value = json_object_get(device, key);
    const char *error = json_string_value(json_object_get(json_object_get(device, "errors"), key));
    if (error) fprintf(stderr, "qkv-devices: %s %s: query failed: %s\n", text_at(device, "selector"), name, error);
    return error || !value || json_is_null(value);
}

void show_raw(const struct screen *screen, const json_t *machine, const char *only) {
    size_t index;
    const json_t *device, *platform;
    char text[VALUE_TEXT_MAX];
    json_array_foreach(json_object_get(machine, "platforms"), index, platform) {
        if (!only || strtoll(only, NULL, 10) == json_integer_value(json_object_get(platform, "index")))
            show_raw_platform(screen, platform);
    }
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (!wanted(device, only)) continue;
        for (size_t p = 0; p < num_properties; p++) {
            if (report_missing(device, properties[p].key, properties[p].raw)) continue;
            property_format_raw(text, &properties[p], device);
            raw_row(screen, device, properties[p].raw, text);
        }
        for (size_t i = 0; i < num_probes; i++)
            show_raw_probe(screen, device, &probes[i]);
    }
}

/* False where the device has none; why is said where that is an error, or nothing else would be said. */
static bool property_text(char text[VALUE_TEXT_MAX], const json_t *device, const char *name, const char *only,
                          bool *failed) {
    const struct property *property = property_find(name);
    const struct probe *probe = property ? NULL : probe_find(name);
    if (property && report_missing(device, property->key, name)) {
        bool error = json_object_get(json_object_get(device, "errors"), property->key) != NULL;
        *failed |= error;
        if (only && !error) fprintf(stderr, "qkv-devices: %s does not offer %s\n", only, name);
        return false;
    }
    if (property) {
        property_format_raw(text, property, device);
        return true;
    }
    const json_t *outcome = json_object_get(json_object_get(device, "probes"), probe->key);
    if (!outcome)
        fprintf(stderr, "qkv-devices: %s %s: not tried\n", text_at(device, "selector"), name);
    else if (probe_name_is_claim(name))
        format_claimed_raw(text, outcome);
    else
        format_found_raw(text, probe, outcome);
    return outcome != NULL;
}

bool show_property(const struct screen *screen, const json_t *machine, const char *name, const char *only) {
    size_t index, shown = 0;
    const json_t *device;
    char text[VALUE_TEXT_MAX];
    bool failed = false;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (!wanted(device, only) || !property_text(text, device, name, only, &failed)) continue;
        shown++;
        if (only)
            fprintf(screen->out, "%s\n", text);
        else
            fprintf(screen->out, "%s  %s\n", text_at(device, "selector"), text);
    }
    return shown > 0 && !failed;
}

int write_json(FILE *out, const json_t *machine) {
    return json_dumpf(machine, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF;
}
