/* A trained network for eval and predict. */
#include "cli/weights.h"
#include "train/about.h"
#include "train/blocks.h"
#include "train/open.h"
#include <math.h>
#include <string.h>
#include <stdlib.h>

static int check(const struct bl_weights_options *o) {
    if (o->run && o->weights) return bl_fail(BLANCH_EUSAGE, "give --run or --weights, not both");
    if (!o->run && !o->weights) return bl_fail(BLANCH_EUSAGE, "--run DIR or --weights FILE is missing");
    if (o->run && (o->common.model || o->common.norm))
        return bl_fail(BLANCH_EUSAGE, "--model and --norm go with --weights: a run knows its own");
    if (o->run && bl_common_gives_nd(&o->common))
        return bl_fail(BLANCH_EUSAGE, "options of ND go with --weights: a run knows its own");
    if (o->best && !o->run) return bl_fail(BLANCH_EUSAGE, "--best goes with --run");
    if (o->weights && o->needs_data && !o->data) return bl_fail(BLANCH_EUSAGE, "--data is missing");
    return 0;
}

/* Another size than it was trained with. */
static int take_size(struct bl_trained *t, const struct bl_weights_options *o, struct bl_network_options *network) {
    int code = o->common.size ? bl_model_size(t->model, o->common.size, &network->height, &network->width) : 0;
    t->view.height = network->height;
    t->view.width = network->width;
    return code;
}

static int from_run(struct bl_trained *t, const struct bl_weights_options *o, struct bl_network_options *network) {
    int code = bl_run_read(&t->config, o->run);
    if (code) return bl_fail_in(code, "--run");
    *network = t->config.options.network;
    t->view = t->config.view;
    t->data_spec = o->data ? o->data : t->config.options.data;
    if (o->common.batch) network->batch = o->common.batch;
    if (network->definition)
        t->model = bl_model_hold(network->definition);
    else if ((code = bl_model_open(&t->model, network->model)))
        return bl_fail_in(code, "--run");
    network->definition = t->model;
    if ((code = take_size(t, o, network))) return code;
    t->weights = bl_format("%s/%s.safetensors", o->run, o->best ? "best" : "last");
    return t->weights ? 0 : BLANCH_ENOMEM;
}

static int from_names(struct bl_trained *t, const struct bl_weights_options *o, struct bl_network_options *network) {
    int code = bl_common_network(&o->common, network, &t->model);
    t->data_spec = o->data;
    if (!code && bl_model_norm(t->model, network->norm) == BLANCH_ND)
        code = bl_blocks_of_weights(o->weights, &network->nd, &t->config.layers);
    t->weights = code ? NULL : bl_strdup(o->weights);
    return code ? code : t->weights ? 0 : BLANCH_ENOMEM;
}

/* What is asked for is what the file says of itself, or nothing is. */
static bool is_meant(const struct bl_run_config *about, const struct bl_common *common) {
    if (!about->json || bl_common_gives_nd(common)) return false;
    if (common->model && strcmp(common->model, about->model->name) != 0) return false;
    return !common->norm || !strcmp(common->norm, bl_norm_name(about->options.network.norm));
}

static int from_about(struct bl_trained *t, const struct bl_weights_options *o, struct bl_network_options *network) {
    *network = t->config.options.network;
    t->model = bl_model_hold(t->config.model);
    t->view = t->config.view;
    t->data_spec = o->data;
    if (o->common.batch) network->batch = o->common.batch;
    int code = take_size(t, o, network);
    if (!code && bl_model_norm(t->model, network->norm) == BLANCH_ND)
        code = bl_blocks_of_weights(o->weights, &network->nd, &t->config.layers);
    t->weights = code ? NULL : bl_strdup(o->weights);
    return code ? code : t->weights ? 0 : BLANCH_ENOMEM;
}

/* The file's own word, or the command line's. */
static int from_file(struct bl_trained *t, const struct bl_weights_options *o, struct bl_network_options *network) {
    int code = bl_about_read(&t->config, o->weights);
    if (code) return code;
    if (is_meant(&t->config, &o->common)) return from_about(t, o, network);
    const bool says = t->config.json != NULL;
    bl_run_release(&t->config);
    if (!o->common.model && !says)
        return bl_fail(BLANCH_EUSAGE, "%s does not say which network it is of: give --model and --norm", o->weights);
    return from_names(t, o, network);
}

