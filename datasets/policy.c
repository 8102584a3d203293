/* RandAugment (Cubuk et al., 2020) and TrivialAugment (Müller and Hutter, 2021) as torchvision has them on PIL's
 * images, bit for bit: operations on bytes. What an affine one shows from outside the image is 0; pixels are taken as
 * they are.
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t bytes_of(const struct bl_pixels *image) {
    return (size_t)image->width * (size_t)image->height * (size_t)image->channels;
}

/* --- geometry ------------------------------------------------------------------------------------- */

static int64_t fixed(double v) {
    return (int64_t)floor(v * 65536.0 + 0.5);
}

/* Pixel (x, y) shows (a x + b y + c, d x + e y + f), from the middles of pixels, in steps of 1/65536 as PIL. */
static int transform(struct bl_pixels *image, const double m[6]) {
    const int channels = image->channels;
    uint8_t *out = bl_calloc(bytes_of(image) + 1, 1);
    if (!out) return BLANCH_ENOMEM;
    int64_t left = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5), top = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);
    uint8_t *to = out;
    for (int y = 0; y < image->height; y++, left += fixed(m[1]), top += fixed(m[4])) {
        int64_t xx = left, yy = top;
        for (int x = 0; x < image->width; x++, xx += fixed(m[0]), yy += fixed(m[3]), to += channels) {
            const int64_t from_x = xx >> 16, from_y = yy >> 16;
            if (from_x < 0 || from_x >= image->width || from_y < 0 || from_y >= image->height) continue;
            memcpy(to, image->data + (size_t)(from_y * image->width + from_x) * (size_t)channels, (size_t)channels);
        }
    }
    memcpy(image->data, out, bytes_of(image));
    free(out);
    return 0;
}

static int rotate(struct bl_pixels *image, double degrees) {
    const double angle = -degrees * acos(-1.0) / 180, x = image->width / 2.0, y = image->height / 2.0;
    const double c = cos(angle), s = sin(angle);
    if (degrees == 0) return 0;
    return transform(image, (double[]){c, s, x - c * x - s * y, -s, c, y + s * x - c * y});
}

/* --- values --------------------------------------------------------------------------------------- */

/* From other to image and beyond, as PIL's Image.blend. */
static void blend(const uint8_t *other, struct bl_pixels *image, float factor) {
    const size_t count = bytes_of(image);
    for (size_t i = 0; i < count; i++) {
        const float v = (float)other[i] + factor * (float)(image->data[i] - other[i]);
        image->data[i] = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;
    }
}

static uint8_t grey_of(const uint8_t *pixel, int channels) {
    if (channels == 1) return *pixel;
    return (uint8_t)((pixel[0] * 19595u + pixel[1] * 38470u + pixel[2] * 7471u + 0x8000u) >> 16);
}

static void fill_grey(const struct bl_pixels *image, uint8_t *other) {
    const int channels = image->channels;
    for (size_t i = 0; i < bytes_of(image); i += (size_t)channels)
        memset(other + i, grey_of(image->data + i, channels), (size_t)channels);
}

static void fill_mean(const struct bl_pixels *image, uint8_t *other) {
    const size_t count = bytes_of(image), channels = (size_t)image->channels;
    double sum = 0;
    for (size_t i = 0; i < count; i += channels) sum += grey_of(image->data + i, image->channels);
    memset(other, (int)(sum / (double)(count / channels) + 0.5), count);
}

/* The mean of nine pixels, the one in the middle five times; the border stays. */
static void fill_smooth(const struct bl_pixels *image, uint8_t *other) {
    const int channels = image->channels, row = image->width * channels;
    memcpy(other, image->data, bytes_of(image));
    for (int y = 1; y < image->height - 1; y++)
        for (int x = channels; x < row - channels; x++) {
            const uint8_t *p = image->data + (size_t)y * (size_t)row + x;
            int sum = 4 * *p;
            for (int k = -1; k <= 1; k++) sum += p[k * row - channels] + p[k * row] + p[k * row + channels];
            other[(size_t)y * (size_t)row + (size_t)x] = (uint8_t)((2 * sum + 13) / 26);
        }
}

static void fill_black(const struct bl_pixels *image, uint8_t *other) {
    memset(other, 0, bytes_of(image));
}

static int enhance(struct bl_pixels *image, void (*fill)(const struct bl_pixels *, uint8_t *), double magnitude) {
    uint8_t *other = bl_malloc(bytes_of(image) + 1);
    if (!other) return BLANCH_ENOMEM;
    fill(image, other);
    blend(other, image, (float)(1 + magnitude));
    free(other);
    return 0;
}

/* Every byte of a channel by a table. */
static void look_up(struct bl_pixels *image, int channel, const uint8_t table[256]) {
    for (size_t i = (size_t)channel; i < bytes_of(image); i += (size_t)image->channels)
        image->data[i] = table[image->data[i]];
}

static void count_values(const struct bl_pixels *image, int channel, int64_t histogram[256]) {
    memset(histogram, 0, 256 * sizeof *histogram);
    for (size_t i = (size_t)channel; i < bytes_of(image); i += (size_t)image->channels) histogram[image->data[i]]++;
}

