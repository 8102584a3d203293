/* The mean of |x - t| over an image, or with `sum` the sum: torch.nn.L1Loss. */
#include "ops/image_loss.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_image_loss_prepare(node, BL_ABSOLUTE);
}

static double of(double x, double t) {
    return fabs(x - t);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    return bl_image_loss_definition(l, x, inputs, of, y);
}

const struct bl_op bl_op_l1_loss = {.name = "l1_loss", BL_IMAGE_LOSS, .prepare = prepare, .definition = definition};
