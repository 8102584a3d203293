/* AdamW (Loshchilov and Hutter, ICLR 2019) as torch.optim.AdamW: w *= 1 - lr weight_decay; m = b1 m + (1 - b1) g;
 * v = b2 v + (1 - b2) g^2; w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps). */
#include "optim/optim.h"
#include <math.h>

static int check(const struct blanch_update *u) {
    int code = bl_update_check("lr", u->lr, 0, 0);
    if (!code) code = bl_update_check("beta1", u->beta1, 0, 1);
    if (!code) code = bl_update_check("beta2", u->beta2, 0, 1);
    if (!code) code = bl_update_check("eps", u->eps, 0, 0);
    if (!code) code = bl_update_check("weight-decay", u->weight_decay, 0, 0);
    if (!code && (u->nesterov || u->momentum != 0))
        code = bl_fail(BLANCH_EUSAGE, "--momentum and --nesterov are of the optimisers sgd and muon, not of adamw");
    return code;
}

static int update(const struct bl_update_span *span, const struct blanch_update *u, int64_t step) {
    struct bl_update_shape shape = bl_update_shape(span);
    const struct bl_define defines[] = {{"VEC", shape.vec}};
    double b1 = (double)u->beta1, b2 = (double)u->beta2, lr = (double)u->lr;
    struct bl_kernel *kernel;
    int code = bl_kernel_get(span->dev, "adamw", "adamw", defines, BL_COUNT(defines), &kernel);
    if (code) return code;
    bl_update_passes(span, 7);
    return bl_launch(kernel, shape.range, BL_MEM(span->value), BL_MEM(span->grad), BL_MEM(span->state[0]),
                     BL_MEM(span->state[1]), BL_I64(span->count), BL_I32(shape.chunk),
                     BL_F32(1 - lr * (double)u->weight_decay), BL_F32(b1), BL_F32(b2),
                     BL_F32(lr / (1 - pow(b1, (double)step))), BL_F32(1 / sqrt(1 - pow(b2, (double)step))),
                     BL_F32(u->eps), BL_MEM(span->skip));
}

const struct bl_optimiser bl_optimiser_adamw = {
    .name = "adamw",
    .states = 2,
    .state_name = {"exp_avg", "exp_avg_sq"},
    .defaults = {.lr = 1e-3f, .weight_decay = 1e-2f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
    .check = check,
    .update = update,
};
