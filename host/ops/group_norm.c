/* y = (x - mean) / sqrt(var + eps) * weight + bias, mean and biased variance of an image's pixels and the channels of a
 * group (Wu and He, 2018): PyTorch's GroupNorm. Nothing of the batch enters it, so it is the same in evaluation. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct state {
    int vec;
    int64_t chunk, chunks; // pixels of a partial sum, and how many make an image
    struct bl_kernel *moments, *statistics, *normalise, *sums, *means, *input_gradient;
    struct blanch_tensor *saved;            // mean, 1/deviation of every channel's group: (2, n, C)
    struct blanch_tensor *moments_of;       // (n, chunks, 2, C)
    struct blanch_tensor *sums_of, *totals; // (n, chunks, 2, C); (n, 2, C)
    struct blanch_tensor *means_of;         // (2, n, C)
};

static int64_t pixels_of(const struct bl_node *node) {
    return node->in[0]->h * node->in[0]->w;
}

static int check(const struct bl_node *node) {
    const struct bl_group_norm_attrs *a = node->attrs;
    const struct blanch_tensor *x = node->in[0];
    if (a->channels != x->c)
        return bl_fail(BLANCH_EINPUT, "%s: made for %d channels, given %lld", node->name, a->channels, (long long)x->c);
    if (a->groups < 1 || x->c % a->groups)
        return bl_fail(BLANCH_EINPUT, "%s: %d groups do not divide %lld channels", node->name, a->groups,
                       (long long)x->c);
    if (!(a->eps > 0 && isfinite(a->eps)))
        return bl_fail(BLANCH_EINPUT, "%s: eps = %g, not finite and above 0", node->name, (double)a->eps);
    return 0;
}

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (code || (code = check(node))) return code;
    const struct blanch_tensor *x = node->in[0];
    bl_node_out(node, x->c, x->h, x->w);
    bl_node_param(node, "weight", BL_INIT_ONES, 1, &x->c);
    bl_node_param(node, "bias", BL_INIT_ZEROS, 1, &x->c);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, x->c);
    state->chunk = bl_chunk(node, state->vec);
    if (state->chunk > pixels_of(node)) state->chunk = pixels_of(node);
    state->chunks = bl_chunks(pixels_of(node), state->chunk);
    state->saved = bl_node_workspace(node, BL_LIFE_SAVED, 2 * x->n * x->c);
    state->moments_of = bl_node_workspace(node, BL_LIFE_FORWARD, 2 * x->n * x->c * state->chunks);
    if (!bl_node_training(node)) return 0;
    state->sums_of = bl_node_workspace(node, BL_LIFE_BACKWARD, 2 * x->n * x->c * state->chunks);
    state->totals = bl_node_workspace(node, BL_LIFE_BACKWARD, 2 * x->n * x->c);
    state->means_of = bl_node_workspace(node, BL_LIFE_BACKWARD, 2 * x->n * x->c);
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *s = node->state;
    const struct {
        const char *name;
        struct bl_kernel **kernel;
    } kernels[] = {{"moments", &s->moments}, {"statistics", &s->statistics}, {"normalise", &s->normalise},
                   {"sums", &s->sums},       {"means", &s->means},           {"input_gradient", &s->input_gradient}};
    const struct bl_define defines[] = {{"VEC", s->vec}, BL_ACT(node)};
    int code = 0;
    for (int i = 0; i < (bl_node_training(node) ? BL_COUNT(kernels) : 3) && !code; i++)
        code = bl_kernel_get(node->dev, "group_norm", kernels[i].name, defines, 2, kernels[i].kernel);
    return code;
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_group_norm_attrs *a = node->attrs;
    const struct state *s = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t pixels = pixels_of(node), vectors = x->c / s->vec, units = run->n * s->chunks,
                  each = x->c / a->groups;
    int code =
        bl_launch(s->moments, bl_share_chunks(node->dev, vectors, units), BL_MEM(x->mem), BL_MEM(s->moments_of->mem),
                  BL_I32(units), BL_I32(s->chunks), BL_I32(s->chunk), BL_I32(pixels), BL_I32(vectors));
    if (!code)
        code = bl_launch(s->statistics, bl_share(node->dev, run->n * a->groups, 4 * BL_FLOAT_BYTES * each * s->chunks),
                         BL_MEM(s->moments_of->mem), BL_MEM(s->saved->mem), BL_I32(run->n), BL_I32(a->groups),
                         BL_I32(each), BL_I32(s->chunks), BL_I32(s->chunk), BL_I32(pixels), BL_F32(a->eps));
    if (code) return code;
    return bl_launch(s->normalise, bl_share_rows(node->dev, vectors, run->n * pixels, bl_bytes_of(x, 2 * x->c)),
                     BL_MEM(x->mem), BL_MEM(node->param[0]->data.mem), BL_MEM(node->param[1]->data.mem),
                     BL_MEM(s->saved->mem), BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(pixels), BL_I32(vectors));
}

static int sum_gradients(struct bl_node *node, const struct bl_run *run) {
    const struct bl_group_norm_attrs *a = node->attrs;
    const struct state *s = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t vectors = x->c / s->vec, units = run->n * s->chunks, each = x->c / a->groups;
    int code = bl_launch(s->sums, bl_share_chunks(node->dev, vectors, units), BL_MEM(x->mem),
                         BL_MEM(node->out[0]->grad->mem), BL_MEM(s->saved->mem), BL_MEM(s->sums_of->mem), BL_I32(units),
                         BL_I32(s->chunks), BL_I32(s->chunk), BL_I32(pixels_of(node)), BL_I32(vectors));
    if (!code)
        code = bl_launch(s->means, bl_share(node->dev, run->n * a->groups, 4 * BL_FLOAT_BYTES * each * s->chunks),
                         BL_MEM(s->sums_of->mem), BL_MEM(node->param[0]->data.mem), BL_MEM(s->totals->mem),
                         BL_MEM(s->means_of->mem), BL_I32(run->n), BL_I32(a->groups), BL_I32(each), BL_I32(s->chunks),
                         BL_I32(pixels_of(node)));
    return code;
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t pixels = pixels_of(node), vectors = x->c / s->vec;
    int code = sum_gradients(node, run);
    for (int i = 0; i < 2 && !code; i++) {
        const struct bl_chunk_sums sums = {s->totals->mem, run->n, 2 * x->c, i * x->c};
        code = bl_sum_chunks(node, sums, x->c, node->param[i]->grad.mem);
    }
    if (code || !x->grad) return code;
    return bl_launch(s->input_gradient, bl_share_rows(node->dev, vectors, run->n * pixels, bl_bytes_of(x, 3 * x->c)),
                     BL_MEM(x->mem), BL_MEM(node->out[0]->grad->mem), BL_MEM(node->param[0]->data.mem),
                     BL_MEM(s->saved->mem), BL_MEM(s->means_of->mem), BL_MEM(x->grad->mem), BL_I32(run->n),
                     BL_I32(pixels), BL_I32(vectors), BL_I32(node->accumulate[0]));
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

/* In NCHW a group's values follow one another. */
static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_group_norm_attrs *a = l->attrs;
    const size_t plane = (size_t)x->h * (size_t)x->w, each = (size_t)(x->c / a->groups), values = each * plane;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < (size_t)x->n * (size_t)a->groups && !code; i++) {
        const double *from = x->v + i * values;
        double mean = 0, var = 0;
        for (size_t k = 0; k < values; k++) mean += from[k] / (double)values;
        for (size_t k = 0; k < values; k++) var += pow(from[k] - mean, 2) / (double)values;
        for (size_t k = 0; k < values; k++) {
            const size_t c = i % (size_t)a->groups * each + k / plane;
            y->v[i * values + k] = (from[k] - mean) / sqrt(var + (double)a->eps) * l->param[0][c] + l->param[1][c];
        }
    }
    return code;
}

