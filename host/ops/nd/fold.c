/* Folding: three matrix products a step (W D, dW' D and W^T dW'; between refreshes A P alone) and what surrounds them.
 */
#include "ops/nd/fold.h"
#include "blas/blas.h"
#include "graph/optimiser.h"
#include "ops/ahead.h"
#include "ops/common.h"
#include "ops/nd/phase.h"
#include <string.h>

enum {
    BYTES_PER_PART = 256 * 1024,
    GPU_PART = 16 * 1024,
    MOST_PARTS = 64,
};

static int64_t weights_of(const struct bl_fold *fold) {
    return fold->outputs * fold->interleave * fold->features;
}

static int64_t vectors_of(const struct bl_fold *fold) {
    return fold->features / bl_vec(fold->node->dev, fold->features);
}

static int64_t parts_of(const struct bl_fold *fold) {
    int64_t outputs = fold->outputs / fold->matrices, each = bl_on_cpu(fold->node->dev) ? BYTES_PER_PART : GPU_PART;
    int64_t parts = 8 * weights_of(fold) / fold->matrices / each;
    if (parts > MOST_PARTS) parts = MOST_PARTS;
    if (parts > outputs) parts = outputs;
    return parts < 1 ? 1 : parts;
}

/* Of <dD, D>, of a matrix. */
static int64_t dots_of(const struct bl_fold *fold) {
    return fold->parts * (bl_on_cpu(fold->node->dev) ? 1 : vectors_of(fold));
}

/* Where D is packed once a step, and weights are read in their own order. */
static bool is_own(const struct bl_fold *fold) {
    return bl_packed_product_serves(fold->node, fold->matrices);
}

/* Where dD is summed by features, and W is read in its own order for that. */
static bool is_few(const struct bl_fold *fold) {
    return bl_gram_serves(fold->node, fold->matrices, fold->features);
}

/* Whether the product dW' D is written in the parameter's order. */
static bool orders_gradient(const struct bl_fold *fold) {
    return fold->permuted && fold->matrices == 1 && !bl_on_cpu(fold->node->dev);
}

/* Whether the parameter's rows are made with those of other layers: they last for a training pass, unless those of
 * something else take their place. */
static bool is_ahead(const struct bl_fold *fold) {
    return fold->permuted && !bl_on_cpu(fold->node->dev) && bl_node_training(fold->node) &&
           !bl_whitening_long_reused(fold->whitening);
}

static void setup_target(struct bl_fold *fold, const struct bl_param *reused);

void bl_fold_setup(struct bl_fold *fold, enum bl_life life) {
    struct bl_node *node = fold->node;
    fold->features = bl_whitening_features(fold->whitening);
    fold->folded = bl_node_workspace(node, life, weights_of(fold));
    fold->folded_bias = bl_node_workspace(node, BL_LIFE_KEPT, fold->outputs);
    bool own = is_own(fold), training = bl_node_training(node);
    if (own) bl_packed_product_setup(&fold->by_deconv, node, fold->features, training ? BL_LIFE_SAVED : life);
    const enum bl_life of_rows = is_ahead(fold) ? BL_LIFE_KEPT : own ? BL_LIFE_BACKWARD : BL_LIFE_SAVED;
    if (fold->permuted && ((training && !is_few(fold)) || !own))
        fold->rows = bl_node_workspace(node, of_rows, weights_of(fold));
    if (!training) return;
    fold->weight->divides = is_own(fold) && !is_few(fold);
    fold->gradient = bl_node_workspace(node, BL_LIFE_BACKWARD, weights_of(fold));
    if (fold->permuted && !orders_gradient(fold))
        fold->drows = bl_node_workspace(node, BL_LIFE_BACKWARD, weights_of(fold));
    fold->parts = parts_of(fold);
    int64_t parts = fold->parts;
    if (is_few(fold)) {
        const int sums = bl_gram_setup(&fold->gram, node, fold->features, 2, BL_LIFE_BACKWARD);
        fold->gram_sums = bl_node_workspace(node, BL_LIFE_BACKWARD, sums * fold->features * fold->features);
        if (sums > parts) parts = sums;
    }
    fold->partial = bl_node_workspace(node, BL_LIFE_BACKWARD, parts * fold->matrices * fold->features);
    fold->dmean = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * fold->features);
    fold->dots = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * dots_of(fold));
    fold->ddeconv = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * fold->features * fold->features);
    if (!bl_on_cpu(node->dev))
        fold->products =
            bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * bl_product_most_shares(fold->features));
    const struct bl_param *reused = bl_whitening_long_reused(fold->whitening);
    if (reused && bl_node_updates_linearly(node)) setup_target(fold, reused);
}

