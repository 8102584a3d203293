/* Residual networks with activation first (He et al., ECCV 2016), and the same with squeeze and excitation (Hu et al.,
 * CVPR 2018), for 32x32 images. */
#include "model.h"

struct preact {
    bool squeeze;
    int first_iterations;
};

static struct bl_tensor *conv(struct bl_build *b, const char *name, struct bl_tensor *x, int out, int kernel,
                              int stride) {
    struct bl_conv_spec spec = {.out = out, .kernel = kernel, .stride = stride, .padding = kernel / 2, .no_bias = true};
    return bl_conv(b, name, x, spec);
}

/* One weight per channel, from the channels' means. */
static struct bl_tensor *excite(struct bl_build *b, struct bl_tensor *x, int width) {
    struct bl_tensor *w = bl_global_avgpool(b, x);
    w = bl_relu(b, bl_conv(b, "fc1", w, (struct bl_conv_spec){.out = width / 16, .kernel = 1}));
    w = bl_unary(b, "sigmoid", bl_conv(b, "fc2", w, (struct bl_conv_spec){.out = width, .kernel = 1}));
    return bl_mul(b, x, w);
}

static struct bl_tensor *block(struct bl_build *b, struct bl_tensor *x, const struct preact *net, int width,
                               int stride) {
    bl_order(b, "bn1 conv1 bn2 conv2 shortcut shortcut.0 fc1 fc2");
    struct bl_tensor *y = bl_relu(b, bl_batchnorm(b, "bn1", x)), *past = x;
    if (stride != 1) past = conv(b, b->norm == BLANCH_ND ? "shortcut" : "shortcut.0", y, width, 1, stride);
    y = conv(b, "conv1", y, width, 3, stride);
    y = conv(b, "conv2", bl_relu(b, bl_batchnorm(b, "bn2", y)), width, 3, 1);
    if (net->squeeze) y = excite(b, y, width);
    return bl_add(b, y, past);
}

static struct bl_tensor *stem(struct bl_build *b, struct bl_tensor *x, const struct preact *net) {
    bl_order(b, "conv1 bn1");
    struct bl_conv_spec spec = {
        .out = 64, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = net->first_iterations, .freeze = true};
    x = bl_conv(b, "conv1", x, spec);
    if (net->squeeze) return bl_relu(b, bl_batchnorm(b, "bn1", x));
    bl_unused_batchnorm(b, "bn1", x); // the published network has it, and never uses it
    return x;
}

static struct bl_tensor *preact(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    const struct preact *net = variant;
    x = stem(b, x, net);
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < 2; i++) {
            bl_scope(b, "layer%d.%d.", stage + 1, i);
            x = block(b, x, net, 64 << stage, stage && !i ? 2 : 1);
        }
    bl_scope(b, "%s", "");
    return bl_linear(b, "linear", bl_flatten(b, bl_avgpool(b, x, 4, 4, 0)), b->classes);
}

#define CIFAR .classes = 10, .channels = 3, .size = 32, .block_fc = 512, .define = preact
const struct bl_model bl_model_preact18 = {"preact18", CIFAR, .variant = &(struct preact){.first_iterations = 10},
                                           .summary = "pre-activation ResNet-18 for 32x32"};
const struct bl_model bl_model_senet18 = {"senet18", CIFAR,
                                          .variant = &(struct preact){.squeeze = true, .first_iterations = 15},
                                          .summary = "SENet-18 for 32x32"};
