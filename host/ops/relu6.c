/* y = min(max(x, 0), 6), the clipped rectifier of mobile networks. The gradient needs the output alone. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, bl_features(node->out[0])), "elementwise", "relu6_forward",
                            "relu6_backward");
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] < 0 ? 0 : x->v[i] > 6 ? 6 : x->v[i];
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    double low, high;
    if (!bl_onnx_number(r, n, 1, &low) || !bl_onnx_number(r, n, 2, &high) || low != 0 || high != 6)
        return bl_onnx_refuse(r, "it clips otherwise than from 0 to 6");
    return bl_onnx_add_unary(r, n, 0, NULL);
}

/* The other input of one that is known; -1: it is not. */
static int beside(struct bl_onnx_reader *r, const struct bl_onnx_node *n, double wanted) {
    double number;
    for (int i = 0; i < 2; i++)
        if (bl_onnx_number(r, n, i, &number) && number == wanted) return !i;
    return -1;
}

/* What PyTorch's clamp becomes: the larger of it and 0, the smaller of that and 6. */
static int read_larger(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int i = beside(r, n, 0);
    return i >= 0 && n->inputs == 2 && bl_onnx_is_tensor(r, n, i) ? bl_onnx_pend(r, n, i, "max(0)") : bl_onnx_other(r);
}

static int read_smaller(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int i = beside(r, n, 6);
    return i >= 0 && n->inputs == 2 && bl_onnx_pending(r, n, i, "max(0)") ? bl_onnx_add_unary(r, n, i, NULL)
                                                                          : bl_onnx_other(r);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const enum bl_onnx_view view = bl_onnx_written(w, node, 0);
    const char *in[4] = {bl_onnx_in(w, node, 0, view), bl_onnx_put(w, node, "low", (const double[]){0}, 0, NULL),
                         bl_onnx_put(w, node, "high", (const double[]){6}, 0, NULL)};
    bl_onnx_emit(w, "Clip", in, bl_onnx_out(w, node, view), NULL);
}

static const struct bl_onnx_form forms[] = {{"Clip", read}, {"Max", read_larger}, {"Min", read_smaller}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_relu6 = {
    .name = "relu6",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_OUT(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .activation = 2,
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