struct rows_job { // as of the kernels
    struct bl_ahead head;
    int64_t values;
    int32_t interleave, features;
};
static const struct bl_define any_width[] = {{"VEC", 1}, {"TREE", 0}};
static const struct bl_ahead_kind rows_ahead = {"nd/fold", "to_rows_ahead", any_width, BL_COUNT(any_width),
                                                sizeof(struct rows_job)};

static int add_ahead(const struct bl_fold *fold) {
    const struct rows_job job = {
        .values = weights_of(fold), .interleave = (int32_t)fold->interleave, .features = (int32_t)fold->features};
    return bl_ahead_add(fold->node, &rows_ahead, fold->weight->data.mem, fold->rows->mem, &job, job.values);
}

int bl_fold_prepare(struct bl_fold *fold) {
    struct {
        const char *name;
        struct bl_kernel **kernel;
    } wanted[] = {
        {"to_rows", &fold->to_rows},     {"fold_bias", &fold->fold_bias},
        {"from_rows", &fold->from_rows}, {"weight_gradient", &fold->weight_gradient},
        {"sum_parts", &fold->sum_parts}, {"fold_target", &fold->fold_target},
        {"resolve", &fold->resolve},
    };
    const struct bl_define defines[] = {{"VEC", bl_vec(fold->node->dev, fold->features)},
                                        {"TREE", bl_tree(fold->node->dev)}};
    int code = 0;
    int count = fold->target.possible ? 7 : bl_node_training(fold->node) ? 5 : 2;
    for (int i = 0; i < count && !code; i++)
        code = bl_kernel_get(fold->node->dev, "nd/fold", wanted[i].name, defines, BL_COUNT(defines), wanted[i].kernel);
    if (!code && fold->gram.node) code = bl_gram_prepare(&fold->gram);
    if (!code && fold->gram.node) code = bl_gram_kernel(fold->node, "weights_backward", &fold->weights_backward);
    if (!code && is_own(fold)) code = bl_packed_product_prepare(&fold->by_deconv);
    if (!code && is_ahead(fold)) code = add_ahead(fold);
    return code || !bl_node_training(fold->node) ? code : bl_fold_gradients_prepare(fold);
}

/* Items over outputs; lanes: also over features, where an item does not need its whole row. */
static struct bl_range over_outputs(const struct bl_fold *fold, bool lanes) {
    return bl_share_rows(fold->node->dev, lanes ? vectors_of(fold) : 1, fold->outputs,
                         8 * fold->interleave * fold->features);
}

/* Where each is a sum, by an item or, elsewhere than on CPUs, by a group. */
static struct bl_range over_sums(const struct bl_fold *fold) {
    return bl_on_cpu(fold->node->dev) ? over_outputs(fold, false) : bl_tree_rows(fold->node->dev, fold->outputs);
}

#define SIZES(fold) BL_I32((fold)->outputs), BL_I32((fold)->interleave), BL_I32((fold)->features)

/* --- products --------------------------------------------------------------------------------- */

/* Whether ranks divide the rows of weights: where features are so many that it pays. */
static bool is_divided(const struct bl_fold *fold, const struct bl_run *run, bool gradients) {
    return run && run->training && is_own(fold) && !is_few(fold) && fold->step.weights == BL_ND_OF_PARAMETER &&
           bl_whitening_divides(fold->whitening, run, gradients);
}

