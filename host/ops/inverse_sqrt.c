/* The iteration W_{k+1} = W T^2, Z_{k+1} = T Z with T = (3I - W)/2, two steps at a time: with
 *   X = W^2 - 9/2 W + 27/8 I,  Q = T_{k+1} T_k = X^2/16 - 69/128 W + 1575/1024 I
 * Z_{k+2} = Q Z and W_{k+2} = W Q Q. The gradient is the derivative in the direction of D's gradient, as the derivative
 * of a function of a symmetric matrix is its own adjoint. All results are symmetric: half of each is computed. */
#include "ops/inverse_sqrt.h"
#include "blas/blas.h"
#include "ops/common.h"

enum { BLOCK = 144, WORK = 4 }; // most rows of a block of a product; matrices of the gradient

struct operand {
    struct bl_tensor *tensor;
    int slot;
};
static const struct operand none;

/* --- where the matrices lie: W, X, Q, A = W Q, and from the second pair on Z Q ------------------ */

static int slot_w(int pair) {
    return pair ? 5 * pair - 1 : 0;
}
static int slot_z(int pair) { // Z after a pair
    return slot_w(pair) + (pair ? 4 : 2);
}
static int pairs_of(const struct bl_inverse_sqrt *root) {
    return root->n_iter / 2;
}
static bool is_last(const struct bl_inverse_sqrt *root, int pair) {
    return 2 * pair + 2 == root->n_iter;
}

void bl_inverse_sqrt_setup(struct bl_inverse_sqrt *root, struct bl_node *node, int matrices, int64_t features,
                           int n_iter, struct bl_tensor *last) {
    root->node = node, root->matrices = matrices, root->features = features, root->n_iter = n_iter, root->last = last;
    root->size = matrices * features * features;
    root->vec = bl_vec(node->dev, features);
    int pairs = n_iter / 2, slots = n_iter % 2 ? slot_w(pairs) + 1 : slot_w(pairs - 1) + 3;
    root->saved = bl_node_workspace(node, BL_LIFE_SAVED, slots * root->size);
    root->scalars = bl_node_workspace(node, BL_LIFE_SAVED, 4 * (int64_t)matrices);
    root->work = bl_node_workspace(node, BL_LIFE_BACKWARD, WORK * root->size);
    root->dots = bl_node_workspace(node, BL_LIFE_BACKWARD, matrices * features);
    root->dots_w = bl_node_workspace(node, BL_LIFE_BACKWARD, matrices * features);
}

int bl_inverse_sqrt_prepare(struct bl_inverse_sqrt *root) {
    struct {
        const char *name;
        struct bl_kernel **kernel;
    } wanted[] = {
        {"norm", &root->norm},
        {"scale", &root->scale},
        {"affine", &root->affine},
        {"finish", &root->finish},
        {"back_begin", &root->back_begin},
        {"back_dots", &root->back_dots},
        {"back_norm", &root->back_norm},
        {"back_finish", &root->back_finish},
    };
    const struct bl_define vec[] = {{"VEC", root->vec}};
    const struct bl_define tile[] = {{"TM", bl_tile_rows(root->node->dev)}};
    int code = bl_kernel_get(root->node->dev, "nd_product", "symmetric_product", tile, BL_COUNT(tile), &root->product);
    for (int i = 0; i < BL_COUNT(wanted) && !code; i++)
        code = bl_kernel_get(root->node->dev, "nd_inverse_sqrt", wanted[i].name, vec, 1, wanted[i].kernel);
    return code;
}

/* --- launching -------------------------------------------------------------------------------- */

int bl_rows_each(const struct bl_node *node, int64_t features) {
    if (!bl_on_cpu(node->dev)) return 1;
    int64_t each = 16384 / features;
    return each < 16 ? 16 : (int)each;
}

struct bl_range bl_over_rows(const struct bl_node *node, int64_t matrices, int64_t features, bool lanes) {
    int64_t rows = matrices * features, each = bl_rows_each(node, features);
    size_t items = (size_t)((rows + each - 1) / each);
    if (bl_on_cpu(node->dev)) return BL_GROUPS1(1, items);
    return BL_ITEMS(lanes ? (size_t)(features / bl_vec(node->dev, features)) : 1, items);
}

