/* The channels' groups are interleaved: (N, g, C/g, H, W) transposed to (N, C/g, g, H, W) (Zhang et al., 2018). */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    const struct bl_shuffle_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (attrs->groups < 1 || x->c % attrs->groups)
        return bl_fail(BLANCH_EINPUT, "%s: %d groups do not divide %lld channels", node->name, attrs->groups,
                       (long long)x->c);
    bl_node_out(node, x->c, x->h, x->w);
    return 0;
}

static int get(const struct bl_node *node, int64_t groups, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"VEC", 1}, {"CHANNELS", node->out[0]->c}, {"GROUPS", groups}, BL_ACT(node)};
    return bl_kernel_get(node->dev, "channel_shuffle", "channel_shuffle", defines, BL_COUNT(defines), kernel);
}

static int prepare(struct bl_node *node) {
    const struct bl_shuffle_attrs *attrs = node->attrs;
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    int code = get(node, attrs->groups, &state->forward);
    return code || !bl_node_training(node) ? code : get(node, node->out[0]->c / attrs->groups, &state->backward);
}

static int shuffle(struct bl_node *node, int n, struct bl_kernel *kernel, struct bl_mem *from, struct bl_mem *to,
                   bool add) {
    const struct blanch_tensor *x = node->in[0];
    int64_t rows = n * x->h * x->w;
    return bl_launch(kernel, bl_share_rows(node->dev, x->c, rows, bl_bytes_of(x, 2 * x->c)), BL_MEM(from), BL_MEM(to),
                     BL_I64(rows), BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    return shuffle(node, run->n, state->forward, node->in[0]->mem, node->out[0]->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    struct blanch_tensor *grad = node->in[0]->grad;
    if (!grad) return 0;
    return shuffle(node, run->n, state->backward, node->out[0]->grad->mem, grad->mem, node->accumulate[0]);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_shuffle_attrs *a = l->attrs;
    int each = x->c / a->groups, code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    size_t plane = (size_t)x->h * x->w;
    for (int n = 0; n < x->n && !code; n++)
        for (int i = 0; i < a->groups; i++)
            for (int j = 0; j < each; j++)
                for (size_t p = 0; p < plane; p++)
                    bl_ref_at(y, n, j * a->groups + i, 0, 0)[p] = bl_ref_at(x, n, i * each + j, 0, 0)[p];
    return code;
}

static const struct bl_field fields[] = {{"groups", BL_FIELD_INT, offsetof(struct bl_shuffle_attrs, groups)}, {NULL}};

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_shuffle_attrs *a = node->attrs;
    const struct blanch_tensor *x = node->in[0];
    const int64_t grouped[] = {0, a->groups, x->c / a->groups, x->h, x->w}, whole[] = {0, x->c, x->h, x->w},
                  order[] = {0, 2, 1, 3, 4};
    const char *from = bl_onnx_in(w, node, 0, BL_ONNX_NCHW), *groups = bl_onnx_between(w, node, "groups"),
               *turned = bl_onnx_between(w, node, "turned");
    bl_onnx_emit(w, "Reshape", (const char *[4]){from, bl_onnx_put_whole(w, node, "grouped", grouped, 5)}, groups,
                 NULL);
    bl_onnx_emit(w, "Transpose", (const char *[4]){groups}, turned,
                 (const struct bl_onnx_attribute[]){{"perm", BL_ONNX_INTS, .count = 5, .ints = order}, {NULL}});
    bl_onnx_emit(w, "Reshape", (const char *[4]){turned, bl_onnx_put_whole(w, node, "whole", whole, 4)},
                 bl_onnx_out(w, node, BL_ONNX_NCHW), NULL);
}

static const struct bl_onnx_op onnx = {.write = write}; // read where a Reshape ends it (graph/onnx_view.c)

const struct bl_op bl_op_channel_shuffle = {
    .name = "channel_shuffle",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_shuffle_attrs),
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
