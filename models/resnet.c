/* Residual networks (He et al., CVPR 2016). The CIFAR form has a 3x3 stem at full resolution; resnet18d is the ImageNet
 * form on 32x32 images. DeepLabv3 (Chen et al., arXiv 1706.05587), names of torchvision's deeplabv3_resnet50 without
 * its auxiliary classifier, labels pixels by such a network, whose last two stages are dilated and keep an eighth of
 * the resolution. */
#include "model.h"

struct resnet {
    int blocks[4];
    bool bottleneck;
    bool imagenet;     // the 7x7 stem; under ND its shortcuts keep their batch norm
    bool dilated;      // the last two stages, in place of their strides
    const char *order; // of a block's parameters; NULL: as executed
};

static struct blanch_tensor *conv(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                  int kernel, int stride) {
    struct blanch_conv_spec spec = {
        .out = out, .kernel = kernel, .stride = stride, .padding = kernel / 2, .no_bias = true};
    return blanch_conv2d(b, name, x, spec);
}

/* 3x3, of a stride or dilated. */
static struct blanch_tensor *dilated(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                     int stride, int dilation) {
    struct blanch_conv_spec spec = {
        .out = out, .kernel = 3, .stride = stride, .padding = dilation, .dilation = dilation, .no_bias = true};
    return blanch_conv2d(b, name, x, spec);
}

static struct blanch_tensor *shortcut(struct blanch_builder *b, struct blanch_tensor *x, const struct resnet *net,
                                      int out, int stride) {
    if (stride == 1 && blanch_channels(x) == out) return x;
    if (!net->imagenet) return blanch_batchnorm2d(b, "shortcut.1", conv(b, "shortcut.0", x, out, 1, stride));
    return blanch_batchnorm2d_always(b, "downsample.1", conv(b, "downsample.0", x, out, 1, stride));
}

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, const struct resnet *net,
                                   int width, int stride, int dilation) {
    if (!x) return NULL;
    struct blanch_tensor *y;
    if (net->order) blanch_order(b, net->order);
    if (net->bottleneck) {
        y = blanch_relu(b, blanch_batchnorm2d(b, "bn1", conv(b, "conv1", x, width, 1, 1)));
        y = blanch_relu(b, blanch_batchnorm2d(b, "bn2", dilated(b, "conv2", y, width, stride, dilation)));
        y = blanch_batchnorm2d(b, "bn3", conv(b, "conv3", y, 4 * width, 1, 1));
    } else {
        y = blanch_relu(b, blanch_batchnorm2d(b, "bn1", conv(b, "conv1", x, width, 3, stride)));
        y = blanch_batchnorm2d(b, "bn2", conv(b, "conv2", y, width, 3, 1));
    }
    return blanch_relu(b, blanch_add(b, y, shortcut(b, x, net, net->bottleneck ? 4 * width : width, stride)));
}

static struct blanch_tensor *stem(struct blanch_builder *b, struct blanch_tensor *x, const struct resnet *net) {
    if (net->order) blanch_order(b, "conv1 bn1");
    if (!net->imagenet) return blanch_relu(b, blanch_batchnorm2d(b, "bn1", conv(b, "conv1", x, 64, 3, 1)));
    struct blanch_conv_spec spec = {
        .out = 64, .kernel = 7, .stride = 2, .padding = 3, .no_bias = true, .n_iter = 15, .freeze = true};
    return blanch_maxpool2d(b, blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, spec))), 3, 2,
                            1);
}

/* In torchvision's dilated stages the first block has the dilation of the stage before. */
static struct blanch_tensor *features(struct blanch_builder *b, struct blanch_tensor *x, const struct resnet *net,
                                      const char *prefix) {
    int dilation = 1;
    blanch_scope(b, "%s", prefix);
    x = stem(b, x, net);
    for (int stage = 0; stage < 4; stage++) {
        const bool dilates = net->dilated && stage > 1;
        for (int i = 0; i < net->blocks[stage]; i++) {
            blanch_scope(b, "%slayer%d.%d.", prefix, stage + 1, i);
            x = block(b, x, net, 64 << stage, stage && !i && !dilates ? 2 : 1, dilation);
            if (!i && dilates) dilation *= 2;
        }
    }
    blanch_scope(b, "%s", "");
    return x;
}

static struct blanch_tensor *resnet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const struct resnet *net = variant;
    x = features(b, x, net, "");
    if (net->imagenet)
        return blanch_linear(b, "fc", blanch_flatten(b, blanch_global_avgpool2d(b, x)), blanch_classes(b));
    return blanch_linear(b, "linear", blanch_flatten(b, blanch_avgpool2d(b, x, 4, 4, 0)), blanch_classes(b));
}

