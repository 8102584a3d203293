/* D = diag(S)^(-1/2): what normalising by variances does, without whitening. Z = diag(W_0)^(-1/2), and its derivative
 * in a direction G is -diag(G) diag(W_0)^(-3/2)/2. */
#include "ops/common.h"
#include "ops/nd/root_form.h"

enum { WORK = 2 };

static int iterates(int n_iter) {
    return 1;
}

static int prepare(struct bl_inverse_root *root) {
    int code = bl_kernel_get(root->node->dev, "nd/variances", "variances", NULL, 0, &root->variances);
    return code ? code
                : bl_kernel_get(root->node->dev, "nd/variances", "back_variances", NULL, 0, &root->back_variances);
}

static struct bl_range over_elements(const struct bl_inverse_root *root) {
    bl_work(root->node->dev, 0, sizeof(float) * (uint64_t)root->size);
    return bl_over_rows(root->node, root->matrices, root->features, true);
}

#define SIZES(root)                                                                                                    \
    BL_I32((root)->matrices *(root)->features), BL_I32((root)->features),                                              \
        BL_I32(bl_rows_each((root)->node, (root)->features))

static int forward(const struct bl_inverse_root *root, struct bl_mem *squares, const struct bl_root_result *to,
                   struct bl_mem **z) {
    *z = root->last->mem;
    return bl_launch(root->variances, over_elements(root), BL_MEM(root->iterate[0]), SIZES(root), BL_MEM(*z));
}

static int backward(const struct bl_inverse_root *root, struct bl_mem *direction, struct bl_mem **dz, int *shares) {
    *dz = root->tangent[1];
    *shares = 0;
    return bl_launch(root->back_variances, over_elements(root), BL_MEM(root->iterate[0]), BL_MEM(direction),
                     SIZES(root), BL_MEM(*dz));
}

const struct bl_root_form bl_root_variances = {iterates, WORK, false, prepare, forward, backward};
