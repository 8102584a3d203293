/* y = x / (1 + exp(-x)), also called swish. It is not monotonic, so the gradient needs the input. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_activation_prepare(node, "silu", 0);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] / (1 + exp(-x->v[i]));
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    for (int i = 0; i < 2; i++)
        if (bl_onnx_pending(r, n, i, "sigmoid")) return bl_onnx_add_unary(r, n, i, NULL);
    return bl_onnx_other(r);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const enum bl_onnx_view view = bl_onnx_written(w, node, 0);
    const char *x = bl_onnx_in(w, node, 0, view), *gate = bl_onnx_between(w, node, "sigmoid");
    bl_onnx_emit(w, "Sigmoid", (const char *[4]){x}, gate, NULL);
    bl_onnx_emit(w, "Mul", (const char *[4]){x, gate}, bl_onnx_out(w, node, view), NULL);
}

static const struct bl_onnx_form forms[] = {{"Mul", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_silu = {
    .name = "silu",
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
