/* DPN-92 (Chen et al., NIPS 2017), dual path: part of the channels is added as in a residual network, the rest is
 * appended as in a densely connected one. For 32x32 images. */
#include "model.h"

struct stage {
    int width, out, blocks, dense;
};
static const struct stage stages[] = {{96, 256, 3, 16}, {192, 512, 4, 32}, {384, 1024, 20, 24}, {768, 2048, 3, 128}};

static struct blanch_tensor *conv(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                  int stride) {
    return blanch_conv2d(b, name, x,
                         (struct blanch_conv_spec){.out = out, .kernel = 1, .stride = stride, .no_bias = true});
}

static struct blanch_tensor *shortcut(struct blanch_builder *b, struct blanch_tensor *x, int out, int stride) {
    struct blanch_conv_spec spec = {.out = out, .kernel = 1, .stride = stride, .no_bias = true, .nd_name = "shortcut"};
    return blanch_batchnorm2d(b, "shortcut.1", blanch_conv2d(b, "shortcut.0", x, spec));
}

static struct blanch_tensor *join(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *y,
                                  int added) {
    struct blanch_tensor *left = blanch_slice(b, x, 0, added), *right = blanch_slice(b, y, 0, added);
    struct blanch_tensor *parts[3] = {blanch_add(b, left, right)};
    parts[1] = blanch_slice(b, x, added, 0);
    parts[2] = blanch_slice(b, y, added, 0);
    return blanch_relu(b, blanch_cat(b, parts, 3));
}

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, const struct stage *s, int stride,
                                   bool first) {
    struct blanch_conv_spec grouped = {
        .out = s->width, .kernel = 3, .stride = stride, .padding = 1, .groups = 32, .no_bias = true};
    blanch_order(b, "shortcut shortcut.0 shortcut.1 conv1 bn1 conv2 bn2 conv3 bn3");
    struct blanch_tensor *y = blanch_relu(b, blanch_batchnorm2d(b, "bn1", conv(b, "conv1", x, s->width, 1)));
    y = blanch_relu(b, blanch_batchnorm2d(b, "bn2", blanch_conv2d(b, "conv2", y, grouped)));
    y = blanch_batchnorm2d(b, "bn3", conv(b, "conv3", y, s->out + s->dense, 1));
    if (first) x = shortcut(b, x, s->out + s->dense, stride);
    return join(b, x, y, s->out);
}

static struct blanch_tensor *dpn(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    struct blanch_conv_spec stem = {
        .out = 64, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    blanch_order(b, "conv1 bn1");
    x = blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, stem)));
    for (int stage = 0; stage < BL_COUNT(stages); stage++)
        for (int i = 0; i < stages[stage].blocks; i++) {
            blanch_scope(b, "layer%d.%d.", stage + 1, i);
            x = block(b, x, &stages[stage], stage && !i ? 2 : 1, i == 0);
        }
    blanch_scope(b, "%s", "");
    return blanch_linear(b, "linear", blanch_flatten(b, blanch_avgpool2d(b, x, 4, 4, 0)), blanch_classes(b));
}

const struct blanch_model bl_model_dpn92 = {
    "dpn92", .classes = 10, .channels = 3, .size = 32, .block_fc = 512, .define = dpn, .summary = "DPN-92 for 32x32"};
