/* Folding: three matrix products a step (W D, dW' D and W^T dW'; between refreshes A P alone) and what surrounds them.
 */
#include "ops/nd_fold.h"
#include "blas/blas.h"
#include "graph/optimiser.h"
#include "ops/common.h"
#include <string.h>

enum {
    BYTES_PER_PART = 256 * 1024,
    MOST_PARTS = 64,
};

static int64_t weights_of(const struct bl_fold *fold) {
    return fold->outputs * fold->interleave * fold->features;
}

static int64_t vectors_of(const struct bl_fold *fold) {
    return fold->features / bl_vec(fold->node->dev, fold->features);
}

static int64_t parts_of(const struct bl_fold *fold) {
    int64_t outputs = fold->outputs / fold->matrices, parts = 8 * weights_of(fold) / fold->matrices / BYTES_PER_PART;
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

static int resolve(void *context, int which, struct bl_mem *to);
static void decay(void *context, const struct bl_optimiser *optimiser, const struct blanch_update *update);
static void ended(void *context);

void bl_fold_setup(struct bl_fold *fold, enum bl_life life) {
    struct bl_node *node = fold->node;
    fold->features = bl_whitening_features(fold->whitening);
    fold->folded = bl_node_workspace(node, life, weights_of(fold));
    fold->shift = bl_node_workspace(node, BL_LIFE_KEPT, fold->outputs);
    bool own = is_own(fold), training = bl_node_training(node);
    if (own) bl_packed_product_setup(&fold->by_deconv, node, fold->features, training ? BL_LIFE_SAVED : life);
    if (fold->permuted && (training || !own))
        fold->rows = bl_node_workspace(node, own ? BL_LIFE_BACKWARD : BL_LIFE_SAVED, weights_of(fold));
    if (!training) return;
    fold->gradient = bl_node_workspace(node, BL_LIFE_BACKWARD, weights_of(fold));
    if (fold->permuted) fold->drows = bl_node_workspace(node, BL_LIFE_BACKWARD, weights_of(fold));
    fold->parts = parts_of(fold);
    fold->partial = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->parts * fold->matrices * fold->features);
    fold->dmean = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * fold->features);
    fold->dots = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * dots_of(fold));
    fold->ddeconv = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * fold->features * fold->features);
    if (!bl_whitening_keeps_long(fold->whitening) || !bl_node_updates_linearly(node)) return;
    fold->target = (struct bl_update_target){fold, resolve, decay, ended};
    for (int i = 0; i < 2; i++) {
        fold->first[i] = bl_node_workspace(node, BL_LIFE_KEPT, weights_of(fold));
        fold->first_folded[i] = bl_node_workspace(node, BL_LIFE_KEPT, weights_of(fold));
    }
    fold->squared = bl_node_workspace(node, BL_LIFE_KEPT, fold->matrices * fold->features * fold->features);
}

int bl_fold_prepare(struct bl_fold *fold) {
    struct {
        const char *name;
        struct bl_kernel **kernel;
    } wanted[] = {
        {"to_rows", &fold->to_rows},     {"fold_bias", &fold->fold_bias},
        {"from_rows", &fold->from_rows}, {"weight_gradient", &fold->weight_gradient},
        {"sum_parts", &fold->sum_parts}, {"fold_kept", &fold->fold_kept},
        {"settle", &fold->resolve},
    };
    const struct bl_define defines[] = {{"VEC", bl_vec(fold->node->dev, fold->features)}};
    int code = 0;
    int count = fold->squared ? 7 : bl_node_training(fold->node) ? 5 : 2;
    for (int i = 0; i < count && !code; i++)
        code = bl_kernel_get(fold->node->dev, "nd_fold", wanted[i].name, defines, 1, wanted[i].kernel);
    return code || !is_own(fold) ? code : bl_packed_product_prepare(&fold->by_deconv);
}

bool bl_fold_is_current(struct bl_fold *fold, const struct bl_run *run) {
    bool current = !run->training && fold->kept && fold->version == run->weights_version;
    fold->kept = !run->training;
    fold->version = run->weights_version;
    return current;
}

/* Items over outputs; lanes: also over features, where an item does not need its whole row. */
static struct bl_range over_outputs(const struct bl_fold *fold, bool lanes) {
    return bl_share_rows(fold->node->dev, lanes ? vectors_of(fold) : 1, fold->outputs,
                         8 * fold->interleave * fold->features);
}

#define SIZES(fold) BL_I32((fold)->outputs), BL_I32((fold)->interleave), BL_I32((fold)->features)

/* --- products --------------------------------------------------------------------------------- */

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

/* C = A B for the rows of every matrix, B packed before. */
static int times(const struct bl_fold *fold, struct bl_mem *a, struct bl_mem *b, struct bl_mem *c) {
    int64_t rows = fold->outputs / fold->matrices * fold->interleave;
    if (is_own(fold)) return bl_packed_product_multiply(&fold->by_deconv, a, rows, 1, c);
    struct bl_gemm product = product_of(fold, rows, a, b, c);
    return bl_gemm(fold->node->dev, &product);
}

