/* Scenes made of random numbers, with masks, for tests and measurements: shapes of classes 1 and up before a background
 * of class 0. A class is a shape (a disc, a square, a triangle, a ring, a cross) and a way to be striped; where shapes
 * lie, how large, turned and coloured they are tells nothing of it. The same for every seed.
 *
 * Scene i of a split is drawn from Philox's words at the counter (scene, stream) under the key of data, with a stream
 * for each object: 0 says how many there are (3 to 6), stream 2 o + 1 and 2 o + 2 of object o its class, centre (within
 * the image), radius (1/8 to 1/4 of the shorter side), turn, colour and phase of the stripes. Later objects lie before
 * earlier ones. Pixels are the colour, striped by 30 grey levels, with noise of up to 20; the background is a slope
 * between two colours. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN_COUNT = 2048, TEST_COUNT = 256, MOST_SIZE = 4096, MOST_SHAPES = 250, SHAPES = 5, MOST_OBJECTS = 6 };
#define DATA_SEED 0
#define PI 3.14159265f

struct object {
    int class, shape, stripes;
    float x, y, radius, cosine, sine, phase, colour[BL_MOST_CHANNELS];
};
struct scene {
    int count;
    struct object object[MOST_OBJECTS];
    float background[2][BL_MOST_CHANNELS], slope_x, slope_y;
};

static float between(uint32_t word, float low, float high) {
    return low + bl_uniform(word) * (high - low);
}

static void draw_colour(uint64_t scene, uint64_t stream, int channels, float *colour) {
    uint32_t words[4];
    for (int c = 0; c < channels; c++) {
        if (c % 4 == 0) bl_philox(DATA_SEED, BL_RANDOM_DATA, scene | (uint64_t)(1 + c / 4) << 48, stream, words);
        colour[c] = between(words[c % 4], 40, 215);
    }
}

static struct object draw_object(const struct bl_dataset *data, uint64_t scene, int number) {
    const int size = data->height < data->width ? data->height : data->width;
    const uint64_t stream = 2 * (uint64_t)number + 1;
    uint32_t a[4], b[4];
    bl_philox(DATA_SEED, BL_RANDOM_DATA, scene, stream, a);
    bl_philox(DATA_SEED, BL_RANDOM_DATA, scene, stream + 1, b);
    const float turn = between(b[0], 0, 2 * PI);
    struct object o = {.class = 1 + (int)bl_below(a[0], (uint32_t)data->classes - 1),
                       .x = between(a[1], 0, (float)data->width),
                       .y = between(a[2], 0, (float)data->height),
                       .radius = between(a[3], (float)size / 8, (float)size / 4),
                       .cosine = cosf(turn),
                       .sine = sinf(turn),
                       .phase = between(b[1], 0, 2 * PI)};
    o.shape = (o.class - 1) % SHAPES, o.stripes = (o.class - 1) / SHAPES;
    draw_colour(scene, stream, data->channels, o.colour);
    return o;
}

static void draw_scene(const struct bl_dataset *data, uint64_t number, struct scene *scene) {
    uint32_t words[4];
    bl_philox(DATA_SEED, BL_RANDOM_DATA, number, 0, words);
    scene->count = 3 + (int)bl_below(words[0], MOST_OBJECTS - 2);
    if (data->classes < 2) scene->count = 0;
    const float angle = between(words[1], 0, 2 * PI);
    scene->slope_x = cosf(angle) / (float)data->width, scene->slope_y = sinf(angle) / (float)data->height;
    for (int i = 0; i < 2; i++) draw_colour(number, 100 + (uint64_t)i, data->channels, scene->background[i]);
    for (int i = 0; i < scene->count; i++) scene->object[i] = draw_object(data, number, i);
}

/* Whether a point, in the object's own coordinates and of its radius, lies within its shape. */
static bool is_within(int shape, float x, float y) {
    const float square = x * x + y * y, ax = fabsf(x), ay = fabsf(y);
    switch (shape) {
    case 0:
        return square < 1;
    case 1:
        return ax < 0.8f && ay < 0.8f;
    case 2: // equilateral, with its corners on the circle
        return y > -0.5f && y < 1 - 1.7320508f * ax;
    case 3:
        return square < 1 && square > 0.3f;
    default:
        return (ax < 0.3f && ay < 1) || (ay < 0.3f && ax < 1);
    }
}

/* The object before all others at a pixel; NULL: the background. across: its own x there. */
static const struct object *object_at(const struct scene *scene, int x, int y, float *across) {
    for (int i = scene->count - 1; i >= 0; i--) {
        const struct object *o = &scene->object[i];
        const float dx = ((float)x + 0.5f - o->x) / o->radius, dy = ((float)y + 0.5f - o->y) / o->radius;
        *across = o->cosine * dx + o->sine * dy;
        if (is_within(o->shape, *across, o->cosine * dy - o->sine * dx)) return o;
    }
    return NULL;
}

static uint64_t number_of(enum bl_split split, uint32_t index) {
    return split == BL_TRAIN ? index : (uint64_t)TRAIN_COUNT + index;
}

