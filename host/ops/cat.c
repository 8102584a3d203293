/* Concatenation along channels. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <string.h>

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, BL_MAX_INPUTS);
    if (code) return code;
    int64_t channels = 0;
    for (int i = 0; i < node->inputs; i++) {
        const struct blanch_tensor *x = node->in[i], *first = node->in[0];
        if (x->h != first->h || x->w != first->w)
            return bl_fail(BLANCH_EINPUT, "%s: input %d is %lld x %lld where the first is %lld x %lld", node->name, i,
                           (long long)x->h, (long long)x->w, (long long)first->h, (long long)first->w);
        channels += x->c;
    }
    bl_node_out(node, channels, node->in[0]->h, node->in[0]->w);
    return 0;
}

static int prepare(struct bl_node *node) {
    int code = 0;
    for (int i = 0; i < node->inputs && !code; i++) code = bl_prepare_channels(node, node->in[i]->c);
    return code;
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    int64_t pixels = run->n * node->out[0]->h * node->out[0]->w, at = 0;
    int code = 0;
    for (int i = 0; i < node->inputs && !code; at += node->in[i++]->c)
        code = bl_copy_channels(node, (struct bl_channels){node->in[i]->mem, node->in[i]->c, 0},
                                (struct bl_channels){node->out[0]->mem, node->out[0]->c, at}, node->in[i]->c, pixels,
                                false);
    return code;
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    int64_t pixels = run->n * node->out[0]->h * node->out[0]->w, at = 0;
    int code = 0;
    for (int i = 0; i < node->inputs && !code; at += node->in[i++]->c) {
        struct blanch_tensor *x = node->in[i];
        if (!x->grad) continue;
        code = bl_copy_channels(node, (struct bl_channels){node->out[0]->grad->mem, node->out[0]->c, at},
                                (struct bl_channels){x->grad->mem, x->c, 0}, x->c, pixels, node->accumulate[i]);
    }
    return code;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int channels = 0, first = 0;
    for (int k = 0; k < inputs; k++) channels += x[k].c;
    int code = bl_ref_new(y, x->n, channels, x->h, x->w);
    for (int k = 0; k < inputs && !code; first += x[k++].c)
        for (int n = 0; n < x->n; n++)
            memcpy(bl_ref_at(y, n, first, 0, 0), bl_ref_at(&x[k], n, 0, 0, 0),
                   sizeof(double) * (size_t)x[k].c * x->h * x->w);
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int64_t axis = bl_onnx_int(n, "axis", 0);
    const enum bl_onnx_view view = bl_onnx_view(r, n, 0);
    const int channels = view == BL_ONNX_NHWC ? 3 : 1, dims = view == BL_ONNX_FLAT ? 2 : 4;
    if (!bl_onnx_is_tensor(r, n, 0)) return bl_onnx_other(r);
    for (int i = 0; i < n->inputs; i++) {
        bl_onnx_tensor(r, n, i);
        if (bl_onnx_view(r, n, i) != view) bl_onnx_refuse(r, "its inputs lie in different ways");
    }
    if (view > BL_ONNX_FLAT || (axis != channels && axis != channels - dims))
        return bl_onnx_refuse(r, "it joins along axis %lld, which is not the channels'", (long long)axis);
    return bl_onnx_add_joined(r, n);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const char *in[BL_MAX_INPUTS] = {NULL};
    for (int i = 0; i < node->inputs; i++) in[i] = bl_onnx_in(w, node, i, BL_ONNX_NCHW);
    bl_onnx_emit_many(w, "Concat", in, node->inputs, bl_onnx_out(w, node, BL_ONNX_NCHW),
                      (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 1}, {NULL}});
}

static const struct bl_onnx_form forms[] = {{"Concat", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_cat = {
    .name = "cat",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .onnx = &onnx,
};
