#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const char attend_help[] = "Usage: qkv-attend --model DIR [OPTION]... TEXT\n"
                           "       qkv-attend --model DIR [OPTION]... --text-file FILE\n"
                           "       qkv-attend --worked-example [-d SELECTOR]\n"
                           "Runs a BERT-family encoder on a text, every projection and every attention on an\n"
                           "OpenCL device through libqkv, and shows who attends to whom.\n"
                           "\n"
                           "  --model DIR        folder with config.json, model.safetensors, and tokenizer.json\n"
                           "                     or vocab.txt\n"
                           "  --text-file FILE   one text a line; - for standard input\n"
                           "  --layer L          the layer to show, counted from 0 (default: the last)\n"
                           "  --head H|mean|all  the head to show, counted from 0 (default: the mean over heads);\n"
                           "                     all: each in the picture and the JSON, the mean in the table\n"
                           "  --picture FILE     write a heat map as PNG\n"
                           "  --json FILE        write one JSON object a text, a line each; - for standard output,\n"
                           "                     where nothing else is written then\n"
                           "  --export DIR       write x, q, k, v, scores, weights, heads, output and embedding of\n"
                           "                     the layer as .npy files, all heads, for numpy.load()\n"
                           "  --explain Q,K      show how the score of query token Q and key token K came about\n"
                           "                     (positions as in the table; without --head H: in the head in which\n"
                           "                     its weight is largest)\n"
                           "  --explain-dim D    the dimension of the query vector to trace back to x and Wq\n"
                           "                     (default: the one with the largest product)\n"
                           "  --worked-example   the textbook's example instead: three tokens, no model\n"
                           "  -d, --device SEL   auto, cpu, gpu, P:D or a part of a device's name; see qkv-devices\n"
                           "  -h, --help         print this and exit\n"
                           "  -V, --version      print the version and exit\n"
                           "\n"
                           "JSON, schema 1: device, text, truncated, tokens, ids, embedding (mean-pooled last\n"
                           "hidden state of length 1), layers, heads, attention {layer, head (null: the mean),\n"
                           "weights [query][key], with --head all also heads_weights [head][query][key]},\n"
                           "timings_ms {load, prepare, run}, with --explain also explanation.\n"
                           "\n"
                           "Exit status: 0 success, 1 a file, text or device is at fault, 2 the command line is.\n";

enum {
    OPTION_MODEL = 256,
    OPTION_TEXT_FILE,
    OPTION_LAYER,
    OPTION_HEAD,
    OPTION_PICTURE,
    OPTION_JSON,
    OPTION_EXPORT,
    OPTION_EXPLAIN,
    OPTION_EXPLAIN_DIM,
    OPTION_WORKED_EXAMPLE
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, OPTION_MODEL},
    {"text-file", required_argument, NULL, OPTION_TEXT_FILE},
    {"layer", required_argument, NULL, OPTION_LAYER},
    {"head", required_argument, NULL, OPTION_HEAD},
    {"picture", required_argument, NULL, OPTION_PICTURE},
    {"json", required_argument, NULL, OPTION_JSON},
    {"export", required_argument, NULL, OPTION_EXPORT},
    {"explain", required_argument, NULL, OPTION_EXPLAIN},
    {"explain-dim", required_argument, NULL, OPTION_EXPLAIN_DIM},
    {"worked-example", no_argument, NULL, OPTION_WORKED_EXAMPLE},
    {"device", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* Digits up to `stop`, nothing else. */
static bool parse_number(long *out, const char *text, char stop) {
    char *end;
    if (text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    *out = strtol(text, &end, 10);
    return errno == 0 && *out <= INT_MAX && *end == stop;
}

static bool parse_head(attend_options *out, const char *text, tool_error *error) {
    long head;
    if (strcmp(text, "all") == 0)
        out->head = ATTEND_HEAD_ALL;
    else if (strcmp(text, "mean") == 0)
        out->head = ATTEND_HEAD_MEAN;
    else if (parse_number(&head, text, '\0'))
        out->head = (int)head;
    else
        return tool_fail(error, "--head %s: expected a number from 0, mean or all", text);
    return true;
}

static bool parse_explain(attend_options *out, const char *text, tool_error *error) {
    const char *comma = strchr(text, ',');
    long query, key;
    if (comma == NULL || !parse_number(&query, text, ',') || !parse_number(&key, comma + 1, '\0'))
        return tool_fail(error, "--explain %s: expected two token positions, as in 3,5", text);
    out->explain = true;
    out->request.query = (size_t)query;
    out->request.key = (size_t)key;
    return true;
}

static bool parse_option(attend_options *out, int option, const char *value, tool_error *error) {
    switch (option) {
    case OPTION_MODEL:
        out->model = value;
        return true;
    case OPTION_TEXT_FILE:
        out->text_file = value;
        return true;
    case OPTION_PICTURE:
        out->picture = value;
        return true;
    case OPTION_JSON:
        out->json = value;
        return true;
    case OPTION_EXPORT:
        out->export_to = value;
        return true;
    case OPTION_HEAD:
        return parse_head(out, value, error);
    case OPTION_EXPLAIN:
        return parse_explain(out, value, error);
    case OPTION_LAYER:
        return parse_number(&out->layer, value, '\0') ||
               tool_fail(error, "--layer %s: expected a number from 0", value);
    case OPTION_EXPLAIN_DIM:
        return parse_number(&out->request.dim, value, '\0') ||
               tool_fail(error, "--explain-dim %s: expected a number from 0", value);
    case OPTION_WORKED_EXAMPLE:
        out->worked_example = true;
        return true;
    case 'd':
        out->device = value;
        return true;
    case 'h':
        out->help = true;
        return true;
    case 'V':
        out->version = true;
        return true;
    default:
        return false;
    }
}

static bool check(const attend_options *options, int texts, tool_error *error) {
    if (options->worked_example && (options->model != NULL || options->text_file != NULL || texts > 0))
        return tool_fail(error, "--worked-example takes neither a model nor a text");
    if (options->worked_example) return true;
    if (options->model == NULL) return tool_fail(error, "--model is missing");
    if (texts == 0 && options->text_file == NULL) return tool_fail(error, "no text is given");
    if (texts > 0 && options->text_file != NULL) return tool_fail(error, "a text and --text-file exclude each other");
    if (texts > 1) return tool_fail(error, "%d texts are given: put quotes round the text", texts);
    if (options->request.dim >= 0 && !options->explain) return tool_fail(error, "--explain-dim needs --explain");
    if (options->picture != NULL && strcmp(options->picture, "-") == 0)
        return tool_fail(error, "--picture needs the name of a file");
    return true;
}

bool attend_options_parse(attend_options *out, int argc, char **argv, tool_error *error) {
    memset(out, 0, sizeof *out);
    out->layer = -1;
    out->head = ATTEND_HEAD_MEAN;
    out->request.dim = -1;
    optind = 1;
    opterr = 0;
    for (;;) {
        /* The leading colon makes getopt tell a missing value from an unknown option. */
        int option = getopt_long(argc, argv, ":d:hV", long_options, NULL);
        if (option == -1) break;
        if (option == ':') return tool_fail(error, "%s needs a value", argv[optind - 1]);
        if (option == '?') return tool_fail(error, "%s is not an option, or short for several", argv[optind - 1]);
        if (!parse_option(out, option, optarg, error)) return false;
        if (out->help || out->version) return true;
    }
    out->request.head = out->head;
    if (optind < argc) out->text = argv[optind];
    return check(out, argc - optind, error);
}
