/* What surrounds the iteration: norms, scaling, and the gradient's ends. The gradient is the derivative in the
 * direction of D's gradient, as the derivative of a function of a symmetric matrix is its own adjoint. */
#include "ops/nd/root_form.h"
#include "blas/blas.h"
#include "ops/common.h"
#include <stdlib.h>

static const struct bl_root_form *form_of(int n_iter) {
    if (n_iter == BL_ROOT_VARIANCES) return &bl_root_variances;
    return n_iter == 5 ? &bl_root_five : &bl_root_pairs;
}

/* Whether the first product scales S. */
static bool normalises(const struct bl_inverse_root *root) {
    return root->form->normalises && bl_symmetric_has_also(&root->product);
}

static int iterates_of(const struct bl_inverse_root *root) {
    return root->form->iterates(root->n_iter);
}

/* Floats from one set of matrices to the next, so that each can be a part of memory. */
int64_t bl_inverse_root_step(const struct bl_inverse_root *root) {
    int64_t align = root->node->dev ? (int64_t)(bl_mem_align(root->node->dev) / sizeof(float)) : 16;
    return (root->size + align - 1) / align * align;
}

void bl_inverse_root_setup(struct bl_inverse_root *root, struct bl_node *node, int matrices, int64_t features,
                           int n_iter, struct blanch_tensor *last) {
    root->node = node, root->matrices = matrices, root->features = features, root->n_iter = n_iter, root->last = last;
    root->form = form_of(n_iter);
    root->size = matrices * features * features;
    bl_symmetric_setup(&root->product, node, matrices, features);
    root->s = bl_node_workspace(node, normalises(root) ? BL_LIFE_FORWARD : BL_LIFE_PINNED, root->size);
    root->w = normalises(root) ? bl_node_workspace(node, BL_LIFE_PINNED, root->size) : root->s;
    root->scalars = bl_node_workspace(node, BL_LIFE_PINNED, 4 * (int64_t)matrices);
    root->saved = bl_node_workspace(node, BL_LIFE_SAVED, (iterates_of(root) - 1) * bl_inverse_root_step(root));
    root->work = bl_node_workspace(node, BL_LIFE_BACKWARD, root->form->work * bl_inverse_root_step(root));
    const int64_t shares = bl_on_cpu(node->dev) ? 0 : bl_product_most_shares(features);
    root->dots = bl_node_workspace(node, BL_LIFE_BACKWARD, matrices * features);
    root->dots_w = bl_node_workspace(node, BL_LIFE_BACKWARD, matrices * (shares > features ? shares : features));
}

