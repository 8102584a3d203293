/* y = x > 0 ? x : alpha (exp(x) - 1). As alpha is positive, the gradient needs the output alone. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int setup(struct bl_node *node) {
    const struct bl_elu_attrs *attrs = node->attrs;
    if (!(attrs->alpha > 0 && isfinite(attrs->alpha)))
        return bl_fail(BLANCH_EINPUT, "%s: alpha = %g, not above 0", node->name, (double)attrs->alpha);
    return bl_activation_setup(node);
}

static int prepare(struct bl_node *node) {
    const struct bl_elu_attrs *attrs = node->attrs;
    return bl_activation_prepare(node, "elu", attrs->alpha);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_elu_attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++)
        y->v[i] = x->v[i] > 0 ? x->v[i] : (double)a->alpha * expm1(x->v[i]);
    return code;
}

static const struct bl_field fields[] = {{"alpha", BL_FIELD_FLOAT, offsetof(struct bl_elu_attrs, alpha), true, 1},
                                         {NULL}};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct bl_elu_attrs attrs = {bl_onnx_float(n, "alpha", 1)};
    return bl_onnx_add_unary(r, n, 0, &attrs);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_elu_attrs *a = node->attrs;
    bl_onnx_write_unary(w, node, "Elu",
                        (const struct bl_onnx_attribute[]){{"alpha", BL_ONNX_FLOAT, .f = a->alpha}, {NULL}});
}

static const struct bl_onnx_form forms[] = {{"Elu", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_elu = {
    .name = "elu",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_elu_attrs),
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
