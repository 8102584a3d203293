/* VGG (Simonyan and Zisserman, ICLR 2015): 3x3 convolutions, pooling, linear layers. The CIFAR form has one linear
 * layer; the ImageNet form's take 7x7 places of any input, as torchvision's. */
#include "model.h"
#include <stdio.h>

enum { POOL = -1 };
struct vgg {
    const int *widths; // ends with 0
    bool imagenet;
    bool keeps_places; // under ND the batch norms' places in the numbering stay, empty
};

static struct blanch_tensor *features(struct blanch_builder *b, struct blanch_tensor *x, const struct vgg *vgg) {
    int place = 0, bare = 0; // with the batch norms' places, and without
    char nd_name[32];
    for (const int *width = vgg->widths; *width; width++) {
        if (*width == POOL) {
            x = blanch_maxpool2d(b, x, 2, 2, 0);
            place++, bare++;
            continue;
        }
        bool first = place == 0;
        snprintf(nd_name, sizeof nd_name, "features.%d", vgg->keeps_places ? place : bare);
        struct blanch_conv_spec conv = {
            .out = *width, .kernel = 3, .padding = 1, .n_iter = first ? 15 : 0, .freeze = first, .nd_name = nd_name};
        x = blanch_conv2d(b, blanch_name(b, "features.%d", blanch_norm_of(b) == BLANCH_NONE ? bare : place), x, conv);
        x = blanch_batchnorm2d(b, blanch_name(b, "features.%d", place + 1), x);
        x = blanch_relu(b, x);
        place += 3, bare += 2;
    }
    if (vgg->imagenet && (blanch_height(x) != 7 || blanch_width(x) != 7)) x = blanch_adaptive_avgpool2d(b, x, 7, 7);
    return blanch_flatten(b, x);
}

static struct blanch_tensor *vgg(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const struct vgg *vgg = variant;
    x = features(b, x, vgg);
    if (!vgg->imagenet) return blanch_linear(b, "classifier", x, blanch_classes(b));
    x = blanch_dropout(b, blanch_relu(b, blanch_linear(b, "classifier.0", x, 4096)), 0.5f);
    x = blanch_dropout(b, blanch_relu(b, blanch_linear(b, "classifier.3", x, 4096)), 0.5f);
    return blanch_linear(b, "classifier.6", x, blanch_classes(b));
}

static const int widths11[] = {64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL, 0};
static const int widths13[] = {64, 64, POOL, 128, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL, 0};
static const int widths16[] = {64,  64,  POOL, 128,  128, POOL, 256, 256,  256, POOL,
                               512, 512, 512,  POOL, 512, 512,  512, POOL, 0};
static const int widths19[] = {64,  64,  POOL, 128, 128,  POOL, 256, 256, 256, 256,  POOL,
                               512, 512, 512,  512, POOL, 512,  512, 512, 512, POOL, 0};

#define CIFAR .classes = 10, .channels = 3, .size = 32, .block_fc = 512, .define = vgg
#define IMAGENET .classes = 1000, .channels = 3, .size = 224, .block_fc = 64, .define = vgg
const struct blanch_model bl_model_vgg11 = {"vgg11", CIFAR, .variant = &(struct vgg){widths11},
                                            .summary = "VGG, 11 layers, for 32x32"};
const struct blanch_model bl_model_vgg13 = {"vgg13", CIFAR, .variant = &(struct vgg){widths13},
                                            .summary = "VGG, 13 layers, for 32x32"};
const struct blanch_model bl_model_vgg16 = {"vgg16", CIFAR, .variant = &(struct vgg){widths16},
                                            .summary = "VGG, 16 layers, for 32x32"};
const struct blanch_model bl_model_vgg19 = {"vgg19", CIFAR, .variant = &(struct vgg){widths19},
                                            .summary = "VGG, 19 layers, for 32x32"};
const struct blanch_model bl_model_vgg11_imagenet = {
    "vgg11-imagenet", IMAGENET, .variant = &(struct vgg){widths11, .imagenet = true}, .summary = "VGG, 11 layers"};
const struct blanch_model bl_model_vgg16_imagenet = {
    "vgg16-imagenet", IMAGENET, .variant = &(struct vgg){widths16, .imagenet = true}, .summary = "VGG, 16 layers"};
const struct blanch_model bl_model_vgg19_imagenet = {
    "vgg19-imagenet", IMAGENET, .variant = &(struct vgg){widths19, .imagenet = true, .keeps_places = true},
    .summary = "VGG, 19 layers"};
