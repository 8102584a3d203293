/* Zeroes each value with probability p while training and scales the others by 1/(1-p); the identity in evaluation. The
 * mask is Philox's, keyed by seed, step and node and counted by position, so that backward draws it again and none is
 * kept. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

int bl_dropout_setup(struct bl_node *node) {
    const struct bl_dropout_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    if (!(attrs->p >= 0 && attrs->p < 1))
        return bl_fail(BLANCH_EINPUT, "%s: p = %g, not in [0, 1)", node->name, attrs->p);
    bl_node_out(node, node->in[0]->c, node->in[0]->h, node->in[0]->w);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, 16, "dropout", "dropout", NULL);
}

static int drop(struct bl_node *node, const struct bl_run *run, struct bl_mem *from, struct bl_mem *to, bool add) {
    const struct bl_plain_state *state = node->state;
    const struct bl_dropout_attrs *attrs = node->attrs;
    int64_t features = bl_features(node->out[0]), count = run->n * features;
    if (!run->training || run->no_dropout || attrs->p == 0)
        return from == to ? 0 : bl_copy(node, from, to, count, bl_vec(node->dev, features), add);
    uint64_t stream = run->step << 16 | (uint64_t)node->index;
    return bl_launch(state->forward, bl_share(node->dev, (count + 62) / 32, 1024), BL_MEM(from), BL_MEM(to),
                     BL_I64(count), BL_I64(run->first_image * bl_features(node->out[0])), BL_I64(run->seed),
                     BL_I32(BL_RANDOM_DROPOUT), BL_I64(stream), BL_I32(ceil(attrs->p * 0x1p24)),
                     BL_F32(1 / (1 - attrs->p)), BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    return drop(node, run, node->in[0]->mem, node->out[0]->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    struct blanch_tensor *grad = node->in[0]->grad;
    return grad ? drop(node, run, node->out[0]->grad->mem, grad->mem, node->accumulate[0]) : 0;
}

/* The mask is Philox's, counted by the element's position on the device, which holds channels last. */
static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_dropout_attrs *a = l->attrs;
    size_t plane = (size_t)x->h * x->w, channels = (size_t)x->c;
    uint32_t threshold = (uint32_t)ceil((double)a->p * 0x1p24), word[4];
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) {
        size_t image = i / (plane * channels), channel = i / plane % channels,
               at = (image * plane + i % plane) * channels + channel;
        bl_philox(l->seed, BL_RANDOM_DROPOUT, at / 4, l->step << 16 | (uint64_t)l->index, word);
        bool kept = !l->training || word[at % 4] >> 8 >= threshold;
        y->v[i] = kept ? x->v[i] / (l->training ? 1 - (double)a->p : 1) : 0;
    }
    return code;
}

const struct bl_field bl_dropout_fields[] = {{"p", BL_FIELD_FLOAT, offsetof(struct bl_dropout_attrs, p)}, {NULL}};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    double ratio = 0.5;
    if (bl_onnx_has(n, 1) && !bl_onnx_number(r, n, 1, &ratio)) return bl_onnx_refuse(r, "its ratio is not known");
    return bl_onnx_add_unary(r, n, 0, &(const struct bl_dropout_attrs){(float)ratio});
}

/* What PyTorch's bernoulli_ and division become. */
static int read_mask(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    float keep;
    bool by_image;
    for (int i = 0; i < 2; i++)
        if (bl_onnx_mask(r, n, i, &keep, &by_image) && !by_image)
            return bl_onnx_add_unary(r, n, !i, &(const struct bl_dropout_attrs){1 - keep});
    return bl_onnx_other(r);
}

static const struct bl_onnx_form forms[] = {{"Dropout", read}, {"Mul", read_mask}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms}; // in evaluation it is not there

const struct bl_op bl_op_dropout = {
    .name = "dropout",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_dropout_attrs),
    .fields = bl_dropout_fields,
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = bl_dropout_setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
