#include <math.h>
#include <pango/pangocairo.h>
#include <stdlib.h>
#include <string.h>

#include "../support/files.h"
#include "../support/text.h"
#include "colour.h"
#include "show.h"

enum {
    MARGIN = 16,
    GAP = 26,           /* between panels; holds a panel's title */
    LABEL_COLUMNS = 16, /* the widest token label */
    HEAD_ROOM = 50,     /* the title and the line below it */
    BAR_WIDTH = 16,
    BAR_ROOM = 76, /* colour bar with its figures */
    LARGEST_SIDE = 30000
};
static const double column_angle = -60.0 * 3.14159265358979323846 / 180.0;

/* Where everything goes, in pixels. */
typedef struct layout {
    size_t n, panels, columns, rows; /* panels side by side and one below the other */
    int cell;                        /* side of one weight */
    int step, column_step;           /* every step-th token is labelled */
    double font;
    double left, top; /* of the first panel */
    double panel;     /* side of one panel */
    double width, height;
    float most; /* the weight at the end of the colour scale */
    bool cut;   /* some weights are larger */
} layout;

/* Draws text with its vertical middle at (x, y): align 0 starts there, 1 ends there, 0.5 is centred. */
static void draw_text(cairo_t *cairo, const char *text, double x, double y, double font, double align, double angle,
                      bool bold) {
    PangoLayout *pango = pango_cairo_create_layout(cairo);
    PangoFontDescription *description = pango_font_description_from_string(bold ? "Sans Bold" : "Sans");
    int width, height;
    pango_font_description_set_absolute_size(description, font * PANGO_SCALE);
    pango_layout_set_font_description(pango, description);
    pango_layout_set_single_paragraph_mode(pango, TRUE);
    pango_layout_set_text(pango, text, -1);
    pango_layout_get_pixel_size(pango, &width, &height);
    cairo_save(cairo);
    cairo_translate(cairo, x, y);
    cairo_rotate(cairo, angle);
    cairo_move_to(cairo, -align * width, -height / 2.0);
    pango_cairo_show_layout(cairo, pango);
    cairo_restore(cairo);
    pango_font_description_free(description);
    g_object_unref(pango);
}

static double text_width(cairo_t *cairo, const char *text, double font) {
    PangoLayout *pango = pango_cairo_create_layout(cairo);
    PangoFontDescription *description = pango_font_description_from_string("Sans");
    int width, height;
    pango_font_description_set_absolute_size(description, font * PANGO_SCALE);
    pango_layout_set_font_description(pango, description);
    pango_layout_set_text(pango, text, -1);
    pango_layout_get_pixel_size(pango, &width, &height);
    pango_font_description_free(description);
    g_object_unref(pango);
    return width;
}

static void label_of(const attend_view *view, size_t position, char *out, size_t out_size) {
    tool_text_fit(out, out_size, attend_view_token(view, position), LABEL_COLUMNS);
}

static const float *panel_weights(const attend_view *view, size_t panel) {
    const size_t n = view->result->num_tokens;
    return view->head == ATTEND_HEAD_ALL ? view->result->weights + panel * n * n : attend_view_weights(view);
}

