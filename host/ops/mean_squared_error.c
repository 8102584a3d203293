/* The mean of (x - t)^2 over an image, or with `sum` the sum: torch.nn.MSELoss. */
#include "ops/image_loss.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_image_loss_prepare(node, BL_SQUARED);
}

static double of(double x, double t) {
    return (x - t) * (x - t);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    return bl_image_loss_definition(l, x, inputs, of, y);
}

const struct bl_op bl_op_mean_squared_error = {
    .name = "mean_squared_error", BL_IMAGE_LOSS, .prepare = prepare, .definition = definition};
