/*
 * What the tool knows of the machine, as the JSON document that every form of output is made from:
 *   {"schema": 2, "version": ..., "platforms": [...], "devices": [...], "auto": "P:D" or null, "problems": [...]}
 * tests/data/qkv-devices.schema.json describes it.
 */
#ifndef QKV_TOOLS_DEVICES_MACHINE_H
#define QKV_TOOLS_DEVICES_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { SCHEMA_VERSION = 2 };

struct options {
    const char *selector; /* NULL: all devices */
    const char *json;     /* NULL: not asked for; "-": standard output */
    const char *property; /* --prop */
    enum view { VIEW_TABLE, VIEW_TREE, VIEW_SUMMARY, VIEW_FULL, VIEW_RAW } view;
    bool no_probe;
    bool measure, measure_memory, self_test;
    const char *best; /* "prefill", "decode" or "projection" */
    double seconds;   /* a device may take */
    const char *root; /* before /dev and /sys, for tests */
};

/* options.c. Goes on to run (-1), or says with which status to exit. */
enum { EXIT_USABLE = 0, EXIT_NONE = 1, EXIT_USAGE = 2 };
int parse_options(struct options *options, int argc, char **argv);

/* machine.c. Lists; a driver that kills the listing is found, named among the problems and left out. */
json_t *machine_read(const struct options *options);
void machine_forget(void); /* what machine_read() left on disk */
/* The device whose selector this is, or NULL. */
json_t *machine_device(const json_t *machine, const char *selector);
void add_problem(json_t *machine, const char *fix, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* try.c. Adds "probes" to the device. */
void try_device(json_t *device, const struct options *options, size_t number, size_t count);
enum agreement { AGREES, MORE, LESS, UNKNOWN };
/* What was found beside what was claimed. */
enum agreement probe_agreement(const json_t *outcome);

/* work.c. Add "measurement" and "self_test" to the device. */
void measure_in_child(json_t *device, double seconds);
void self_test_in_child(json_t *device, double seconds);
bool self_test_passed(const json_t *device);

/* verdict.c. The library's verdict, but "refused" where a device did not stand the trial: what is best is then found
 * anew among the rest. True if there was one. */
bool judge_devices(json_t *machine, const struct options *options);
/* Tries the device that --best would name, and the next one where that is refused. */
void try_best(json_t *machine, const struct options *options);
/* Selectors, a blank on either side of each: what a listing leaves out where it says which is best. For the child. */
#define WITHOUT_VARIABLE "QKV_DEVICES_WITHOUT"
/* The device that is best to name where "auto" takes one that does not work; NULL where there is none. */
const char *best_usable(const json_t *machine);

/* check_drivers.c, hardware.c: what is wrong with the machine, as problems. */
void find_driver_problems(json_t *machine, double seconds);
void find_hardware_problems(json_t *machine, const char *root);
void print_packages(FILE *out); /* which package brings a driver */

/* ---- output ---- */
struct screen {
    FILE *out;
    size_t width;
    bool colours;
};
enum colour { PLAIN, GOOD, MILD, BAD, FAINT };
const char *paint(const struct screen *screen, enum colour colour); /* PLAIN ends a colour */

void show_table(const struct screen *screen, const json_t *machine, const struct options *options);
void show_full(const struct screen *screen, const json_t *device);
void show_tree(const struct screen *screen, const json_t *machine);
void show_summary(const struct screen *screen, const json_t *machine, const char *only);
void show_raw(const struct screen *screen, const json_t *machine, const char *only);
/* False where no device has a value of it, or a query of it failed: said on standard error. */
bool show_property(const struct screen *screen, const json_t *machine, const char *name, const char *only);
void show_measurement(const struct screen *screen, const json_t *device);
void show_self_test(const struct screen *screen, const json_t *device);
void show_problems(const struct screen *screen, const json_t *machine);
/* Prints words, breaking lines at the screen's width; `column` is where the text begins, and its further lines do. */
void print_words(const struct screen *screen, size_t column, const char *text);
/* json_file.c. Can the file be written? Says why not. */
bool json_file_check(const char *path);
bool json_file_write(const char *path, const json_t *machine); /* false and a line on standard error */
/* 0 if written. */
int write_json(FILE *out, const json_t *machine);

#endif