static int to_rows(const struct bl_fold *fold, struct bl_mem *weight) {
    bl_work(fold->node->dev, 0, 0);
    return fold->permuted ? bl_launch(fold->to_rows, over_outputs(fold, true), BL_MEM(weight), SIZES(fold),
                                      BL_MEM(fold->rows->mem))
                          : 0;
}

/* The same for A in the parameter's order; leaves its rows in `rows` where D is not packed. */
static int fold_weight(const struct bl_fold *fold, struct bl_mem *weight, struct bl_mem *b, struct bl_mem *c) {
    if (is_own(fold))
        return bl_packed_product_multiply(&fold->by_deconv, weight, fold->outputs * fold->interleave,
                                          fold->permuted ? fold->interleave : 1, c);
    int code = to_rows(fold, weight);
    return code ? code : times(fold, fold->permuted ? fold->rows->mem : weight, b, c);
}

/* --- updates between refreshes ---------------------------------------------------------------- */

static struct bl_mem *updated(const struct bl_fold *fold, int i) {
    return i ? fold->weight->state[0].mem : fold->weight->data.mem;
}

/* W_0, V_0, U_0, M_0, P; A = 0. The matrix is D_r. */
static int start(struct bl_fold *fold, struct bl_mem *deconv) {
    size_t bytes = 4 * (size_t)weights_of(fold);
    struct bl_gemm square = product_of(fold, fold->features, deconv, deconv, fold->squared->mem);
    int code = bl_gemm(fold->node->dev, &square);
    if (!code) code = pack(fold, deconv);
    for (int i = 0; i < 2 && !code; i++) {
        code = bl_mem_copy(updated(fold, i), 0, fold->first[i]->mem, 0, bytes);
        if (!code) code = fold_weight(fold, fold->first[i]->mem, deconv, fold->first_folded[i]->mem);
        if (!code) code = bl_mem_fill(updated(fold, i), 0, bytes, 0);
    }
    memcpy(fold->decayed, (double[4]){1, 0, 0, 1}, sizeof fold->decayed);
    if (!code) bl_param_begin_target(fold->weight, &fold->target), fold->accumulates = true;
    return code;
}

static int resolve(void *context, int which, struct bl_mem *to) {
    const struct bl_fold *fold = context;
    struct bl_mem *deconv = bl_whitening_kept(fold->whitening);
    const double *decayed = fold->decayed + 2 * which;
    int64_t interleave = fold->permuted ? fold->interleave : 1;
    bl_node_phase(fold->node, BL_FOLD);
    int code = pack(fold, deconv);
    if (!code) code = times(fold, updated(fold, which), deconv, fold->folded->mem);
    if (code) return code;
    bl_work(fold->node->dev, 0, 0);
    return bl_launch(fold->resolve, over_outputs(fold, true), BL_MEM(fold->folded->mem), BL_MEM(fold->first[0]->mem),
                     BL_MEM(fold->first[1]->mem), BL_F32(decayed[0]), BL_F32(decayed[1]), BL_I32(fold->outputs),
                     BL_I32(interleave), BL_I32(weights_of(fold) / fold->outputs / interleave), BL_MEM(to));
}

static void decay(void *context, const struct bl_optimiser *optimiser, const struct blanch_update *update) {
    struct bl_fold *fold = context;
    for (int i = 0; i < 2; i++) optimiser->decay(update, &fold->decayed[i], &fold->decayed[2 + i]);
}

static void ended(void *context) {
    struct bl_fold *fold = context;
    fold->accumulates = false;
}

int bl_fold_begin(struct bl_fold *fold, const struct bl_run *run) {
    bool may = fold->squared && run->update, keeps = bl_whitening_will_keep(fold->whitening, run);
    fold->starts = may && !keeps && fold->accumulates && bl_whitening_will_compute(fold->whitening, run);
    if (!may || !keeps) return bl_param_end_target(fold->weight);
    if (fold->accumulates) return 0;
    bl_node_phase(fold->node, BL_FOLD);
    return start(fold, bl_whitening_kept(fold->whitening));
}

/* --- forward ---------------------------------------------------------------------------------- */

static int forward_kept(const struct bl_fold *fold) {
    const struct bl_whitening *whitening = fold->whitening;
    int code = pack(fold, fold->squared->mem);
    if (!code) code = times(fold, fold->weight->data.mem, fold->squared->mem, fold->folded->mem);
    if (code) return code;
    bl_work(fold->node->dev, 0, 0);
    return bl_launch(fold->fold_kept, over_outputs(fold, false), BL_MEM(fold->folded->mem),
                     BL_MEM(fold->first_folded[0]->mem), BL_MEM(fold->first_folded[1]->mem), BL_F32(fold->decayed[0]),
                     BL_F32(fold->decayed[1]), BL_MEM(bl_whitening_factors(whitening)),
                     BL_MEM(bl_whitening_mean(whitening)), BL_MEM(fold->bias->data.mem), SIZES(fold),
                     BL_I32(fold->matrices), BL_MEM(fold->shift->mem));
}

