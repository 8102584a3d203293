/* The iteration W_{k+1} = W T^2, Z_{k+1} = T Z with T = (3I - W)/2, two steps at a time: with
 *   X = W^2 - 9/2 W + 27/8 I,  Q = T_{k+1} T_k = X^2/16 - 69/128 W + 1575/1024 I
 * Z_{k+2} = Q Z and W_{k+2} = W Q Q. */
#include "ops/nd/root_form.h"

enum { WORK = 4 };

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
static int iterates_of(int n_iter) {
    int pairs = n_iter / 2;
    return n_iter % 2 ? at_w(pairs) + 1 : at_w(pairs - 1) + 3;
}

/* --- forward ---------------------------------------------------------------------------------- */

/* X, Q, and where steps follow A = W Q and the next W; Z. */
static int forward_pair(const struct bl_inverse_root *root, int pair, struct bl_mem **z) {
    struct bl_mem *const *at = root->iterate + at_w(pair), *w = at[0], *x = at[1], *q = at[2];
    int code = bl_root_multiply(
        root, BL_ROOT_PRODUCT(.a = w, .b = w, .alpha = 1, .beta = -4.5f, .d = w, .gamma = 3.375f, .c = x));
    if (!code)
        code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = x, .b = x, .alpha = 1.0f / 16, .beta = -69.0f / 128, .d = w,
                                                      .gamma = 1575.0f / 1024, .c = q));
    if (!code && !is_last(root, pair)) {
        struct bl_mem *a = at[3], *next = root->iterate[at_w(pair + 1)];
        code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = w, .b = q, .alpha = 1, .c = a));
        if (!code) code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = a, .b = q, .alpha = 1, .c = next));
    }
    if (!pair) {
        *z = q;
        return code;
    }
    struct bl_mem *before = *z;
    *z = is_last(root, pair) ? root->last->mem : root->iterate[at_z(pair)];
    return code ? code : bl_root_multiply(root, BL_ROOT_PRODUCT(.a = q, .b = before, .alpha = 1, .c = *z));
}

/* -A/2 + gamma I. */
static int add_unit(const struct bl_inverse_root *root, struct bl_mem *a, float gamma, struct bl_mem *c) {
    bl_work(root->node->dev, 0, sizeof(float) * (uint64_t)root->size * 2);
    return bl_launch(root->add_unit, bl_over_rows(root->node, root->matrices, root->features, true), BL_MEM(a),
                     BL_F32(-0.5f), BL_F32(gamma), BL_I32(root->matrices * root->features), BL_I32(root->features),
                     BL_I32(bl_rows_each(root->node, root->features)), BL_MEM(c));
}

static int forward(const struct bl_inverse_root *root, struct bl_mem *squares, const struct bl_root_result *to,
                   struct bl_mem **result) {
    struct bl_mem *z = NULL;
    int code = 0, pairs = pairs_of(root);
    for (int pair = 0; pair < pairs && !code; pair++) code = forward_pair(root, pair, &z);
    *result = z;
    if (code || root->n_iter % 2 == 0) return code;
    struct bl_mem *w = root->iterate[at_w(pairs)], *last = *result = root->last->mem;
    if (z)
        return bl_root_multiply(root, BL_ROOT_PRODUCT(.a = w, .b = z, .alpha = -0.5f, .beta = 1.5f, .d = z, .c = last));
    return add_unit(root, w, 1.5f, last);
}

/* --- backward --------------------------------------------------------------------------------- */

/* Which memory of the gradient holds the derivatives of W, Q and Z, and which is free. */
struct tangent {
    struct bl_mem *w, *x, *q, *z;
};

static int backward_pair(const struct bl_inverse_root *root, int pair, struct tangent *t) {
    struct bl_mem *const *at = root->iterate + at_w(pair), *w = at[0], *x = at[1], *q = at[2];
    struct bl_mem *dw = t->w, *dx = t->x, *dq = t->q, *dz = t->z;
    int code = bl_root_multiply(
        root, BL_ROOT_PRODUCT(.a = w, .b = dw, .a2 = dw, .b2 = w, .alpha = 1, .beta = -4.5f, .d = dw, .c = dx));
    if (!code)
        code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = x, .b = dx, .a2 = dx, .b2 = x, .alpha = 1.0f / 16,
                                                      .beta = -69.0f / 128, .d = dw, .c = dq));
    if (!code && !is_last(root, pair)) {
        struct bl_mem *a = at[3], *da = dx; // X's derivative has been used
        code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = dw, .b = q, .a2 = w, .b2 = dq, .alpha = 1, .c = da));
        if (!code)
            code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = da, .b = q, .a2 = a, .b2 = dq, .alpha = 1, .c = dw));
    }
    if (!code && pair) {
        struct bl_mem *z = root->iterate[at_z(pair - 1)];
        code = bl_root_multiply(root, BL_ROOT_PRODUCT(.a = dq, .b = z, .a2 = q, .b2 = dz, .alpha = 1, .c = dx));
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
    if (!pairs) return add_unit(root, t->w, 0, out);
    struct bl_mem *z = root->iterate[at_z(pairs - 1)];
    return bl_root_multiply(
        root, BL_ROOT_PRODUCT(.a = t->w, .b = z, .a2 = w, .b2 = dz, .alpha = -0.5f, .beta = 1.5f, .d = dz, .c = out));
}

static int backward(const struct bl_inverse_root *root, struct bl_mem *direction, struct bl_mem **dz, int *shares) {
    struct tangent t = {direction, root->tangent[1], root->tangent[2], root->tangent[3]};
    int code = 0;
    for (int pair = 0; pair < pairs_of(root) && !code; pair++) code = backward_pair(root, pair, &t);
    if (!code && root->n_iter % 2) code = backward_single(root, &t);
    *dz = t.z;
    *shares = 0;
    return code;
}

const struct bl_root_form bl_root_pairs = {iterates_of, WORK, false, NULL, forward, backward};
