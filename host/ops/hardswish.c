/* y = x min(max(x + 3, 0), 6) / 6. It is not monotonic, so the gradient needs the input. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_activation_prepare(node, "hardswish", 0);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] * fmin(fmax(x->v[i] + 3, 0), 6) / 6;
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    for (int i = 0; i < 2; i++)
        if (bl_onnx_pending(r, n, i, "hardsigmoid")) return bl_onnx_add_unary(r, n, i, NULL);
    return bl_onnx_other(r);
}

static const struct bl_onnx_form forms[] = {{"Mul", read}, {NULL}};
static const struct bl_onnx_op onnx = {.type = "HardSwish", .forms = forms};

const struct bl_op bl_op_hardswish = {
    .name = "hardswish",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_IN(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
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
