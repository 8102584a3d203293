/* The iteration W_{k+1} = W T^2, Z_{k+1} = T Z with T = (3I - W)/2, two steps at a time: with
 *   X = W^2 - 9/2 W + 27/8 I,  Q = T_{k+1} T_k = X^2/16 - 69/128 W + 1575/1024 I
 * Z_{k+2} = Q Z and W_{k+2} = W Q Q. The gradient is the derivative in the direction of D's gradient, as the derivative
 * of a function of a symmetric matrix is its own adjoint. All results are symmetric: half of each is computed. */
#include "ops/nd/inverse_root.h"
#include "ops/common.h"
#include <stdlib.h>

enum { WORK = 4 }; // matrices of the gradient

/* --- where the iterates lie: W, X, Q, A = W Q, and from the second pair on Z Q; W_0 lies in `s` ----- */

static int at_w(int pair) {
    return pair ? 5 * pair - 1 : 0;
}
static int at_z(int pair) { // Z after a pair
    return at_w(pair) + (pair ? 4 : 2);
}
static int pairs_of(const struct bl_inverse_root *root) {
    return root->n_iter / 2;
}
static bool is_last(const struct bl_inverse_root *root, int pair) {
    return 2 * pair + 2 == root->n_iter;
}
static int iterates_of(const struct bl_inverse_root *root) {
    int pairs = pairs_of(root);
    return root->n_iter % 2 ? at_w(pairs) + 1 : at_w(pairs - 1) + 3;
}

/* Floats from one set of matrices to the next, so that each can be a part of memory. */
static int64_t step_of(const struct bl_inverse_root *root) {
    int64_t align = root->node->dev ? (int64_t)(bl_mem_align(root->node->dev) / sizeof(float)) : 16;
    return (root->size + align - 1) / align * align;
}

void bl_inverse_root_setup(struct bl_inverse_root *root, struct bl_node *node, int matrices, int64_t features,
                           int n_iter, struct bl_tensor *last) {
    root->node = node, root->matrices = matrices, root->features = features, root->n_iter = n_iter, root->last = last;
    root->size = matrices * features * features;
    bl_symmetric_setup(&root->product, node, matrices, features);
    root->s = bl_node_workspace(node, BL_LIFE_PINNED, root->size);
    root->scalars = bl_node_workspace(node, BL_LIFE_PINNED, 4 * (int64_t)matrices);
    root->saved = bl_node_workspace(node, BL_LIFE_SAVED, (iterates_of(root) - 1) * step_of(root));
    root->work = bl_node_workspace(node, BL_LIFE_BACKWARD, WORK * step_of(root));
    root->dots = bl_node_workspace(node, BL_LIFE_BACKWARD, matrices * features);
    root->dots_w = bl_node_workspace(node, BL_LIFE_BACKWARD, matrices * features);
}

static int divide(const struct bl_inverse_root *root, struct bl_mem *mem, int count, struct bl_mem **parts) {
    size_t step = sizeof(float) * (size_t)step_of(root), bytes = sizeof(float) * (size_t)root->size;
    int code = 0;
    for (int i = 0; i < count && !code; i++) code = bl_mem_part(mem, (size_t)i * step, bytes, &parts[i]);
    return code;
}

int bl_inverse_root_prepare(struct bl_inverse_root *root) {
    struct {
        const char *name;
        struct bl_kernel **kernel;
    } wanted[] = {
        {"norm", &root->norm},
        {"scale", &root->scale},
        {"finish", &root->finish},
        {"back_begin", &root->back_begin},
        {"back_dots", &root->back_dots},
        {"back_norm", &root->back_norm},
        {"back_finish", &root->back_finish},
    };
    const struct bl_define vec[] = {{"VEC", bl_vec(root->node->dev, root->features)}};
    int code = bl_symmetric_prepare(&root->product), iterates = iterates_of(root);
    for (int i = 0; i < BL_COUNT(wanted) && !code; i++)
        code = bl_kernel_get(root->node->dev, "nd/inverse_root", wanted[i].name, vec, 1, wanted[i].kernel);
    root->iterate = bl_calloc((size_t)iterates, sizeof(struct bl_mem *));
    root->tangent = bl_calloc(WORK, sizeof(struct bl_mem *));
    if (!root->iterate || !root->tangent) return BLANCH_ENOMEM;
    if (!code) code = bl_mem_part(root->s->mem, 0, bl_tensor_bytes(root->s), &root->iterate[0]);
    if (!code) code = divide(root, root->saved->mem, iterates - 1, root->iterate + 1);
    return code ? code : divide(root, root->work->mem, WORK, root->tangent);
}

