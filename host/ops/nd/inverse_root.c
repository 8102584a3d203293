/* What surrounds the iteration: norms, scaling, and the gradient's ends. The gradient is the derivative in the
 * direction of D's gradient, as the derivative of a function of a symmetric matrix is its own adjoint. */
#include "ops/nd/root_form.h"
#include "ops/common.h"
#include <stdlib.h>

static const struct bl_root_form *form_of(int n_iter) {
    return n_iter == 5 ? &bl_root_five : &bl_root_pairs;
}

static int iterates_of(const struct bl_inverse_root *root) {
    return root->form->iterates(root->n_iter);
}

/* Floats from one set of matrices to the next, so that each can be a part of memory. */
static int64_t step_of(const struct bl_inverse_root *root) {
    int64_t align = root->node->dev ? (int64_t)(bl_mem_align(root->node->dev) / sizeof(float)) : 16;
    return (root->size + align - 1) / align * align;
}

void bl_inverse_root_setup(struct bl_inverse_root *root, struct bl_node *node, int matrices, int64_t features,
                           int n_iter, struct blanch_tensor *last) {
    root->node = node, root->matrices = matrices, root->features = features, root->n_iter = n_iter, root->last = last;
    root->form = form_of(n_iter);
    root->size = matrices * features * features;
    bl_symmetric_setup(&root->product, node, matrices, features);
    root->s = bl_node_workspace(node, BL_LIFE_PINNED, root->size);
    root->scalars = bl_node_workspace(node, BL_LIFE_PINNED, 4 * (int64_t)matrices);
    root->saved = bl_node_workspace(node, BL_LIFE_SAVED, (iterates_of(root) - 1) * step_of(root));
    root->work = bl_node_workspace(node, BL_LIFE_BACKWARD, root->form->work * step_of(root));
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
        {"scale", &root->scale},
        {"finish", &root->finish},
        {"back_begin", &root->back_begin},
        {"back_dots", &root->back_dots},
        {"back_finish", &root->back_finish},
        {"combine_first", &root->combine_first},
        {"combine_last", &root->combine_last},
        {"add_unit", &root->add_unit},
        {"norm", &root->norm},
        {"back_norm", &root->back_norm},
    };
    const int count = BL_COUNT(wanted) - (bl_on_cpu(root->node->dev) ? 0 : 2); // groups of rows find norms themselves
    const struct bl_define defines[] = {{"VEC", bl_vec(root->node->dev, root->features)},
                                        {"TREE", bl_tree(root->node->dev)}};
    int code = bl_symmetric_prepare(&root->product), iterates = iterates_of(root);
    for (int i = 0; i < count && !code; i++)
        code = bl_kernel_get(root->node->dev, "nd/inverse_root", wanted[i].name, defines, BL_COUNT(defines),
                             wanted[i].kernel);
    root->iterate = bl_calloc((size_t)iterates, sizeof(struct bl_mem *));
    root->tangent = bl_calloc((size_t)root->form->work, sizeof(struct bl_mem *));
    if (!root->iterate || !root->tangent) return BLANCH_ENOMEM;
    if (!code) code = bl_mem_part(root->s->mem, 0, bl_tensor_bytes(root->s), &root->iterate[0]);
    if (!code) code = divide(root, root->saved->mem, iterates - 1, root->iterate + 1);
    return code ? code : divide(root, root->work->mem, root->form->work, root->tangent);
}

void bl_inverse_root_free(struct bl_inverse_root *root) {
    for (int i = 0; root->iterate && i < iterates_of(root); i++) bl_mem_free(root->iterate[i]);
    for (int i = 0; root->tangent && i < root->form->work; i++) bl_mem_free(root->tangent[i]);
    free(root->iterate);
    free(root->tangent);
}

/* --- launching -------------------------------------------------------------------------------- */

#define SIZES(root)                                                                                                    \
    BL_I32((root)->matrices *(root)->features), BL_I32((root)->features),                                              \
        BL_I32(bl_rows_each((root)->node, (root)->features))

static struct bl_range over_elements(const struct bl_inverse_root *root) {
    return bl_over_rows(root->node, root->matrices, root->features, true);
}
/* Where an item, or elsewhere than on CPUs a group, sums each row. */
static struct bl_range over_rows(const struct bl_inverse_root *root) {
    return bl_on_cpu(root->node->dev) ? bl_over_rows(root->node, root->matrices, root->features, false)
                                      : bl_tree_rows(root->node->dev, root->matrices * root->features);
}
static struct bl_range over_matrices(const struct bl_inverse_root *root) {
    return bl_over_matrices(root->node, root->matrices);
}

