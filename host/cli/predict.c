/* blanch predict: classifies images. */
#include "cli/common.h"
#include "cli/weights.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BEST = 5 };

static void softmax(float *logits, int classes) {
    double largest = (double)logits[0], sum = 0;
    for (int c = 1; c < classes; c++) largest = fmax(largest, (double)logits[c]);
    for (int c = 0; c < classes; c++) sum += exp((double)logits[c] - largest);
    for (int c = 0; c < classes; c++) logits[c] = (float)(exp((double)logits[c] - largest) / sum);
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
    printf("%s\n", path);
    for (int i = 0; i < count; i++)
        printf("  %6.2f %%  %4d  %s\n", 100.0 * (double)probability[best[i]], best[i], bl_trained_class(t, best[i]));
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

static int classify(struct bl_trained *t, char **paths, int count, const struct bl_common *common) {
    int classes = t->net->options.classes, best[BEST], code = 0;
    float *image = bl_calloc((size_t)t->view.channels * (size_t)t->view.size * (size_t)t->view.size, sizeof *image);
    float *logits = bl_calloc((size_t)classes, sizeof *logits);
    cJSON *all = common->json ? cJSON_CreateArray() : NULL;
    if (!image || !logits) code = BLANCH_ENOMEM;
    for (int i = 0; i < count && !code; i++) {
        if ((code = bl_image_file(paths[i], &t->view, image)) || (code = logits_of(t, image, logits))) break;
        softmax(logits, classes);
        int ranked = rank(logits, classes, best);
        if (common->json)
            cJSON_AddItemToArray(all, image_json(t, paths[i], logits, best, ranked));
        else
            print_text(t, paths[i], logits, best, ranked);
    }
    free(image);
    free(logits);
    if (!common->json || code) {
        cJSON_Delete(all);
        return code;
    }
    cJSON *json = bl_document("predict", 2, blanch_device_info(t->dev), bl_options_json(common->options));
    cJSON_AddItemToObject(json, "images", all);
    return bl_print_json(json);
}

static int predict(const struct bl_weights_options *o, char **paths, int count) {
    struct bl_trained trained;
    if (!count) return bl_fail(BLANCH_EUSAGE, "no image is named; usage: blanch predict IMAGE... --run DIR");
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
        {"weights", BL_OPT_TEXT, &o.weights, 0, 0, "FILE", "a state dict as safetensors, with --model and --norm"},
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
    .usage = "usage: blanch predict IMAGE... --run DIR [--best] [options]\n"
             "       blanch predict IMAGE... --weights FILE --model NAME --norm bn|nd|none [--data SPEC] [options]\n"
             "\n"
             "Prints the five likeliest classes of each image, with their probabilities.\n",
    .run = run,
};
