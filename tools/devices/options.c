/* The command line. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "devices/machine.h"
#include "devices/probe.h"
#include "devices/property.h"

static const char usage[] = "Usage: qkv-devices [OPTION...]\n"
                            "Which OpenCL devices there are, what they can really do, which one libqkv takes,\n"
                            "and why. What drivers claim is tried out with small kernels, in processes of\n"
                            "their own: a driver that crashes or hangs costs one line.\n"
                            "\n"
                            "What to show, one of these (without any: a table, the verdict on each device,\n"
                            "and what is wrong with the machine):\n"
                            "  -d, --device SELECTOR  one device in full: auto, cpu, gpu, P:D (platform and\n"
                            "                         device index), or part of a device's or platform's\n"
                            "                         name; with the others but -a and -l, that one only\n"
                            "  -a, --all              every device in full\n"
                            "  -l, --list             the tree of platforms and devices; nothing is tried\n"
                            "      --summary          one line a device\n"
                            "      --raw              one line a property, with OpenCL's names\n"
                            "  -p, --prop NAME        one property of each device, or of the one -d names,\n"
                            "                         as --raw prints it; NAME is a key of --json or a name\n"
                            "                         of --raw; \"help\" lists them\n"
                            "  -j, --json [FILE|-]    everything as JSON, into FILE or to standard output\n"
                            "\n"
                            "      --best WORK        the selector of the best device for prefill, decode or\n"
                            "                         projection, alone on a line:\n"
                            "                         QKV_DEVICE=$(qkv-devices --best decode)\n"
                            "\n"
                            "What to do with a device (with each of them, or the one -d names):\n"
                            "      --measure          how fast it is, and how fast the library is on it;\n"
                            "                         kept for auto where QKV_CACHE_DIR names a folder\n"
                            "      --self-test        every solver of the library against known answers\n"
                            "\n"
                            "What to try:\n"
                            "      --no-probe         nothing: only what the drivers claim\n"
                            "      --measure-memory   allocations up to what the driver claims, not just a\n"
                            "                         quarter of the free memory\n"
                            "      --timeout SECONDS  for a device's trials, and for the listing (60)\n"
                            "      --root DIR         hardware without a driver is looked for in DIR/dev and\n"
                            "                         DIR/sys\n"
                            "\n"
                            "  -h, --help             this text\n"
                            "  -V, --version          the version\n"
                            "\n"
                            "Exit status: 0 if there is a usable device (the one asked for), 1 if not or if\n"
                            "something failed, 2 for a wrong option.\n";

enum long_option {
    OPTION_SUMMARY = 256,
    OPTION_RAW,
    OPTION_NO_PROBE,
    OPTION_MEASURE,
    OPTION_MEASURE_MEMORY,
    OPTION_SELF_TEST,
    OPTION_BEST,
    OPTION_TIMEOUT,
    OPTION_ROOT
};

static const struct option names[] = {
    {"device", required_argument, NULL, 'd'},
    {"all", no_argument, NULL, 'a'},
    {"list", no_argument, NULL, 'l'},
    {"summary", no_argument, NULL, OPTION_SUMMARY},
    {"raw", no_argument, NULL, OPTION_RAW},
    {"prop", required_argument, NULL, 'p'},
    {"json", optional_argument, NULL, 'j'},
    {"no-probe", no_argument, NULL, OPTION_NO_PROBE},
    {"measure", no_argument, NULL, OPTION_MEASURE},
    {"measure-memory", no_argument, NULL, OPTION_MEASURE_MEMORY},
    {"self-test", no_argument, NULL, OPTION_SELF_TEST},
    {"best", required_argument, NULL, OPTION_BEST},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"root", required_argument, NULL, OPTION_ROOT},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static int wrong(const char *option, const char *value, const char *expected) {
    fprintf(stderr, "qkv-devices: %s \"%s\": %s\nqkv-devices --help lists the options.\n", option, value, expected);
    return EXIT_USAGE;
}

/* What was printed may not have got anywhere. */
static int written(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_USABLE;
    perror("qkv-devices: standard output");
    return EXIT_NONE;
}

