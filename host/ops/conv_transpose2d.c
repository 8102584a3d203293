/* Transposed convolution, PyTorch's ConvTranspose2d: the adjoint of the convolution with the same weight (I, O/groups,
 * kh, kw), stride, padding and dilation, which takes O channels and gives I; bias (O). Forward is that convolution's
 * data gradient, the data gradient is that convolution, and the weight gradient is its own with input and output
 * gradient exchanged, so that the engines in ops/conv/ do the work. The output has
 * (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1 rows, and columns alike. */
#include "graph/onnx.h"
#include "graph/reference.h"
#include "ops/common.h"
#include "ops/conv/conv.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct state {
    struct bl_conv *conv;
    int vec;
    int64_t chunk;                     // rows (pixels) of a partial sum of the bias's gradient
    struct bl_kernel *add_bias, *sums; // the first NULL: the engine does it
    struct blanch_tensor *partial;     // (chunks, O)
    struct blanch_tensor *apart;       // a data gradient that is added to what is there
};

/* The convolution that it is the adjoint of. */
static struct bl_conv_attrs adjoint_of(const struct bl_conv_transpose_attrs *a) {
    return (struct bl_conv_attrs){.in_channels = a->out_channels,
                                  .out_channels = a->in_channels,
                                  .kernel = {a->kernel[0], a->kernel[1]},
                                  .stride = {a->stride[0], a->stride[1]},
                                  .padding = {a->padding[0], a->padding[1]},
                                  .dilation = {a->dilation[0], a->dilation[1]},
                                  .groups = a->groups};
}

static int64_t out_size(const struct bl_conv_transpose_attrs *a, int axis, int64_t size) {
    return (size - 1) * a->stride[axis] - 2 * (int64_t)a->padding[axis] +
           (int64_t)a->dilation[axis] * (a->kernel[axis] - 1) + a->output_padding[axis] + 1;
}

static int64_t rows_of(const struct bl_node *node, int64_t n) {
    return n * node->out[0]->h * node->out[0]->w;
}

static int check(const struct bl_node *node) {
    const struct bl_conv_transpose_attrs *a = node->attrs;
    const struct bl_conv_attrs conv = adjoint_of(a);
    int code = bl_conv_check(node->name, &conv);
    if (code) return code;
    if (node->in[0]->c != a->in_channels)
        return bl_fail(BLANCH_EINPUT, "%s: takes %d channels, its input has %lld", node->name, a->in_channels,
                       (long long)node->in[0]->c);
    for (int i = 0; i < 2; i++)
        if (a->output_padding[i] < 0 || a->output_padding[i] >= a->stride[i])
            return bl_fail(BLANCH_EINPUT,
                           "%s: an output padding of %d at a stride of %d: it is 0 to less than the stride", node->name,
                           a->output_padding[i], a->stride[i]);
    if (node->in[0]->h > INT_MAX || node->in[0]->w > INT_MAX)
        return bl_fail(BLANCH_ELIMIT, "%s: an input of %lldx%lld", node->name, (long long)node->in[0]->h,
                       (long long)node->in[0]->w);
    return 0;
}