static const struct bl_field fields[] = {
    {"groups", BL_FIELD_INT, offsetof(struct bl_group_norm_attrs, groups)},
    {"channels", BL_FIELD_INT, offsetof(struct bl_group_norm_attrs, channels), true},
    {"eps", BL_FIELD_FLOAT, offsetof(struct bl_group_norm_attrs, eps), true, 1e-5},
    {NULL},
};

/* As GroupNormalization has it from opset 21 on: a weight and a bias of every channel. */
static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    int64_t sizes[BL_ONNX_DIMS] = {0};
    const int64_t groups = bl_onnx_int(n, "num_groups", 0);
    const struct bl_group_norm_attrs attrs = {(int)groups, x ? (int)x->c : 0, bl_onnx_float(n, "epsilon", 1e-5f)};
    const struct bl_onnx_param params[] = {{"weight", n, 1}, {"bias", n, 2}, {NULL}};
    if (bl_onnx_sizes(r, n, 1, sizes) != 1 || (x && sizes[0] != x->c) || groups < 1 || groups != attrs.groups)
        return bl_onnx_refuse(r, "it has no weight of every channel: export it with opset_version=21");
    return bl_onnx_add(r, n, &attrs, &x, 1, params, BL_ONNX_NCHW);
}

/* As it is written below, and by PyTorch for opsets before 21: (N, groups, values), an InstanceNormalization of these
 * without weights, back to images, times a weight of each channel, plus a bias. */