struct bl_range bl_over_matrices(const struct bl_node *node, int64_t matrices) {
    return bl_on_cpu(node->dev) ? BL_GROUPS1((size_t)matrices) : BL_ITEMS((size_t)matrices);
}

#define AT(root, operand) BL_I64((operand).slot *(root)->size)
#define SIZES(root)                                                                                                    \
    BL_I32((root)->matrices *(root)->features), BL_I32((root)->features),                                              \
        BL_I32(bl_rows_each((root)->node, (root)->features))

/* For the ledger: the next command touches so many sets of matrices of the stacks that it is given. */
static void touch(const struct bl_inverse_sqrt *root, double operations, int sets) {
    bl_work(root->node->dev, operations, 4 * (uint64_t)root->size * (uint64_t)sets);
}

/* out = alpha in + gamma I. */
static int affine(const struct bl_inverse_sqrt *root, float alpha, struct operand in, float gamma, struct operand out) {
    touch(root, 0, 2);
    return bl_launch(root->affine, bl_over_rows(root->node, root->matrices, root->features, true),
                     BL_MEM(in.tensor->mem), AT(root, in), BL_F32(alpha), BL_F32(gamma), SIZES(root),
                     BL_MEM(out.tensor->mem), AT(root, out));
}

struct product {
    struct operand a, b, a2, b2; // a2 without a tensor: one pair alone
    float alpha, beta, gamma;
    struct operand d, c;
};

/* C = alpha (A B + A2 B2) + beta D + gamma I, half of it computed. */
static int multiply_own(const struct bl_inverse_sqrt *root, const struct product *p) {
    int64_t n = root->features, want = 5 * (int64_t)blanch_device_info(root->node->dev)->compute_units;
    int64_t strips = (n + 15) / 16, down = (n + BLOCK - 1) / BLOCK;
    while (down < 12 && down < strips && down * (down + 1) / 2 * root->matrices < want) down++;
    int64_t wide = (strips + down - 1) / down;
    down = (strips + wide - 1) / wide;
    int64_t each = n <= 32 ? (root->matrices + want - 1) / want : 1; // a launch of a few items for very small ones
    struct bl_range range = BL_GROUPS1((size_t)(down * (down + 1) / 2), (size_t)((root->matrices + each - 1) / each));
    struct operand a2 = p->a2.tensor ? p->a2 : p->a, b2 = p->a2.tensor ? p->b2 : p->b, d = p->beta != 0 ? p->d : p->c;
    bool square = p->a.tensor == p->b.tensor && p->a.slot == p->b.slot;
    double products = p->a2.tensor ? 2 : 1;
    touch(root, products * (double)root->size * (double)(n + 1), (int)(2 * products) + (p->beta != 0) + 1 - square);
    return bl_launch(root->product, range, BL_MEM(p->a.tensor->mem), BL_MEM(p->b.tensor->mem), BL_MEM(a2.tensor->mem),
                     BL_MEM(b2.tensor->mem), BL_MEM(d.tensor->mem), BL_MEM(p->c.tensor->mem), AT(root, p->a),
                     AT(root, p->b), AT(root, a2), AT(root, b2), AT(root, d), AT(root, p->c),
                     BL_I32(p->a2.tensor ? 2 : 1), BL_I32(n), BL_I32(root->matrices), BL_I32(each), BL_I32(16 * wide),
                     BL_F32(p->alpha), BL_F32(p->beta), BL_F32(p->gamma));
}

