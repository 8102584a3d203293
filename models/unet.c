/* U-Net (Ronneberger et al., MICCAI 2015), which labels pixels: the form with batch norm and as many pixels as come in,
 * names of mateuszbuda/brain-segmentation-pytorch's on the PyTorch hub, 32 channels at full resolution. Sizes are
 * multiples of 16. */
#include "model.h"
#include <stdio.h>

struct unet {
    int width, levels;
};
static const struct unet usual = {32, 4};

/* Twice a convolution, batch norm and ReLU; kind "enc1" of "encoder1". */
static struct blanch_tensor *block(struct blanch_builder *b, const char *kind, struct blanch_tensor *x, int out) {
    const struct blanch_conv_spec spec = {.out = out, .kernel = 3, .padding = 1, .no_bias = true};
    for (int i = 1; i <= 2; i++) {
        x = blanch_conv2d(b, blanch_name(b, "%sconv%d", kind, i), x, spec);
        x = blanch_relu(b, blanch_batchnorm2d(b, blanch_name(b, "%snorm%d", kind, i), x));
    }
    return x;
}

static struct blanch_tensor *unet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    enum { MOST_LEVELS = 8 };
    const struct unet *net = variant;
    struct blanch_tensor *kept[MOST_LEVELS];
    char kind[16];
    for (int i = 0; i < net->levels; i++) {
        blanch_scope(b, "encoder%d.", i + 1);
        snprintf(kind, sizeof kind, "enc%d", i + 1);
        kept[i] = block(b, kind, x, net->width << i);
        x = blanch_maxpool2d(b, kept[i], 2, 2, 0);
    }
    blanch_scope(b, "bottleneck.");
    x = block(b, "bottleneck", x, net->width << net->levels);
    for (int i = net->levels; i-- > 0;) {
        const struct blanch_conv_transpose_spec up = {.out = net->width << i, .kernel = 2, .stride = 2};
        blanch_scope(b, "%s", "");
        x = blanch_conv_transpose2d(b, blanch_name(b, "upconv%d", i + 1), x, up);
        x = blanch_cat(b, (struct blanch_tensor *const[]){x, kept[i]}, 2);
        blanch_scope(b, "decoder%d.", i + 1);
        snprintf(kind, sizeof kind, "dec%d", i + 1);
        x = block(b, kind, x, net->width << i);
    }
    blanch_scope(b, "%s", "");
    return blanch_conv2d(b, "conv", x, (struct blanch_conv_spec){.out = blanch_classes(b), .kernel = 1});
}

const struct blanch_model bl_model_unet = {
    "unet",          .classes = 2,   .channels = 3,     .size = 64,
    .block_fc = 512, .define = unet, .variant = &usual, .summary = "U-Net of 32 channels, labels pixels"};