static const char split[] = "groups", normal[] = "normalised groups", whole[] = "group norm",
                  scaled[] = "scaled groups";

static bool goes_to(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const char *type) {
    const struct bl_onnx_node *user = bl_onnx_user(r, n);
    return user && !strcmp(user->type, type);
}

/* There, or back. */
static int read_reshape(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct blanch_tensor *x = bl_onnx_pending(r, n, 0, normal);
    int64_t sizes[BL_ONNX_WHOLE];
    int count;
    if (!bl_onnx_whole(r, n, 1, sizes, &count)) return bl_onnx_other(r);
    if (x && count == 4 && sizes[1] == x->c && sizes[2] == x->h && sizes[3] == x->w && goes_to(r, n, "Mul"))
        return bl_onnx_pend(r, n, 0, whole);
    if (!bl_onnx_is_tensor(r, n, 0) || bl_onnx_view(r, n, 0) != BL_ONNX_NCHW || count != 3 ||
        !goes_to(r, n, "InstanceNormalization"))
        return bl_onnx_other(r);
    return bl_onnx_pend(r, n, 0, split);
}

/* As many groups as channels are seen as images already. */
static int read_normal(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const bool each = bl_onnx_is_tensor(r, n, 0) && bl_onnx_view(r, n, 0) == BL_ONNX_COLUMNS;
    const struct bl_onnx_node *before = bl_onnx_maker(r, n, 0);
    int64_t sizes[BL_ONNX_WHOLE], groups[BL_ONNX_DIMS];
    int count;
    if ((!each && !bl_onnx_pending(r, n, 0, split)) || !goes_to(r, n, "Reshape")) return bl_onnx_other(r);
    if (!before || !bl_onnx_whole(r, before, 1, sizes, &count) || count != 3 || bl_onnx_sizes(r, n, 1, groups) != 1 ||
        groups[0] != sizes[1] || !bl_onnx_all(r, n, 1, 1) || !bl_onnx_all(r, n, 2, 0))
        return bl_onnx_other(r);
    return bl_onnx_pend(r, n, 0, normal);
}

/* Which input is in a stage, the other one being a value for each channel; -1: neither. */
static int staged(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const char *stage) {
    int64_t sizes[BL_ONNX_DIMS];
    for (int i = 0; i < 2; i++) {
        const struct blanch_tensor *x = bl_onnx_pending(r, n, i, stage);
        if (x && bl_onnx_sizes(r, n, !i, sizes) == 3 && sizes[0] == x->c && sizes[1] == 1 && sizes[2] == 1) return i;
    }
    return -1;
}

