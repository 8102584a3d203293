/* Images made of random numbers, for benchmarks and tests: every class has its own smooth pattern of waves, which an
 * image shows shifted, in its own contrast, over a wave that tells nothing and under noise. The same for every seed. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRAIN_COUNT 2048
#define TEST_COUNT 512
#define MAX_SIZE 4096
#define MAX_CLASSES 100000
#define WAVES 4     // three of the class, one of the image
#define HELD 64     // up to this size a side, images are made on opening
#define DATA_SEED 0 // of the patterns and images
#define PI 3.14159265f

/* A wave is amplitude[c] * cos(fy*(y + shift_y) + fx*(x + shift_x) + phase). */
struct wave {
    float fy, fx, shift_y, shift_x, phase, amplitude[BL_MOST_CHANNELS];
};

static float between(uint32_t word, float low, float high) {
    return low + bl_uniform(word) * (high - low);
}

/* One to three periods over the image's shorter side. */
static void make_wave(struct wave *wave, uint64_t position, uint64_t stream, int size, float amplitude) {
    uint32_t words[4], colours[4];
    bl_philox(DATA_SEED, BL_RANDOM_DATA, position, stream, words);
    float periods = between(words[0], 1, 3), angle = between(words[1], 0, PI);
    wave->fy = 2 * PI * periods * sinf(angle) / (float)size;
    wave->fx = 2 * PI * periods * cosf(angle) / (float)size;
    wave->phase = between(words[2], 0, 2 * PI);
    for (int c = 0; c < BL_MOST_CHANNELS; c++) { // three of a draw
        if (c % 3 == 0) bl_philox(DATA_SEED, BL_RANDOM_DATA, position | (uint64_t)c << 48, stream + 1, colours);
        wave->amplitude[c] = amplitude * between(colours[c % 3], -1, 1);
    }
}

/* Adds the wave to sums, of the images' shape; cos(a + b) = cos a cos b - sin a sin b, so rows and columns suffice.
 * row: 2 * width floats of scratch. */
static void add_wave(const struct wave *wave, const struct bl_dataset *data, float *sums, float *row) {
    for (int x = 0; x < data->width; x++) {
        float angle = wave->fx * ((float)x + wave->shift_x) + wave->phase;
        row[2 * x] = cosf(angle);
        row[2 * x + 1] = sinf(angle);
    }
    for (int y = 0; y < data->height; y++) {
        float angle = wave->fy * ((float)y + wave->shift_y), cosine = cosf(angle), sine = sinf(angle);
        for (int x = 0; x < data->width; x++) {
            float value = cosine * row[2 * x] - sine * row[2 * x + 1];
            for (int c = 0; c < data->channels; c++) *sums++ += wave->amplitude[c] * value;
        }
    }
}

