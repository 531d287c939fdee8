/* What is shown of one text's run, and in which forms. */
#ifndef ATTEND_SHOW_H
#define ATTEND_SHOW_H

#include <jansson.h>
#include <stdio.h>

#include "engine.h"
#include "model.h"

/* Values of attend_view.head that are not the number of a head. */
enum { ATTEND_HEAD_MEAN = -1, ATTEND_HEAD_ALL = -2 };

typedef struct attend_timings {
    double load_ms;    /* reading config, vocabulary and weights' header */
    double prepare_ms; /* weights to the device, plans */
    double run_ms;     /* this text, from tokens to embedding */
} attend_timings;

typedef struct attend_view {
    const attend_model *model;
    const attend_input *input;
    const attend_result *result;
    const char *device;
    int head;
    attend_timings timings;
} attend_view;

/* The matrix to show: one head's weights, else the mean over the heads. */
const float *attend_view_weights(const attend_view *view);
/* "head 3", "mean over 12 heads". */
void attend_view_describe_head(const attend_view *view, char *out, size_t out_size);
const char *attend_view_token(const attend_view *view, size_t position);
/* [CLS] and [SEP] at the ends: heads without anything better to do attend to them. */
bool attend_view_is_special(const attend_view *view, size_t position);

/* A table: for each token whom it attends to most. */
void attend_table_print(FILE *stream, const attend_view *view);

/* One JSON object, schema 1; NULL when memory is exhausted. README and --help document the members. */
json_t *attend_json(const attend_view *view);
/* Array of `count` numbers; what is not finite is null. */
json_t *attend_json_numbers(const float *values, size_t count);

/* A heat map as PNG; for ATTEND_HEAD_ALL a grid of them. */
bool attend_picture_write(const attend_view *view, const char *path, tool_error *error);

/* x, q, k, v, scores, weights, heads, output and embedding as .npy files in a folder that is made where
 * it does not exist. */
bool attend_export(const attend_view *view, const char *directory, tool_error *error);

#endif
