/* loss = log(sum_j exp(z_j)) - z_label per image; the network's loss is the mean over the batch's images. With label
 * smoothing s (Szegedy et al., CVPR 2016), while training, z_label is (1 - s) z_label + s mean(z). The output holds per
 * image the loss, the rank of the right class (how many logits lie before it, ties in order of class; infinite where a
 * logit is not finite) and log(sum exp), which backward reads. Nothing follows: no gradient comes in. */
#include "ops/common.h"
#include "graph/reference.h"
#include <math.h>

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 2, 2);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (x->h != 1 || x->w != 1)
        return bl_fail(BLANCH_EINPUT, "%s: needs logits (classes, 1, 1), not %lld x %lld x %lld: flatten them",
                       node->name, (long long)x->c, (long long)x->h, (long long)x->w);
    const struct bl_loss_attrs *attrs = node->attrs;
    if (!(attrs->smoothing >= 0 && attrs->smoothing < 1))
        return bl_fail(BLANCH_EUSAGE, "%s: a label smoothing of %g: it is at least 0 and less than 1", node->name,
                       (double)attrs->smoothing);
    bl_node_out_as(node, BL_F32, 3, 1, 1);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, 1, "softmax_cross_entropy", "forward", "backward");
}

static float smoothing(const struct bl_node *node, bool training) {
    const struct bl_loss_attrs *attrs = node->attrs;
    return training ? attrs->smoothing : 0;
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    int64_t classes = node->in[0]->c;
    return bl_launch(state->forward, bl_share(node->dev, run->n, 64 * classes), BL_MEM(node->in[0]->mem),
                     BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(classes),
                     BL_F32(smoothing(node, run->training)));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    int64_t classes = node->in[0]->c;
    if (!node->in[0]->grad) return 0;
    return bl_launch(state->backward, bl_share_rows(node->dev, classes, run->n, 64 * classes), BL_MEM(node->in[0]->mem),
                     BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem), BL_MEM(node->in[0]->grad->mem),
                     BL_I32(run->n), BL_I32(run->whole), BL_I32(classes), BL_F32(smoothing(node, run->training)),
                     BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_loss_attrs *a = l->attrs;
    const double s = l->training ? (double)a->smoothing : 0;
    int code = bl_ref_new(y, x->n, 1, 1, 1);
    for (int n = 0; n < x->n && !code; n++) {
        const double *row = x->v + (size_t)n * x->c;
        double top = row[0], sum = 0, mean = 0;
        for (int c = 0; c < x->c; c++) top = fmax(top, row[c]);
        for (int c = 0; c < x->c; c++) sum += exp(row[c] - top), mean += row[c] / x->c;
        y->v[n] = top + log(sum) - (1 - s) * row[l->labels[n]] - s * mean;
    }
    return code;
}

const struct bl_op bl_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .role = BL_ROLE_LOSS,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_loss_attrs),
    .reads = BL_IN(0) | BL_IN(1) | BL_OUT(0),
    .phase_forward = BL_LOSS,
    .phase_backward = BL_LOSS,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
};
