/* Linear layer: weight (O, I), bias (O), on the channels of each pixel: a 1x1 convolution. */
#include "ops/common.h"
#include "ops/conv/layer.h"
#include "ops/onnx.h"
#include "graph/reference.h"
#include <limits.h>
#include <string.h>

int bl_linear_check(const struct bl_node *node, int in_features) {
    const struct blanch_tensor *x = node->in[0];
    if (x->c == in_features) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: takes %d features, its input is %lld x %lld x %lld%s", node->name, in_features,
                   (long long)x->c, (long long)x->h, (long long)x->w,
                   bl_features(x) == in_features ? "; flatten it first" : "");
}

static int setup(struct bl_node *node) {
    const struct bl_linear_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code || (code = bl_linear_check(node, a->in_features))) return code;
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
    const size_t plane = (size_t)x->h * x->w;
    int code = bl_ref_new(y, x->n, out, x->h, x->w);
    for (size_t p = 0; p < (size_t)x->n * plane && !code; p++)
        for (int o = 0; o < out; o++) {
            const double *row = weight + (size_t)o * in, *pixel = x->v + p / plane * plane * (size_t)in + p % plane;
            double sum = bias ? bias[o] : 0;
            for (int i = 0; i < in; i++) sum += row[i] * pixel[i * plane];
            y->v[p / plane * plane * (size_t)out + o * plane + p % plane] = sum;
        }
    return code;
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

/* `out` features of weights that lie transposed, or not; a node that adds the bias, or NULL. */
static int add(struct bl_onnx_reader *r, const struct bl_onnx_node *n, bool transposed,
               const struct bl_onnx_node *biased, int bias) {
    struct blanch_tensor *x = bl_onnx_tensor(r, n, 0);
    int64_t sizes[BL_ONNX_DIMS] = {0};
    if (bl_onnx_sizes(r, n, 1, sizes) != 2) bl_onnx_refuse(r, "its weights are no matrix of the file");
    const int64_t in = sizes[!transposed], out = sizes[transposed];
    if (in > INT_MAX || out > INT_MAX) bl_onnx_refuse(r, "its weights are of too many features");
    const struct bl_linear_attrs attrs = {(int)in, (int)out, biased != NULL};
    const struct bl_onnx_param params[] = {
        {"weight", n, 1, transposed}, {biased ? "bias" : NULL, biased, bias}, {NULL}};
    return bl_onnx_add(r, n, &attrs, &x, 1, params, bl_onnx_view(r, n, 0));
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const bool biased = bl_onnx_has(n, 2) && !bl_onnx_is_zero(r, n, 2);
    if (bl_onnx_int(n, "transA", 0) || bl_onnx_float(n, "alpha", 1) != 1 || bl_onnx_float(n, "beta", 1) != 1)
        return bl_onnx_refuse(r, "it is scaled, or its input transposed");
    if (bl_onnx_view(r, n, 0) != BL_ONNX_FLAT) return bl_onnx_refuse(r, "its input is not (batch, features)");
    return add(r, n, !bl_onnx_int(n, "transB", 0), biased ? n : NULL, 2);
}

/* The sum that may follow is its bias. */
static int read_product(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct bl_onnx_node *user = bl_onnx_user(r, n);
    const enum bl_onnx_view view = bl_onnx_view(r, n, 0);
    int64_t sizes[BL_ONNX_DIMS];
    int bias = -1;
    if (!bl_onnx_is_tensor(r, n, 0)) return bl_onnx_other(r);
    if (view != BL_ONNX_FLAT && view != BL_ONNX_NHWC && view != BL_ONNX_TOKENS)
        return bl_onnx_refuse(r, "its input's last size is not the features");
    for (int i = 0; user && !strcmp(user->type, "Add") && i < 2; i++)
        if (bl_onnx_sizes(r, user, i, sizes) == 1) bias = i;
    if (bias >= 0) bl_onnx_absorb(r, n, user);
    return add(r, n, true, bias < 0 ? NULL : user, bias);
}

static const struct bl_onnx_form forms[] = {{"Gemm", read}, {"MatMul", read_product}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .fold = bl_onnx_fold_plain, .write_layer = bl_linear_write};

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
    .onnx = &onnx,
};
