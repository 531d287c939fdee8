/* qkv-attend's model: figures of another implementation, forms of a model on disk, JSON, explanations. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attend/engine.h"
#include "attend/explain.h"
#include "attend/show.h"
#include "support/fixture.h"
#include "support/json.h"
#include "support/tiny_model.h"

static tool_error error;

#define TOOL_OK(call) ((call) ? (void)mark_point() : test_fail(__FILE__, __LINE__, "%s: %s", #call, error.text))

static float *read_array(const json_t *array, size_t *count) {
    *count = json_array_size(array);
    float *values = test_alloc(*count, sizeof *values);
    for (size_t i = 0; i < *count; i++)
        values[i] = (float)json_number_value(json_array_get(array, i));
    return values;
}

/* Both sides round to fp32 throughout; the embedding's components are at most 1, as the weights are. */
static double check_close(const char *what, const float *got, const json_t *expected, size_t count) {
    size_t length;
    float *wanted = read_array(expected, &length);
    double worst = 0.0;
    TEST_TRUE(length == count);
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs((double)got[i] - (double)wanted[i]));
    free(wanted);
    if (!(worst <= 1e-5)) test_fail(__FILE__, __LINE__, "%s: %g away from the reference", what, worst);
    return worst;
}

/* One case of tests/data/minilm_reference.json. */
static void check_reference(const attend_model *model, const json_t *c) {
    const char *text = json_string_value(json_object_get(c, "text"));
    const json_t *ids = json_object_get(c, "ids"), *head = json_object_get(c, "head");
    const json_t *weights = json_object_get(c, "weights");
    attend_input input;
    attend_engine *engine;
    attend_result result;
    TOOL_OK(attend_input_read(&input, model, text, strlen(text), &error));
    TEST_TRUE(input.tokens.count == json_array_size(ids) && !input.tokens.truncated);
    for (size_t i = 0; i < input.tokens.count; i++)
        TEST_TRUE(input.tokens.ids[i] == (uint32_t)json_integer_value(json_array_get(ids, i)));
    size_t layer = (size_t)json_integer_value(json_object_get(c, "layer")), n = input.tokens.count;
    const bool made = attend_engine_create(&engine, model, NULL, layer, n, &error);
    if (!made && strstr(error.text, "cut short") && test_solver_refused(QKV_UNSUPPORTED, NULL)) {
        attend_input_free(&input);
        return;
    }
    TOOL_OK(made);
    TOOL_OK(attend_result_create(&result, engine, &error));
    TOOL_OK(attend_engine_run(&result, engine, &input.tokens, &error));
    attend_view view = {.model = model,
                        .input = &input,
                        .result = &result,
                        .device = "",
                        .head = json_is_integer(head) ? (int)json_integer_value(head) : ATTEND_HEAD_MEAN};
    const float *shown = attend_view_weights(&view);
    const json_t *wanted = json_object_get(c, "embedding");
    double embedding = check_close("embedding", result.embedding, wanted, result.hidden_size), worst = 0.0;
    for (size_t row = 0; row < n; row++)
        worst = fmax(worst, check_close("weights", shown + row * n, json_array_get(weights, row), n));
    printf("%zu tokens: embedding %.1e, weights %.1e away from the reference\n", n, embedding, worst);
    attend_result_free(&result);
    attend_engine_destroy(engine);
    attend_input_free(&input);
}

START_TEST(reference) {
    const char *directory = getenv("QKV_TEST_MODEL");
    if (directory == NULL || directory[0] == '\0') directory = "build/model";
    char path[4096];
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    if (test_scale() < 0.1) {
        test_skip("a whole model takes minutes on this device");
        return;
    }
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        test_skip("the model is not in %s (make demo brings it)", directory);
        return;
    }
    fclose(file);
    attend_model model;
    json_t *root = tool_json_read("tests/data/minilm_reference.json", 1 << 20, 0, &error);
    TOOL_OK(root != NULL);
    TOOL_OK(attend_model_open(&model, directory, &error));
    const json_t *cases = json_object_get(root, "cases");
    size_t count = test_is_slow() ? 1 : json_array_size(cases);
    TEST_TRUE(count > 0);
    for (size_t i = 0; i < count; i++) {
        test_note("case %zu", i);
        check_reference(&model, json_array_get(cases, i));
    }
    attend_model_close(&model);
    json_decref(root);
}
END_TEST

/* A tiny model with random weights, run on a text of three words; `result` is the caller's to free. */
typedef struct tiny_run {
    attend_model model;
    attend_input input;
    attend_engine *engine;
    attend_result result;
} tiny_run;

static void run_tiny(tiny_run *run, const struct tiny_model *tiny, size_t layer) {
    static const char text[] = "Red blue, red!";
    char *directory = tiny_model_write(tiny);
    TOOL_OK(attend_model_open(&run->model, directory, &error));
    tiny_model_remove(directory);
    TOOL_OK(attend_input_read(&run->input, &run->model, text, strlen(text), &error));
    TOOL_OK(attend_engine_create(&run->engine, &run->model, NULL, layer, 16, &error));
    TOOL_OK(attend_result_create(&run->result, run->engine, &error));
    TOOL_OK(attend_engine_run(&run->result, run->engine, &run->input.tokens, &error));
}

static void end_tiny(tiny_run *run) {
    attend_result_free(&run->result);
    attend_engine_destroy(run->engine);
    attend_input_free(&run->input);
    attend_model_close(&run->model);
}

