/* y = the mean of an image's pixels, weighted by the softmax of their scores: inputs (C, H, W) and (1, H, W), output
 * (C, 1, 1). The sequence pooling of compact transformers (A. Hassani et al., 2021). */
#include "graph/onnx.h"
#include "graph/reference.h"
#include "ops/tokens.h"
#include <math.h>
#include <stdlib.h>

struct state {
    int vec;
    struct bl_kernel *pool, *inputs, *scores;
    struct blanch_tensor *weights; // (n, pixels)
};

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 2, 2);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0], *s = node->in[1];
    if (s->c != 1 || s->h != x->h || s->w != x->w)
        return bl_fail(BLANCH_EINPUT, "%s: the scores have %lldx%lldx%lld values, not 1x%lldx%lld", node->name,
                       (long long)s->c, (long long)s->h, (long long)s->w, (long long)x->h, (long long)x->w);
    bl_node_out(node, x->c, 1, 1);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, x->c);
    state->weights = bl_node_workspace(node, BL_LIFE_SAVED, x->n * x->h * x->w);
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *state = node->state;
    int code = bl_token_kernel(node, "pool", &state->pool);
    if (code || !bl_node_training(node)) return code;
    code = bl_token_kernel(node, "pool_inputs", &state->inputs);
    return code ? code : bl_token_kernel(node, "pool_scores", &state->scores);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t vectors = x->c / state->vec;
    return bl_launch(state->pool, bl_share_rows(node->dev, vectors, run->n, bl_bytes_of(x, bl_features(x))),
                     BL_MEM(x->mem), BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem), BL_MEM(state->weights->mem),
                     BL_I64(run->n), BL_I32(x->h * x->w), BL_I32(vectors));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *s = node->in[1], *y = node->out[0];
    const int64_t vectors = x->c / state->vec, rows = run->n * x->h * x->w;
    int code = 0;
    if (s->grad)
        code = bl_launch(state->scores, bl_share(node->dev, rows, bl_bytes_of(x, x->c)), BL_MEM(x->mem), BL_MEM(y->mem),
                         BL_MEM(y->grad->mem), BL_MEM(state->weights->mem), BL_MEM(s->grad->mem), BL_I64(run->n),
                         BL_I32(x->h * x->w), BL_I32(vectors), BL_I32(node->accumulate[1]));
    if (code || !x->grad) return code;
    return bl_launch(state->inputs, bl_share_rows(node->dev, vectors, rows, bl_bytes_of(x, x->c)), BL_MEM(y->grad->mem),
                     BL_MEM(state->weights->mem), BL_MEM(x->grad->mem), BL_I64(run->n), BL_I32(x->h * x->w),
                     BL_I32(vectors), BL_I32(node->accumulate[0]));
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const int plane = x->h * x->w;
    int code = bl_ref_new(y, x->n, x->c, 1, 1);
    for (int n = 0; n < x->n && !code; n++) {
        const double *s = x[1].v + n * plane;
        double most = -INFINITY, sum = 0;
        for (int p = 0; p < plane; p++) most = fmax(most, s[p]);
        for (int p = 0; p < plane; p++) sum += exp(s[p] - most);
        for (int i = n * x->c; i < (n + 1) * x->c; i++)
            for (int p = 0; p < plane; p++) y->v[i] += exp(s[p] - most) / sum * x->v[i * plane + p];
    }
    return code;
}

/* Of tokens: the softmax of scores over the tokens, turned, times the tokens. */
static int read_weights(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int64_t axis = bl_onnx_int(n, "axis", -1);
    if (!bl_onnx_is_tensor(r, n, 0) || bl_onnx_view(r, n, 0) != BL_ONNX_TOKENS || bl_onnx_tensor(r, n, 0)->c != 1 ||
        (axis != 1 && axis != -2))
        return bl_onnx_other(r);
    return bl_onnx_pend(r, n, 0, "weights of tokens");
}

static int read_turned(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int order[3];
    if (!bl_onnx_pending(r, n, 0, "weights of tokens")) return bl_onnx_other(r);
    bl_onnx_ints(r, n, "perm", -1, order, 3);
    if (order[0] != 0 || order[1] != 2) return bl_onnx_refuse(r, "it turns axes in a way that is not read");
    return bl_onnx_pend(r, n, 0, "turned weights of tokens");
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *scores = bl_onnx_pending(r, n, 0, "turned weights of tokens");
    if (!scores || !bl_onnx_is_tensor(r, n, 1) || bl_onnx_view(r, n, 1) != BL_ONNX_TOKENS) return bl_onnx_other(r);
    struct blanch_tensor *in[] = {bl_onnx_tensor(r, n, 1), scores};
    return bl_onnx_add(r, n, NULL, in, 2, NULL, BL_ONNX_TOKENS);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const int64_t order[] = {0, 2, 1};
    const char *weights = bl_onnx_between(w, node, "weights"), *turned = bl_onnx_between(w, node, "turned");
    bl_onnx_emit(w, "Softmax", (const char *[4]){bl_onnx_in(w, node, 1, BL_ONNX_TOKENS)}, weights,
                 (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 1}, {NULL}});
    bl_onnx_emit(w, "Transpose", (const char *[4]){weights}, turned,
                 (const struct bl_onnx_attribute[]){{"perm", BL_ONNX_INTS, .count = 3, .ints = order}, {NULL}});
    bl_onnx_emit(w, "MatMul", (const char *[4]){turned, bl_onnx_in(w, node, 0, BL_ONNX_TOKENS)},
                 bl_onnx_out(w, node, BL_ONNX_TOKENS), NULL);
}

static const struct bl_onnx_form forms[] = {
    {"Softmax", read_weights}, {"Transpose", read_turned}, {"MatMul", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_sequence_pool = {
    .name = "sequence_pool",
    .role = BL_ROLE_POOLING,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_IN(0) | BL_OUT(0),
    .phase_forward = BL_POOL,
    .phase_backward = BL_POOL,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = release,
    .onnx = &onnx,
};