/* Without data or a run: the normalisation of CIFAR-10 or ImageNet, by the network's input size. It is a guess, so it
 * is said. */
static void plain_view(struct bl_view *view, int channels, int height, int width) {
    const bool large = height > 64 && width > 64;
    *view = (struct bl_view){channels,
                             height,
                             width,
                             large ? BL_AUGMENT_IMAGENET : BL_AUGMENT_NONE,
                             {0.4914f, 0.4822f, 0.4465f},
                             {0.2023f, 0.1994f, 0.2010f}};
    if (large)
        *view = (struct bl_view){
            channels, height, width, BL_AUGMENT_IMAGENET, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
    bl_progress_line(NULL,
                     "warning: the weights do not tell how their images were normalised; %s's mean and deviation "
                     "are used; --data SPEC or --run DIR gives others",
                     large ? "ImageNet" : "CIFAR-10");
}

static int shape_by_data(struct bl_trained *t, struct bl_network_options *network) {
    const int channels = t->config.json ? network->channels
                         : t->data      ? bl_dataset_channels(t->data)
                                        : t->model->channels;
    if (t->config.json && t->view.channels) return 0;
    if (!t->data) {
        plain_view(&t->view, channels, network->height, network->width);
        return 0;
    }
    if (!t->config.json) network->classes = bl_dataset_classes(t->data);
    network->channels = channels;
    bl_view_default(&t->view, t->data, channels, network->height, network->width);
    return 0;
}

/* A run's classes are matched by name; what is not as it was when the run began is noted. */
static int check_data(struct bl_trained *t, const struct bl_network_options *network) {
    if (!t->config.json || !t->data) return 0;
    if (bl_dataset_channels(t->data) != network->channels)
        return bl_fail(BLANCH_EINPUT, "%s has images of %d channels, the network takes %d", t->data_spec,
                       bl_dataset_channels(t->data), network->channels);
    int code = bl_run_data_classes(&t->config, t->data, t->data_spec, false);
    if (code || !t->config.options.data || strcmp(t->data_spec, t->config.options.data) != 0) return code;
    t->changes = bl_run_data_changes(&t->config, t->data, ~0u);
    return t->changes ? 0 : BLANCH_ENOMEM;
}

/* A run that was trained on another device is measured on the one asked for, else on the default. */
int bl_trained_open(struct bl_trained *t, const struct bl_weights_options *o) {
    struct bl_network_options network = {.nd = {.eps = NAN, .momentum = NAN}};
    *t = (struct bl_trained){0};
    int code = check(o);
    if (!code) code = o->run ? from_run(t, o, &network) : from_file(t, o, &network);
    if (!code && t->data_spec && (o->needs_data || o->data))
        code = bl_run_data_open(&t->data, o->run ? &t->config : &(struct bl_run_config){0}, t->data_spec, network.seed);
    if (!code && !(code = shape_by_data(t, &network))) code = check_data(t, &network);
    if (code) goto fail;
    network.inference = true;
    if (o->batch) network.batch = o->batch;
    if ((code = blanch_device_open(&t->dev, o->common.device, o->common.max_alloc))) goto fail;
    if ((code = bl_network_create(&t->net, t->dev, &network))) goto fail;
    if ((code = bl_weights_load(t->net->graph, t->weights))) goto fail;
    return 0;
fail:
    bl_trained_close(t);
    return code;
}

void bl_trained_close(struct bl_trained *t) {
    blanch_network_free(t->net);
    bl_model_free(t->model);
    blanch_device_close(t->dev);
    bl_dataset_close(t->data);
    bl_run_release(&t->config);
    free(t->weights);
    free(t->changes);
    *t = (struct bl_trained){0};
}

const char *bl_trained_class(const struct bl_trained *t, int label) {
    const cJSON *item = cJSON_GetArrayItem(t->config.class_name, label);
    const char *name = t->data                ? bl_dataset_class_name(t->data, label)
                       : cJSON_IsString(item) ? item->valuestring
                                              : NULL;
    return name ? name : "";
}
