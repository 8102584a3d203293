/* The public calls for data: datasets/ with images as NCHW. */
#include "train/public.h"
#include "train/about.h"
#include "dataset.h"
#include "train/train.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)BLANCH_CHANNELS == (int)BL_MOST_CHANNELS, "a view is that of datasets/");
_Static_assert((int)BLANCH_TRAIN == (int)BL_TRAIN && (int)BLANCH_VALIDATION == (int)BL_VAL &&
                   (int)BLANCH_TEST == (int)BL_TEST,
               "splits are those of datasets/");

/* Of whoever opened them, and of their loaders. */
struct blanch_data {
    struct bl_dataset *set;
    int users;
};

struct blanch_loader {
    struct blanch_data *data;
    struct bl_loader *loader;
    struct bl_view view;
    float *images; // of a batch, NCHW
};

/* --- opening ------------------------------------------------------------------------------------ */

int blanch_data_open(struct blanch_data **data, const char *spec, uint64_t seed) {
    return blanch_data_open_with(
        data, spec, &(struct blanch_data_options){.size = sizeof(struct blanch_data_options), .seed = seed});
}

int blanch_data_open_with(struct blanch_data **data, const char *spec, const struct blanch_data_options *options) {
    struct blanch_data_options o;
    int code = bl_given(data && spec, __func__);
    if (data) *data = NULL;
    if (!code) code = bl_take(&o, sizeof o, options, "blanch_data_options");
    if (code || (code = bl_check_interrupted())) return code;
    struct blanch_data *opened = bl_calloc(1, sizeof *opened);
    if (!opened) return BLANCH_ENOMEM;
    opened->users = 1;
    const struct bl_run_division division = {o.seed, o.val_split, o.split_file};
    code = bl_run_data_open(&opened->set, &(struct bl_run_config){0}, spec, &division);
    if (!code && o.cache) code = bl_dataset_cache(opened->set, o.cache);
    if (code)
        blanch_data_close(opened);
    else
        *data = opened;
    return code;
}

void blanch_data_close(struct blanch_data *data) {
    if (!data || --data->users > 0) return;
    bl_dataset_close(data->set);
    free(data);
}

int blanch_data_info(const struct blanch_data *data, struct blanch_data_info *info) {
    int code = bl_given(data, __func__);
    if (code) return code;
    struct blanch_data_info found = {.name = bl_dataset_name(data->set),
                                     .classes = bl_dataset_classes(data->set),
                                     .channels = bl_dataset_channels(data->set),
                                     .judge = (enum blanch_split)bl_dataset_judge(data->set),
                                     .masks = bl_dataset_has_masks(data->set)};
    bl_dataset_size(data->set, &found.height, &found.width);
    for (int i = 0; i < BL_SPLITS; i++) found.images[i] = bl_dataset_count(data->set, (enum bl_split)i);
    return bl_give(info, &found, sizeof found, "blanch_data_info");
}

const char *blanch_data_class(const struct blanch_data *data, int label) {
    const bool there = data && label >= 0 && label < bl_dataset_classes(data->set);
    return there ? bl_dataset_class_name(data->set, label) : NULL;
}

const char *blanch_data_message(struct blanch_data *data) {
    return data ? bl_dataset_message(data->set) : NULL;
}

/* --- views -------------------------------------------------------------------------------------- */

static int take_view(struct bl_view *to, const struct blanch_view *from) {
    struct blanch_view v;
    struct bl_transform probe;
    int code = bl_take(&v, sizeof v, from, "blanch_view");
    if (code) return code;
    *to = (struct bl_view){.channels = v.channels,
                           .height = v.height,
                           .width = v.width,
                           .mixup = v.mixup,
                           .cutmix = v.cutmix,
                           .erase = v.random_erase};
    memcpy(to->mean, v.mean, sizeof to->mean);
    memcpy(to->deviation, v.deviation, sizeof to->deviation);
    if (v.augment && (code = bl_augment_parse(v.augment, &to->augment))) return code;
    if ((code = bl_policy_parse(v.auto_augment, &to->policy))) return code;
    return bl_transform_init(&probe, to, false, 0);
}

static int choose_view(const struct blanch_data *data, int channels, int height, int width, struct bl_view *view) {
    const struct bl_network_options input = {.channels = channels, .height = height, .width = width};
    const char *normalise = NULL;
    return bl_view_choose(view, data->set, &input, NULL, &normalise);
}

/* As the program has it. */
static void give_view(struct blanch_view *to, const struct bl_view *view) {
    *to = (struct blanch_view){.channels = view->channels,
                               .height = view->height,
                               .width = view->width,
                               .augment = bl_augment_name(view->augment)};
    memcpy(to->mean, view->mean, sizeof to->mean);
    memcpy(to->deviation, view->deviation, sizeof to->deviation);
}