static int divide(const struct bl_inverse_root *root, struct bl_mem *mem, int count, struct bl_mem **parts) {
    size_t step = sizeof(float) * (size_t)bl_inverse_root_step(root), bytes = sizeof(float) * (size_t)root->size;
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
    if (!code && root->form->prepare) code = root->form->prepare(root);
    root->iterate = bl_calloc((size_t)iterates, sizeof(struct bl_mem *));
    root->tangent = bl_calloc((size_t)root->form->work, sizeof(struct bl_mem *));
    if (!root->iterate || !root->tangent) return BLANCH_ENOMEM;
    if (!code) code = bl_mem_part(root->w->mem, 0, bl_tensor_bytes(root->w), &root->iterate[0]);
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

int bl_inverse_root_iterate_again(struct bl_inverse_root *root, const struct bl_collectives *all) {
    root->product.all = root->division.forward ? all : NULL;
    return root->form->forward(root, NULL, NULL, &root->z);
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

int bl_inverse_root_iterate(struct bl_inverse_root *root, const struct bl_collectives *all, struct bl_mem *squares,
                            const struct bl_root_result *to) {
    const bool within = normalises(root);
    int code = bl_inverse_root_divide(root, all);
    root->product.all = root->division.forward ? all : NULL;
    if (!code && !within) code = scale(root, squares);
    return code ? code : root->form->forward(root, within ? squares : NULL, to, &root->z);
}

int bl_inverse_root_finish(const struct bl_inverse_root *root, const struct bl_root_result *to) {
    if (!root->z) return 0;
    touch(root, 3);
    return bl_launch(root->finish, over_elements(root), BL_MEM(root->z), BL_MEM(root->scalars->mem), SIZES(root),
                     BL_F32(to->momentum), BL_MEM(to->deconv), BL_MEM(to->running));
}

int bl_inverse_root_read(const struct bl_inverse_root *root, int matrix, float *s) {
    size_t count = (size_t)(root->features * root->features), bytes = sizeof *s * count;
    float norm;
    int code = bl_mem_read(root->scalars->mem, 4 * sizeof norm * (size_t)matrix, sizeof norm, &norm);
    if (!code) code = bl_mem_read(root->w->mem, (size_t)matrix * bytes, bytes, s);
    for (size_t i = 0; i < count && !code; i++) s[i] *= norm;
    return code;
}

/* --- backward --------------------------------------------------------------------------------- */

static int finish_in_groups(const struct bl_inverse_root *root, const struct bl_root_gradient *g, struct bl_mem *dz,
                            int shares_w) {
    const bool found = g->shares > 0; // <dD, D>, by who made dD
    struct bl_mem *row_mean = g->parts ? g->row_mean : g->sbar;
    touch(root, 3);
    return bl_launch(root->back_finish, over_rows(root), BL_MEM(dz), BL_MEM(root->w->mem), BL_MEM(root->scalars->mem),
                     BL_MEM(root->dots_w->mem), BL_I32(shares_w), BL_MEM(found ? g->dots : root->dots->mem),
                     BL_I32(found ? g->shares : (int)root->features), BL_I32(!found), BL_I32(root->matrices),
                     BL_I32(root->features / g->taps), BL_I32(g->taps), BL_I32(g->depthwise), BL_MEM(g->sbar),
                     BL_MEM(g->parts ? g->dmean : dz), BL_I32(g->parts), BL_F32(g->mean_scale), BL_MEM(row_mean));
}

static int finish_gradient(const struct bl_inverse_root *root, const struct bl_root_gradient *g, struct bl_mem *dz) {
    struct bl_mem *w = root->w->mem, *scalars = root->scalars->mem;
    int code =
        bl_launch_light(root->node->dev, root->back_norm, over_matrices(root), BL_MEM(root->dots_w->mem),
                        BL_MEM(root->dots->mem), BL_I32(root->matrices), BL_I32(root->features), BL_MEM(scalars));
    if (code) return code;
    touch(root, 3);
    return bl_launch(root->back_finish, over_rows(root), BL_MEM(dz), BL_MEM(w), BL_MEM(scalars), BL_I32(root->matrices),
                     BL_I32(root->features / g->taps), BL_I32(g->taps), BL_I32(g->depthwise),
                     BL_I32(bl_rows_each(root->node, root->features)), BL_MEM(g->sbar));
}

/* <dZ_K, W_0>, of each row. */
static int dot_rows(const struct bl_inverse_root *root, struct bl_mem *dz) {
    touch(root, 2);
    return bl_launch(root->back_dots, over_rows(root), BL_MEM(dz), BL_MEM(root->w->mem), SIZES(root),
                     BL_MEM(root->dots_w->mem));
}

int bl_inverse_root_backward(struct bl_inverse_root *root, const struct bl_collectives *all,
                             const struct bl_root_gradient *g) {
    struct bl_mem *dz = NULL, *direction = g->shares ? g->ddeconv : root->tangent[0];
    int code = 0, shares = 0;
    root->product.all = root->division.backward ? all : NULL;
    if (!g->shares) {
        touch(root, 3);
        code = bl_launch(root->back_begin, over_rows(root), BL_MEM(g->ddeconv), BL_MEM(g->deconv),
                         BL_MEM(root->scalars->mem), SIZES(root), BL_MEM(direction), BL_MEM(root->dots->mem));
    }
    if (!code) code = root->form->backward(root, direction, &dz, &shares);
    if (!code && !shares) code = dot_rows(root, dz);
    if (code) return code;
    return bl_on_cpu(root->node->dev) ? finish_gradient(root, g, dz)
                                      : finish_in_groups(root, g, dz, shares ? shares : (int)root->features);
}
