/* blanch sample: images of a network that generates, as one picture. */
#include "cli/common.h"
#include "cli/weights.h"
#include "io/files.h"
#include "io/png.h"
#include "train/sample.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_IMAGES = 1 << 17, MOST_SHOWN = 1024, GAP = 2, USUAL = 64 };

struct sample {
    struct bl_weights_options o;
    const char *out, *features;
    int count, label, columns;
    struct bl_trained t;
    float *images;
    struct bl_progress *progress;
    double distance, real; // by features; NAN: not asked for
    int64_t compared;
};

/* --- the picture --------------------------------------------------------------------------------- */

static uint8_t grey_of(float pixel) {
    return pixel <= 0 ? 0 : pixel >= 1 ? 255 : (uint8_t)(255 * pixel + 0.5f);
}

/* Rows of images, a gap between two; the first 1024 of more. */
static int write_grid(const struct sample *s) {
    const struct bl_network_options *o = &s->t.net->options;
    const int shown = s->count < MOST_SHOWN ? s->count : MOST_SHOWN,
              columns = s->columns ? s->columns : (int)ceil(sqrt(shown)), rows = (shown + columns - 1) / columns,
              width = columns * (o->width + GAP) - GAP, height = rows * (o->height + GAP) - GAP;
    const size_t channels = (size_t)o->channels, line = (size_t)o->width * channels;
    uint8_t *pixels = bl_calloc((size_t)width * (size_t)height, channels);
    if (!pixels) return BLANCH_ENOMEM;
    for (int n = 0; n < shown; n++)
        for (int y = 0; y < o->height; y++) {
            const size_t row = (size_t)(n / columns * (o->height + GAP) + y),
                         column = (size_t)(n % columns * (o->width + GAP));
            const float *from = s->images + ((size_t)n * (size_t)o->height + (size_t)y) * line;
            for (size_t i = 0; i < line; i++) pixels[(row * (size_t)width + column) * channels + i] = grey_of(from[i]);
        }
    const struct bl_png_image image = {pixels, width, height, o->channels, NULL, 0};
    int code = bl_png_write(s->out, &image);
    free(pixels);
    return code;
}

/* --- the distance -------------------------------------------------------------------------------- */

/* As the picture has them, and as the classifier is to see them. */
static int add_made(const struct sample *s, struct bl_trained *judge, struct bl_features *made) {
    const struct bl_network_options *o = &s->t.net->options;
    const size_t channels = (size_t)o->channels, values = channels * (size_t)o->height * (size_t)o->width,
                 count = (size_t)s->count;
    float *seen = bl_calloc(count * values, sizeof *seen);
    if (!seen) return BLANCH_ENOMEM;
    for (size_t i = 0; i < count * values; i++)
        seen[i] =
            ((float)grey_of(s->images[i]) / 255 - judge->view.mean[i % channels]) / judge->view.deviation[i % channels];
    int code = bl_features_add(made, judge->net, seen, s->count);
    free(seen);
    return code;
}

static int add_real(struct bl_trained *judge, enum bl_split split, struct bl_features *real) {
    struct bl_loader_options options = {.split = split, .view = judge->view, .batch = 256, .epochs = 1};
    struct bl_loader *loader = NULL;
    struct bl_batch batch;
    options.view.augment = BL_AUGMENT_NONE;
    int code = bl_loader_open(&loader, judge->data, &options);
    while (!code && !(code = bl_loader_next(loader, &batch)) && batch.whole) {
        if (batch.count) code = bl_features_add(real, judge->net, batch.images, batch.count);
        if (!code) code = bl_check_interrupted();
    }
    bl_loader_close(loader);
    return code;
}

static int compare(struct sample *s, struct bl_trained *judge, struct bl_features f[3]) {
    const struct bl_network_options *made = &s->t.net->options, *sees = &judge->net->options;
    if (made->channels != sees->channels || made->height != sees->height || made->width != sees->width)
        return bl_fail(BLANCH_EUSAGE, "--features %s: its network sees %dx%dx%d, and %dx%dx%d is made", s->features,
                       sees->channels, sees->height, sees->width, made->channels, made->height, made->width);
    if (!bl_dataset_count(judge->data, BL_TEST))
        return bl_fail(BLANCH_EUSAGE, "--features %s: its data have no test images", s->features);
    int code = 0;
    for (int i = 0; i < 3 && !code; i++) code = bl_features_open(&f[i], judge->net);
    if (code) return bl_fail_in(code, "--features %s", s->features);
    if (!code) code = add_made(s, judge, &f[0]);
    if (!code) code = add_real(judge, BL_TEST, &f[1]);
    if (!code) code = add_real(judge, BL_TRAIN, &f[2]);
    if (!code) code = bl_features_distance(&f[0], &f[1], &s->distance);
    if (!code) code = bl_features_distance(&f[2], &f[1], &s->real);
    s->compared = f[1].count;
    return code;
}

/* The made images, and the training images, beside the test images. */
static int judge(struct sample *s) {
    struct bl_weights_options o = {.run = s->features, .needs_data = true};
    struct bl_features f[3] = {{0}};
    struct bl_trained trained;
    bl_common_init(&o.common);
    o.common.device = s->o.common.device, o.common.max_alloc = s->o.common.max_alloc;
    int code = bl_trained_open(&trained, &o);
    if (code) return bl_fail_in(code, "--features");
    code = compare(s, &trained, f);
    if (!code && !s->o.common.json)
        printf("distance of features of %s-%s (%s), from %lld test images: %d made %.3f, the training images %.3f\n",
               trained.net->model->name, bl_norm_name(trained.net->options.norm), bl_shown(s->features),
               (long long)s->compared, s->count, s->distance, s->real);
    for (int i = 0; i < 3; i++) bl_features_close(&f[i]);
    bl_trained_close(&trained);
    return code;
}

