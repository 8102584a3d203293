/* A network to an ONNX file: its nodes in order, each written by its operation; what follows a layer alone and is
 * affine by channel is folded into its weights first, in double precision. */
#include "graph/onnx_writer.h"
#include "graph/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char number_name[] = "time", label_name[] = "class"; // of graph inputs beside the images

static const char *in_name(const struct bl_onnx_writer *w) {
    return w->options->input ? w->options->input : "images";
}
static const char *out_name(const struct bl_onnx_writer *w) {
    return w->options->output ? w->options->output : "logits";
}

void bl_onnx_failed(struct bl_onnx_writer *w, int code) {
    if (!w->code) w->code = code;
}

static void *keep(struct bl_onnx_writer *w, void *block) {
    if (!block || bl_grow((void **)&w->memory, &w->memory_capacity, w->memory_count + 1, sizeof *w->memory)) {
        bl_onnx_failed(w, BLANCH_ENOMEM);
        return free(block), NULL;
    }
    return w->memory[w->memory_count++] = block;
}

void *bl_onnx_room(struct bl_onnx_writer *w, size_t count, size_t size) {
    return keep(w, bl_calloc(count + 1, size));
}

static void *copy(struct bl_onnx_writer *w, const void *from, size_t count, size_t size) {
    void *to = bl_onnx_room(w, count, size);
    if (to && count) memcpy(to, from, count * size);
    return to;
}

/* --- names and views -------------------------------------------------------------------------- */

const char *bl_onnx_between(struct bl_onnx_writer *w, const struct bl_node *node, const char *what) {
    char id[160];
    bl_graph_id(node, id);
    const char *name = keep(w, bl_format("%s/%s", id, what));
    return name ? name : "";
}

static struct written *written_of(const struct bl_onnx_writer *w, const struct bl_node *node, int input) {
    const struct bl_node *maker = bl_graph_maker(node, node->in[input]);
    return &w->written[maker ? maker->index : bl_graph_nodes(w->graph)];
}

enum bl_onnx_view bl_onnx_written(const struct bl_onnx_writer *w, const struct bl_node *node, int input) {
    return written_of(w, node, input)->view;
}

static const char *turned(struct bl_onnx_writer *w, const char *from, const char *to, bool last) {
    const int64_t back[] = {0, 3, 1, 2}, there[] = {0, 2, 3, 1};
    bl_onnx_emit(
        w, "Transpose", (const char *[4]){from}, to,
        (const struct bl_onnx_attribute[]){{"perm", BL_ONNX_INTS, .count = 4, .ints = last ? there : back}, {NULL}});
    return to;
}

/* (N, features) to images of one pixel. */
static const char *unflattened(struct bl_onnx_writer *w, const struct bl_node *node, const char *from, const char *to) {
    const char *shape = bl_onnx_put_whole(w, node, "pixel", (const int64_t[]){0, -1, 1, 1}, 4);
    bl_onnx_emit(w, "Reshape", (const char *[4]){from, shape}, to, NULL);
    return to;
}

static const char *reshaped(struct bl_onnx_writer *w, const struct bl_node *node, int input, const char *from,
                            const int64_t *sizes, int count) {
    char what[32];
    snprintf(what, sizeof what, "sizes%d.%d", input, count);
    const char *shape = bl_onnx_put_whole(w, node, what, sizes, count);
    snprintf(what, sizeof what, "as%d.%d", input, count);
    const char *to = bl_onnx_between(w, node, what);
    bl_onnx_emit(w, "Reshape", (const char *[4]){from, shape}, to, NULL);
    return to;
}