static int setup(struct bl_node *node) {
    const struct bl_conv_transpose_attrs *a = node->attrs;
    const struct bl_conv_attrs conv = adjoint_of(a);
    int code = bl_check_inputs(node, 1, 1);
    if (code || (code = check(node))) return code;
    const struct blanch_tensor *x = node->in[0];
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    bl_node_out(node, a->out_channels, out_size(a, 0, x->h), out_size(a, 1, x->w));
    if (!node->outputs) return 0; // which the graph says
    const struct blanch_tensor *y = node->out[0];
    if ((code = bl_conv_setup_adjoint(node, &conv, y->h, y->w, &state->conv))) return code;
    bl_node_param(node, "weight", BL_INIT_FAN_IN, 4,
                  (int64_t[]){a->in_channels, a->out_channels / a->groups, a->kernel[0], a->kernel[1]});
    if (a->bias) bl_node_param(node, "bias", BL_INIT_FAN_IN, 1, &y->c);
    node->multiply_adds = bl_conv_multiply_adds(state->conv);
    state->vec = bl_vec(node->dev, y->c);
    state->chunk = bl_chunk_of(node->dev, y, state->vec);
    if (!bl_node_training(node)) return 0;
    if (a->bias)
        state->partial = bl_node_workspace(node, BL_LIFE_BACKWARD, y->c * bl_chunks(rows_of(node, y->n), state->chunk));
    state->apart = bl_node_workspace(node, BL_LIFE_BACKWARD,
                                     (bl_bytes_of(x, x->n * bl_features(x)) + BL_FLOAT_BYTES - 1) / BL_FLOAT_BYTES);
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *state = node->state;
    const struct bl_define defines[] = {{"VEC", state->vec}, BL_ACT(node)};
    int code = bl_conv_prepare(state->conv);
    if (code || node->params < 2) return code;
    if (!bl_conv_adjoint_biases(state->conv))
        code = bl_kernel_get(node->dev, "conv_transpose2d", "add_bias", defines, 2, &state->add_bias);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "conv_transpose2d", "sums", defines, 2, &state->sums);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *y = node->out[0];
    const int64_t rows = rows_of(node, run->n), vectors = y->c / state->vec;
    struct bl_mem *bias = node->params > 1 ? node->param[1]->data.mem : NULL;
    int code = bl_conv_adjoint(state->conv, run, node->param[0]->data.mem, bias, node->in[0], y);
    if (code || !state->add_bias) return code;
    return bl_launch_light(node->dev, state->add_bias,
                           bl_share_rows(node->dev, vectors, rows, bl_bytes_of(y, 2 * y->c)), BL_MEM(y->mem),
                           BL_MEM(bias), BL_I64(rows), BL_I32(vectors));
}

static int weight_gradients(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    const struct blanch_tensor *dy = node->out[0]->grad;
    const int64_t rows = rows_of(node, run->n), chunks = bl_chunks(rows, state->chunk), vectors = dy->c / state->vec;
    int code = bl_conv_backward_weights(state->conv, run, dy, node->in[0], node->param[0]->grad.mem, NULL);
    if (code || node->params < 2) return code;
    code = bl_launch_light(node->dev, state->sums, bl_share_chunks(node->dev, vectors, chunks), BL_MEM(dy->mem),
                           BL_MEM(state->partial->mem), BL_I64(rows), BL_I32(vectors), BL_I64(state->chunk));
    if (code) return code;
    bl_work(node->dev, 0, 0);
    return bl_sum_chunks(node, (struct bl_chunk_sums){state->partial->mem, chunks, dy->c, 0}, dy->c,
                         node->param[1]->grad.mem);
}

/* The convolution overwrites what it writes. */
static int data_gradient(struct bl_node *node, const struct bl_run *run) {
    const struct state *state = node->state;
    struct blanch_tensor to = *node->in[0]->grad;
    const int64_t count = run->n * bl_features(&to);
    if (node->accumulate[0]) to.mem = state->apart->mem;
    int code = bl_conv_pack(state->conv, run, node->param[0]->data.mem, NULL);
    if (!code) code = bl_conv_forward(state->conv, run, node->out[0]->grad, NULL, &to);
    if (code || !node->accumulate[0]) return code;
    bl_work(node->dev, 0, 0);
    return bl_copy(node, to.mem, node->in[0]->grad->mem, count, bl_vec(node->dev, bl_features(&to)), true);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    int code = 0;
    bl_node_phase(node, BL_BACKWARD_WEIGHTS);
    if (bl_node_trains(node)) code = weight_gradients(node, run);
    if (code || !node->in[0]->grad) return code;
    bl_node_phase(node, BL_BACKWARD_DATA);
    return data_gradient(node, run);
}

static void release(struct bl_node *node) {
    struct state *state = node->state;
    if (state) bl_conv_free(state->conv);
    free(state);
    node->state = NULL;
}

