/* A variational autoencoder of convolutions (Kingma and Welling, ICLR 2014): the loss is the negative bound in nats,
 * the cross-entropy of the pixels, as probabilities, from the logits decoded of a sample, plus the divergence of the
 * sample's Gaussian from the standard one. Images are square, their sides multiples of 4. */
#include "model.h"

enum { LATENT = 32 };

static struct blanch_tensor *encode(struct blanch_builder *b, struct blanch_tensor *x) {
    const int widths[] = {32, 64};
    for (int i = 0; i < 2; i++) {
        x = blanch_conv2d(
            b, blanch_name(b, "encoder.%d", 3 * i), x,
            (struct blanch_conv_spec){.out = widths[i], .kernel = 3, .stride = 2, .padding = 1, .no_bias = true});
        x = blanch_relu(b, blanch_batchnorm2d(b, blanch_name(b, "encoder.%d", 3 * i + 1), x));
    }
    return blanch_linear(b, "encoder.7", blanch_flatten(b, x), 2 * LATENT);
}

static struct blanch_tensor *decode(struct blanch_builder *b, struct blanch_tensor *z) {
    const bool normalised = blanch_norm_of(b) == BLANCH_BN; // else nothing that follows has a bias
    const struct blanch_conv_transpose_spec first = {.out = 64, .kernel = b->image[1] / 4, .no_bias = normalised},
                                            second = {.out = 32,
                                                      .kernel = 4,
                                                      .stride = 2,
                                                      .padding = 1,
                                                      .no_bias = normalised},
                                            last = {.out = b->image[0], .kernel = 4, .stride = 2, .padding = 1};
    z = blanch_relu(b, blanch_batchnorm2d(b, "decoder.1", blanch_conv_transpose2d(b, "decoder.0", z, first)));
    z = blanch_relu(b, blanch_batchnorm2d(b, "decoder.4", blanch_conv_transpose2d(b, "decoder.3", z, second)));
    return blanch_conv_transpose2d(b, "decoder.6", z, last);
}

/* What is there is so for its parameters' names. */
static void idle(struct blanch_builder *b) {
    for (int i = 0; i < bl_graph_nodes(b->graph); i++) bl_graph_idle(b->graph, bl_graph_node(b->graph, i)->out[0]);
}

/* To make images takes the decoder alone, to encode them the encoder. */
static struct blanch_tensor *vae(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    if (b->encodes) {
        decode(b, bl_graph_input(b->graph, LATENT, 1, 1));
        idle(b);
        return encode(b, x);
    }
    if (b->samples) {
        encode(b, bl_graph_input(b->graph, b->image[0], b->image[1], b->image[2]));
        idle(b);
        return decode(b, x);
    }
    struct blanch_tensor *gaussian = encode(b, x), *logits = decode(b, blanch_gaussian_sample(b, gaussian));
    return blanch_binary_cross_entropy(b, logits, x, true, blanch_gaussian_divergence(b, gaussian));
}

const struct blanch_model bl_model_vae = {"vae",
                                          .classes = 10,
                                          .channels = 1,
                                          .size = 28,
                                          .block_fc = 64,
                                          .define = vae,
                                          .summary = "convolutional autoencoder that generates, for 28x28 and 32x32",
                                          .task = BL_GENERATE,
                                          .deviation = 1,
                                          .latent = LATENT,
                                          .encoder = true};
