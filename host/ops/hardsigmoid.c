/* y = min(max(x + 3, 0), 6) / 6. The gradient needs the output alone. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_activation_prepare(node, "hardsigmoid", 0);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = fmin(fmax(x->v[i] + 3, 0), 6) / 6;
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    if (fabsf(bl_onnx_float(n, "alpha", 0.2f) - 1 / 6.0f) > 1e-6f || bl_onnx_float(n, "beta", 0.5f) != 0.5f)
        return bl_onnx_refuse(r, "its slope is not 1/6");
    if (bl_onnx_gates(r, n)) return bl_onnx_pend(r, n, 0, "hardsigmoid");
    return bl_onnx_add_unary(r, n, 0, NULL);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_onnx_attribute attributes[] = {
        {"alpha", BL_ONNX_FLOAT, .f = 1 / 6.0f}, {"beta", BL_ONNX_FLOAT, .f = 0.5f}, {NULL}};
    bl_onnx_write_unary(w, node, "HardSigmoid", attributes);
}

static const struct bl_onnx_form forms[] = {{"HardSigmoid", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_hardsigmoid = {
    .name = "hardsigmoid",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_OUT(0),
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
