/* What `blanch eval` found of each class: reading it, and its part of a page. */
#include "base/text.h"
#include "html.h"
#include "io/document.h"
#include "io/files.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CLASSES = 1 << 16, MOST_CELLS = 256, LABELLED = 32 }; // of which more make no picture; show no names

/* --- reading ---------------------------------------------------------------------------------- */

static int read_class(const cJSON *json, struct bl_eval_class *class) {
    const bool pixels = cJSON_GetObjectItemCaseSensitive(json, "pixels") != NULL;
    *class = (struct bl_eval_class){.images = bl_json_get(json, pixels ? "pixels" : "images"),
                                    .iou = bl_json_get(json, "iou"),
                                    .precision = bl_json_get(json, "precision"),
                                    .recall = bl_json_get(json, "recall"),
                                    .f1 = bl_json_get(json, "f1")};
    return (class->name = bl_strdup(bl_json_text(json, "name"))) ? 0 : BLANCH_ENOMEM;
}

static int read_classes(const cJSON *list, struct bl_eval_result *eval) {
    const int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    int code = 0;
    if (count < 1 || count > MOST_CLASSES) return bl_fail(BLANCH_EINPUT, "\"classes\" is no list of them");
    if (!(eval->class = bl_calloc((size_t)count, sizeof *eval->class))) return BLANCH_ENOMEM;
    for (const cJSON *item = list->child; item && !code; item = item->next)
        code = read_class(item, &eval->class[eval->classes++]);
    return code;
}

/* A row for every class, of a number for every class. */
static int read_confusion(const cJSON *rows, struct bl_eval_result *eval) {
    const size_t classes = (size_t)eval->classes;
    if (!rows) return 0;
    bool right = cJSON_IsArray(rows) && classes <= MOST_CELLS && cJSON_GetArraySize(rows) == (int)classes;
    if (right && !(eval->confusion = bl_calloc(classes * classes, sizeof *eval->confusion))) return BLANCH_ENOMEM;
    double *to = eval->confusion;
    for (const cJSON *row = right ? rows->child : NULL; row && right; row = row->next) {
        right = cJSON_IsArray(row) && cJSON_GetArraySize(row) == (int)classes;
        for (const cJSON *item = right ? row->child : NULL; item && right; item = item->next)
            right = (*to++ = bl_json_value(item)) >= 0;
    }
    return right ? 0 : bl_fail(BLANCH_EINPUT, "\"confusion\" is not a number for every two classes");
}

int bl_eval_read(const cJSON *json, struct bl_eval_result **eval) {
    struct bl_header header;
    bl_header_read(json, &header);
    *eval = NULL;
    if (strcmp(header.kind, "eval")) return bl_fail(BLANCH_EINPUT, "it is not what `blanch eval` writes");
    struct bl_eval_result *made = bl_calloc(1, sizeof *made);
    if (!made) return BLANCH_ENOMEM;
    made->images = bl_json_get(json, "images");
    made->loss = bl_json_get(json, "loss");
    made->top1 = bl_json_get(json, "top1");
    made->top5 = bl_json_get(json, "top5");
    made->pixels = bl_json_get(json, "pixels");
    made->mean_iou = bl_json_get(json, "mean_iou");
    made->pixel_accuracy = bl_json_get(json, "pixel_accuracy");
    made->split = bl_strdup(bl_json_text(json, "split"));
    made->data = bl_strdup(bl_json_text(json, "data"));
    made->weights = bl_strdup(bl_json_text(json, "weights"));
    int code = made->split && made->data && made->weights ? 0 : BLANCH_ENOMEM;
    if (!code) code = read_classes(cJSON_GetObjectItemCaseSensitive(json, "classes"), made);
    if (!code) code = read_confusion(cJSON_GetObjectItemCaseSensitive(json, "confusion"), made);
    if (code)
        bl_eval_free(made);
    else
        *eval = made;
    return code;
}

void bl_eval_free(struct bl_eval_result *eval) {
    if (!eval) return;
    for (int c = 0; c < eval->classes; c++) free(eval->class[c].name);
    free(eval->class), free(eval->confusion), free(eval->overlays);
    free(eval->split), free(eval->data), free(eval->weights);
    free(eval);
}

