/* qkv-devices: which OpenCL devices there are, which one the library takes, and why. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "devices/devices.h"

enum { EXIT_USABLE = 0, EXIT_NONE = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "Usage: qkv-devices [-d SELECTOR] [--json [FILE|-]]\n"
    "Shows the OpenCL devices, which one libqkv takes, and why not each other one.\n"
    "\n"
    "  -d, --device SELECTOR  one device in full: auto, cpu, gpu, P:D (platform and device\n"
    "                         index), or part of a device's or platform's name\n"
    "  -j, --json [FILE|-]    JSON, into FILE or to standard output\n"
    "  -h, --help             this text\n"
    "  -V, --version          the version\n"
    "\n"
    "Exit status: 0 if there is a usable device (the one asked for), 1 if not, 2 for a wrong option.\n";

struct options {
    const char *selector; /* NULL: all devices */
    const char *json;     /* NULL: for people; "-": standard output */
};

/* Goes on to run (-1) or says with which status to exit. */
static int parse_options(struct options *options, int argc, char **argv) {
    static const struct option names[] = {
        {"device", required_argument, NULL, 'd'},
        {"json", optional_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "d:jhV", names, NULL)) != -1) {
        switch (option) {
        case 'd':
            options->selector = optarg;
            break;
        case 'j':
            /* "--json FILE" as well as "--json=FILE": the next word, unless it is an option. */
            options->json = optarg;
            if (!optarg && optind < argc && (argv[optind][0] != '-' || strcmp(argv[optind], "-") == 0))
                options->json = argv[optind++];
            if (!options->json) options->json = "-";
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_USABLE;
        case 'V':
            printf("qkv-devices %s\n", qkv_version_string());
            return EXIT_USABLE;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "qkv-devices: unexpected argument \"%s\"\n%s", argv[optind], usage);
        return EXIT_USAGE;
    }
    return -1;
}

static size_t screen_width(void) {
#ifdef TIOCGWINSZ
    struct winsize size;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col < 80 ? 80 : size.ws_col;
#endif
    return 100;
}

static int show_json(const char *path, const qkv_device_list *list, const size_t *only) {
    int to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "w");
    if (!out) {
        fprintf(stderr, "qkv-devices: cannot write ");
        perror(path);
        return -1;
    }
    int failed = write_json(out, list, only);
    failed |= to_stdout ? fflush(out) : fclose(out);
    if (failed) fprintf(stderr, "qkv-devices: writing %s failed\n", path);
    return failed ? -1 : 0;
}

static void show_all(const qkv_device_list *list) {
    size_t platforms = qkv_device_list_num_platforms(list);
    size_t devices = qkv_device_list_num_devices(list);
    const char *environment = getenv("QKV_DEVICE");
    size_t index;

    printf("libqkv %s: %zu OpenCL platform%s, %zu device%s\n", qkv_version_string(), platforms,
           platforms == 1 ? "" : "s", devices, devices == 1 ? "" : "s");
    if (devices > 0) {
        putchar('\n');
        print_table(stdout, list, screen_width());
    }
    print_platform_notes(stdout, list);
    if (auto_index(list) == devices) {
        putchar('\n');
        print_advice(stdout, list);
    } else if (environment && environment[0]) {
        if (qkv_device_list_select(&index, list, NULL) == QKV_OK)
            printf("\nThe environment's QKV_DEVICE=%s takes %s instead of auto.\n", environment,
                   qkv_device_list_device(list, index)->selector);
        else
            printf("\n%s\n", qkv_error_message());
    }
}

static void show_one(const qkv_device_list *list, size_t index, const char *selector) {
    const qkv_device_info *info = qkv_device_list_device(list, index);
    const char *environment = getenv("QKV_DEVICE");
    if (selector[0])
        printf("\"%s\" is %s.\n\n", selector, info->selector);
    else if (environment && environment[0])
        printf("QKV_DEVICE=%s is %s.\n\n", environment, info->selector);
    else
        printf("auto is %s.\n\n", info->selector);
    print_device(stdout, info);
}

static int show(const struct options *options, const qkv_device_list *list) {
    int usable = auto_index(list) < qkv_device_list_num_devices(list);
    const size_t *only = NULL;
    size_t index;

    if (options->selector) {
        if (qkv_device_list_select(&index, list, options->selector) != QKV_OK) {
            fprintf(stderr, "qkv-devices: %s\n", qkv_error_message());
            if (!usable) print_advice(stderr, list);
            return EXIT_NONE;
        }
        only = &index;
    }
    if (options->json) {
        if (show_json(options->json, list, only) != 0) return EXIT_NONE;
    } else if (only) {
        show_one(list, *only, options->selector);
    } else {
        show_all(list);
    }
    return usable ? EXIT_USABLE : EXIT_NONE;
}

int main(int argc, char **argv) {
    struct options options = {NULL, NULL};
    int status = parse_options(&options, argc, argv);
    if (status >= 0) return status;

    qkv_device_list *list;
    if (qkv_device_list_create(&list) != QKV_OK) {
        fprintf(stderr, "qkv-devices: %s\n", qkv_error_message());
        return EXIT_NONE;
    }
    status = show(&options, list);
    qkv_device_list_destroy(list);
    return status;
}
