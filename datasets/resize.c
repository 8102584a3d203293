/* Bilinear resizing with antialiasing: a triangle filter as wide as the scale, columns first, then rows, rounded to
 * bytes in between. Weights and rounding are those of PIL's Image.resize(BILINEAR), bit for bit. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FRACTION_BITS 22 // of a weight: 32 less 8 for the byte and 2 for the sum's overshoot

/* Of an axis: output i is the sum of weights[i*most + k] * input[first[i] + k] for k < count[i]. */
struct filter {
    int outputs, most;
    int *first, *count;
    int32_t *weights;
};

static void free_filter(struct filter *filter) {
    free(filter->first);
    free(filter->count);
    free(filter->weights);
}

/* The weights of output i. */
static void fill_weights(struct filter *filter, int i, double center, double width, int in, double *values) {
    int first = (int)(center - width + 0.5), end = (int)(center + width + 0.5);
    double sum = 0;
    first = first < 0 ? 0 : first;
    end = end > in ? in : end;
    filter->first[i] = first;
    filter->count[i] = end - first;
    for (int k = 0; k < end - first; k++) {
        double x = fabs((k + first - center + 0.5) / width);
        values[k] = x < 1 ? 1 - x : 0;
        sum += values[k];
    }
    for (int k = 0; k < end - first; k++)
        filter->weights[(size_t)i * filter->most + k] = (int32_t)(0.5 + values[k] * (1 / sum) * (1 << FRACTION_BITS));
}

/* Outputs begin..begin+outputs-1 of scaling in values to out. */
static int make_filter(struct filter *filter, int in, int out, int begin, int outputs) {
    double scale = (double)in / out, width = scale < 1 ? 1 : scale;
    filter->outputs = outputs;
    filter->most = (int)ceil(width) * 2 + 1;
    filter->first = bl_calloc((size_t)outputs, sizeof *filter->first);
    filter->count = bl_calloc((size_t)outputs, sizeof *filter->count);
    filter->weights = bl_calloc((size_t)outputs * (size_t)filter->most, sizeof *filter->weights);
    double *values = bl_calloc((size_t)filter->most, sizeof *values);
    bool good = filter->first && filter->count && filter->weights && values;
    for (int i = 0; good && i < outputs; i++) fill_weights(filter, i, (begin + i + 0.5) * scale, width, in, values);
    free(values);
    return good ? 0 : BLANCH_ENOMEM;
}

static uint8_t to_byte(int32_t sum) {
    sum >>= FRACTION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void filter_row(const struct filter *filter, const uint8_t *in, int channels, uint8_t *out) {
    for (int i = 0; i < filter->outputs; i++) {
        const uint8_t *from = in + (size_t)filter->first[i] * channels;
        const int32_t *weights = filter->weights + (size_t)i * filter->most;
        int32_t sums[BL_MOST_CHANNELS];
        for (int c = 0; c < channels; c++) sums[c] = 1 << (FRACTION_BITS - 1);
        if (channels == 3) {
            for (int k = 0; k < filter->count[i]; k++, from += 3) {
                sums[0] += from[0] * weights[k];
                sums[1] += from[1] * weights[k];
                sums[2] += from[2] * weights[k];
            }
        } else {
            for (int k = 0; k < filter->count[i]; k++, from += channels)
                for (int c = 0; c < channels; c++) sums[c] += from[c] * weights[k];
        }
        for (int c = 0; c < channels; c++) *out++ = to_byte(sums[c]);
    }
}

/* in: rows from filter->first[0] on. sums: a row of scratch. */
static void filter_columns(const struct filter *filter, const uint8_t *in, size_t row, int32_t *sums, uint8_t *out) {
    for (int i = 0; i < filter->outputs; i++, out += row) {
        const uint8_t *from = in + (size_t)(filter->first[i] - filter->first[0]) * row;
        const int32_t *weights = filter->weights + (size_t)i * filter->most;
        for (size_t x = 0; x < row; x++) sums[x] = 1 << (FRACTION_BITS - 1);
        for (int k = 0; k < filter->count[i]; k++, from += row) {
            int32_t weight = weights[k];
            for (size_t x = 0; x < row; x++) sums[x] += from[x] * weight;
        }
        for (size_t x = 0; x < row; x++) out[x] = to_byte(sums[x]);
    }
}

static int resize(const struct filter *columns, const struct filter *rows, const struct bl_pixels *image,
                  struct bl_window region, uint8_t *out) {
    size_t row = (size_t)columns->outputs * image->channels, stride = (size_t)image->width * image->channels;
    int last = rows->outputs - 1, begin = rows->first[0], end = rows->first[last] + rows->count[last];
    const uint8_t *from = image->data + (size_t)(region.y + begin) * stride + (size_t)region.x * image->channels;
    uint8_t *between = bl_malloc(row * (size_t)(end - begin));
    int32_t *sums = bl_calloc(row, sizeof *sums);
    bool good = between && sums;
    for (int y = 0; good && y < end - begin; y++, from += stride)
        filter_row(columns, from, image->channels, between + row * (size_t)y);
    if (good) filter_columns(rows, between, row, sums, out);
    free(sums);
    free(between);
    return good ? 0 : BLANCH_ENOMEM;
}

int bl_resize(const struct bl_pixels *image, struct bl_window region, int width, int height, struct bl_window window,
              struct bl_pixels *scaled) {
    struct filter columns = {0}, rows = {0};
    size_t count = (size_t)window.width * window.height * image->channels;
    *scaled = (struct bl_pixels){bl_malloc(count), window.width, window.height, image->channels};
    int code = scaled->data ? make_filter(&columns, region.width, width, window.x, window.width) : BLANCH_ENOMEM;
    if (!code) code = make_filter(&rows, region.height, height, window.y, window.height);
    if (!code) code = resize(&columns, &rows, image, region, scaled->data);
    free_filter(&rows);
    free_filter(&columns);
    if (!code) return 0;
    free(scaled->data);
    scaled->data = NULL;
    return code;
}
