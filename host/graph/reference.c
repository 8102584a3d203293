/* What the definitions of operations share. */
#include "graph/reference.h"

size_t bl_ref_count(const struct bl_ref_tensor *t) {
    return (size_t)t->n * t->c * t->h * t->w;
}

double *bl_ref_doubles(size_t count) {
    return bl_calloc(count ? count : 1, sizeof(double));
}

int bl_ref_new(struct bl_ref_tensor *t, int n, int c, int h, int w) {
    *t = (struct bl_ref_tensor){n, c, h, w, NULL};
    t->v = bl_ref_doubles(bl_ref_count(t));
    return t->v ? 0 : BLANCH_ENOMEM;
}

double *bl_ref_at(const struct bl_ref_tensor *t, int n, int c, int y, int x) {
    return &t->v[(((size_t)n * t->c + c) * t->h + y) * t->w + x];
}

double bl_ref_padded(const struct bl_ref_tensor *t, int n, int c, int y, int x) {
    return y < 0 || x < 0 || y >= t->h || x >= t->w ? 0 : *bl_ref_at(t, n, c, y, x);
}

struct bl_ref_tensor bl_ref_plane(const struct bl_ref_tensor *t, int n, int c) {
    return (struct bl_ref_tensor){1, 1, t->h, t->w, bl_ref_at(t, n, c, 0, 0)};
}

int bl_ref_images(const struct bl_ref_layer *l, const struct bl_ref_tensor *x) {
    return l->images && l->images < x->n ? l->images : x->n;
}

int bl_ref_forward(const struct bl_op *op, struct bl_ref_layer *layer, const struct bl_ref_tensor *x, int inputs,
                   struct bl_ref_tensor *y) {
    y->v = NULL;
    if (!op->definition)
        return bl_fail(BLANCH_EUSAGE, "the operation %s has no definition in double precision", op->name);
    return op->definition(layer, x, inputs, y);
}
