/* A plain layer in front of the convolution engine. */
#include "ops/conv/layer.h"
#include <stdlib.h>

struct state {
    struct bl_conv *conv;
    bool packed; // for the weights of `version`, in an inference
    uint64_t version;
};

int bl_conv_layer_setup(struct bl_node *node, const struct bl_conv_attrs *a, int dims, const int64_t *shape) {
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    int code = bl_conv_setup(node, a, 1, bl_node_training(node) ? BL_LIFE_FORWARD : BL_LIFE_KEPT, &state->conv);
    if (code) return code;
    int64_t out_h, out_w;
    bl_conv_out_size(a, node->in[0]->h, node->in[0]->w, &out_h, &out_w);
    bl_node_out(node, a->out_channels, out_h, out_w);
    bl_node_param(node, "weight", BL_INIT_FAN_IN, dims, shape);
    if (a->bias) bl_node_param(node, "bias", BL_INIT_FAN_IN, 1, (int64_t[]){a->out_channels});
    node->multiply_adds = bl_conv_multiply_adds(state->conv);
    return 0;
}

int bl_conv_layer_fused(struct bl_node *node) {
    struct state *state = node->state;
    return bl_conv_fused(state->conv, node->param[0]->data.count);
}

int bl_conv_layer_make_moments(struct bl_node *node) {
    struct state *state = node->state;
    return bl_conv_make_moments(state->conv);
}

int bl_conv_layer_prepare(struct bl_node *node) {
    struct state *state = node->state;
    return bl_conv_prepare(state->conv);
}

int bl_conv_layer_forward(struct bl_node *node, const struct bl_run *run) {
    struct state *state = node->state;
    struct bl_mem *bias = node->params > 1 ? node->param[1]->data.mem : NULL;
    if (bl_node_training(node) || !state->packed || state->version != run->weights_version) {
        int code = bl_conv_pack(state->conv, run, node->param[0]->data.mem, bias);
        if (code) return code;
        state->packed = true, state->version = run->weights_version;
    }
    return bl_conv_forward(state->conv, run, node->in[0], bias, node->out[0]);
}

int bl_conv_layer_backward(struct bl_node *node, const struct bl_run *run) {
    struct state *state = node->state;
    int code = 0;
    bl_node_phase(node, BL_BACKWARD_WEIGHTS);
    if (bl_node_trains(node))
        code = bl_conv_backward_weights(state->conv, run, node->in[0], node->out[0]->grad, node->param[0]->grad.mem,
                                        node->params > 1 ? node->param[1]->grad.mem : NULL);
    if (code || !node->in[0]->grad) return code;
    bl_node_phase(node, BL_BACKWARD_DATA);
    return bl_conv_backward_data(state->conv, run, node->param[0]->data.mem, node->out[0]->grad, node->in[0]->grad,
                                 node->accumulate[0]);
}

void bl_conv_layer_release(struct bl_node *node) {
    struct state *state = node->state;
    if (state) bl_conv_free(state->conv);
    free(state);
}

struct bl_conv *bl_conv_layer_conv(const struct bl_node *node) {
    return ((const struct state *)node->state)->conv;
}
