/* blanch eval: measures a run, or a file of weights, on a dataset. */
#include "cli/common.h"
#include "cli/weights.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>

static int print(const struct bl_trained *t, const char *split, const struct blanch_metrics *m, double seconds,
                 const struct bl_common *common) {
    const char *data = t->data_spec;
    double top1 = bl_percent_of(m->top1, m->count), top5 = bl_percent_of(m->top5, m->count);
    if (!common->json) {
        printf("%s-%s, %s on %s (%s): %d images\n", t->net->model->name, bl_norm_name(t->net->options.norm),
               bl_shown(t->weights), bl_shown(data), split, m->count);
        printf("loss %.4f  top-1 %.2f %%  top-5 %.2f %%  %.0f images/s\n", m->loss, top1, top5, m->count / seconds);
        return 0;
    }
    cJSON *json = bl_document("eval", 2, blanch_device_info(t->dev), bl_options_json(common->options));
    cJSON_AddStringToObject(json, "model", t->net->model->name);
    cJSON_AddStringToObject(json, "norm", bl_norm_name(t->net->options.norm));
    cJSON_AddStringToObject(json, "weights", t->weights);
    cJSON_AddStringToObject(json, "data", data);
    cJSON_AddStringToObject(json, "split", split);
    cJSON_AddNumberToObject(json, "images", m->count);
    cJSON_AddItemToObject(json, "loss", bl_json_number(m->loss, 9));
    cJSON_AddItemToObject(json, "top1", bl_json_number(top1, 6));
    cJSON_AddItemToObject(json, "top5", bl_json_number(top5, 6));
    cJSON_AddItemToObject(json, "seconds", bl_json_number(seconds, 5));
    return bl_print_json(json);
}

static int measure(struct bl_trained *t, enum bl_split split, const struct bl_common *common) {
    struct blanch_metrics metrics;
    double seconds;
    const char *name = split == BL_TRAIN ? "train" : "test";
    if (!bl_dataset_count(t->data, split)) return bl_fail(BLANCH_EINPUT, "%s holds no %s images", t->data_spec, name);
    int code = bl_network_test(t->net, t->data, split, &t->view, &metrics, &seconds);
    if (!code && !isfinite(metrics.loss))
        code = bl_fail(BLANCH_EDIVERGED, "%s: what the network computes on %s is not finite, so it has no accuracy",
                       t->weights, t->data_spec);
    return code ? code : print(t, name, &metrics, seconds, common);
}

static int run(int argc, char **argv) {
    struct bl_weights_options o = {.needs_data = true};
    bool train = false, help;
    bl_common_init(&o.common);
    const struct bl_option own[] = {
        {"run", BL_OPT_TEXT, &o.run, 0, 0, "DIR", "a run: its last weights, settings and data"},
        {"best", BL_OPT_FLAG, &o.best, 0, 0, NULL, "the run's best weights instead"},
        {"weights", BL_OPT_TEXT, &o.weights, 0, 0, "FILE", "a state dict as safetensors, with --model and --norm"},
        {"data", BL_OPT_TEXT, &o.data, 0, 0, "SPEC", "the dataset (default: the run's)"},
        {"train", BL_OPT_FLAG, &train, 0, 0, NULL, "measures the training images, not the test images"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &o.common,
                      BL_COMMON_NETWORK | BL_COMMON_BATCH | BL_COMMON_DEVICE | BL_COMMON_ND | BL_COMMON_JSON);
    int code = bl_options_parse(&bl_command_eval, options, argc, argv, NULL, &help);
    if (code || help) return code;
    struct bl_trained trained;
    if (!(code = bl_catch_signals()) && !(code = bl_trained_open(&trained, &o))) {
        code = measure(&trained, train ? BL_TRAIN : BL_TEST, &o.common);
        bl_trained_close(&trained);
    }
    return code;
}

const struct bl_command bl_command_eval = {
    .name = "eval",
    .summary = "measures a trained network on a dataset",
    .usage = "usage: blanch eval --run DIR [--best] [--data SPEC] [options]\n"
             "       blanch eval --weights FILE --model NAME --norm bn|nd|none --data SPEC [options]\n"
             "\n"
             "Prints the mean loss and the share of images whose class is the likeliest (top-1) or among the five\n"
             "likeliest (top-5).\n",
    .run = run,
};
