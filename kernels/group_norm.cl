/* Group normalisation of an image over its pixels and the channels of a group: y = (x - m) i w + b, i = 1 / sqrt(v +
 * eps), m and v the mean and the biased variance of the group's pixels*each values. Layout NHWC; a unit is a chunk of
 * an image's pixels.
 *   moments         partial[unit] = (mean, sum of squares of differences from it) of the unit, by channel
 *   statistics      of a group of an image from its units': saved (2, images, C): m, i of every channel's group
 *   normalise       y
 *   sums            partial[unit] = (sum dy h, sum dy) by channel, h = (x - m) i
 *   means           totals[image] = the units' sums; of_group (2, images, C): mean(dy w), mean(dy w h) of every
 *                   channel's group
 *   input_gradient  dx = i (dy w - mean(dy w) - h mean(dy w h))
 * An item takes some vectors (dimension 0) of one unit (1) in moments and sums, of some rows (pixels) in normalise and
 * input_gradient; some groups of images in statistics and means. y may be in place of x, dx of dy. `add` other than 0
 * adds to what dx holds.
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

#include "fma.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void moments(global const ACT *restrict x, global float *restrict partial, int units, int chunks, int chunk,
                    int pixels, int vectors) {
    const size_t unit = get_global_id(1), channels = (size_t)vectors * VEC, end = END(0, vectors);
    if (unit >= (size_t)units) return;
    const int first = (int)(unit % chunks) * chunk, last = min(first + chunk, pixels);
    global const ACT *image = x + unit / chunks * pixels * channels;
    global float *means = partial + unit * 2 * channels, *squares = means + channels;
    for (size_t v = BEGIN(0, vectors); v < end; v++) {
        vec sum = (vec)(0.0f), square = (vec)(0.0f);
        for (int p = first; p < last; p++) sum += LOAD_ALIGNED(image + p * channels + v * VEC);
        const vec mean = sum / (float)(last - first);
        for (int p = first; p < last; p++) {
            const vec d = LOAD_ALIGNED(image + p * channels + v * VEC) - mean;
            square = FMA(d, d, square);
        }
        STORE(mean, means + v * VEC);
        STORE(square, squares + v * VEC);
    }
}

kernel void statistics(global const float *restrict partial, global float *restrict saved, int images, int groups,
                       int each, int chunks, int chunk, int pixels, float eps) {
    const size_t end = END(0, (size_t)images * groups), channels = (size_t)groups * each;
    for (size_t i = BEGIN(0, (size_t)images * groups); i < end; i++) {
        const size_t image = i / groups, at = image * channels + i % groups * each;
        global const float *units = partial + image * chunks * 2 * channels + i % groups * each;
        const float values = (float)pixels * (float)each;
        float sum = 0.0f, square = 0.0f;
        for (int k = 0; k < chunks; k++) {
            float of_unit = 0.0f;
            for (int c = 0; c < each; c++) of_unit += units[k * 2 * channels + c];
            sum = FMA(of_unit, (float)min(chunk, pixels - k * chunk), sum);
        }
        const float mean = sum / values;
        for (int k = 0; k < chunks; k++)
            for (int c = 0; c < each; c++) {
                const float d = units[k * 2 * channels + c] - mean;
                square += units[(k * 2 + 1) * channels + c];
                square = FMA(d * d, (float)min(chunk, pixels - k * chunk), square);
            }
        const float inverse = 1.0f / sqrt(square / values + eps);
        for (int c = 0; c < each; c++) {
            saved[at + c] = mean;
            saved[images * channels + at + c] = inverse;
        }
    }
}

kernel void normalise(global const ACT *x, global const float *restrict weight, global const float *restrict bias,
                      global const float *restrict saved, global ACT *y, int images, int pixels, int vectors) {
    const size_t rows = (size_t)images * pixels, end = END(1, rows), last = END(0, vectors);
    const size_t channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(1, rows); r < end; r++) {
        global const float *mean = saved + r / pixels * channels, *inverse = mean + images * channels;
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            const vec d = LOAD_ALIGNED(x + r * channels + v * VEC) - LOAD(mean + v * VEC);
            const vec by = LOAD(inverse + v * VEC) * LOAD(weight + v * VEC);
            STORE_ALIGNED(FMA(d, by, LOAD(bias + v * VEC)), y + r * channels + v * VEC);
        }
    }
}

kernel void sums(global const ACT *restrict x, global const ACT *restrict dy, global const float *restrict saved,
                 global float *restrict partial, int units, int chunks, int chunk, int pixels, int vectors) {
    const size_t unit = get_global_id(1), channels = (size_t)vectors * VEC, end = END(0, vectors);
    if (unit >= (size_t)units) return;
    const int first = (int)(unit % chunks) * chunk, last = min(first + chunk, pixels);
    const size_t image = unit / chunks, of_image = image * pixels * channels;
    global float *products = partial + unit * 2 * channels, *gradients = products + channels;
    for (size_t v = BEGIN(0, vectors); v < end; v++) {
        const vec mean = LOAD(saved + image * channels + v * VEC);
        vec product = (vec)(0.0f), sum = (vec)(0.0f);
        for (int p = first; p < last; p++) {
            const size_t at = of_image + p * channels + v * VEC;
            const vec g = LOAD_ALIGNED(dy + at);
            product = FMA(g, LOAD_ALIGNED(x + at) - mean, product);
            sum += g;
        }
        STORE(product * LOAD(saved + (units / chunks + image) * channels + v * VEC), products + v * VEC);
        STORE(sum, gradients + v * VEC);
    }
}

kernel void means(global const float *restrict partial, global const float *restrict weight,
                  global float *restrict totals, global float *restrict of_group, int images, int groups, int each,
                  int chunks, int pixels) {
    const size_t end = END(0, (size_t)images * groups), channels = (size_t)groups * each;
    for (size_t i = BEGIN(0, (size_t)images * groups); i < end; i++) {
        const size_t image = i / groups, begin = i % groups * each;
        const float values = (float)pixels * (float)each;
        float along = 0.0f, all = 0.0f;
        for (int c = 0; c < each; c++) {
            global const float *from = partial + image * chunks * 2 * channels + begin + c;
            float product = 0.0f, sum = 0.0f;
            for (int k = 0; k < chunks; k++) {
                product += from[k * 2 * channels];
                sum += from[(k * 2 + 1) * channels];
            }
            totals[image * 2 * channels + begin + c] = product;
            totals[(image * 2 + 1) * channels + begin + c] = sum;
            along = FMA(weight[begin + c], product, along);
            all = FMA(weight[begin + c], sum, all);
        }
        for (int c = 0; c < each; c++) {
            of_group[image * channels + begin + c] = all / values;
            of_group[(images + image) * channels + begin + c] = along / values;
        }
    }
}

kernel void input_gradient(global const ACT *restrict x, global const ACT *dy, global const float *restrict weight,
                           global const float *restrict saved, global const float *restrict of_group, global ACT *dx,
                           int images, int pixels, int vectors, int add) {
    const size_t rows = (size_t)images * pixels, end = END(1, rows), last = END(0, vectors);
    const size_t channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(1, rows); r < end; r++) {
        const size_t image = r / pixels * channels, other = image + images * channels;
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            const size_t at = r * channels + v * VEC;
            const vec inverse = LOAD(saved + other + v * VEC);
            const vec h = (LOAD_ALIGNED(x + at) - LOAD(saved + image + v * VEC)) * inverse;
            const vec g = FMA(LOAD_ALIGNED(dy + at), LOAD(weight + v * VEC), -LOAD(of_group + image + v * VEC));
            vec d = inverse * (g - h * LOAD(of_group + other + v * VEC));
            if (add) d += LOAD_ALIGNED(dx + at);
            STORE_ALIGNED(d, dx + at);
        }
    }
}