static struct bl_interval own_outputs(const struct bl_fold *fold, const struct bl_run *run, bool gradients) {
    return bl_share_of(is_divided(fold, run, gradients) ? run->all : NULL, fold->outputs);
}
static struct bl_interval rows_of(const struct bl_fold *fold, struct bl_interval outputs) {
    return (struct bl_interval){outputs.first * fold->interleave, outputs.count * fold->interleave};
}
static struct bl_shared_rows by_outputs(const struct bl_fold *fold, struct bl_mem *mem) {
    return (struct bl_shared_rows){mem, fold->outputs, fold->interleave * fold->features};
}

/* C = A B for square matrices B, C = B where rows is F; A in rows. */
static struct bl_gemm product_of(const struct bl_fold *fold, int64_t rows, struct bl_mem *a, struct bl_mem *b,
                                 struct bl_mem *c) {
    int64_t f = fold->features;
    return (struct bl_gemm){
        .m = rows,
        .n = f,
        .k = f,
        .alpha = 1,
        .a = a,
        .b = b,
        .c = c,
        .lda = f,
        .ldb = f,
        .ldc = f,
        .batch = (int)fold->matrices,
        .stride_a = rows * f,
        .stride_b = f * f,
        .stride_c = rows * f,
    };
}

/* Before times(): what it multiplies by. */
static int pack(const struct bl_fold *fold, struct bl_mem *matrix) {
    return is_own(fold) ? bl_packed_product_pack(&fold->by_deconv, matrix, 1) : 0;
}

/* C = A B for the rows of every matrix, B packed before; both may be rounded to that type. */
static int times(const struct bl_fold *fold, enum bl_type rounds, struct bl_mem *a, struct bl_mem *b,
                 struct bl_mem *c) {
    if (is_own(fold))
        return bl_packed_product_multiply(&fold->by_deconv, a, bl_share_of(NULL, fold->outputs * fold->interleave), 1,
                                          c);
    struct bl_gemm product = product_of(fold, fold->outputs / fold->matrices * fold->interleave, a, b, c);
    product.rounds = rounds;
    return bl_gemm(fold->node->dev, &product);
}

/* One of the kernels that turn rows to the parameter's order and back. */
static int reorder(const struct bl_fold *fold, struct bl_kernel *kernel, struct bl_mem *from,
                   struct bl_interval outputs, struct bl_mem *to) {
    if (!outputs.count) return 0;
    const struct bl_range range =
        bl_share_rows(fold->node->dev, vectors_of(fold), outputs.count, 8 * fold->interleave * fold->features);
    return bl_launch_light(fold->node->dev, kernel, range, BL_MEM(from), BL_I32(outputs.first), BL_I32(outputs.count),
                           BL_I32(fold->interleave), BL_I32(fold->features), BL_MEM(to));
}

static int to_rows(const struct bl_fold *fold, struct bl_mem *weight, struct bl_interval outputs) {
    return fold->permuted ? reorder(fold, fold->to_rows, weight, outputs, fold->rows->mem) : 0;
}

/* The same for A in the parameter's order; leaves its rows in `rows` where D is not packed. A pass's weights (run not
 * NULL) may be rounded as its activations are stored; what updates are taken from may not. */
static int fold_weight(const struct bl_fold *fold, const struct bl_run *run, struct bl_mem *weight, struct bl_mem *b,
                       struct bl_mem *c) {
    if (is_own(fold)) {
        const struct bl_shared_rows whole = by_outputs(fold, c);
        int code = bl_packed_product_multiply(&fold->by_deconv, weight, rows_of(fold, own_outputs(fold, run, false)),
                                              fold->permuted ? fold->interleave : 1, c);
        return code || !is_divided(fold, run, false)
                   ? code
                   : run->all->gather_shares(run->all->context, fold->node->dev, &whole);
    }
    int code = is_ahead(fold) && run->training ? bl_ahead_make(fold->node, &rows_ahead, run, BL_FOLD)
                                               : to_rows(fold, weight, bl_share_of(NULL, fold->outputs));
    const enum bl_type rounds = run ? bl_node_type(fold->node) : BL_F32;
    return code ? code : times(fold, rounds, fold->permuted ? fold->rows->mem : weight, b, c);
}

