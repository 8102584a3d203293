/* What stands for a number, such as a time: of one value of each image C, sin(x f_i) and then cos(x f_i), i below
 * C / 2, f_i = period^(-i / (C / 2 - 1)) (Ho, Jain and Abbeel, NeurIPS 2020, after Vaswani et al., NeurIPS 2017). */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>
#include <stdlib.h>

struct state {
    struct bl_kernel *forward, *gradient;
    struct blanch_tensor *frequencies; // (C / 2)
};

static int setup(struct bl_node *node) {
    struct bl_number_embedding_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    if (a->period == 0) a->period = 10000;
    if (bl_features(node->in[0]) != 1)
        return bl_fail(BLANCH_EINPUT, "%s: its input is not one value of each image", node->name);
    if (a->channels < 4 || a->channels % 2 || !(a->period > 1 && isfinite(a->period)))
        return bl_fail(BLANCH_EINPUT, "%s: %d channels, period %g: an even number from 4 on, and above 1", node->name,
                       a->channels, (double)a->period);
    bl_node_out(node, a->channels, 1, 1);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->frequencies = bl_node_workspace(node, BL_LIFE_KEPT, a->channels / 2);
    return 0;
}

static double frequency_of(const struct bl_number_embedding_attrs *a, int i) {
    return pow((double)a->period, -i / (a->channels / 2 - 1.0));
}

static int prepare(struct bl_node *node) {
    const struct bl_number_embedding_attrs *a = node->attrs;
    struct state *state = node->state;
    const struct bl_define defines[] = {{"VEC", 1}, {"NUMBER", node->in[0]->type == BL_F32}, BL_ACT(node)};
    const size_t half = (size_t)a->channels / 2;
    float *frequencies = bl_calloc(half, sizeof *frequencies);
    if (!frequencies) return BLANCH_ENOMEM;
    for (size_t i = 0; i < half; i++) frequencies[i] = (float)frequency_of(a, (int)i);
    int code = bl_mem_write(state->frequencies->mem, 0, half * sizeof *frequencies, frequencies);
    free(frequencies);
    if (!code) code = bl_kernel_get(node->dev, "embedding", "number", defines, 3, &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "embedding", "number_gradient", defines, 3, &state->gradient);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const int64_t half = node->out[0]->c / 2;
    return bl_launch(state->forward, bl_share_rows(node->dev, half, run->n, 64 * half), BL_MEM(node->in[0]->mem),
                     BL_MEM(state->frequencies->mem), BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(half));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    if (!x->grad) return 0;
    return bl_launch(state->gradient, bl_share(node->dev, run->n, 64 * y->c), BL_MEM(x->mem),
                     BL_MEM(state->frequencies->mem), BL_MEM(y->grad->mem), BL_MEM(x->grad->mem), BL_I32(run->n),
                     BL_I32(y->c / 2), BL_I32(node->accumulate[0]));
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    struct bl_number_embedding_attrs a = *(const struct bl_number_embedding_attrs *)l->attrs;
    int code = bl_ref_new(y, x->n, a.channels, 1, 1);
    if (a.period == 0) a.period = 10000;
    for (int i = 0; i < x->n * a.channels && !code; i++) {
        const int c = i % a.channels, half = a.channels / 2;
        const double angle = x->v[i / a.channels] * frequency_of(&a, c % half);
        y->v[i] = c < half ? sin(angle) : cos(angle);
    }
    return code;
}

/* In float32 up to the sines: 16 bits would not tell large numbers apart. */
static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_number_embedding_attrs *a = node->attrs;
    const int half = a->channels / 2;
    const char *x = bl_onnx_given(w, node, 0), *column = bl_onnx_between(w, node, "column"),
               *angles = bl_onnx_between(w, node, "angles"), *both[] = {NULL, NULL}, *joined;
    float *frequencies = bl_calloc((size_t)half, sizeof *frequencies);
    if (!frequencies || !x) {
        bl_onnx_failed(w,
                       frequencies ? bl_fail(BLANCH_EUSAGE, "%s: its number is computed", node->name) : BLANCH_ENOMEM);
        free(frequencies);
        return;
    }
    for (int i = 0; i < half; i++) frequencies[i] = (float)frequency_of(a, i);
    const char *by = bl_onnx_put_floats(w, node, "frequencies", frequencies, half);
    free(frequencies);
    bl_onnx_emit(w, "Unsqueeze", (const char *[4]){x, bl_onnx_put_whole(w, node, "axis", (const int64_t[]){1}, 1)},
                 column, NULL);
    bl_onnx_emit(w, "Mul", (const char *[4]){column, by}, angles, NULL);
    bl_onnx_emit(w, "Sin", (const char *[4]){angles}, both[0] = bl_onnx_between(w, node, "sines"), NULL);
    bl_onnx_emit(w, "Cos", (const char *[4]){angles}, both[1] = bl_onnx_between(w, node, "cosines"), NULL);
    joined = bl_onnx_between(w, node, "joined");
    bl_onnx_emit_many(w, "Concat", both, 2, joined,
                      (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 1}, {NULL}});
    bl_onnx_same(w, node, bl_onnx_narrow(w, node, joined), BL_ONNX_FLAT);
}

static const struct bl_onnx_op onnx = {.write = write};

static const struct bl_field fields[] = {
    {"channels", BL_FIELD_INT, offsetof(struct bl_number_embedding_attrs, channels)},
    {"period", BL_FIELD_FLOAT, offsetof(struct bl_number_embedding_attrs, period), true, 10000},
    {NULL},
};

const struct bl_op bl_op_number_embedding = {
    .name = "number_embedding",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_number_embedding_attrs),
    .fields = fields,
    .reads = BL_IN(0),
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
