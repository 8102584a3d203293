/* What follows a convolution in an inference: batch norm by running statistics becomes part of its weights, a sum and
 * an activation are applied to what it writes, by the engine or after it. */
#include "ops/common.h"
#include "ops/conv/engine.h"

/* In this order, any of them. */
const struct bl_fusion bl_conv_fusions[] = {
    {.op = &bl_op_batchnorm2d, .inference = true, .rank = 1}, {.op = &bl_op_add, .inference = true, .rank = 2},
    {.op = &bl_op_relu, .inference = true, .rank = 3},        {.op = &bl_op_relu6, .inference = true, .rank = 3},
    {.op = &bl_op_relu, .rank = 3, .cut = bl_conv_applies},   {NULL},
};

int bl_conv_fused(struct bl_conv *conv, int64_t weights) {
    struct bl_node *node = conv->node;
    if (node->fused_node[0]->op != &bl_op_batchnorm2d) return 0;
    conv->norm = node->fused_node[0];
    conv->scaled = bl_node_workspace(node, BL_LIFE_FORWARD, weights);
    conv->scaled_bias = bl_node_workspace(node, BL_LIFE_KEPT, conv->attrs.out_channels);
    return conv->scaled && conv->scaled_bias ? 0 : BLANCH_ENOMEM;
}

static bool is_left(const struct bl_conv *conv) {
    const struct bl_conv_engine *engine = conv->engine[BL_CONV_FORWARD];
    return engine && !engine->applies && (conv->node->addend || bl_node_activation(conv->node));
}

static int vec_of(const struct bl_conv *conv) {
    return bl_vec(conv->node->dev, conv->out_h * conv->out_w * conv->attrs.out_channels);
}

int bl_conv_prepare_epilogue(struct bl_conv *conv) {
    const struct bl_node *node = conv->node;
    const int activation = bl_node_activation(node);
    const struct bl_define defines[] = {{"VEC", vec_of(conv)}, {"ACTIVATION", activation}, BL_ACT(node)};
    int code = conv->norm ? bl_kernel_get(node->dev, "conv/fold", "fold", NULL, 0, &conv->fold) : 0;
    if (code || !is_left(conv)) return code;
    const char *name = node->addend ? "add" : activation == bl_op_relu.activation ? "relu_forward" : "relu6_forward";
    return bl_kernel_get(node->dev, "elementwise", name, defines, BL_COUNT(defines), &conv->finish);
}

int bl_conv_fold(const struct bl_conv *conv, struct bl_mem *weight, struct bl_mem *bias) {
    const struct bl_node *norm = conv->norm;
    const struct bl_batchnorm_attrs *attrs = norm->attrs;
    const int64_t outputs = conv->attrs.out_channels, length = (int64_t)conv->group_in * conv->taps;
    return bl_launch(conv->fold, bl_share(conv->node->dev, outputs, 2 * BL_FLOAT_BYTES * length), BL_MEM(weight),
                     BL_MEM(bias ? bias : weight), BL_MEM(norm->param[0]->data.mem), BL_MEM(norm->param[1]->data.mem),
                     BL_MEM(norm->buffer[0]->data.mem), BL_MEM(norm->buffer[1]->data.mem), BL_MEM(conv->scaled->mem),
                     BL_MEM(conv->scaled_bias->mem), BL_I64(outputs), BL_I64(length), BL_F32(attrs->eps),
                     BL_I32(bias != NULL));
}

int bl_conv_finish(const struct bl_conv *conv, int images, const struct blanch_tensor *y) {
    if (!conv->finish) return 0;
    const struct bl_node *node = conv->node;
    const int vec = vec_of(conv);
    const int64_t vectors = images * bl_features(y) / vec;
    const struct bl_range range = bl_share(node->dev, vectors, bl_bytes_of(y, 3 * vec));
    return node->addend ? bl_launch(conv->finish, range, BL_MEM(y->mem), BL_MEM(node->addend->mem), BL_MEM(y->mem),
                                    BL_I64(vectors))
                        : bl_launch(conv->finish, range, BL_MEM(y->mem), BL_MEM(y->mem), BL_I64(vectors));
}
