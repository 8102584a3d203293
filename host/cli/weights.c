/* A trained network for eval, predict and export. */
#include "cli/weights.h"
#include "io/safetensors.h"
#include "train/about.h"
#include "train/blocks.h"
#include "train/open.h"
#include "train/torchvision.h"
#include <math.h>
#include <string.h>
#include <stdlib.h>

static int check(const struct bl_weights_options *o) {
    if (o->run && o->weights) return bl_fail(BLANCH_EUSAGE, "give --run or --weights, not both");
    if (!o->run && !o->weights && !o->common.model)
        return bl_fail(BLANCH_EUSAGE, "--run DIR or --weights FILE is missing");
    if (o->run && (o->common.model || o->common.norm))
        return bl_fail(BLANCH_EUSAGE, "--model and --norm go with --weights: a run knows its own");
    if (o->run && bl_common_gives_nd(&o->common))
        return bl_fail(BLANCH_EUSAGE, "options of ND go with --weights: a run knows its own");
    if (o->run && o->normalise) return bl_fail(BLANCH_EUSAGE, "--normalise goes with --weights: a run knows its own");
    if (o->best && !o->run) return bl_fail(BLANCH_EUSAGE, "--best goes with --run");
    if (!o->run && o->needs_data && !o->data) return bl_fail(BLANCH_EUSAGE, "--data is missing");
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
    t->own = !o->weights;
    if (!code && t->own && !t->model->value_count)
        return bl_fail(BLANCH_EUSAGE, "--run DIR or --weights FILE is missing: %s has no weights", o->common.model);
    if (!code && !t->own) code = bl_weights_shape(t->model, network, o->weights);
    if (!code && !t->own && bl_model_norm(t->model, network->norm) == BLANCH_ND)
        code = bl_blocks_of_weights(o->weights, &network->nd, &t->config.layers);
    t->weights = code ? NULL : bl_strdup(t->own ? t->model->name : o->weights);
    return code ? code : t->weights ? 0 : BLANCH_ENOMEM;
}

/* What is asked for is what the file says of itself, or nothing is. */
static bool is_meant(const struct bl_run_config *about, const struct bl_common *common) {
    if (!about->json || bl_common_gives_nd(common)) return false;
    const struct bl_torchvision *named = bl_torchvision_find(common->model);
    const char *model = named ? named->own : common->model;
    if (model && strcmp(model, about->model->name) != 0) return false;
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
    if (code == BLANCH_EINPUT && o->common.model) code = 0; // what is wrong with the file shows when it is loaded
    if (code) return code;
    if (is_meant(&t->config, &o->common)) return from_about(t, o, network);
    const bool says = t->config.json != NULL;
    bl_run_release(&t->config);
    if (!o->common.model && !says)
        return bl_fail(BLANCH_EUSAGE, "%s does not say which network it is of: give --model and --norm", o->weights);
    return from_names(t, o, network);
}

/* Without data or a run: the normalisation of CIFAR-10 or ImageNet, by the network's input size. It is a guess, so it
 * is said, but not of torchvision's networks. */
static int plain_view(struct bl_trained *t, const struct bl_weights_options *o,
                      const struct bl_network_options *network) {
    const bool torchvision = bl_torchvision_named(o->common.model);
    const bool large = torchvision || (network->height > 64 && network->width > 64);
    t->view = (struct bl_view){.channels = network->channels,
                               .height = network->height,
                               .width = network->width,
                               .augment = large ? BL_AUGMENT_IMAGENET : BL_AUGMENT_NONE};
    if (!o->normalise && !torchvision)
        bl_progress_line(NULL,
                         "warning: the weights do not tell how their images were normalised; %s's mean and deviation "
                         "are used; --normalise NAME, --data SPEC or --run DIR gives others",
                         large ? "ImageNet" : "CIFAR-10");
    return bl_view_normalise(&t->view, t->data, o->normalise ? o->normalise : large ? "imagenet" : "cifar10");
}

static bool read_numbers(const cJSON *list, int count, float *numbers) {
    bool good = count <= BL_COUNT(((struct bl_view *)0)->mean) && cJSON_GetArraySize(list) == count;
    for (int i = 0; good && i < count; i++) {
        numbers[i] = (float)cJSON_GetNumberValue(cJSON_GetArrayItem(list, i));
        good = isfinite(numbers[i]);
    }
    return good;
}