static int compare_floats(const void *left, const void *right) {
    const float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

/*
 * The end of the colour scale: what 199 in 200 weights on words do not exceed. [CLS] and [SEP] often take several
 * times as much as any word, and single words stand out too; they would leave everything else in the dark. What lies
 * above the end has the last colour.
 */
static bool find_scale_end(layout *plan, const attend_view *view, tool_error *error) {
    const size_t n = plan->n;
    float *words = tool_alloc(plan->panels * n * n, sizeof *words, error), all = 0.0f;
    size_t count = 0;
    if (words == NULL) return false;
    for (size_t panel = 0; panel < plan->panels; panel++) {
        const float *weights = panel_weights(view, panel);
        for (size_t i = 0; i < n * n; i++) {
            if (!isfinite(weights[i])) continue;
            all = fmaxf(all, weights[i]);
            if (!attend_view_is_special(view, i % n)) words[count++] = weights[i];
        }
    }
    qsort(words, count, sizeof *words, compare_floats);
    plan->most = count > 0 ? words[count - 1 - count / 200] : all;
    if (!(plan->most > 0.0f)) plan->most = all > 0.0f ? all : 1.0f;
    plan->cut = plan->most < all;
    free(words);
    return true;
}

static int clamp_int(size_t value, int least, int most) {
    return value < (size_t)least ? least : value > (size_t)most ? most : (int)value;
}

static layout plan_layout(const attend_view *view, cairo_t *measure) {
    layout plan = {.n = view->result->num_tokens, .panels = 1, .columns = 1, .rows = 1};
    if (view->head == ATTEND_HEAD_ALL) plan.panels = view->result->num_heads;
    while (plan.columns * plan.columns < plan.panels)
        plan.columns++;
    plan.rows = (plan.panels + plan.columns - 1) / plan.columns;
    plan.cell = plan.panels == 1 ? clamp_int(1020 / plan.n, 4, 64) : clamp_int(600 / plan.n, 2, 32);
    plan.font = fmin(14.0, fmax(9.0, plan.cell * 0.72));
    plan.step = (int)ceil(plan.font / plan.cell);
    plan.column_step = (int)ceil((plan.font + 1.0) / (plan.cell * -sin(column_angle)));
    double longest = 0.0;
    for (size_t i = 0; i < plan.n; i++) {
        char label[128];
        label_of(view, i, label, sizeof label);
        longest = fmax(longest, text_width(measure, label, plan.font));
    }
    plan.panel = (double)plan.n * plan.cell;
    plan.left = ceil(MARGIN + 22.0 + longest + 8.0);
    plan.top = ceil(MARGIN + HEAD_ROOM + (plan.panels > 1 ? GAP : 0) + longest * -sin(column_angle) + 14.0);
    plan.width =
        plan.left + (double)plan.columns * (plan.panel + GAP) + fmax(BAR_ROOM, longest * cos(column_angle)) + MARGIN;
    plan.height = plan.top + (double)plan.rows * (plan.panel + GAP) + MARGIN;
    plan.height = fmax(plan.height, plan.top + 140.0);
    plan.width = fmax(plan.width, 420.0);
    return plan;
}

/* One pixel per weight, then enlarged without smoothing: the cost does not grow with the cell. */
static bool draw_cells(cairo_t *cairo, const layout *plan, const float *weights, double left, double top) {
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)plan->n, (int)plan->n);
    bool ok = cairo_surface_status(image) == CAIRO_STATUS_SUCCESS;
    if (ok) {
        unsigned char *pixels = cairo_image_surface_get_data(image);
        size_t stride = (size_t)cairo_image_surface_get_stride(image);
        for (size_t row = 0; row < plan->n; row++)
            for (size_t column = 0; column < plan->n; column++) {
                uint32_t pixel = attend_colour(weights[row * plan->n + column] / plan->most);
                memcpy(pixels + row * stride + column * sizeof pixel, &pixel, sizeof pixel);
            }
        cairo_surface_mark_dirty(image);
        cairo_save(cairo);
        cairo_translate(cairo, left, top);
        cairo_scale(cairo, plan->cell, plan->cell);
        cairo_set_source_surface(cairo, image, 0, 0);
        cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_NEAREST);
        cairo_rectangle(cairo, 0, 0, (double)plan->n, (double)plan->n);
        cairo_fill(cairo);
        cairo_restore(cairo);
    }
    cairo_surface_destroy(image);
    return ok;
}

static void draw_figures(cairo_t *cairo, const layout *plan, const float *weights, double left, double top) {
    for (size_t row = 0; row < plan->n; row++)
        for (size_t column = 0; column < plan->n; column++) {
            float weight = weights[row * plan->n + column];
            char text[32];
            snprintf(text, sizeof text, "%.2f", (double)weight);
            double ink = attend_colour_is_dark(weight / plan->most) ? 1.0 : 0.0;
            cairo_set_source_rgb(cairo, ink, ink, ink);
            draw_text(cairo, text, left + ((double)column + 0.5) * plan->cell, top + ((double)row + 0.5) * plan->cell,
                      plan->cell * 0.27, 0.5, 0.0, false);
        }
    cairo_set_source_rgb(cairo, 0, 0, 0);
}

static void draw_row_labels(cairo_t *cairo, const attend_view *view, const layout *plan, double left, double top) {
    for (size_t i = 0; i < plan->n; i += (size_t)plan->step) {
        char label[128];
        label_of(view, i, label, sizeof label);
        draw_text(cairo, label, left - 6.0, top + ((double)i + 0.5) * plan->cell, plan->font, 1.0, 0.0, false);
    }
}

static void draw_column_labels(cairo_t *cairo, const attend_view *view, const layout *plan, double left, double top) {
    for (size_t i = 0; i < plan->n; i += (size_t)plan->column_step) {
        char label[128];
        label_of(view, i, label, sizeof label);
        draw_text(cairo, label, left + ((double)i + 0.5) * plan->cell, top - 6.0, plan->font, 0.0, column_angle, false);
    }
}

