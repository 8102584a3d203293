/* y = x + p, p of every pixel t: p[2 i] = sin(t / 10000^(2 i / C)), p[2 i + 1] = cos of the same (Vaswani et al.,
 * NeurIPS 2017). No parameters. */
#include "graph/reference.h"
#include "ops/tokens.h"
#include <math.h>
#include <stdlib.h>

struct state {
    int vec;
    struct bl_kernel *add;
    struct blanch_tensor *table; // (pixels, C)
};

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    bl_node_out(node, x->c, x->h, x->w);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, x->c);
    state->table = bl_node_workspace(node, BL_LIFE_KEPT, bl_features(x));
    return 0;
}

static double position_of(int64_t pixel, int64_t channel, int64_t channels) {
    const double angle = (double)pixel * pow(10000, -(double)(channel - channel % 2) / (double)channels);
    return channel % 2 ? cos(angle) : sin(angle);
}

static int prepare(struct bl_node *node) {
    struct state *state = node->state;
    const int64_t features = bl_features(node->in[0]), channels = node->in[0]->c;
    float *table = bl_calloc((size_t)features, sizeof *table);
    if (!table) return BLANCH_ENOMEM;
    for (int64_t i = 0; i < features; i++) table[i] = (float)position_of(i / channels, i % channels, channels);
    int code = bl_mem_write(state->table->mem, 0, (size_t)features * sizeof *table, table);
    free(table);
    return code ? code : bl_token_kernel(node, "add_position", &state->add);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t features = bl_features(x), vectors = features / state->vec;
    return bl_launch_light(node->dev, state->add,
                           bl_share_rows(node->dev, vectors, run->n, bl_bytes_of(x, 2 * features)), BL_MEM(x->mem),
                           BL_MEM(state->table->mem), BL_MEM(node->out[0]->mem), BL_I64(run->n), BL_I32(vectors));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    struct bl_mem *dy = node->out[0]->grad->mem;
    if (!x->grad || x->grad->mem == dy) return 0;
    return bl_copy(node, dy, x->grad->mem, run->n * bl_features(x), state->vec, node->accumulate[0]);
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    const int plane = x->h * x->w;
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++)
        y->v[i] = x->v[i] + position_of((int64_t)i % plane, (int64_t)i / plane % x->c, x->c);
    return code;
}

const struct bl_op bl_op_sinusoidal_position = {
    .name = "sinusoidal_position",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = release,
};
