/* y = x P(x), P(x) = (1 + erf(x / sqrt(2))) / 2; with `tanh` the approximation P(x) = (1 + tanh(sqrt(2 / pi) (x +
 * 0.044715 x^3))) / 2 (Hendrycks and Gimpel, 2016). It is not monotonic, so the gradient needs the input. */
#include "ops/common.h"
#include "graph/reference.h"
#include <math.h>

struct attrs {
    int tanh;
};

static int prepare(struct bl_node *node) {
    const struct attrs *attrs = node->attrs;
    return bl_activation_prepare(node, attrs->tanh ? "gelu_tanh" : "gelu", 0);
}

static double below(double x, bool approximately) {
    const double pi = acos(-1);
    return 0.5 * (1 + (approximately ? tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)) : erf(x / sqrt(2))));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] * below(x->v[i], a->tanh);
    return code;
}

static const struct bl_field fields[] = {{"tanh", BL_FIELD_BOOL, offsetof(struct attrs, tanh), true}, {NULL}};

const struct bl_op bl_op_gelu = {
    .name = "gelu",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct attrs),
    .fields = fields,
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
};
