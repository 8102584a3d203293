/* blanch predict: classifies images. */
#include "base/path.h"
#include "cli/common.h"
#include "cli/overlays.h"
#include "cli/weights.h"
#include "io/files.h"
#include "io/png.h"
#include "base/replace.h"
#include "report/html.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEST = 5, MOST_BEST = 1000 };

struct predict {
    struct bl_weights_options o;
    struct bl_trained t;
    int best;          // classes of an image
    const char *csv;   // file; NULL: none
    const char *masks; // folder of the masks of a network that labels pixels
    int status;        // the exit status that images which were left out ask for
    float *image, *logits;
    int *order;             // (best) of an image's classes
    cJSON *json;            // NULL: not wanted
    struct bl_replace file; // of csv, open from the beginning on
    struct bl_html out;     // what is to be written to it
};

static int softmax(float *logits, int classes, const char *path) {
    double largest = -INFINITY, sum = 0;
    for (int c = 0; c < classes; c++) {
        if (!isfinite(logits[c])) return bl_fail(BLANCH_EDIVERGED, "%s: what the network computes is not finite", path);
        largest = fmax(largest, (double)logits[c]);
    }
    for (int c = 0; c < classes; c++) sum += exp((double)logits[c] - largest);
    for (int c = 0; c < classes; c++) logits[c] = (float)(exp((double)logits[c] - largest) / sum);
    return 0;
}

/* The likeliest classes first; returns how many. */
static int rank(const float *probability, int classes, int *best, int most) {
    int count = 0;
    for (int c = 0; c < classes; c++) {
        int at = count < most ? count++ : most - 1;
        if (c >= most && probability[c] <= probability[best[at]]) continue;
        for (; at > 0 && probability[c] > probability[best[at - 1]]; at--) best[at] = best[at - 1];
        best[at] = c;
    }
    return count;
}

/* --- what is written of an image ---------------------------------------------------------------- */

static void put_text(const struct predict *p, const char *path, int count) {
    printf("%s\n", bl_shown(path));
    for (int i = 0; i < count; i++)
        printf("  %6.2f %%  %4d  %s\n", 100.0 * (double)p->logits[p->order[i]], p->order[i],
               bl_shown(bl_trained_class(&p->t, p->order[i])));
}

static void put_json(const struct predict *p, const char *path, int count) {
    cJSON *json = cJSON_CreateObject(), *classes = cJSON_CreateArray();
    cJSON_AddStringToObject(json, "image", path);
    cJSON_AddItemToObject(json, "classes", classes);
    for (int i = 0; i < count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "class", p->order[i]);
        cJSON_AddStringToObject(item, "name", bl_trained_class(&p->t, p->order[i]));
        cJSON_AddItemToObject(item, "probability", bl_json_number((double)p->logits[p->order[i]], 6));
        cJSON_AddItemToArray(classes, item);
    }
    cJSON_AddItemToArray(p->json, json);
}

/* image, class_1, probability_1, ...: a class without a name is its number. count 0: the image was left out. */
static void put_row(struct predict *p, const char *path, int count) {
    bl_csv_text(&p->out, path);
    for (int i = 0; i < p->best; i++) {
        const char *name = i < count ? bl_trained_class(&p->t, p->order[i]) : "";
        bl_html(&p->out, ",");
        bl_csv_text(&p->out, name);
        if (i < count && !*name) bl_html(&p->out, "%d", p->order[i]);
        bl_html(&p->out, ",");
        if (i < count) bl_html(&p->out, "%.6g", (double)p->logits[p->order[i]]);
    }
    bl_html(&p->out, "\n");
}

static void put(struct predict *p, const char *path, int count) {
    if (p->csv) put_row(p, path, count);
    if (p->json) put_json(p, path, count);
    if (!p->csv && !p->json) put_text(p, path, count);
}

/* --- classifying ------------------------------------------------------------------------------ */

/* An image as the loader's batches are, NHWC. */
static int logits_of(struct predict *p) {
    struct bl_graph *graph = p->t.net->graph;
    int code = bl_tensor_write_nhwc(bl_graph_in(graph), 1, p->image);
    if (!code) code = bl_graph_forward(graph, 1, false);
    return code ? code : bl_tensor_read(graph, bl_graph_out(graph), 1, p->logits);
}