static void stretch(struct bl_pixels *image, int channel) {
    int64_t histogram[256];
    uint8_t table[256];
    int low = 0, high = 255;
    count_values(image, channel, histogram);
    while (low < 255 && !histogram[low]) low++;
    while (high > 0 && !histogram[high]) high--;
    if (high <= low) return;
    const double scale = 255.0 / (high - low), offset = -low * scale;
    for (int i = 0; i < 256; i++) {
        const int v = (int)(i * scale + offset);
        table[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    look_up(image, channel, table);
}

static void equalise(struct bl_pixels *image, int channel) {
    int64_t histogram[256], last = 0, all = 0;
    uint8_t table[256];
    int used = 0;
    count_values(image, channel, histogram);
    for (int i = 0; i < 256; i++)
        if (histogram[i]) last = histogram[i], all += last, used++;
    const int64_t step = (all - last) / 255;
    if (used < 2 || !step) return;
    int64_t n = step / 2;
    for (int i = 0; i < 256; n += histogram[i++]) table[i] = (uint8_t)(n / step > 255 ? 255 : n / step);
    look_up(image, channel, table);
}

static void point(struct bl_pixels *image, enum bl_picture_op op, double magnitude) {
    const int mask = ~((1 << (8 - (int)magnitude)) - 1);
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(op == BL_PICTURE_POSTERIZE ? i & mask : i < magnitude ? i : 255 - i);
    for (int c = 0; c < image->channels; c++) look_up(image, c, table);
}

int bl_picture_apply(struct bl_pixels *image, enum bl_picture_op op, double magnitude) {
    switch (op) {
    case BL_PICTURE_SHEAR_X:
        return transform(image, (double[]){1, magnitude, 0, 0, 1, 0});
    case BL_PICTURE_SHEAR_Y:
        return transform(image, (double[]){1, 0, 0, magnitude, 1, 0});
    case BL_PICTURE_TRANSLATE_X:
        return transform(image, (double[]){1, 0, -trunc(magnitude), 0, 1, 0});
    case BL_PICTURE_TRANSLATE_Y:
        return transform(image, (double[]){1, 0, 0, 0, 1, -trunc(magnitude)});
    case BL_PICTURE_ROTATE:
        return rotate(image, magnitude);
    case BL_PICTURE_BRIGHTNESS:
        return enhance(image, fill_black, magnitude);
    case BL_PICTURE_COLOR:
        return enhance(image, fill_grey, magnitude);
    case BL_PICTURE_CONTRAST:
        return enhance(image, fill_mean, magnitude);
    case BL_PICTURE_SHARPNESS:
        return enhance(image, fill_smooth, magnitude);
    case BL_PICTURE_POSTERIZE:
    case BL_PICTURE_SOLARIZE:
        return point(image, op, magnitude), 0;
    case BL_PICTURE_AUTOCONTRAST:
    case BL_PICTURE_EQUALIZE:
        for (int c = 0; c < image->channels; c++) (op == BL_PICTURE_EQUALIZE ? equalise : stretch)(image, c);
        return 0;
    default:
        return 0;
    }
}

/* --- the policies ----------------------------------------------------------------------------------- */

enum { BINS = 31, RANDOM_BIN = 9 };

bool bl_picture_signed(enum bl_picture_op op) {
    return op >= BL_PICTURE_SHEAR_X && op <= BL_PICTURE_SHARPNESS;
}

double bl_picture_magnitude(enum bl_policy policy, enum bl_picture_op op, int bin, int size) {
    const double part = bin / (BINS - 1.0);
    const bool wide = policy == BL_POLICY_TRIVIAL;
    switch (op) {
    case BL_PICTURE_SHEAR_X:
    case BL_PICTURE_SHEAR_Y:
        return (wide ? 0.99 : 0.3) * part;
    case BL_PICTURE_TRANSLATE_X:
    case BL_PICTURE_TRANSLATE_Y:
        return (wide ? 32 : 150.0 / 331 * size) * part;
    case BL_PICTURE_ROTATE:
        return (wide ? 135 : 30) * part;
    case BL_PICTURE_BRIGHTNESS:
    case BL_PICTURE_COLOR:
    case BL_PICTURE_CONTRAST:
    case BL_PICTURE_SHARPNESS:
        return (wide ? 0.99 : 0.9) * part;
    case BL_PICTURE_POSTERIZE:
        return 8 - nearbyint((wide ? 6 : 4) * part);
    case BL_PICTURE_SOLARIZE:
        return 255 * (1 - part);
    default:
        return 0;
    }
}

int bl_picture_augment(struct bl_pixels *image, enum bl_policy policy, uint32_t (*draw)(void *from), void *from) {
    int code = 0;
    for (int i = 0; i < (policy == BL_POLICY_RANDOM ? 2 : 1) && !code; i++) {
        const enum bl_picture_op op = (enum bl_picture_op)bl_below(draw(from), BL_PICTURE_OPS);
        const uint32_t bin = draw(from), sign = draw(from);
        const int chosen = policy == BL_POLICY_RANDOM ? RANDOM_BIN : (int)bl_below(bin, BINS);
        const int size = op == BL_PICTURE_TRANSLATE_Y ? image->height : image->width;
        const double magnitude = bl_picture_magnitude(policy, op, chosen, size);
        code = bl_picture_apply(image, op, bl_picture_signed(op) && sign >> 31 ? -magnitude : magnitude);
    }
    return code;
}