/* To or from (N, pixels, C). */
static const char *in_tokens(struct bl_onnx_writer *w, const struct bl_node *node, int input, enum bl_onnx_view view) {
    const struct written *from = written_of(w, node, input);
    const struct blanch_tensor *x = node->in[input];
    if (view == BL_ONNX_TOKENS && from->view == BL_ONNX_FLAT)
        return reshaped(w, node, input, from->name, (const int64_t[]){0, 1, -1}, 3);
    if (view == BL_ONNX_TOKENS)
        return reshaped(w, node, input, bl_onnx_in(w, node, input, BL_ONNX_NHWC), (const int64_t[]){0, -1, x->c}, 3);
    if (view == BL_ONNX_FLAT && x->h * x->w == 1)
        return reshaped(w, node, input, from->name, (const int64_t[]){0, -1}, 2);
    const char *last = reshaped(w, node, input, from->name, (const int64_t[]){0, x->h, x->w, x->c}, 4), *flat;
    if (view == BL_ONNX_NHWC) return last;
    last = turned(w, last, bl_onnx_between(w, node, input ? "nchw1" : "nchw0"), false);
    if (view == BL_ONNX_NCHW) return last;
    bl_onnx_emit(w, "Flatten", (const char *[4]){last}, flat = bl_onnx_between(w, node, input ? "flat1" : "flat0"),
                 NULL);
    return flat;
}

/* An input is made of another view beside the node that wants it so. */
const char *bl_onnx_in(struct bl_onnx_writer *w, const struct bl_node *node, int input, enum bl_onnx_view view) {
    const struct written *from = written_of(w, node, input);
    if (!w->code && bl_onnx_given(w, node, input))
        bl_onnx_failed(w, bl_fail(BLANCH_EUSAGE, "%s: %s of a number or a label has no form in ONNX that is written",
                                  node->name, node->op->name));
    if (w->code || from->view == view) return from->name ? from->name : "";
    if (view == BL_ONNX_TOKENS || from->view == BL_ONNX_TOKENS) return in_tokens(w, node, input, view);
    char what[16];
    snprintf(what, sizeof what, "in%d", input);
    const char *name = bl_onnx_between(w, node, what), *middle = from->name;
    if (from->view == BL_ONNX_FLAT) {
        const char *to = view == BL_ONNX_NCHW ? name : bl_onnx_between(w, node, "pixel/in");
        middle = unflattened(w, node, middle, to);
        return view == BL_ONNX_NCHW ? middle : turned(w, middle, name, true);
    }
    if (view == BL_ONNX_FLAT && from->view == BL_ONNX_NHWC)
        middle = turned(w, middle, bl_onnx_between(w, node, "nchw"), false);
    if (view != BL_ONNX_FLAT) return turned(w, middle, name, view == BL_ONNX_NHWC);
    bl_onnx_emit(w, "Flatten", (const char *[4]){middle}, name, NULL);
    return name;
}

void bl_onnx_same(struct bl_onnx_writer *w, const struct bl_node *node, const char *name, enum bl_onnx_view view) {
    w->written[w->stands_for[node->index]->index] = (struct written){name, view};
}

const char *bl_onnx_out(struct bl_onnx_writer *w, const struct bl_node *node, enum bl_onnx_view view) {
    const char *name = bl_onnx_between(w, node, "out");
    bl_onnx_same(w, node, name, view);
    return name;
}

const char *bl_onnx_given(struct bl_onnx_writer *w, const struct bl_node *node, int input) {
    const struct blanch_tensor *x = node->in[input];
    if (bl_graph_maker(node, x) || x == bl_graph_in(w->graph)) return NULL;
    return x->type == BL_I32 ? label_name : number_name;
}

const char *bl_onnx_narrow(struct bl_onnx_writer *w, const struct bl_node *node, const char *from) {
    if (w->options->type == BL_F32) return from;
    const char *to = bl_onnx_between(w, node, "narrow");
    bl_onnx_emit(w, "Cast", (const char *[4]){from}, to,
                 (const struct bl_onnx_attribute[]){{"to", BL_ONNX_INT, .i = BL_ONNX_TYPE_F16}, {NULL}});
    return to;
}

/* --- nodes and initialisers ------------------------------------------------------------------- */

static void copy_attributes(struct bl_onnx_writer *w, struct bl_onnx_node *node,
                            const struct bl_onnx_attribute *attributes) {
    while (attributes && attributes[node->attributes].name) node->attributes++;
    struct bl_onnx_attribute *to = copy(w, attributes, (size_t)node->attributes, sizeof *to);
    for (int i = 0; to && i < node->attributes; i++)
        if (to[i].kind == BL_ONNX_INTS) to[i].ints = copy(w, to[i].ints, (size_t)to[i].count, sizeof *to[i].ints);
    node->attribute = to;
}

