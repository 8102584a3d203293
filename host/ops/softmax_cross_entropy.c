/* loss = log(sum_j exp(z_j)) - z_label per image; the network's loss is the mean over the batch's images. With label
 * smoothing s (Szegedy et al., CVPR 2016), while training, z_label is (1 - s) z_label + s mean(z); with weights of
 * classes every term z_j has its class's, and the mean is over weights. Of pairs of labels, a share of the image is of
 * the label, the rest of the other one. The output holds per image the loss, the rank of the right class (how many
 * logits lie before it, ties in order of class; infinite where a logit is not finite) and log(sum exp), which backward
 * reads. Nothing follows: no gradient comes in. */
#include "ops/common.h"
#include "graph/reference.h"
#include <math.h>

struct state {
    struct bl_plain_state plain;   // first: bl_plain_prepare fills it
    struct blanch_tensor *weights; // (classes); NULL: 1 each
    double mean_weight;
};

static int setup(struct bl_node *node) {
    const int inputs = ((const struct bl_loss_attrs *)node->attrs)->pairs ? 3 : 2;
    int code = bl_check_inputs(node, inputs, inputs);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (x->h != 1 || x->w != 1)
        return bl_fail(BLANCH_EINPUT, "%s: needs logits (classes, 1, 1), not %lld x %lld x %lld: flatten them",
                       node->name, (long long)x->c, (long long)x->h, (long long)x->w);
    const struct bl_loss_attrs *attrs = node->attrs;
    if (!(attrs->smoothing >= 0 && attrs->smoothing < 1))
        return bl_fail(BLANCH_EUSAGE, "%s: a label smoothing of %g: it is at least 0 and less than 1", node->name,
                       (double)attrs->smoothing);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->mean_weight = 1;
    if (attrs->weight) state->weights = bl_node_workspace(node, BL_LIFE_KEPT, x->c);
    bl_node_out_as(node, BL_F32, 3, 1, 1);
    return 0;
}

static int prepare(struct bl_node *node) {
    const struct bl_loss_attrs *attrs = node->attrs;
    struct state *state = node->state;
    const int64_t classes = node->in[0]->c;
    int code = bl_plain_prepare(node, 1, "softmax_cross_entropy", "forward", "backward");
    if (code || !attrs->weight) return code;
    state->mean_weight = 0;
    for (int64_t i = 0; i < classes; i++) state->mean_weight += (double)attrs->weight[i] / (double)classes;
    return bl_mem_write(state->weights->mem, 0, (size_t)classes * sizeof(float), attrs->weight);
}

/* What both kernels are told of labels: smoothing, weights and their mean, other labels; plain in evaluation. */
#define OF_LABELS(node, run)                                                                                           \
    BL_F32((run)->training ? ((const struct bl_loss_attrs *)(node)->attrs)->smoothing : 0),                            \
        BL_MEM(weights_of(node, run)), BL_I32(weights_of(node, run) != (node)->in[1]->mem),                            \
        BL_F32((run)->training ? ((const struct state *)(node)->state)->mean_weight : 1),                              \
        BL_MEM((node)->in[(node)->inputs - 1]->mem), BL_F32((run)->training && (node)->inputs > 2 ? (run)->share : 1)

/* Without weights the labels stand there, which are not read as such. */
static struct bl_mem *weights_of(const struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    return run->training && state->weights ? state->weights->mem : node->in[1]->mem;
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    int64_t classes = node->in[0]->c;
    return bl_launch(state->plain.forward, bl_share(node->dev, run->n, 64 * classes), BL_MEM(node->in[0]->mem),
                     BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(classes),
                     OF_LABELS(node, run), BL_MEM(run->skip ? run->skip : node->out[0]->mem),
                     BL_I32(run->skip != NULL));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    int64_t classes = node->in[0]->c;
    if (!node->in[0]->grad) return 0;
    return bl_launch(state->plain.backward, bl_share_rows(node->dev, classes, run->n, 64 * classes),
                     BL_MEM(node->in[0]->mem), BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem),
                     BL_MEM(node->in[0]->grad->mem), BL_I32(run->n), BL_F32(run->loss_total), BL_I32(classes),
                     OF_LABELS(node, run), BL_MEM(run->scale ? run->scale : node->out[0]->mem),
                     BL_I32(run->scale != NULL), BL_I32(node->accumulate[0]));
}

/* Of an image: the sum over classes of target times -log softmax. */
static double image_loss(const double *z, int classes, const struct bl_ref_layer *l, int n) {
    const struct bl_loss_attrs *a = l->attrs;
    const double s = l->training ? (double)a->smoothing : 0, share = l->training && l->others ? l->share : 1;
    double top = z[0], sum = 0, loss = 0;
    for (int c = 0; c < classes; c++) top = fmax(top, z[c]);
    for (int c = 0; c < classes; c++) sum += exp(z[c] - top);
    for (int c = 0; c < classes; c++) {
        const double weight = l->training && a->weight ? (double)a->weight[c] : 1;
        const double own = (c == l->labels[n] ? share : 0) + (l->others && c == l->others[n] ? 1 - share : 0);
        loss += weight * ((1 - s) * own + s / classes) * (top + log(sum) - z[c]);
    }
    return loss;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, 1, 1, 1);
    for (int n = 0; n < x->n && !code; n++) y->v[n] = image_loss(x->v + (size_t)n * x->c, x->c, l, n);
    return code;
}

const struct bl_op bl_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .role = BL_ROLE_LOSS,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_loss_attrs),
    .reads = BL_IN(0) | BL_IN(1) | BL_IN(2) | BL_OUT(0),
    .phase_forward = BL_LOSS,
    .phase_backward = BL_LOSS,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
};
