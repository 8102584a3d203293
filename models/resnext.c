/* ResNeXt-29, 32 groups of 4 channels (Xie et al., CVPR 2017), for 32x32 images. */
#include "model.h"

static struct blanch_tensor *conv(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                  int stride) {
    return blanch_conv2d(b, name, x,
                         (struct blanch_conv_spec){.out = out, .kernel = 1, .stride = stride, .no_bias = true});
}

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, int width, int stride) {
    if (!x) return NULL;
    struct blanch_conv_spec grouped = {
        .out = width, .kernel = 3, .stride = stride, .padding = 1, .groups = 32, .no_bias = true, .n_iter = 3};
    struct blanch_tensor *y = blanch_relu(b, blanch_batchnorm2d(b, "bn1", conv(b, "conv1", x, width, 1)));
    y = blanch_relu(b, blanch_batchnorm2d(b, "bn2", blanch_conv2d(b, "conv2", y, grouped)));
    y = blanch_batchnorm2d(b, "bn3", conv(b, "conv3", y, 2 * width, 1));
    if (stride != 1 || blanch_channels(x) != 2 * width)
        x = blanch_batchnorm2d(b, "shortcut.1", conv(b, "shortcut.0", x, 2 * width, stride));
    return blanch_relu(b, blanch_add(b, y, x));
}

static struct blanch_tensor *resnext(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    struct blanch_conv_spec stem = {.out = 64, .kernel = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    x = blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, stem)));
    for (int stage = 0; stage < 3; stage++)
        for (int i = 0; i < 3; i++) {
            blanch_scope(b, "layer%d.%d.", stage + 1, i);
            x = block(b, x, 128 << stage, stage && !i ? 2 : 1);
        }
    blanch_scope(b, "%s", "");
    return blanch_linear(b, "linear", blanch_flatten(b, blanch_avgpool2d(b, x, 8, 8, 0)), blanch_classes(b));
}

const struct blanch_model bl_model_resnext29 = {"resnext29",
                                                .classes = 10,
                                                .channels = 3,
                                                .size = 32,
                                                .block_fc = 512,
                                                .define = resnext,
                                                .summary = "ResNeXt-29, 32x4d, for 32x32"};
