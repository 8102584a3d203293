/* loss = log(sum_j exp(z_j)) - z_label per image; the network's loss is the mean over the batch's images. With label
 * smoothing s (Szegedy et al., CVPR 2016), while training, z_label is (1 - s) z_label + s mean(z); with weights of
 * classes every term z_j has its class's, and the mean is over weights. Of pairs of labels, a share of the image is of
 * the label, the rest of the other one. The output holds per image the loss, the rank of the right class (how many
 * logits lie before it, ties in order of class; infinite where a logit is not finite) and log(sum exp), which backward
 * reads. Nothing follows: no gradient comes in.
 * Where the labels are those of pixels, (1, H, W) beside logits (C, H, W), all of that is per pixel, as PyTorch's
 * cross_entropy has it with ignore_index = BL_IGNORED_LABEL: pixels of that label have no loss, and the mean is over
 * the others, whose number, or sum of weights, run->loss_total says. The output holds per image the sum of its pixels'
 * losses, how many pixels are right and how many have a label; a second one, int32 (1, H, W), the class of the largest
 * logit. */
#include "ops/common.h"
#include "graph/reference.h"
#include <math.h>

struct state {
    struct bl_plain_state plain;   // first: bl_plain_prepare fills it
    struct blanch_tensor *weights; // (classes); NULL: 1 each
    double mean_weight;
    /* Of pixels: of a unit, and how many units an image has; (n, chunks, 3); log(sum exp), (n, H, W). */
    int64_t chunk, chunks;
    struct blanch_tensor *partial, *levels;
    struct bl_kernel *sum_units;
};

static bool of_pixels(const struct bl_node *node) {
    return node->outputs > 1;
}

static int set_up_pixels(struct bl_node *node, struct state *state) {
    enum { CPU_CHUNK = 1024, GPU_CHUNK = 16 };
    const struct blanch_tensor *x = node->in[0], *labels = node->in[1];
    if (labels->c != 1 || labels->h != x->h || labels->w != x->w)
        return bl_fail(BLANCH_EINPUT, "%s: logits of %lld x %lld pixels, labels of %lld x %lld", node->name,
                       (long long)x->h, (long long)x->w, (long long)labels->h, (long long)labels->w);
    if (node->inputs > 2)
        return bl_fail(BLANCH_EUSAGE, "%s: images whose pixels are labelled have no pairs of labels", node->name);
    state->chunk = bl_on_cpu(node->dev) ? CPU_CHUNK : GPU_CHUNK;
    state->chunks = bl_chunks(x->h * x->w, state->chunk);
    bl_node_out_as(node, BL_I32, 1, x->h, x->w);
    state->partial = bl_node_workspace(node, BL_LIFE_FORWARD, 3 * x->n * state->chunks);
    state->levels = bl_node_workspace(node, BL_LIFE_SAVED, x->n * x->h * x->w);
    return 0;
}

static int setup(struct bl_node *node) {
    const int inputs = ((const struct bl_loss_attrs *)node->attrs)->pairs ? 3 : 2;
    int code = bl_check_inputs(node, inputs, inputs);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0], *labels = node->in[1];
    const bool pixels = labels->h * labels->w > 1;
    if (labels->type != BL_I32) return bl_fail(BLANCH_EINPUT, "%s: its labels are not whole numbers", node->name);
    if (!pixels && (x->h != 1 || x->w != 1))
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
    return pixels ? set_up_pixels(node, state) : 0;
}

static int prepare(struct bl_node *node) {
    const struct bl_loss_attrs *attrs = node->attrs;
    struct state *state = node->state;
    const int64_t classes = node->in[0]->c;
    const char *forward = of_pixels(node) ? "forward_pixels" : "forward";
    int code = bl_plain_prepare(node, 1, "softmax_cross_entropy", forward, "backward");
    if (!code && of_pixels(node))
        code = bl_kernel_get(node->dev, "softmax_cross_entropy", "sum_units",
                             (const struct bl_define[]){{"VEC", 1}, BL_ACT(node)}, 2, &state->sum_units);
    if (code || !attrs->weight) return code;
    state->mean_weight = 0;
    for (int64_t i = 0; i < classes; i++) state->mean_weight += (double)attrs->weight[i] / (double)classes;
    return bl_mem_write(state->weights->mem, 0, (size_t)classes * sizeof(float), attrs->weight);
}

