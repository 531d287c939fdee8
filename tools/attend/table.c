#include <string.h>

#include "../support/text.h"
#include "show.h"

enum { TOP = 3, WIDEST_TOKEN = 18 };

/* The keys, ends left out, to which row `weights` gives most; returns how many there are, at most TOP. */
static size_t find_top(const attend_view *view, const float *weights, size_t *top) {
    size_t count = 0;
    for (size_t key = 0; key < view->result->num_tokens; key++) {
        if (attend_view_is_special(view, key)) continue;
        size_t place = count;
        while (place > 0 && weights[key] > weights[top[place - 1]])
            place--;
        if (place >= TOP) continue;
        count += count < TOP;
        for (size_t i = count - 1; i > place; i--)
            top[i] = top[i - 1];
        top[place] = key;
    }
    return count;
}

static float special_share(const attend_view *view, const float *weights) {
    float sum = 0.0f;
    for (size_t key = 0; key < view->result->num_tokens; key++)
        if (attend_view_is_special(view, key)) sum += weights[key];
    return sum;
}

static size_t widest_token(const attend_view *view) {
    size_t widest = strlen("token");
    for (size_t i = 0; i < view->result->num_tokens; i++) {
        size_t width = tool_text_width(attend_view_token(view, i));
        widest = width > widest ? width : widest;
    }
    return widest < WIDEST_TOKEN ? widest : WIDEST_TOKEN;
}

static void print_row(FILE *stream, const attend_view *view, size_t query, size_t width) {
    const float *weights = attend_view_weights(view) + query * view->result->num_tokens;
    size_t top[TOP], count = find_top(view, weights, top);
    fprintf(stream, "%4zu  ", query);
    tool_text_print(stream, attend_view_token(view, query), width, false);
    fprintf(stream, " ");
    for (size_t i = 0; i < count; i++) {
        fprintf(stream, "  ");
        tool_text_print(stream, attend_view_token(view, top[i]), width, false);
        fprintf(stream, " %5.1f%%", 100.0 * (double)weights[top[i]]);
    }
    for (size_t i = count; i < TOP; i++)
        fprintf(stream, "%*s", (int)(width + 9), "");
    fprintf(stream, "    %5.1f%%\n", 100.0 * (double)special_share(view, weights));
}

void attend_table_print(FILE *stream, const attend_view *view) {
    const size_t width = widest_token(view), column = width + 9;
    char head[64];
    attend_view_describe_head(view, head, sizeof head);
    fprintf(stream, "Layer %zu of 0 to %zu, %s, on %s\n\n", view->result->layer, view->model->config.num_layers - 1,
            head, view->device);
    fprintf(stream, "   #  %-*s   attends most to%*s[CLS], [SEP]\n", (int)width, "token",
            (int)(TOP * column - strlen("attends most to")), "");
    for (size_t i = 0; i < view->result->num_tokens; i++)
        print_row(stream, view, i, width);
}
