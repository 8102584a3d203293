/* PNASNet, cell A (Liu et al., ECCV 2018): a 7x7 depthwise convolution beside a pooling. For 32x32 images. */
#include "model.h"

static struct blanch_tensor *cell(struct blanch_builder *b, struct blanch_tensor *x, int out, int stride) {
    if (!x) return NULL;
    struct blanch_conv_spec separable = {
        .out = out, .kernel = 7, .stride = stride, .padding = 3, .groups = blanch_channels(x), .no_bias = true};
    struct blanch_tensor *y = blanch_batchnorm2d(b, "sep_conv1.bn1", blanch_conv2d(b, "sep_conv1.conv1", x, separable));
    struct blanch_tensor *z = blanch_maxpool2d(b, x, 3, stride, 1);
    if (stride == 2)
        z = blanch_batchnorm2d(
            b, "bn1",
            blanch_conv2d(b, "conv1", z, (struct blanch_conv_spec){.out = out, .kernel = 1, .no_bias = true}));
    return blanch_relu(b, blanch_add(b, y, z));
}

static struct blanch_tensor *cells(struct blanch_builder *b, struct blanch_tensor *x, int layer, int width) {
    for (int i = 0; i < 6; i++) {
        blanch_scope(b, "layer%d.%d.", layer, i);
        x = cell(b, x, width, 1);
    }
    return x;
}

static struct blanch_tensor *pnasnet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    struct blanch_conv_spec stem = {
        .out = 44, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    x = cells(b, blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, stem))), 1, 44);
    for (int layer = 2; layer <= 4; layer += 2) {
        int width = 44 << layer / 2;
        blanch_scope(b, "layer%d.", layer);
        x = cells(b, cell(b, x, width, 2), layer + 1, width);
    }
    blanch_scope(b, "%s", "");
    return blanch_linear(b, "linear", blanch_flatten(b, blanch_avgpool2d(b, x, 8, 8, 0)), blanch_classes(b));
}

const struct blanch_model bl_model_pnasneta = {"pnasneta",
                                               .classes = 10,
                                               .channels = 3,
                                               .size = 32,
                                               .block_fc = 512,
                                               .define = pnasnet,
                                               .summary = "PNASNet-A for 32x32"};
