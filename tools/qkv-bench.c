/* qkv-bench: how fast the library is on a device, beside the device's peak and other libraries. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

static const char help[] =
    "Usage: qkv-bench [options]\n"
    "Times projections, attention and whole layers beside the device's peak and, where they are installed,\n"
    "OpenBLAS, oneDNN and CLBlast. Without options: the main cases, in about a minute.\n"
    "\n"
    "  -a, --all              every case of the table\n"
    "  -f, --filter TEXT      of all cases those whose name contains TEXT (may be repeated)\n"
    "  -d, --device SELECTOR  auto, P:D, cpu, gpu, or part of a name (default: QKV_DEVICE, then auto)\n"
    "  -s, --seconds S        time spent on a case, preparation aside (default 3)\n"
    "  -p, --peers LIST       of openblas,onednn,clblast, or none (default: all that are installed)\n"
    "  -j, --json FILE        the figures as JSON; - is standard output and leaves the table out\n"
    "  -l, --list             the cases, and nothing else\n"
    "      --serve            run cases at another program's command; see tools/bench/serve.c\n"
    "      --start CASE       one plan and first run of a start case: prints the microseconds, and the clock then\n"
    "  -h, --help             this text\n"
    "\n"
    "Exit status: 0; 1 if a case failed or a result was wrong; 2 if the arguments were.\n"
    "Results are checked: ours against double precision, and each peer's against ours.\n"
    "They take turns; before each turn all threads have gone to sleep, so that nobody's spinning costs another.\n";

#define MAX_FILTERS 16

struct options {
    bool all, list, serve;
    const char *filters[MAX_FILTERS];
    size_t num_filters;
    const char *device, *peers, *json, *start, *program;
    double seconds;
};

/* 0: go on; else 1 + the exit status. */
static int parse(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"all", no_argument, NULL, 'a'},           {"filter", required_argument, NULL, 'f'},
        {"device", required_argument, NULL, 'd'},  {"seconds", required_argument, NULL, 's'},
        {"peers", required_argument, NULL, 'p'},   {"json", required_argument, NULL, 'j'},
        {"list", no_argument, NULL, 'l'},          {"serve", no_argument, NULL, 'S'},
        {"start", required_argument, NULL, 'T'},   {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    o->program = argv[0];
    char *end = NULL;
    int letter = 0;
    while ((letter = getopt_long(argc, argv, "af:d:s:p:j:lh", names, NULL)) != -1) {
        switch (letter) {
        case 'a': o->all = true; break;
        case 'd': o->device = optarg; break;
        case 'p': o->peers = optarg; break;
        case 'j': o->json = optarg; break;
        case 'l': o->list = true; break;
        case 'S': o->serve = true; break;
        case 'T': o->start = optarg; break;
        case 'h': fputs(help, stdout); return 1;
        case 'f':
            if (o->num_filters == MAX_FILTERS) {
                fprintf(stderr, "qkv-bench: more than %d filters\n", MAX_FILTERS);
                return 3;
            }
            o->filters[o->num_filters++] = optarg;
            break;
        case 's':
            o->seconds = strtod(optarg, &end);
            if (end == optarg || *end || !(o->seconds > 0 && o->seconds <= 3600)) {
                fprintf(stderr, "qkv-bench: --seconds: '%s' is not a number of seconds up to 3600\n", optarg);
                return 3;
            }
            break;
        default: fputs("qkv-bench --help says what there is\n", stderr); return 3;
        }
    }
    if (o->peers && !bench_peers_named(o->peers)) {
        fprintf(stderr, "qkv-bench: --peers: '%s' is not of openblas,onednn,clblast or none\n", o->peers);
        return 3;
    }
    if (optind < argc) {
        fprintf(stderr, "qkv-bench: unexpected argument '%s'\n", argv[optind]);
        return 3;
    }
    return 0;
}

static bool chosen(const struct options *o, const struct bench_case *c)
{
    for (size_t i = 0; i < o->num_filters; ++i) {
        if (strstr(c->name, o->filters[i])) {
            return true;
        }
    }
    return o->num_filters == 0 && (o->all || o->list || c->by_default);
}

