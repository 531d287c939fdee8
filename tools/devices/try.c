/* Has a device's probes run by children, one after the other as far as crashes make it necessary. */
#include <stdlib.h>
#include <string.h>

#include "devices/child.h"
#include "devices/machine.h"
#include "devices/probe.h"
#include "devices/property.h"
#include "support/error.h"
#include "support/progress.h"

/* A driver that crashes at every second probe has said enough. */
#define MAX_CRASHES 3

struct trial {
    json_t *outcomes;
    size_t next;  /* the probe that runs, or comes next */
    bool running; /* it was announced and not finished */
    struct tool_progress progress;
};

static void take_outcome(void *user, json_t *line) {
    struct trial *trial = user;
    const char *begun = json_string_value(json_object_get(line, "begin"));
    const char *ended = json_string_value(json_object_get(line, "end"));
    json_t *outcome = json_object_get(line, "outcome");
    if (begun) trial->running = true;
    if (!ended || trial->next >= num_probes || strcmp(ended, probes[trial->next].key) != 0 || !outcome) return;
    json_object_set(trial->outcomes, ended, outcome);
    trial->running = false;
    tool_progress_step(&trial->progress, ++trial->next);
}

static void put(struct trial *trial, enum probe_state state, const char *detail) {
    json_t *outcome = json_object();
    json_object_set_new(outcome, "claimed", json_null());
    json_object_set_new(outcome, "state", json_string(probe_state_names[state]));
    json_object_set_new(outcome, "value", json_null());
    json_object_set_new(outcome, "capped", json_false());
    json_object_set_new(outcome, "detail", text_value(detail));
    json_object_set_new(trial->outcomes, probes[trial->next++].key, outcome);
    trial->running = false;
}

/* It did something, and ended between two probes: no probe is to blame, another child does the rest. */
static bool leaves_rest(const struct trial *trial, const struct child_end *end, size_t first) {
    return trial->next > first && !trial->running && !end->timed_out;
}

/* The probe that brought the child down. True if another child should go on after it. */
static bool blame(struct trial *trial, const struct child_end *end, double limit, size_t crashes) {
    char what[96], detail[400];
    const struct probe *probe = &probes[trial->next];
    const char *words = end->words + strspn(end->words, " ");
    child_describe(what, sizeof what, end, limit);
    snprintf(detail, sizeof detail, "the driver %s%s%s", what, words[0] ? ": " : "", words);
    put(trial, end->timed_out ? PROBE_HUNG : PROBE_CRASHED, detail);
    return !end->timed_out && !probe_fails_essential(probe, json_object_get(trial->outcomes, probe->key)) &&
           crashes < MAX_CRASHES;
}

static bool essential_failed(const struct trial *trial) {
    for (size_t i = 0; i < trial->next; i++) {
        if (probe_fails_essential(&probes[i], json_object_get(trial->outcomes, probes[i].key))) return true;
    }
    return false;
}

static json_t *agreement_value(enum agreement agreement) {
    return agreement == AGREES ? json_string("as claimed")
           : agreement == MORE ? json_string("more")
           : agreement == LESS ? json_string("less")
                               : json_null();
}

void try_device(json_t *device, const struct options *options, size_t number, size_t count) {
    char label[96], from[24];
    const char *selector = json_string_value(json_object_get(device, "selector"));
    struct trial trial = {.outcomes = json_object()};
    double begin = tool_clock_ms();
    size_t crashes = 0;
    bool go_on = true;
    snprintf(label, sizeof label, "trying %s (%zu of %zu)", selector, number, count);
    tool_progress_start(&trial.progress, label, num_probes);
    while (go_on && trial.next < num_probes) {
        const size_t first = trial.next;
        struct child_end end;
        double left = options->seconds - (tool_clock_ms() - begin) * 1e-3;
        snprintf(from, sizeof from, "%zu", trial.next);
        const char *const arguments[] = {"probe", selector, from, options->measure_memory ? "memory" : "", NULL};
        if (left <= 0 || !child_run(&end, arguments, left, take_outcome, &trial)) break;
        if (trial.next == num_probes) break;
        go_on = !essential_failed(&trial) &&
                (leaves_rest(&trial, &end, first) || blame(&trial, &end, options->seconds, ++crashes));
    }
    while (trial.next < num_probes)
        put(&trial, PROBE_SKIPPED, crashes ? "after that crash" : "");
    tool_progress_clear(&trial.progress);
    for (size_t i = 0; i < num_probes; i++) {
        json_t *outcome = json_object_get(trial.outcomes, probes[i].key);
        json_object_set_new(outcome, "agreement", agreement_value(probe_agreement(outcome)));
    }
    json_object_set_new(device, "probes", trial.outcomes);
}

enum agreement probe_agreement(const json_t *outcome) {
    const json_t *claimed = json_object_get(outcome, "claimed"), *value = json_object_get(outcome, "value");
    const char *state = json_string_value(json_object_get(outcome, "state"));
    if (!state || strcmp(state, "skipped") == 0) return UNKNOWN;
    bool works = strcmp(state, "works") == 0;
    bool clean = works || strcmp(state, "absent") == 0 || strcmp(state, "wrong") == 0 || strcmp(state, "failed") == 0;
    if (!clean) return LESS;
    if (json_is_boolean(claimed)) {
        if (works) return json_is_true(claimed) ? AGREES : MORE;
        return json_is_true(claimed) ? LESS : AGREES;
    }
    /* Not there is no fault where nobody said that it is. */
    if (json_is_null(claimed) && strcmp(state, "absent") == 0) return UNKNOWN;
    if (!works) return LESS;
    if (!json_is_integer(claimed) || !json_is_integer(value)) return UNKNOWN;
    if (json_is_true(json_object_get(outcome, "capped"))) return AGREES;
    return json_integer_value(value) < json_integer_value(claimed) ? LESS : AGREES;
}
