/* Transformers for images. vit-tiny: ViT-Ti/16 (Dosovitskiy et al., ICLR 2021; Touvron et al., ICML 2021), names of
 * timm's vit_tiny_patch16_224; images below 96 pixels have patches of 4, vit-tiny/8 has those of 8. cct-2: CCT-2/3x2
 * (A. Hassani et al., 2021), names of its authors' cct_2_3x2_32, without dropout of attention weights. */
#include "model.h"

/* --- ViT -------------------------------------------------------------------------------------- */

struct vit {
    int width, depth, heads;
    int patch; // 0: by the image
};
static const struct vit tiny = {192, 12, 3};

static struct blanch_tensor *vit_block(struct blanch_builder *b, struct blanch_tensor *x, const struct vit *v) {
    struct blanch_tensor *y = blanch_linear(b, "attn.qkv", blanch_layernorm(b, "norm1", x, 1e-6f), 3 * v->width);
    y = blanch_linear(b, "attn.proj", blanch_attention(b, y, v->heads, false), v->width);
    x = blanch_add(b, x, y);
    y = blanch_linear(b, "mlp.fc1", blanch_layernorm(b, "norm2", x, 1e-6f), 4 * v->width);
    return blanch_add(b, x, blanch_linear(b, "mlp.fc2", blanch_unary(b, "gelu", y), v->width));
}

static struct blanch_tensor *vit(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const struct vit *v = variant;
    const int patch = v->patch ? v->patch : blanch_height(x) < 96 || blanch_width(x) < 96 ? 4 : 16;
    blanch_order(b, "cls_token pos_embed");
    x = blanch_conv2d(b, "patch_embed.proj", x,
                      (struct blanch_conv_spec){.out = v->width, .kernel = patch, .stride = patch});
    x = blanch_position(b, "pos_embed", blanch_class_token(b, "cls_token", x));
    for (int i = 0; i < v->depth; i++) {
        blanch_scope(b, "blocks.%d.", i);
        x = vit_block(b, x, v);
    }
    blanch_scope(b, "%s", "");
    x = blanch_token(b, blanch_layernorm(b, "norm", x, 1e-6f), 0);
    return blanch_linear(b, "head", x, blanch_classes(b));
}

static void *patched(int patch) {
    struct vit *v = bl_malloc(sizeof *v);
    if (v) *v = tiny, v->patch = patch;
    return v;
}

const struct blanch_model bl_model_vit_tiny = {
    "vit-tiny",        .classes = 1000,
    .channels = 3,     .size = 224,
    .block_fc = 64,    .define = vit,
    .variant = &tiny,  .summary = "ViT-Ti/16, patches of 4 below 96 pixels; vit-tiny/8: of 8",
    .patched = patched};

/* --- CCT -------------------------------------------------------------------------------------- */

struct cct {
    int width, depth, heads, convolutions;
};
static const struct cct cct2 = {128, 2, 2, 2};
static const float dropped = 0.1f; // of values, and in the last block of branches

static struct blanch_tensor *cct_block(struct blanch_builder *b, struct blanch_tensor *x, const struct cct *c,
                                       float depth) {
    struct blanch_tensor *y =
        blanch_linear_unbiased(b, "self_attn.qkv", blanch_layernorm(b, "pre_norm", x, 0), 3 * c->width);
    y = blanch_linear(b, "self_attn.proj", blanch_attention(b, y, c->heads, false), c->width);
    x = blanch_add(b, x, blanch_stochastic_depth(b, blanch_dropout(b, y, dropped), depth));
    x = blanch_layernorm(b, "norm1", x, 0);
    y = blanch_dropout(b, blanch_unary(b, "gelu", blanch_linear(b, "linear1", x, c->width)), dropped);
    y = blanch_dropout(b, blanch_linear(b, "linear2", y, c->width), dropped);
    return blanch_add(b, x, blanch_stochastic_depth(b, y, depth));
}

static struct blanch_tensor *cct(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const struct cct *c = variant;
    blanch_order(b, "tokenizer.conv_layers.0.0 tokenizer.conv_layers.1.0 classifier.positional_emb "
                    "classifier.attention_pool");
    for (int i = 0; i < c->convolutions; i++) {
        const int out = i + 1 < c->convolutions ? 64 : c->width;
        x = blanch_conv2d(b, blanch_name(b, "tokenizer.conv_layers.%d.0", i), x,
                          (struct blanch_conv_spec){.out = out, .kernel = 3, .padding = 1, .no_bias = true});
        x = blanch_maxpool2d(b, blanch_relu(b, x), 3, 2, 1);
    }
    x = blanch_position(b, "classifier.positional_emb", x);
    for (int i = 0; i < c->depth; i++) {
        blanch_scope(b, "classifier.blocks.%d.", i);
        x = cct_block(b, x, c, dropped * (float)i / (float)(c->depth - 1));
    }
    blanch_scope(b, "classifier.");
    x = blanch_layernorm(b, "norm", x, 0);
    x = blanch_sequence_pool(b, x, blanch_linear(b, "attention_pool", x, 1));
    return blanch_linear(b, "fc", x, blanch_classes(b));
}

const struct blanch_model bl_model_cct_2 = {
    "cct-2",        .classes = 10, .channels = 3,    .size = 32,
    .block_fc = 64, .define = cct, .variant = &cct2, .summary = "CCT-2/3x2, a compact transformer for 32x32"};