int blanch_data_view(const struct blanch_data *data, int channels, int height, int width, struct blanch_view *view) {
    struct bl_view own;
    int code = bl_given(data, __func__);
    if (code) return code;
    if (channels < 1 || channels > BL_MOST_CHANNELS || height < 1 || height > BL_LARGEST_INPUT || width < 1 ||
        width > BL_LARGEST_INPUT)
        return bl_fail(BLANCH_EUSAGE, "an input of %d channels and %dx%d pixels: channels are 1 to %d, sides 1 to %d",
                       channels, height, width, BL_MOST_CHANNELS, BL_LARGEST_INPUT);
    if ((code = choose_view(data, channels, height, width, &own))) return code;
    struct blanch_view found;
    give_view(&found, &own);
    return bl_give(view, &found, sizeof found, "blanch_view");
}

int blanch_view_normalise(struct blanch_view *view, const struct blanch_data *data, const char *name) {
    struct blanch_view given;
    int code = bl_given(view && name, __func__);
    if (!code) code = bl_take(&given, sizeof given, view, "blanch_view");
    if (code) return code;
    if (given.channels < 1 || given.channels > BL_MOST_CHANNELS)
        return bl_fail(BLANCH_EUSAGE, "a view of %d channels: they are 1 to %d", given.channels, BL_MOST_CHANNELS);
    struct bl_view own = {.channels = given.channels, .height = given.height, .width = given.width};
    if ((code = bl_view_normalise(&own, data ? data->set : NULL, name))) return code;
    memcpy(given.mean, own.mean, sizeof given.mean);
    memcpy(given.deviation, own.deviation, sizeof given.deviation);
    return bl_give(view, &given, sizeof given, "blanch_view");
}

/* What a network that generates makes is turned back to pixels. */
static void give_own_view(const struct blanch_network *network, struct blanch_view *view) {
    const struct bl_network_options *o = &network->options;
    struct bl_view own = {.channels = o->channels, .height = o->height, .width = o->width, .augment = BL_AUGMENT_NONE};
    for (int c = 0; c < o->channels && c < BL_MOST_CHANNELS; c++)
        own.mean[c] = network->model->mean, own.deviation[c] = network->model->deviation;
    give_view(view, &own);
}

int blanch_network_view(const struct blanch_network *network, struct blanch_view *view) {
    struct blanch_view found = {0};
    int code = bl_given(network, __func__);
    if (code) return code;
    if (network->view.channels) give_view(&found, &network->view);
    if (!network->view.channels && network->model->task == BL_GENERATE) give_own_view(network, &found);
    return bl_give(view, &found, sizeof found, "blanch_view");
}

int blanch_network_set_view(struct blanch_network *network, const struct blanch_view *view,
                            const struct blanch_data *data) {
    struct bl_view own;
    int code = bl_given(network, __func__);
    if (!code) code = take_view(&own, view);
    if (code) return code;
    const struct bl_network_options *o = &network->options;
    if (own.channels != o->channels || own.height != o->height || own.width != o->width)
        return bl_fail(BLANCH_EUSAGE, "a view of %dx%dx%d for a network of %dx%dx%d", own.channels, own.height,
                       own.width, o->channels, o->height, o->width);
    if (data && bl_dataset_classes(data->set) != o->classes)
        return bl_fail(BLANCH_EUSAGE, "%s has %d classes, the network %d", bl_dataset_name(data->set),
                       bl_dataset_classes(data->set), o->classes);
    return bl_about_images(network, &own, data ? data->set : NULL);
}

static void to_nchw(const struct bl_view *view, const float *nhwc, int count, float *nchw) {
    const size_t channels = (size_t)view->channels, pixels = (size_t)view->height * (size_t)view->width;
    for (int i = 0; i < count; i++, nhwc += channels * pixels)
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++) *nchw++ = nhwc[p * channels + c];
}

int blanch_image_read(const char *path, const struct blanch_view *view, float *image) {
    struct bl_view own;
    int code = bl_given(path && image, __func__);
    if (!code) code = take_view(&own, view);
    if (code) return code;
    float *nhwc = bl_calloc((size_t)own.channels * (size_t)own.height * (size_t)own.width, sizeof *nhwc);
    if (!nhwc) return BLANCH_ENOMEM;
    code = bl_image_file(path, &own, nhwc);
    if (!code) to_nchw(&own, nhwc, 1, image);
    free(nhwc);
    return code;
}

/* --- loaders ------------------------------------------------------------------------------------ */

