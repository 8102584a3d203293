/* What a tensor of 8 bits keeps of its values (as PyTorch's fake_quantize_per_tensor_affine): of inference alone, in
 * networks that `export --precision int8` has written. ONNX has it as QuantizeLinear and DequantizeLinear. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>
#include <string.h>

static int setup(struct bl_node *node) {
    const struct bl_fake_quantize_attrs *a = node->attrs;
    if (!(a->scale > 0 && isfinite(a->scale)))
        return bl_fail(BLANCH_EINPUT, "%s: scale = %g, not above 0", node->name, (double)a->scale);
    if (a->quant_min >= a->quant_max || a->zero_point < a->quant_min || a->zero_point > a->quant_max)
        return bl_fail(BLANCH_EINPUT, "%s: zero_point = %d is not within quant_min = %d and quant_max = %d", node->name,
                       a->zero_point, a->quant_min, a->quant_max);
    return bl_activation_setup(node);
}

static int prepare(struct bl_node *node) {
    struct bl_plain_state *state = bl_plain_state(node);
    if (bl_node_training(node))
        return bl_fail(BLANCH_EUSAGE, "%s: a network of 8 bits is for inference: it does not train", node->name);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, bl_features(node->out[0]));
    const struct bl_define defines[] = {{"VEC", state->vec}, BL_ACT(node)};
    return bl_kernel_get(node->dev, "fake_quantize", "forward", defines, BL_COUNT(defines), &state->forward);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_fake_quantize_attrs *a = node->attrs;
    const struct bl_plain_state *state = node->state;
    const int64_t vectors = run->n * bl_features(node->out[0]) / state->vec;
    return bl_launch(state->forward, bl_share(node->dev, vectors, bl_bytes_of(node->out[0], 2 * state->vec)),
                     BL_MEM(node->in[0]->mem), BL_MEM(node->out[0]->mem), BL_I64(vectors), BL_F32(a->scale),
                     BL_F32((float)a->zero_point), BL_F32((float)a->quant_min), BL_F32((float)a->quant_max));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_fake_quantize_attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) {
        const double q = nearbyint(x->v[i] / (double)a->scale) + a->zero_point;
        y->v[i] = (fmin(fmax(q, a->quant_min), a->quant_max) - a->zero_point) * (double)a->scale;
    }
    return code;
}

#define FIELD(member) offsetof(struct bl_fake_quantize_attrs, member)
static const struct bl_field fields[] = {{"scale", BL_FIELD_FLOAT, FIELD(scale)},
                                         {"zero_point", BL_FIELD_INT, FIELD(zero_point), true, 0},
                                         {"quant_min", BL_FIELD_INT, FIELD(quant_min), true, -128},
                                         {"quant_max", BL_FIELD_INT, FIELD(quant_max), true, 127},
                                         {NULL}};

/* --- ONNX: a pair of nodes -------------------------------------------------------------------- */

static const char pair[] = "fake_quantize";

static int read_first(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    if (!bl_onnx_is_tensor(r, n, 0)) return bl_onnx_other(r);
    return bl_onnx_pend(r, n, 0, pair);
}

static bool same_input(const struct bl_onnx_node *a, const struct bl_onnx_node *b, int input) {
    const char *one = bl_onnx_has(a, input) ? a->input[input] : "",
               *other = bl_onnx_has(b, input) ? b->input[input] : "";
    return !strcmp(one, other);
}

/* Scale and zero point are one number each, the same of both. */
static int read_second(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_pending(r, n, 0, pair);
    double scale, zero = 0;
    if (!x) return bl_onnx_other(r);
    const struct bl_onnx_node *first = bl_onnx_maker(r, n, 0);
    if (!first || !same_input(first, n, 1) || !same_input(first, n, 2))
        return bl_onnx_refuse(r, "it has another scale or zero point than the QuantizeLinear before it");
    if (!bl_onnx_number(r, n, 1, &scale) || (bl_onnx_has(n, 2) && !bl_onnx_number(r, n, 2, &zero)))
        return bl_onnx_refuse(r, "its scale and its zero point are not one number each");
    const bool below = bl_onnx_is_signed(r, n, 2);
    const struct bl_fake_quantize_attrs attrs = {(float)scale, (int)zero, below ? -128 : 0, below ? 127 : 255};
    return bl_onnx_add(r, n, &attrs, &x, 1, NULL, bl_onnx_view(r, n, 0));
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_fake_quantize_attrs *a = node->attrs;
    const enum bl_onnx_view view = bl_onnx_written(w, node, 0);
    bl_onnx_same(w, node, bl_onnx_quantized(w, node, bl_onnx_in(w, node, 0, view), a), view);
}

static const struct bl_onnx_form forms[] = {{"QuantizeLinear", read_first}, {"DequantizeLinear", read_second}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_fake_quantize = {
    .name = "fake_quantize",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_fake_quantize_attrs),
    .fields = fields,
    .in_place = BL_IN_PLACE_OUT,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
