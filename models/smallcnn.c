/* A small network for 28x28 and 32x32 images: four 3x3 convolutions, quick to train on a CPU. No whitened matrix is
 * wider than 288, so that deconvolution costs little. */
#include "model.h"

static struct bl_tensor *layer(struct bl_build *b, struct bl_tensor *x, int number, int width) {
    struct bl_conv_spec spec = {.out = width, .kernel = 3, .padding = 1, .no_bias = true};
    x = bl_conv(b, bl_name(b, "conv%d", number), x, spec);
    return bl_relu(b, bl_batchnorm(b, bl_name(b, "bn%d", number), x));
}

static struct bl_tensor *smallcnn(struct bl_build *b, struct bl_tensor *x, const void *variant) {
    x = bl_maxpool(b, layer(b, x, 1, 16), 2, 2, 0);
    x = layer(b, x, 2, 32);
    x = bl_maxpool(b, layer(b, x, 3, 32), 2, 2, 0);
    x = bl_global_avgpool(b, layer(b, x, 4, 64));
    return bl_linear(b, "fc", bl_flatten(b, x), b->classes);
}

const struct bl_model bl_model_smallcnn = {"smallcnn",
                                           .classes = 10,
                                           .channels = 1,
                                           .size = 28,
                                           .block_fc = 512,
                                           .define = smallcnn,
                                           .summary = "four convolutions, for 28x28 and 32x32"};
