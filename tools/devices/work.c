/* What takes its time with a device: measuring it, and trying the library's solvers on it. Each in a child. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/child.h"
#include "devices/machine.h"
#include "devices/measure.h"
#include "devices/property.h"
#include "devices/show.h"

/* Measuring and self-tests compile far more than the probes do. */
#define PATIENCE 10

/* ---- in the child ---- */
static void tell_text(const char *key, const char *text) {
    json_t *line = json_object();
    json_object_set_new(line, key, text ? text_value(text) : json_null());
    child_tell(line);
}

static void tell_progress(void *user, const char *what) {
    (void)user;
    tell_text("progress", what);
}

int child_measure(const char *selector) {
    struct measurement measurement;
    json_t *line = json_object();
    int failed = measure_device(&measurement, selector, tell_progress, NULL);
    json_object_set_new(line, "measurement", measure_json(&measurement));
    child_tell(line);
    return failed ? 1 : 0;
}

static const char *const verdicts[] = {[QKV_VERDICT_TRYING] = "crashed",
                                       [QKV_VERDICT_PASSED] = "passed",
                                       [QKV_VERDICT_FAILED] = "failed",
                                       [QKV_VERDICT_NOT_APPLICABLE] = "not applicable"};

static void tell_result(void *user, const qkv_self_test_result *result) {
    json_t *row = json_object(), *line = json_object();
    (void)user;
    json_object_set_new(row, "operation", text_value(result->operation));
    json_object_set_new(row, "solver", text_value(result->solver));
    json_object_set_new(row, "variant", text_value(result->variant));
    json_object_set_new(row, "verdict", json_string(verdicts[result->verdict]));
    json_object_set_new(row, "reason", text_value(result->reason));
    json_object_set_new(row, "milliseconds", json_real(result->milliseconds));
    json_object_set_new(line, result->verdict == QKV_VERDICT_TRYING ? "trying" : "row", row);
    child_tell(line);
}

int child_self_test(const char *selector) {
    qkv_context *context;
    if (qkv_context_create(&context, selector, NULL) != QKV_OK) {
        tell_text("error", qkv_error_message());
        return 1;
    }
    qkv_status status = qkv_context_self_test(context, tell_result, NULL);
    if (status != QKV_OK) tell_text("error", qkv_error_message());
    qkv_context_destroy(context);
    return status != QKV_OK;
}

/* ---- in the parent ---- */
static void take_measurement(void *user, json_t *line) {
    json_t *device = user;
    const json_t *progress = json_object_get(line, "progress");
    if (progress) measure_show_progress(stderr, json_string_value(progress));
    if (json_object_get(line, "measurement"))
        json_object_set(device, "measurement", json_object_get(line, "measurement"));
}

void measure_in_child(json_t *device, double seconds) {
    struct child_end end;
    struct measurement failed;
    char what[128];
    const char *const arguments[] = {"measure", text_at(device, "selector"), NULL};
    bool started = child_run(&end, arguments, seconds * PATIENCE, take_measurement, device);
    measure_show_progress(stderr, NULL);
    if (json_object_get(device, "measurement")) return;
    child_describe(what, sizeof what, &end, seconds * PATIENCE);
    memset(&failed, 0, sizeof failed);
    snprintf(failed.selector, sizeof failed.selector, "%s", text_at(device, "selector"));
    snprintf(failed.device, sizeof failed.device, "%s", name_at(device, "name"));
    snprintf(failed.error, sizeof failed.error, "the driver %s%s%s", started ? what : "could not be started",
             end.words[0] ? ": " : "", end.words);
    json_object_set_new(device, "measurement", measure_json(&failed));
}

void show_measurement(const struct screen *screen, const json_t *device) {
    struct measurement measurement;
    measure_from_json(&measurement, json_object_get(device, "measurement"));
    measure_print(screen->out, &measurement);
}

static void take_result(void *user, json_t *line) {
    json_t *device = user;
    json_t *row = json_object_get(line, "row"), *trying = json_object_get(line, "trying");
    if (trying) {
        char text[160];
        snprintf(text, sizeof text, "%s %s %s", text_at(trying, "operation"), text_at(trying, "solver"),
                 text_at(trying, "variant"));
        measure_show_progress(stderr, text);
        json_object_set(device, "trying", trying);
    }
    if (row) {
        json_array_append(json_object_get(device, "self_test"), row);
        json_object_del(device, "trying");
    }
    if (json_object_get(line, "error")) json_object_set(device, "self_test_error", json_object_get(line, "error"));
}

/* The solver that the driver did not survive is a row like the others. */
static void blame_solver(json_t *device, const struct child_end *end, double seconds) {
    char what[128], reason[400];
    json_t *trying = json_object_get(device, "trying");
    child_describe(what, sizeof what, end, seconds);
    snprintf(reason, sizeof reason, "the driver %s%s%s", what, end->words[0] ? ": " : "", end->words);
    if (!child_good(end) && trying) {
        json_object_set_new(trying, "reason", text_value(reason));
        if (end->timed_out) json_object_set_new(trying, "verdict", json_string("hung"));
        json_array_append(json_object_get(device, "self_test"), trying);
    } else if (!child_good(end) && !json_object_get(device, "self_test_error")) {
        json_object_set_new(device, "self_test_error", text_value(reason));
    }
    json_object_del(device, "trying");
}

void self_test_in_child(json_t *device, double seconds) {
    struct child_end end;
    const char *const arguments[] = {"self-test", text_at(device, "selector"), NULL};
    json_object_set_new(device, "self_test", json_array());
    if (!child_run(&end, arguments, seconds * PATIENCE, take_result, device)) end.status = 127;
    measure_show_progress(stderr, NULL);
    blame_solver(device, &end, seconds * PATIENCE);
}

static bool is_sound(const char *verdict) {
    return strcmp(verdict, "passed") == 0 || strcmp(verdict, "not applicable") == 0;
}

void show_self_test(const struct screen *screen, const json_t *device) {
    size_t index;
    const json_t *row;
    fprintf(screen->out, "%s  %s (%s)\n", text_at(device, "selector"), name_at(device, "name"),
            name_at(device, "platform"));
    if (json_array_size(json_object_get(device, "self_test")) > 0)
        fprintf(screen->out, "  %-9s  %-7s  %-16s  %-14s  %s\n", "OPERATION", "SOLVER", "WITH", "KNOWN ANSWER",
                "BUILT AND TRIED IN");
    json_array_foreach(json_object_get(device, "self_test"), index, row) {
        const char *verdict = text_at(row, "verdict");
        bool sound = is_sound(verdict);
        fprintf(screen->out, "  %-9s  %-7s  %-16s  %s%-14s%s  %6.0f ms\n", text_at(row, "operation"),
                text_at(row, "solver"), text_at(row, "variant"), paint(screen, sound ? GOOD : BAD), verdict,
                paint(screen, PLAIN), json_number_value(json_object_get(row, "milliseconds")));
        /* How a solver that passed was set up is for --json. */
        if (strcmp(verdict, "passed") == 0 || !text_at(row, "reason")[0]) continue;
        fprintf(screen->out, "      ");
        print_words(screen, 6, text_at(row, "reason"));
    }
    if (text_at(device, "self_test_error")[0]) fprintf(screen->out, "  %s\n", text_at(device, "self_test_error"));
}

bool self_test_passed(const json_t *device) {
    size_t index;
    const json_t *row, *rows = json_object_get(device, "self_test");
    json_array_foreach(rows, index, row) {
        if (!is_sound(text_at(row, "verdict"))) return false;
    }
    return json_array_size(rows) > 0 && !json_object_get(device, "self_test_error");
}
