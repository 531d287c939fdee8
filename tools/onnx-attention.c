/* onnx-attention: ONNX's own cases of Attention and RotaryEmbedding through libqkv. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/case.h"

enum { EXIT_CASE = 1, EXIT_USAGE = 2 };

static const char help[] = "Usage: onnx-attention [-d SELECTOR] DIR...\n"
                           "Runs folders of ONNX's backend tests, each with a model.onnx of one Attention or\n"
                           "RotaryEmbedding node and test_data_set_*/ of inputs and outputs, through libqkv,\n"
                           "and compares every output.\n"
                           "\n"
                           "  -d, --device SEL   auto, cpu, gpu, P:D or a part of a device's name; see qkv-devices\n"
                           "  -h, --help         print this and exit\n"
                           "  -V, --version      print the version and exit\n"
                           "\n"
                           "An element passes within ONNX's tolerance (rtol 1e-3, atol 1e-7, or what data.json\n"
                           "says), else within the error that its dtype allows of the node in double precision:\n"
                           "2 units in the last place of fp16 and bfloat16. Errors are also told in terms of the\n"
                           "bound that lengths and fp32 arithmetic give.\n"
                           "\n"
                           "Exit status: 0 success, 1 a case failed or nothing ran, 2 the command line is at fault.\n";

/* The largest errors of all cases in fp32. */
typedef struct totals {
    size_t outcomes[ONNX_SKIPPED + 1];
    double worst, share;
    char worst_name[128], share_name[128];
} totals;

static const char *base_name(const char *folder, char *out, size_t size) {
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    size_t begin = length;
    while (begin > 0 && folder[begin - 1] != '/')
        begin--;
    snprintf(out, size, "%.*s", (int)(length - begin), folder + begin);
    return out;
}

static void count(totals *all, const onnx_result *result, const char *name) {
    const onnx_difference *d = &result->difference;
    all->outcomes[result->outcome]++;
    if (result->outcome != ONNX_PASSED || result->dtype != QKV_F32) return;
    if (d->worst >= all->worst) snprintf(all->worst_name, sizeof all->worst_name, "%s", name);
    if (d->share >= all->share) snprintf(all->share_name, sizeof all->share_name, "%s", name);
    all->worst = fmax(all->worst, d->worst);
    all->share = fmax(all->share, d->share);
}

static void print_case(const onnx_result *result, const char *name) {
    const onnx_difference *d = &result->difference;
    if (result->outcome != ONNX_PASSED) {
        printf("%-7s %s: %s\n", result->outcome == ONNX_FAILED ? "FAILED" : "skipped", name, result->error.text);
        return;
    }
    printf("passed  %s: %.2g from the outputs given, %.2g of the fp32 bound; ", name, d->worst, d->share);
    if (d->by_evaluation == 0)
        printf("by rtol %g", result->tolerance.rtol);
    else
        printf("%zu of %zu elements by %s of the double evaluation, the others by rtol %g", d->by_evaluation, d->count,
               result->dtype == QKV_F32 ? "the bound" : "2 units in the last place", result->tolerance.rtol);
    puts(d->share > 1 ? "; but off the double evaluation" : "");
}

static int run(const char *selector, char **folders, size_t num_folders) {
    tool_error error;
    totals all = {.worst = 0};
    onnx_device *device = onnx_device_create(selector, &error);
    if (device == NULL) {
        fprintf(stderr, "onnx-attention: %s\n", error.text);
        return EXIT_CASE;
    }
    printf("%s, %s\n", onnx_device_info(device)->name, onnx_device_info(device)->platform_name);
    for (size_t i = 0; i < num_folders; i++) {
        onnx_result result;
        char name[128];
        onnx_case_run(&result, device, folders[i]);
        base_name(folders[i], name, sizeof name);
        count(&all, &result, name);
        print_case(&result, name);
        fflush(stdout);
    }
    onnx_device_destroy(device);
    if (all.worst_name[0] != '\0')
        printf("fp32 at most %.2g from the outputs given (%s), %.2g of its bound (%s)\n", all.worst, all.worst_name,
               all.share, all.share_name);
    printf("%zu passed, %zu failed, %zu skipped\n", all.outcomes[ONNX_PASSED], all.outcomes[ONNX_FAILED],
           all.outcomes[ONNX_SKIPPED]);
    return fflush(stdout) == 0 && !ferror(stdout) && all.outcomes[ONNX_FAILED] == 0 ? EXIT_SUCCESS : EXIT_CASE;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {NULL, 0, NULL, 0}};
    const char *selector = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "d:hV", options, NULL)) != -1) {
        if (option == 'd') {
            selector = optarg;
        } else if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        } else if (option == 'V') {
            printf("onnx-attention %s (libqkv %s)\n", QKV_VERSION_STRING, qkv_version_string());
            return EXIT_SUCCESS;
        } else {
            fputs("Try 'onnx-attention --help'.\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc) {
        fputs("onnx-attention: no folder is given\nTry 'onnx-attention --help'.\n", stderr);
        return EXIT_USAGE;
    }
    return run(selector, argv + optind, (size_t)(argc - optind));
}