/* --- JSON ------------------------------------------------------------------------------------- */

cJSON *bl_eval_json(const struct bl_eval_result *eval) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "split", eval->split);
    cJSON_AddStringToObject(json, "data", eval->data);
    cJSON_AddStringToObject(json, "weights", eval->weights);
    cJSON_AddItemToObject(json, "images", bl_json_number(eval->images, 15));
    cJSON_AddItemToObject(json, "loss", bl_json_number(eval->loss, 9));
    const bool pixels = !isnan(eval->pixels);
    if (pixels) {
        cJSON_AddItemToObject(json, "pixels", bl_json_number(eval->pixels, 15));
        cJSON_AddItemToObject(json, "mean_iou", bl_json_number(eval->mean_iou, 6));
        cJSON_AddItemToObject(json, "pixel_accuracy", bl_json_number(eval->pixel_accuracy, 6));
    } else {
        cJSON_AddItemToObject(json, "top1", bl_json_number(eval->top1, 6));
        cJSON_AddItemToObject(json, "top5", bl_json_number(eval->top5, 6));
    }
    cJSON *classes = cJSON_AddArrayToObject(json, "classes");
    for (int c = 0; c < eval->classes; c++) {
        cJSON *class = cJSON_CreateObject();
        cJSON_AddStringToObject(class, "name", eval->class[c].name);
        cJSON_AddItemToObject(class, pixels ? "pixels" : "images", bl_json_number(eval->class[c].images, 15));
        if (pixels) cJSON_AddItemToObject(class, "iou", bl_json_number(eval->class[c].iou, 6));
        cJSON_AddItemToObject(class, "precision", bl_json_number(eval->class[c].precision, 6));
        cJSON_AddItemToObject(class, "recall", bl_json_number(eval->class[c].recall, 6));
        cJSON_AddItemToObject(class, "f1", bl_json_number(eval->class[c].f1, 6));
        cJSON_AddItemToArray(classes, class);
    }
    cJSON *rows = eval->confusion ? cJSON_AddArrayToObject(json, "confusion") : NULL;
    for (int c = 0; rows && c < eval->classes; c++)
        cJSON_AddItemToArray(
            rows, cJSON_CreateDoubleArray(eval->confusion + (size_t)c * (size_t)eval->classes, eval->classes));
    return json;
}

/* --- the page --------------------------------------------------------------------------------- */

/* As many bytes of a name as a label shows. */
static void put_label(struct bl_html *html, const char *name) {
    char text[24];
    bl_text_show(text, sizeof text, name);
    bl_html_text(html, text);
}

static void put_cell(struct bl_html *html, const struct bl_eval_result *eval, int label, int answer, double all) {
    const double count = eval->confusion[(size_t)label * (size_t)eval->classes + (size_t)answer];
    if (!(count > 0)) return;
    bl_html(html, "<rect x=\"%d\" y=\"%d\" width=\"1\" height=\"1\" fill-opacity=\"%.3f\"", answer, label,
            0.08 + 0.92 * count / all);
    if (eval->classes > LABELLED) {
        bl_html(html, "/>");
        return;
    }
    bl_html(html, "><title>");
    bl_html_text(html, eval->class[label].name);
    bl_html(html, label == answer ? ": " : " taken for ");
    if (label != answer) bl_html_text(html, eval->class[answer].name);
    bl_html(html, "%s%.0f</title></rect>", label == answer ? "" : ": ", count);
    bl_html(html, "<text class=\"%s\" x=\"%g\" y=\"%g\">%.0f</text>", count > 0.5 * all ? "on" : "off", answer + 0.5,
            label + 0.65, count);
}

