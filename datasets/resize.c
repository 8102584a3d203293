/* Bilinear resizing with antialiasing: a triangle filter as wide as the scale, columns first, then rows, rounded to
 * bytes in between. Weights and rounding are those of PIL's Image.resize(BILINEAR), bit for bit. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Also compiled for newer processors, chosen among when the program is loaded. Sanitizers are not up at that time. */
#if defined __x86_64__ && defined __GLIBC__ && __GNUC__ >= 12 && !defined __clang__ &&                                 \
    !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
#define VECTORS __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define VECTORS
#endif

#define FRACTION_BITS 22 // of a weight: 32 less 8 for the byte and 2 for the sum's overshoot

#define HALF (1 << (FRACTION_BITS - 1))

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

/* Channels are taken four at a time: of a pixel that has fewer, the rest is what stands behind it. */
enum { TAKEN = 4 };
typedef int32_t quad __attribute__((vector_size(16), aligned(4), may_alias));

static inline uint8_t to_byte(int32_t sum) {
    sum >>= FRACTION_BITS;
    sum = sum < 0 ? 0 : sum; // apart from the next: so compilers find both in their instructions
    sum = sum > 255 ? 255 : sum;
    return (uint8_t)sum;
}

/* From step bytes a pixel to another number. */
static inline void spread(const uint8_t *from, int from_step, uint8_t *to, int to_step, int bytes, int count) {
    for (int x = 0; x < count; x++, from += from_step, to += to_step) memcpy(to, from, (size_t)bytes);
}

/* line: width pixels of TAKEN bytes. pixels, sums: scratch for the row and the outputs. */
VECTORS static void filter_row(const struct filter *filter, const uint8_t *line, int width, int32_t *restrict pixels,
                               int32_t *restrict sums, uint8_t *restrict out) {
    const int *restrict first = filter->first, *restrict count = filter->count;
    const int32_t *restrict weights = filter->weights;
    const int outputs = filter->outputs, most = filter->most;
    for (int x = 0; x < TAKEN * width; x++) pixels[x] = line[x];
    for (int i = 0; i < outputs; i++, weights += most) {
        const quad *from = (const quad *)pixels + first[i];
        quad sum = from[0] * weights[0] + HALF;
        for (int k = 1; k < count[i]; k++) sum += from[k] * weights[k];
        ((quad *)sums)[i] = sum;
    }
    for (int x = 0; x < TAKEN * outputs; x++) out[x] = to_byte(sums[x]);
}

/* in: rows from filter->first[0] on; this is output i. */
VECTORS static void filter_column(const struct filter *filter, int i, const uint8_t *in, size_t row,
                                  int32_t *restrict sums, uint8_t *restrict out) {
    const uint8_t *from = in + (size_t)(filter->first[i] - filter->first[0]) * row;
    const int32_t *weights = filter->weights + (size_t)i * (size_t)filter->most;
    const int count = filter->count[i];
    if (count <= 2) { // as in every enlargement
        const uint8_t *next = count == 2 ? from + row : from;
        const int32_t one = weights[0], other = count == 2 ? weights[1] : 0;
        for (size_t x = 0; x < row; x++) out[x] = to_byte(HALF + from[x] * one + next[x] * other);
        return;
    }
    for (size_t x = 0; x < row; x++) sums[x] = HALF + from[x] * weights[0];
    for (int k = 1; k < count; k++) {
        const uint8_t *other = from + (size_t)k * row;
        for (size_t x = 0; x < row; x++) sums[x] += other[x] * weights[k];
    }
    for (size_t x = 0; x < row; x++) out[x] = to_byte(sums[x]);
}

struct scratch {
    uint8_t *between, *line;
    int32_t *pixels, *sums;
};

/* Channels first.. of the image, at most TAKEN. */
static void resize(const struct filter *columns, const struct filter *rows, const struct bl_pixels *image,
                   struct bl_window region, int first, const struct scratch *s, uint8_t *out) {
    const int channels = image->channels, left = channels - first, taken = left < TAKEN ? left : TAKEN;
    const int last = rows->outputs - 1, begin = rows->first[0], end = rows->first[last] + rows->count[last];
    const size_t row = (size_t)columns->outputs * TAKEN, stride = (size_t)image->width * (size_t)channels;
    const uint8_t *from =
        image->data + (size_t)(region.y + begin) * stride + (size_t)region.x * (size_t)channels + first;
    const int bytes = region.width * channels - first - TAKEN, whole = bytes < 0 ? 0 : bytes / channels + 1;
    for (int y = 0; y < end - begin; y++, from += stride) {
        spread(from, channels, s->line, TAKEN, TAKEN, whole); // the others have nothing behind them
        spread(from + (size_t)whole * (size_t)channels, channels, s->line + (size_t)whole * TAKEN, TAKEN, taken,
               region.width - whole);
        filter_row(columns, s->line, region.width, s->pixels, s->sums, s->between + row * (size_t)y);
    }
    out += first;
    for (int y = 0; y < rows->outputs; y++, out += (size_t)columns->outputs * (size_t)channels) {
        filter_column(rows, y, s->between, row, s->sums, s->line);
        if (taken == 3) // a constant is quicker
            spread(s->line, TAKEN, out, channels, 3, columns->outputs);
        else
            spread(s->line, TAKEN, out, channels, taken, columns->outputs);
    }
}

static int resize_all(const struct filter *columns, const struct filter *rows, const struct bl_pixels *image,
                      struct bl_window region, uint8_t *out) {
    const int last = rows->outputs - 1, height = rows->first[last] + rows->count[last] - rows->first[0];
    const size_t width = (size_t)region.width, outputs = (size_t)columns->outputs;
    struct scratch s = {.between = bl_malloc((size_t)height * outputs * TAKEN),
                        .line = bl_calloc(width > outputs ? width : outputs, TAKEN),
                        .pixels = bl_calloc(width, TAKEN * sizeof *s.pixels),
                        .sums = bl_calloc(outputs, TAKEN * sizeof *s.sums)};
    const bool good = s.between && s.line && s.pixels && s.sums;
    for (int c = 0; good && c < image->channels; c += TAKEN) resize(columns, rows, image, region, c, &s, out);
    free(s.between);
    free(s.line);
    free(s.pixels);
    free(s.sums);
    return good ? 0 : BLANCH_ENOMEM;
}

int bl_resize(const struct bl_pixels *image, struct bl_window region, int width, int height, struct bl_window window,
              struct bl_pixels *scaled) {
    struct filter columns = {0}, rows = {0};
    size_t count = (size_t)window.width * window.height * image->channels;
    *scaled = (struct bl_pixels){bl_malloc(count), window.width, window.height, image->channels};
    int code = scaled->data ? make_filter(&columns, region.width, width, window.x, window.width) : BLANCH_ENOMEM;
    if (!code) code = make_filter(&rows, region.height, height, window.y, window.height);
    if (!code) code = resize_all(&columns, &rows, image, region, scaled->data);
    free_filter(&rows);
    free_filter(&columns);
    if (!code) return 0;
    free(scaled->data);
    scaled->data = NULL;
    return code;
}
