/* Inputs in 16 bits as floats, some images at a time, for engines of CPUs that read each value many times: to convert
 * it each time would take longer than to multiply by it. A slice stays in the cores' caches. */
#include "ops/common.h"
#include "ops/conv/engine.h"

enum { SLICE_BYTES = 1 << 20 }; // of a compute unit

static int64_t values_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return pass == BL_CONV_DATA ? conv->out_h * conv->out_w * conv->attrs.out_channels
                                : conv->h * conv->w * conv->attrs.in_channels;
}

int bl_conv_widen_setup(struct bl_conv *conv, enum bl_conv_pass pass, struct bl_conv_wide *wide) {
    const int batch = bl_node_batch(conv->node);
    *wide = (struct bl_conv_wide){.images = batch};
    if (!conv->cpu || conv->type == BL_F32) return 0;
    wide->values = values_of(conv, pass);
    wide->images = (int)bl_conv_clamp(SLICE_BYTES * (int64_t)conv->units / (BL_FLOAT_BYTES * wide->values), 1, batch);
    wide->to = bl_node_workspace(conv->node, bl_conv_life(conv, pass), wide->images * wide->values);
    return wide->to ? 0 : BLANCH_ENOMEM;
}

int bl_conv_widen_prepare(const struct bl_conv *conv, struct bl_conv_wide *wide) {
    if (!wide->to) return 0;
    const struct bl_define defines[] = {{"VEC", bl_vec(conv->node->dev, wide->values)}, BL_ACT(conv->node)};
    return bl_kernel_get(conv->node->dev, "elementwise", "widen", defines, BL_COUNT(defines), &wide->kernel);
}

int bl_conv_widen(const struct bl_conv *conv, struct bl_conv_wide *wide, const struct blanch_tensor *x, int first,
                  int count, struct bl_mem **values) {
    *values = wide->to ? wide->to->mem : x->mem;
    if (!wide->to) return 0;
    const int64_t vec = bl_vec(conv->node->dev, wide->values), total = count * wide->values / vec;
    return bl_launch(wide->kernel, bl_share(conv->node->dev, total, vec * 6), BL_MEM(x->mem), BL_MEM(*values),
                     BL_I64(first * wide->values / vec), BL_I64(total));
}