/* --- the command ----------------------------------------------------------------------------------- */

static int show(void *context, int made, int steps) {
    struct sample *s = context;
    if (!s->progress) s->progress = bl_progress_start("sample", steps);
    bl_progress_step(s->progress, made, "step %d of %d", made, steps);
    return 0;
}

static int print_json(const struct sample *s) {
    cJSON *json = bl_document("sample", blanch_device_info(s->t.dev), bl_options_json(s->o.common.options));
    cJSON_AddStringToObject(json, "model", s->t.net->model->name);
    cJSON_AddNumberToObject(json, "count", s->count);
    if (!isnan(s->distance)) {
        cJSON_AddItemToObject(json, "distance", bl_json_number(s->distance, 9));
        cJSON_AddItemToObject(json, "distance_of_training_images", bl_json_number(s->real, 9));
        cJSON_AddNumberToObject(json, "test_images", (double)s->compared);
    }
    return bl_print_json(json);
}

/* Of all images, where one class is asked for. */
static int make(struct sample *s, struct bl_sample_options *options) {
    int32_t *labels = s->label < 0 ? NULL : bl_calloc((size_t)s->count, sizeof *labels);
    if (s->label >= 0 && !labels) return BLANCH_ENOMEM;
    for (int n = 0; n < s->count && labels; n++) labels[n] = s->label;
    options->labels = labels;
    int code = bl_sample(s->t.net, options, s->images);
    bl_progress_end(s->progress);
    free(labels);
    return code;
}

static int sample(struct sample *s) {
    if (!s->out && !s->features) return bl_fail(BLANCH_EUSAGE, "--out FILE.png is missing");
    int code = bl_trained_open(&s->t, &s->o);
    if (code) return code;
    const struct bl_network_options *o = &s->t.net->options;
    struct bl_sample_options options = {
        .seed = s->o.common.seed < 0 ? 0 : (uint64_t)s->o.common.seed, .count = s->count, .step = show, .context = s};
    const size_t values = (size_t)o->channels * (size_t)o->height * (size_t)o->width;
    if (o->channels != 1 && o->channels != 3)
        code = bl_fail(BLANCH_EUSAGE, "images of %d channels are no picture: 1 or 3 are", o->channels);
    if (!code && !(s->images = bl_calloc((size_t)s->count * values, sizeof *s->images))) code = BLANCH_ENOMEM;
    if (!code) code = make(s, &options);
    if (!code && s->out) code = write_grid(s);
    if (!code && s->out && !s->o.common.json) printf("%s: %d images\n", bl_shown(s->out), s->count);
    if (!code && s->features) code = judge(s);
    if (!code && s->o.common.json) code = print_json(s);
    bl_trained_close(&s->t);
    free(s->images);
    return code;
}

static int run(int argc, char **argv) {
    struct sample s = {.o = {.batch = USUAL}, .count = USUAL, .label = -1, .distance = NAN, .real = NAN};
    struct bl_weights_options *o = &s.o;
    bool help;
    bl_common_init(&o->common);
    const struct bl_option own[] = {
        {"run", BL_OPT_TEXT, &o->run, 0, 0, "DIR", "a run of a network that generates: its last weights"},
        {"best", BL_OPT_FLAG, &o->best, 0, 0, NULL, "the run's best weights instead"},
        {"weights", BL_OPT_TEXT, &o->weights, 0, 0, "FILE", "a state dict that says what it is of"},
        {"out", BL_OPT_TEXT, &s.out, 0, 0, "FILE.png", "the picture: rows of images"},
        {"count", BL_OPT_INT, &s.count, 1, MOST_IMAGES, "N", "images (64)"},
        {"columns", BL_OPT_INT, &s.columns, 1, MOST_SHOWN, "N", "of the picture (as many as rows)"},
        {"class", BL_OPT_INT, &s.label, 0, BL_MOST_CLASSES, "N", "of all images (the classes in turn)"},
        {"features", BL_OPT_TEXT, &s.features, 0, 0, "RUN",
         "how far they are from real images, by the features of this run's classifier"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &o->common, BL_COMMON_DEVICE | BL_COMMON_SEED | BL_COMMON_JSON);
    int code = bl_options_parse(&bl_command_sample, options, argc, argv, NULL, &help);
    if (code || help) return code;
    bl_end_in_order();
    return sample(&s);
}

const struct bl_command bl_command_sample = {
    .name = "sample",
    .summary = "makes images with a network that generates",
    .usage =
        "usage: blanch sample --run DIR --out FILE.png [--count N] [--seed N] [options]\n"
        "\n"
        "The noise that images are made of is the same on every device, by --seed (0) and the image's number. A\n"
        "network that is told classes makes them in turn. --features RUN, the run of a classifier that Blanch has\n"
        "trained, tells the Frechet distance of the features of the images, and of the training images beside\n"
        "them, from those of the test images: small where they are alike, and comparable by the same run and\n"
        "--count alone.\n",
    .run = run,
};