/* The mask of an image, with a palette: FOLDER/NAME.png. */
static int write_mask(struct predict *p, const char *path) {
    const struct bl_view *view = &p->t.view;
    const size_t pixels = (size_t)view->height * (size_t)view->width;
    const char *name = bl_path_name(path), *dot = strrchr(name, '.');
    uint8_t palette[256][3], *answers = bl_calloc(pixels, 1);
    char *to = bl_format("%s/%.*s.png", p->masks, dot ? (int)(dot - name) : (int)strlen(name), name);
    for (int i = 0; i < 256; i++) bl_png_class_colour(i, palette[i]);
    for (size_t i = 0; i < bl_network_logit_count(p->t.net); i++)
        if (!isfinite(p->logits[i])) {
            free(answers), free(to);
            return bl_fail(BLANCH_EDIVERGED, "%s: what the network computes is not finite", path);
        }
    int code = answers && to ? 0 : BLANCH_ENOMEM;
    if (!code) bl_likeliest_pixels(p->logits, p->t.net->options.classes, pixels, answers);
    const struct bl_png_image mask = {answers, view->width, view->height, 1, palette[0], 256};
    if (!code) code = bl_png_write(to, &mask);
    if (!code && !p->json) printf("%s\n", bl_shown(to));
    if (!code && p->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "image", path);
        cJSON_AddStringToObject(json, "mask", to);
        cJSON_AddItemToArray(p->json, json);
    }
    free(answers), free(to);
    return code;
}

static int classify_one(struct predict *p, const char *path) {
    const int classes = p->t.net->options.classes;
    int code = bl_image_file(path, &p->t.view, p->image);
    if (!code) code = logits_of(p);
    if (!code && p->masks) return write_mask(p, path);
    if (!code) code = softmax(p->logits, classes, path);
    if (!code) put(p, path, rank(p->logits, classes, p->order, p->best));
    return code ? code : p->out.error;
}

/* An image that cannot be classified is named, and the others are classified. */
static bool is_of_image(int code) {
    return code == BLANCH_EINPUT || code == BLANCH_EIO || code == BLANCH_ELIMIT || code == BLANCH_EDIVERGED;
}

static void leave_out(struct predict *p, const char *path, int code) {
    bl_print_error(code);
    if (p->csv) put_row(p, path, 0);
    if (!p->json) return;
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "image", path);
    cJSON_AddStringToObject(entry, "error", blanch_error_message());
    cJSON_AddItemToArray(p->json, entry);
}

static int make_room(struct predict *p) {
    const struct bl_view *view = &p->t.view;
    const int classes = p->t.net->options.classes;
    if (p->best > classes) p->best = classes;
    const bool pixels = bl_graph_pixels(p->t.net->graph) > 1;
    if (pixels != (p->masks != NULL))
        return bl_fail(BLANCH_EUSAGE,
                       pixels ? "%s labels pixels: --masks FOLDER says where their masks are written"
                              : "%s labels whole images: leave --masks out",
                       p->t.net->model->name);
    if (p->masks && p->csv) return bl_fail(BLANCH_EUSAGE, "--csv is of whole images: leave it out beside --masks");
    int made = p->masks ? bl_make_dirs(p->masks) : 0;
    if (made) return made;
    p->image = bl_calloc((size_t)view->channels * (size_t)view->height * (size_t)view->width, sizeof *p->image);
    p->logits = bl_calloc(bl_network_logit_count(p->t.net), sizeof *p->logits);
    p->order = bl_calloc((size_t)p->best, sizeof *p->order);
    p->json = p->o.common.json ? cJSON_CreateArray() : NULL;
    if (!p->image || !p->logits || !p->order || (p->o.common.json && !p->json)) return BLANCH_ENOMEM;
    if (!p->csv) return 0;
    bl_html(&p->out, "image");
    for (int i = 1; i <= p->best; i++) bl_html(&p->out, ",class_%d,probability_%d", i, i);
    bl_html(&p->out, "\n");
    return p->out.error ? p->out.error : bl_replace_open(&p->file, p->csv);
}

static int finish(struct predict *p) {
    if (p->csv && !p->json) printf("%s\n", bl_shown(p->csv));
    if (!p->json) return 0;
    cJSON *json = bl_document("predict", blanch_device_info(p->t.dev), bl_options_json(p->o.common.options));
    cJSON_AddItemToObject(json, "images", p->json);
    p->json = NULL;
    return bl_print_json(json);
}

/* --- images ------------------------------------------------------------------------------------- */

static int write_out(struct predict *p) {
    int code = p->out.error;
    if (!code && p->out.size) code = bl_replace_write(&p->file, p->out.data, p->out.size);
    p->out.size = 0;
    return code;
}

