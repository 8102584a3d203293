/* Mean and deviation of a network's input: by a name, or measured on the training images. */
#include "internal.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_MEASURED 2000 // of images that are read one by one

static const float imagenet_mean[3] = {0.485f, 0.456f, 0.406f}, imagenet_deviation[3] = {0.229f, 0.224f, 0.225f};

/* --- by name ---------------------------------------------------------------------------------- */

/* Of images with `channels`, as the view's; three become one by ITU-R 601 luma. */
static int take(struct bl_view *view, const float *mean, const float *deviation, int channels, const char *name) {
    static const float luma[3] = {0.299f, 0.587f, 0.114f};
    float grey[2] = {0, 0};
    for (int c = 0; c < 3 && channels == 3; c++) grey[0] += luma[c] * mean[c], grey[1] += luma[c] * deviation[c];
    if (channels > 3 ? channels != view->channels : view->channels != 1 && view->channels != 3)
        return bl_fail(BLANCH_EUSAGE, "--normalise %s is of images of %d channels, and the network takes %d", name,
                       channels, view->channels);
    for (int c = 0; c < view->channels; c++) {
        const bool luminance = channels == 3 && view->channels == 1;
        view->mean[c] = luminance ? grey[0] : mean[channels == 1 ? 0 : c];
        view->deviation[c] = luminance ? grey[1] : deviation[channels == 1 ? 0 : c];
    }
    return 0;
}

static int unknown(const char *name) {
    static const char *const known[] = {"measured",      "cifar10",  "cifar100", "mnist",
                                        "fashion-mnist", "imagenet", "none",     NULL};
    const char *near = bl_nearest(name, known);
    return bl_fail(BLANCH_EUSAGE,
                   "--normalise takes measured, cifar10, cifar100, mnist, fashion-mnist, imagenet or none, "
                   "not '%s'%s%s%s",
                   name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* --- measured --------------------------------------------------------------------------------- */

/* Sums of bytes and of their squares, which are whole numbers: the order does not matter. */
struct sums {
    uint64_t sum[BL_MOST_CHANNELS], squares[BL_MOST_CHANNELS], pixels;
};

static void add(struct sums *sums, const uint8_t *from, size_t pixels, int channels) {
    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < channels; c++, from++) {
            sums->sum[c] += *from;
            sums->squares[c] += (uint64_t)*from * *from;
        }
    sums->pixels += pixels;
}

static int add_image(struct bl_dataset *data, struct sums *sums, uint32_t index) {
    struct bl_images *images = &data->split[BL_TRAIN];
    struct bl_pixels pixels;
    if (images->pixels) {
        const size_t bytes = bl_dataset_bytes(data);
        add(sums, images->pixels + bytes * index, bytes / (size_t)data->channels, data->channels);
        return 0;
    }
    int code = data->read(data, BL_TRAIN, index, &pixels);
    if (code == BLANCH_EINPUT) return bl_dataset_damage(data, BL_TRAIN, index);
    if (code) return code;
    add(sums, pixels.data, (size_t)pixels.width * (size_t)pixels.height, data->channels);
    bl_pixels_free(&pixels);
    return 0;
}

/* All images that are held; of others so many, evenly apart. A channel that never changes keeps its scale. */
static int measure(struct bl_view *view, struct bl_dataset *data) {
    const struct bl_images *images = &data->split[BL_TRAIN];
    const uint32_t apart = images->pixels ? 1 : 1 + (images->count - 1) / MOST_MEASURED;
    float mean[BL_MOST_CHANNELS], deviation[BL_MOST_CHANNELS];
    struct sums sums = {.pixels = 0};
    int code = images->count ? 0 : bl_fail(BLANCH_EINPUT, "%s holds no training images to measure", data->folder);
    for (uint32_t i = 0; i < images->count && !code; i += apart) {
        code = bl_check_interrupted();
        if (!code) code = add_image(data, &sums, i);
    }
    if (!code && !sums.pixels) code = bl_fail(BLANCH_EINPUT, "%s: all images are damaged", data->folder);
    for (int c = 0; c < data->channels && !code; c++) {
        const double first = (double)sums.sum[c] / (double)sums.pixels;
        const double variance = (double)sums.squares[c] / (double)sums.pixels - first * first;
        mean[c] = (float)(first / 255);
        deviation[c] = variance > 0 ? (float)(sqrt(variance) / 255) : 1;
    }
    return code ? code : take(view, mean, deviation, data->channels, "measured");
}

/* --- both --------------------------------------------------------------------------------------- */

const char *bl_normalise_default(const struct bl_dataset *data, int height, int width) {
    const bool pictures = data->format == &bl_format_folder || data->format == &bl_format_pairs;
    if (pictures || data->format == &bl_format_voc) return bl_view_large(height, width) ? "imagenet" : "measured";
    return data->format->deviation[0] > 0 ? data->format->name : "measured";
}

int bl_view_normalise(struct bl_view *view, struct bl_dataset *data, const char *name) {
    static const struct bl_format *const own[] = {&bl_format_cifar10,   &bl_format_cifar100,
                                                  &bl_format_mnist,     &bl_format_fashion_mnist,
                                                  &bl_format_synthetic, &bl_format_synthetic_seg};
    if (!strcmp(name, "measured"))
        return data ? measure(view, data)
                    : bl_fail(BLANCH_EUSAGE, "--normalise measured measures data: give --data SPEC too");
    if (!strcmp(name, "imagenet")) return take(view, imagenet_mean, imagenet_deviation, 3, name);
    for (int c = 0; c < view->channels && !strcmp(name, "none"); c++) view->mean[c] = 0, view->deviation[c] = 1;
    if (!strcmp(name, "none")) return 0;
    for (int i = 0; i < BL_COUNT(own); i++) {
        const bool grey = own[i] == &bl_format_mnist || own[i] == &bl_format_fashion_mnist;
        if (strcmp(name, own[i]->name)) continue;
        if (own[i] != &bl_format_synthetic && own[i] != &bl_format_synthetic_seg)
            return take(view, own[i]->mean, own[i]->deviation, grey ? 1 : 3, name);
        for (int c = 0; c < view->channels; c++) view->mean[c] = 0.5f, view->deviation[c] = 0.25f;
        return 0;
    }
    return unknown(name);
}