/* --- the update target ------------------------------------------------------------------------ */

static struct bl_mem *updated(const struct bl_fold *fold, int which) {
    return which ? fold->weight->state[0].mem : fold->weight->data.mem;
}

static bool is_running(const struct bl_fold *fold) {
    return fold->weight->target != NULL;
}

/* U_0, M_0 and P of W_0, V_0 and D_r. */
static int derive(struct bl_fold *fold) {
    struct bl_mem *deconv = fold->target.deconv->data.mem;
    struct bl_gemm square = product_of(fold, fold->features, deconv, deconv, fold->target.square->mem);
    int code = bl_gemm(fold->node->dev, &square);
    if (!code) code = pack(fold, deconv);
    for (int i = 0; i < 2 && !code; i++)
        code = fold_weight(fold, NULL, fold->target.first[i]->mem, deconv, fold->target.folded[i]->mem);
    return code;
}

/* With this step's D_r, from the value and state that the parameter has; A = 0. */
static int start(struct bl_fold *fold) {
    size_t bytes = sizeof(float) * (size_t)weights_of(fold);
    int code = 0;
    for (int i = 0; i < 2 && !code; i++) {
        code = bl_mem_copy(updated(fold, i), 0, fold->target.first[i]->mem, 0, bytes);
        if (!code) code = bl_mem_fill(updated(fold, i), 0, bytes, 0);
    }
    memcpy(fold->target.decayed, (double[4]){1, 0, 0, 1}, sizeof fold->target.decayed);
    if (!code) code = derive(fold);
    if (!code) bl_param_begin_target(fold->weight, &fold->target.target);
    return code;
}

/* What an evaluation has folded is overwritten. */
static int resolve(void *context, int which, struct bl_mem *to) {
    struct bl_fold *fold = context;
    const double *decayed = fold->target.decayed + 2 * which;
    int64_t interleave = fold->permuted ? fold->interleave : 1;
    struct bl_mem *deconv = fold->target.deconv->data.mem;
    fold->version = 0;
    bl_node_phase(fold->node, BL_FOLD);
    int code = pack(fold, deconv);
    if (!code) code = times(fold, BL_F32, updated(fold, which), deconv, fold->folded->mem);
    if (code) return code;
    return bl_launch_light(fold->node->dev, fold->resolve, over_outputs(fold, true), BL_MEM(fold->folded->mem),
                           BL_MEM(fold->target.first[0]->mem), BL_MEM(fold->target.first[1]->mem), BL_F32(decayed[0]),
                           BL_F32(decayed[1]), BL_I32(fold->outputs), BL_I32(interleave),
                           BL_I32(weights_of(fold) / fold->outputs / interleave), BL_MEM(to));
}

static void decay(void *context, const struct bl_optimiser *optimiser, const struct blanch_update *update) {
    double *decayed = ((struct bl_fold *)context)->target.decayed;
    for (int i = 0; i < 2; i++) optimiser->decay(update, &decayed[i], &decayed[2 + i]);
}

static int resume(void *context) {
    struct bl_fold *fold = context;
    bl_node_phase(fold->node, BL_FOLD);
    return derive(fold);
}

static void setup_target(struct bl_fold *fold, const struct bl_param *reused) {
    struct bl_node *node = fold->node;
    fold->target.possible = true;
    fold->target.deconv = reused;
    for (int i = 0; i < 2; i++) {
        fold->target.first[i] = bl_node_workspace(node, BL_LIFE_KEPT, weights_of(fold));
        fold->target.folded[i] = bl_node_workspace(node, BL_LIFE_KEPT, weights_of(fold));
    }
    fold->target.square = bl_node_workspace(node, BL_LIFE_KEPT, fold->matrices * fold->features * fold->features);
    fold->target.resolved = bl_node_workspace(node, BL_LIFE_FORWARD, weights_of(fold));
    fold->target.target = (struct bl_update_target){
        .context = fold,
        .resolve = resolve,
        .updated = decay,
        .resume = resume,
        .first = {fold->target.first[0], fold->target.first[1]},
        .numbers = fold->target.decayed,
        .number_count = BL_COUNT(fold->target.decayed),
    };
    bl_param_offer_target(fold->weight, &fold->target.target);
}