/* code: how one image, or listing a folder, went. */
static int go_on(struct predict *p, const char *path, int code) {
    if (is_of_image(code)) {
        leave_out(p, path, code);
        if (bl_exit_status(code) > p->status) p->status = bl_exit_status(code);
        code = 0;
    }
    if (!code && p->csv) code = write_out(p);
    return code ? code : bl_check_interrupted();
}

static int classify_folder(struct predict *p, const char *folder) {
    char **paths;
    size_t count;
    uint32_t others;
    int code = bl_image_list(folder, &paths, &count, &others);
    if (code) return go_on(p, folder, code);
    if (others) bl_progress_line(NULL, "%s: %u file%s of types not read", folder, others, others == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++) {
        if (!code) code = go_on(p, paths[i], classify_one(p, paths[i]));
        free(paths[i]);
    }
    free(paths);
    return code;
}

static int classify_all(struct predict *p, char **named, int count) {
    int code = 0;
    for (int i = 0; i < count && !code; i++)
        code = bl_is_folder(named[i]) ? classify_folder(p, named[i]) : go_on(p, named[i], classify_one(p, named[i]));
    if (p->csv) code = bl_replace_close(&p->file, code);
    return code;
}

/* A positive result is the exit status where images were left out: the highest that one of them asks for. */
static int predict(struct predict *p, char **named, int count) {
    if (!count) return bl_fail(BLANCH_EUSAGE, "no image is named; usage: blanch predict IMAGE... --run DIR");
    if (p->o.run && p->o.data)
        return bl_fail(BLANCH_EUSAGE, "--data goes with --weights: a run knows its classes and its normalisation");
    int code = bl_trained_open(&p->t, &p->o);
    if (code) return code;
    if (!(code = bl_network_check_kind(p->t.net, BL_CLASSIFY)) && !(code = make_room(p)) &&
        !(code = classify_all(p, named, count)))
        code = finish(p);
    bl_trained_close(&p->t);
    cJSON_Delete(p->json);
    free(p->image), free(p->logits), free(p->order), free(p->out.data);
    return code ? code : p->status;
}

static int run(int argc, char **argv) {
    struct predict p = {.o = {.batch = 1}, .best = BEST};
    struct bl_weights_options *o = &p.o;
    bool help;
    int count = 0;
    bl_common_init(&o->common);
    const struct bl_option own[] = {
        {"run", BL_OPT_TEXT, &o->run, 0, 0, "DIR", "a run: its last weights, settings and class names"},
        {"best", BL_OPT_FLAG, &o->best, 0, 0, NULL, "the run's best weights instead"},
        {"weights", BL_OPT_TEXT, &o->weights, 0, 0, "FILE",
         "a state dict as safetensors; --model and --norm where it does not say"},
        {"normalise", BL_OPT_TEXT, &o->normalise, 0, 0, "NAME",
         "of weights that do not say: imagenet, cifar10, none, ..."},
        {"data", BL_OPT_TEXT, &o->data, 0, 0, "SPEC",
         "the dataset that gives classes and normalisation (with --weights)"},
        {"topk", BL_OPT_INT, &p.best, 1, MOST_BEST, "K", "classes of each image (5)"},
        {"masks", BL_OPT_TEXT, &p.masks, 0, 0, "FOLDER", "of a network that labels pixels: a PNG of each image's"},
        {"csv", BL_OPT_TEXT, &p.csv, 0, 0, "FILE", "a row of each image, as comma-separated values, instead"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &o->common, BL_COMMON_NETWORK | BL_COMMON_DEVICE | BL_COMMON_ND | BL_COMMON_JSON);
    int code = bl_options_parse(&bl_command_predict, options, argc, argv, &count, &help);
    if (code || help) return code;
    bl_end_in_order();
    return predict(&p, argv + 1, count);
}

const struct bl_command bl_command_predict = {
    .name = "predict",
    .summary = "classifies images with a trained network",
    .usage =
        "usage: blanch predict IMAGE|FOLDER... --run DIR [--best] [options]\n"
        "       blanch predict IMAGE|FOLDER... --weights FILE [--model NAME --norm NORM] [--data SPEC] "
        "[options]\n"
        "\n"
        "Prints the five likeliest classes of each image, with their probabilities; of a folder, of all images below\n"
        "it. --csv writes them to a file: image, class_1, probability_1, ... Of a network that labels pixels, --masks\n"
        "FOLDER gets a PNG of each image, its indices the classes. An image that cannot be read is named, the others "
        "are\n"
        "classified, and the exit status is 2.\n",
    .run = run,
};