/* The same with general products. */
static int multiply_blas(const struct bl_inverse_sqrt *root, const struct product *p) {
    int64_t f = root->features;
    struct bl_gemm g = {
        .symmetric = !p->a2.tensor,
        .m = f,
        .n = f,
        .k = f,
        .alpha = p->alpha,
        .beta = p->beta,
        .lda = f,
        .ldb = f,
        .ldc = f,
        .a = p->a.tensor->mem,
        .b = p->b.tensor->mem,
        .c = p->c.tensor->mem,
        .init = p->beta != 0 ? p->d.tensor->mem : NULL,
        .offset_a = (size_t)(p->a.slot * root->size),
        .offset_b = (size_t)(p->b.slot * root->size),
        .offset_c = (size_t)(p->c.slot * root->size),
        .offset_init = (size_t)(p->d.slot * root->size),
        .batch = root->matrices,
        .stride_a = f * f,
        .stride_b = f * f,
        .stride_c = f * f,
    };
    int code = bl_gemm(root->node->dev, &g);
    if (!code && p->a2.tensor) {
        g.a = p->a2.tensor->mem, g.offset_a = (size_t)(p->a2.slot * root->size);
        g.b = p->b2.tensor->mem, g.offset_b = (size_t)(p->b2.slot * root->size);
        g.beta = 1, g.init = NULL;
        code = bl_gemm(root->node->dev, &g);
    }
    return code || p->gamma == 0 ? code : affine(root, 1, p->c, p->gamma, p->c);
}

static int multiply(const struct bl_inverse_sqrt *root, const struct product *p) {
    return bl_on_cpu(root->node->dev) ? multiply_own(root, p) : multiply_blas(root, p);
}

/* --- forward ---------------------------------------------------------------------------------- */

/* X, Q, and where steps follow A = W Q and the next W; Z. */
static int forward_pair(const struct bl_inverse_sqrt *root, int pair, struct operand *z) {
    struct operand w = {root->saved, slot_w(pair)}, x = {root->saved, w.slot + 1}, q = {root->saved, w.slot + 2};
    int code =
        multiply(root, &(struct product){.a = w, .b = w, .alpha = 1, .beta = -4.5f, .d = w, .gamma = 3.375f, .c = x});
    if (!code)
        code = multiply(
            root,
            &(struct product){
                .a = x, .b = x, .alpha = 1.0f / 16, .beta = -69.0f / 128, .d = w, .gamma = 1575.0f / 1024, .c = q});
    if (!code && !is_last(root, pair)) {
        struct operand a = {root->saved, w.slot + 3}, next = {root->saved, slot_w(pair + 1)};
        code = multiply(root, &(struct product){.a = w, .b = q, .alpha = 1, .c = a});
        if (!code) code = multiply(root, &(struct product){.a = a, .b = q, .alpha = 1, .c = next});
    }
    if (!pair) {
        *z = q;
        return code;
    }
    struct operand before = *z;
    *z = is_last(root, pair) ? (struct operand){root->last, 0} : (struct operand){root->saved, slot_z(pair)};
    return code ? code : multiply(root, &(struct product){.a = q, .b = before, .alpha = 1, .c = *z});
}

int bl_inverse_sqrt_forward(struct bl_inverse_sqrt *root, struct bl_mem *squares, float momentum, struct bl_mem *deconv,
                            struct bl_mem *running) {
    struct bl_range rows = bl_over_rows(root->node, root->matrices, root->features, true);
    bl_work(root->node->dev, 0, 0);
    int code = bl_launch(root->norm, bl_over_matrices(root->node, root->matrices), BL_MEM(squares),
                         BL_I32(root->matrices), BL_I32(root->features), BL_MEM(root->scalars->mem));
    if (!code) touch(root, 0, 1);
    if (!code) code = bl_launch(root->scale, rows, BL_MEM(root->saved->mem), BL_MEM(root->scalars->mem), SIZES(root));
    struct operand z = none;
    for (int pair = 0; pair < pairs_of(root) && !code; pair++) code = forward_pair(root, pair, &z);
    if (!code && root->n_iter % 2) {
        struct operand w = {root->saved, slot_w(pairs_of(root))}, last = {root->last, 0};
        code = z.tensor
                   ? multiply(root, &(struct product){.a = w, .b = z, .alpha = -0.5f, .beta = 1.5f, .d = z, .c = last})
                   : affine(root, -0.5f, w, 1.5f, last);
        z = last;
    }
    if (code) return code;
    touch(root, 0, 3);
    return bl_launch(root->finish, rows, BL_MEM(z.tensor->mem), AT(root, z), BL_MEM(root->scalars->mem), SIZES(root),
                     BL_F32(momentum), BL_MEM(deconv), BL_MEM(running));
}

/* --- backward --------------------------------------------------------------------------------- */

/* Slots of `work` that hold the derivatives of W, Q and Z, and one that is free. */
struct tangent {
    int w, x, q, z;
};

