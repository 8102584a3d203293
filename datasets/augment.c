/* From stored pixels to a network's input: size, augmentation, normalisation. */
#include "internal.h"
#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGE 96          // networks whose input has this size or more are trained as on ImageNet
#define PAD 4             // of cifar
#define LONGEST (1 << 28) // pixels of a scaled image's side

static const char *const augment_names[] = {
    [BL_AUGMENT_NONE] = "none",
    [BL_AUGMENT_CIFAR] = "cifar",
    [BL_AUGMENT_IMAGENET] = "imagenet",
};

/* --- the view --------------------------------------------------------------------------------- */

const char *bl_augment_name(enum bl_augment augment) {
    return augment_names[augment];
}

int bl_augment_parse(const char *name, enum bl_augment *augment) {
    for (int i = 0; i < BL_COUNT(augment_names); i++) {
        if (!strcmp(name, augment_names[i])) {
            *augment = (enum bl_augment)i;
            return 0;
        }
    }
    static const char *const known[] = {"cifar", "imagenet", "none", NULL};
    const char *near = bl_nearest(name, known);
    return bl_fail(BLANCH_EUSAGE, "augmentation '%s' is unknown%s%s%s; known are cifar, imagenet and none", name,
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static const char *const policy_names[] = {
    [BL_POLICY_NONE] = "none", [BL_POLICY_RANDOM] = "ra", [BL_POLICY_TRIVIAL] = "ta"};

const char *bl_policy_name(enum bl_policy policy) {
    return policy_names[policy];
}

int bl_policy_parse(const char *name, enum bl_policy *policy) {
    *policy = BL_POLICY_NONE;
    for (int i = 0; name && i < BL_COUNT(policy_names); i++)
        if (!strcmp(name, policy_names[i])) return *policy = (enum bl_policy)i, 0;
    return name ? bl_fail(BLANCH_EUSAGE, "--auto-augment takes ra, ta or none, not '%s'", name) : 0;
}

bool bl_view_large(int height, int width) {
    return height >= LARGE && width >= LARGE;
}

void bl_view_default(struct bl_view *view, const struct bl_dataset *data, int channels, int height, int width) {
    *view = (struct bl_view){.channels = channels, .height = height, .width = width, .augment = data->format->augment};
    if (bl_view_large(height, width) && view->augment != BL_AUGMENT_NONE && !data->read_mask) // whole images
        view->augment = BL_AUGMENT_IMAGENET;
    for (int c = 0; c < channels && c < BL_MOST_CHANNELS; c++) view->deviation[c] = 1;
}

int bl_view_check(const struct bl_view *view) {
    if (view->channels < 1 || view->channels > BL_MOST_CHANNELS)
        return bl_fail(BLANCH_EUSAGE, "a network's input has %d channels; images have 1 to %d", view->channels,
                       BL_MOST_CHANNELS);
    if (view->height < 1 || view->height > BL_LARGEST_INPUT || view->width < 1 || view->width > BL_LARGEST_INPUT)
        return bl_fail(BLANCH_EUSAGE, "a network's input of %dx%d pixels is not in 1x1..%dx%d", view->height,
                       view->width, BL_LARGEST_INPUT, BL_LARGEST_INPUT);
    if (view->policy && view->channels != 1 && view->channels != 3)
        return bl_fail(BLANCH_EUSAGE, "--auto-augment is of images of 1 or 3 channels, and the network takes %d",
                       view->channels);
    if (!(view->erase >= 0 && view->erase <= 1))
        return bl_fail(BLANCH_EUSAGE, "--random-erase is %g: it is 0 to 1", (double)view->erase);
    for (int i = 0; i < 2; i++) {
        const double alpha = (double)(i ? view->cutmix : view->mixup);
        if (alpha != 0 && !(alpha >= BL_LEAST_ALPHA && alpha <= BL_MOST_ALPHA))
            return bl_fail(BLANCH_EUSAGE, "--%s is %g: its alpha is %g to %g, or 0", i ? "cutmix" : "mixup", alpha,
                           BL_LEAST_ALPHA, BL_MOST_ALPHA);
    }
    for (int c = 0; c < view->channels; c++) {
        float mean = view->mean[c], deviation = view->deviation[c];
        if (!(deviation > 0) || !isfinite(mean / deviation) || !isfinite((1 - mean) / deviation))
            return bl_fail(BLANCH_EUSAGE, "the deviation of channel %d is not above zero, or far too small", c);
    }
    return 0;
}

int bl_transform_init(struct bl_transform *transform, const struct bl_view *view, bool training, uint64_t seed) {
    int code = bl_view_check(view);
    if (code) return code;
    *transform = (struct bl_transform){.view = *view, .training = training, .seed = seed};
    for (int c = 0; c < view->channels; c++)
        for (int i = 0; i < 256; i++) transform->value[c][i] = ((float)i / 255.0f - view->mean[c]) / view->deviation[c];
    return 0;
}

/* --- writing out ------------------------------------------------------------------------------ */

static void write_zeros(const struct bl_transform *transform, int count, float *out) {
    for (int i = 0; i < count; i++)
        for (int c = 0; c < transform->view.channels; c++) *out++ = transform->value[c][0];
}

/* count pixels, each step floats after the other */
static void write_pixels(const struct bl_transform *transform, const uint8_t *from, int from_channels, int count,
                         ptrdiff_t step, float *out) {
    const float *first = transform->value[0], *second = transform->value[1], *third = transform->value[2];
    if (transform->view.channels == 1) {
        for (int i = 0; i < count; i++, out += step) *out = first[from[i]];
        return;
    }
    if (transform->view.channels != 3) {
        for (int i = 0; i < count; i++, from += from_channels, out += step)
            for (int c = 0; c < from_channels; c++) out[c] = transform->value[c][from[c]];
        return;
    }
    int g = from_channels == 3, b = 2 * g;
    for (int i = 0; i < count; i++, from += from_channels, out += step) {
        out[0] = first[from[0]];
        out[1] = second[from[g]];
        out[2] = third[from[b]];
    }
}

static void write_image(const struct bl_pixels *image, struct bl_placing at, const struct bl_transform *transform,
                        float *out) {
    const int width = transform->view.width, channels = transform->view.channels;
    int begin = at.left < 0 ? -at.left : 0, end = image->width - at.left < width ? image->width - at.left : width;
    int left = at.flip ? width - end : begin, right = at.flip ? begin : width - end;
    for (int y = 0; y < transform->view.height; y++, out += (size_t)width * channels) {
        int row = y + at.top;
        if (row < 0 || row >= image->height || begin >= end) {
            write_zeros(transform, width, out);
            continue;
        }
        const uint8_t *from = image->data + ((size_t)row * image->width + (size_t)(begin + at.left)) * image->channels;
        float *to = out + (ptrdiff_t)(at.flip ? width - 1 - begin : begin) * channels;
        write_zeros(transform, left, out);
        write_pixels(transform, from, image->channels, end - begin, at.flip ? -channels : channels, to);
        write_zeros(transform, right, out + (ptrdiff_t)(width - right) * channels);
    }
}

/* --- geometry --------------------------------------------------------------------------------- */

/* Words for one image: counted by its index, block after block. */
struct draws {
    uint64_t seed, index, epoch;
    uint32_t words[4];
    int used;
    uint64_t block;
};

static uint32_t draw(struct draws *draws) {
    if (draws->used == 4) {
        bl_philox(draws->seed, BL_RANDOM_AUGMENT, draws->index | draws->block++ << 32, draws->epoch, draws->words);
        draws->used = 0;
    }
    return draws->words[draws->used++];
}

static uint32_t draw_of(void *draws) {
    return draw(draws);
}

void bl_view_scale(const struct bl_view *view, int *height, int *width) {
    const bool larger = view->augment == BL_AUGMENT_IMAGENET;
    *height = larger ? (int)((int64_t)view->height * 256 / 224) : view->height;
    *width = larger ? (int)((int64_t)view->width * 256 / 224) : view->width;
}

int bl_view_cover(const struct bl_view *view, const struct bl_pixels *image, int *height, int *width) {
    bl_view_scale(view, height, width);
    const int64_t across = (int64_t)image->width * *height, down = (int64_t)image->height * *width;
    const int64_t longer = across < down ? down / image->width : across / image->height;
    if (longer > LONGEST)
        return bl_fail(BLANCH_EINPUT, "an image of %dx%d pixels is too narrow to be scaled to %dx%d", image->width,
                       image->height, *width, *height);
    *(across < down ? height : width) = (int)longer;
    return 0;
}

static int crop(const struct bl_pixels *image, struct bl_window window, struct bl_pixels *cropped) {
    const size_t row = (size_t)window.width * (size_t)image->channels;
    *cropped = (struct bl_pixels){bl_malloc(row * (size_t)window.height), window.width, window.height, image->channels};
    if (!cropped->data) return bl_fail(BLANCH_ENOMEM, "out of memory for an image");
    for (int y = 0; y < window.height; y++)
        memcpy(cropped->data + row * (size_t)y,
               image->data + ((size_t)(window.y + y) * image->width + window.x) * image->channels, row);
    return 0;
}

/* To the least size that covers what the view scales to, then the centre; sizes and rounding (to even) as torchvision's
 * of square inputs. */
static int scale_and_centre(const struct bl_pixels *image, const struct bl_view *view, struct bl_pixels *scaled,
                            struct bl_placing *at) {
    int height, width, code = bl_view_cover(view, image, &height, &width);
    if (code) return code;
    struct bl_window all = {0, 0, image->width, image->height};
    struct bl_window window = {(int)lrint((width - view->width) / 2.0), (int)lrint((height - view->height) / 2.0),
                               view->width, view->height};
    const bool there = width == image->width && height == image->height;
    at->region = all, at->window = window, at->width = width, at->height = height;
    return there ? crop(image, window, scaled) : bl_resize(image, all, width, height, window, scaled);
}

/* torchvision's RandomResizedCrop.get_params, whose aspects are multiplied by the input's. */
static struct bl_window random_region(const struct bl_pixels *image, const struct bl_view *view, struct draws *draws) {
    const double own = (double)view->width / view->height, least = own * (3.0 / 4), most = own * (4.0 / 3);
    double width = image->width, height = image->height, low = log(least), high = log(most);
    for (int i = 0; i < 10; i++) {
        double area = width * height * (0.08 + 0.92 * (double)bl_uniform(draw(draws)));
        double aspect = exp(low + (high - low) * (double)bl_uniform(draw(draws)));
        int w = (int)lrint(sqrt(area * aspect)), h = (int)lrint(sqrt(area / aspect));
        if (w > 0 && w <= image->width && h > 0 && h <= image->height) {
            int y = (int)bl_below(draw(draws), (uint32_t)(image->height - h + 1));
            int x = (int)bl_below(draw(draws), (uint32_t)(image->width - w + 1));
            return (struct bl_window){x, y, w, h};
        }
    }
    int w = image->width, h = image->height;
    if (width / height < least)
        h = (int)lrint(width / least);
    else if (width / height > most)
        w = (int)lrint(height * most);
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    return (struct bl_window){(image->width - w) / 2, (image->height - h) / 2, w, h};
}

static int imagenet(const struct bl_pixels *image, const struct bl_view *view, struct draws *draws,
                    struct bl_pixels *scaled, struct bl_placing *at) {
    if (!draws) return scale_and_centre(image, view, scaled, at);
    struct bl_window region = random_region(image, view, draws), all = {0, 0, view->width, view->height};
    at->region = region, at->window = all, at->width = view->width, at->height = view->height;
    at->flip = bl_uniform(draw(draws)) < 0.5f;
    return bl_resize(image, region, view->width, view->height, all, scaled);
}

static int plain(const struct bl_pixels *image, const struct bl_view *view, struct bl_pixels *scaled,
                 struct bl_placing *at) {
    if (image->width == view->width && image->height == view->height) return 0;
    if (image->width == 28 && image->height == 28 && view->width == 32 && view->height == 32) {
        at->left = at->top = -2;
        return 0;
    }
    return scale_and_centre(image, view, scaled, at);
}

static void shift_and_flip(struct draws *draws, struct bl_placing *at) {
    at->top += (int)bl_below(draw(draws), 2 * PAD + 1) - PAD;
    at->left += (int)bl_below(draw(draws), 2 * PAD + 1) - PAD;
    at->flip = bl_uniform(draw(draws)) < 0.5f;
}

/* As write_image would show it, in bytes. */
static int place(const struct bl_pixels *image, struct bl_placing at, const struct bl_view *view,
                 struct bl_pixels *placed) {
    const int height = view->height, width = view->width;
    const size_t channels = (size_t)image->channels;
    *placed =
        (struct bl_pixels){bl_calloc((size_t)height * (size_t)width * channels, 1), width, height, image->channels, 0};
    if (!placed->data) return bl_fail(BLANCH_ENOMEM, "out of memory for an image");
    uint8_t *to = placed->data;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, to += channels) {
            const int from_x = (at.flip ? width - 1 - x : x) + at.left, from_y = y + at.top;
            if (from_x < 0 || from_x >= image->width || from_y < 0 || from_y >= image->height) continue;
            memcpy(to, image->data + ((size_t)from_y * (size_t)image->width + (size_t)from_x) * channels, channels);
        }
    return 0;
}

/* torchvision's RandomErasing.get_params; what is erased is 0 after normalisation. */
static void erase(const struct bl_view *view, struct draws *draws, float *out) {
    const double whole = (double)view->height * view->width, low = log(0.3), high = log(3.3);
    if (!(bl_uniform(draw(draws)) < view->erase)) return;
    for (int i = 0; i < 10; i++) {
        const double area = whole * (0.02 + 0.31 * (double)bl_uniform(draw(draws)));
        const double aspect = exp(low + (high - low) * (double)bl_uniform(draw(draws)));
        const int h = (int)nearbyint(sqrt(area * aspect)), w = (int)nearbyint(sqrt(area / aspect));
        if (h >= view->height || w >= view->width) continue;
        const int y = (int)bl_below(draw(draws), (uint32_t)(view->height - h + 1));
        const int x = (int)bl_below(draw(draws), (uint32_t)(view->width - w + 1));
        for (int row = y; row < y + h; row++)
            memset(out + ((size_t)row * (size_t)view->width + (size_t)x) * (size_t)view->channels, 0,
                   (size_t)w * (size_t)view->channels * sizeof *out);
        return;
    }
}

/* PIL's convert('L') */
static int to_grey(const struct bl_pixels *image, struct bl_pixels *grey) {
    size_t count = (size_t)image->width * image->height;
    *grey = (struct bl_pixels){bl_malloc(count), image->width, image->height, 1, 0};
    if (!grey->data) return bl_fail(BLANCH_ENOMEM, "out of memory for an image");
    const uint8_t *from = image->data;
    for (size_t i = 0; i < count; i++, from += 3)
        grey->data[i] = (uint8_t)((from[0] * 19595u + from[1] * 38470u + from[2] * 7471u + 0x8000u) >> 16);
    return 0;
}

/* draws: NULL in evaluation; placing: where pixels came from, which may be NULL */
static int render(const struct bl_pixels *image, const struct bl_transform *transform, struct draws *draws, float *out,
                  struct bl_placing *placing) {
    const struct bl_view *view = &transform->view;
    struct bl_pixels grey = {0}, scaled = {0}, placed = {0};
    struct bl_placing at = {0};
    int code = 0;
    if (view->channels == 1 && image->channels == 3) {
        code = to_grey(image, &grey);
        image = &grey;
    }
    if (!code)
        code = view->augment == BL_AUGMENT_IMAGENET ? imagenet(image, view, draws, &scaled, &at)
                                                    : plain(image, view, &scaled, &at);
    if (!code && view->augment == BL_AUGMENT_CIFAR && draws) shift_and_flip(draws, &at);
    if (placing) *placing = at;
    if (!code && view->policy && draws) {
        code = place(scaled.data ? &scaled : image, at, view, &placed);
        if (!code) code = bl_picture_augment(&placed, view->policy, draw_of, draws);
        at = (struct bl_placing){0};
    }
    if (!code) write_image(placed.data ? &placed : scaled.data ? &scaled : image, at, transform, out);
    if (!code && draws && view->erase > 0) erase(view, draws, out);
    free(placed.data);
    free(scaled.data);
    free(grey.data);
    return code;
}

/* Grey and RGB become each other; others have to have as many as the network takes. */
static int check_channels(int images, int view, const char *name) {
    const bool colours = (images == 1 || images == 3) && (view == 1 || view == 3);
    if (images == view || colours) return 0;
    return bl_fail(BLANCH_EUSAGE, "%s: images have %d channels, and the network takes %d", name, images, view);
}

/* --- images ----------------------------------------------------------------------------------- */

static int read_labels(const struct bl_dataset *data, enum bl_split split, uint32_t index,
                       const struct bl_pixels *image, const struct bl_placing *at, const struct bl_view *view,
                       int32_t *labels) {
    struct bl_pixels mask = {0};
    if (!data->read_mask) return *labels = data->split[split].labels[index], 0;
    int code = data->read_mask(data, split, index, &mask);
    if (!code && (mask.width != image->width || mask.height != image->height))
        code = bl_fail(BLANCH_EINPUT, "%s: an image of %dx%d pixels has a mask of %dx%d",
                       data->split[split].paths ? data->split[split].paths[index] : data->folder, image->width,
                       image->height, mask.width, mask.height);
    if (!code) bl_mask_place(&mask, at, view, labels);
    bl_pixels_free(&mask);
    return code;
}

int bl_dataset_image(const struct bl_dataset *data, enum bl_split split, uint32_t index,
                     const struct bl_transform *transform, uint64_t epoch, float *out) {
    return bl_dataset_sample(data, split, index, transform, epoch, out, NULL);
}

int bl_dataset_sample(const struct bl_dataset *data, enum bl_split split, uint32_t index,
                      const struct bl_transform *transform, uint64_t epoch, float *out, int32_t *labels) {
    const struct bl_images *images = &data->split[split];
    if (index >= images->count)
        return bl_fail(BLANCH_EUSAGE, "%s: image %u does not exist; there are %u", bl_dataset_name(data), index,
                       images->count);
    int fits = check_channels(data->channels, transform->view.channels, bl_dataset_name(data));
    if (fits) return fits;
    struct draws draws = {.seed = transform->seed, .index = index, .epoch = epoch, .used = 4};
    struct bl_pixels image = {NULL, data->width, data->height, data->channels, 0};
    if (images->pixels) image.data = images->pixels + bl_dataset_bytes(data) * index;
    int code = images->pixels ? 0 : bl_dataset_read(data, split, index, &transform->view, &image);
    if (code) return code;
    struct bl_placing at;
    code = render(&image, transform, transform->training ? &draws : NULL, out, &at);
    if (!code && labels) code = read_labels(data, split, index, &image, &at, &transform->view, labels);
    if (!images->pixels) bl_pixels_free(&image);
    return code;
}

int bl_image_file(const char *path, const struct bl_view *view, float *out) {
    struct bl_transform transform;
    struct bl_pixels image;
    int code = bl_transform_init(&transform, view, false, 0);
    if (!code) code = check_channels(3, view->channels, path);
    if (!code) code = bl_image_read(path, &image);
    if (code) return code;
    code = render(&image, &transform, NULL, out, NULL);
    bl_pixels_free(&image);
    return code;
}
