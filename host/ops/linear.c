/* Linear layer: weight (O, I), bias (O), on rows of features: a 1x1 convolution of a 1x1 image. */
#include "ops/common.h"
#include "ops/conv/layer.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    const struct bl_linear_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
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

int bl_linear_definition(const double *weight, const double *bias, int in, int out, const struct bl_ref_tensor *x,
                         struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, out, 1, 1);
    if (code) return code;
    for (int o = 0; o < out; o++)
        for (int n = 0; n < x->n; n++) {
            const double *row = weight + (size_t)o * in, *image = x->v + (size_t)n * in;
            double sum = bias ? bias[o] : 0;
            for (int i = 0; i < in; i++) sum += row[i] * image[i];
            y->v[(size_t)n * out + o] = sum;
        }
    return 0;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_linear_attrs *a = l->attrs;
    struct bl_ref_tensor first = *x;
    first.n = bl_ref_images(l, x);
    return bl_linear_definition(l->param[0], l->param[1], a->in_features, a->out_features, &first, y);
}

static const struct bl_field fields[] = {
    {"in_features", BL_FIELD_INT, offsetof(struct bl_linear_attrs, in_features), true},
    {"out_features", BL_FIELD_INT, offsetof(struct bl_linear_attrs, out_features)},
    {"bias", BL_FIELD_BOOL, offsetof(struct bl_linear_attrs, bias), true, 1},
    {NULL},
};

const struct bl_op bl_op_linear = {
    .name = "linear",
    .role = BL_ROLE_LAYER,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_linear_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .fusions = bl_conv_fusions,
    .chain = BL_CONV_CHAIN,
    .phase_forward = BL_FORWARD,
    .phase_backward = BL_BACKWARD_WEIGHTS,
    .setup = setup,
    .fused = bl_conv_layer_fused,
    .prepare = bl_conv_layer_prepare,
    .forward = bl_conv_layer_forward,
    .backward = bl_conv_layer_backward,
    .definition = definition,
    .release = bl_conv_layer_release,
};
