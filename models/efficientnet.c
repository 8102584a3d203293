/* EfficientNet-B0 (Tan and Le, ICML 2019) for 32x32 images, all kernels 3x3, with ReLU. Deconvolution replaces the
 * first convolution and the last layer alone: the blocks keep their batch norms. */
#include "model.h"

struct stage {
    int expansion, out, blocks, stride;
};
static const struct stage stages[] = {{1, 16, 1, 2},  {6, 24, 2, 1},  {6, 40, 2, 2}, {6, 80, 3, 2},
                                      {6, 112, 3, 1}, {6, 192, 4, 2}, {6, 320, 1, 2}};

static struct blanch_tensor *unit(struct blanch_builder *b, struct blanch_tensor *x, const char *conv, const char *norm,
                                  struct blanch_conv_spec spec) {
    spec.plain = spec.no_bias = true;
    return blanch_batchnorm2d_always(b, norm, blanch_conv2d(b, conv, x, spec));
}

static struct blanch_tensor *excite(struct blanch_builder *b, struct blanch_tensor *x, int width) {
    struct blanch_tensor *w = blanch_global_avgpool2d(b, x);
    w = blanch_relu(
        b, blanch_conv2d(b, "fc1", w, (struct blanch_conv_spec){.out = width / 16, .kernel = 1, .plain = true}));
    w = blanch_unary(b, "sigmoid",
                     blanch_conv2d(b, "fc2", w, (struct blanch_conv_spec){.out = width, .kernel = 1, .plain = true}));
    return blanch_mul(b, x, w);
}

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, int expansion, int out,
                                   int stride) {
    if (!x) return NULL;
    int in = blanch_channels(x), width = expansion * in;
    struct blanch_conv_spec depthwise = {.out = width, .kernel = 3, .stride = stride, .padding = 1, .groups = width};
    blanch_order(b, "shortcut.0 shortcut.1 conv1 bn1 conv2 bn2 conv3 bn3 fc1 fc2");
    struct blanch_tensor *y =
        blanch_relu(b, unit(b, x, "conv1", "bn1", (struct blanch_conv_spec){.out = width, .kernel = 1}));
    y = blanch_relu(b, unit(b, y, "conv2", "bn2", depthwise));
    y = unit(b, y, "conv3", "bn3", (struct blanch_conv_spec){.out = out, .kernel = 1});
    if (stride != 1)
        x = y; // as published: what passes by is then the block's own output
    else if (in != out)
        x = unit(b, x, "shortcut.0", "shortcut.1", (struct blanch_conv_spec){.out = out, .kernel = 1});
    return blanch_add(b, excite(b, y, out), x);
}

static struct blanch_tensor *efficientnet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    struct blanch_conv_spec stem = {
        .out = 32, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    blanch_order(b, "conv1 bn1");
    x = blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, stem)));
    int number = 0;
    for (const struct stage *s = stages; s < stages + BL_COUNT(stages); s++)
        for (int i = 0; i < s->blocks; i++) {
            blanch_scope(b, "layers.%d.", number++);
            x = block(b, x, s->expansion, s->out, i ? 1 : s->stride);
        }
    blanch_scope(b, "%s", "");
    return blanch_linear(b, "linear", blanch_flatten(b, x), blanch_classes(b));
}

const struct blanch_model bl_model_efficientnetb0 = {"efficientnetb0",
                                                     .classes = 10,
                                                     .channels = 3,
                                                     .size = 32,
                                                     .block_fc = 512,
                                                     .define = efficientnet,
                                                     .summary = "EfficientNet-B0 for 32x32"};