static const struct resnet net18 = {{2, 2, 2, 2}, .order = "conv1 conv2 shortcut.0 shortcut.1 bn1 bn2"};
static const struct resnet net34 = {{3, 4, 6, 3}, .order = "conv1 conv2 shortcut.0 shortcut.1 bn1 bn2"};
static const struct resnet net50 = {
    {3, 4, 6, 3}, .bottleneck = true, .order = "bn1 bn2 bn3 conv1 conv2 conv3 shortcut.0 shortcut.1"};
static const struct resnet net18d = {
    {2, 2, 2, 2}, .imagenet = true, .order = "conv1 conv2 downsample.0 downsample.1 bn1 bn2"};
static const struct resnet net18_imagenet = {{2, 2, 2, 2}, .imagenet = true};
static const struct resnet net50_imagenet = {{3, 4, 6, 3}, .bottleneck = true, .imagenet = true};

/* --- DeepLabv3 --------------------------------------------------------------------------------- */

/* A convolution without bias is made; batch norm and ReLU. */
static struct blanch_tensor *normed(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    return blanch_relu(b, blanch_batchnorm2d(b, name, x));
}

/* Atrous spatial pyramid pooling: the same features by taps ever further apart, and their mean. */
static struct blanch_tensor *pyramid(struct blanch_builder *b, struct blanch_tensor *x) {
    enum { WIDTH = 256, RATES = 3 };
    struct blanch_tensor *part[2 + RATES];
    blanch_scope(b, "classifier.0.");
    part[0] = normed(b, "convs.0.1", conv(b, "convs.0.0", x, WIDTH, 1, 1));
    for (int i = 1; i <= RATES; i++) {
        part[i] = dilated(b, blanch_name(b, "convs.%d.0", i), x, WIDTH, 1, 12 * i);
        part[i] = normed(b, blanch_name(b, "convs.%d.1", i), part[i]);
    }
    struct blanch_tensor *mean = conv(b, "convs.4.1", blanch_global_avgpool2d(b, x), WIDTH, 1, 1);
    part[1 + RATES] = blanch_upsample(b, normed(b, "convs.4.2", mean), blanch_height(x), blanch_width(x), true);
    x = normed(b, "project.1", conv(b, "project.0", blanch_cat(b, part, 2 + RATES), WIDTH, 1, 1));
    return blanch_dropout(b, x, 0.5f);
}

static struct blanch_tensor *deeplabv3(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const int height = blanch_height(x), width = blanch_width(x);
    x = pyramid(b, features(b, x, variant, "backbone."));
    blanch_scope(b, "%s", "");
    x = normed(b, "classifier.2", conv(b, "classifier.1", x, 256, 3, 1));
    x = blanch_conv2d(b, "classifier.4", x, (struct blanch_conv_spec){.out = blanch_classes(b), .kernel = 1});
    return blanch_upsample(b, x, height, width, true);
}

static const struct resnet net50_dilated = {{3, 4, 6, 3}, .bottleneck = true, .imagenet = true, .dilated = true};
const struct blanch_model bl_model_deeplabv3_resnet50 = {"deeplabv3-resnet50",
                                                         .classes = 21,
                                                         .channels = 3,
                                                         .size = 224,
                                                         .block_fc = 64,
                                                         .define = deeplabv3,
                                                         .variant = &net50_dilated,
                                                         .summary = "DeepLabv3 with ResNet-50, labels pixels"};

/* --- classifiers ------------------------------------------------------------------------------ */

#define CIFAR .classes = 10, .channels = 3, .size = 32, .block_fc = 512, .define = resnet
#define IMAGENET .classes = 1000, .channels = 3, .size = 224, .block_fc = 64, .define = resnet
const struct blanch_model bl_model_resnet18 = {"resnet18", CIFAR, .variant = &net18, .summary = "ResNet-18 for 32x32"};
const struct blanch_model bl_model_resnet34 = {"resnet34", CIFAR, .variant = &net34, .summary = "ResNet-34 for 32x32"};
const struct blanch_model bl_model_resnet50 = {"resnet50", CIFAR, .variant = &net50, .summary = "ResNet-50 for 32x32"};
const struct blanch_model bl_model_resnet18d = {"resnet18d", CIFAR, .variant = &net18d,
                                                .summary = "ResNet-18 with the ImageNet stem, on 32x32"};
const struct blanch_model bl_model_resnet18_imagenet = {"resnet18-imagenet", IMAGENET, .variant = &net18_imagenet,
                                                        .summary = "ResNet-18"};
const struct blanch_model bl_model_resnet50_imagenet = {"resnet50-imagenet", IMAGENET, .variant = &net50_imagenet,
                                                        .summary = "ResNet-50"};