void bl_onnx_emit_many(struct bl_onnx_writer *w, const char *type, const char *const *in, int inputs, const char *out,
                       const struct bl_onnx_attribute *attributes) {
    int code = bl_grow((void **)&w->nodes, &w->node_capacity, w->node_count + 1, sizeof *w->nodes);
    if (code) bl_onnx_failed(w, code);
    if (w->code) return;
    struct bl_onnx_node *node = &w->nodes[w->node_count++];
    *node = (struct bl_onnx_node){.name = out, .type = type, .domain = "", .inputs = inputs, .outputs = 1};
    node->input = copy(w, in, (size_t)inputs, sizeof *in);
    node->output = copy(w, &out, 1, sizeof out);
    copy_attributes(w, node, attributes);
}

void bl_onnx_emit(struct bl_onnx_writer *w, const char *type, const char *const in[4], const char *out,
                  const struct bl_onnx_attribute *attributes) {
    int inputs = 0;
    while (inputs < 4 && in[inputs]) inputs++;
    bl_onnx_emit_many(w, type, in, inputs, out, attributes);
}

void bl_onnx_write_unary(struct bl_onnx_writer *w, const struct bl_node *node, const char *type,
                         const struct bl_onnx_attribute *attributes) {
    const enum bl_onnx_view view = bl_onnx_written(w, node, 0);
    const char *x = bl_onnx_in(w, node, 0, view);
    bl_onnx_emit(w, type, (const char *[4]){x}, bl_onnx_out(w, node, view), attributes);
}

const char *bl_onnx_put_raw(struct bl_onnx_writer *w, const struct bl_node *node, const char *name, enum bl_type type,
                            const void *data, int dims, const int64_t *sizes) {
    int code = bl_grow((void **)&w->tensors, &w->tensor_capacity, w->tensor_count + 1, sizeof *w->tensors);
    char id[160];
    bl_graph_id(node, id);
    const char *full = keep(w, bl_format("%s%s%s", node->params ? node->name : id, *name ? "." : "", name));
    struct bl_st_tensor tensor = {
        .name = full, .dtype = type, .dims = dims, .data = data, .bytes = bl_type_bytes(type)};
    if (!code) code = bl_grow((void **)&w->weights, &w->weight_capacity, w->weight_count + 1, sizeof *w->weights);
    if (code) bl_onnx_failed(w, code);
    if (w->code) return "";
    for (int i = 0; i < dims; i++) tensor.shape[i] = sizes[i], tensor.bytes *= (size_t)sizes[i];
    w->tensors[w->tensor_count++] = tensor;
    if (node->params && type != BL_I64) w->weights[w->weight_count++] = tensor;
    return full;
}

const char *bl_onnx_put(struct bl_onnx_writer *w, const struct bl_node *node, const char *name, const double *values,
                        int dims, const int64_t *sizes) {
    size_t count = 1;
    for (int i = 0; i < dims; i++) count *= (size_t)sizes[i];
    float *floats = values ? bl_onnx_room(w, count, sizeof *floats) : NULL;
    for (size_t i = 0; floats && i < count; i++) floats[i] = (float)values[i];
    if (!floats) return "";
    if (w->options->type == BL_F32) return bl_onnx_put_raw(w, node, name, BL_F32, floats, dims, sizes);
    void *narrow = bl_onnx_room(w, count, bl_type_bytes(w->options->type));
    if (narrow) bl_type_narrow(w->options->type, floats, narrow, count);
    return bl_onnx_put_raw(w, node, name, w->options->type, narrow, dims, sizes);
}

const char *bl_onnx_put_floats(struct bl_onnx_writer *w, const struct bl_node *node, const char *name,
                               const float *values, int count) {
    const float *kept = copy(w, values, (size_t)count, sizeof *values);
    return bl_onnx_put_raw(w, node, name, BL_F32, kept, 1, (const int64_t[]){count});
}

