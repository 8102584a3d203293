/* Linear layer: weight (O, I), bias (O), on rows of features: a 1x1 convolution of a 1x1 image. */
#include "ops/conv/layer.h"

static int setup(struct bl_node *node) {
    const struct bl_linear_attrs *a = node->attrs;
    const struct bl_tensor *x = node->in[0];
    if (x->c != a->in_features || x->h != 1 || x->w != 1)
        return bl_fail(BLANCH_EINPUT, "%s: takes %d features, its input is %lld x %lld x %lld; flatten it first",
                       node->name, a->in_features, (long long)x->c, (long long)x->h, (long long)x->w);
    const struct bl_conv_attrs conv = {.in_channels = a->in_features,
                                       .out_channels = a->out_features,
                                       .kernel = {1, 1},
                                       .stride = {1, 1},
                                       .dilation = {1, 1},
                                       .groups = 1,
                                       .bias = a->bias};
    return bl_conv_layer_setup(node, &conv, 2, (int64_t[]){a->out_features, a->in_features});
}

static const struct bl_field fields[] = {
    {"in_features", BL_FIELD_INT, offsetof(struct bl_linear_attrs, in_features)},
    {"out_features", BL_FIELD_INT, offsetof(struct bl_linear_attrs, out_features)},
    {"bias", BL_FIELD_BOOL, offsetof(struct bl_linear_attrs, bias)},
    {NULL},
};

const struct bl_op bl_op_linear = {
    .name = "linear",
    .attrs_size = sizeof(struct bl_linear_attrs),
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
