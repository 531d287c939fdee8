#include <math.h>

#include "show.h"

/* Appends or sets a member; a container that could not take its member is given up, so that a
 * failure anywhere ends in NULL at the root. */
static void append(json_t **array, json_t *value) {
    if (*array == NULL) {
        json_decref(value);
    } else if (json_array_append_new(*array, value) != 0) {
        json_decref(*array);
        *array = NULL;
    }
}

static void set(json_t **object, const char *key, json_t *value) {
    if (*object == NULL) {
        json_decref(value);
    } else if (json_object_set_new(*object, key, value) != 0) {
        json_decref(*object);
        *object = NULL;
    }
}

json_t *attend_json_numbers(const float *values, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        append(&array, isfinite(values[i]) ? json_real((double)values[i]) : json_null());
    return array;
}

static json_t *matrix(const float *values, size_t rows, size_t columns) {
    json_t *array = json_array();
    for (size_t row = 0; row < rows; row++)
        append(&array, attend_json_numbers(values + row * columns, columns));
    return array;
}

static json_t *tokens(const attend_view *view) {
    json_t *array = json_array();
    for (size_t i = 0; i < view->input->tokens.count; i++)
        append(&array, json_string(attend_view_token(view, i)));
    return array;
}

static json_t *ids(const attend_view *view) {
    json_t *array = json_array();
    for (size_t i = 0; i < view->input->tokens.count; i++)
        append(&array, json_integer((json_int_t)view->input->tokens.ids[i]));
    return array;
}

static json_t *attention(const attend_view *view) {
    const attend_result *result = view->result;
    const size_t n = result->num_tokens;
    json_t *object = json_object();
    set(&object, "layer", json_integer((json_int_t)result->layer));
    set(&object, "head", view->head >= 0 ? json_integer(view->head) : json_null());
    set(&object, "weights", matrix(attend_view_weights(view), n, n));
    if (view->head == ATTEND_HEAD_ALL) {
        json_t *heads = json_array();
        for (size_t head = 0; head < result->num_heads; head++)
            append(&heads, matrix(result->weights + head * n * n, n, n));
        set(&object, "heads_weights", heads);
    }
    return object;
}

static json_t *timings(const attend_view *view) {
    json_t *object = json_object();
    set(&object, "load", json_real(view->timings.load_ms));
    set(&object, "prepare", json_real(view->timings.prepare_ms));
    set(&object, "run", json_real(view->timings.run_ms));
    return object;
}

json_t *attend_json(const attend_view *view) {
    const attend_result *result = view->result;
    json_t *object = json_object();
    set(&object, "schema", json_integer(1));
    set(&object, "device", json_string(view->device));
    set(&object, "text", json_stringn(view->input->text, view->input->length));
    set(&object, "truncated", json_boolean(view->input->tokens.truncated));
    set(&object, "tokens", tokens(view));
    set(&object, "ids", ids(view));
    set(&object, "embedding", attend_json_numbers(result->embedding, result->hidden_size));
    set(&object, "layers", json_integer((json_int_t)view->model->config.num_layers));
    set(&object, "heads", json_integer((json_int_t)result->num_heads));
    set(&object, "attention", attention(view));
    set(&object, "timings_ms", timings(view));
    return object;
}