const char *bl_onnx_put_whole(struct bl_onnx_writer *w, const struct bl_node *node, const char *name,
                              const int64_t *values, int count) {
    const int64_t *kept = copy(w, values, (size_t)(count ? count : 1), sizeof *values);
    return bl_onnx_put_raw(w, node, name, BL_I64, kept, count > 0, (const int64_t[]){count});
}

/* --- layers ----------------------------------------------------------------------------------- */

const float *bl_onnx_values(struct bl_onnx_writer *w, const struct bl_param *param) {
    float *values = w->code ? NULL : bl_onnx_room(w, (size_t)param->data.count, sizeof *values);
    int code = values ? w->options->values(w->options->context, param, values) : 0;
    if (code) bl_onnx_failed(w, code);
    return w->code ? NULL : values;
}

bool bl_onnx_layer(struct bl_onnx_writer *w, struct bl_onnx_layer *layer, int64_t out, int64_t each) {
    *layer = (struct bl_onnx_layer){.out = out, .each = each};
    if (w->code) return false;
    layer->weight = bl_onnx_room(w, (size_t)(out * each), sizeof *layer->weight);
    layer->bias = bl_onnx_room(w, (size_t)out, sizeof *layer->bias);
    return layer->weight && layer->bias;
}

void bl_onnx_fold_plain(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer) {
    const int64_t count = node->param[0]->data.count, out = node->param[0]->shape[0];
    const float *weight = bl_onnx_values(w, node->param[0]),
                *bias = node->params > 1 ? bl_onnx_values(w, node->param[1]) : NULL;
    if (!weight || !bl_onnx_layer(w, layer, out, count / out)) return;
    for (int64_t i = 0; i < count; i++) layer->weight[i] = (double)weight[i];
    for (int64_t i = 0; bias && i < out; i++) layer->bias[i] = (double)bias[i];
}

/* By what nodes were defined with: a fused one has another's tensors. */
static void count_uses(struct bl_onnx_writer *w) {
    for (int i = 0; i < bl_graph_nodes(w->graph); i++) {
        const struct bl_node *user = bl_graph_node(w->graph, i);
        for (int k = 0; k < user->inputs && !user->idle; k++) {
            const struct bl_node *maker = bl_graph_maker(user, user->in[k]);
            if (maker) w->uses[maker->index]++, w->user[maker->index] = user;
        }
    }
}

struct affine {
    double *scale, *shift;
};

static bool affine_of(struct bl_onnx_writer *w, const struct bl_node *node, struct affine *a) {
    const size_t channels = (size_t)node->out[0]->c;
    *a = (struct affine){bl_onnx_room(w, channels, sizeof *a->scale), bl_onnx_room(w, channels, sizeof *a->shift)};
    if (a->scale && a->shift) node->op->onnx->affine(w, node, a->scale, a->shift);
    return !w->code;
}

static void fold_following(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer) {
    const struct bl_node *last = node, *next;
    struct affine a;
    while (w->uses[last->index] == 1 && (next = w->user[last->index])->op->onnx && next->op->onnx->affine) {
        if (!affine_of(w, next, &a)) return;
        for (int64_t o = 0; o < layer->out; o++) {
            for (int64_t i = 0; i < layer->each; i++) layer->weight[o * layer->each + i] *= a.scale[o];
            layer->bias[o] = layer->bias[o] * a.scale[o] + a.shift[o];
        }
        w->stands_for[node->index] = last = next;
        w->written[next->index].name = ""; // it is, in what the layer gives
    }
}

static void write_layer(struct bl_onnx_writer *w, const struct bl_node *node) {
    struct bl_onnx_layer layer = {0};
    node->op->onnx->fold(w, node, &layer);
    if (!w->code) fold_following(w, node, &layer);
    if (!w->code) node->op->onnx->write_layer(w, node, &layer);
}

/* Alone: no layer is before it. A product with values of the file, or a batch norm of mean 0 and, with eps, variance 1.
 */