void bl_inverse_root_free(struct bl_inverse_root *root) {
    for (int i = 0; root->iterate && i < iterates_of(root); i++) bl_mem_free(root->iterate[i]);
    for (int i = 0; root->tangent && i < WORK; i++) bl_mem_free(root->tangent[i]);
    free(root->iterate);
    free(root->tangent);
}

/* --- launching -------------------------------------------------------------------------------- */

#define SIZES(root)                                                                                                    \
    BL_I32((root)->matrices *(root)->features), BL_I32((root)->features),                                              \
        BL_I32(bl_rows_each((root)->node, (root)->features))

static struct bl_range over_rows(const struct bl_inverse_root *root, bool lanes) {
    return bl_over_rows(root->node, root->matrices, root->features, lanes);
}

/* For the ledger: the next command touches so many sets of matrices. */
static void touch(const struct bl_inverse_root *root, int sets) {
    bl_work(root->node->dev, 0, sizeof(float) * (uint64_t)root->size * (uint64_t)sets);
}

static int multiply(const struct bl_inverse_root *root, struct bl_symmetric_product p) {
    return bl_symmetric_multiply(&root->product, &p);
}

#define PRODUCT(...) ((struct bl_symmetric_product){__VA_ARGS__})

/* --- forward ---------------------------------------------------------------------------------- */

/* X, Q, and where steps follow A = W Q and the next W; Z. */
static int forward_pair(const struct bl_inverse_root *root, int pair, struct bl_mem **z) {
    struct bl_mem *const *at = root->iterate + at_w(pair), *w = at[0], *x = at[1], *q = at[2];
    int code = multiply(root, PRODUCT(.a = w, .b = w, .alpha = 1, .beta = -4.5f, .d = w, .gamma = 3.375f, .c = x));
    if (!code)
        code = multiply(root, PRODUCT(.a = x, .b = x, .alpha = 1.0f / 16, .beta = -69.0f / 128, .d = w,
                                      .gamma = 1575.0f / 1024, .c = q));
    if (!code && !is_last(root, pair)) {
        struct bl_mem *a = at[3], *next = root->iterate[at_w(pair + 1)];
        code = multiply(root, PRODUCT(.a = w, .b = q, .alpha = 1, .c = a));
        if (!code) code = multiply(root, PRODUCT(.a = a, .b = q, .alpha = 1, .c = next));
    }
    if (!pair) {
        *z = q;
        return code;
    }
    struct bl_mem *before = *z;
    *z = is_last(root, pair) ? root->last->mem : root->iterate[at_z(pair)];
    return code ? code : multiply(root, PRODUCT(.a = q, .b = before, .alpha = 1, .c = *z));
}

struct bl_mem *bl_inverse_root_z(const struct bl_inverse_root *root) {
    return root->n_iter == 2 ? root->iterate[at_z(0)] : root->last->mem;
}

int bl_inverse_root_iterate_again(struct bl_inverse_root *root) {
    struct bl_mem *z = NULL;
    int code = 0, pairs = pairs_of(root);
    for (int pair = 0; pair < pairs && !code; pair++) code = forward_pair(root, pair, &z);
    if (code || root->n_iter % 2 == 0) return code;
    struct bl_mem *w = root->iterate[at_w(pairs)], *last = root->last->mem;
    return z ? multiply(root, PRODUCT(.a = w, .b = z, .alpha = -0.5f, .beta = 1.5f, .d = z, .c = last))
             : bl_symmetric_affine(&root->product, -0.5f, w, 1.5f, last);
}

int bl_inverse_root_iterate(struct bl_inverse_root *root, struct bl_mem *squares) {
    int code =
        bl_launch_light(root->node->dev, root->norm, bl_over_matrices(root->node, root->matrices), BL_MEM(squares),
                        BL_I32(root->matrices), BL_I32(root->features), BL_MEM(root->scalars->mem));
    if (code) return code;
    touch(root, 1);
    code = bl_launch(root->scale, over_rows(root, true), BL_MEM(root->s->mem), BL_MEM(root->scalars->mem), SIZES(root));
    return code ? code : bl_inverse_root_iterate_again(root);
}

int bl_inverse_root_finish(const struct bl_inverse_root *root, float momentum, struct bl_mem *deconv,
                           struct bl_mem *running) {
    touch(root, 3);
    return bl_launch(root->finish, over_rows(root, true), BL_MEM(bl_inverse_root_z(root)), BL_MEM(root->scalars->mem),
                     SIZES(root), BL_F32(momentum), BL_MEM(deconv), BL_MEM(running));
}