/* --- deciding a step -------------------------------------------------------------------------- */

/* Where the step's weights lie. A target ends where it cannot go on: at a refresh, which starts anew, while D is
 * constant, and where the gradients are not for an update alone. */
static int choose_weights(struct bl_fold *fold, const struct bl_run *run, struct bl_nd_step *step) {
    bool running = is_running(fold), reused = step->action == BL_ND_REUSE;
    step->weights = BL_ND_OF_PARAMETER;
    if (!run->training) {
        if (running) step->weights = BL_ND_RESOLVED;
        return 0;
    }
    bool usable = fold->target.possible && run->update && step->action != BL_ND_CONSTANT && (reused || running);
    if (usable) step->weights = BL_ND_OF_TARGET, step->starts = !reused || !running;
    return running && (!usable || step->starts) ? bl_param_end_target(fold->weight) : 0;
}

static int decide(struct bl_fold *fold, const struct bl_run *run) {
    struct bl_nd_step step = {.action = bl_whitening_action(fold->whitening, run)};
    int code = choose_weights(fold, run, &step);
    if (code) return code;
    bl_whitening_begin(fold->whitening, run, &step);
    fold->step = step;
    return 0;
}

/* --- forward ---------------------------------------------------------------------------------- */

static int fold_bias(struct bl_fold *fold, const struct bl_run *run) {
    fold->bias_is_left = run->training && fold->packer && bl_conv_packs_bias(fold->packer);
    if (fold->bias_is_left) return 0;
    return bl_launch_light(fold->node->dev, fold->fold_bias, over_sums(fold), BL_MEM(fold->folded->mem),
                           BL_MEM(fold->step.mean), BL_MEM(fold->bias->data.mem), SIZES(fold), BL_I32(fold->matrices),
                           BL_MEM(fold->folded_bias->mem));
}

/* W' and b' from A. */
static int fold_target(const struct bl_fold *fold) {
    int code = pack(fold, fold->target.square->mem);
    if (!code) code = times(fold, BL_F32, fold->weight->data.mem, fold->target.square->mem, fold->folded->mem);
    if (code) return code;
    return bl_launch_light(fold->node->dev, fold->fold_target, over_sums(fold), BL_MEM(fold->folded->mem),
                           BL_MEM(fold->target.folded[0]->mem), BL_MEM(fold->target.folded[1]->mem),
                           BL_F32(fold->target.decayed[0]), BL_F32(fold->target.decayed[1]), BL_MEM(fold->step.factors),
                           BL_MEM(fold->step.mean), BL_MEM(fold->bias->data.mem), SIZES(fold), BL_I32(fold->matrices),
                           BL_MEM(fold->folded_bias->mem));
}

/* W' of a target that starts from a D of its own batch is U_0. */
static int fold_start(struct bl_fold *fold, const struct bl_run *run) {
    int code =
        bl_mem_copy(fold->target.folded[0]->mem, 0, fold->folded->mem, 0, sizeof(float) * (size_t)weights_of(fold));
    return code ? code : fold_bias(fold, run);
}

static int fold_parameter(struct bl_fold *fold, const struct bl_run *run) {
    struct bl_mem *weight = fold->weight->data.mem, *deconv = fold->step.deconv;
    int code = 0;
    if (fold->step.weights == BL_ND_RESOLVED) {
        weight = fold->target.resolved->mem;
        code = fold->target.target.resolve(fold->target.target.context, 0, weight);
    }
    if (!code) code = pack(fold, deconv);
    if (!code) code = fold_weight(fold, run, weight, deconv, fold->folded->mem);
    return code ? code : fold_bias(fold, run);
}