static int parse_timeout(struct options *options, const char *text) {
    char *end;
    options->seconds = strtod(text, &end);
    if (*end || !(options->seconds >= 0.1 && options->seconds <= 86400))
        return wrong("--timeout", text, "give seconds, from 0.1 to 86400");
    return -1;
}

static int parse_best(struct options *options, const char *text) {
    static const char *const works[] = {"prefill", "decode", "projection"};
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
        if (strcmp(text, works[i]) == 0) options->best = works[i];
    return options->best ? -1 : wrong("--best", text, "it is prefill, decode or projection");
}

/* "--json FILE" as well as "--json=FILE": the next word, unless it is an option. */
static const char *json_file(int argc, char **argv) {
    if (optarg) return optarg;
    if (optind < argc && (argv[optind][0] != '-' || strcmp(argv[optind], "-") == 0)) return argv[optind++];
    return "-";
}

static int list_properties(void) {
    char raw[64];
    for (size_t i = 0; i < num_properties; i++)
        printf("%-28s %-52s %s\n", properties[i].key, properties[i].raw, properties[i].label);
    for (size_t i = 0; i < num_probes; i++) {
        probe_raw_name(raw, "QKV_PROBE_", &probes[i]);
        printf("%-28s %-52s tried: %s\n", probes[i].key, raw, probes[i].label);
        probe_raw_name(raw, "QKV_CLAIM_", &probes[i]);
        printf("%-28s %-52s claimed: %s\n", raw, raw, probes[i].label);
    }
    return written();
}

/* 1 if `name` is part of the key. */
static size_t suggest(const char *key, const char *name, size_t shown) {
    size_t length = strlen(name);
    for (const char *at = key; *at && length; at++)
        if (strncasecmp(at, name, length) == 0) {
            fprintf(stderr, "%s%s", shown ? ", " : "; near it: ", key);
            return 1;
        }
    return 0;
}

static int check_property(const char *name) {
    size_t shown = 0;
    if (strcmp(name, "help") == 0) return list_properties();
    if (property_find(name) || probe_find(name)) return -1;
    fprintf(stderr, "qkv-devices: --prop \"%s\": there is no such property", name);
    for (size_t i = 0; i < num_probes; i++)
        shown += suggest(probes[i].key, name, shown);
    for (size_t i = 0; i < num_properties && shown < 8; i++)
        shown += suggest(properties[i].key, name, shown);
    fprintf(stderr, "\nqkv-devices --prop help lists them.\n");
    return EXIT_USAGE;
}

/* ---- what goes together ---- */
enum given {
    DEVICE = 1 << 0,
    ALL = 1 << 1,
    LIST = 1 << 2,
    SUMMARY = 1 << 3,
    RAW = 1 << 4,
    PROP = 1 << 5,
    JSON = 1 << 6,
    BEST = 1 << 7,
    MEASURE = 1 << 8,
    SELF_TEST = 1 << 9,
    NO_PROBE = 1 << 10,
    MEASURE_MEMORY = 1 << 11,
    NUM_GIVEN = 12,
    SHOWN_ALONE = ALL | LIST | SUMMARY | RAW | PROP | BEST
};

/* In the order of their bits. */
static const struct {
    int option;
    const char *name;
} known[NUM_GIVEN] = {
    {'d', "--device"},
    {'a', "--all"},
    {'l', "--list"},
    {OPTION_SUMMARY, "--summary"},
    {OPTION_RAW, "--raw"},
    {'p', "--prop"},
    {'j', "--json"},
    {OPTION_BEST, "--best"},
    {OPTION_MEASURE, "--measure"},
    {OPTION_SELF_TEST, "--self-test"},
    {OPTION_NO_PROBE, "--no-probe"},
    {OPTION_MEASURE_MEMORY, "--measure-memory"},
};

static unsigned bit_of(int option) {
    for (unsigned i = 0; i < NUM_GIVEN; i++)
        if (option == known[i].option) return 1u << i;
    return 0;
}

