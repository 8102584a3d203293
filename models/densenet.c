/* DenseNet-121 (Huang et al., CVPR 2017): every layer sees the outputs of all before it in its block. The ImageNet form
 * names its layers otherwise, and appends new channels where the CIFAR form puts them in front. */
#include "model.h"

enum { GROWTH = 32, BLOCKS = 4 };
static const int depths[BLOCKS] = {6, 12, 24, 16};

static struct bl_tensor *conv(struct bl_build *b, const char *name, struct bl_tensor *x, int out, int kernel) {
    return bl_conv(b, name, x,
                   (struct bl_conv_spec){.out = out, .kernel = kernel, .padding = kernel / 2, .no_bias = true});
}

static struct bl_tensor *dense(struct bl_build *b, struct bl_tensor *x, bool imagenet) {
    struct bl_tensor *y = bl_relu(b, bl_batchnorm(b, imagenet ? "norm1" : "bn1", x));
    y = bl_relu(b, bl_batchnorm(b, imagenet ? "norm2" : "bn2", conv(b, "conv1", y, 4 * GROWTH, 1)));
    y = conv(b, "conv2", y, GROWTH, 3);
    return bl_cat(b, imagenet ? (struct bl_tensor *[]){x, y} : (struct bl_tensor *[]){y, x}, 2);
}

/* Halves the channels and the size. */
static struct bl_tensor *transition(struct bl_build *b, struct bl_tensor *x, bool imagenet) {
    if (!x) return NULL;
    int half = (int)x->c / 2;
    x = bl_relu(b, bl_batchnorm(b, imagenet ? "norm" : "bn", x));
    return bl_avgpool(b, conv(b, "conv", x, half, 1), 2, 2, 0);
}

static struct bl_tensor *blocks(struct bl_build *b, struct bl_tensor *x, bool imagenet) {
    for (int block = 1; block <= BLOCKS; block++) {
        for (int i = 0; i < depths[block - 1]; i++) {
            if (imagenet)
                bl_scope(b, "features.denseblock%d.denselayer%d.", block, i + 1);
            else
                bl_scope(b, "dense%d.%d.", block, i);
            x = dense(b, x, imagenet);
        }
        bl_scope(b, imagenet ? "features.transition%d." : "trans%d.", block);
        if (block < BLOCKS) x = transition(b, x, imagenet);
    }
    bl_scope(b, "%s", "");
    return x;
}

static struct bl_tensor *densenet(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    x = blocks(b, conv(b, "conv1", x, 2 * GROWTH, 3), false);
    x = bl_avgpool(b, bl_relu(b, bl_batchnorm(b, "bn", x)), 4, 4, 0);
    return bl_linear(b, "linear", bl_flatten(b, x), b->classes);
}

static struct bl_tensor *densenet_imagenet(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    struct bl_conv_spec stem = {
        .out = 2 * GROWTH, .kernel = 7, .stride = 2, .padding = 3, .no_bias = true, .n_iter = 15, .freeze = true};
    x = bl_relu(b, bl_batchnorm(b, "features.norm0", bl_conv(b, "features.conv0", x, stem)));
    x = blocks(b, bl_maxpool(b, x, 3, 2, 1), true);
    x = bl_global_avgpool(b, bl_relu(b, bl_batchnorm(b, "features.norm5", x)));
    return bl_linear(b, "classifier", bl_flatten(b, x), b->classes);
}

const struct bl_model bl_model_densenet121 = {"densenet121",
                                              .classes = 10,
                                              .channels = 3,
                                              .size = 32,
                                              .block_fc = 512,
                                              .define = densenet,
                                              .summary = "DenseNet-121 for 32x32"};
const struct bl_model bl_model_densenet121_imagenet = {
    "densenet121-imagenet",      .classes = 1000,          .channels = 3, .size = 224, .block_fc = 64,
    .define = densenet_imagenet, .summary = "DenseNet-121"};
