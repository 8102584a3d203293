/* y = max(x, 0). The gradient needs the output alone. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, bl_features(node->out[0])), "elementwise", "relu_forward",
                            "relu_backward");
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] > 0 ? x->v[i] : 0;
    return code;
}

static const struct bl_onnx_op onnx = {.type = "Relu"};

const struct bl_op bl_op_relu = {
    .name = "relu",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_OUT(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .activation = 1,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = bl_activation_setup,
    .prepare = prepare,
    .forward = bl_activation_forward,
    .backward = bl_activation_backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
