/* The mean of -t log s(x) - (1 - t) log(1 - s(x)) over an image of logits x, s the sigmoid, or with `sum` the sum:
 * torch.nn.BCEWithLogitsLoss. */
#include "ops/image_loss.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_image_loss_prepare(node, BL_CROSS_ENTROPY);
}

static double of(double x, double t) {
    return -t * log(1 / (1 + exp(-x))) - (1 - t) * log(1 / (1 + exp(x)));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    return bl_image_loss_definition(l, x, inputs, of, y);
}

const struct bl_op bl_op_binary_cross_entropy = {
    .name = "binary_cross_entropy", BL_IMAGE_LOSS, .prepare = prepare, .definition = definition};