static int fold_step(struct bl_fold *fold, const struct bl_run *run) {
    const struct bl_nd_step *step = &fold->step;
    int code = bl_whitening_forward(fold->whitening, run, step);
    bl_node_phase(fold->node, BL_FOLD);
    if (!code && step->starts && !run->again) code = start(fold);
    if (code || step->weights != BL_ND_OF_TARGET) return code ? code : fold_parameter(fold, run);
    return step->action == BL_ND_REUSE ? fold_target(fold) : fold_start(fold, run);
}

int bl_fold_forward(struct bl_fold *fold, const struct bl_run *run, bool *changed) {
    *changed = run->training || fold->version != run->weights_version;
    if (!*changed) return 0;
    fold->bias_is_left = false;
    int code = run->again ? 0 : decide(fold, run);
    if (!code) code = fold_step(fold, run);
    fold->version = code || run->training ? 0 : run->weights_version;
    return code;
}

/* --- backward --------------------------------------------------------------------------------- */

static bool is_of_target(const struct bl_fold *fold) {
    return fold->step.weights == BL_ND_OF_TARGET;
}

/* Where dW' without the mean's part goes: it is A's gradient, but for c. */
static struct bl_mem *gradient_of(const struct bl_fold *fold) {
    return is_of_target(fold) ? fold->weight->grad.mem : fold->gradient->mem;
}

/* W in rows, as the gradient of D reads it, of those outputs. */
static int weight_rows(const struct bl_fold *fold, struct bl_interval outputs, struct bl_mem **rows) {
    struct bl_mem *weight = is_of_target(fold) ? fold->target.first[0]->mem : fold->weight->data.mem;
    *rows = fold->permuted ? fold->rows->mem : weight;
    return is_own(fold) || is_of_target(fold) ? to_rows(fold, weight, outputs)
                                              : 0; // else the forward pass has left them
}

static int sum_gram(const struct bl_fold *fold) {
    int64_t count = fold->features * fold->features, parts = fold->gram.parts;
    return bl_launch_light(fold->node->dev, fold->sum_parts,
                           bl_share_rows(fold->node->dev, 1, count, BL_FLOAT_BYTES * (parts + 1)),
                           BL_MEM(fold->gram_sums->mem), BL_I32(parts), BL_I32(count), BL_MEM(fold->ddeconv->mem));
}

static int few_gradient(const struct bl_fold *fold) {
    const struct bl_gram_product product = {
        .a = is_of_target(fold) ? fold->target.first[0]->mem : fold->weight->data.mem,
        .b = gradient_of(fold),
        .sums = fold->gram_sums->mem,
        .rows = fold->outputs * fold->interleave,
        .interleave = fold->permuted ? fold->interleave : 1,
        .alpha = 1,
    };
    int code = bl_gram_multiply(&fold->gram, &product);
    return code ? code : sum_gram(fold);
}

/* dD = sum over rows of W^T dW', elsewhere than on CPUs of (W^T dW' + dW'^T W)/2. */
static int matrix_gradient(struct bl_fold *fold, struct bl_interval outputs) {
    if (fold->gram.node) return few_gradient(fold);
    struct bl_mem *weight;
    int code = weight_rows(fold, outputs, &weight);
    if (code) return code;
    int64_t f = fold->features, rows = outputs.count / fold->matrices * fold->interleave;
    size_t offset = (size_t)(rows_of(fold, outputs).first * f);
    if (!rows) return bl_mem_fill(fold->ddeconv->mem, 0, sizeof(float) * (size_t)(f * f), 0);
    const struct bl_gemm product = {
        .trans_a = true,
        .symmetric = !bl_on_cpu(fold->node->dev),
        .m = f,
        .n = f,
        .k = rows,
        .alpha = 1,
        .a = weight,
        .b = gradient_of(fold),
        .c = fold->ddeconv->mem,
        .offset_a = offset,
        .offset_b = offset,
        .lda = f,
        .ldb = f,
        .ldc = f,
        .batch = (int)fold->matrices,
        .stride_a = rows * f,
        .stride_b = rows * f,
        .stride_c = f * f,
    };
    if (bl_on_cpu(fold->node->dev)) return bl_gemm(fold->node->dev, &product);
    const struct bl_product symmetric = {.pair = product,
                                         .a2 = product.b,
                                         .b2 = product.a,
                                         .result = {{.to = product.c, .alpha = 0.5f}},
                                         .with = fold->step.deconv,
                                         .dots = fold->products->mem,
                                         .shares = &fold->shares};
    return bl_product(fold->node->dev, &symmetric);
}

