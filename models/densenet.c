/* DenseNet-121 (Huang et al., CVPR 2017): every layer sees the outputs of all before it in its block. The ImageNet form
 * names its layers otherwise, and appends new channels where the CIFAR form puts them in front. */
#include "model.h"

enum { GROWTH = 32, BLOCKS = 4 };
static const int depths[BLOCKS] = {6, 12, 24, 16};

static struct blanch_tensor *conv(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                  int kernel) {
    return blanch_conv2d(
        b, name, x, (struct blanch_conv_spec){.out = out, .kernel = kernel, .padding = kernel / 2, .no_bias = true});
}

static struct blanch_tensor *dense(struct blanch_builder *b, struct blanch_tensor *x, bool imagenet) {
    struct blanch_tensor *y = blanch_relu(b, blanch_batchnorm2d(b, imagenet ? "norm1" : "bn1", x));
    y = blanch_relu(b, blanch_batchnorm2d(b, imagenet ? "norm2" : "bn2", conv(b, "conv1", y, 4 * GROWTH, 1)));
    y = conv(b, "conv2", y, GROWTH, 3);
    return blanch_cat(b, imagenet ? (struct blanch_tensor *[]){x, y} : (struct blanch_tensor *[]){y, x}, 2);
}

/* Halves the channels and the size. */
static struct blanch_tensor *transition(struct blanch_builder *b, struct blanch_tensor *x, bool imagenet) {
    if (!x) return NULL;
    int half = blanch_channels(x) / 2;
    x = blanch_relu(b, blanch_batchnorm2d(b, imagenet ? "norm" : "bn", x));
    return blanch_avgpool2d(b, conv(b, "conv", x, half, 1), 2, 2, 0);
}

static struct blanch_tensor *blocks(struct blanch_builder *b, struct blanch_tensor *x, bool imagenet) {
    for (int block = 1; block <= BLOCKS; block++) {
        for (int i = 0; i < depths[block - 1]; i++) {
            if (imagenet)
                blanch_scope(b, "features.denseblock%d.denselayer%d.", block, i + 1);
            else
                blanch_scope(b, "dense%d.%d.", block, i);
            x = dense(b, x, imagenet);
        }
        blanch_scope(b, imagenet ? "features.transition%d." : "trans%d.", block);
        if (block < BLOCKS) x = transition(b, x, imagenet);
    }
    blanch_scope(b, "%s", "");
    return x;
}

static struct blanch_tensor *densenet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    x = blocks(b, conv(b, "conv1", x, 2 * GROWTH, 3), false);
    x = blanch_avgpool2d(b, blanch_relu(b, blanch_batchnorm2d(b, "bn", x)), 4, 4, 0);
    return blanch_linear(b, "linear", blanch_flatten(b, x), blanch_classes(b));
}

static struct blanch_tensor *densenet_imagenet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    struct blanch_conv_spec stem = {
        .out = 2 * GROWTH, .kernel = 7, .stride = 2, .padding = 3, .no_bias = true, .n_iter = 15, .freeze = true};
    x = blanch_relu(b, blanch_batchnorm2d(b, "features.norm0", blanch_conv2d(b, "features.conv0", x, stem)));
    x = blocks(b, blanch_maxpool2d(b, x, 3, 2, 1), true);
    x = blanch_global_avgpool2d(b, blanch_relu(b, blanch_batchnorm2d(b, "features.norm5", x)));
    return blanch_linear(b, "classifier", blanch_flatten(b, x), blanch_classes(b));
}

const struct blanch_model bl_model_densenet121 = {"densenet121",
                                                  .classes = 10,
                                                  .channels = 3,
                                                  .size = 32,
                                                  .block_fc = 512,
                                                  .define = densenet,
                                                  .summary = "DenseNet-121 for 32x32"};
const struct blanch_model bl_model_densenet121_imagenet = {
    "densenet121-imagenet",      .classes = 1000,          .channels = 3, .size = 224, .block_fc = 64,
    .define = densenet_imagenet, .summary = "DenseNet-121"};
