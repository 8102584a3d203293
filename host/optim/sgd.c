/* Stochastic gradient descent as torch.optim.SGD: v = momentum v + g + weight_decay w, w -= lr v; with Nesterov's
 * momentum w -= lr (g + weight_decay w + momentum v). */
#include "optim/optim.h"

static int check(const struct blanch_update *u) {
    int code = bl_update_check("lr", u->lr, 0, 0);
    if (!code) code = bl_update_check("momentum", u->momentum, 0, 0);
    if (!code) code = bl_update_check("weight-decay", u->weight_decay, 0, 0);
    if (!code && u->nesterov && !(u->momentum > 0))
        code = bl_fail(BLANCH_EUSAGE, "--nesterov needs a --momentum above 0");
    if (!code && (u->beta1 != 0 || u->beta2 != 0 || u->eps != 0))
        code = bl_fail(BLANCH_EUSAGE, "--beta1, --beta2 and --eps are of the optimisers adamw and muon, not of sgd");
    return code;
}

static int update(const struct bl_update_span *span, const struct blanch_update *u, int64_t step) {
    struct bl_update_shape shape = bl_update_shape(span);
    const struct bl_define defines[] = {{"VEC", shape.vec}, {"NESTEROV", u->nesterov}};
    struct bl_kernel *kernel;
    int code = bl_kernel_get(span->dev, "sgd", "sgd", defines, BL_COUNT(defines), &kernel);
    if (code) return code;
    bl_update_passes(span, 5);
    return bl_launch(kernel, shape.range, BL_MEM(span->value), BL_MEM(span->grad), BL_MEM(span->state[0]),
                     BL_I64(span->count), BL_I32(shape.chunk), BL_F32(u->lr), BL_F32(u->momentum),
                     BL_F32(u->weight_decay), BL_MEM(span->skip));
}

static void decay(const struct blanch_update *u, double *value, double *state) {
    double gradient = (double)u->weight_decay * *value;
    *state = (double)u->momentum * *state + gradient;
    *value -= (double)u->lr * (u->nesterov ? gradient + (double)u->momentum * *state : *state);
}

const struct bl_optimiser bl_optimiser_sgd = {
    .name = "sgd",
    .states = 1,
    .state_name = {"momentum_buffer"},
    .defaults = {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 1e-3f},
    .check = check,
    .update = update,
    .decay = decay,
};