static int make(const struct bl_dataset *data, int channels, struct bl_pixels *pixels) {
    *pixels = (struct bl_pixels){bl_malloc((size_t)data->height * (size_t)data->width * (size_t)channels), data->width,
                                 data->height, channels};
    return pixels->data ? 0 : bl_fail(BLANCH_ENOMEM, "out of memory for a synthetic image");
}

static uint8_t to_byte(float value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static int make_image(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *pixels) {
    const uint64_t number = number_of(split, index);
    struct scene scene;
    uint32_t words[4];
    int code = make(data, data->channels, pixels);
    if (code) return code;
    draw_scene(data, number, &scene);
    uint8_t *to = pixels->data;
    for (size_t i = 0; i < (size_t)data->height * (size_t)data->width; i++) {
        const int x = (int)(i % (size_t)data->width), y = (int)(i / (size_t)data->width);
        float across;
        const struct object *o = object_at(&scene, x, y, &across);
        const float part = 0.5f + 0.5f * (scene.slope_x * (float)(2 * x - data->width) +
                                          scene.slope_y * (float)(2 * y - data->height));
        const float stripe = o ? 30 * sinf(across * PI * (float)(2 + 3 * o->stripes) + o->phase) : 0;
        if (i % 4 == 0) bl_philox(DATA_SEED, BL_RANDOM_DATA, i / 4, 1000000 + number, words);
        for (int c = 0; c < data->channels; c++) {
            const float noise = (float)(words[i % 4] >> (c % 4 * 8) & 255) * (40 / 255.0f) - 20;
            const float own = o ? o->colour[c] + stripe
                                : scene.background[0][c] + part * (scene.background[1][c] - scene.background[0][c]);
            *to++ = to_byte(own + noise);
        }
    }
    return 0;
}

static int make_mask(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *mask) {
    struct scene scene;
    float across;
    int code = make(data, 1, mask);
    if (code) return code;
    draw_scene(data, number_of(split, index), &scene);
    for (int y = 0; y < data->height; y++)
        for (int x = 0; x < data->width; x++) {
            const struct object *o = object_at(&scene, x, y, &across);
            mask->data[(size_t)y * (size_t)data->width + (size_t)x] = (uint8_t)(o ? o->class : 0);
        }
    return 0;
}

/* "3x64x64:5" */
static int parse(struct bl_dataset *data, const char *text) {
    static const char separators[4] = {'x', 'x', ':', 0};
    static const long most[4] = {BL_MOST_CHANNELS, MOST_SIZE, MOST_SIZE, MOST_SHAPES};
    long values[4];
    const char *at = text;
    for (int i = 0; i < 4; i++) {
        char *end = (char *)at;
        values[i] = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (end == at || *end != separators[i])
            return bl_fail(BLANCH_EUSAGE,
                           "synthetic-seg:%s: expected CHANNELSxHEIGHTxWIDTH:CLASSES, as in synthetic-seg:3x64x64:5",
                           text);
        if (values[i] < (i == 3 ? 2 : 1) || values[i] > most[i])
            return bl_fail(BLANCH_EUSAGE,
                           "synthetic-seg:%s: scenes have 1 to %d channels, 1 to %d pixels a side, 2 to %d classes, "
                           "the background among them",
                           text, BL_MOST_CHANNELS, MOST_SIZE, MOST_SHAPES);
        at = end + 1;
    }
    data->channels = (int)values[0], data->height = (int)values[1], data->width = (int)values[2];
    data->classes = (int)values[3];
    return 0;
}

static int open_scenes(struct bl_dataset *data, const char *argument, uint64_t seed) {
    static const char *const shapes[SHAPES] = {"disc", "square", "triangle", "ring", "cross"};
    int code = parse(data, argument);
    if (code) return code;
    data->read = make_image, data->read_mask = make_mask;
    data->folder = bl_strdup("synthetic-seg");
    data->class_names = bl_calloc((size_t)data->classes, sizeof *data->class_names);
    if (!data->folder || !data->class_names) return BLANCH_ENOMEM;
    for (int i = 0; i < data->classes; i++) {
        const int stripes = (i - 1) / SHAPES;
        data->class_names[i] = !i        ? bl_strdup("background")
                               : stripes ? bl_format("%s %d", shapes[(i - 1) % SHAPES], stripes + 1)
                                         : bl_strdup(shapes[i - 1]);
        if (!data->class_names[i]) return BLANCH_ENOMEM;
    }
    for (int s = 0; s < BL_SPLITS; s++) {
        struct bl_images *images = &data->split[s];
        const uint32_t count = s == BL_TRAIN ? TRAIN_COUNT : s == BL_TEST ? TEST_COUNT : 0;
        if (!count) continue;
        images->labels = bl_calloc(count, sizeof *images->labels);
        images->damaged = bl_calloc(count, sizeof *images->damaged);
        if (!images->labels || !images->damaged) return BLANCH_ENOMEM;
        images->count = count;
    }
    return 0;
}

const struct bl_format bl_format_synthetic_seg = {
    .name = "synthetic-seg",
    .help = "synthetic-seg:CxHxW:CLASSES",
    .augment = BL_AUGMENT_NONE,
    .mean = {0.5f, 0.5f, 0.5f},
    .deviation = {0.25f, 0.25f, 0.25f},
    .open = open_scenes,
};
