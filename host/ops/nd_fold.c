/* Folding: three matrix products a step (W D, dW' D and W^T dW'; the last one only where D is of this batch) and what
 * surrounds them. */
#include "ops/nd_fold.h"
#include "blas/blas.h"
#include "ops/common.h"

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
}

int bl_fold_prepare(struct bl_fold *fold) {
    struct {
        const char *name;
        struct bl_kernel **kernel;
    } wanted[] = {
        {"to_rows", &fold->to_rows},     {"fold_bias", &fold->fold_bias},
        {"from_rows", &fold->from_rows}, {"weight_gradient", &fold->weight_gradient},
        {"sum_parts", &fold->sum_parts},
    };
    const struct bl_define defines[] = {{"VEC", bl_vec(fold->node->dev, fold->features)}};
    int code = 0;
    for (int i = 0; i < (bl_node_training(fold->node) ? BL_COUNT(wanted) : 2) && !code; i++)
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

static struct bl_mem *rows_of(const struct bl_fold *fold) {
    return fold->permuted ? fold->rows->mem : fold->weight->data.mem;
}

/* C = A B for the rows of every matrix, where A and C are rows of weights and B is D. */
static int times_deconv(const struct bl_fold *fold, struct bl_mem *a, struct bl_mem *c) {
    int64_t f = fold->features, rows = fold->outputs / fold->matrices * fold->interleave;
    if (is_own(fold)) return bl_packed_product_multiply(&fold->by_deconv, a, rows, 1, c);
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

static int to_rows(const struct bl_fold *fold) {
    return fold->permuted ? bl_launch(fold->to_rows, over_outputs(fold, true), BL_MEM(fold->weight->data.mem),
                                      SIZES(fold), BL_MEM(fold->rows->mem))
                          : 0;
}

static int fold_weight(const struct bl_fold *fold) {
    int code;
    if (!is_own(fold)) {
        code = to_rows(fold);
        return code ? code : times_deconv(fold, rows_of(fold), fold->folded->mem);
    }
    code = bl_packed_product_pack(&fold->by_deconv, bl_whitening_deconv(fold->whitening), 1);
    return code ? code
                : bl_packed_product_multiply(&fold->by_deconv, fold->weight->data.mem, fold->outputs * fold->interleave,
                                             fold->permuted ? fold->interleave : 1, fold->folded->mem);
}

int bl_fold_forward(struct bl_fold *fold, const struct bl_run *run) {
    int code = fold_weight(fold);
    if (code) return code;
    return bl_launch(fold->fold_bias, over_outputs(fold, false), BL_MEM(fold->folded->mem),
                     BL_MEM(bl_whitening_mean(fold->whitening)), BL_MEM(fold->bias->data.mem), SIZES(fold),
                     BL_I32(fold->matrices), BL_MEM(fold->shift->mem));
}

static int matrix_gradient(struct bl_fold *fold) {
    int code = is_own(fold) ? to_rows(fold) : 0;
    if (code) return code;
    int64_t f = fold->features, rows = fold->outputs / fold->matrices * fold->interleave;
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

/* dW' without the mean's part, the mean's gradient, and <dD, D>. */
static int weight_gradient(struct bl_fold *fold) {
    struct blanch_device *dev = fold->node->dev;
    int64_t units = fold->matrices * fold->parts, count = fold->matrices * fold->features;
    int code =
        bl_launch(fold->weight_gradient, bl_share_rows(dev, vectors_of(fold), units, 12 * weights_of(fold) / units),
                  BL_MEM(fold->folded->mem), BL_MEM(fold->bias->grad.mem), BL_MEM(bl_whitening_mean(fold->whitening)),
                  SIZES(fold), BL_I32(fold->matrices), BL_I32(fold->parts), BL_I32(dots_of(fold) / fold->parts),
                  BL_MEM(fold->gradient->mem), BL_MEM(fold->partial->mem), BL_MEM(fold->dots->mem));
    if (code || !bl_whitening_has_backward(fold->whitening)) return code;
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
    if (!code)
        code = times_deconv(fold, fold->gradient->mem, fold->permuted ? fold->drows->mem : fold->weight->grad.mem);
    if (code || !fold->permuted) return code;
    return bl_launch(fold->from_rows, over_outputs(fold, true), BL_MEM(fold->drows->mem), SIZES(fold),
                     BL_MEM(fold->weight->grad.mem));
}