static const struct {
    unsigned one, other; /* any of these with any of those */
    const char *why;
} conflicts[] = {
    {SHOWN_ALONE | JSON, SHOWN_ALONE | JSON, "one of them can be shown"},
    {MEASURE | SELF_TEST, SHOWN_ALONE, "what is found out is shown by itself, or with --json"},
    {DEVICE, ALL | LIST | BEST, "that is about every device"},
    {MEASURE_MEMORY, NO_PROBE | LIST, "that tries nothing"},
};

static const char *name_of_first(unsigned bits) {
    unsigned i = 0;
    while (i + 1 < NUM_GIVEN && !(bits & 1u << i))
        i++;
    return known[i].name;
}

/* What would silently be left out is refused. */
static int check_together(unsigned given) {
    for (size_t i = 0; i < sizeof conflicts / sizeof conflicts[0]; i++) {
        unsigned one = given & conflicts[i].one, other;
        one &= ~one + 1; /* the first of them */
        other = given & conflicts[i].other & ~one;
        if (!one || !other) continue;
        fprintf(stderr, "qkv-devices: %s and %s do not go together: %s\nqkv-devices --help lists the options.\n",
                name_of_first(one), name_of_first(other), conflicts[i].why);
        return EXIT_USAGE;
    }
    return -1;
}

/* Of two values one would silently be left out. */
static int check_once(unsigned *given, int option) {
    unsigned bit = bit_of(option);
    if (*given & bit & (DEVICE | PROP | JSON | BEST)) {
        fprintf(stderr, "qkv-devices: %s is given twice\nqkv-devices --help lists the options.\n", name_of_first(bit));
        return EXIT_USAGE;
    }
    *given |= bit;
    return -1;
}

/* In the tool's own words: getopt's begin with however the program was called. */
static int refuse_option(int option, int argc, char **argv) {
    const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    const char *what = option == ':' ? "needs a value" : "is no option, or takes no value";
    if (strncmp(word, "--", 2) == 0)
        fprintf(stderr, "qkv-devices: %s %s", word, what);
    else
        fprintf(stderr, "qkv-devices: -%c %s", optopt, what);
    fputs("\nqkv-devices --help lists the options.\n", stderr);
    return EXIT_USAGE;
}

static int parse_option(struct options *options, int option, int argc, char **argv) {
    switch (option) {
    case 'd':
        options->selector = optarg;
        return -1;
    case 'a':
        options->view = VIEW_FULL;
        return -1;
    case 'l':
        options->view = VIEW_TREE;
        return -1;
    case OPTION_SUMMARY:
        options->view = VIEW_SUMMARY;
        return -1;
    case OPTION_RAW:
        options->view = VIEW_RAW;
        return -1;
    case 'p':
        options->property = optarg;
        return check_property(optarg);
    case 'j':
        options->json = json_file(argc, argv);
        return -1;
    case OPTION_NO_PROBE:
        options->no_probe = true;
        return -1;
    case OPTION_MEASURE:
        options->measure = true;
        return -1;
    case OPTION_MEASURE_MEMORY:
        options->measure_memory = true;
        return -1;
    case OPTION_SELF_TEST:
        options->self_test = true;
        return -1;
    case OPTION_BEST:
        return parse_best(options, optarg);
    case OPTION_TIMEOUT:
        return parse_timeout(options, optarg);
    case OPTION_ROOT:
        options->root = optarg;
        return -1;
    case 'h':
        fputs(usage, stdout);
        return written();
    case 'V':
        printf("qkv-devices %s\n", qkv_version_string());
        return written();
    default:
        return refuse_option(option, argc, argv);
    }
}

int parse_options(struct options *options, int argc, char **argv) {
    int option, status = -1;
    unsigned given = 0;
    opterr = 0;
    *options = (struct options){.seconds = 60, .root = ""};
    while (status < 0 && (option = getopt_long(argc, argv, ":d:alp:jhV", names, NULL)) != -1) {
        status = check_once(&given, option);
        if (status < 0) status = parse_option(options, option, argc, argv);
    }
    if (status < 0 && optind < argc) {
        fprintf(stderr, "qkv-devices: unexpected argument \"%s\"\nqkv-devices --help lists the options.\n",
                argv[optind]);
        status = EXIT_USAGE;
    }
    return status < 0 ? check_together(given) : status;
}
