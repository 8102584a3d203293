/* Five steps of the iteration as a polynomial of W with six products, the same function to float32: of eigenvalues from
 * 0 to 1 it differs by 1.5e-7 of its value at most, its derivative by 5e-6 (tests/reference/inverse_root.py checks
 * that, and finds the coefficients anew):
 *
 *   X1 = W^2 + .. I              B, C = .. W + .. X1 + .. I
 *   X3 = B C + .. I              X4 = .. X3^2 + .. W + .. B + .. I
 *   X5 = .. X4^2 + .. I          X6 = .. X5^2 + .. I
 *   R = .. W + .. B + .. X5 + .. X6 + .. I
 *   Z_5 = X6 R + .. W + .. B + .. I */
#include "ops/nd/root_form.h"
#include "ops/common.h"

enum { W, B, C, X3, X4, X5, X6, R, ITERATES };
enum { WORK = 5 };

static const struct bl_root_polynomial k = {
    .x1 = -0.112446278f,
    .x3 = 0.866096739f,
    .b = {0.428816061f, -0.280880762f, -0.344077609f},
    .c = {11.2110435f, -6.77101476f, -0.273791865f},
    .x4 = {0.86654786f, -0.648635423f, -3.34870246f, 0.301081168f},
    .x5 = {-0.537502329f, -0.215293985f},
    .x6 = {0.778856722f, -0.748828738f},
    .r = {-4.5376625f, -4.15563784f, 1.85382887f, 0.962331914f, 2.12183006f},
    .z = {-3.84390665f, -4.02830788f, 2.17162666f},
};

static int iterates_of(int n_iter) {
    return ITERATES;
}

/* For the ledger: the next command touches so many sets of matrices. */
static void touch(const struct bl_inverse_root *root, int sets) {
    bl_work(root->node->dev, 0, sizeof(float) * (uint64_t)root->size * (uint64_t)sets);
}

#define SIZES(root)                                                                                                    \
    BL_I32((root)->matrices *(root)->features), BL_I32((root)->features),                                              \
        BL_I32(bl_rows_each((root)->node, (root)->features))

/* B and C of W and X1, or their derivatives of those of both, which have no part of I (unit 0). */
static int combine_first(const struct bl_inverse_root *root, struct bl_mem *w, struct bl_mem *x, float unit,
                         struct bl_mem *b, struct bl_mem *c) {
    touch(root, 4);
    return bl_launch(root->combine_first, bl_over_rows(root->node, root->matrices, root->features, true), BL_MEM(w),
                     BL_MEM(x), BL_F32(k.b.w), BL_F32(k.b.x), BL_F32(unit * k.b.i), BL_F32(k.c.w), BL_F32(k.c.x),
                     BL_F32(unit * k.c.i), SIZES(root), BL_MEM(b), BL_MEM(c));
}

static int combine_last(const struct bl_inverse_root *root, struct bl_mem *const in[4], float unit, struct bl_mem *r) {
    touch(root, 5);
    return bl_launch(root->combine_last, bl_over_rows(root->node, root->matrices, root->features, true), BL_MEM(in[0]),
                     BL_MEM(in[1]), BL_MEM(in[2]), BL_MEM(in[3]), BL_F32(k.r.w), BL_F32(k.r.b), BL_F32(k.r.x5),
                     BL_F32(k.r.x6), BL_F32(unit * k.r.i), SIZES(root), BL_MEM(r));
}

/* B and C of W and X1 = p + unit x1 I, which is left in x unless the product's launch makes both sums. */
static int begin(const struct bl_inverse_root *root, struct bl_symmetric_product p, struct bl_mem *w, float unit,
                 struct bl_mem *x, struct bl_mem *b, struct bl_mem *c) {
    if (!bl_symmetric_has_also(&root->product)) {
        p.alpha = 1, p.gamma = unit * k.x1, p.c = x;
        int code = bl_root_multiply(root, p);
        return code ? code : combine_first(root, w, x, unit, b, c);
    }
    p.d = w, p.alpha = k.b.x, p.beta = k.b.w, p.gamma = unit * (k.b.x * k.x1 + k.b.i), p.c = b;
    p.also = (struct bl_symmetric_also){.to = c, .alpha = k.c.x, .beta = k.c.w, .gamma = unit * (k.c.x * k.x1 + k.c.i)};
    return bl_root_multiply(root, p);
}

/* X6 = x6.square p + unit x6.i I, and R of W, B, X5 and X6 (in). */
static int end(const struct bl_inverse_root *root, struct bl_symmetric_product p, struct bl_mem *const in[4],
               float unit, struct bl_mem *r) {
    p.alpha = k.x6.square, p.gamma = unit * k.x6.i, p.c = in[3];
    if (!bl_symmetric_has_also(&root->product)) {
        int code = bl_root_multiply(root, p);
        return code ? code : combine_last(root, in, unit, r);
    }
    p.d = in[0], p.d2 = in[1];
    p.also = (struct bl_symmetric_also){.to = r,
                                        .d3 = in[2],
                                        .alpha = k.r.x6 * k.x6.square,
                                        .beta = k.r.w,
                                        .beta2 = k.r.b,
                                        .beta3 = k.r.x5,
                                        .gamma = unit * (k.r.x6 * k.x6.i + k.r.i)};
    return bl_root_multiply(root, p);
}

