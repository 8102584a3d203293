/* y = x w, w (C, 1, 1) a parameter per channel, which bears the node's own name: what ConvNeXt calls layer scale. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>
#include <stdlib.h>

struct state {
    int vec;
    int64_t chunk; // rows (pixels) of a partial sum
    struct bl_kernel *scale, *gradients;
    struct blanch_tensor *partial; // (chunks, C)
};

static int64_t rows_of(const struct bl_node *node, int64_t n) {
    return n * node->out[0]->h * node->out[0]->w;
}

static int setup(struct bl_node *node) {
    struct bl_scale_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    bl_node_out(node, x->c, x->h, x->w);
    struct bl_param *factors = bl_node_param(node, NULL, BL_INIT_VALUE, 3, (int64_t[]){x->c, 1, 1});
    if (attrs->begin == 0) attrs->begin = 1;
    if (!isfinite(attrs->begin)) return bl_fail(BLANCH_EINPUT, "%s: begin is not finite", node->name);
    if (factors) factors->begin = attrs->begin;
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, x->c);
    state->chunk = bl_chunk(node, state->vec);
    if (bl_node_training(node))
        state->partial = bl_node_workspace(node, BL_LIFE_BACKWARD, x->c * bl_chunks(x->n * x->h * x->w, state->chunk));
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *state = node->state;
    const struct bl_define defines[] = {{"VEC", state->vec}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "scale", "scale", defines, 2, &state->scale);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "scale", "gradients", defines, 2, &state->gradients);
}

static int scale(struct bl_node *node, int n, struct bl_mem *from, struct bl_mem *to, bool add) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    int64_t rows = rows_of(node, n), vectors = x->c / state->vec;
    return bl_launch(state->scale, bl_share_rows(node->dev, vectors, rows, bl_bytes_of(x, 2 * x->c)), BL_MEM(from),
                     BL_MEM(node->param[0]->data.mem), BL_MEM(to), BL_I64(rows), BL_I32(vectors), BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    return scale(node, run->n, node->in[0]->mem, node->out[0]->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    int64_t rows = rows_of(node, run->n), chunks = bl_chunks(rows, state->chunk), vectors = x->c / state->vec;
    struct bl_mem *dy = node->out[0]->grad->mem;
    int code = bl_launch(state->gradients, bl_share_chunks(node->dev, vectors, chunks), BL_MEM(x->mem), BL_MEM(dy),
                         BL_MEM(state->partial->mem), BL_I64(rows), BL_I32(vectors), BL_I64(state->chunk));
    if (!code)
        code = bl_sum_chunks(node, (struct bl_chunk_sums){state->partial->mem, chunks, x->c}, x->c,
                             node->param[0]->grad.mem);
    return code || !x->grad ? code : scale(node, run->n, dy, x->grad->mem, node->accumulate[0]);
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    size_t plane = (size_t)x->h * x->w;
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] * l->param[0][i / plane % (size_t)x->c];
    return code;
}

static const struct bl_field fields[] = {{"begin", BL_FIELD_FLOAT, offsetof(struct bl_scale_attrs, begin), true, 1},
                                         {NULL}};

/* A product with values of the file by channel. */
static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    for (int i = 0; i < 2; i++) {
        int64_t sizes[BL_ONNX_DIMS];
        const int dims = bl_onnx_sizes(r, n, i, sizes);
        if (!dims || !bl_onnx_is_tensor(r, n, !i)) continue;
        struct blanch_tensor *x = bl_onnx_tensor(r, n, !i);
        const enum bl_onnx_view view = bl_onnx_view(r, n, !i);
        const int last = view == BL_ONNX_NCHW ? 2 : 0, channels = dims - 1 - last;
        const struct bl_onnx_param params[] = {{"", n, i}, {NULL}};
        for (int d = 0; d < dims; d++)
            if (sizes[d] != (d == channels ? x->c : 1) || view > BL_ONNX_FLAT)
                return bl_onnx_refuse(r, "it multiplies by values of the file that are not one a channel");
        return bl_onnx_add(r, n, NULL, &x, 1, params, view);
    }
    return bl_onnx_other(r);
}

static void affine(struct bl_onnx_writer *w, const struct bl_node *node, double *factor, double *shift) {
    const float *values = bl_onnx_values(w, node->param[0]);
    for (int64_t c = 0; values && c < node->out[0]->c; c++) factor[c] = (double)values[c], shift[c] = 0;
}

static const struct bl_onnx_form forms[] = {{"Mul", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .affine = affine};

const struct bl_op bl_op_scale = {
    .name = "scale",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_scale_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = release,
    .onnx = &onnx,
};
