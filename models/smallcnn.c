/* A small network for 28x28 and 32x32 images: four 3x3 convolutions, quick to train on a CPU. No whitened matrix is
 * wider than 288, so that deconvolution costs little. */
#include "model.h"

static struct blanch_tensor *layer(struct blanch_builder *b, struct blanch_tensor *x, int number, int width) {
    struct blanch_conv_spec spec = {.out = width, .kernel = 3, .padding = 1, .no_bias = true};
    x = blanch_conv2d(b, blanch_name(b, "conv%d", number), x, spec);
    return blanch_relu(b, blanch_batchnorm2d(b, blanch_name(b, "bn%d", number), x));
}

static struct blanch_tensor *smallcnn(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    x = blanch_maxpool2d(b, layer(b, x, 1, 16), 2, 2, 0);
    x = layer(b, x, 2, 32);
    x = blanch_maxpool2d(b, layer(b, x, 3, 32), 2, 2, 0);
    x = blanch_global_avgpool2d(b, layer(b, x, 4, 64));
    return blanch_linear(b, "fc", blanch_flatten(b, x), blanch_classes(b));
}

const struct blanch_model bl_model_smallcnn = {"smallcnn",
                                               .classes = 10,
                                               .channels = 1,
                                               .size = 28,
                                               .block_fc = 512,
                                               .define = smallcnn,
                                               .summary = "four convolutions, for 28x28 and 32x32"};
