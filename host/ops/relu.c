/* y = max(x, 0). The gradient needs the output alone. */
#include "ops/common.h"

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, bl_features(node->out)), "elementwise", "relu_forward",
                            "relu_backward");
}

const struct bl_op bl_op_relu = {
    .name = "relu",
    .keeps = BL_KEEP_OUT,
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .activation = BL_ACT_RELU,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = bl_activation_setup,
    .prepare = prepare,
    .forward = bl_activation_forward,
    .backward = bl_activation_backward,
    .release = bl_plain_release,
};