/* Whether the mean's gradient is handed on in parts: the gradient of S sums them elsewhere than on CPUs. */
static bool leaves_parts(const struct bl_fold *fold) {
    return fold->step.action == BL_ND_EXACT && !bl_on_cpu(fold->node->dev);
}

static int sum_mean(const struct bl_fold *fold, int64_t parts) {
    int64_t count = fold->matrices * fold->features;
    return bl_launch_light(fold->node->dev, fold->sum_parts,
                           bl_share_rows(fold->node->dev, 1, count, BL_FLOAT_BYTES * (parts + 1)),
                           BL_MEM(fold->partial->mem), BL_I32(parts), BL_I32(count), BL_MEM(fold->dmean->mem));
}

/* dW' without the mean's part (times c for a target), the mean's gradient, and <dD, D>. */
static int weight_gradient(struct bl_fold *fold) {
    struct blanch_device *dev = fold->node->dev;
    const struct bl_nd_step *step = &fold->step;
    int64_t units = fold->matrices * fold->parts;
    int code = bl_launch_light(
        fold->node->dev, fold->weight_gradient,
        bl_share_rows(dev, vectors_of(fold), units, 3 * BL_FLOAT_BYTES * weights_of(fold) / units),
        BL_MEM(fold->folded->mem), BL_MEM(fold->bias->grad.mem), BL_MEM(step->mean), SIZES(fold),
        BL_I32(fold->matrices), BL_I32(fold->parts), BL_I32(dots_of(fold) / fold->parts), BL_MEM(fold->gradient->mem),
        BL_I32(is_of_target(fold)), BL_MEM(is_of_target(fold) ? step->factors : step->mean), BL_MEM(gradient_of(fold)),
        BL_MEM(fold->partial->mem), BL_MEM(fold->dots->mem));
    if (code || !step->backward || leaves_parts(fold)) return code;
    return sum_mean(fold, fold->parts);
}

/* Where features are few: dW, dD and the mean's gradient in one pass over the weights. */
static bool passes_once(const struct bl_fold *fold) {
    return fold->gram.node && is_own(fold) && fold->step.action == BL_ND_EXACT && fold->step.backward &&
           !is_of_target(fold);
}

static int few_backward(const struct bl_fold *fold) {
    const int64_t f = fold->features, parts = fold->gram.parts, weights = weights_of(fold);
    bl_work(fold->node->dev, 4 * (double)weights * (double)f,
            BL_FLOAT_BYTES * (uint64_t)(4 * weights + f * f * (1 + parts)));
    int code = bl_launch(fold->weights_backward, BL_GROUPS1((size_t)parts), BL_MEM(fold->weight->data.mem),
                         BL_MEM(fold->folded->mem), BL_MEM(fold->gradient->mem), BL_MEM(fold->bias->grad.mem),
                         BL_MEM(fold->step.mean), BL_MEM(fold->by_deconv.packed->mem), BL_I32(f), BL_I32(fold->outputs),
                         BL_I32(fold->interleave), BL_I32(fold->permuted), BL_MEM(fold->gram.scratch->mem),
                         BL_MEM(fold->gram_sums->mem), BL_MEM(fold->partial->mem), BL_MEM(fold->weight->grad.mem));
    if (!code) code = sum_gram(fold);
    return code ? code : sum_mean(fold, parts);
}

