/* Softmax over the channels of each pixel. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, node->out[0]->c), "softmax", "forward", "backward");
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *y = node->out[0];
    const int64_t rows = run->n * y->h * y->w;
    return bl_launch(state->forward, bl_share(node->dev, rows, bl_bytes_of(y, 8 * y->c)), BL_MEM(node->in[0]->mem),
                     BL_MEM(y->mem), BL_I64(rows), BL_I32(y->c / state->vec));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *y = node->out[0];
    const int64_t rows = run->n * y->h * y->w;
    if (!node->in[0]->grad) return 0;
    return bl_launch(state->backward, bl_share(node->dev, rows, bl_bytes_of(y, 5 * y->c)), BL_MEM(y->mem),
                     BL_MEM(y->grad->mem), BL_MEM(node->in[0]->grad->mem), BL_I64(rows), BL_I32(y->c / state->vec),
                     BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const size_t plane = (size_t)x->h * x->w;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t p = 0; p < (size_t)x->n * plane && !code; p++) {
        const size_t first = p / plane * plane * (size_t)x->c + p % plane; // of channel 0
        double most = -INFINITY, sum = 0;
        for (int c = 0; c < x->c; c++) most = fmax(most, x->v[first + c * plane]);
        for (int c = 0; c < x->c; c++) sum += exp(x->v[first + c * plane] - most);
        for (int c = 0; c < x->c; c++) y->v[first + c * plane] = exp(x->v[first + c * plane] - most) / sum;
    }
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const enum bl_onnx_view view = bl_onnx_view(r, n, 0);
    const int64_t axis = bl_onnx_int(n, "axis", -1),
                  last = view == BL_ONNX_FLAT     ? 1
                         : view == BL_ONNX_TOKENS ? 2
                         : view == BL_ONNX_NHWC   ? 3
                                                  : -1,
                  channels = view == BL_ONNX_NCHW ? 1 : last;
    if (!bl_onnx_is_tensor(r, n, 0)) return bl_onnx_other(r);
    if (axis != channels && axis != (view == BL_ONNX_NCHW ? -3 : -1))
        return bl_onnx_refuse(r, "it is over another axis than the channels");
    return bl_onnx_add_unary(r, n, 0, NULL);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const int64_t axis = bl_onnx_written(w, node, 0) == BL_ONNX_NCHW ? 1 : -1;
    bl_onnx_write_unary(w, node, "Softmax",
                        (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = axis}, {NULL}});
}

static const struct bl_onnx_form forms[] = {{"Softmax", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_softmax = {
    .name = "softmax",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_OUT(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = bl_activation_setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
