/* MobileNetV2 (Sandler et al., CVPR 2018): inverted residuals around depthwise convolutions. The two forms name, stride
 * and connect their layers differently. */
#include "model.h"

struct stage {
    int expansion, out, blocks, stride;
};
static const struct stage cifar[] = {{1, 16, 1, 1}, {6, 24, 2, 1},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                     {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
static const struct stage imagenet[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                        {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

static struct blanch_conv_spec pointwise(int out) {
    return (struct blanch_conv_spec){.out = out, .kernel = 1, .no_bias = true};
}
static struct blanch_conv_spec depthwise(int width, int stride) {
    return (struct blanch_conv_spec){
        .out = width, .kernel = 3, .stride = stride, .padding = 1, .groups = width, .no_bias = true, .n_iter = 1};
}

/* --- CIFAR ------------------------------------------------------------------------------------ */

static struct blanch_tensor *block(struct blanch_builder *b, struct blanch_tensor *x, int expansion, int out,
                                   int stride) {
    if (!x) return NULL;
    int in = blanch_channels(x), width = expansion * in;
    struct blanch_conv_spec project = pointwise(out);
    project.n_iter = 1, project.block = in;
    struct blanch_tensor *y =
        blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, pointwise(width))));
    y = blanch_relu(b, blanch_batchnorm2d(b, "bn2", blanch_conv2d(b, "conv2", y, depthwise(width, stride))));
    y = blanch_batchnorm2d(b, "bn3", blanch_conv2d(b, "conv3", y, project));
    if (stride != 1) return y;
    if (in != out) x = blanch_batchnorm2d(b, "shortcut.1", blanch_conv2d(b, "shortcut.0", x, pointwise(out)));
    return blanch_add(b, y, x);
}

static struct blanch_tensor *mobilenet(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    struct blanch_conv_spec stem = {
        .out = 32, .kernel = 3, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    blanch_order(b, "conv1 bn1 conv2 bn2");
    x = blanch_relu(b, blanch_batchnorm2d(b, "bn1", blanch_conv2d(b, "conv1", x, stem)));
    int number = 0;
    for (const struct stage *s = cifar; s < cifar + BL_COUNT(cifar); s++)
        for (int i = 0; i < s->blocks; i++) {
            blanch_scope(b, "layers.%d.", number++);
            x = block(b, x, s->expansion, s->out, i ? 1 : s->stride);
        }
    blanch_scope(b, "%s", "");
    x = blanch_relu(b, blanch_batchnorm2d(b, "bn2", blanch_conv2d(b, "conv2", x, pointwise(1280))));
    return blanch_linear(b, "linear", blanch_flatten(b, blanch_avgpool2d(b, x, 4, 4, 0)), blanch_classes(b));
}

/* --- ImageNet --------------------------------------------------------------------------------- */

/* Convolution, batch norm, ReLU6: NAME.0 and NAME.1. */
static struct blanch_tensor *unit(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                  struct blanch_conv_spec spec) {
    x = blanch_conv2d(b, blanch_name(b, "%s.0", name), x, spec);
    return blanch_unary(b, "relu6", blanch_batchnorm2d(b, blanch_name(b, "%s.1", name), x));
}

static struct blanch_tensor *inverted(struct blanch_builder *b, struct blanch_tensor *x, int expansion, int out,
                                      int stride) {
    if (!x) return NULL;
    int in = blanch_channels(x), width = expansion * in, number = 0;
    struct blanch_conv_spec project = pointwise(out);
    project.n_iter = 1;
    struct blanch_tensor *y = x;
    if (expansion > 1) {
        y = unit(b, "conv.0", y, pointwise(width));
        number++;
    }
    y = unit(b, number ? "conv.1" : "conv.0", y, depthwise(width, stride));
    y = blanch_conv2d(b, blanch_name(b, "conv.%d", number + 1), y, project);
    y = blanch_batchnorm2d(b, blanch_name(b, "conv.%d", number + 2), y);
    return stride == 1 && in == out ? blanch_add(b, x, y) : y;
}

static struct blanch_tensor *mobilenet_imagenet(struct blanch_builder *b, struct blanch_tensor *x,
                                                const void *variant) {
    struct blanch_conv_spec stem = {
        .out = 32, .kernel = 3, .stride = 2, .padding = 1, .no_bias = true, .n_iter = 10, .freeze = true};
    x = unit(b, "features.0", x, stem);
    int number = 1;
    for (const struct stage *s = imagenet; s < imagenet + BL_COUNT(imagenet); s++)
        for (int i = 0; i < s->blocks; i++) {
            blanch_scope(b, "features.%d.", number++);
            x = inverted(b, x, s->expansion, s->out, i ? 1 : s->stride);
        }
    blanch_scope(b, "%s", "");
    x = blanch_flatten(b, blanch_global_avgpool2d(b, unit(b, "features.18", x, pointwise(1280))));
    return blanch_linear(b, "classifier.1", blanch_dropout(b, x, 0.2f), blanch_classes(b));
}

const struct blanch_model bl_model_mobilenetv2 = {"mobilenetv2",
                                                  .classes = 10,
                                                  .channels = 3,
                                                  .size = 32,
                                                  .block_fc = 512,
                                                  .define = mobilenet,
                                                  .summary = "MobileNetV2 for 32x32"};
const struct blanch_model bl_model_mobilenetv2_imagenet = {
    "mobilenetv2-imagenet",       .classes = 1000,         .channels = 3, .size = 224, .block_fc = 64,
    .define = mobilenet_imagenet, .summary = "MobileNetV2"};