/* For the ledger: the next command touches so many sets of matrices. */
static void touch(const struct bl_inverse_root *root, int sets) {
    bl_work(root->node->dev, 0, sizeof(float) * (uint64_t)root->size * (uint64_t)sets);
}

/* --- forward ---------------------------------------------------------------------------------- */

int bl_inverse_root_iterate_again(struct bl_inverse_root *root) {
    return root->form->forward(root, &root->z);
}

static int scale(const struct bl_inverse_root *root, struct bl_mem *squares) {
    struct bl_mem *w = root->s->mem, *scalars = root->scalars->mem;
    if (!bl_on_cpu(root->node->dev)) {
        touch(root, 1);
        return bl_launch(root->scale, over_rows(root), BL_MEM(w), BL_MEM(squares), BL_I32(root->features),
                         BL_MEM(scalars));
    }
    int code = bl_launch_light(root->node->dev, root->norm, over_matrices(root), BL_MEM(squares),
                               BL_I32(root->matrices), BL_I32(root->features), BL_MEM(scalars));
    if (code) return code;
    touch(root, 1);
    return bl_launch(root->scale, over_elements(root), BL_MEM(w), BL_MEM(scalars), SIZES(root));
}

int bl_inverse_root_iterate(struct bl_inverse_root *root, struct bl_mem *squares) {
    int code = scale(root, squares);
    return code ? code : bl_inverse_root_iterate_again(root);
}

int bl_inverse_root_finish(const struct bl_inverse_root *root, float momentum, struct bl_mem *deconv,
                           struct bl_mem *running) {
    touch(root, 3);
    return bl_launch(root->finish, over_elements(root), BL_MEM(root->z), BL_MEM(root->scalars->mem), SIZES(root),
                     BL_F32(momentum), BL_MEM(deconv), BL_MEM(running));
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

static int finish_gradient(const struct bl_inverse_root *root, struct bl_mem *dz, int taps, bool depthwise,
                           struct bl_mem *sbar) {
    struct bl_mem *w = root->s->mem, *scalars = root->scalars->mem, *dots_w = root->dots_w->mem,
                  *dots = root->dots->mem;
    const int64_t block = root->features / taps;
    if (!bl_on_cpu(root->node->dev)) {
        touch(root, 3);
        return bl_launch(root->back_finish, over_rows(root), BL_MEM(dz), BL_MEM(w), BL_MEM(scalars), BL_MEM(dots_w),
                         BL_MEM(dots), BL_I32(root->matrices), BL_I32(block), BL_I32(taps), BL_I32(depthwise),
                         BL_MEM(sbar));
    }
    int code = bl_launch_light(root->node->dev, root->back_norm, over_matrices(root), BL_MEM(dots_w), BL_MEM(dots),
                               BL_I32(root->matrices), BL_I32(root->features), BL_MEM(scalars));
    if (code) return code;
    touch(root, 3);
    return bl_launch(root->back_finish, over_rows(root), BL_MEM(dz), BL_MEM(w), BL_MEM(scalars), BL_I32(root->matrices),
                     BL_I32(block), BL_I32(taps), BL_I32(depthwise), BL_I32(bl_rows_each(root->node, root->features)),
                     BL_MEM(sbar));
}

int bl_inverse_root_backward(struct bl_inverse_root *root, struct bl_mem *ddeconv, struct bl_mem *deconv, int taps,
                             bool depthwise, struct bl_mem *sbar) {
    const struct bl_range rows = over_rows(root);
    struct bl_mem *dz = NULL;
    touch(root, 3);
    int code = bl_launch(root->back_begin, rows, BL_MEM(ddeconv), BL_MEM(deconv), BL_MEM(root->scalars->mem),
                         SIZES(root), BL_MEM(root->tangent[0]), BL_MEM(root->dots->mem));
    if (!code) code = root->form->backward(root, &dz);
    if (code) return code;
    touch(root, 2);
    code = bl_launch(root->back_dots, rows, BL_MEM(dz), BL_MEM(root->s->mem), SIZES(root), BL_MEM(root->dots_w->mem));
    return code ? code : finish_gradient(root, dz, taps, depthwise, sbar);
}