static bool draw_panel(cairo_t *cairo, const attend_view *view, const layout *plan, size_t panel) {
    const size_t column = panel % plan->columns, row = panel / plan->columns;
    const double left = plan->left + (double)column * (plan->panel + GAP);
    const double top = plan->top + (double)row * (plan->panel + GAP);
    const float *weights = panel_weights(view, panel);
    if (!draw_cells(cairo, plan, weights, left, top)) return false;
    if (plan->cell >= 36) draw_figures(cairo, plan, weights, left, top);
    if (plan->panels > 1) {
        char title[32];
        snprintf(title, sizeof title, "head %zu", panel);
        double above = row == 0 ? MARGIN + HEAD_ROOM + 6.0 : top - GAP / 2.0 + 1.0;
        draw_text(cairo, title, left, above, 12.0, 0.0, 0.0, true);
    }
    if (column == 0) draw_row_labels(cairo, view, plan, left, top);
    if (row == 0) draw_column_labels(cairo, view, plan, left, top);
    return true;
}

static void draw_bar(cairo_t *cairo, const layout *plan) {
    const double left = plan->left + (double)plan->columns * (plan->panel + GAP);
    const double height = floor(fmin(320.0, fmax(100.0, plan->panel)));
    for (int i = 0; i < (int)height; i++) {
        uint32_t pixel = attend_colour((float)(1.0 - (i + 0.5) / height));
        cairo_set_source_rgb(cairo, (pixel >> 16 & 255) / 255.0, (pixel >> 8 & 255) / 255.0, (pixel & 255) / 255.0);
        cairo_rectangle(cairo, left, plan->top + i, BAR_WIDTH, 1.0);
        cairo_fill(cairo);
    }
    cairo_set_source_rgb(cairo, 0, 0, 0);
    for (int tick = 0; tick <= 4; tick++) {
        char text[32];
        const char *open = tick == 4 && plan->cut ? "\xE2\x89\xA5 " : "";
        snprintf(text, sizeof text, "%s%.*f", open, plan->most < 0.3f ? 3 : 2, (double)plan->most * tick / 4.0);
        draw_text(cairo, text, left + BAR_WIDTH + 6.0, plan->top + height * (1.0 - tick / 4.0), 11.0, 0.0, 0.0, false);
    }
}

static bool draw_all(cairo_t *cairo, const attend_view *view, const layout *plan) {
    char head[64], title[128];
    attend_view_describe_head(view, head, sizeof head);
    if (view->head == ATTEND_HEAD_ALL) snprintf(head, sizeof head, "each of %zu heads", view->result->num_heads);
    snprintf(title, sizeof title, "Attention weights, layer %zu, %s", view->result->layer, head);
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    cairo_set_source_rgb(cairo, 0, 0, 0);
    draw_text(cairo, title, MARGIN, MARGIN + 8.0, 16.0, 0.0, 0.0, true);
    cairo_set_source_rgb(cairo, 0.3, 0.3, 0.3);
    draw_text(cairo, "columns: key, the token attended to", plan->left, MARGIN + 32.0, 12.0, 0.0, 0.0, false);
    draw_text(cairo, "rows: query, the token that attends", MARGIN + 6.0, plan->top + 2.0, 12.0, 1.0,
              -90.0 * 3.14159265358979323846 / 180.0, false);
    cairo_set_source_rgb(cairo, 0, 0, 0);
    for (size_t panel = 0; panel < plan->panels; panel++)
        if (!draw_panel(cairo, view, plan, panel)) return false;
    draw_bar(cairo, plan);
    return true;
}

static cairo_status_t write_png(void *closure, const unsigned char *data, unsigned length) {
    return fwrite(data, 1, length, (FILE *)closure) == length ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static bool save(cairo_surface_t *surface, const char *path, tool_error *error) {
    tool_output output;
    if (!tool_output_open(&output, path, error)) return false;
    cairo_status_t status = cairo_surface_write_to_png_stream(surface, write_png, output.stream);
    if (status != CAIRO_STATUS_SUCCESS) {
        tool_output_abort(&output);
        return tool_fail(error, "%s: %s", path, cairo_status_to_string(status));
    }
    return tool_output_commit(&output, error);
}

bool attend_picture_write(const attend_view *view, const char *path, tool_error *error) {
    cairo_surface_t *scratch = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1);
    cairo_t *cairo = cairo_create(scratch);
    layout plan = plan_layout(view, cairo);
    cairo_destroy(cairo);
    cairo_surface_destroy(scratch);
    if (!find_scale_end(&plan, view, error)) return false;
    if (plan.width > LARGEST_SIDE || plan.height > LARGEST_SIDE)
        return tool_fail(error, "%s: a picture of %zu tokens and %zu heads is too large", path, plan.n, plan.panels);
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)ceil(plan.width), (int)ceil(plan.height));
    cairo = cairo_create(surface);
    bool ok = draw_all(cairo, view, &plan) && cairo_status(cairo) == CAIRO_STATUS_SUCCESS;
    cairo_destroy(cairo);
    cairo_surface_flush(surface);
    ok = ok ? save(surface, path, error) : tool_fail(error, "%s: drawing failed", path);
    cairo_surface_destroy(surface);
    return ok;
}