/* What a value gives to a plane of the output, by the taps of one of its channels. */
static void scatter(const struct bl_conv_transpose_attrs *a, struct bl_ref_tensor x, const double *taps,
                    struct bl_ref_tensor y) {
    for (int i = 0; i < x.h * x.w; i++)
        for (int t = 0; t < a->kernel[0] * a->kernel[1]; t++) {
            const int p = i / x.w * a->stride[0] - a->padding[0] + t / a->kernel[1] * a->dilation[0];
            const int q = i % x.w * a->stride[1] - a->padding[1] + t % a->kernel[1] * a->dilation[1];
            if (p >= 0 && q >= 0 && p < y.h && q < y.w) y.v[p * y.w + q] += x.v[i] * taps[t];
        }
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_conv_transpose_attrs *a = l->attrs;
    const int taps = a->kernel[0] * a->kernel[1], ci = a->in_channels / a->groups, co = a->out_channels / a->groups;
    int code =
        bl_ref_new(y, bl_ref_images(l, x), a->out_channels, (int)out_size(a, 0, x->h), (int)out_size(a, 1, x->w));
    for (int n = 0; n < y->n && !code; n++)
        for (int o = 0; o < y->c; o++) {
            const struct bl_ref_tensor plane = bl_ref_plane(y, n, o);
            for (int k = 0; k < y->h * y->w && a->bias; k++) plane.v[k] = l->param[1][o];
            for (int c = o / co * ci; c < (o / co + 1) * ci; c++)
                scatter(a, bl_ref_plane(x, n, c), l->param[0] + ((size_t)c * co + o % co) * taps, plane);
        }
    return code;
}

static const struct bl_field fields[] = {
    {"in_channels", BL_FIELD_INT, offsetof(struct bl_conv_transpose_attrs, in_channels), true},
    {"out_channels", BL_FIELD_INT, offsetof(struct bl_conv_transpose_attrs, out_channels)},
    {"kernel", BL_FIELD_INT2, offsetof(struct bl_conv_transpose_attrs, kernel)},
    {"stride", BL_FIELD_INT2, offsetof(struct bl_conv_transpose_attrs, stride), true, 1},
    {"padding", BL_FIELD_INT2, offsetof(struct bl_conv_transpose_attrs, padding), true},
    {"output_padding", BL_FIELD_INT2, offsetof(struct bl_conv_transpose_attrs, output_padding), true},
    {"dilation", BL_FIELD_INT2, offsetof(struct bl_conv_transpose_attrs, dilation), true, 1},
    {"groups", BL_FIELD_INT, offsetof(struct bl_conv_transpose_attrs, groups), true, 1},
    {"bias", BL_FIELD_BOOL, offsetof(struct bl_conv_transpose_attrs, bias), true, 1},
    {NULL},
};

/* --- ONNX ------------------------------------------------------------------------------------- */

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    const int64_t groups = bl_onnx_int(n, "group", 1);
    int64_t sizes[BL_ONNX_DIMS] = {1, 1, 1, 1};
    int pads[4], shape[2];
    struct bl_conv_transpose_attrs a = {.bias = bl_onnx_has(n, 2) && !bl_onnx_is_zero(r, n, 2)};
    if (bl_onnx_sizes(r, n, 1, sizes) != 4)
        return bl_onnx_refuse(r, "its weights are no values of the file, of four sizes");
    for (int i = 0; i < 4; i++)
        if (sizes[i] < 1 || sizes[i] > INT_MAX) return bl_onnx_refuse(r, "its weights are too large");
    if (groups < 1 || groups > INT_MAX / sizes[1] || (x && sizes[0] != x->c))
        return bl_onnx_refuse(r, "its weights are for %lld channels in %lld groups, which its input does not have",
                              (long long)sizes[0], (long long)groups);
    a.in_channels = (int)sizes[0], a.out_channels = (int)(sizes[1] * groups), a.groups = (int)groups;
    a.kernel[0] = (int)sizes[2], a.kernel[1] = (int)sizes[3];
    bl_onnx_ints(r, n, "strides", 1, a.stride, 2);
    bl_onnx_ints(r, n, "dilations", 1, a.dilation, 2);
    bl_onnx_ints(r, n, "output_padding", 0, a.output_padding, 2);
    bl_onnx_ints(r, n, "output_shape", 0, shape, 2);
    bl_onnx_ints(r, n, "pads", 0, pads, 4);
    if (shape[0] || strcmp(bl_onnx_text(n, "auto_pad", "NOTSET"), "NOTSET"))
        return bl_onnx_refuse(r, "its padding is to be found by the output's size");
    if (pads[0] != pads[2] || pads[1] != pads[3]) return bl_onnx_refuse(r, "its padding is not the same on both sides");
    a.padding[0] = pads[0], a.padding[1] = pads[1];
    const struct bl_onnx_param params[] = {{"weight", n, 1}, {a.bias ? "bias" : NULL, n, 2}, {NULL}};
    return bl_onnx_add(r, n, &a, &x, 1, params, BL_ONNX_NCHW);
}

