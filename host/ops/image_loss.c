/* Losses of images, value by value: of each image the mean over its values, or their sum, and what a third input adds;
 * the network's loss is the mean over the batch's images. */
#include "ops/image_loss.h"
#include <stdlib.h>

struct state {
    int vec;
    struct bl_kernel *forward, *gradient, *more;
};

int bl_image_loss_setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 2, 3);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0], *t = node->in[1], *more = node->inputs > 2 ? node->in[2] : NULL;
    if (!bl_same_shape(x, t) || x->type != t->type)
        return bl_fail(BLANCH_EINPUT, "%s: compares %lld x %lld x %lld with %lld x %lld x %lld", node->name,
                       (long long)x->c, (long long)x->h, (long long)x->w, (long long)t->c, (long long)t->h,
                       (long long)t->w);
    if (more && (more->type != BL_F32 || bl_features(more) != 1))
        return bl_fail(BLANCH_EINPUT, "%s: its third input is not one float32 value of each image", node->name);
    bl_node_out_as(node, BL_F32, 3, 1, 1);
    return 0;
}

int bl_image_loss_prepare(struct bl_node *node, enum bl_image_loss kind) {
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, bl_features(node->in[0]));
    const struct bl_define defines[] = {{"VEC", state->vec}, {"KIND", kind}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "image_loss", "forward", defines, 3, &state->forward);
    if (!code) code = bl_kernel_get(node->dev, "image_loss", "gradient", defines, 3, &state->gradient);
    return code ? code : bl_kernel_get(node->dev, "image_loss", "gradient_more", defines, 3, &state->more);
}

static double each_of(const struct bl_image_loss_attrs *attrs, double values) {
    return attrs->sum ? 1 : 1 / values;
}

int bl_image_loss_forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    const int64_t features = bl_features(x);
    return bl_launch(state->forward, bl_share(node->dev, run->n, bl_bytes_of(x, 8 * features)), BL_MEM(x->mem),
                     BL_MEM(node->in[1]->mem), BL_MEM(node->inputs > 2 ? node->in[2]->mem : y->mem), BL_MEM(y->mem),
                     BL_I32(run->n), BL_I32(features / state->vec), BL_F32(each_of(node->attrs, (double)features)),
                     BL_I32(node->inputs > 2), BL_MEM(run->skip ? run->skip : y->mem), BL_I32(run->skip != NULL));
}

int bl_image_loss_backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    const int64_t features = bl_features(x), vectors = run->n * features / state->vec;
    struct bl_mem *scale = run->scale ? run->scale : y->mem;
    const double by = each_of(node->attrs, (double)features) / run->loss_total;
    int code = 0;
    for (int i = 0; i < 2 && !code; i++) {
        struct blanch_tensor *grad = node->in[i]->grad;
        if (!grad) continue;
        code = bl_launch(state->gradient, bl_share(node->dev, vectors, bl_bytes_of(x, 3 * state->vec)), BL_MEM(x->mem),
                         BL_MEM(node->in[1]->mem), BL_MEM(grad->mem), BL_I64(vectors), BL_F32(by), BL_MEM(scale),
                         BL_I32(run->scale != NULL), BL_I32(i), BL_I32(node->accumulate[i]));
    }
    if (code || node->inputs < 3 || !node->in[2]->grad) return code;
    return bl_launch(state->more, bl_share(node->dev, run->n, 8), BL_MEM(node->in[2]->grad->mem), BL_I32(run->n),
                     BL_F32(1 / run->loss_total), BL_MEM(scale), BL_I32(run->scale != NULL),
                     BL_I32(node->accumulate[2]));
}

int bl_image_loss_definition(const struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs,
                             double (*of)(double x, double t), struct bl_ref_tensor *y) {
    const size_t features = (size_t)x->c * x->h * x->w;
    const double each = each_of(l->attrs, (double)features);
    int code = bl_ref_new(y, x->n, 1, 1, 1);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i / features] += each * of(x->v[i], x[1].v[i]);
    for (int n = 0; n < x->n && inputs > 2 && !code; n++) y->v[n] += x[2].v[n];
    return code;
}

void bl_image_loss_release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

const struct bl_field bl_image_loss_fields[] = {{"sum", BL_FIELD_BOOL, offsetof(struct bl_image_loss_attrs, sum), true},
                                                {NULL}};