/* By D itself; W' is U_0 where updates start from it. */
static int forward_computed(struct bl_fold *fold) {
    struct bl_mem *deconv = bl_whitening_deconv(fold->whitening);
    if (fold->starts) {
        int code = start(fold, deconv);
        return code ? code
                    : bl_mem_copy(fold->first_folded[0]->mem, 0, fold->folded->mem, 0, 4 * (size_t)weights_of(fold));
    }
    int code = pack(fold, deconv);
    return code ? code : fold_weight(fold, fold->weight->data.mem, deconv, fold->folded->mem);
}

int bl_fold_forward(struct bl_fold *fold) {
    if (fold->accumulates) return forward_kept(fold);
    int code = forward_computed(fold);
    if (code) return code;
    bl_work(fold->node->dev, 0, 0);
    return bl_launch(fold->fold_bias, over_outputs(fold, false), BL_MEM(fold->folded->mem),
                     BL_MEM(bl_whitening_mean(fold->whitening)), BL_MEM(fold->bias->data.mem), SIZES(fold),
                     BL_I32(fold->matrices), BL_MEM(fold->shift->mem));
}

/* --- backward --------------------------------------------------------------------------------- */

/* Where dW' without the mean's part goes: it is A's gradient, but for c. */
static struct bl_mem *gradient_of(const struct bl_fold *fold) {
    return fold->accumulates ? fold->weight->grad.mem : fold->gradient->mem;
}

static int matrix_gradient(struct bl_fold *fold) {
    struct bl_mem *weight = fold->accumulates ? fold->first[0]->mem : fold->weight->data.mem;
    int code = is_own(fold) || fold->accumulates ? to_rows(fold, weight) : 0;
    if (code) return code;
    int64_t f = fold->features, rows = fold->outputs / fold->matrices * fold->interleave;
    struct bl_gemm product = {
        .trans_a = true,
        .m = f,
        .n = f,
        .k = rows,
        .alpha = 1,
        .a = fold->permuted ? fold->rows->mem : weight,
        .b = gradient_of(fold),
        .c = fold->ddeconv->mem,
        .lda = f,
        .ldb = f,
        .ldc = f,
        .batch = (int)fold->matrices,
        .stride_a = rows * f,
        .stride_b = rows * f,
        .stride_c = f * f,
    };
    return bl_gemm(fold->node->dev, &product);
}

/* dW' without the mean's part (times c between refreshes), the mean's gradient, and <dD, D>. */
static int weight_gradient(struct bl_fold *fold) {
    struct blanch_device *dev = fold->node->dev;
    int64_t units = fold->matrices * fold->parts, count = fold->matrices * fold->features;
    struct bl_mem *factors = bl_whitening_factors(fold->whitening), *any = fold->gradient->mem;
    bl_work(fold->node->dev, 0, 0);
    int code =
        bl_launch(fold->weight_gradient, bl_share_rows(dev, vectors_of(fold), units, 12 * weights_of(fold) / units),
                  BL_MEM(fold->folded->mem), BL_MEM(fold->bias->grad.mem), BL_MEM(bl_whitening_mean(fold->whitening)),
                  SIZES(fold), BL_I32(fold->matrices), BL_I32(fold->parts), BL_I32(dots_of(fold) / fold->parts),
                  BL_MEM(fold->gradient->mem), BL_I32(fold->accumulates), BL_MEM(fold->accumulates ? factors : any),
                  BL_MEM(gradient_of(fold)), BL_MEM(fold->partial->mem), BL_MEM(fold->dots->mem));
    if (code || !bl_whitening_has_backward(fold->whitening)) return code;
    bl_work(fold->node->dev, 0, 0);
    return bl_launch(fold->sum_parts, bl_share_rows(dev, 1, count, 4 * (fold->parts + 1)), BL_MEM(fold->partial->mem),
                     BL_I32(fold->parts), BL_I32(count), BL_MEM(fold->dmean->mem));
}

struct bl_deconv_gradient bl_fold_deconv_gradient(const struct bl_fold *fold) {
    return (struct bl_deconv_gradient){
        .mean = fold->dmean->mem, .deconv = fold->ddeconv->mem, .scale = fold->dots->mem, .dots = dots_of(fold)};
}

int bl_fold_backward(struct bl_fold *fold) {
    const struct bl_whitening *whitening = fold->whitening;
    int code = weight_gradient(fold);
    if (!code && bl_whitening_has_backward(whitening) && !bl_whitening_wants_scale(whitening))
        code = matrix_gradient(fold);
    if (code || fold->accumulates) return code;
    code = times(fold, fold->gradient->mem, bl_whitening_deconv(whitening),
                 fold->permuted ? fold->drows->mem : fold->weight->grad.mem);
    if (code || !fold->permuted) return code;
    bl_work(fold->node->dev, 0, 0);
    return bl_launch(fold->from_rows, over_outputs(fold, true), BL_MEM(fold->drows->mem), SIZES(fold),
                     BL_MEM(fold->weight->grad.mem));
}