static int view_of(const struct blanch_data *data, const struct blanch_view *given, struct bl_view *view) {
    if (given) return take_view(view, given);
    int height, width;
    bl_dataset_size(data->set, &height, &width);
    if (!height) return bl_fail(BLANCH_EUSAGE, "the data's images vary in size: a loader needs a view");
    return choose_view(data, bl_dataset_channels(data->set), height, width, view);
}

static int check_loader(const struct blanch_data *data, const struct blanch_loader_options *o) {
    const bool split = (unsigned)o->split < BL_SPLITS;
    const char *wrong = !split                                ? "split"
                        : o->batch < 1                        ? "batch"
                        : o->least < 0 || o->least > o->batch ? "least"
                        : o->epoch < 0                        ? "epoch"
                        : o->first < 0                        ? "first"
                        : o->epochs < 0                       ? "epochs"
                        : o->workers < 0 || o->workers > 16   ? "workers"
                                                              : NULL;
    if (wrong) return bl_fail(BLANCH_EUSAGE, "a loader's %s is out of range", wrong);
    const uint32_t images = bl_dataset_count(data->set, (enum bl_split)o->split);
    if (!images)
        return bl_fail(BLANCH_EUSAGE, "%s has no %s images", bl_dataset_name(data->set),
                       bl_split_title((enum bl_split)o->split));
    const uint32_t batches = bl_epoch_batches(images, o->batch, o->least);
    if (!batches)
        return bl_fail(BLANCH_EUSAGE, "%s has %u %s images, and a batch takes %d or more", bl_dataset_name(data->set),
                       images, bl_split_title((enum bl_split)o->split), o->least);
    if (o->first <= batches) return 0;
    return bl_fail(BLANCH_EUSAGE, "a loader's first is %lld: an epoch has %u batches", (long long)o->first, batches);
}

static int open_loader(struct blanch_loader *l, const struct blanch_loader_options *o) {
    const size_t image = (size_t)l->view.channels * (size_t)l->view.height * (size_t)l->view.width;
    const struct bl_loader_options options = {.split = (enum bl_split)o->split,
                                              .view = l->view,
                                              .batch = o->batch,
                                              .training = o->training,
                                              .threads = o->workers,
                                              .least = o->least,
                                              .seed = o->seed,
                                              .epoch = (uint64_t)o->epoch,
                                              .first = (uint64_t)o->first,
                                              .epochs = o->epochs};
    if (!(l->images = bl_calloc((size_t)o->batch, image * sizeof *l->images))) return BLANCH_ENOMEM;
    return bl_loader_open(&l->loader, l->data->set, &options);
}

int blanch_loader_open(struct blanch_loader **loader, struct blanch_data *data,
                       const struct blanch_loader_options *options) {
    struct blanch_loader_options o;
    struct bl_view view;
    int code = bl_given(loader && data, __func__);
    if (loader) *loader = NULL;
    if (!code) code = bl_take(&o, sizeof o, options, "blanch_loader_options");
    if (!code) code = check_loader(data, &o);
    if (!code) code = view_of(data, o.view, &view);
    if (code) return code;
    struct blanch_loader *opened = bl_calloc(1, sizeof *opened);
    if (!opened) return BLANCH_ENOMEM;
    *opened = (struct blanch_loader){.data = data, .view = view};
    data->users++;
    if ((code = open_loader(opened, &o)))
        blanch_loader_close(opened);
    else
        *loader = opened;
    return code;
}

void blanch_loader_close(struct blanch_loader *loader) {
    if (!loader) return;
    bl_loader_close(loader->loader);
    blanch_data_close(loader->data);
    free(loader->images);
    free(loader);
}

int64_t blanch_loader_batches(const struct blanch_loader *loader) {
    int code = bl_given(loader, __func__);
    return code ? code : (int64_t)bl_loader_batches(loader->loader);
}

int blanch_loader_next(struct blanch_loader *loader, struct blanch_batch *batch) {
    struct bl_batch next = {0};
    int code = bl_given(loader, __func__);
    if (!code) code = bl_sized(batch, "blanch_batch");
    do { // a batch of damaged images alone is none
        if (code || (code = bl_check_interrupted()) || (code = bl_loader_next(loader->loader, &next))) return code;
    } while (next.whole && !next.count);
    to_nchw(&loader->view, next.images, next.count, loader->images);
    const struct blanch_batch found = {.images = next.count ? loader->images : NULL,
                                       .labels = next.count ? next.labels : NULL,
                                       .count = next.count,
                                       .epoch = (int64_t)next.epoch,
                                       .last = next.last,
                                       .share = next.share,
                                       .others = next.count ? next.others : NULL};
    return bl_give(batch, &found, sizeof found, "blanch_batch");
}
