/* ConvNeXt-T (Z. Liu et al., CVPR 2022), names of torchvision's convnext_tiny. */
#include "model.h"

static const struct { int width, depth; } stages[] = {{96, 3}, {192, 3}, {384, 9}, {768, 3}};
enum { STAGES = 4, BLOCKS = 3 + 3 + 9 + 3 };
static const float eps = 1e-6f, dropped = 0.1f; // of the last block's branches

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, float depth) {
    const int width = blanch_channels(x);
    blanch_order(b, "layer_scale block.0 block.2 block.3 block.5");
    struct blanch_tensor *y = blanch_conv2d(
        b, "block.0", x, (struct blanch_conv_spec){.out = width, .kernel = 7, .padding = 3, .groups = width});
    y = blanch_linear(b, "block.3", blanch_layernorm(b, "block.2", y, eps), 4 * width);
    y = blanch_linear(b, "block.5", blanch_unary(b, "gelu", y), width);
    return blanch_add(b, x, blanch_stochastic_depth(b, blanch_scale_from(b, "layer_scale", y, 1e-6f), depth));
}

static struct blanch_tensor *convnext(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    int made = 0;
    x = blanch_conv2d(b, "features.0.0", x,
                      (struct blanch_conv_spec){.out = stages[0].width, .kernel = 4, .stride = 4});
    x = blanch_layernorm(b, "features.0.1", x, eps);
    for (int s = 0; s < STAGES; s++) {
        blanch_scope(b, "features.%d.", 2 * s);
        if (s)
            x = blanch_conv2d(b, "1", blanch_layernorm(b, "0", x, eps),
                              (struct blanch_conv_spec){.out = stages[s].width, .kernel = 2, .stride = 2});
        for (int i = 0; i < stages[s].depth; i++) {
            blanch_scope(b, "features.%d.%d.", 2 * s + 1, i);
            x = block(b, x, dropped * (float)made++ / (float)(BLOCKS - 1));
        }
    }
    blanch_scope(b, "classifier.");
    x = blanch_layernorm(b, "0", blanch_global_avgpool2d(b, x), eps);
    return blanch_linear(b, "2", x, blanch_classes(b));
}

const struct blanch_model bl_model_convnext_tiny = {
    "convnext-tiny", .classes = 1000,    .channels = 3,          .size = 224,
    .block_fc = 64,  .define = convnext, .summary = "ConvNeXt-T"};