int bl_inverse_root_read(const struct bl_inverse_root *root, int matrix, float *s) {
    size_t count = (size_t)(root->features * root->features), bytes = sizeof *s * count;
    float norm;
    int code = bl_mem_read(root->scalars->mem, 4 * sizeof norm * (size_t)matrix, sizeof norm, &norm);
    if (!code) code = bl_mem_read(root->s->mem, (size_t)matrix * bytes, bytes, s);
    for (size_t i = 0; i < count && !code; i++) s[i] *= norm;
    return code;
}

/* --- backward --------------------------------------------------------------------------------- */

/* Which memory of the gradient holds the derivatives of W, Q and Z, and which is free. */
struct tangent {
    struct bl_mem *w, *x, *q, *z;
};

static int backward_pair(const struct bl_inverse_root *root, int pair, struct tangent *t) {
    struct bl_mem *const *at = root->iterate + at_w(pair), *w = at[0], *x = at[1], *q = at[2];
    struct bl_mem *dw = t->w, *dx = t->x, *dq = t->q, *dz = t->z;
    int code = multiply(root, PRODUCT(.a = w, .b = dw, .a2 = dw, .b2 = w, .alpha = 1, .beta = -4.5f, .d = dw, .c = dx));
    if (!code)
        code = multiply(root, PRODUCT(.a = x, .b = dx, .a2 = dx, .b2 = x, .alpha = 1.0f / 16, .beta = -69.0f / 128,
                                      .d = dw, .c = dq));
    if (!code && !is_last(root, pair)) {
        struct bl_mem *a = at[3], *da = dx; // X's derivative has been used
        code = multiply(root, PRODUCT(.a = dw, .b = q, .a2 = w, .b2 = dq, .alpha = 1, .c = da));
        if (!code) code = multiply(root, PRODUCT(.a = da, .b = q, .a2 = a, .b2 = dq, .alpha = 1, .c = dw));
    }
    if (!code && pair) {
        struct bl_mem *z = root->iterate[at_z(pair - 1)];
        code = multiply(root, PRODUCT(.a = dq, .b = z, .a2 = q, .b2 = dz, .alpha = 1, .c = dx));
        t->x = dz, t->z = dx;
    } else {
        t->q = dz, t->z = dq;
    }
    return code;
}

/* The derivative of the single step that follows the pairs of an odd number. */
static int backward_single(const struct bl_inverse_root *root, struct tangent *t) {
    int pairs = pairs_of(root);
    struct bl_mem *w = root->iterate[at_w(pairs)], *out = t->x, *dz = t->z;
    t->z = out;
    if (!pairs) return bl_symmetric_affine(&root->product, -0.5f, t->w, 0, out);
    struct bl_mem *z = root->iterate[at_z(pairs - 1)];
    return multiply(root,
                    PRODUCT(.a = t->w, .b = z, .a2 = w, .b2 = dz, .alpha = -0.5f, .beta = 1.5f, .d = dz, .c = out));
}

int bl_inverse_root_backward(struct bl_inverse_root *root, struct bl_mem *ddeconv, struct bl_mem *deconv, int taps,
                             bool depthwise, struct bl_mem *sbar) {
    struct bl_range rows = over_rows(root, false);
    struct tangent t = {root->tangent[0], root->tangent[1], root->tangent[2], root->tangent[3]};
    touch(root, 3);
    int code = bl_launch(root->back_begin, rows, BL_MEM(ddeconv), BL_MEM(deconv), BL_MEM(root->scalars->mem),
                         SIZES(root), BL_MEM(t.w), BL_MEM(root->dots->mem));
    for (int pair = 0; pair < pairs_of(root) && !code; pair++) code = backward_pair(root, pair, &t);
    if (!code && root->n_iter % 2) code = backward_single(root, &t);
    if (code) return code;
    touch(root, 2);
    code = bl_launch(root->back_dots, rows, BL_MEM(t.z), BL_MEM(root->s->mem), SIZES(root), BL_MEM(root->dots_w->mem));
    if (!code)
        code = bl_launch_light(root->node->dev, root->back_norm, bl_over_matrices(root->node, root->matrices),
                               BL_MEM(root->dots_w->mem), BL_MEM(root->dots->mem), BL_I32(root->matrices),
                               BL_I32(root->features), BL_MEM(root->scalars->mem));
    if (code) return code;
    touch(root, 3);
    return bl_launch(root->back_finish, rows, BL_MEM(t.z), BL_MEM(root->s->mem), BL_MEM(root->scalars->mem),
                     BL_I32(root->matrices), BL_I32(root->features / taps), BL_I32(taps), BL_I32(depthwise),
                     BL_I32(bl_rows_each(root->node, root->features)), BL_MEM(sbar));
}
