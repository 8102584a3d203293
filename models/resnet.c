/* Residual networks (He et al., CVPR 2016). The CIFAR form has a 3x3 stem at full resolution; resnet18d is the ImageNet
 * form on 32x32 images. */
#include "model.h"

struct resnet {
    int blocks[4];
    bool bottleneck;
    bool imagenet;     // the 7x7 stem; under ND its shortcuts keep their batch norm
    const char *order; // of a block's parameters; NULL: as executed
};

static struct blanch_tensor *conv(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                  int kernel, int stride) {
    struct blanch_conv_spec spec = {
        .out = out, .kernel = kernel, .stride = stride, .padding = kernel / 2, .no_bias = true};
    return blanch_conv2d(b, name, x, spec);
}

static struct blanch_tensor *shortcut(struct blanch_builder *b, struct blanch_tensor *x, const struct resnet *net,
                                      int out, int stride) {
    if (stride == 1 && blanch_channels(x) == out) return x;
    if (!net->imagenet) return blanch_batchnorm2d(b, "shortcut.1", conv(b, "shortcut.0", x, out, 1, stride));
    return blanch_batchnorm2d_always(b, "downsample.1", conv(b, "downsample.0", x, out, 1, stride));
}

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, const struct resnet *net,
                                   int width, int stride) {
    if (!x) return NULL;
    struct blanch_tensor *y;
    if (net->order) blanch_order(b, net->order);
    if (net->bottleneck) {
        y = blanch_relu(b, blanch_batchnorm2d(b, "bn1", conv(b, "conv1", x, width, 1, 1)));
        y = blanch_relu(b, blanch_batchnorm2d(b, "bn2", conv(b, "conv2", y, width, 3, stride)));
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

static struct blanch_tensor *resnet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const struct resnet *net = variant;
    x = stem(b, x, net);
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < net->blocks[stage]; i++) {
            blanch_scope(b, "layer%d.%d.", stage + 1, i);
            x = block(b, x, net, 64 << stage, stage && !i ? 2 : 1);
        }
    blanch_scope(b, "%s", "");
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