/* The same weights in every form give the same embedding; F16 and BF16 hold them exactly. */
START_TEST(forms_agree) {
    static const struct tiny_model forms[] = {
        {.dtype = "F32"},
        {.dtype = "F16"},
        {.dtype = "BF16"},
        {.dtype = "F32", .prefix = "bert."},
        {.dtype = "F32", .tensorflow_norms = true},
        {.dtype = "F32", .tokenizer_json = true},
    };
    tiny_run first;
    run_tiny(&first, &forms[0], 1);
    for (size_t i = 1; i < (test_is_slow() ? 3 : TEST_COUNT(forms)); i++) {
        tiny_run other;
        test_note("form %zu", i);
        run_tiny(&other, &forms[i], 1);
        TEST_TRUE(other.input.tokens.count == first.input.tokens.count);
        TEST_TRUE(memcmp(other.result.embedding, first.result.embedding, first.result.hidden_size * sizeof(float)) ==
                  0);
        end_tiny(&other);
    }
    end_tiny(&first);
}
END_TEST

/* Weights are probabilities, the embedding has length 1, the mean is the mean. */
START_TEST(result_is_consistent) {
    const struct tiny_model tiny = {.dtype = "F32"};
    tiny_run run;
    run_tiny(&run, &tiny, 0);
    const attend_result *r = &run.result;
    const size_t n = r->num_tokens;
    double squares = 0.0;
    for (size_t i = 0; i < r->hidden_size; i++)
        squares += (double)r->embedding[i] * (double)r->embedding[i];
    TEST_TRUE(fabs(squares - 1.0) <= (double)r->hidden_size * 0x1p-23);
    for (size_t row = 0; row < r->num_heads * n; row++) {
        double sum = 0.0;
        for (size_t key = 0; key < n; key++)
            sum += (double)r->weights[row * n + key];
        TEST_TRUE(fabs(sum - 1.0) <= (double)n * 0x1p-22);
    }
    for (size_t i = 0; i < n * n; i++)
        TEST_TRUE(fabs((double)r->mean[i] - ((double)r->weights[i] + (double)r->weights[n * n + i]) / 2.0) <= 0x1p-24);
    end_tiny(&run);
}
END_TEST

/* Every pair, head and layer of a tiny model can be explained within rounding. */
START_TEST(explanations_add_up) {
    const struct tiny_model tiny = {.dtype = "F32"};
    for (size_t layer = 0; layer < 2; layer++) {
        tiny_run run;
        run_tiny(&run, &tiny, layer);
        attend_view view = {.model = &run.model, .input = &run.input, .result = &run.result, .head = 0, .device = ""};
        const size_t n = run.result.num_tokens;
        for (size_t i = 0; i < n * n * run.result.num_heads; i++) {
            const attend_explain_request request = {i % n, i / n % n, (int)(i / n / n), (long)(i % 4)};
            attend_explanation explanation;
            TOOL_OK(attend_explain(&explanation, &view, &request, &error));
            double sum = 0.0;
            for (size_t term = 0; term < explanation.products.count; term++)
                sum += explanation.products.terms[term].product;
            TEST_TRUE(fabs(sum - explanation.products.total) <= 1e-12 * explanation.products.magnitude);
            json_t *object = attend_explanation_json(&explanation);
            TEST_TRUE(object != NULL);
            json_decref(object);
            attend_explanation_free(&explanation);
        }
        const attend_explain_request outside = {n, 0, 0, -1};
        attend_explanation unused;
        TEST_TRUE(!attend_explain(&unused, &view, &outside, &error));
        end_tiny(&run);
    }
}
END_TEST

START_TEST(json_has_its_members) {
    static const char *const members[] = {"schema",    "device", "text",  "truncated", "tokens",    "ids",
                                          "embedding", "layers", "heads", "attention", "timings_ms"};
    const struct tiny_model tiny = {.dtype = "F32"};
    tiny_run run;
    run_tiny(&run, &tiny, 1);
    const size_t n = run.result.num_tokens;
    static const int heads[] = {ATTEND_HEAD_MEAN, 1, ATTEND_HEAD_ALL};
    for (size_t i = 0; i < TEST_COUNT(heads); i++) {
        attend_view view = {
            .model = &run.model, .input = &run.input, .result = &run.result, .head = heads[i], .device = "a device"};
        json_t *object = attend_json(&view);
        for (size_t j = 0; j < TEST_COUNT(members); j++)
            TEST_TRUE(json_object_get(object, members[j]) != NULL);
        const json_t *attention = json_object_get(object, "attention");
        const json_t *weights = json_object_get(attention, "weights");
        TEST_TRUE(json_integer_value(json_object_get(object, "schema")) == 1);
        TEST_TRUE(json_array_size(weights) == n && json_array_size(json_array_get(weights, 0)) == n);
        TEST_TRUE(json_is_integer(json_object_get(attention, "head")) == (heads[i] >= 0));
        TEST_TRUE(json_array_size(json_object_get(attention, "heads_weights")) ==
                  (heads[i] == ATTEND_HEAD_ALL ? run.result.num_heads : 0));
        json_decref(object);
    }
    end_tiny(&run);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attend");
    TCase *cases = tcase_create("attend");
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, reference);
    tcase_add_test(cases, forms_agree);
    tcase_add_test(cases, result_is_consistent);
    tcase_add_test(cases, explanations_add_up);
    tcase_add_test(cases, json_has_its_members);
    suite_add_tcase(suite, cases);
    return test_main(suite);
}
