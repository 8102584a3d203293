/* A diffusion model (Ho, Jain and Abbeel, NeurIPS 2020): a U-Net of residual blocks that tells the noise in an image at
 * a time, of a class, with attention where the image is a quarter of its size. Names are those of diffusers'
 * UNet2DModel. The loss is the mean squared error of the noise; times are 1000, variances linear from 1e-4 to 0.02. */
#include "model.h"
#include <stdio.h>

static const struct bl_diffuse_attrs published = {1000, 1e-4f, 0.02f};
enum { WIDTH = 16, LEVELS = 3, TIME = 4 * WIDTH, GROUPS = 8 };
static const int widths[LEVELS] = {WIDTH, 2 * WIDTH, 4 * WIDTH};
static const float eps = 1e-5f;

static struct blanch_tensor *conv(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                  int kernel, int stride) {
    return blanch_conv2d(
        b, name, x, (struct blanch_conv_spec){.out = out, .kernel = kernel, .stride = stride, .padding = kernel / 2});
}

static struct blanch_tensor *norm(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    return blanch_group_norm(b, name, x, GROUPS, eps);
}

/* A residual block, told the time. */
static struct blanch_tensor *block(struct blanch_builder *b, const char *scope, struct blanch_tensor *x,
                                   struct blanch_tensor *time, int out) {
    blanch_scope(b, "%s.", scope);
    struct blanch_tensor *y = conv(b, "conv1", blanch_unary(b, "silu", norm(b, "norm1", x)), out, 3, 1);
    y = blanch_shift(b, y, blanch_linear(b, "time_emb_proj", blanch_unary(b, "silu", time), out));
    y = conv(b, "conv2", blanch_unary(b, "silu", norm(b, "norm2", y)), out, 3, 1);
    return blanch_add(b, y, blanch_channels(x) == out ? x : conv(b, "conv_shortcut", x, out, 1, 1));
}

static struct blanch_tensor *attend(struct blanch_builder *b, const char *scope, struct blanch_tensor *x) {
    blanch_scope(b, "%s.", scope);
    const int width = blanch_channels(x);
    struct blanch_tensor *y = norm(b, "group_norm", x),
                         *qkv[] = {blanch_linear(b, "to_q", y, width), blanch_linear(b, "to_k", y, width),
                                   blanch_linear(b, "to_v", y, width)};
    return blanch_add(b, x, blanch_linear(b, "to_out.0", blanch_attention(b, blanch_cat(b, qkv, 3), 4, false), width));
}

static struct blanch_tensor *down(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *time,
                                  struct blanch_tensor **kept, int *count) {
    for (int i = 0; i < LEVELS; i++) {
        char scope[64];
        snprintf(scope, sizeof scope, "down_blocks.%d.resnets.0", i);
        x = block(b, scope, x, time, widths[i]);
        snprintf(scope, sizeof scope, "down_blocks.%d.attentions.0", i);
        if (i == LEVELS - 1) x = attend(b, scope, x);
        kept[(*count)++] = x;
        blanch_scope(b, "down_blocks.%d.", i);
        if (i < LEVELS - 1) kept[(*count)++] = x = conv(b, "downsamplers.0.conv", x, widths[i], 3, 2);
    }
    return x;
}

static struct blanch_tensor *up(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *time,
                                struct blanch_tensor **kept, int count) {
    for (int i = 0; i < LEVELS; i++) {
        const int out = widths[LEVELS - 1 - i];
        for (int k = 0; k < 2; k++) {
            char scope[64];
            snprintf(scope, sizeof scope, "up_blocks.%d.resnets.%d", i, k);
            x = block(b, scope, blanch_cat(b, (struct blanch_tensor *[]){x, kept[--count]}, 2), time, out);
            snprintf(scope, sizeof scope, "up_blocks.%d.attentions.%d", i, k);
            if (!i) x = attend(b, scope, x);
        }
        blanch_scope(b, "up_blocks.%d.", i);
        if (i == LEVELS - 1) continue;
        const struct blanch_tensor *like = kept[count - 1]; // sizes may be odd
        x = blanch_upsample(b, x, blanch_height(like), blanch_width(like), false);
        x = conv(b, "upsamplers.0.conv", x, out, 3, 1);
    }
    return x;
}

static struct blanch_tensor *unet(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *time) {
    struct blanch_tensor *kept[2 * LEVELS + 1];
    int count = 0;
    time = blanch_linear(b, "time_embedding.linear_1", blanch_number_embedding(b, time, WIDTH), TIME);
    time = blanch_linear(b, "time_embedding.linear_2", blanch_unary(b, "silu", time), TIME);
    time = blanch_add(b, time, blanch_embedding(b, "class_embedding", TIME));
    kept[count++] = x = conv(b, "conv_in", x, WIDTH, 3, 1);
    x = down(b, x, time, kept, &count);
    x = block(b, "mid_block.resnets.0", x, time, widths[LEVELS - 1]);
    x = attend(b, "mid_block.attentions.0", x);
    x = block(b, "mid_block.resnets.1", x, time, widths[LEVELS - 1]);
    x = up(b, x, time, kept, count);
    blanch_scope(b, "%s", "");
    return conv(b, "conv_out", blanch_unary(b, "silu", norm(b, "conv_norm_out", x)), b->image[0], 3, 1);
}

static struct blanch_tensor *ddpm(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    if (b->samples) return unet(b, x, bl_graph_input_as(b->graph, BL_F32, 1, 1, 1));
    struct blanch_tensor *noise, *time;
    x = blanch_diffuse(b, x, variant, &noise, &time);
    return blanch_mean_squared_error(b, unet(b, x, time), noise, false, NULL);
}

const struct blanch_model bl_model_ddpm_unet = {
    "ddpm-unet",         .classes = 10,  .channels = 1,         .size = 28,
    .block_fc = 64,      .define = ddpm, .variant = &published, .summary = "diffusion model, for 28x28 and 32x32",
    .task = BL_GENERATE, .mean = 0.5f,   .deviation = 0.5f,     .diffusion = &published};
