/* y = the row of a table that the image's label names: weight (count, channels), torch.nn.Embedding. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    const struct bl_embedding_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    if (node->in[0]->type != BL_I32 || bl_features(node->in[0]) != 1)
        return bl_fail(BLANCH_EINPUT, "%s: its input is not a label of each image", node->name);
    if (a->count < 1 || a->channels < 1)
        return bl_fail(BLANCH_EINPUT, "%s: a table of %d rows of %d channels", node->name, a->count, a->channels);
    bl_node_out(node, a->channels, 1, 1);
    bl_node_param(node, "weight", BL_INIT_NORMAL, 2, (int64_t[]){a->count, a->channels});
    return 0;
}

static int prepare(struct bl_node *node) {
    struct bl_plain_state *state = bl_plain_state(node);
    const struct bl_define defines[] = {{"VEC", 1}, {"NUMBER", 1}, BL_ACT(node)};
    if (!state) return BLANCH_ENOMEM;
    int code = bl_kernel_get(node->dev, "embedding", "take", defines, 3, &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "embedding", "scatter", defines, 3, &state->backward);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct bl_embedding_attrs *a = node->attrs;
    return bl_launch_light(node->dev, state->forward, bl_share_rows(node->dev, a->channels, run->n, 8 * a->channels),
                           BL_MEM(node->in[0]->mem), BL_MEM(node->param[0]->data.mem), BL_MEM(node->out[0]->mem),
                           BL_I32(run->n), BL_I32(a->count), BL_I32(a->channels));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct bl_embedding_attrs *a = node->attrs;
    return bl_launch_light(node->dev, state->backward,
                           bl_share_rows(node->dev, a->channels, a->count, 4 * a->channels * run->n),
                           BL_MEM(node->in[0]->mem), BL_MEM(node->out[0]->grad->mem), BL_MEM(node->param[0]->grad.mem),
                           BL_I32(run->n), BL_I32(a->count), BL_I32(a->channels));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_embedding_attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, a->channels, 1, 1);
    for (int i = 0; i < x->n * a->channels && !code; i++)
        y->v[i] = l->param[0][l->labels[i / a->channels] * a->channels + i % a->channels];
    return code;
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const char *labels = bl_onnx_given(w, node, 0);
    struct bl_onnx_layer room;
    if (!labels) {
        bl_onnx_failed(w, bl_fail(BLANCH_EUSAGE, "%s: its labels are computed", node->name));
        return;
    }
    bl_onnx_fold_plain(w, node, &room);
    const char *table = bl_onnx_put(w, node, "weight", room.weight, 2, node->param[0]->shape);
    bl_onnx_emit(w, "Gather", (const char *[4]){table, labels}, bl_onnx_out(w, node, BL_ONNX_FLAT), NULL);
}

static const struct bl_onnx_op onnx = {.write = write};

static const struct bl_field fields[] = {
    {"count", BL_FIELD_INT, offsetof(struct bl_embedding_attrs, count)},
    {"channels", BL_FIELD_INT, offsetof(struct bl_embedding_attrs, channels)},
    {NULL},
};

const struct bl_op bl_op_embedding = {
    .name = "embedding",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_embedding_attrs),
    .fields = fields,
    .reads = BL_IN(0),
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