/* Weights (I, O/groups, taps) and those of a layer, (O, I/groups taps). */
static void turn(const struct bl_conv_transpose_attrs *a, const double *from, double *to, bool to_layer) {
    const int64_t taps = (int64_t)a->kernel[0] * a->kernel[1], ci = a->in_channels / a->groups,
                  co = a->out_channels / a->groups;
    for (int64_t c = 0; c < a->in_channels; c++)
        for (int64_t o = 0; o < co; o++)
            for (int64_t t = 0; t < taps; t++) {
                const int64_t own = (c * co + o) * taps + t, layer = ((c / ci * co + o) * ci + c % ci) * taps + t;
                to[to_layer ? layer : own] = from[to_layer ? own : layer];
            }
}

static void fold(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer) {
    const struct bl_conv_transpose_attrs *a = node->attrs;
    const int64_t count = node->param[0]->data.count, out = a->out_channels;
    const float *weight = bl_onnx_values(w, node->param[0]),
                *bias = node->params > 1 ? bl_onnx_values(w, node->param[1]) : NULL;
    struct bl_onnx_layer own;
    if (!weight || !bl_onnx_layer(w, &own, 1, count) || !bl_onnx_layer(w, layer, out, count / out)) return;
    for (int64_t i = 0; i < count; i++) own.weight[i] = (double)weight[i];
    turn(a, own.weight, layer->weight, true);
    for (int64_t i = 0; bias && i < out; i++) layer->bias[i] = (double)bias[i];
}

static void write_layer(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer) {
    const struct bl_conv_transpose_attrs *a = node->attrs;
    const int64_t kernel[] = {a->kernel[0], a->kernel[1]}, strides[] = {a->stride[0], a->stride[1]},
                  dilations[] = {a->dilation[0], a->dilation[1]},
                  further[] = {a->output_padding[0], a->output_padding[1]}, out = a->out_channels,
                  pads[] = {a->padding[0], a->padding[1], a->padding[0], a->padding[1]},
                  sizes[] = {a->in_channels, out / a->groups, kernel[0], kernel[1]};
    const struct bl_onnx_attribute attributes[] = {{"kernel_shape", BL_ONNX_INTS, .count = 2, .ints = kernel},
                                                   {"strides", BL_ONNX_INTS, .count = 2, .ints = strides},
                                                   {"pads", BL_ONNX_INTS, .count = 4, .ints = pads},
                                                   {"output_padding", BL_ONNX_INTS, .count = 2, .ints = further},
                                                   {"dilations", BL_ONNX_INTS, .count = 2, .ints = dilations},
                                                   {"group", BL_ONNX_INT, .i = a->groups},
                                                   {NULL}};
    struct bl_onnx_layer own;
    if (!layer->weight || !bl_onnx_layer(w, &own, 1, layer->out * layer->each)) return;
    turn(a, layer->weight, own.weight, false);
    bl_onnx_emit(w, "ConvTranspose",
                 (const char *[4]){bl_onnx_in(w, node, 0, BL_ONNX_NCHW),
                                   bl_onnx_put(w, node, "weight", own.weight, 4, sizes),
                                   bl_onnx_put(w, node, "bias", layer->bias, 1, &out)},
                 bl_onnx_out(w, node, BL_ONNX_NCHW), attributes);
}

static const struct bl_onnx_form forms[] = {{"ConvTranspose", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .fold = fold, .write_layer = write_layer};

const struct bl_op bl_op_conv_transpose2d = {
    .name = "conv_transpose2d",
    .role = BL_ROLE_LAYER,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_conv_transpose_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .phase_forward = BL_FORWARD,
    .phase_backward = BL_BACKWARD_WEIGHTS,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = release,
    .onnx = &onnx,
};
