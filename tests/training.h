/* What the tests of training share: a folder that goes with them, a small network of each kind, steps on synthetic
 * images. Included after cmocka.h. */
#ifndef TRAINING_H
#define TRAINING_H

#include "harness.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct blanch_device *device;
static char folder[] = "/tmp/blanch-test-XXXXXX";

static inline const char *in_folder(const char *name) {
    static char path[4][200];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static inline struct blanch_network *make_network_as(enum blanch_norm norm, uint64_t seed, int classes,
                                                     enum blanch_precision precision) {
    struct blanch_network *net = NULL;
    const struct bl_network_options options = {.model = "smallcnn",
                                               .norm = norm,
                                               .nd = {.eps = NAN, .momentum = NAN},
                                               .classes = classes,
                                               .batch = 4,
                                               .seed = seed,
                                               .precision = precision};
    check(bl_network_create(&net, device, &options));
    return net;
}

/* Returns the last loss. */
static inline double make_steps(struct blanch_network *net, int steps) {
    static float images[4 * 28 * 28];
    const int32_t labels[4] = {1, 2, 3, 4};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    for (int i = 0; i < BL_COUNT(images); i++) images[i] = (float)((i * 37) % 101) / 50 - 1;
    const struct blanch_update update = {sizeof update, 0.01f, 0.9f, 1e-3f};
    for (int i = 0; i < steps; i++) check(blanch_network_step(net, images, labels, 4, &update, &metrics));
    assert_true(steps == 0 || isfinite(metrics.loss));
    return metrics.loss;
}

static inline int open_all(void **state) {
    return mkdtemp(folder) ? 0 : -1;
}

static inline int close_all(void **state) {
    char *command = bl_format("rm -rf %s", folder);
    int code = command ? system(command) : -1;
    free(command);
    return code;
}

#endif
