/* y = x > 0 ? x : slope x. As the slope is positive, the gradient needs the output alone. */
#include "ops/common.h"
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
};