static void write_affine(struct bl_onnx_writer *w, const struct bl_node *node) {
    const float eps = 1e-5f;
    const int64_t channels = node->out[0]->c, sizes[] = {channels, 1, 1};
    double *mean = bl_onnx_room(w, (size_t)channels, sizeof *mean),
           *variance = bl_onnx_room(w, (size_t)channels, sizeof *variance);
    const char *in[5] = {bl_onnx_in(w, node, 0, BL_ONNX_NCHW)};
    bool shifts = false;
    struct affine a;
    if (!affine_of(w, node, &a)) return;
    for (int64_t c = 0; c < channels; c++) variance[c] = 1 - (double)eps, shifts = shifts || a.shift[c] != 0;
    in[1] = bl_onnx_put(w, node, "weight", a.scale, shifts ? 1 : 3, shifts ? &channels : sizes);
    if (shifts) {
        in[2] = bl_onnx_put(w, node, "bias", a.shift, 1, &channels);
        in[3] = bl_onnx_put(w, node, "running_mean", mean, 1, &channels);
        in[4] = bl_onnx_put(w, node, "running_var", variance, 1, &channels);
        bl_onnx_emit_many(w, "BatchNormalization", in, 5, bl_onnx_out(w, node, BL_ONNX_NCHW),
                          (const struct bl_onnx_attribute[]){{"epsilon", BL_ONNX_FLOAT, .f = eps}, {NULL}});
    } else
        bl_onnx_emit_many(w, "Mul", in, 2, bl_onnx_out(w, node, BL_ONNX_NCHW), NULL);
}

/* --- the network ------------------------------------------------------------------------------ */

static void write_node(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_onnx_op *onnx = node->op->onnx;
    if (node->idle || node->op->role == BL_ROLE_LOSS || w->written[node->index].name) return; // or it is folded
    if (!onnx)
        bl_onnx_failed(
            w, bl_fail(BLANCH_EUSAGE, "%s: %s has no form in ONNX that is written", node->name, node->op->name));
    else if (onnx->fold)
        write_layer(w, node);
    else if (onnx->affine)
        write_affine(w, node);
    else if (onnx->write)
        onnx->write(w, node);
    else if (onnx->type)
        bl_onnx_write_unary(w, node, onnx->type, NULL);
    else
        bl_onnx_same(w, node, bl_onnx_in(w, node, 0, bl_onnx_written(w, node, 0)), bl_onnx_written(w, node, 0));
}

/* Of one pixel: (N, features). */
static bool is_flat(const struct blanch_tensor *x) {
    return x->h * x->w == 1;
}

/* The input, in the type of the rest. */
static void begin(struct bl_onnx_writer *w) {
    struct written *input = &w->written[bl_graph_nodes(w->graph)];
    const bool features = w->options->input && is_flat(bl_graph_in(w->graph));
    *input = (struct written){in_name(w), features ? BL_ONNX_FLAT : BL_ONNX_NCHW};
    if (w->options->type == BL_F32) return;
    input->name = "input/fp16";
    bl_onnx_emit(w, "Cast", (const char *[4]){in_name(w)}, input->name,
                 (const struct bl_onnx_attribute[]){{"to", BL_ONNX_INT, .i = BL_ONNX_TYPE_F16}, {NULL}});
}

