/* The channels from begin to end, exclusive; end 0 is the edge. */
#include "ops/common.h"

static int64_t end_of(const struct bl_node *node) {
    const struct bl_slice_attrs *attrs = node->attrs;
    return attrs->end ? attrs->end : node->in[0]->c;
}

static int setup(struct bl_node *node) {
    const struct bl_slice_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct bl_tensor *x = node->in[0];
    if (attrs->begin < 0 || attrs->begin >= end_of(node) || end_of(node) > x->c)
        return bl_fail(BLANCH_EINPUT, "%s: no channels %d to %lld in %lld", node->name, attrs->begin, (long long)end_of(node),
                       (long long)x->c);
    bl_node_out(node, end_of(node) - attrs->begin, x->h, x->w);
    return 0;
}

static int prepare(struct bl_node *node) { return bl_prepare_channels(node->dev, node->out->c); }

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_slice_attrs *attrs = node->attrs;
    const struct bl_tensor *x = node->in[0], *y = node->out;
    return bl_copy_channels(node->dev, (struct bl_channels){x->mem, x->c, attrs->begin}, (struct bl_channels){y->mem, y->c, 0}, y->c,
                            run->n * y->h * y->w, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_slice_attrs *attrs = node->attrs;
    const struct bl_tensor *x = node->in[0], *y = node->out;
    if (!x->grad) return 0;
    int64_t pixels = run->n * y->h * y->w;
    struct bl_channels to = {x->grad->mem, x->c, attrs->begin};
    int code = bl_copy_channels(node->dev, (struct bl_channels){y->grad->mem, y->c, 0}, to, y->c, pixels, node->accumulate[0]);
    if (code || node->accumulate[0]) return code;
    to.offset = 0;
    code = bl_zero_channels(node->dev, to, attrs->begin, pixels);
    to.offset = end_of(node);
    return code ? code : bl_zero_channels(node->dev, to, x->c - end_of(node), pixels);
}

static const struct bl_field fields[] = {
    {"begin", BL_FIELD_INT, offsetof(struct bl_slice_attrs, begin), true},
    {"end", BL_FIELD_INT, offsetof(struct bl_slice_attrs, end), true},
    {NULL},
};

const struct bl_op bl_op_slice_channels = {
    .name = "slice_channels",
    .attrs_size = sizeof(struct bl_slice_attrs),
    .fields = fields,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
};
