/* The channels from begin to end, exclusive; end 0 is the edge. */
#include "ops/common.h"
#include "graph/onnx.h"
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

/* Channels from begin to end are what the node gives as its output number `output`. */
static int add_part(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int output, int64_t begin, int64_t end) {
    struct blanch_tensor *x = bl_onnx_tensor(r, n, 0);
    if (!x) return 0;
    if (begin < 0) begin += x->c;
    if (end < 0) end += x->c;
    if (end > x->c) end = x->c;
    if (begin < 0 || begin >= end) return bl_onnx_refuse(r, "it takes none of the channels");
    return bl_onnx_add_part(r, n, output, &(const struct bl_slice_attrs){(int)begin, (int)end}, x);
}

static bool is_channels(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int64_t axis) {
    const enum bl_onnx_view view = bl_onnx_view(r, n, 0);
    if (view == BL_ONNX_FLAT) return axis == 1 || axis == -1;
    return view == BL_ONNX_NHWC ? axis == 3 || axis == -1 : view == BL_ONNX_NCHW && (axis == 1 || axis == -3);
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t begin[BL_ONNX_WHOLE], end[BL_ONNX_WHOLE], axis[BL_ONNX_WHOLE] = {0}, step[BL_ONNX_WHOLE] = {1};
    int counts[4] = {0, 0, 1, 1};
    if (!bl_onnx_is_tensor(r, n, 0)) return bl_onnx_other(r);
    if (!bl_onnx_whole(r, n, 1, begin, &counts[0]) || !bl_onnx_whole(r, n, 2, end, &counts[1]) ||
        (bl_onnx_has(n, 3) && !bl_onnx_whole(r, n, 3, axis, &counts[2])) ||
        (bl_onnx_has(n, 4) && !bl_onnx_whole(r, n, 4, step, &counts[3])) || counts[0] != 1 || counts[1] != 1 ||
        counts[2] != 1 || counts[3] != 1 || step[0] != 1 || !is_channels(r, n, axis[0]))
        return bl_onnx_refuse(r, "it takes other parts than some channels");
    return add_part(r, n, 0, begin[0], end[0]);
}

static int read_split(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t parts[BL_ONNX_WHOLE], at = 0;
    const struct blanch_tensor *x = bl_onnx_tensor(r, n, 0);
    int count = n->outputs;
    if (!x || count < 1 || count > BL_ONNX_WHOLE || !is_channels(r, n, bl_onnx_int(n, "axis", 0)))
        return bl_onnx_refuse(r, "it splits otherwise than the channels, or into too many parts");
    const int64_t equal = (x->c + count - 1) / count;
    for (int i = 0; i < count; i++) parts[i] = equal;
    if (bl_onnx_has(n, 1) && (!bl_onnx_whole(r, n, 1, parts, &count) || count != n->outputs))
        return bl_onnx_refuse(r, "its parts are not known");
    for (int i = 0; i < count; at += parts[i++]) {
        if (parts[i] < 1 || parts[i] > x->c - at) parts[i] = x->c - at;
        add_part(r, n, i, at, at + parts[i]);
    }
    return at == x->c ? 0 : bl_onnx_refuse(r, "its parts are not all of the channels");
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_slice_attrs *a = node->attrs;
    const char *in[4] = {bl_onnx_in(w, node, 0, BL_ONNX_NCHW),
                         bl_onnx_put_whole(w, node, "begin", (const int64_t[]){a->begin}, 1),
                         bl_onnx_put_whole(w, node, "end", (const int64_t[]){end_of(node)}, 1),
                         bl_onnx_put_whole(w, node, "axis", (const int64_t[]){1}, 1)};
    bl_onnx_emit(w, "Slice", in, bl_onnx_out(w, node, BL_ONNX_NCHW), NULL);
}

static const struct bl_onnx_form forms[] = {{"Slice", read}, {"Split", read_split}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

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
    .onnx = &onnx,
};
