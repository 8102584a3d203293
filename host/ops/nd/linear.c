/* Linear layer with network deconvolution on rows of features, in contiguous blocks: weight (O, I), bias (O),
 * running_mean (B), running_deconv (B, B). y = x W'^T + b'. Every pixel is a row. */
#include "blas/blas.h"
#include "ops/common.h"
#include "ops/nd/definition.h"
#include "ops/nd/layer.h"
#include "ops/nd/onnx.h"
#include "ops/nd/phase.h"

struct state {
    struct bl_nd_layer layer; // has a convolution over pixels and in 16 bits, which products do not read, and in an
                              // inference, which packs the folded weights once; in training they change every step
    struct bl_kernel *broadcast_bias, *sum_rows;
};

static int check(struct bl_node *node) {
    const struct bl_nd_linear_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code || (code = bl_linear_check(node, a->linear.in_features))) return code;
    if (a->linear.out_features < 1) return bl_fail(BLANCH_EINPUT, "%s: out_features must be at least 1", node->name);
    if (a->nd.block < 1 || a->linear.in_features % a->nd.block)
        return bl_fail(BLANCH_EINPUT, "%s: a block of %d does not divide %d features", node->name, a->nd.block,
                       a->linear.in_features);
    if (a->nd.cov_sampling_stride[0] < 0 || a->nd.cov_sampling_stride[0] > BL_MOST_SAMPLING)
        return bl_fail(BLANCH_EINPUT, "%s: cov_sampling_stride must be 1 to %d", node->name, BL_MOST_SAMPLING);
    return bl_whitening_check(node, &a->nd);
}

static int setup_conv(struct bl_node *node, struct bl_conv **conv) {
    const struct bl_linear_attrs *a = &((const struct bl_nd_linear_attrs *)node->attrs)->linear;
    const struct bl_conv_attrs attrs = {.in_channels = a->in_features,
                                        .out_channels = a->out_features,
                                        .kernel = {1, 1},
                                        .stride = {1, 1},
                                        .dilation = {1, 1},
                                        .groups = 1,
                                        .bias = 1};
    return bl_conv_setup(node, &attrs, 1, BL_LIFE_KEPT, conv);
}

static int setup(struct bl_node *node) {
    struct bl_nd_linear_attrs *a = node->attrs;
    int code = check(node);
    if (code) return code;
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    int64_t outputs = a->linear.out_features, shape[] = {outputs, a->linear.in_features};
    const struct blanch_tensor *x = node->in[0];
    const bool training = bl_node_training(node);
    int step = a->nd.cov_sampling_stride[0] ? a->nd.cov_sampling_stride[0] : 1;
    bl_node_out(node, outputs, x->h, x->w);
    struct bl_samples samples = {.kernel = {1, 1},
                                 .step = {1, 1},
                                 .dilation = {1, 1},
                                 .flat = step * step,
                                 .block = a->nd.block,
                                 .interleave = a->linear.in_features / a->nd.block,
                                 .contiguous = true,
                                 .matrices = 1};
    struct bl_nd_layer *layer = &state->layer;
    layer->fold = (struct bl_fold){
        .node = node,
        .outputs = outputs,
        .interleave = samples.interleave,
        .matrices = 1,
        .weight = bl_node_param(node, "weight", BL_INIT_FAN_IN, 2, shape),
        .bias = bl_node_param(node, "bias", BL_INIT_FAN_IN, 1, &outputs),
    };
    if ((code = bl_whitening_setup(node, &a->nd, &samples, &layer->whitening))) return code;
    layer->fold.whitening = layer->whitening;
    const bool by_conv = !training || x->h * x->w > 1 || bl_node_type(node) != BL_F32;
    if (by_conv && (code = setup_conv(node, &layer->conv))) return code;
    bl_fold_setup(&layer->fold, layer->conv ? BL_LIFE_SAVED : BL_LIFE_KEPT);
    node->multiply_adds = (double)a->linear.in_features * a->linear.out_features * (double)(x->h * x->w);
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *state = node->state;
    const struct bl_define tree = {"TREE", bl_tree(node->dev)};
    int code = bl_nd_layer_prepare(node);
    if (code || state->layer.conv) return code;
    code = bl_kernel_get(node->dev, "nd/linear", "broadcast_bias", &tree, 1, &state->broadcast_bias);
    return code ? code : bl_kernel_get(node->dev, "nd/linear", "sum_rows", &tree, 1, &state->sum_rows);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    struct state *state = node->state;
    struct bl_fold *fold = &state->layer.fold;
    int64_t in = node->in[0]->c, out = node->out[0]->c;
    if (state->layer.conv) return bl_nd_layer_forward(node, run);
    bool changed;
    int code = bl_fold_forward(fold, run, &changed);
    bl_node_phase(node, BL_FORWARD);
    if (!code)
        code = bl_launch_light(node->dev, state->broadcast_bias, bl_share(node->dev, run->n, BL_FLOAT_BYTES * out),
                               BL_MEM(fold->folded_bias->mem), BL_I32(run->n), BL_I32(out), BL_MEM(node->out[0]->mem));
    if (code) return code;
    struct bl_gemm product = {.trans_b = true,
                              .m = run->n,
                              .n = out,
                              .k = in,
                              .alpha = 1,
                              .beta = 1,
                              .a = node->in[0]->mem,
                              .b = fold->folded->mem,
                              .c = node->out[0]->mem,
                              .lda = in,
                              .ldb = in,
                              .ldc = out};
    return bl_gemm(node->dev, &product);
}

