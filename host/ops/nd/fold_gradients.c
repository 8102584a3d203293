/* What folding hands back elsewhere than on CPUs, in as few launches as there can be (kernels/nd/fold_gradients.cl). */
#include "blas/blas.h"
#include "ops/common.h"
#include "ops/nd/fold.h"

/* dW = (G - db m^T) D: of rows, or in the parameter's order, a product for each g. */
static struct bl_product weight_product(const struct bl_fold *fold) {
    const int64_t f = fold->features, g = fold->interleave, rows = fold->outputs / fold->matrices;
    const bool many = g > 1; // one matrix then
    return (struct bl_product){.pair = {.m = rows,
                                        .n = f,
                                        .k = f,
                                        .a = fold->gradient->mem,
                                        .b = fold->step.deconv,
                                        .lda = g * f,
                                        .ldb = f,
                                        .ldc = g * f,
                                        .batch = (int)(many ? g : fold->matrices),
                                        .stride_a = many ? f : rows * f,
                                        .stride_b = many ? 0 : f * f,
                                        .stride_c = many ? 1 : rows * f},
                               .result = {{.to = fold->weight->grad.mem, .alpha = 1}},
                               .step_c = g,
                               .u = fold->bias->grad.mem,
                               .v = fold->step.mean,
                               .stride_u = many ? 0 : rows,
                               .stride_v = many ? 0 : f};
}

/* dD = (W^T dW' + dW'^T W)/2, summed over the rows of one g after the other. */
static struct bl_product deconv_product(struct bl_fold *fold) {
    const int64_t f = fold->features, g = fold->interleave, rows = fold->outputs / fold->matrices;
    struct bl_mem *weight = fold->permuted ? fold->rows->mem : fold->weight->data.mem;
    return (struct bl_product){.pair = {.trans_a = true,
                                        .symmetric = true,
                                        .m = f,
                                        .n = f,
                                        .k = rows,
                                        .a = weight,
                                        .b = fold->gradient->mem,
                                        .lda = g * f,
                                        .ldb = g * f,
                                        .ldc = f,
                                        .batch = (int)fold->matrices,
                                        .stride_a = rows * g * f,
                                        .stride_b = rows * g * f,
                                        .stride_c = f * f},
                               .a2 = fold->gradient->mem,
                               .b2 = weight,
                               .result = {{.to = fold->ddeconv->mem, .alpha = 0.5f}},
                               .with = fold->step.deconv,
                               .dots = fold->products->mem,
                               .shares = &fold->shares,
                               .u = fold->bias->grad.mem,
                               .v = fold->step.mean,
                               .stride_u = rows,
                               .stride_v = f,
                               .runs = g,
                               .run_stride = f};
}

/* Whether the weights' rows are numbered as the products number them. */
static bool is_ordered(const struct bl_fold *fold) {
    return fold->interleave == 1 || (fold->permuted && fold->matrices == 1);
}

bool bl_fold_gradients_serve(const struct bl_fold *fold) {
    const struct bl_nd_step *step = &fold->step;
    return !bl_on_cpu(fold->node->dev) && is_ordered(fold) && step->weights == BL_ND_OF_PARAMETER &&
           (!step->backward || step->action == BL_ND_EXACT);
}

static bool is_alike(const struct bl_product_tile *a, const struct bl_product_tile *b) {
    return a && a->cols == b->cols && a->rows == b->rows && a->tile == b->tile;
}

/* The first that the kernel takes of those that dD may have. Where dW takes the same by rule, it is computed in the
 * same launch; large ones have larger tiles. */
