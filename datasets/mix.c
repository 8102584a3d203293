/* Whole batches mixed: mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019) as torchvision.transforms.v2
 * has them. Image i gets a part of image i - 1, the first of the last. One draw is a batch's, keyed by seed and epoch
 * and counted by the batch. */
#include "internal.h"

#include <math.h>
#include <string.h>

struct draws {
    uint64_t seed, batch, epoch;
    uint32_t words[4], used, block;
};

/* Uniform in (0, 1). */
static double draw(struct draws *d) {
    if (d->used == 4) {
        bl_philox(d->seed, BL_RANDOM_MIX, d->batch | (uint64_t)d->block++ << 32, d->epoch, d->words);
        d->used = 0;
    }
    return ((double)d->words[d->used++] + 0.5) / 0x1p32;
}

static double draw_normal(struct draws *d) {
    const double radius = sqrt(-2 * log(draw(d)));
    return radius * cos(2 * acos(-1.0) * draw(d));
}

/* The logarithm of a number of Gamma(a, 1): Marsaglia and Tsang, 2000, of a + 1, from which one of a follows. */
static double draw_log_gamma(struct draws *d, double a) {
    const double shape = a + 1 - 1.0 / 3, scale = 1 / sqrt(9 * shape);
    for (;;) {
        const double x = draw_normal(d), root = 1 + scale * x, v = root * root * root;
        if (root > 0 && log(draw(d)) < 0.5 * x * x + shape * (1 - v + log(v))) return log(shape * v) + log(draw(d)) / a;
    }
}

double bl_draw_beta(uint64_t seed, uint64_t epoch, uint32_t batch, double a) {
    struct draws d = {.seed = seed, .batch = batch, .epoch = epoch, .used = 4};
    const double x = draw_log_gamma(&d, a), y = draw_log_gamma(&d, a);
    return 1 / (1 + exp(y - x));
}

/* --- mixing ----------------------------------------------------------------------------------------- */

void bl_mix_images(float *images, int count, size_t floats, float *last, double share) {
    memcpy(last, images + (size_t)(count - 1) * floats, floats * sizeof *last);
    for (int i = count - 1; i >= 0; i--) {
        float *to = images + (size_t)i * floats;
        const float *from = i ? to - floats : last;
        for (size_t k = 0; k < floats; k++) to[k] = (float)(1 - share) * from[k] + (float)share * to[k];
    }
}

struct bl_box bl_cut_box(int height, int width, double x, double y, double share) {
    const double half = 0.5 * sqrt(1 - share);
    const int cx = (int)(x * width), cy = (int)(y * height), w = (int)(half * width), h = (int)(half * height);
    return (struct bl_box){cx - w < 0 ? 0 : cx - w, cy - h < 0 ? 0 : cy - h, cx + w > width ? width : cx + w,
                           cy + h > height ? height : cy + h};
}

double bl_cut_images(float *images, int count, int height, int width, int channels, float *last, struct bl_box box) {
    const size_t floats = (size_t)height * (size_t)width * (size_t)channels;
    const size_t wide = (size_t)(box.right - box.left) * (size_t)channels * sizeof *images;
    memcpy(last, images + (size_t)(count - 1) * floats, floats * sizeof *last);
    for (int i = count - 1; i >= 0; i--) {
        float *to = images + (size_t)i * floats;
        const float *from = i ? to - floats : last;
        for (int y = box.top; y < box.bottom; y++) {
            const size_t at = ((size_t)y * (size_t)width + (size_t)box.left) * (size_t)channels;
            memcpy(to + at, from + at, wide);
        }
    }
    return 1 - (double)(box.right - box.left) * (box.bottom - box.top) / ((double)height * width);
}

/* The label of the larger part comes first. */
static float order_labels(int32_t *labels, int32_t *others, int count, double share) {
    const int32_t last = labels[count - 1];
    for (int i = 0; i < count; i++) others[i] = i ? labels[i - 1] : last;
    for (int i = 0; i < count && share < 0.5; i++) {
        const int32_t own = labels[i];
        labels[i] = others[i], others[i] = own;
    }
    return (float)(share < 0.5 ? 1 - share : share);
}

float bl_mix_batch(const struct bl_view *view, uint64_t seed, uint64_t epoch, uint32_t batch, struct bl_mixed *m) {
    struct draws d = {.seed = seed, .batch = batch, .epoch = epoch, .block = 1u << 16, .used = 4};
    const size_t floats = (size_t)view->height * (size_t)view->width * (size_t)view->channels;
    const bool cuts = view->cutmix > 0 && (!(view->mixup > 0) || draw(&d) < 0.5);
    double share = bl_draw_beta(seed, epoch, batch, (double)(cuts ? view->cutmix : view->mixup));
    if (cuts) {
        const double x = draw(&d), y = draw(&d);
        share = bl_cut_images(m->images, m->count, view->height, view->width, view->channels, m->last,
                              bl_cut_box(view->height, view->width, x, y, share));
    } else
        bl_mix_images(m->images, m->count, floats, m->last, share);
    return order_labels(m->labels, m->others, m->count, share);
}
