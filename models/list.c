/* The list of networks. */
#include "model.h"
#include <string.h>

/* clang-format off */
#define MODELS(X)             \
    X(smallcnn)               \
    X(vgg11)                  \
    X(vgg13)                  \
    X(vgg16)                  \
    X(vgg19)                  \
    X(resnet18)               \
    X(resnet34)               \
    X(resnet50)               \
    X(resnet18d)              \
    X(preact18)               \
    X(densenet121)            \
    X(resnext29)              \
    X(mobilenetv2)            \
    X(dpn92)                  \
    X(pnasneta)               \
    X(senet18)                \
    X(efficientnetb0)         \
    X(vgg11_imagenet)         \
    X(vgg16_imagenet)         \
    X(vgg19_imagenet)         \
    X(resnet18_imagenet)      \
    X(resnet50_imagenet)      \
    X(densenet121_imagenet)   \
    X(mobilenetv2_imagenet)   \
    X(cct_2)                  \
    X(vit_tiny)               \
    X(convnext_tiny)          \
    X(vae)                    \
    X(ddpm_unet)              \
    X(unet)                   \
    X(deeplabv3_resnet50)
/* clang-format on */

#define DECLARE(name) extern const struct blanch_model bl_model_##name;
MODELS(DECLARE)
#define LIST(name) &bl_model_##name,
const struct blanch_model *const bl_model_list[] = {MODELS(LIST) NULL};

const struct blanch_model *bl_model_find(const char *name) {
    for (int i = 0; name && bl_model_list[i]; i++)
        if (!strcmp(bl_model_list[i]->name, name)) return bl_model_list[i];
    return NULL;
}

static int or_else(int value, int otherwise) {
    return value ? value : otherwise;
}

int bl_model_width(const struct blanch_model *model) {
    return model->width ? model->width : model->size;
}

enum blanch_norm bl_model_norm(const struct blanch_model *model, enum blanch_norm norm) {
    return norm != BLANCH_OWN ? norm : model->nd ? BLANCH_ND : BLANCH_BN;
}

_Static_assert((int)BLANCH_FP32 == (int)BL_F32 && (int)BLANCH_FP16 == (int)BL_F16 && (int)BLANCH_BF16 == (int)BL_BF16,
               "a precision is the type that activations are stored as");

int bl_model_build(struct bl_graph *graph, const struct blanch_model *model, const struct bl_network_options *options) {
    struct blanch_builder b = {.graph = graph,
                               .norm = bl_model_norm(model, options->norm),
                               .nd = options->nd,
                               .block = 64,
                               .block_fc = model->block_fc,
                               .classes = or_else(options->classes, model->classes),
                               .samples = options->inference,
                               .encodes = options->inference && options->encodes};
    if (b.nd.block < 0) b.nd.block = 0; // nd.layer has what was chosen
    bl_graph_store_as(graph, (enum bl_type)options->precision);
    b.image[0] = or_else(options->channels, model->channels);
    b.image[1] = or_else(options->height, model->size), b.image[2] = or_else(options->width, bl_model_width(model));
    const int high = or_else(model->latent_size[0], 1), wide = or_else(model->latent_size[1], 1);
    struct blanch_tensor *x = b.samples && model->latent && !b.encodes
                                  ? bl_graph_input(graph, model->latent / (high * wide), high, wide)
                                  : bl_graph_input(graph, b.image[0], b.image[1], b.image[2]);
    struct blanch_tensor *logits = model->define(&b, x, model->variant);
    if (options->inference || !logits || model->task == BL_GENERATE)
        return 0; // what failed is remembered: bl_graph_finish returns it
    const bool whole = logits->h == 1 && logits->w == 1, pixels = logits->h == x->h && logits->w == x->w;
    if (!whole && !pixels)
        return bl_graph_stick(
            graph, bl_fail(BLANCH_EINPUT,
                           "%s: its logits are of %lld x %lld pixels, neither of an image nor of each "
                           "of its %lld x %lld pixels",
                           model->name, (long long)logits->h, (long long)logits->w, (long long)x->h, (long long)x->w));
    struct blanch_tensor *in[3] = {logits, bl_graph_input_as(graph, BL_I32, 1, logits->h, logits->w)};
    if (options->loss.pairs) in[2] = bl_graph_input_labels(graph);
    bl_graph_add(graph, "softmax_cross_entropy", "loss", &options->loss, in, options->loss.pairs ? 3 : 2);
    return 0;
}
