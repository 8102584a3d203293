/* DPN-92 (Chen et al., NIPS 2017), dual path: part of the channels is added as in a residual network, the rest is
 * appended as in a densely connected one. For 32x32 images. */
#include "model.h"

struct stage {
    int width, out, blocks, dense;
};
static const struct stage stages[] = {{96, 256, 3, 16}, {192, 512, 4, 32}, {384, 1024, 20, 24}, {768, 2048, 3, 128}};

static struct bl_tensor *conv(struct bl_build *b, const char *name, struct bl_tensor *x, int out, int stride) {
    return bl_conv(b, name, x, (struct bl_conv_spec){.out = out, .kernel = 1, .stride = stride, .no_bias = true});
}

static struct bl_tensor *shortcut(struct bl_build *b, struct bl_tensor *x, int out, int stride) {
    if (b->norm == BLANCH_ND) return conv(b, "shortcut", x, out, stride);
    return bl_batchnorm(b, "shortcut.1", conv(b, "shortcut.0", x, out, stride));
}

static struct bl_tensor *join(struct bl_build *b, struct bl_tensor *x, struct bl_tensor *y, int added) {
    struct bl_tensor *left = bl_slice(b, x, 0, added), *right = bl_slice(b, y, 0, added);
    struct bl_tensor *parts[3] = {bl_add(b, left, right)};
    parts[1] = bl_slice(b, x, added, 0);
    parts[2] = bl_slice(b, y, added, 0);
    return bl_relu(b, bl_cat(b, parts, 3));
}

static struct bl_tensor *block(struct bl_build *b, struct bl_tensor *x, const struct stage *s, int stride, bool first) {
    struct bl_conv_spec grouped = {
        .out = s->width, .kernel = 3, .stride = stride, .padding = 1, .groups = 32, .no_bias = true};
    bl_order(b, "shortcut shortcut.0 shortcut.1 conv1 bn1 conv2 bn2 conv3 bn3");
    struct bl_tensor *y = bl_relu(b, bl_batchnorm(b, "bn1", conv(b, "conv1", x, s->width, 1)));
    y = bl_relu(b, bl_batchnorm(b, "bn2", bl_conv(b, "conv2", y, grouped)));
    y = bl_batchnorm(b, "bn3", conv(b, "conv3", y, s->out + s->dense, 1));
    if (first) x = shortcut(b, x, s->out + s->dense, stride);
    return join(b, x, y, s->out);
}

static struct bl_tensor *dpn(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    struct bl_conv_spec stem = {.out = 64, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    bl_order(b, "conv1 bn1");
    x = bl_relu(b, bl_batchnorm(b, "bn1", bl_conv(b, "conv1", x, stem)));
    for (int stage = 0; stage < BL_COUNT(stages); stage++)
        for (int i = 0; i < stages[stage].blocks; i++) {
            bl_scope(b, "layer%d.%d.", stage + 1, i);
            x = block(b, x, &stages[stage], stage && !i ? 2 : 1, i == 0);
        }
    bl_scope(b, "%s", "");
    return bl_linear(b, "linear", bl_flatten(b, bl_avgpool(b, x, 4, 4, 0)), b->classes);
}

const struct bl_model bl_model_dpn92 = {
    "dpn92", .classes = 10, .channels = 3, .size = 32, .block_fc = 512, .define = dpn, .summary = "DPN-92 for 32x32"};