/* dW from where `times` leaves it. */
static struct bl_mem *product_gradient(const struct bl_fold *fold) {
    return fold->permuted ? fold->drows->mem : fold->weight->grad.mem;
}
static int order_gradient(const struct bl_fold *fold, struct bl_interval outputs) {
    return fold->permuted ? reorder(fold, fold->from_rows, fold->drows->mem, outputs, fold->weight->grad.mem) : 0;
}

/* The share of this rank of dD and of dW, from gradients that are those of all ranks. The rest, which others do, is
 * left where shares are handed on, and else 0: sums over ranks make it whole. */
static int divided_backward(struct bl_fold *fold, const struct bl_run *run) {
    struct blanch_device *dev = fold->node->dev;
    const struct bl_interval own = own_outputs(fold, run, true);
    const struct bl_shared_rows gradient = by_outputs(fold, fold->gradient->mem);
    struct bl_mem *to = product_gradient(fold);
    int code = run->all->sum_shares(run->all->context, dev, &gradient);
    if (!code && fold->step.backward && fold->step.action == BL_ND_EXACT) code = matrix_gradient(fold, own);
    fold->weight->divided = run->shares;
    if (!code && !run->shares) code = bl_mem_fill(to, 0, sizeof(float) * (size_t)weights_of(fold), 0);
    if (!code) code = bl_packed_product_multiply(&fold->by_deconv, fold->gradient->mem, rows_of(fold, own), 1, to);
    return code ? code : order_gradient(fold, run->shares ? own : bl_share_of(NULL, fold->outputs));
}

int bl_fold_backward(struct bl_fold *fold, const struct bl_run *run) {
    const struct bl_nd_step *step = &fold->step;
    fold->weight->divided = false;
    if (passes_once(fold)) return few_backward(fold);
    if (bl_fold_gradients_serve(fold)) return bl_fold_gradients(fold);
    int code = weight_gradient(fold);
    if (!code && is_divided(fold, run, true)) return divided_backward(fold, run);
    if (!code && step->backward && step->action == BL_ND_EXACT)
        code = matrix_gradient(fold, bl_share_of(NULL, fold->outputs));
    if (code || is_of_target(fold)) return code;
    if (orders_gradient(fold)) return bl_fold_permuted_gradient(fold);
    code = times(fold, BL_F32, fold->gradient->mem, step->deconv, product_gradient(fold));
    return code ? code : order_gradient(fold, bl_share_of(NULL, fold->outputs));
}

/* Mean and D are of all ranks' images, and so is what the loss makes of them. */
static int sum_gradient(const struct bl_fold *fold, const struct bl_run *run, const struct bl_deconv_gradient *g) {
    struct blanch_device *dev = fold->node->dev;
    int64_t vector = fold->matrices * fold->features;
    int code = bl_sum(run->all, dev, g->mean, 0, g->parts * vector);
    if (code) return code;
    if (fold->step.action != BL_ND_EXACT) return bl_sum(run->all, dev, g->scale, 0, fold->matrices * g->dots);
    code = bl_sum(run->all, dev, g->deconv, 0, vector * fold->features);
    return code || !g->shares ? code : bl_sum(run->all, dev, g->products, 0, fold->matrices * g->shares);
}

int bl_fold_backward_input(struct bl_fold *fold, const struct bl_run *run) {
    const struct bl_deconv_gradient gradient = {.mean = (leaves_parts(fold) ? fold->partial : fold->dmean)->mem,
                                                .parts = leaves_parts(fold) ? (int)fold->parts : 1,
                                                .deconv = fold->ddeconv->mem,
                                                .shares = fold->shares,
                                                .products = fold->shares ? fold->products->mem : NULL,
                                                .scale = fold->dots->mem,
                                                .dots = dots_of(fold)};
    if (!fold->step.backward) return 0;
    int code = sum_gradient(fold, run, &gradient);
    return code ? code : bl_whitening_backward(fold->whitening, run, &fold->step, &gradient);
}
