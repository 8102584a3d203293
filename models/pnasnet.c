/* PNASNet, cell A (Liu et al., ECCV 2018): a 7x7 depthwise convolution beside a pooling. For 32x32 images. */
#include "model.h"

static struct bl_tensor *cell(struct bl_build *b, struct bl_tensor *x, int out, int stride) {
    if (!x) return NULL;
    struct bl_conv_spec separable = {
        .out = out, .kernel = 7, .stride = stride, .padding = 3, .groups = (int)x->c, .no_bias = true};
    struct bl_tensor *y = bl_batchnorm(b, "sep_conv1.bn1", bl_conv(b, "sep_conv1.conv1", x, separable));
    struct bl_tensor *z = bl_maxpool(b, x, 3, stride, 1);
    if (stride == 2)
        z = bl_batchnorm(b, "bn1",
                         bl_conv(b, "conv1", z, (struct bl_conv_spec){.out = out, .kernel = 1, .no_bias = true}));
    return bl_relu(b, bl_add(b, y, z));
}

static struct bl_tensor *cells(struct bl_build *b, struct bl_tensor *x, int layer, int width) {
    for (int i = 0; i < 6; i++) {
        bl_scope(b, "layer%d.%d.", layer, i);
        x = cell(b, x, width, 1);
    }
    return x;
}

static struct bl_tensor *pnasnet(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    struct bl_conv_spec stem = {.out = 44, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    x = cells(b, bl_relu(b, bl_batchnorm(b, "bn1", bl_conv(b, "conv1", x, stem))), 1, 44);
    for (int layer = 2; layer <= 4; layer += 2) {
        int width = 44 << layer / 2;
        bl_scope(b, "layer%d.", layer);
        x = cells(b, cell(b, x, width, 2), layer + 1, width);
    }
    bl_scope(b, "%s", "");
    return bl_linear(b, "linear", bl_flatten(b, bl_avgpool(b, x, 8, 8, 0)), b->classes);
}

const struct bl_model bl_model_pnasneta = {"pnasneta",
                                           .classes = 10,
                                           .channels = 3,
                                           .size = 32,
                                           .block_fc = 512,
                                           .define = pnasnet,
                                           .summary = "PNASNet-A for 32x32"};