/* Z = p + .., or, where the product's launch can, D and the running buffer. */
static int finish(const struct bl_inverse_root *root, struct bl_symmetric_product p, const struct bl_root_result *to,
                  struct bl_mem **z) {
    *z = p.c = root->last->mem;
    if (to && bl_symmetric_has_also(&root->product)) {
        const float momentum = to->momentum;
        *z = NULL, p.c = to->deconv, p.scales = root->scalars->mem;
        p.also = (struct bl_symmetric_also){.to = to->running,
                                            .d3 = to->running,
                                            .alpha = momentum * p.alpha,
                                            .beta = momentum * p.beta,
                                            .beta2 = momentum * p.beta2,
                                            .beta3 = 1 - momentum,
                                            .gamma = momentum * p.gamma};
    }
    return bl_root_multiply(root, p);
}

static int forward(const struct bl_inverse_root *root, struct bl_mem *squares, const struct bl_root_result *to,
                   struct bl_mem **z) {
    if (root->small.items) return bl_root_small_iterate(root, &k, squares, to, z);
    struct bl_mem *const *at = root->iterate, *w = at[W], *x1 = at[X6]; // X1 has been used by then
    struct bl_mem *from = squares ? root->s->mem : w;
    struct bl_symmetric_product first = {.a = from, .b = from, .squares = squares, .normed = w};
    if (squares) first.scales = root->scalars->mem;
    int code = begin(root, first, from, 1, x1, at[B], at[C]);
    if (!code)
        code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = at[B], .b = at[C], .alpha = 1, .gamma = k.x3, .c = at[X3]));
    if (!code)
        code =
            bl_root_multiply(root, BL_ROOT_PRODUCT(.a = at[X3], .b = at[X3], .alpha = k.x4.square, .beta = k.x4.w,
                                                   .d = w, .beta2 = k.x4.b, .d2 = at[B], .gamma = k.x4.i, .c = at[X4]));
    if (!code)
        code = bl_root_multiply(
            root, BL_ROOT_PRODUCT(.a = at[X4], .b = at[X4], .alpha = k.x5.square, .gamma = k.x5.i, .c = at[X5]));
    if (!code)
        code = end(root, BL_ROOT_PRODUCT(.a = at[X5], .b = at[X5]), (struct bl_mem *[]){w, at[B], at[X5], at[X6]}, 1,
                   at[R]);
    return code ? code
                : finish(root,
                         BL_ROOT_PRODUCT(.a = at[X6], .b = at[R], .alpha = 1, .beta = k.z.w, .d = w, .beta2 = k.z.b,
                                         .d2 = at[B], .gamma = k.z.i),
                         to, z);
}

/* The derivative of alpha X^2. */
static struct bl_symmetric_product square(float alpha, struct bl_mem *x, struct bl_mem *dx, struct bl_mem *out) {
    return BL_ROOT_PRODUCT(.a = x, .b = dx, .a2 = dx, .b2 = x, .alpha = alpha, .c = out);
}

static int backward(const struct bl_inverse_root *root, struct bl_mem *w, struct bl_mem **dz, int *shares) {
    if (root->small.items) return bl_root_small_differentiate(root, &k, w, dz, shares);
    struct bl_mem *const *at = root->iterate, *const *t = root->tangent, *b = t[1];
    int code = begin(root, square(1, at[W], w, t[2]), w, 0, t[2], b, t[3]);
    if (!code)
        code =
            bl_root_multiply(root, BL_ROOT_PRODUCT(.a = b, .b = at[C], .a2 = at[B], .b2 = t[3], .alpha = 1, .c = t[2]));
    if (!code)
        code = bl_root_multiply(root,
                                BL_ROOT_PRODUCT(.a = at[X3], .b = t[2], .a2 = t[2], .b2 = at[X3], .alpha = k.x4.square,
                                                .beta = k.x4.w, .d = w, .beta2 = k.x4.b, .d2 = b, .c = t[3]));
    if (!code) code = bl_root_multiply(root, square(k.x5.square, at[X4], t[3], t[2]));
    if (!code)
        code = end(root, square(k.x6.square, at[X5], t[2], t[3]), (struct bl_mem *[]){w, b, t[2], t[3]}, 0, t[4]);
    *dz = t[2], *shares = 0;
    if (code) return code;
    struct bl_symmetric_product last = {.a = t[3], .b = at[R], .a2 = at[X6], .b2 = t[4], .alpha = 1, .c = *dz};
    last.beta = k.z.w, last.d = w, last.beta2 = k.z.b, last.d2 = b;
    if (bl_symmetric_has_also(&root->product)) last.with = at[W], last.dots = root->dots_w->mem, last.shares = shares;
    return bl_root_multiply(root, last);
}

const struct bl_root_form bl_root_five = {iterates_of, WORK, true, bl_root_small_prepare, forward, backward};
