/* What was claimed and what was found, in words. */
#include <string.h>

#include "devices/show.h"

static void format_amount(char text[64], const struct probe *probe, json_int_t value) {
    if (probe->unit == PROBE_BYTES)
        format_bytes(text, 64, value);
    else
        snprintf(text, 64, "%lld", (long long)value);
}

void format_claimed(char text[64], const struct probe *probe, const json_t *outcome) {
    const json_t *claimed = json_object_get(outcome, "claimed");
    if (json_is_boolean(claimed))
        snprintf(text, 64, "%s", json_is_true(claimed) ? "yes" : "no");
    else if (json_is_integer(claimed))
        format_amount(text, probe, json_integer_value(claimed));
    else
        snprintf(text, 64, "-");
}

/* One word or amount. */
static void format_state(char text[64], const struct probe *probe, const json_t *outcome) {
    static const struct {
        const char *state, *word;
    } words[] = {{"works", "yes"},       {"absent", "no"},  {"wrong", "wrong"},      {"failed", "fails"},
                 {"crashed", "crashes"}, {"hung", "hangs"}, {"skipped", "not tried"}};
    const json_t *value = json_object_get(outcome, "value");
    const char *state = text_at(outcome, "state");
    snprintf(text, 64, "%s", state);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(state, words[i].state) == 0) snprintf(text, 64, "%s", words[i].word);
    if (json_is_integer(value)) format_amount(text, probe, json_integer_value(value));
}

void format_found(char text[VALUE_TEXT_MAX], const struct probe *probe, const json_t *outcome) {
    char state[64];
    const char *detail = text_at(outcome, "detail");
    format_state(state, probe, outcome);
    snprintf(text, VALUE_TEXT_MAX, "%s%s%s", state, detail[0] ? ": " : "", detail);
}

void format_claimed_raw(char text[VALUE_TEXT_MAX], const json_t *outcome) {
    const json_t *claim = json_object_get(outcome, "claimed");
    if (json_is_integer(claim))
        snprintf(text, VALUE_TEXT_MAX, "%lld", (long long)json_integer_value(claim));
    else
        snprintf(text, VALUE_TEXT_MAX, "%s", json_is_true(claim) ? "true" : json_is_false(claim) ? "false" : "unknown");
}

void format_found_raw(char text[VALUE_TEXT_MAX], const struct probe *probe, const json_t *outcome) {
    const json_t *value = json_object_get(outcome, "value");
    (void)probe;
    if (json_is_integer(value))
        snprintf(text, VALUE_TEXT_MAX, "%lld", (long long)json_integer_value(value));
    else
        snprintf(text, VALUE_TEXT_MAX, "%s", text_at(outcome, "state"));
}

void format_difference(char text[VALUE_TEXT_MAX], const struct probe *probe, const json_t *outcome) {
    char claimed[64], found[VALUE_TEXT_MAX - 256];
    const json_t *claim = json_object_get(outcome, "claimed");
    const char *state = text_at(outcome, "state"), *detail = text_at(outcome, "detail");
    format_claimed(claimed, probe, outcome);
    snprintf(found, sizeof found, "%s%s", detail[0] ? ": " : "", detail);
    if (json_is_integer(claim)) {
        char amount[64];
        format_state(amount, probe, outcome);
        snprintf(text, VALUE_TEXT_MAX, "%s: %s of the %s claimed%s", probe->label,
                 json_is_integer(json_object_get(outcome, "value")) ? amount : "nothing", claimed, found);
    } else if (strcmp(state, "works") == 0) {
        snprintf(text, VALUE_TEXT_MAX, "%s: yes, though not claimed%s", probe->label, found);
    } else if (json_is_true(claim)) {
        char word[64];
        format_state(word, probe, outcome);
        snprintf(text, VALUE_TEXT_MAX, "%s: claimed, but %s%s", probe->label,
                 strcmp(state, "absent") == 0 ? "not there" : word, found);
    } else {
        snprintf(text, VALUE_TEXT_MAX, "%s%s", probe->label, found);
    }
}
