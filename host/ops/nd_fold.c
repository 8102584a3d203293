/* Folding: three matrix products a step (W D, dW' D and W^T dW') and what surrounds them. */
#include "ops/nd_fold.h"
#include "blas/blas.h"
#include "ops/common.h"

static int64_t weights_of(const struct bl_fold *fold) {
    return fold->outputs * fold->interleave * fold->features;
}

void bl_fold_setup(struct bl_fold *fold, enum bl_life life) {
    struct bl_node *node = fold->node;
    fold->features = bl_whitening_features(fold->whitening);
    fold->folded = bl_node_workspace(node, life, weights_of(fold));
    fold->shift = bl_node_workspace(node, BL_LIFE_KEPT, fold->outputs);
    if (fold->permuted) fold->rows = bl_node_workspace(node, BL_LIFE_SAVED, weights_of(fold));
    if (!bl_node_training(node)) return;
    fold->gradient = bl_node_workspace(node, BL_LIFE_BACKWARD, weights_of(fold));
    if (fold->permuted) fold->drows = bl_node_workspace(node, BL_LIFE_BACKWARD, weights_of(fold));
    fold->dmean = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * fold->features);
    fold->ddeconv = bl_node_workspace(node, BL_LIFE_BACKWARD, fold->matrices * fold->features * fold->features);
}

int bl_fold_prepare(struct bl_fold *fold) {
    struct {
        const char *name;
        struct bl_kernel **kernel;
    } wanted[] = {
        {"to_rows", &fold->to_rows},
        {"fold_bias", &fold->fold_bias},
        {"from_rows", &fold->from_rows},
        {"subtract_mean", &fold->subtract_mean},
        {"mean_gradient", &fold->mean_gradient},
    };
    const struct bl_define defines[] = {{"VEC", bl_vec(fold->node->dev, fold->features)}};
    int code = 0;
    for (int i = 0; i < (bl_node_training(fold->node) ? BL_COUNT(wanted) : 2) && !code; i++)
        code = bl_kernel_get(fold->node->dev, "nd_fold", wanted[i].name, defines, 1, wanted[i].kernel);
    return code;
}

bool bl_fold_is_current(struct bl_fold *fold, const struct bl_run *run) {
    bool current = !run->training && fold->kept && fold->version == run->weights_version;
    fold->kept = !run->training;
    fold->version = run->weights_version;
    return current;
}

/* Items over outputs; lanes: also over features, where an item does not need its whole row. */
static struct bl_range over_outputs(const struct bl_fold *fold, bool lanes) {
    int64_t vectors = fold->features / bl_vec(fold->node->dev, fold->features);
    return bl_share_rows(fold->node->dev, lanes ? vectors : 1, fold->outputs, 8 * fold->interleave * fold->features);
}

#define SIZES(fold) BL_I32((fold)->outputs), BL_I32((fold)->interleave), BL_I32((fold)->features)

static struct bl_mem *rows_of(const struct bl_fold *fold) {
    return fold->permuted ? fold->rows->mem : fold->weight->data.mem;
}

/* C = A B for the rows of every matrix, where A and C are rows of weights and B is D. */
static int times_deconv(const struct bl_fold *fold, struct bl_mem *a, struct bl_mem *c) {
    int64_t f = fold->features, rows = fold->outputs / fold->matrices * fold->interleave;
    struct bl_gemm product = {
        .m = rows,
        .n = f,
        .k = f,
        .alpha = 1,
        .a = a,
        .b = bl_whitening_deconv(fold->whitening),
        .c = c,
        .lda = f,
        .ldb = f,
        .ldc = f,
        .batch = (int)fold->matrices,
        .stride_a = rows * f,
        .stride_b = f * f,
        .stride_c = rows * f,
    };
    return bl_gemm(fold->node->dev, &product);
}

int bl_fold_forward(struct bl_fold *fold, const struct bl_run *run) {
    int code = 0;
    if (fold->permuted)
        code = bl_launch(fold->to_rows, over_outputs(fold, true), BL_MEM(fold->weight->data.mem), SIZES(fold),
                         BL_MEM(fold->rows->mem));
    if (!code) code = times_deconv(fold, rows_of(fold), fold->folded->mem);
    if (code) return code;
    return bl_launch(fold->fold_bias, over_outputs(fold, false), BL_MEM(fold->folded->mem),
                     BL_MEM(bl_whitening_mean(fold->whitening)), BL_MEM(fold->bias->data.mem), SIZES(fold),
                     BL_I32(fold->matrices), BL_MEM(fold->shift->mem));
}

static int whitening_gradients(struct bl_fold *fold) {
    int64_t f = fold->features, rows = fold->outputs / fold->matrices * fold->interleave,
            vectors = f / bl_vec(fold->node->dev, f);
    struct bl_range range = bl_on_cpu(fold->node->dev) ? BL_GROUPS1((size_t)vectors, (size_t)fold->matrices)
                                                       : BL_ITEMS((size_t)vectors, (size_t)fold->matrices);
    int code = bl_launch(fold->mean_gradient, range, BL_MEM(fold->folded->mem), BL_MEM(fold->bias->grad.mem),
                         SIZES(fold), BL_I32(fold->matrices), BL_MEM(fold->dmean->mem));
    if (code) return code;
    struct bl_gemm product = {
        .trans_a = true,
        .m = f,
        .n = f,
        .k = rows,
        .alpha = 1,
        .a = rows_of(fold),
        .b = fold->gradient->mem,
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

int bl_fold_backward(struct bl_fold *fold, const struct bl_run *run) {
    int code = bl_launch(fold->subtract_mean, over_outputs(fold, true), BL_MEM(fold->bias->grad.mem),
                         BL_MEM(bl_whitening_mean(fold->whitening)), SIZES(fold), BL_I32(fold->matrices),
                         BL_MEM(fold->gradient->mem));
    if (!code && bl_whitening_has_backward(fold->whitening)) code = whitening_gradients(fold);
    if (!code)
        code = times_deconv(fold, fold->gradient->mem, fold->permuted ? fold->drows->mem : fold->weight->grad.mem);
    if (code || !fold->permuted) return code;
    return bl_launch(fold->from_rows, over_outputs(fold, true), BL_MEM(fold->drows->mem), SIZES(fold),
                     BL_MEM(fold->weight->grad.mem));
}
