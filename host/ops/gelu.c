/* y = x P(x), P(x) = (1 + erf(x / sqrt(2))) / 2; with `tanh` the approximation P(x) = (1 + tanh(sqrt(2 / pi) (x +
 * 0.044715 x^3))) / 2 (Hendrycks and Gimpel, 2016). It is not monotonic, so the gradient needs the input. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>
#include <string.h>

struct attrs {
    int tanh;
};

static int prepare(struct bl_node *node) {
    const struct attrs *attrs = node->attrs;
    return bl_activation_prepare(node, attrs->tanh ? "gelu_tanh" : "gelu", 0);
}

static double below(double x, bool approximately) {
    const double pi = acos(-1);
    return 0.5 * (1 + (approximately ? tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)) : erf(x / sqrt(2))));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] * below(x->v[i], a->tanh);
    return code;
}

static const struct bl_field fields[] = {{"tanh", BL_FIELD_BOOL, offsetof(struct attrs, tanh), true}, {NULL}};

/* As an operator, or in parts: x (1 + erf(x / sqrt(2))) / 2. */
static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct attrs attrs = {!strcmp(bl_onnx_text(n, "approximate", "none"), "tanh")};
    return bl_onnx_add_unary(r, n, 0, &attrs);
}

/* The input that is no number, where the other is `number`. */
static int beside(struct bl_onnx_reader *r, const struct bl_onnx_node *n, double number) {
    double value;
    for (int i = 0; i < 2; i++)
        if (bl_onnx_number(r, n, i, &value) && fabs(value - number) < 1e-5) return !i;
    return -1;
}

static int read_scaled(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    const struct bl_onnx_node *user = bl_onnx_user(r, n);
    if (input < 0 || !bl_onnx_is_tensor(r, n, input) || !user || strcmp(user->type, "Erf")) return bl_onnx_other(r);
    return bl_onnx_pend(r, n, input, "x/sqrt2");
}

static int read_quotient(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return read_scaled(r, n, beside(r, n, sqrt(2)) == 0 ? 0 : -1);
}

static int read_erf(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    if (!bl_onnx_pending(r, n, 0, "x/sqrt2")) return bl_onnx_other(r);
    return bl_onnx_pend(r, n, 0, "erf");
}

static int read_sum(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int i = beside(r, n, 1);
    return i >= 0 && bl_onnx_pending(r, n, i, "erf") ? bl_onnx_pend(r, n, i, "1+erf") : bl_onnx_other(r);
}

static int read_product(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int half = beside(r, n, 0.5);
    if (half >= 0 && bl_onnx_pending(r, n, half, "2gelu")) return bl_onnx_add_unary(r, n, half, NULL);
    for (int i = 0; i < 2; i++) {
        const struct blanch_tensor *x = bl_onnx_pending(r, n, i, "1+erf");
        if (x && bl_onnx_is_tensor(r, n, !i) && bl_onnx_tensor(r, n, !i) == x) return bl_onnx_pend(r, n, i, "2gelu");
    }
    return read_scaled(r, n, beside(r, n, sqrt(0.5)));
}

/* In parts: opset 17 has no such operator. */
static void write_tanh(struct bl_onnx_writer *w, const struct bl_node *node, const char *x, const char *inner) {
    const char *cube = bl_onnx_between(w, node, "cube"), *small = bl_onnx_between(w, node, "small"),
               *sum = bl_onnx_between(w, node, "sum"), *scaled = bl_onnx_between(w, node, "scaled");
    bl_onnx_emit(w, "Pow", (const char *[4]){x, bl_onnx_put(w, node, "three", (const double[]){3}, 0, NULL)}, cube,
                 NULL);
    bl_onnx_emit(w, "Mul", (const char *[4]){cube, bl_onnx_put(w, node, "factor", (const double[]){0.044715}, 0, NULL)},
                 small, NULL);
    bl_onnx_emit(w, "Add", (const char *[4]){x, small}, sum, NULL);
    bl_onnx_emit(w, "Mul",
                 (const char *[4]){sum, bl_onnx_put(w, node, "slope", (const double[]){sqrt(2 / acos(-1))}, 0, NULL)},
                 scaled, NULL);
    bl_onnx_emit(w, "Tanh", (const char *[4]){scaled}, inner, NULL);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct attrs *a = node->attrs;
    const enum bl_onnx_view view = bl_onnx_written(w, node, 0);
    const char *x = bl_onnx_in(w, node, 0, view), *scaled = bl_onnx_between(w, node, "argument"),
               *inner = bl_onnx_between(w, node, "inner"), *sum = bl_onnx_between(w, node, "share"),
               *product = bl_onnx_between(w, node, "product");
    if (a->tanh)
        write_tanh(w, node, x, inner);
    else {
        const char *factor = bl_onnx_put(w, node, "factor", (const double[]){sqrt(2)}, 0, NULL);
        bl_onnx_emit(w, "Div", (const char *[4]){x, factor}, scaled, NULL);
        bl_onnx_emit(w, "Erf", (const char *[4]){scaled}, inner, NULL);
    }
    bl_onnx_emit(w, "Add", (const char *[4]){inner, bl_onnx_put(w, node, "one", (const double[]){1}, 0, NULL)}, sum,
                 NULL);
    bl_onnx_emit(w, "Mul", (const char *[4]){x, sum}, product, NULL);
    bl_onnx_emit(w, "Mul", (const char *[4]){product, bl_onnx_put(w, node, "half", (const double[]){0.5}, 0, NULL)},
                 bl_onnx_out(w, node, view), NULL);
}

static const struct bl_onnx_form forms[] = {{"Gelu", read},    {"Div", read_quotient}, {"Erf", read_erf},
                                            {"Add", read_sum}, {"Mul", read_product},  {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_gelu = {
    .name = "gelu",
    .role = BL_ROLE_ACTIVATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = bl_activation_setup,
    .prepare = prepare,
    .forward = bl_activation_forward,
    .backward = bl_activation_backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