/* What kernels are told of labels: smoothing, weights and their mean; plain in evaluation. */
#define OF_LABELS(node, run)                                                                                           \
    BL_F32((run)->training ? ((const struct bl_loss_attrs *)(node)->attrs)->smoothing : 0),                            \
        BL_MEM(weights_of(node, run)), BL_I32(weights_of(node, run) != (node)->in[1]->mem),                            \
        BL_F32((run)->training ? ((const struct state *)(node)->state)->mean_weight : 1)
/* And of other labels. */
#define OF_OTHERS(node, run)                                                                                           \
    BL_MEM((node)->in[(node)->inputs - 1]->mem), BL_F32((run)->training && (node)->inputs > 2 ? (run)->share : 1)

/* Without weights the labels stand there, which are not read as such. */
static struct bl_mem *weights_of(const struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    return run->training && state->weights ? state->weights->mem : node->in[1]->mem;
}

static int forward_pixels(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t units = run->n * state->chunks;
    int code = bl_launch(state->plain.forward, bl_share(node->dev, units, 64 * x->c * state->chunk), BL_MEM(x->mem),
                         BL_MEM(node->in[1]->mem), BL_MEM(state->levels->mem), BL_MEM(node->out[1]->mem),
                         BL_MEM(state->partial->mem), BL_I32(units), BL_I32(state->chunks), BL_I32(state->chunk),
                         BL_I32(x->h * x->w), BL_I32(x->c), OF_LABELS(node, run), BL_I32(BL_IGNORED_LABEL),
                         BL_MEM(run->skip ? run->skip : node->out[0]->mem), BL_I32(run->skip != NULL));
    if (code) return code;
    return bl_launch(state->sum_units, bl_share(node->dev, 3 * run->n, BL_FLOAT_BYTES * state->chunks),
                     BL_MEM(state->partial->mem), BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(state->chunks));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    int64_t classes = node->in[0]->c;
    if (of_pixels(node)) return forward_pixels(node, run);
    return bl_launch(state->plain.forward, bl_share(node->dev, run->n, 64 * classes), BL_MEM(node->in[0]->mem),
                     BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(classes),
                     OF_LABELS(node, run), OF_OTHERS(node, run), BL_MEM(run->skip ? run->skip : node->out[0]->mem),
                     BL_I32(run->skip != NULL));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const bool pixels = of_pixels(node);
    const struct blanch_tensor *x = node->in[0];
    const int64_t classes = x->c, rows = run->n * x->h * x->w;
    if (!x->grad) return 0;
    return bl_launch(state->plain.backward, bl_share_rows(node->dev, classes, rows, 64 * classes), BL_MEM(x->mem),
                     BL_MEM(node->in[1]->mem), BL_MEM((pixels ? state->levels : node->out[0])->mem),
                     BL_I32(pixels ? 1 : 3), BL_MEM(x->grad->mem), BL_I32(rows), BL_F32(run->loss_total),
                     BL_I32(classes), BL_I32(pixels ? BL_IGNORED_LABEL : -1), OF_LABELS(node, run),
                     OF_OTHERS(node, run), BL_MEM(run->scale ? run->scale : node->out[0]->mem),
                     BL_I32(run->scale != NULL), BL_I32(node->accumulate[0]));
}

/* Of a row, logits `apart` values apart: the sum over classes of target times -log softmax. */
static double row_loss(const double *z, int classes, size_t apart, const struct bl_ref_layer *l, int row) {
    const struct bl_loss_attrs *a = l->attrs;
    const double s = l->training ? (double)a->smoothing : 0, share = l->training && l->others ? l->share : 1;
    double top = z[0], sum = 0, loss = 0;
    for (int c = 0; c < classes; c++) top = fmax(top, z[(size_t)c * apart]);
    for (int c = 0; c < classes; c++) sum += exp(z[(size_t)c * apart] - top);
    for (int c = 0; c < classes; c++) {
        const double weight = l->training && a->weight ? (double)a->weight[c] : 1;
        const double own = (c == l->labels[row] ? share : 0) + (l->others && c == l->others[row] ? 1 - share : 0);
        loss += weight * ((1 - s) * own + s / classes) * (top + log(sum) - z[(size_t)c * apart]);
    }
    return loss;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const size_t plane = (size_t)x->h * (size_t)x->w;
    int code = bl_ref_new(y, x->n, 1, 1, 1);
    for (int n = 0; n < x->n && !code; n++)
        for (size_t p = 0; p < plane; p++) {
            const size_t row = (size_t)n * plane + p;
            if (plane > 1 && l->labels[row] == BL_IGNORED_LABEL) continue;
            y->v[n] += row_loss(x->v + (size_t)n * plane * (size_t)x->c + p, x->c, plane, l, (int)row);
        }
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
