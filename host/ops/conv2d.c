/* Convolution: weight (O, I/groups, kh, kw), bias (O). The engines in ops/conv/ do the work. */
#include "ops/common.h"
#include "ops/conv/layer.h"
#include "ops/onnx.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    const struct bl_conv_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    if (a->groups < 1) return bl_fail(BLANCH_EINPUT, "%s: groups %d: at least 1", node->name, a->groups);
    return bl_conv_layer_setup(node, a, 4,
                               (int64_t[]){a->out_channels, a->in_channels / a->groups, a->kernel[0], a->kernel[1]});
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    struct bl_ref_tensor first = *x;
    first.n = bl_ref_images(l, x);
    return bl_conv_definition(l->attrs, l->param[0], l->param[1], &first, y);
}

static const struct bl_field fields[] = {
    {"in_channels", BL_FIELD_INT, offsetof(struct bl_conv_attrs, in_channels), true},
    {"out_channels", BL_FIELD_INT, offsetof(struct bl_conv_attrs, out_channels)},
    {"kernel", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, kernel)},
    {"stride", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, stride), true, 1},
    {"padding", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, padding), true},
    {"dilation", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, dilation), true, 1},
    {"groups", BL_FIELD_INT, offsetof(struct bl_conv_attrs, groups), true, 1},
    {"bias", BL_FIELD_BOOL, offsetof(struct bl_conv_attrs, bias), true, 1},
    {NULL},
};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    struct bl_conv_attrs attrs;
    bl_conv_read(r, n, x, &attrs);
    const struct bl_onnx_param params[] = {{"weight", n, 1}, {attrs.bias ? "bias" : NULL, n, 2}, {NULL}};
    return bl_onnx_add(r, n, &attrs, &x, 1, params, BL_ONNX_NCHW);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer) {
    bl_conv_write(w, node, node->attrs, layer);
}

static const struct bl_onnx_form forms[] = {{"Conv", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .fold = bl_onnx_fold_plain, .write_layer = write};

const struct bl_op bl_op_conv2d = {
    .name = "conv2d",
    .role = BL_ROLE_LAYER,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_conv_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .fusions = bl_conv_fusions,
    .chain = BL_CONV_CHAIN,
    .takes_cut = true,
    .may_cut = bl_conv_cuts,
    .phase_forward = BL_FORWARD,
    .phase_backward = BL_BACKWARD_WEIGHTS,
    .setup = setup,
    .fused = bl_conv_layer_fused,
    .make_moments = bl_conv_layer_make_moments,
    .prepare = bl_conv_layer_prepare,
    .forward = bl_conv_layer_forward,
    .backward = bl_conv_layer_backward,
    .definition = definition,
    .release = bl_conv_layer_release,
    .onnx = &onnx,
};