/* A row for each class's images, a column for each answer; how dark, by the row. */
static void put_matrix(struct bl_html *html, const struct bl_eval_result *eval) {
    const int n = eval->classes;
    const bool labelled = n <= LABELLED;
    bl_html(html,
            "<figure class=\"matrix\"><figcaption>Images of a class (row), by what was answered "
            "(column)</figcaption>\n<svg viewBox=\"%d %d %d %d\" role=\"img\" aria-label=\"confusion matrix\">",
            labelled ? -6 : 0, labelled ? -1 : 0, n + (labelled ? 6 : 0), n + (labelled ? 1 : 0));
    bl_html(html, "<rect class=\"frame\" x=\"0\" y=\"0\" width=\"%d\" height=\"%d\"/>\n", n, n);
    for (int label = 0; label < n; label++) {
        double all = 0;
        for (int answer = 0; answer < n; answer++) all += eval->confusion[(size_t)label * (size_t)n + (size_t)answer];
        for (int answer = 0; answer < n && all > 0; answer++) put_cell(html, eval, label, answer, all);
        if (labelled) {
            bl_html(html, "<text class=\"row\" x=\"-.2\" y=\"%g\">", label + 0.65);
            put_label(html, eval->class[label].name);
            bl_html(html, " %d</text><text class=\"off\" x=\"%g\" y=\"-.3\">%d</text>\n", label, label + 0.5, label);
        }
    }
    bl_html(html, "</svg></figure>\n");
}

static void put_class(struct bl_html *html, const struct bl_eval_class *class, int number, bool pixels) {
    bl_html(html, "<tr><td data-v=\"%d\">%d ", number, number);
    bl_html_text(html, class->name);
    bl_html(html, "</td>");
    bl_html_cell(html, class->images, bl_whole(class->images));
    if (pixels) bl_html_cell(html, class->iou, bl_fixed(class->iou, 2));
    bl_html_cell(html, class->precision, bl_fixed(class->precision, 2));
    bl_html_cell(html, class->recall, bl_fixed(class->recall, 2));
    bl_html_cell(html, class->f1, bl_fixed(class->f1, 2));
    bl_html(html, "</tr>\n");
}

/* In the page itself, in base64. */
static void put_overlays(struct bl_html *html, const struct bl_eval_result *eval) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (!eval->overlays) return;
    bl_html(html, "<figure><figcaption>Images, their masks, what was answered</figcaption>\n"
                  "<img alt=\"overlays\" src=\"data:image/png;base64,");
    for (size_t i = 0; i < eval->overlays_size; i += 3) {
        const size_t left = eval->overlays_size - i;
        uint32_t bits = (uint32_t)eval->overlays[i] << 16;
        if (left > 1) bits |= (uint32_t)eval->overlays[i + 1] << 8;
        if (left > 2) bits |= eval->overlays[i + 2];
        bl_html(html, "%c%c%c%c", digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=',
                left > 2 ? digits[bits & 63] : '=');
    }
    bl_html(html, "\"></figure>\n");
}

void bl_html_eval(struct bl_html *html, const struct bl_eval_result *eval) {
    if (!eval) return;
    bl_html(html, "<h2>Each class</h2>\n<p>");
    bl_html_text(html, eval->weights);
    bl_html(html, " on ");
    bl_html_text(html, eval->data);
    bl_html(html, " (");
    bl_html_text(html, eval->split);
    const bool pixels = !isnan(eval->pixels);
    bl_html(html, "): %s images, loss %s, %s %s&nbsp;%%, %s %s&nbsp;%%.</p>\n", bl_whole(eval->images),
            bl_fixed(eval->loss, 4), pixels ? "mean IoU" : "top-1", bl_fixed(pixels ? eval->mean_iou : eval->top1, 2),
            pixels ? "pixels" : "top-5", bl_fixed(pixels ? eval->pixel_accuracy : eval->top5, 2));
    put_overlays(html, eval);
    if (eval->confusion) put_matrix(html, eval);
    bl_html(html,
            "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\"><thead><tr><th>class</th><th>%s</th>%s"
            "<th>precision %%</th><th>recall %%</th><th>F1 %%</th></tr></thead>\n<tbody>\n",
            pixels ? "pixels" : "images", pixels ? "<th>IoU %</th>" : "");
    for (int c = 0; c < eval->classes; c++) put_class(html, &eval->class[c], c, pixels);
    bl_html(html, "</tbody></table></div>\n");
}
