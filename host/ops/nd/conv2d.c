/* Convolution with network deconvolution (Ye et al., ICLR 2020): the input is whitened by folding the whitening into
 * the weights. weight (O, C/groups, kh, kw), bias (O), running_mean (groups*F), running_deconv (F, F) or (groups, F,
 * F). */
#include "ops/common.h"
#include "ops/nd/definition.h"
#include "ops/nd/layer.h"
#include "ops/nd/onnx.h"

static int check(struct bl_node *node) {
    const struct bl_nd_conv_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (!code) code = bl_conv_check(node->name, &a->conv);
    if (code) return code;
    int channels = a->conv.in_channels / a->conv.groups;
    if (a->nd.block < 1 || channels % a->nd.block || (a->conv.groups > 1 && a->nd.block != channels))
        return bl_fail(BLANCH_EINPUT, "%s: the block is %d, must %s %d", node->name, a->nd.block,
                       a->conv.groups > 1 ? "be the channels of a group," : "divide the channels,", channels);
    for (int i = 0; i < 2; i++)
        if (a->nd.cov_sampling_stride[i] < 1 || a->nd.cov_sampling_stride[i] > BL_MOST_SAMPLING)
            return bl_fail(BLANCH_EINPUT, "%s: cov_sampling_stride must be 1 to %d", node->name, BL_MOST_SAMPLING);
    return bl_whitening_check(node, &a->nd);
}

static int taps_of(const struct bl_conv_attrs *c) {
    return c->kernel[0] * c->kernel[1];
}

static struct bl_samples samples_of(const struct bl_nd_conv_attrs *a) {
    const struct bl_conv_attrs *c = &a->conv;
    struct bl_samples s = {
        .kernel = {c->kernel[0], c->kernel[1]},
        .step = {a->nd.cov_sampling_stride[0], a->nd.cov_sampling_stride[1]},
        .padding = {c->padding[0], c->padding[1]},
        .dilation = {c->dilation[0], c->dilation[1]},
        .block = a->nd.block,
        .interleave = c->groups > 1 ? 1 : c->in_channels / a->nd.block,
        .matrices = c->groups,
    };
    s.most = a->nd.cov_samples;
    if (taps_of(c) == 1 || a->nd.whiten_channels) s.flat = s.step[0] * s.step[1]; // pixels of the unpadded input
    if (a->nd.whiten_channels) s.kernel[0] = s.kernel[1] = 1;
    return s;
}

/* The flat features of an output, c*taps + tap, are rows of W that D multiplies: with channels c = i*G + g whitened for
 * every tap alike, feature i of row g*taps + tap. */
static int rows_of(const struct bl_nd_conv_attrs *a, const struct bl_samples *s) {
    if (!a->nd.whiten_channels) return s->interleave;
    return s->interleave * taps_of(&a->conv);
}

static int setup(struct bl_node *node) {
    struct bl_nd_conv_attrs *a = node->attrs;
    if (!a->nd.freeze_iter) a->nd.freeze_iter = 100;
    int code = check(node);
    if (code) return code;
    struct bl_nd_layer *layer = node->state = bl_calloc(1, sizeof *layer);
    if (!layer) return BLANCH_ENOMEM;
    struct bl_samples samples = samples_of(a);
    int rows = rows_of(a, &samples);
    bool permuted = rows > 1 && samples.block * samples.kernel[0] * samples.kernel[1] > 1;
    if ((code = bl_conv_setup(node, &a->conv, permuted ? rows : 1, BL_LIFE_KEPT, &layer->conv))) return code;
    int64_t out_h, out_w, outputs = a->conv.out_channels;
    bl_conv_out_size(&a->conv, node->in[0]->h, node->in[0]->w, &out_h, &out_w);
    bl_node_out(node, outputs, out_h, out_w);
    int64_t shape[] = {outputs, a->conv.in_channels / a->conv.groups, a->conv.kernel[0], a->conv.kernel[1]};
    layer->fold = (struct bl_fold){
        .node = node,
        .outputs = outputs,
        .interleave = rows,
        .matrices = samples.matrices,
        .permuted = permuted,
        .weight = bl_node_param(node, "weight", BL_INIT_FAN_IN, 4, shape),
        .bias = bl_node_param(node, "bias", BL_INIT_FAN_IN, 1, &outputs),
    };
    if ((code = bl_whitening_setup(node, &a->nd, &samples, &layer->whitening))) return code;
    layer->fold.whitening = layer->whitening;
    bl_fold_setup(&layer->fold, BL_LIFE_SAVED);
    node->multiply_adds = bl_conv_multiply_adds(layer->conv);
    return 0;
}

#define CONV(member) offsetof(struct bl_nd_conv_attrs, conv.member)
#define ND(member) offsetof(struct bl_nd_conv_attrs, nd.member)
static const struct bl_field fields[] = {
    {"in_channels", BL_FIELD_INT, CONV(in_channels)},
    {"out_channels", BL_FIELD_INT, CONV(out_channels)},
    {"kernel", BL_FIELD_INT2, CONV(kernel)},
    {"stride", BL_FIELD_INT2, CONV(stride)},
    {"padding", BL_FIELD_INT2, CONV(padding)},
    {"dilation", BL_FIELD_INT2, CONV(dilation)},
    {"groups", BL_FIELD_INT, CONV(groups)},
    {"bias", BL_FIELD_BOOL, CONV(bias), true},
    {"block", BL_FIELD_INT, ND(block)},
    {"n_iter", BL_FIELD_INT, ND(n_iter)},
    {"eps", BL_FIELD_FLOAT, ND(eps)},
    {"momentum", BL_FIELD_FLOAT, ND(momentum)},
    {"cov_sampling_stride", BL_FIELD_INT2, ND(cov_sampling_stride)},
    {"freeze", BL_FIELD_BOOL, ND(freeze), true},
    {"freeze_iter", BL_FIELD_INT, ND(freeze_iter), true},
    {"refresh", BL_FIELD_INT, ND(refresh), true},
    {"constant_grad", BL_FIELD_BOOL, ND(constant_grad), true},
    {"whiten_channels", BL_FIELD_BOOL, ND(whiten_channels), true},
    {"variances", BL_FIELD_BOOL, ND(variances), true},
    {"cov_samples", BL_FIELD_INT, ND(cov_samples), true},
    {NULL},
};

const struct bl_op bl_op_nd_conv2d = {
    .name = "nd_conv2d",
    .role = BL_ROLE_LAYER,
    .tolerance = 1e-2,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_nd_conv_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .fusions = bl_conv_fusions,
    .chain = BL_CONV_CHAIN,
    .takes_cut = true,
    .may_cut = bl_conv_cuts,
    .nd_offset = offsetof(struct bl_nd_conv_attrs, nd),
    .phase_forward = BL_FORWARD,
    .phase_backward = BL_BACKWARD_WEIGHTS,
    .setup = setup,
    .fused = bl_nd_layer_fused,
    .prepare = bl_nd_layer_prepare,
    .forward = bl_nd_layer_forward,
    .backward = bl_nd_layer_backward,
    .definition = bl_nd_conv_definition,
    .release = bl_nd_layer_release,
    .onnx = &bl_nd_conv_onnx,
};
