/* blanch predict: classifies images. */
#include "cli/common.h"
#include "cli/weights.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BEST = 5 };

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
static int rank(const float *probability, int classes, int best[BEST]) {
    int count = 0;
    for (int c = 0; c < classes; c++) {
        int at = count < BEST ? count++ : BEST - 1;
        if (at == BEST - 1 && count == BEST && c >= BEST && probability[c] <= probability[best[at]]) continue;
        for (; at > 0 && probability[c] > probability[best[at - 1]]; at--) best[at] = best[at - 1];
        best[at] = c;
    }
    return count;
}

static void print_text(const struct bl_trained *t, const char *path, const float *probability, const int *best,
                       int count) {
    printf("%s\n", bl_shown(path));
    for (int i = 0; i < count; i++)
        printf("  %6.2f %%  %4d  %s\n", 100.0 * (double)probability[best[i]], best[i],
               bl_shown(bl_trained_class(t, best[i])));
}

static cJSON *image_json(const struct bl_trained *t, const char *path, const float *probability, const int *best,
                         int count) {
    cJSON *json = cJSON_CreateObject(), *classes = cJSON_CreateArray();
    cJSON_AddStringToObject(json, "image", path);
    cJSON_AddItemToObject(json, "classes", classes);
    for (int i = 0; i < count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "class", best[i]);
        cJSON_AddStringToObject(item, "name", bl_trained_class(t, best[i]));
        cJSON_AddItemToObject(item, "probability", bl_json_number((double)probability[best[i]], 6));
        cJSON_AddItemToArray(classes, item);
    }
    return json;
}

/* images: NHWC, as the loader's batches are. */
static int logits_of(struct bl_trained *t, const float *image, float *logits) {
    int code = bl_tensor_write_nhwc(bl_graph_in(t->net->graph), 1, image);
    if (!code) code = bl_graph_forward(t->net->graph, 1, false);
    return code ? code : bl_tensor_read(t->net->graph, bl_graph_out(t->net->graph), 1, logits);
}

/* json NULL: lines of text. */
static int classify_one(struct bl_trained *t, const char *path, float *image, float *logits, cJSON *json) {
    int classes = t->net->options.classes, best[BEST];
    int code = bl_image_file(path, &t->view, image);
    if (code || (code = logits_of(t, image, logits)) || (code = softmax(logits, classes, path))) return code;
    int ranked = rank(logits, classes, best);
    if (json)
        cJSON_AddItemToArray(json, image_json(t, path, logits, best, ranked));
    else
        print_text(t, path, logits, best, ranked);
    return 0;
}

/* An image that cannot be classified is named, and the others are classified. */
static bool is_of_image(int code) {
    return code == BLANCH_EINPUT || code == BLANCH_EIO || code == BLANCH_ELIMIT || code == BLANCH_EDIVERGED;
}

static void leave_out(const char *path, int code, cJSON *json) {
    bl_print_error(code);
    if (!json) return;
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "image", path);
    cJSON_AddStringToObject(entry, "error", blanch_error_message());
    cJSON_AddItemToArray(json, entry);
}

static int print_document(const struct bl_trained *t, const struct bl_common *common, cJSON *images) {
    cJSON *json = bl_document("predict", 2, blanch_device_info(t->dev), bl_options_json(common->options));
    cJSON_AddItemToObject(json, "images", images);
    return bl_print_json(json);
}

/* A positive result is the exit status where images were left out: the highest that one of them asks for. */
static int classify(struct bl_trained *t, char **paths, int count, const struct bl_common *common) {
    int code = 0, status = 0;
    float *image = bl_calloc((size_t)t->view.channels * (size_t)t->view.height * (size_t)t->view.width, sizeof *image);
    float *logits = bl_calloc((size_t)t->net->options.classes, sizeof *logits);
    cJSON *all = common->json ? cJSON_CreateArray() : NULL;
    if (!image || !logits || (common->json && !all)) code = BLANCH_ENOMEM;
    for (int i = 0; i < count && !code; i++) {
        code = classify_one(t, paths[i], image, logits, all);
        if (!is_of_image(code)) continue;
        leave_out(paths[i], code, all);
        if (bl_exit_status(code) > status) status = bl_exit_status(code);
        code = 0;
    }
    free(image);
    free(logits);
    if (common->json && !code)
        code = print_document(t, common, all);
    else
        cJSON_Delete(all);
    return code ? code : status;
}

static int predict(const struct bl_weights_options *o, char **paths, int count) {
    struct bl_trained trained;
    if (!count) return bl_fail(BLANCH_EUSAGE, "no image is named; usage: blanch predict IMAGE... --run DIR");
    if (o->run && o->data)
        return bl_fail(BLANCH_EUSAGE, "--data goes with --weights: a run knows its classes and its normalisation");
    int code = bl_trained_open(&trained, o);
    if (code) return code;
    code = classify(&trained, paths, count, &o->common);
    bl_trained_close(&trained);
    return code;
}

static int run(int argc, char **argv) {
    struct bl_weights_options o = {.batch = 1};
    bool help;
    int count = 0;
    bl_common_init(&o.common);
    const struct bl_option own[] = {
        {"run", BL_OPT_TEXT, &o.run, 0, 0, "DIR", "a run: its last weights, settings and class names"},
        {"best", BL_OPT_FLAG, &o.best, 0, 0, NULL, "the run's best weights instead"},
        {"weights", BL_OPT_TEXT, &o.weights, 0, 0, "FILE",
         "a state dict as safetensors; --model and --norm where it does not say"},
        {"data", BL_OPT_TEXT, &o.data, 0, 0, "SPEC",
         "the dataset that gives classes and normalisation (with --weights)"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &o.common, BL_COMMON_NETWORK | BL_COMMON_DEVICE | BL_COMMON_ND | BL_COMMON_JSON);
    int code = bl_options_parse(&bl_command_predict, options, argc, argv, &count, &help);
    return code || help ? code : predict(&o, argv + 1, count);
}

const struct bl_command bl_command_predict = {
    .name = "predict",
    .summary = "classifies images with a trained network",
    .usage =
        "usage: blanch predict IMAGE... --run DIR [--best] [options]\n"
        "       blanch predict IMAGE... --weights FILE [--model NAME --norm bn|nd|none] [--data SPEC] [options]\n"
        "\n"
        "Prints the five likeliest classes of each image, with their probabilities. An image that cannot be read is\n"
        "named, the others are classified, and the exit status is 2.\n",
    .run = run,
};