/* The logits under their name, (batch, classes), or (batch, classes, height, width) of pixels, float32; or images. */
static void end(struct bl_onnx_writer *w) {
    const struct blanch_tensor *logits = bl_graph_out(w->graph);
    const struct written *last = NULL;
    for (int i = bl_graph_nodes(w->graph); i-- > 0 && !last;) {
        const struct bl_node *node = bl_graph_node(w->graph, i);
        if (!node->idle && node->op->role != BL_ROLE_LOSS) last = &w->written[i];
    }
    if (w->code || !last || !last->name) return;
    const bool narrow = w->options->type != BL_F32;
    const char *flat = last->name, *to = narrow ? "output/fp16" : out_name(w), *result = to;
    const struct blanch_tensor *x = bl_graph_in(w->graph);
    const bool whole = is_flat(logits);
    if (w->options->pixels) to = "output/logits";
    if (!whole && !w->options->output && (logits->h != x->h || logits->w != x->w))
        bl_onnx_failed(w, bl_fail(BLANCH_EUSAGE, "its output is not the logits of classes"));
    struct bl_onnx_node *maker = w->node_count ? &w->nodes[w->node_count - 1] : NULL;
    if (!whole && last->view == BL_ONNX_NHWC)
        turned(w, flat, to, false);
    else if (whole && last->view != BL_ONNX_FLAT)
        bl_onnx_emit(w, "Flatten", (const char *[4]){flat}, to, NULL);
    else if (maker && maker->output[0] == flat)
        maker->name = ((const char **)maker->output)[0] = to;
    else
        bl_onnx_emit(w, "Identity", (const char *[4]){flat}, to, NULL);
    if (w->options->pixels) bl_onnx_emit(w, "Sigmoid", (const char *[4]){to}, result, NULL);
    if (narrow)
        bl_onnx_emit(w, "Cast", (const char *[4]){result}, out_name(w),
                     (const struct bl_onnx_attribute[]){{"to", BL_ONNX_INT, .i = BL_ONNX_TYPE_F32}, {NULL}});
}

static int write_files(struct bl_onnx_writer *w) {
    const struct blanch_tensor *x = bl_graph_in(w->graph), *y = bl_graph_out(w->graph);
    const int dims = w->options->input && is_flat(x) ? 2 : 4;
    struct bl_onnx_value in[3] = {{in_name(w), BL_F32, dims, {-1, x->c, x->h, x->w}}};
    const struct bl_onnx_value out = {out_name(w), BL_F32, is_flat(y) ? 2 : 4, {-1, y->c, y->h, y->w}};
    int inputs = 1;
    if (bl_graph_number(w->graph)) in[inputs++] = (struct bl_onnx_value){number_name, BL_F32, 1, {-1}};
    if (bl_graph_labels(w->graph)) in[inputs++] = (struct bl_onnx_value){label_name, BL_I64, 1, {-1}};
    const struct bl_onnx_model model = {.producer = "blanch",
                                        .opset = BL_ONNX_WRITTEN,
                                        .nodes = (int)w->node_count,
                                        .initialisers = (int)w->tensor_count,
                                        .inputs = inputs,
                                        .outputs = 1,
                                        .pairs = w->options->pair_count,
                                        .node = w->nodes,
                                        .initialiser = w->tensors,
                                        .input = in,
                                        .output = &out,
                                        .pair = w->options->pairs};
    int code = w->options->path ? bl_onnx_write(w->options->path, &model) : 0;
    if (code || !w->options->weights) return code;
    return bl_st_write(w->options->weights, w->weights, (int)w->weight_count,
                       (const char *const[]){"format", "pt", "blanch.folded", "true", NULL});
}

int bl_onnx_network_write(const struct bl_graph *graph, const struct bl_onnx_options *options) {
    const size_t nodes = (size_t)bl_graph_nodes(graph);
    struct bl_onnx_writer w = {.graph = graph, .options = options};
    w.written = bl_onnx_room(&w, nodes + 1, sizeof *w.written);
    w.stands_for = bl_onnx_room(&w, nodes, sizeof *w.stands_for);
    w.user = bl_onnx_room(&w, nodes, sizeof *w.user);
    w.uses = bl_onnx_room(&w, nodes, sizeof *w.uses);
    for (size_t i = 0; i < nodes && !w.code; i++) w.stands_for[i] = bl_graph_node(graph, (int)i);
    if (!w.code) count_uses(&w);
    if (!w.code) begin(&w);
    for (size_t i = 0; i < nodes && !w.code; i++) write_node(&w, bl_graph_node(graph, (int)i));
    if (!w.code) end(&w);
    int code = w.code ? w.code : write_files(&w);
    for (size_t i = 0; i < w.memory_count; i++) free(w.memory[i]);
    free(w.memory), free(w.nodes), free(w.tensors), free(w.weights);
    return code;
}
