/* Overlays: images, their masks and what was answered, as one PNG. */
#include "cli/overlays.h"
#include "io/png.h"
#include <math.h>
#include <stdlib.h>

enum { SHOWN = 6, PARTS = 3, MOST_PIXELS = 1 << 22 };

void bl_likeliest_pixels(const float *logits, int classes, size_t pixels, uint8_t *answers) {
    for (size_t p = 0; p < pixels; p++) {
        int best = 0;
        for (int c = 1; c < classes; c++)
            if (logits[(size_t)c * pixels + p] > logits[(size_t)best * pixels + p]) best = c;
        answers[p] = (uint8_t)best;
    }
}

struct sheet {
    const struct bl_view *view;
    int shown;
    uint8_t *pixels; // (shown height, PARTS width, 3)
    float *image, *logits;
    int32_t *labels;
    uint8_t *answers;
};

/* A byte of a channel, as it was before it was normalised. */
static uint8_t byte_of(const struct bl_view *view, const float *pixel, int channel) {
    const int c = view->channels < 3 ? 0 : channel;
    const float value = 255 * (pixel[c] * view->deviation[c] + view->mean[c]);
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : lrintf(value));
}

static void put(struct sheet *s, int row) {
    const int width = s->view->width, height = s->view->height;
    for (int i = 0; i < height * width; i++) {
        uint8_t *to =
            s->pixels +
            (((size_t)row * (size_t)height + (size_t)(i / width)) * PARTS * (size_t)width + (size_t)(i % width)) * 3;
        const int class[PARTS] = {0, s->labels[i], s->answers[i]};
        for (int part = 0; part < PARTS; part++, to += 3 * width) {
            uint8_t colour[3];
            bl_png_class_colour(class[part], colour);
            for (int c = 0; c < 3; c++) {
                const int own = byte_of(s->view, s->image + (size_t)i * (size_t)s->view->channels, c);
                to[c] = (uint8_t)(class[part] == BL_UNLABELLED ? 255 : class[part] ? (own + 2 * colour[c]) / 3 : own);
            }
        }
    }
}

static int fill(struct bl_trained *t, enum bl_split split, struct sheet *s) {
    const size_t pixels = (size_t)bl_graph_pixels(t->net->graph);
    const uint32_t count = bl_dataset_count(t->data, split);
    struct bl_transform transform;
    int code = bl_transform_init(&transform, s->view, false, 0), row = 0;
    for (int i = 0; i < s->shown && !code; i++) {
        const uint32_t index = (uint32_t)((uint64_t)i * count / (uint32_t)s->shown);
        code = bl_dataset_sample(t->data, split, index, &transform, 0, s->image, s->labels);
        if (code == BLANCH_EINPUT) { // damaged, which the evaluation has said
            code = 0;
            continue;
        }
        if (!code) code = bl_network_infer(t->net, s->image, 1, s->logits);
        if (code) break;
        bl_likeliest_pixels(s->logits, t->net->options.classes, pixels, s->answers);
        put(s, row++);
    }
    s->shown = row;
    return code;
}

int bl_overlays_write(struct bl_trained *t, enum bl_split split, const char *path) {
    const struct bl_view *view = &t->view;
    const size_t pixels = (size_t)view->height * (size_t)view->width, room = MOST_PIXELS / (PARTS * pixels);
    const uint32_t count = bl_dataset_count(t->data, split);
    struct sheet s = {.view = view, .shown = room < 1 ? 1 : room < SHOWN ? (int)room : SHOWN};
    if (count < (uint32_t)s.shown) s.shown = (int)count;
    s.pixels = bl_calloc(pixels * PARTS * 3, (size_t)s.shown + 1);
    s.image = bl_calloc(pixels * (size_t)view->channels, sizeof *s.image);
    s.logits = bl_calloc(bl_network_logit_count(t->net), sizeof *s.logits);
    s.labels = bl_calloc(pixels, sizeof *s.labels);
    s.answers = bl_calloc(pixels, 1);
    int code = s.pixels && s.image && s.logits && s.labels && s.answers ? fill(t, split, &s) : BLANCH_ENOMEM;
    const struct bl_png_image image = {
        .pixels = s.pixels, .width = PARTS * view->width, .height = s.shown * view->height, .channels = 3};
    if (!code && s.shown) code = bl_png_write(path, &image);
    free(s.pixels), free(s.image), free(s.logits), free(s.labels), free(s.answers);
    return code;
}