int bl_fold_gradients_prepare(struct bl_fold *fold) {
    struct blanch_device *dev = fold->node->dev;
    if (bl_on_cpu(dev) || !is_ordered(fold)) return 0;
    const struct bl_gemm weight = weight_product(fold).pair, deconv = deconv_product(fold).pair;
    const struct bl_product_tile *t = bl_product_tile(dev, &deconv, NULL);
    for (; t; t = bl_product_tile(dev, &deconv, t)) {
        fold->gradients.tile = t;
        fold->gradients.weight = is_alike(bl_product_tile(dev, &weight, NULL), t);
        const struct bl_define defines[] = {{"DW", fold->gradients.weight},
                                            {"COLS", t->cols},
                                            {"ROWS", t->rows},
                                            {"TM", t->tile},
                                            {"KC", t->chunk},
                                            {"SPLIT", t->split}};
        int code = bl_kernel_get(dev, "nd/fold_gradients", "fold_gradients", defines, BL_COUNT(defines),
                                 &fold->gradients.kernel);
        if (!code && bl_kernel_items(fold->gradients.kernel) >= bl_product_items(t)) return 0;
        if (code && !(code == BLANCH_EDEVICE && bl_device_refused())) return code;
    }
    return bl_fail(BLANCH_EDEVICE, "kernel fold_gradients: %s allows it no group at all",
                   blanch_device_info(dev)->name);
}

static int64_t batch_of(const struct bl_product *p) {
    return p->pair.batch;
}

/* For the ledger. */
static void count_work(const struct bl_fold *fold, const struct bl_product *weight) {
    const double rows = (double)(fold->outputs * fold->interleave), f = (double)fold->features;
    const double products = weight ? 2 * rows * f * f : 0, symmetric = 2 * rows * f * (f + 1), mean = 2 * rows * f;
    const int64_t matrix = fold->matrices * fold->features * fold->features,
                  weights = fold->outputs * fold->interleave * fold->features;
    bl_work(fold->node->dev, products + symmetric + mean,
            (uint64_t)(BL_FLOAT_BYTES * ((weight ? 6 : 4) * weights + (weight ? 3 : 2) * matrix)));
}

int bl_fold_gradients(struct bl_fold *fold) {
    struct blanch_device *dev = fold->node->dev;
    const struct bl_product weight = weight_product(fold), deconv = deconv_product(fold);
    const struct bl_product_tile *t = fold->gradients.tile;
    const bool joint = fold->gradients.weight;
    if (!fold->step.backward || !joint) {
        int code = bl_product(dev, &weight);
        if (code || !fold->step.backward) return code;
    }
    const struct bl_product_layout by_weight = bl_product_layout(&weight, t), by_deconv = bl_product_layout(&deconv, t);
    const int64_t of_weight = joint ? by_weight.tiles * batch_of(&weight) : 0,
                  of_deconv = by_deconv.tiles * batch_of(&deconv), items = (int64_t)bl_product_items(t),
                  of_mean = (fold->features + items - 1) / items * fold->parts * fold->matrices;
    const struct bl_range range = {
        .global = {(size_t)((of_weight + of_deconv + of_mean) * t->cols), (size_t)t->rows, (size_t)t->split},
        .local = {(size_t)t->cols, (size_t)t->rows, (size_t)t->split}};
    fold->shares = by_deconv.tiles;
    count_work(fold, joint ? &weight : NULL);
    return bl_launch(fold->gradients.kernel, range, BL_MEM(fold->gradient->mem), BL_MEM(fold->bias->grad.mem),
                     BL_MEM(fold->step.mean), BL_MEM(fold->step.deconv), BL_MEM(deconv.pair.a),
                     BL_MEM(fold->folded->mem), BL_MEM(fold->weight->grad.mem), BL_MEM(fold->ddeconv->mem),
                     BL_MEM(fold->products->mem), BL_MEM(fold->partial->mem), BL_STRUCT(by_weight),
                     BL_STRUCT(by_deconv), BL_I32(of_weight), BL_I32(of_deconv), BL_I32(fold->outputs),
                     BL_I32(fold->interleave), BL_I32(fold->features), BL_I32(fold->matrices), BL_I32(fold->parts));
}

int bl_fold_permuted_gradient(const struct bl_fold *fold) {
    struct bl_product product = weight_product(fold);
    product.u = product.v = NULL; // the mean's part is in the gradient
    return bl_product(fold->node->dev, &product);
}
