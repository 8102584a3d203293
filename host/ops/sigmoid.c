/* y = 1 / (1 + exp(-x)). The gradient needs the output alone. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, bl_features(node->out[0])), "elementwise", "sigmoid_forward",
                            "sigmoid_backward");
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = 1 / (1 + exp(-x->v[i]));
    return code;
}

/* x times it may be silu, which finds it pending. */
static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    if (bl_onnx_gates(r, n)) return bl_onnx_pend(r, n, 0, "sigmoid");
    return bl_onnx_add_unary(r, n, 0, NULL);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    bl_onnx_write_unary(w, node, "Sigmoid", NULL);
}

static const struct bl_onnx_form forms[] = {{"Sigmoid", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_sigmoid = {
    .name = "sigmoid",
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
