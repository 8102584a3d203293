/* Residual networks with activation first (He et al., ECCV 2016), and the same with squeeze and excitation (Hu et al.,
 * CVPR 2018), for 32x32 images. */
#include "model.h"

struct preact {
    bool squeeze;
    int first_iterations;
};

static struct blanch_tensor *conv(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                  int kernel, int stride) {
    struct blanch_conv_spec spec = {
        .out = out, .kernel = kernel, .stride = stride, .padding = kernel / 2, .no_bias = true};
    return blanch_conv2d(b, name, x, spec);
}

/* One weight per channel, from the channels' means. */
static struct blanch_tensor *excite(struct blanch_builder *b, struct blanch_tensor *x, int width) {
    struct blanch_tensor *w = blanch_global_avgpool2d(b, x);
    w = blanch_relu(b, blanch_conv2d(b, "fc1", w, (struct blanch_conv_spec){.out = width / 16, .kernel = 1}));
    w = blanch_unary(b, "sigmoid", blanch_conv2d(b, "fc2", w, (struct blanch_conv_spec){.out = width, .kernel = 1}));
    return blanch_mul(b, x, w);
}

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, const struct preact *net,
                                   int width, int stride) {
    blanch_order(b, "bn1 conv1 bn2 conv2 shortcut shortcut.0 fc1 fc2");
    struct blanch_tensor *y = blanch_relu(b, blanch_batchnorm2d(b, "bn1", x)), *past = x;
    if (stride != 1) {
        struct blanch_conv_spec spec = {
            .out = width, .kernel = 1, .stride = stride, .no_bias = true, .nd_name = "shortcut"};
        past = blanch_conv2d(b, "shortcut.0", y, spec);
    }
    y = conv(b, "conv1", y, width, 3, stride);
    y = conv(b, "conv2", blanch_relu(b, blanch_batchnorm2d(b, "bn2", y)), width, 3, 1);
    if (net->squeeze) y = excite(b, y, width);
    return blanch_add(b, y, past);
}

static struct blanch_tensor *stem(struct blanch_builder *b, struct blanch_tensor *x, const struct preact *net) {
    blanch_order(b, "conv1 bn1");
    struct blanch_conv_spec spec = {
        .out = 64, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = net->first_iterations, .freeze = true};
    x = blanch_conv2d(b, "conv1", x, spec);
    if (net->squeeze) return blanch_relu(b, blanch_batchnorm2d(b, "bn1", x));
    blanch_batchnorm2d_unused(b, "bn1", x); // the published network has it, and never uses it
    return x;
}

static struct blanch_tensor *preact(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const struct preact *net = variant;
    x = stem(b, x, net);
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < 2; i++) {
            blanch_scope(b, "layer%d.%d.", stage + 1, i);
            x = block(b, x, net, 64 << stage, stage && !i ? 2 : 1);
        }
    blanch_scope(b, "%s", "");
    return blanch_linear(b, "linear", blanch_flatten(b, blanch_avgpool2d(b, x, 4, 4, 0)), blanch_classes(b));
}

#define CIFAR .classes = 10, .channels = 3, .size = 32, .block_fc = 512, .define = preact
const struct blanch_model bl_model_preact18 = {"preact18", CIFAR, .variant = &(struct preact){.first_iterations = 10},
                                               .summary = "pre-activation ResNet-18 for 32x32"};
const struct blanch_model bl_model_senet18 = {"senet18", CIFAR,
                                              .variant = &(struct preact){.squeeze = true, .first_iterations = 15},
                                              .summary = "SENet-18 for 32x32"};