static int read_product(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int i = staged(r, n, whole);
    return i >= 0 && goes_to(r, n, "Add") ? bl_onnx_pend(r, n, i, scaled) : bl_onnx_other(r);
}

static int read_sum(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int i = staged(r, n, scaled);
    if (i < 0) return bl_onnx_other(r);
    const struct bl_onnx_node *product = bl_onnx_maker(r, n, i);
    const int k = product ? staged(r, product, whole) : -1;
    const struct bl_onnx_node *back = k < 0 ? NULL : bl_onnx_maker(r, product, k),
                              *norm = back ? bl_onnx_maker(r, back, 0) : NULL;
    struct blanch_tensor *x = bl_onnx_pending(r, n, i, scaled);
    int64_t groups[BL_ONNX_DIMS] = {0};
    if (!norm || bl_onnx_sizes(r, norm, 1, groups) != 1 || groups[0] > x->c) return bl_onnx_other(r);
    const struct bl_group_norm_attrs attrs = {(int)groups[0], (int)x->c, bl_onnx_float(norm, "epsilon", 1e-5f)};
    const struct bl_onnx_param params[] = {{"weight", product, !k}, {"bias", n, !i}, {NULL}};
    return bl_onnx_add(r, n, &attrs, &x, 1, params, BL_ONNX_NCHW);
}

/* Each group as a channel of one InstanceNormalization; weight and bias behind it. */
static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_group_norm_attrs *a = node->attrs;
    const struct blanch_tensor *x = node->in[0];
    const int64_t grouped[] = {0, a->groups, -1}, image[] = {0, x->c, x->h, x->w}, groups = a->groups,
                  by_channel[] = {x->c, 1, 1};
    struct bl_onnx_layer of_groups, room;
    if (!bl_onnx_layer(w, &of_groups, groups, 1)) return;
    bl_onnx_fold_plain(w, node, &room);
    for (int64_t i = 0; i < groups; i++) of_groups.weight[i] = 1;
    const char *in = bl_onnx_in(w, node, 0, BL_ONNX_NCHW), *parts = bl_onnx_between(w, node, "groups"),
               *same = bl_onnx_between(w, node, "normal"), *back = bl_onnx_between(w, node, "whole"),
               *product = bl_onnx_between(w, node, "scaled");
    bl_onnx_emit(w, "Reshape", (const char *[4]){in, bl_onnx_put_whole(w, node, "grouped", grouped, 3)}, parts, NULL);
    bl_onnx_emit(w, "InstanceNormalization",
                 (const char *[4]){parts, bl_onnx_put(w, node, "ones", of_groups.weight, 1, &groups),
                                   bl_onnx_put(w, node, "zeros", of_groups.bias, 1, &groups)},
                 same, (const struct bl_onnx_attribute[]){{"epsilon", BL_ONNX_FLOAT, .f = a->eps}, {NULL}});
    bl_onnx_emit(w, "Reshape", (const char *[4]){same, bl_onnx_put_whole(w, node, "whole", image, 4)}, back, NULL);
    bl_onnx_emit(w, "Mul", (const char *[4]){back, bl_onnx_put(w, node, "weight", room.weight, 3, by_channel)}, product,
                 NULL);
    bl_onnx_emit(w, "Add", (const char *[4]){product, bl_onnx_put(w, node, "bias", room.bias, 3, by_channel)},
                 bl_onnx_out(w, node, BL_ONNX_NCHW), NULL);
}

static const struct bl_onnx_form forms[] = {
    {"GroupNormalization", read}, {"Reshape", read_reshape}, {"InstanceNormalization", read_normal},
    {"Mul", read_product},        {"Add", read_sum},         {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_group_norm = {
    .name = "group_norm",
    .role = BL_ROLE_NORMALISATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_group_norm_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_NORM,
    .phase_backward = BL_NORM,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = release,
    .onnx = &onnx,
};
