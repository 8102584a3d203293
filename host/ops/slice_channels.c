/* The channels from begin to end, exclusive; end 0 is the edge. */
#include "ops/common.h"
#include "graph/reference.h"
#include <string.h>

static int64_t end_of(const struct bl_node *node) {
    const struct bl_slice_attrs *attrs = node->attrs;
    return attrs->end ? attrs->end : node->in[0]->c;
}

static int setup(struct bl_node *node) {
    const struct bl_slice_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (attrs->begin < 0 || attrs->begin >= end_of(node) || end_of(node) > x->c)
        return bl_fail(BLANCH_EINPUT, "%s: no channels %d to %lld in %lld", node->name, attrs->begin,
                       (long long)end_of(node), (long long)x->c);
    bl_node_out(node, end_of(node) - attrs->begin, x->h, x->w);
    return 0;
}

/* The widest vector that divides the channels before, within and after the slice. */
static int pad_vec(const struct bl_node *node) {
    const struct bl_slice_attrs *attrs = node->attrs;
    int64_t sizes[] = {attrs->begin, node->out[0]->c, node->in[0]->c - end_of(node)};
    int vec = 16;
    for (int i = 0; i < 3; i++)
        if (sizes[i] && bl_vec(node->dev, sizes[i]) < vec) vec = bl_vec(node->dev, sizes[i]);
    return vec;
}

static int prepare(struct bl_node *node) {
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = pad_vec(node);
    int code = bl_prepare_channels(node, node->out[0]->c);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "layout", "pad_channels", (struct bl_define[]){{"VEC", state->vec}, BL_ACT(node)},
                         2, &state->backward);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_slice_attrs *attrs = node->attrs;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    return bl_copy_channels(node, (struct bl_channels){x->mem, x->c, attrs->begin},
                            (struct bl_channels){y->mem, y->c, 0}, y->c, run->n * y->h * y->w, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_slice_attrs *attrs = node->attrs;
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    if (!x->grad) return 0;
    int64_t pixels = run->n * y->h * y->w;
    if (node->accumulate[0])
        return bl_copy_channels(node, (struct bl_channels){y->grad->mem, y->c, 0},
                                (struct bl_channels){x->grad->mem, x->c, attrs->begin}, y->c, pixels, true);
    int before = attrs->begin / state->vec, within = (int)y->c / state->vec,
        after = (int)(x->c - end_of(node)) / state->vec;
    return bl_launch(
        state->backward, bl_share_rows(node->dev, before + within + after, pixels, bl_bytes_of(x, x->c + y->c)),
        BL_MEM(y->grad->mem), BL_MEM(x->grad->mem), BL_I32(before), BL_I32(within), BL_I32(after), BL_I64(pixels));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_slice_attrs *a = l->attrs;
    int end = a->end ? a->end : x->c, code = bl_ref_new(y, x->n, end - a->begin, x->h, x->w);
    for (int n = 0; n < x->n && !code; n++)
        memcpy(bl_ref_at(y, n, 0, 0, 0), bl_ref_at(x, n, a->begin, 0, 0), sizeof(double) * (size_t)y->c * x->h * x->w);
    return code;
}

static const struct bl_field fields[] = {
    {"begin", BL_FIELD_INT, offsetof(struct bl_slice_attrs, begin), false},
    {"end", BL_FIELD_INT, offsetof(struct bl_slice_attrs, end), true},
    {NULL},
};

const struct bl_op bl_op_slice_channels = {
    .name = "slice_channels",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_slice_attrs),
    .fields = fields,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
};