static int weights_backward(const struct bl_node *node, int n) {
    const struct state *state = node->state;
    int64_t in = node->in[0]->c, out = node->out[0]->c;
    struct bl_mem *dy = node->out[0]->grad->mem;
    struct bl_gemm weights = {.trans_a = true,
                              .m = out,
                              .n = in,
                              .k = n,
                              .alpha = 1,
                              .a = dy,
                              .b = node->in[0]->mem,
                              .c = state->layer.fold.gradient->mem,
                              .lda = out,
                              .ldb = in,
                              .ldc = in};
    int code = bl_gemm(node->dev, &weights);
    if (code) return code;
    const struct bl_range columns =
        bl_on_cpu(node->dev) ? bl_share(node->dev, out, BL_FLOAT_BYTES * n) : bl_tree_rows(node->dev, out);
    return bl_launch_light(node->dev, state->sum_rows, columns, BL_MEM(dy), BL_I32(n), BL_I32(out),
                           BL_MEM(state->layer.fold.bias->grad.mem));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    struct state *state = node->state;
    struct bl_fold *fold = &state->layer.fold;
    int64_t in = node->in[0]->c, out = node->out[0]->c;
    if (state->layer.conv) return bl_nd_layer_backward(node, run);
    bl_node_phase(node, BL_BACKWARD_WEIGHTS);
    int code = weights_backward(node, run->n);
    if (code) return code;
    bl_node_phase(node, BL_FOLD);
    code = bl_fold_backward(fold, run);
    if (code || !node->in[0]->grad) return code;
    bl_node_phase(node, BL_BACKWARD_DATA);
    struct bl_gemm data = {.m = run->n,
                           .n = in,
                           .k = out,
                           .alpha = 1,
                           .beta = node->accumulate[0] ? 1 : 0,
                           .a = node->out[0]->grad->mem,
                           .b = fold->folded->mem,
                           .c = node->in[0]->grad->mem,
                           .lda = out,
                           .ldb = in,
                           .ldc = in};
    code = bl_gemm(node->dev, &data);
    return code ? code : bl_fold_backward_input(fold, run);
}

#define LINEAR(member) offsetof(struct bl_nd_linear_attrs, linear.member)
#define ND(member) offsetof(struct bl_nd_linear_attrs, nd.member)
static const struct bl_field fields[] = {
    {"in_features", BL_FIELD_INT, LINEAR(in_features)},
    {"out_features", BL_FIELD_INT, LINEAR(out_features)},
    {"bias", BL_FIELD_BOOL, LINEAR(bias), true},
    {"block", BL_FIELD_INT, ND(block)},
    {"n_iter", BL_FIELD_INT, ND(n_iter)},
    {"eps", BL_FIELD_FLOAT, ND(eps)},
    {"momentum", BL_FIELD_FLOAT, ND(momentum)},
    {"cov_sampling_stride", BL_FIELD_INT, ND(cov_sampling_stride), true},
    {"refresh", BL_FIELD_INT, ND(refresh), true},
    {"constant_grad", BL_FIELD_BOOL, ND(constant_grad), true},
    {"variances", BL_FIELD_BOOL, ND(variances), true},
    {NULL},
};

const struct bl_op bl_op_nd_linear = {
    .name = "nd_linear",
    .role = BL_ROLE_LAYER,
    .tolerance = 1e-2,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_nd_linear_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .fusions = bl_conv_fusions,
    .chain = BL_CONV_CHAIN,
    .nd_offset = offsetof(struct bl_nd_linear_attrs, nd),
    .phase_forward = BL_FORWARD,
    .phase_backward = BL_BACKWARD_WEIGHTS,
    .setup = setup,
    .fused = bl_nd_layer_fused,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = bl_nd_linear_definition,
    .release = bl_nd_layer_release,
    .onnx = &bl_nd_linear_onnx,
};