static size_t choose(const struct options *o, const struct bench_case **out)
{
    size_t count = 0, num_chosen = 0;
    const struct bench_case *cases = bench_cases(&count);
    for (size_t i = 0; i < count; ++i) {
        if (chosen(o, &cases[i])) {
            out[num_chosen++] = &cases[i];
        }
    }
    return num_chosen;
}

static bool write_json(const struct options *o, const struct bench *bench, const struct bench_result *results,
                       size_t count)
{
    if (strcmp(o->json, "-") == 0) {
        return bench_report_json(stdout, bench, results, count);
    }
    FILE *file = fopen(o->json, "w");
    bool good = file && bench_report_json(file, bench, results, count);
    good = file && fclose(file) == 0 && good;
    if (!good) {
        fprintf(stderr, "qkv-bench: %s: %s\n", o->json, strerror(errno));
    }
    return good;
}

static int run_cases(const struct options *o, struct bench *bench, const struct bench_case **cases, size_t count)
{
    struct bench_result *results = calloc(count, sizeof *results);
    if (!results) {
        fputs("qkv-bench: out of memory\n", stderr);
        return 1;
    }
    FILE *table = o->json && strcmp(o->json, "-") == 0 ? NULL : stdout;
    bool good = true;
    if (table) {
        bench_report_head(table, bench);
    }
    for (size_t i = 0; i < count; ++i) {
        bench_measure(bench, cases[i], &results[i]);
        good = good && !results[i].failed && !results[i].mismatch;
        if (table || results[i].failed || results[i].mismatch) {
            bench_report_row(table ? table : stderr, bench, &results[i]);
        }
    }
    if (table && bench->peak) {
        fprintf(table, "\nhighest peak of the run: %.0f GFLOP/s%s\n", bench->peak_gflops,
                o->json ? "; the JSON's shares are of it" : "");
    }
    good = (!o->json || write_json(o, bench, results, count)) && good;
    free(results);
    return good ? 0 : 1;
}

static int run(const struct options *o, const struct bench_case **cases, size_t count)
{
    struct bench bench;
    char error[600] = "";
    memset(&bench, 0, sizeof bench);
    bench.seconds = o->seconds;
    bench.program = o->program;
    bench.device = o->device;
    if (o->start && strcmp(o->start, "empty") == 0) return bench_start_empty(o->device);
    if (qkv_context_create(&bench.context, o->device, NULL) != QKV_OK) {
        fprintf(stderr, "qkv-bench: %s\n", qkv_error_message());
        return 1;
    }
    const qkv_device_info *info = qkv_context_device(bench.context);
    if (o->start) {
        int start_status = bench_start_once(bench.context, o->start);
        qkv_context_destroy(bench.context);
        return start_status;
    }
    bool host = info->kind == QKV_DEVICE_CPU;
    unsigned threads = info->compute_units;
    bench.peak = tool_peak_create(bench.context, error, sizeof error);
    if (!bench.peak) {
        fprintf(stderr, "qkv-bench: %s; no shares\n", error);
    }
    int status = 0;
    if (o->serve) {
        status = bench_serve(&bench);
    } else {
        bool peers = !o->peers || strcmp(o->peers, "none") != 0;
        bench.num_peers = peers ? bench_peers_open(bench.peers, o->peers, host, threads, stderr) : 0;
        if (bench.peak) {
            bench_measure_peaks(&bench, host ? threads : 0);
        }
        status = run_cases(o, &bench, cases, count);
        bench_peers_close(bench.peers, bench.num_peers);
    }
    tool_peak_destroy(bench.peak);
    qkv_context_destroy(bench.context);
    return status;
}

int main(int argc, char **argv)
{
    struct options o;
    memset(&o, 0, sizeof o);
    o.seconds = 3;
    int status = parse(&o, argc, argv);
    if (status) {
        return status - 1;
    }
    size_t total = 0;
    bench_cases(&total);
    const struct bench_case **cases = calloc(total, sizeof *cases);
    size_t count = cases ? choose(&o, cases) : 0;
    if (count == 0 && !o.serve) {
        fputs("qkv-bench: no case has such a name; --list says which there are\n", stderr);
        free(cases);
        return 2;
    }
    if (o.list) {
        for (size_t i = 0; i < count; ++i) {
            bench_report_list(stdout, cases[i]);
        }
    } else {
        status = run(&o, cases, count);
    }
    free(cases);
    return status;
}
