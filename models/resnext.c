/* ResNeXt-29, 32 groups of 4 channels (Xie et al., CVPR 2017), for 32x32 images. */
#include "model.h"

static struct bl_tensor *conv(struct bl_build *b, const char *name, struct bl_tensor *x, int out, int stride) {
    return bl_conv(b, name, x, (struct bl_conv_spec){.out = out, .kernel = 1, .stride = stride, .no_bias = true});
}

static struct bl_tensor *block(struct bl_build *b, struct bl_tensor *x, int width, int stride) {
    if (!x) return NULL;
    struct bl_conv_spec grouped = {
        .out = width, .kernel = 3, .stride = stride, .padding = 1, .groups = 32, .no_bias = true, .n_iter = 3};
    struct bl_tensor *y = bl_relu(b, bl_batchnorm(b, "bn1", conv(b, "conv1", x, width, 1)));
    y = bl_relu(b, bl_batchnorm(b, "bn2", bl_conv(b, "conv2", y, grouped)));
    y = bl_batchnorm(b, "bn3", conv(b, "conv3", y, 2 * width, 1));
    if (stride != 1 || x->c != 2 * width)
        x = bl_batchnorm(b, "shortcut.1", conv(b, "shortcut.0", x, 2 * width, stride));
    return bl_relu(b, bl_add(b, y, x));
}

static struct bl_tensor *resnext(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    struct bl_conv_spec stem = {.out = 64, .kernel = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    x = bl_relu(b, bl_batchnorm(b, "bn1", bl_conv(b, "conv1", x, stem)));
    for (int stage = 0; stage < 3; stage++)
        for (int i = 0; i < 3; i++) {
            bl_scope(b, "layer%d.%d.", stage + 1, i);
            x = block(b, x, 128 << stage, stage && !i ? 2 : 1);
        }
    bl_scope(b, "%s", "");
    return bl_linear(b, "linear", bl_flatten(b, bl_avgpool(b, x, 8, 8, 0)), b->classes);
}

const struct bl_model bl_model_resnext29 = {"resnext29",
                                            .classes = 10,
                                            .channels = 3,
                                            .size = 32,
                                            .block_fc = 512,
                                            .define = resnext,
                                            .summary = "ResNeXt-29, 32x4d, for 32x32"};
