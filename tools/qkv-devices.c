/* qkv-devices: which OpenCL devices there are, what they can really do, which one the library takes, and why. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "devices/child.h"
#include "devices/machine.h"
#include "devices/measure.h"
#include "devices/probe.h"
#include "devices/property.h"
#include "devices/show.h"

static struct screen open_screen(void) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    struct screen screen = {stdout, 100, false};
    if (!isatty(STDOUT_FILENO)) return screen;
    screen.colours = !(no_color && no_color[0]) && term && strcmp(term, "dumb") != 0;
#ifdef TIOCGWINSZ
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        screen.width = size.ws_col < 80 ? 80 : size.ws_col;
#endif
    return screen;
}

/* What only the trial knows need not be tried where nobody asks for it. */
static bool wants_trial(const struct options *options) {
    static const char *const judged[] = {"verdict", "reason", "advice"};
    if (options->no_probe || options->best || (options->view == VIEW_TREE && !options->json)) return false;
    if ((options->measure || options->self_test) && !options->json) return false;
    if (!options->property) return true;
    const struct property *property = property_find(options->property);
    for (size_t i = 0; property && i < sizeof judged / sizeof judged[0]; i++)
        if (strcmp(property->key, judged[i]) == 0) return true;
    return !property;
}

/* Whatever takes its time, on each device that can be used. */
static void work_on_devices(json_t *machine, const struct options *options, const char *only) {
    bool trial = wants_trial(options);
    size_t index, number = 0, count = 0;
    json_t *device, *devices = json_object_get(machine, "devices");
    for (int round = 0; round < 2; round++) {
        json_array_foreach(devices, index, device) {
            if (only && strcmp(only, text_at(device, "selector")) != 0) continue;
            if (!json_is_true(json_object_get(device, "usable"))) continue;
            if (round == 0) {
                count++;
                continue;
            }
            if (trial) try_device(device, options, ++number, count);
            if (options->measure) measure_in_child(device, options->seconds);
            if (options->self_test) self_test_in_child(device, options->seconds);
        }
    }
}

/* What was measured may have changed what the library says of the devices: so every form of output has it. */
static void take_news(json_t *machine, const struct options *options) {
    static const char *const of_device[] = {"verdict",           "reason",         "advice",     "usable", "auto",
                                            "projection_gflops", "prefill_gflops", "decode_gbps"};
    static const char *const of_machine[] = {"auto", "best"}; /* "selected" is what was measured */
    size_t index;
    json_t *device, *after = machine_read(options);
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        const json_t *again = machine_device(after, text_at(device, "selector"));
        if (strcmp(text_at(again, "name"), text_at(device, "name")) != 0) continue;
        for (size_t i = 0; i < sizeof of_device / sizeof of_device[0]; i++)
            if (json_object_get(again, of_device[i]))
                json_object_set(device, of_device[i], json_object_get(again, of_device[i]));
    }
    for (size_t i = 0; i < sizeof of_machine / sizeof of_machine[0]; i++)
        if (json_array_size(json_object_get(after, "devices")) > 0 && json_object_get(after, of_machine[i]))
            json_object_set(machine, of_machine[i], json_object_get(after, of_machine[i]));
    json_decref(after);
}

/* Each device that was to be measured was: a simulator cannot be, unless it is the one asked for or the only one. */
static bool all_measured(const json_t *machine, const char *only) {
    size_t index, good = 0, bad = 0;
    const json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        const json_t *measurement = json_object_get(device, "measurement");
        if (!measurement) continue;
        if (measure_complete(measurement))
            good++;
        else
            bad += only || strcmp(text_at(device, "kind"), "simulator") != 0;
    }
    return good > 0 && bad == 0;
}

/* In JSON there are the devices that were asked for. */
static void drop_others(json_t *machine, const char *only) {
    json_t *devices = json_object_get(machine, "devices");
    for (size_t i = json_array_size(devices); i-- > 0 && only;)
        if (strcmp(only, text_at(json_array_get(devices, i), "selector")) != 0) json_array_remove(devices, i);
}

static void show_one(const struct screen *screen, const json_t *device, const char *selector) {
    const char *environment = getenv("QKV_DEVICE");
    if (selector && strcmp(selector, text_at(device, "selector")) == 0)
        ;
    else if (selector && selector[0])
        fprintf(screen->out, "\"%s\" is %s.\n\n", selector, text_at(device, "selector"));
    else if (selector && environment && environment[0])
        fprintf(screen->out, "QKV_DEVICE=%s is %s.\n\n", environment, text_at(device, "selector"));
    else if (selector)
        fprintf(screen->out, "auto is %s.\n\n", text_at(device, "selector"));
    show_full(screen, device);
}

static void show_every(const struct screen *screen, const json_t *machine) {
    size_t index;
    const json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        fprintf(screen->out, "%s==== %s ====\n", index ? "\n" : "", text_at(device, "selector"));
        show_full(screen, device);
    }
    show_problems(screen, machine);
}