/* What a model's file says of its images and classes, as ONNX's metadata may: like a run's. */
static void take_view(struct bl_trained *t, const struct bl_network_options *network) {
    const struct blanch_model *model = t->model;
    const cJSON *mean = cJSON_GetObjectItemCaseSensitive(model->json, "mean"),
                *deviation = cJSON_GetObjectItemCaseSensitive(model->json, "deviation"),
                *names = cJSON_GetObjectItemCaseSensitive(model->json, "class_names");
    const bool large = network->height > 64 && network->width > 64;
    struct bl_view view = {.channels = model->channels,
                           .height = network->height,
                           .width = network->width,
                           .augment = large ? BL_AUGMENT_IMAGENET : BL_AUGMENT_NONE};
    bool good =
        read_numbers(mean, model->channels, view.mean) && read_numbers(deviation, model->channels, view.deviation);
    for (int i = 0; good && i < model->channels; i++) good = view.deviation[i] > 0;
    if (good) t->view = view;
    if (cJSON_IsArray(names) && cJSON_GetArraySize(names) == model->classes) t->config.class_name = names;
}

static int shape_by_data(struct bl_trained *t, const struct bl_weights_options *o, struct bl_network_options *network) {
    if (!t->config.json && t->data) network->channels = bl_dataset_channels(t->data);
    if (!network->channels) network->channels = t->model->channels;
    if (t->config.json && t->view.channels)
        return o->normalise ? bl_view_normalise(&t->view, t->data, o->normalise) : 0;
    if (!t->data) {
        take_view(t, network);
        return 0;
    }
    if (!t->config.json) network->classes = bl_dataset_classes(t->data);
    if (!o->normalise) take_view(t, network); // of images like those that a file was trained with
    if (t->view.channels) return 0;
    const char *normalise = o->normalise;
    return bl_view_choose(&t->view, t->data, network, NULL, &normalise);
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

/* A run's own data are divided as they were for it. */
static int open_data(struct bl_trained *t, const struct bl_weights_options *o, uint64_t seed) {
    const struct bl_train_options *of = &t->config.options;
    const struct bl_common_data *d = &o->common.data;
    const struct bl_run_config none = {0};
    const bool own = o->run && !strcmp(t->data_spec, of->data), asked = d->val_split || d->split_file;
    const struct bl_run_division division = {o->common.seed < 0 ? seed : (uint64_t)o->common.seed,
                                             own ? of->val_split : d->val_split, own ? of->split_file : d->split_file};
    if (own && (asked || o->common.seed >= 0))
        return bl_fail(BLANCH_EUSAGE, "a run's own data are divided as they were for it: leave --%s out",
                       d->val_split    ? "val-split"
                       : d->split_file ? "split-file"
                                       : "seed");
    int code = bl_run_data_open(&t->data, o->run && !asked && o->common.seed < 0 ? &t->config : &none, t->data_spec,
                                &division);
    return !code && d->cache ? bl_dataset_cache(t->data, d->cache) : code;
}

int bl_trained_find(struct bl_trained *t, const struct bl_weights_options *o, struct bl_network_options *network) {
    *t = (struct bl_trained){0};
    *network = (struct bl_network_options){.nd = {.eps = NAN, .momentum = NAN}};
    int code = check(o);
    if (!code)
        code = o->run ? from_run(t, o, network) : o->weights ? from_file(t, o, network) : from_names(t, o, network);
    if (!code && t->data_spec && (o->needs_data || o->data)) code = open_data(t, o, network->seed);
    if (!code && !(code = shape_by_data(t, o, network))) code = check_data(t, network);
    network->inference = true;
    if (o->batch) network->batch = o->batch;
    return code;
}

int bl_trained_check_own(const struct bl_trained *t, struct bl_graph *graph) {
    for (int i = 0; i < bl_graph_params(graph); i++) {
        const struct bl_param *param = bl_graph_param(graph, i);
        bool there = param->counter || param->private_state;
        for (int k = 0; k < t->model->value_count && !there; k++) {
            const struct bl_st_tensor *value = &t->model->values[k];
            there = !strcmp(value->name, param->name) && value->dims == param->dims &&
                    !memcmp(value->shape, param->shape, sizeof *value->shape * (size_t)param->dims);
        }
        if (!there)
            return bl_fail(BLANCH_EINPUT, "%s has no values for %s, as the network is to be here; give --weights FILE",
                           t->model->name, param->name);
    }
    return 0;
}

static int load(struct bl_trained *t) {
    return t->own ? bl_trained_check_own(t, t->net->graph) : bl_weights_load(t->net->graph, t->weights);
}

/* A run that was trained on another device is measured on the one asked for, else on the default. */
int bl_trained_open(struct bl_trained *t, const struct bl_weights_options *o) {
    struct bl_network_options network;
    int code = bl_trained_find(t, o, &network);
    if (!code && !t->view.channels) code = plain_view(t, o, &network);
    if (!code) code = blanch_device_open(&t->dev, o->common.device, o->common.max_alloc);
    if (!code) code = bl_network_create(&t->net, t->dev, &network);
    if (!code) code = load(t);
    if (code) bl_trained_close(t);
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
