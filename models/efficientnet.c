/* EfficientNet-B0 (Tan and Le, ICML 2019) for 32x32 images, all kernels 3x3, with ReLU. Deconvolution replaces the
 * first convolution and the last layer alone: the blocks keep their batch norms. */
#include "model.h"

struct stage {
    int expansion, out, blocks, stride;
};
static const struct stage stages[] = {{1, 16, 1, 2},  {6, 24, 2, 1},  {6, 40, 2, 2}, {6, 80, 3, 2},
                                      {6, 112, 3, 1}, {6, 192, 4, 2}, {6, 320, 1, 2}};

static struct bl_tensor *unit(struct bl_build *b, struct bl_tensor *x, const char *conv, const char *norm,
                              struct bl_conv_spec spec) {
    spec.plain = spec.no_bias = true;
    return bl_batchnorm_always(b, norm, bl_conv(b, conv, x, spec));
}

static struct bl_tensor *excite(struct bl_build *b, struct bl_tensor *x, int width) {
    struct bl_tensor *w = bl_global_avgpool(b, x);
    w = bl_relu(b, bl_conv(b, "fc1", w, (struct bl_conv_spec){.out = width / 16, .kernel = 1, .plain = true}));
    w = bl_unary(b, "sigmoid", bl_conv(b, "fc2", w, (struct bl_conv_spec){.out = width, .kernel = 1, .plain = true}));
    return bl_mul(b, x, w);
}

static struct bl_tensor *block(struct bl_build *b, struct bl_tensor *x, int expansion, int out, int stride) {
    if (!x) return NULL;
    int in = (int)x->c, width = expansion * in;
    struct bl_conv_spec depthwise = {.out = width, .kernel = 3, .stride = stride, .padding = 1, .groups = width};
    bl_order(b, "shortcut.0 shortcut.1 conv1 bn1 conv2 bn2 conv3 bn3 fc1 fc2");
    struct bl_tensor *y = bl_relu(b, unit(b, x, "conv1", "bn1", (struct bl_conv_spec){.out = width, .kernel = 1}));
    y = bl_relu(b, unit(b, y, "conv2", "bn2", depthwise));
    y = unit(b, y, "conv3", "bn3", (struct bl_conv_spec){.out = out, .kernel = 1});
    if (stride != 1)
        x = y; // as published: what passes by is then the block's own output
    else if (in != out)
        x = unit(b, x, "shortcut.0", "shortcut.1", (struct bl_conv_spec){.out = out, .kernel = 1});
    return bl_add(b, excite(b, y, out), x);
}

static struct bl_tensor *efficientnet(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    struct bl_conv_spec stem = {.out = 32, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    bl_order(b, "conv1 bn1");
    x = bl_relu(b, bl_batchnorm(b, "bn1", bl_conv(b, "conv1", x, stem)));
    int number = 0;
    for (const struct stage *s = stages; s < stages + BL_COUNT(stages); s++)
        for (int i = 0; i < s->blocks; i++) {
            bl_scope(b, "layers.%d.", number++);
            x = block(b, x, s->expansion, s->out, i ? 1 : s->stride);
        }
    bl_scope(b, "%s", "");
    return bl_linear(b, "linear", bl_flatten(b, x), b->classes);
}

const struct bl_model bl_model_efficientnetb0 = {"efficientnetb0",
                                                 .classes = 10,
                                                 .channels = 3,
                                                 .size = 32,
                                                 .block_fc = 512,
                                                 .define = efficientnet,
                                                 .summary = "EfficientNet-B0 for 32x32"};
