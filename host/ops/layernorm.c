/* y = (x - mean) / sqrt(var + eps) * weight + bias, mean and biased variance of a pixel's channels (Ba, Kiros and
 * Hinton, 2016): PyTorch's LayerNorm(C) on channels last. Nothing of the batch enters it, so it is the same in
 * evaluation. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>
#include <stdlib.h>

struct state {
    int vec;
    int64_t chunk; // rows (pixels) of a partial sum
    struct bl_kernel *forward, *input_gradient, *gradients;
    struct blanch_tensor *saved;   // mean, 1/deviation of a row: (2, rows)
    struct blanch_tensor *partial; // (chunks, 2, C)
};

static int64_t rows_of(const struct bl_node *node, int64_t n) {
    return n * node->out[0]->h * node->out[0]->w;
}

static int setup(struct bl_node *node) {
    const struct bl_layernorm_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (attrs->channels != x->c)
        return bl_fail(BLANCH_EINPUT, "%s: made for %d channels, given %lld", node->name, attrs->channels,
                       (long long)x->c);
    if (!(attrs->eps > 0 && isfinite(attrs->eps)))
        return bl_fail(BLANCH_EINPUT, "%s: eps = %g, not finite and above 0", node->name, (double)attrs->eps);
    bl_node_out(node, x->c, x->h, x->w);
    bl_node_param(node, "weight", BL_INIT_ONES, 1, &x->c);
    bl_node_param(node, "bias", BL_INIT_ZEROS, 1, &x->c);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    int64_t rows = x->n * x->h * x->w;
    state->vec = bl_vec(node->dev, x->c);
    state->chunk = bl_chunk(node, state->vec);
    state->saved = bl_node_workspace(node, BL_LIFE_SAVED, 2 * rows);
    if (!bl_node_training(node)) return 0;
    state->partial = bl_node_workspace(node, BL_LIFE_BACKWARD, 2 * x->c * bl_chunks(rows, state->chunk));
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *state = node->state;
    const struct bl_define defines[] = {{"VEC", state->vec}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "layernorm", "forward", defines, 2, &state->forward);
    if (code || !bl_node_training(node)) return code;
    code = bl_kernel_get(node->dev, "layernorm", "input_gradient", defines, 2, &state->input_gradient);
    return code ? code : bl_kernel_get(node->dev, "layernorm", "gradients", defines, 2, &state->gradients);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_layernorm_attrs *attrs = node->attrs;
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    int64_t rows = rows_of(node, run->n);
    return bl_launch(state->forward, bl_share(node->dev, rows, bl_bytes_of(x, 2 * x->c)), BL_MEM(x->mem),
                     BL_MEM(node->param[0]->data.mem), BL_MEM(node->param[1]->data.mem), BL_MEM(node->out[0]->mem),
                     BL_MEM(state->saved->mem), BL_I64(rows), BL_I32(x->c / state->vec), BL_F32(attrs->eps));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    int64_t rows = rows_of(node, run->n), chunks = bl_chunks(rows, state->chunk), vectors = x->c / state->vec;
    struct bl_mem *dy = node->out[0]->grad->mem;
    int code = bl_launch(state->gradients, bl_share_chunks(node->dev, vectors, chunks), BL_MEM(x->mem), BL_MEM(dy),
                         BL_MEM(state->saved->mem), BL_MEM(state->partial->mem), BL_I64(rows), BL_I32(vectors),
                         BL_I64(state->chunk));
    for (int i = 0; i < 2 && !code; i++) {
        const struct bl_chunk_sums sums = {state->partial->mem, chunks, 2 * x->c, i * x->c};
        code = bl_sum_chunks(node, sums, x->c, node->param[i]->grad.mem);
    }
    if (code || !x->grad) return code;
    return bl_launch(state->input_gradient, bl_share(node->dev, rows, bl_bytes_of(x, 3 * x->c)), BL_MEM(x->mem),
                     BL_MEM(dy), BL_MEM(node->param[0]->data.mem), BL_MEM(state->saved->mem), BL_MEM(x->grad->mem),
                     BL_I64(rows), BL_I32(vectors), BL_I32(node->accumulate[0]));
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_layernorm_attrs *a = l->attrs;
    size_t plane = (size_t)x->h * x->w;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t p = 0; p < (size_t)x->n * plane && !code; p++) {
        const size_t first = p / plane * plane * (size_t)x->c + p % plane; // of channel 0
        double mean = 0, var = 0;
        for (int c = 0; c < x->c; c++) mean += x->v[first + c * plane] / x->c;
        for (int c = 0; c < x->c; c++) var += pow(x->v[first + c * plane] - mean, 2) / x->c;
        for (int c = 0; c < x->c; c++)
            y->v[first + c * plane] =
                (x->v[first + c * plane] - mean) / sqrt(var + (double)a->eps) * l->param[0][c] + l->param[1][c];
    }
    return code;
}

static const struct bl_field fields[] = {
    {"channels", BL_FIELD_INT, offsetof(struct bl_layernorm_attrs, channels), true},
    {"eps", BL_FIELD_FLOAT, offsetof(struct bl_layernorm_attrs, eps), true, 1e-5},
    {NULL},
};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_tensor(r, n, 0);
    const enum bl_onnx_view view = bl_onnx_view(r, n, 0);
    const int64_t axis = bl_onnx_int(n, "axis", -1), last = view == BL_ONNX_NHWC ? 3 : view == BL_ONNX_TOKENS ? 2 : 1;
    const struct bl_layernorm_attrs attrs = {x ? (int)x->c : 0, bl_onnx_float(n, "epsilon", 1e-5f)};
    const struct bl_onnx_param params[] = {{"weight", n, 1}, {"bias", n, 2}, {NULL}};
    if ((view != BL_ONNX_NHWC && view != BL_ONNX_FLAT && view != BL_ONNX_TOKENS) || (axis != -1 && axis != last))
        return bl_onnx_refuse(r, "it normalises other axes than the channels alone");
    return bl_onnx_add(r, n, &attrs, &x, 1, params, view);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_layernorm_attrs *a = node->attrs;
    const enum bl_onnx_view given = bl_onnx_written(w, node, 0),
                            view = given == BL_ONNX_FLAT || given == BL_ONNX_TOKENS ? given : BL_ONNX_NHWC;
    const int64_t channels = node->out[0]->c;
    struct bl_onnx_layer room;
    const struct bl_onnx_attribute attributes[] = {
        {"axis", BL_ONNX_INT, .i = -1}, {"epsilon", BL_ONNX_FLOAT, .f = a->eps}, {NULL}};
    bl_onnx_fold_plain(w, node, &room);
    const char *in[4] = {bl_onnx_in(w, node, 0, view), bl_onnx_put(w, node, "weight", room.weight, 1, &channels),
                         bl_onnx_put(w, node, "bias", room.bias, 1, &channels)};
    bl_onnx_emit(w, "LayerNormalization", in, bl_onnx_out(w, node, view), attributes);
}

static const struct bl_onnx_form forms[] = {{"LayerNormalization", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_layernorm = {
    .name = "layernorm",
    .role = BL_ROLE_NORMALISATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_layernorm_attrs),
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
