/* Zeroes whole images with probability p while training and scales the others by 1/(1-p); the identity in evaluation:
 * what skips a residual branch (Huang et al., 2016). Which are dropped is Philox's, as for dropout, counted by images.
 */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, bl_features(node->out[0])), "stochastic_depth", "stochastic_depth",
                            NULL);
}

static int drop(struct bl_node *node, const struct bl_run *run, struct bl_mem *from, struct bl_mem *to, bool add) {
    const struct bl_plain_state *state = node->state;
    const struct bl_dropout_attrs *attrs = node->attrs;
    int64_t features = bl_features(node->out[0]), vectors = features / state->vec;
    if (!run->training || run->no_dropout || attrs->p == 0)
        return from == to ? 0 : bl_copy(node, from, to, run->n * features, state->vec, add);
    uint64_t stream = run->step << 16 | (uint64_t)node->index;
    return bl_launch(state->forward, bl_share_rows(node->dev, vectors, run->n, bl_bytes_of(node->out[0], 2 * features)),
                     BL_MEM(from), BL_MEM(to), BL_I32(run->n), BL_I64(vectors), BL_I64(run->first_image),
                     BL_I64(run->seed), BL_I32(BL_RANDOM_DROPOUT), BL_I64(stream), BL_I32(ceil(attrs->p * 0x1p24)),
                     BL_F32(1 / (1 - attrs->p)), BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    return drop(node, run, node->in[0]->mem, node->out[0]->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    struct blanch_tensor *grad = node->in[0]->grad;
    return grad ? drop(node, run, node->out[0]->grad->mem, grad->mem, node->accumulate[0]) : 0;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_dropout_attrs *a = l->attrs;
    size_t features = (size_t)x->c * x->h * x->w;
    uint32_t threshold = (uint32_t)ceil((double)a->p * 0x1p24), word[4];
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) {
        size_t image = i / features;
        bl_philox(l->seed, BL_RANDOM_DROPOUT, image / 4, l->step << 16 | (uint64_t)l->index, word);
        bool kept = !l->training || word[image % 4] >> 8 >= threshold;
        y->v[i] = kept ? x->v[i] / (l->training ? 1 - (double)a->p : 1) : 0;
    }
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    float keep;
    bool by_image;
    for (int i = 0; i < 2; i++)
        if (bl_onnx_mask(r, n, i, &keep, &by_image) && by_image)
            return bl_onnx_add_unary(r, n, !i, &(const struct bl_dropout_attrs){1 - keep});
    return bl_onnx_other(r);
}

static const struct bl_onnx_form forms[] = {{"Mul", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms}; // in evaluation it is not there

const struct bl_op bl_op_stochastic_depth = {
    .name = "stochastic_depth",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_dropout_attrs),
    .fields = bl_dropout_fields,
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = bl_dropout_setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