/* What was measured or tested, and what auto makes of it now. */
static void show_work(const struct screen *screen, const json_t *machine, const struct options *options) {
    size_t index, shown = 0;
    const json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (json_object_get(device, "measurement")) {
            if (shown++) fputc('\n', screen->out);
            show_measurement(screen, device);
        }
        if (json_object_get(device, "self_test")) {
            if (shown++) fputc('\n', screen->out);
            show_self_test(screen, device);
        }
    }
    const json_t *chosen = options->measure ? machine_device(machine, text_at(machine, "auto")) : NULL;
    if (!chosen) return;
    const char *reason = text_at(chosen, "reason"), *prefix = "taken by auto: ";
    if (strncmp(reason, prefix, strlen(prefix)) == 0) reason += strlen(prefix);
    fprintf(screen->out, "\nauto takes %s, %s: %s.\nThe rule: ", text_at(chosen, "selector"), name_at(chosen, "name"),
            reason);
    print_words(screen, 10, text_at(machine, "rule"));
}

/* 0, or -1 where it could not be written, or there was nothing to show. */
static int show(const struct screen *screen, json_t *machine, const struct options *options, const char *only) {
    bool found = true;
    if (options->json) {
        drop_others(machine, only);
        return json_file_write(options->json, machine) ? 0 : -1;
    }
    if (options->measure || options->self_test)
        show_work(screen, machine, options);
    else if (options->property)
        found = show_property(screen, machine, options->property, only);
    else if (options->view == VIEW_TREE)
        show_tree(screen, machine);
    else if (options->view == VIEW_SUMMARY)
        show_summary(screen, machine, only);
    else if (options->view == VIEW_RAW)
        show_raw(screen, machine, only);
    else if (only)
        show_one(screen, machine_device(machine, only), options->selector);
    else if (options->view == VIEW_FULL)
        show_every(screen, machine);
    else
        show_table(screen, machine, options);
    if (fflush(screen->out) == 0 && !ferror(screen->out)) return found ? 0 : -1;
    perror("qkv-devices: standard output");
    return -1;
}

/* The views that say themselves what is wrong with the machine. */
static bool shows_machine(const struct options *options) {
    if (options->json) return true;
    if (options->selector || options->measure || options->self_test || options->property || options->best) return false;
    return options->view == VIEW_TABLE || options->view == VIEW_FULL;
}

static bool self_tests_passed(const json_t *machine) {
    size_t index;
    const json_t *device;
    json_array_foreach(json_object_get(machine, "devices"), index, device) {
        if (json_object_get(device, "self_test") && !self_test_passed(device)) return false;
    }
    return true;
}

static int run(const struct screen *screen, json_t *machine, const struct options *options) {
    const char *only = NULL;
    if (options->selector) {
        /* A device that the library refuses may be looked at all the same. */
        only = text_at(machine, "selected")[0] ? text_at(machine, "selected") : NULL;
        if (!only && machine_device(machine, options->selector)) only = options->selector;
        if (!only) fprintf(stderr, "qkv-devices: %s\n", text_at(machine, "selection_error"));
    }
    if (options->best)
        try_best(machine, options);
    else if (only || !options->selector)
        work_on_devices(machine, options, only);
    if (options->measure && (only || !options->selector)) take_news(machine, options);
    if (!options->best) (void)judge_devices(machine, options);
    /* A name or kind that no device fits may be that of hardware without a driver; indices are not. */
    bool unfit = options->selector && !only, missing = unfit && !isdigit((unsigned char)options->selector[0]);
    if (json_array_size(json_object_get(machine, "devices")) == 0 || missing || shows_machine(options)) {
        find_driver_problems(machine, options->seconds);
        find_hardware_problems(machine, options->root);
    }
    const struct screen errors = {stderr, screen->width, false};
    if (unfit && options->json) {
        drop_others(machine, "");
        (void)json_file_write(options->json, machine);
    }
    if ((unfit && !options->json) || !shows_machine(options)) show_problems(&errors, machine);
    if (unfit) return EXIT_NONE;
    if (options->best)
        return measure_best_print(stdout, stderr, json_object_get(machine, "best"), options->best) ? EXIT_NONE
                                                                                                   : EXIT_USABLE;
    if (show(screen, machine, options, only) != 0 || !self_tests_passed(machine)) return EXIT_NONE;
    if (options->measure && !all_measured(machine, only)) return EXIT_NONE;
    if (only)
        return strcmp(text_at(machine_device(machine, only), "verdict"), "refused") == 0 ? EXIT_NONE : EXIT_USABLE;
    return best_usable(machine) ? EXIT_USABLE : EXIT_NONE;
}

int main(int argc, char **argv) {
    struct options options;
    child_program = argv[0];
    if (argc > 1 && strcmp(argv[1], "--child") == 0) {
        int ended = child_main(argc - 2, argv + 2);
        /* All that was found is told: what drivers and CLBlast do when a program ends, crashes among it, is no finding. */
        (void)fflush(NULL);
        _exit(ended);
    }
    int status = parse_options(&options, argc, argv);
    if (status >= 0) return status;
    if (options.json && !json_file_check(options.json)) return EXIT_NONE;

    struct screen screen = open_screen();
    json_t *machine = machine_read(&options);
    status = run(&screen, machine, &options);
    json_decref(machine);
    machine_forget();
    return status;
}
