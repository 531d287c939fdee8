/* qkv-attend: runs a BERT-family encoder on text through libqkv and shows who attends to whom. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qkv.h>

#include "attend/engine.h"
#include "attend/explain.h"
#include "attend/inputs.h"
#include "attend/options.h"
#include "attend/show.h"
#include "attend/worked.h"
#include "support/files.h"
#include "support/progress.h"

enum { EXIT_INPUT = 1, EXIT_USAGE = 2 };

typedef struct program {
    attend_options options;
    attend_model model;
    attend_inputs inputs;
    attend_engine *engine;
    attend_result result;
    attend_timings timings;
    tool_output json; /* stream NULL: none */
    tool_error error;
} program;

static int fail(const program *state, int status) {
    fprintf(stderr, "qkv-attend: %s\n", state->error.text);
    if (status == EXIT_USAGE) fputs("Try 'qkv-attend --help'.\n", stderr);
    return status;
}

/* What only the model and the texts can tell of the options. */
static bool check_options(program *state) {
    const attend_options *options = &state->options;
    const attend_config *config = &state->model.config;
    const attend_explain_request *request = &options->request;
    if (options->layer >= (long)config->num_layers)
        return tool_fail(&state->error, "--layer %ld: the model has layers 0 to %zu", options->layer,
                         config->num_layers - 1);
    if (options->head >= (int)config->num_heads)
        return tool_fail(&state->error, "--head %d: the model has heads 0 to %zu", options->head,
                         config->num_heads - 1);
    bool single = options->picture != NULL || options->export_to != NULL || options->explain;
    if (single && state->inputs.count > 1)
        return tool_fail(&state->error, "--picture, --export and --explain are for one text; %s has %zu",
                         options->text_file, state->inputs.count);
    if (options->explain && (request->query >= state->inputs.longest || request->key >= state->inputs.longest))
        return tool_fail(&state->error, "--explain %zu,%zu: the text has tokens 0 to %zu", request->query, request->key,
                         state->inputs.longest - 1);
    if (request->dim >= (long)config->head_dim)
        return tool_fail(&state->error, "--explain-dim %ld: a head has dimensions 0 to %zu", request->dim,
                         config->head_dim - 1);
    return true;
}

static bool read_inputs(program *state) {
    const attend_options *options = &state->options;
    const double begun = tool_clock_ms();
    if (!attend_model_open(&state->model, options->model, &state->error)) return false;
    state->timings.load_ms = tool_clock_ms() - begun;
    bool ok = options->text != NULL
                  ? attend_inputs_from_text(&state->inputs, &state->model, options->text, &state->error)
                  : attend_inputs_from_file(&state->inputs, &state->model, options->text_file, &state->error);
    if (ok && state->inputs.num_truncated > 0)
        fprintf(stderr, "qkv-attend: warning: %zu of %zu text%s cut to %zu tokens, the most this model takes\n",
                state->inputs.num_truncated, state->inputs.count, state->inputs.count == 1 ? " was" : "s were",
                state->model.config.max_tokens);
    return ok;
}

static bool prepare(program *state) {
    const attend_options *options = &state->options;
    const double begun = tool_clock_ms();
    size_t layer = options->layer < 0 ? state->model.config.num_layers - 1 : (size_t)options->layer;
    if (!attend_engine_create(&state->engine, &state->model, options->device, layer, state->inputs.longest,
                              &state->error) ||
        !attend_result_create(&state->result, state->engine, &state->error))
        return false;
    state->timings.prepare_ms = tool_clock_ms() - begun;
    return options->json == NULL || tool_output_open(&state->json, options->json, &state->error);
}

static bool write_json(program *state, const attend_view *view, const attend_explanation *explanation) {
    json_t *object = attend_json(view);
    bool ok = object != NULL;
    if (ok && explanation != NULL)
        ok = json_object_set_new(object, "explanation", attend_explanation_json(explanation)) == 0;
    ok = ok && json_dumpf(object, state->json.stream, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 &&
         fputc('\n', state->json.stream) != EOF;
    json_decref(object);
    return ok || tool_fail(&state->error, "%s: cannot write the JSON",
                           strcmp(state->options.json, "-") == 0 ? "standard output" : state->options.json);
}

static bool show(program *state, const attend_view *view, bool table) {
    const attend_options *options = &state->options;
    attend_explanation explanation;
    if (options->explain && !attend_explain(&explanation, view, &options->request, &state->error)) return false;
    if (table && options->explain)
        attend_explanation_print(stdout, view, &explanation);
    else if (table)
        attend_table_print(stdout, view);
    bool ok = (options->json == NULL || write_json(state, view, options->explain ? &explanation : NULL)) &&
              (options->picture == NULL || attend_picture_write(view, options->picture, &state->error)) &&
              (options->export_to == NULL || attend_export(view, options->export_to, &state->error));
    if (options->explain) attend_explanation_free(&explanation);
    return ok;
}

static bool run_texts(program *state) {
    const attend_options *options = &state->options;
    const attend_inputs *inputs = &state->inputs;
    const bool to_stdout = options->json != NULL && strcmp(options->json, "-") == 0;
    const bool tables = !to_stdout && (options->json == NULL || inputs->count == 1);
    attend_view view = {.model = &state->model,
                        .result = &state->result,
                        .head = options->head,
                        .device = attend_engine_device(state->engine)->name,
                        .timings = state->timings};
    tool_progress progress;
    tool_progress_start(&progress, "texts", tables ? 0 : inputs->count);
    bool ok = true;
    for (size_t i = 0; ok && i < inputs->count; i++) {
        view.input = &inputs->items[i];
        ok = attend_engine_run(&state->result, state->engine, &view.input->tokens, &state->error);
        view.timings.run_ms = state->result.run_ms;
        if (tables && inputs->count > 1) printf("%sText %zu of %zu. ", i == 0 ? "" : "\n", i + 1, inputs->count);
        ok = ok && show(state, &view, tables);
        tool_progress_step(&progress, i + 1);
    }
    tool_progress_clear(&progress);
    return ok;
}

static bool finish(program *state) {
    if (state->json.stream != NULL && !tool_output_commit(&state->json, &state->error)) return false;
    if (fflush(stdout) != 0 || ferror(stdout)) return tool_fail(&state->error, "standard output: cannot write");
    return true;
}

static void clean_up(program *state) {
    tool_output_abort(&state->json);
    attend_result_free(&state->result);
    attend_engine_destroy(state->engine);
    attend_inputs_free(&state->inputs);
    attend_model_close(&state->model);
}

static int run(program *state) {
    if (state->options.worked_example) {
        bool ok = attend_worked_example(stdout, state->options.device, &state->error) && finish(state);
        return ok ? EXIT_SUCCESS : fail(state, EXIT_INPUT);
    }
    if (!read_inputs(state)) return fail(state, EXIT_INPUT);
    if (!check_options(state)) return fail(state, EXIT_USAGE);
    if (!prepare(state) || !run_texts(state) || !finish(state)) return fail(state, EXIT_INPUT);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    program state;
    memset(&state, 0, sizeof state);
    if (!attend_options_parse(&state.options, argc, argv, &state.error)) return fail(&state, EXIT_USAGE);
    if (state.options.help || state.options.version) {
        if (state.options.help)
            fputs(attend_help, stdout);
        else
            printf("qkv-attend %s (libqkv %s)\n", QKV_VERSION_STRING, qkv_version_string());
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_INPUT;
    }
    int status = run(&state);
    clean_up(&state);
    return status;
}
