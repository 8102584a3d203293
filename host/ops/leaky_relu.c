/* y = x > 0 ? x : slope x. As the slope is positive, the gradient needs the output alone. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int setup(struct bl_node *node) {
    const struct bl_leaky_relu_attrs *attrs = node->attrs;
    if (!(attrs->slope > 0 && isfinite(attrs->slope)))
        return bl_fail(BLANCH_EINPUT, "%s: slope = %g, not above 0; a slope of 0 is relu", node->name,
                       (double)attrs->slope);
    return bl_activation_setup(node);
}

static int prepare(struct bl_node *node) {
    const struct bl_leaky_relu_attrs *attrs = node->attrs;
    return bl_activation_prepare(node, "leaky_relu", attrs->slope);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_leaky_relu_attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] > 0 ? x->v[i] : (double)a->slope * x->v[i];
    return code;
}

static const struct bl_field fields[] = {
    {"slope", BL_FIELD_FLOAT, offsetof(struct bl_leaky_relu_attrs, slope), true, 0.01}, {NULL}};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct bl_leaky_relu_attrs attrs = {bl_onnx_float(n, "alpha", 0.01f)};
    return bl_onnx_add_unary(r, n, 0, &attrs);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_leaky_relu_attrs *a = node->attrs;
    bl_onnx_write_unary(w, node, "LeakyRelu",
                        (const struct bl_onnx_attribute[]){{"alpha", BL_ONNX_FLOAT, .f = a->slope}, {NULL}});
}

static const struct bl_onnx_form forms[] = {{"LeakyRelu", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_leaky_relu = {
    .name = "leaky_relu",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_leaky_relu_attrs),
    .fields = fields,
    .reads = BL_OUT(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = bl_activation_forward,
    .backward = bl_activation_backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