static int backward_pair(const struct bl_inverse_sqrt *root, int pair, struct tangent *t) {
    struct operand w = {root->saved, slot_w(pair)}, x = {root->saved, w.slot + 1}, q = {root->saved, w.slot + 2};
    struct operand dw = {root->work, t->w}, dx = {root->work, t->x}, dq = {root->work, t->q};
    int code = multiply(
        root, &(struct product){.a = w, .b = dw, .a2 = dw, .b2 = w, .alpha = 1, .beta = -4.5f, .d = dw, .c = dx});
    if (!code)
        code = multiply(
            root, &(struct product){
                      .a = x, .b = dx, .a2 = dx, .b2 = x, .alpha = 1.0f / 16, .beta = -69.0f / 128, .d = dw, .c = dq});
    if (!code && !is_last(root, pair)) {
        struct operand a = {root->saved, w.slot + 3}, da = dx; // X's derivative has been used
        code = multiply(root, &(struct product){.a = dw, .b = q, .a2 = w, .b2 = dq, .alpha = 1, .c = da});
        if (!code) code = multiply(root, &(struct product){.a = da, .b = q, .a2 = a, .b2 = dq, .alpha = 1, .c = dw});
    }
    if (!code && pair) {
        struct operand z = {root->saved, slot_z(pair - 1)}, dz = {root->work, t->z};
        code = multiply(root, &(struct product){.a = dq, .b = z, .a2 = q, .b2 = dz, .alpha = 1, .c = dx});
        t->x = dz.slot, t->z = dx.slot;
    } else {
        t->q = t->z, t->z = dq.slot;
    }
    return code;
}

int bl_inverse_sqrt_backward(struct bl_inverse_sqrt *root, struct bl_mem *ddeconv, struct bl_mem *deconv, int taps,
                             bool depthwise, struct bl_mem *sbar) {
    struct bl_range rows = bl_over_rows(root->node, root->matrices, root->features, false);
    struct tangent t = {0, 1, 2, 3};
    int pairs = pairs_of(root);
    touch(root, 0, 3);
    int code = bl_launch(root->back_begin, rows, BL_MEM(ddeconv), BL_MEM(deconv), BL_MEM(root->scalars->mem),
                         SIZES(root), BL_MEM(root->work->mem), BL_MEM(root->dots->mem));
    for (int pair = 0; pair < pairs && !code; pair++) code = backward_pair(root, pair, &t);
    if (!code && root->n_iter % 2) {
        struct operand w = {root->saved, slot_w(pairs)}, dw = {root->work, t.w}, dz = {root->work, t.z},
                       out = {root->work, t.x};
        struct operand z = {root->saved, pairs ? slot_z(pairs - 1) : 0};
        code = pairs
                   ? multiply(root,
                              &(struct product){
                                  .a = dw, .b = z, .a2 = w, .b2 = dz, .alpha = -0.5f, .beta = 1.5f, .d = dz, .c = out})
                   : affine(root, -0.5f, dw, 0, out);
        t.z = out.slot;
    }
    if (code) return code;
    struct operand wbar = {root->work, t.z};
    touch(root, 0, 2);
    code = bl_launch(root->back_dots, rows, BL_MEM(root->work->mem), AT(root, wbar), BL_MEM(root->saved->mem),
                     SIZES(root), BL_MEM(root->dots_w->mem));
    bl_work(root->node->dev, 0, 0);
    if (!code)
        code = bl_launch(root->back_norm, bl_over_matrices(root->node, root->matrices), BL_MEM(root->dots_w->mem),
                         BL_MEM(root->dots->mem), BL_I32(root->matrices), BL_I32(root->features),
                         BL_MEM(root->scalars->mem));
    if (code) return code;
    touch(root, 0, 3);
    return bl_launch(root->back_finish, rows, BL_MEM(root->work->mem), AT(root, wbar), BL_MEM(root->saved->mem),
                     BL_MEM(root->scalars->mem), BL_I32(root->matrices), BL_I32(root->features / taps), BL_I32(taps),
                     BL_I32(depthwise), BL_I32(bl_rows_each(root->node, root->features)), BL_MEM(sbar));
}