/* To bytes, with noise of up to 24 grey levels. */
static void add_noise(const float *sums, size_t count, uint64_t image, uint8_t *out) {
    uint32_t words[4];
    for (size_t i = 0; i < count; i++) {
        if (i % 16 == 0) bl_philox(DATA_SEED, BL_RANDOM_DATA, i / 16, 1000 + image, words);
        float noise = (float)(words[i / 4 % 4] >> (i % 4 * 8) & 255) * (48 / 255.0f) - 24;
        float value = 128 + sums[i] + noise;
        out[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

static int make_image(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *pixels) {
    const int size = data->height < data->width ? data->height : data->width;
    const size_t count = bl_dataset_bytes(data);
    uint64_t image = split == BL_TRAIN ? index : (uint64_t)TRAIN_COUNT + index;
    float *sums = bl_calloc(count + 2 * (size_t)data->width, sizeof *sums);
    *pixels = (struct bl_pixels){bl_malloc(count), data->width, data->height, data->channels};
    if (!sums || !pixels->data) {
        free(sums);
        free(pixels->data);
        return bl_fail(BLANCH_ENOMEM, "out of memory for a synthetic image");
    }
    uint32_t words[4];
    bl_philox(DATA_SEED, BL_RANDOM_DATA, image, 4, words);
    float shift = (float)size / 8, contrast = between(words[2], 0.7f, 1.3f);
    for (int k = 0; k < WAVES; k++) {
        struct wave wave = {.shift_y = between(words[0], -shift, shift), .shift_x = between(words[1], -shift, shift)};
        bool own = k == WAVES - 1;
        make_wave(&wave, own ? image : (uint64_t)data->split[split].labels[index] * WAVES + (uint64_t)k, own ? 2 : 0,
                  size, own ? 40 : 50 * contrast);
        add_wave(&wave, data, sums, sums + count);
    }
    add_noise(sums, count, image, pixels->data);
    free(sums);
    return 0;
}

/* "3x32x32:10" */
static int parse(struct bl_dataset *data, const char *text) {
    long values[4];
    static const char separators[4] = {'x', 'x', ':', 0};
    const char *at = text;
    for (int i = 0; i < 4; i++) {
        char *end = (char *)at;
        values[i] = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (end == at || *end != separators[i])
            return bl_fail(BLANCH_EUSAGE,
                           "synthetic:%s: expected CHANNELSxHEIGHTxWIDTH:CLASSES, as in synthetic:3x32x32:10", text);
        at = end + 1;
    }
    if (values[0] < 1 || values[0] > BL_MOST_CHANNELS)
        return bl_fail(BLANCH_EUSAGE, "synthetic:%s: images have 1 to %d channels", text, BL_MOST_CHANNELS);
    if (values[1] < 1 || values[1] > MAX_SIZE || values[2] < 1 || values[2] > MAX_SIZE)
        return bl_fail(BLANCH_EUSAGE, "synthetic:%s: images have 1 to %d pixels a side", text, MAX_SIZE);
    if (values[3] < 1 || values[3] > MAX_CLASSES)
        return bl_fail(BLANCH_EUSAGE, "synthetic:%s: there are 1 to %d classes", text, MAX_CLASSES);
    data->channels = (int)values[0];
    data->height = (int)values[1];
    data->width = (int)values[2];
    data->classes = (int)values[3];
    return 0;
}

static int open_synthetic(struct bl_dataset *data, const char *argument, uint64_t seed) {
    int code = parse(data, argument);
    if (code) return code;
    data->read = make_image;
    data->folder = bl_strdup("synthetic");
    data->class_names = bl_calloc((size_t)data->classes, sizeof *data->class_names);
    if (!data->folder || !data->class_names) return BLANCH_ENOMEM;
    for (int i = 0; i < data->classes; i++)
        if (!(data->class_names[i] = bl_format("class %d", i))) return BLANCH_ENOMEM;
    for (int s = 0; s < BL_SPLITS; s++) {
        struct bl_images *images = &data->split[s];
        uint32_t count = s == BL_TRAIN ? TRAIN_COUNT : s == BL_TEST ? TEST_COUNT : 0;
        if (!count) continue;
        images->labels = bl_calloc(count, sizeof *images->labels);
        images->damaged = bl_calloc(count, sizeof *images->damaged);
        if (!images->labels || !images->damaged) return BLANCH_ENOMEM;
        images->count = count;
        for (uint32_t i = 0; i < count; i++) images->labels[i] = (int32_t)(i % (uint32_t)data->classes);
    }
    const bool small = data->height <= HELD && data->width <= HELD;
    return small ? bl_dataset_decode(data, data->height, data->width) : 0;
}

const struct bl_format bl_format_synthetic = {
    .name = "synthetic",
    .help = "synthetic:CxHxW:CLASSES",
    .augment = BL_AUGMENT_NONE,
    .mean = {0.5f, 0.5f, 0.5f},
    .deviation = {0.25f, 0.25f, 0.25f},
    .open = open_synthetic,
};
