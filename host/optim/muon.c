/* Muon (Jordan et al., 2024) as torch.optim.Muon(adjust_lr_fn="match_rms_adamw"), of weights as matrices, O x C·kh·kw:
 * b += (1 - momentum) (g - b); X = b, or g + momentum (b - g) by Nesterov; X /= max(|X|, 1e-7); five times
 * X = 3.4445 X + (-4.775 A + 2.0315 A A) X with A = X X', on the shorter side; w *= 1 - lr weight_decay;
 * w -= 0.2 lr sqrt(max(rows, columns)) X. What is no matrix, and the classifier, AdamW updates, with the same rate and
 * decay. */
#include "blas/blas.h"
#include "optim/optim.h"
#include <math.h>

enum { ITERATIONS = 5 };

static int check(const struct blanch_update *u) {
    int code = bl_update_check("lr", u->lr, 0, 0);
    if (!code) code = bl_update_check("momentum", u->momentum, 0, 1);
    if (!code) code = bl_update_check("beta1", u->beta1, 0, 1);
    if (!code) code = bl_update_check("beta2", u->beta2, 0, 1);
    if (!code) code = bl_update_check("eps", u->eps, 0, 0);
    return code ? code : bl_update_check("weight-decay", u->weight_decay, 0, 0);
}

/* --- where things lie in the workspace: X, the next X, A, b A + c A A, sums of squares ------------------ */

struct layout {
    int64_t rows, columns, side, count;       // side: the shorter one
    int64_t x[2], gram, series, sums, floats; // begins
};

static struct layout lay_out(int64_t rows, int64_t columns) {
    struct layout l = {.rows = rows, .columns = columns, .side = rows < columns ? rows : columns};
    l.count = rows * columns;
    l.x[1] = l.count;
    l.gram = 2 * l.count;
    l.series = l.gram + l.side * l.side;
    l.sums = l.series + l.side * l.side;
    l.floats = l.sums + l.count / BL_MOST_ITEMS + BL_MOST_ITEMS; // items, on any device
    return l;
}

static int64_t workspace(int64_t rows, int64_t columns) {
    return lay_out(rows, columns).floats;
}

/* --- the parts of an update ----------------------------------------------------------------------------- */

static int kernel_of(const struct bl_update_span *span, const char *name, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"VEC", 1}};
    return bl_kernel_get(span->dev, "muon", name, defines, BL_COUNT(defines), kernel);
}

static int take_gradient(const struct bl_update_span *span, const struct layout *l, const struct blanch_update *u) {
    const struct bl_spread spread = bl_spread(span->dev, l->count);
    const struct bl_range range = BL_ITEMS((size_t)spread.items);
    struct bl_kernel *gather, *normalise;
    int code = kernel_of(span, "gather", &gather);
    if (!code) code = kernel_of(span, "normalise", &normalise);
    if (!code) bl_update_passes(span, 4);
    if (!code)
        code =
            bl_launch(gather, range, BL_MEM(span->grad), BL_MEM(span->state[0]), BL_MEM(span->workspace),
                      BL_I64(l->sums), BL_SPREAD(spread), BL_F32(u->momentum), BL_I32(u->nesterov), BL_MEM(span->skip));
    if (!code) bl_update_passes(span, 2);
    if (!code) code = bl_launch(normalise, range, BL_MEM(span->workspace), BL_I64(l->sums), BL_SPREAD(spread));
    return code;
}

/* A = X X' or X' X; S = b A + c A A; the next X = a X + S X or a X + X S. */
static int iterate(const struct bl_update_span *span, const struct layout *l, int from) {
    static const float a = 3.4445f, b = -4.775f, c = 2.0315f;
    struct bl_mem *w = span->workspace;
    const bool wide = l->rows <= l->columns;
    const int64_t side = l->side, other = l->rows + l->columns - side, pitch = l->columns;
    const struct bl_gemm gram = {.trans_a = !wide,
                                 .trans_b = wide,
                                 .symmetric = true,
                                 .m = side,
                                 .n = side,
                                 .k = other,
                                 .alpha = 1,
                                 .a = w,
                                 .b = w,
                                 .c = w,
                                 .offset_a = (size_t)l->x[from],
                                 .offset_b = (size_t)l->x[from],
                                 .offset_c = (size_t)l->gram,
                                 .lda = pitch,
                                 .ldb = pitch,
                                 .ldc = side};
    const struct bl_gemm series = {.symmetric = true,
                                   .m = side,
                                   .n = side,
                                   .k = side,
                                   .alpha = c,
                                   .beta = b,
                                   .a = w,
                                   .b = w,
                                   .c = w,
                                   .offset_a = (size_t)l->gram,
                                   .offset_b = (size_t)l->gram,
                                   .offset_c = (size_t)l->series,
                                   .lda = side,
                                   .ldb = side,
                                   .ldc = side,
                                   .init = w,
                                   .offset_init = (size_t)l->gram};
    struct bl_gemm next = {.m = l->rows,
                           .n = l->columns,
                           .k = side,
                           .alpha = 1,
                           .beta = a,
                           .a = w,
                           .b = w,
                           .c = w,
                           .offset_c = (size_t)l->x[!from],
                           .ldc = pitch,
                           .init = w,
                           .offset_init = (size_t)l->x[from]};
    next.offset_a = (size_t)(wide ? l->series : l->x[from]), next.lda = wide ? side : pitch;
    next.offset_b = (size_t)(wide ? l->x[from] : l->series), next.ldb = wide ? pitch : side;
    int code = bl_gemm(span->dev, &gram);
    if (!code) code = bl_gemm(span->dev, &series);
    return code ? code : bl_gemm(span->dev, &next);
}

static int update(const struct bl_update_span *span, const struct blanch_update *u, int64_t step) {
    const struct layout l = lay_out(span->rows, span->columns);
    const double lr = (double)u->lr, longer = (double)(l.rows > l.columns ? l.rows : l.columns);
    struct bl_kernel *apply;
    int code = take_gradient(span, &l, u);
    for (int i = 0; i < ITERATIONS && !code; i++) code = iterate(span, &l, i % 2);
    if (!code) code = kernel_of(span, "apply", &apply);
    if (code) return code;
    const struct bl_spread spread = bl_spread(span->dev, l.count);
    bl_update_passes(span, 3);
    return bl_launch(apply, BL_ITEMS((size_t)spread.items), BL_MEM(span->value), BL_MEM(span->workspace),
                     BL_I64(l.x[ITERATIONS % 2]), BL_SPREAD(spread), BL_F32(1 - lr * (double)u->weight_decay),
                     BL_F32(0.2 * lr * sqrt(longer)), BL_MEM(span->skip));
}

const struct bl_optimiser bl_optimiser_muon = {
    .name = "muon",
    .states = 1,
    .state_name = {"momentum_buffer"},
    .defaults = {.lr = 1e-3f,
                 .momentum = 0.95f,
                 .weight_decay = 0.1f,
                 .nesterov = true,
                 .beta1 = 0.9f,
                 .beta2 = 0.999f,
                 .eps = 1e-8f},
    .check = check,
    .update = update,
    .workspace = workspace,
    .rest = &bl_optimiser_adamw,
};
