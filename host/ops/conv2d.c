/* Convolution: weight (O, I/groups, kh, kw), bias (O). The engines in ops/conv/ do the work. */
#include "ops/conv/layer.h"

static int setup(struct bl_node *node) {
    const struct bl_conv_attrs *a = node->attrs;
    if (a->groups < 1) return bl_fail(BLANCH_EINPUT, "%s: groups %d: at least 1", node->name, a->groups);
    return bl_conv_layer_setup(node, a, 4,
                               (int64_t[]){a->out_channels, a->in_channels / a->groups, a->kernel[0], a->kernel[1]});
}

static const struct bl_field fields[] = {
    {"in_channels", BL_FIELD_INT, offsetof(struct bl_conv_attrs, in_channels)},
    {"out_channels", BL_FIELD_INT, offsetof(struct bl_conv_attrs, out_channels)},
    {"kernel", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, kernel)},
    {"stride", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, stride)},
    {"padding", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, padding)},
    {"dilation", BL_FIELD_INT2, offsetof(struct bl_conv_attrs, dilation)},
    {"groups", BL_FIELD_INT, offsetof(struct bl_conv_attrs, groups)},
    {"bias", BL_FIELD_BOOL, offsetof(struct bl_conv_attrs, bias)},
    {NULL},
};

const struct bl_op bl_op_conv2d = {
    .name = "conv2d",
    .attrs_size = sizeof(struct bl_conv_attrs),
    .fields = fields,
    .keeps = BL_KEEP_IN0,
    .phase_forward = BL_FORWARD,
    .phase_backward = BL_BACKWARD_WEIGHTS,
    .setup = setup,
    .prepare = bl_conv_layer_prepare,
    .forward = bl_conv_layer_forward,
    .backward = bl_conv_layer_backward,
    .release = bl_conv_layer_release,
};
