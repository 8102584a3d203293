/* The engines tiled (kernels/conv/tiled.cl) and matrix (kernels/conv/matrix.cl), and winograd in one launch
 * (kernels/conv/winograd_fused.cl): for devices with local memory, which CPUs only imitate. */
#include "ops/ahead.h"
#include "ops/common.h"
#include "ops/conv/axis.h"
#include "ops/conv/tiling.h"
#include "ops/conv/winograd.h"
#include <stdlib.h>

enum { MOST_PARTIAL = 12 << 20, GROUPS_PER_UNIT = 8 };
enum { SHORTEST_SHARE = 256, MOST_SPLITS = 1024 };
enum { WORTH_TILING = 16, EIGHTS = 8 }; // outputs of a group, features: by rule; channels of `matrix`: a multiple of

struct tiled {
    struct bl_tile t;
    int split;                     // parts of a group that share a tile's terms
    int unit, elements;            // as struct bl_conv_tilings has them
    int blocks;                    // of outs() results in a group
    int splits;                    // of the weight gradient's pixels
    struct blanch_tensor *packed;  // [class of taps][group][block][k/chunk][outs()][chunk], chunk 1 but for `matrix`;
                                   // of Winograd's transform [block][channels/chunk][element][chunk][outs()]
    struct blanch_tensor *classes; // of the kernels; the forward pass's and behind it, where it packs both, the
    int first_class;               // data gradient's
    bool is_packed;                // the data gradient's weights, by the forward pass
    struct blanch_tensor *partial; // [group][split][taps*group_in + 1][blocks*outs()]
    struct bl_kernel *kernel, *other; // of the pass; pack or reduce
};

static int outs(const struct tiled *d) {
    return bl_tile_outs(&d->t);
}
static int64_t tiles_of(const struct tiled *d, int64_t lines) {
    return bl_conv_div_up(lines, bl_tile_deep(&d->t));
}

/* --- sizes ------------------------------------------------------------------------------------ */

static int variant_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return conv->engine[pass]->variant;
}

/* What `matrix` packs is half as large, and laid out otherwise. */
static bool is_matrix(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return variant_of(conv, pass) == BL_CONV_MATRIX;
}

static bool is_winograd(const struct tiled *d) {
    return d->elements > 1;
}

static bool suits(const struct bl_conv *conv, int variant) {
    if (!conv->node->dev) return false;
    if (variant == BL_CONV_MATRIX && (conv->group_in % EIGHTS || conv->group_out % EIGHTS)) return false;
    const struct bl_conv_tilings of = bl_conv_tilings_of(conv->node->dev, variant);
    return bl_conv_tile_fits(conv->node->dev, &of, variant < 0 ? of.count - 1 : variant);
}

static int get(const struct bl_conv *conv, enum bl_conv_pass pass, const struct tiled *d, struct bl_kernel **kernel) {
    const bool data = pass == BL_CONV_DATA;
    const int in = conv->group_in, out = conv->group_out;
    const struct bl_tile *t = &d->t;
    const char *function = pass == BL_CONV_WEIGHTS ? "weights" : "convolve";
    const struct bl_define tiled[] = {{"COLS", t->cols},
                                      {"ROWS", t->rows},
                                      {"TM", t->down},
                                      {"TN", t->across},
                                      {"KC", t->chunk},
                                      {"SPLIT", d->split},
                                      {"IN4", (data ? out : in) % 4 == 0},
                                      {"OUT4", (data ? in : out) % 4 == 0},
                                      {"ACT_TYPE", (long)conv->type},
                                      {"MOMENTS", 1}};
    const int count = BL_COUNT(tiled) - !(pass == BL_CONV_FORWARD && conv->node->makes.of_chunks);
    const struct bl_define matrix[] = {
        {"UNIT", d->unit}, {"WAVE", t->wave},     {"WAVES_DOWN", t->rows}, {"WAVES_ACROSS", t->cols},
        {"DOWN", t->down}, {"ACROSS", t->across}, {"KC", t->chunk},        {"ACT_TYPE", (long)conv->type}};
    const struct bl_define winograd[] = {{"OUT4", (data ? in : out) % 4 == 0}, {"ACT_TYPE", (long)conv->type}};
    if (is_winograd(d))
        return bl_kernel_get(conv->node->dev, "conv/winograd_fused", "winograd", winograd, BL_COUNT(winograd), kernel);
    if (d->unit < 0) return bl_kernel_get(conv->node->dev, "conv/tiled", function, tiled, count, kernel);
    return bl_kernel_get(conv->node->dev, "conv/matrix", function, matrix, BL_COUNT(matrix), kernel);
}

/* A kernel that needs many registers may take smaller groups than its device does. */
static int get_fitting(const struct bl_conv *conv, enum bl_conv_pass pass, struct tiled *d, bool *fits) {
    int code = get(conv, pass, d, &d->kernel);
    const bool refused = code == BLANCH_EDEVICE && bl_device_refused();
    *fits = !code && bl_kernel_items(d->kernel) >= (size_t)(d->split * bl_tile_items(&d->t));
    return refused ? 0 : code;
}

static int classes_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return pass == BL_CONV_FORWARD ? 1 : conv->attrs.stride[0] * conv->attrs.stride[1];
}

static struct bl_conv_extent extent_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const int64_t n = bl_node_batch(conv->node), groups = a->groups;
    if (pass == BL_CONV_FORWARD)
        return (struct bl_conv_extent){n * conv->out_h * conv->out_w, groups, conv->group_out,
                                       conv->taps * conv->group_in};
    if (pass == BL_CONV_WEIGHTS) {
        const int64_t most = bl_conv_div_up(n * conv->out_h * conv->out_w, SHORTEST_SHARE);
        return (struct bl_conv_extent){conv->taps * conv->group_in, groups * bl_conv_clamp(most, 1, MOST_SPLITS),
                                       conv->group_out, 0};
    }
    return (struct bl_conv_extent){n * bl_conv_div_up(conv->h, a->stride[0]) * bl_conv_div_up(conv->w, a->stride[1]),
                                   groups * classes_of(conv, pass), conv->group_in,
                                   conv->taps / classes_of(conv, pass) * conv->group_out};
}

/* Tiles of 2x2 of the pass's outputs, of the product of each element. */
static struct bl_conv_extent winograd_extent_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const bool data = pass == BL_CONV_DATA;
    const int64_t h = data ? conv->h : conv->out_h, w = data ? conv->w : conv->out_w;
    const int64_t tiles = bl_node_batch(conv->node) * bl_conv_div_up(h, 2) * bl_conv_div_up(w, 2);
    return (struct bl_conv_extent){tiles, 1, data ? conv->group_in : conv->group_out, 0};
}

static int choose_tile(const struct bl_conv *conv, enum bl_conv_pass pass, struct tiled *d) {
    struct blanch_device *dev = conv->node->dev;
    const int variant = variant_of(conv, pass);
    const struct bl_conv_tilings of = bl_conv_tilings_of(dev, variant);
    const struct bl_conv_extent e =
        variant == BL_CONV_WINOGRAD ? winograd_extent_of(conv, pass) : extent_of(conv, pass);
    for (int i = variant < 0 ? bl_conv_tile_by_rule(dev, &of, &e, conv->units) : variant; i < of.count; i++) {
        bool fitting = false;
        if (!bl_conv_tile_fits(dev, &of, i)) continue;
        d->t = of.tile[i], d->unit = of.unit, d->elements = of.elements;
        d->blocks = (int)bl_conv_div_up(e.results, outs(d));
        for (d->split = bl_conv_tile_split(dev, &of, i, &e, conv->units); d->split; d->split /= 2) {
            int code = get_fitting(conv, pass, d, &fitting);
            if (code || fitting) return code;
        }
    }
    return bl_fail(BLANCH_EDEVICE, "%s: the engine %s does not run on %s: BLANCH_CONV=direct does", conv->node->name,
                   conv->engine[pass]->name, blanch_device_info(dev)->name);
}

/* As struct tap_class of the kernels: results that are sums over the same taps. */
struct tap_class {
    int64_t first;
    struct bl_conv_axis down, across;
    int32_t depth, blocks, outs, transposed, chunk, elements;
};
enum { CLASS_FLOATS = sizeof(struct tap_class) / sizeof(float) };

/* The same taps the other way round. */
static struct bl_conv_axis reversed(struct bl_conv_axis axis) {
    axis.in_first += (axis.taps - 1) * axis.tap_step, axis.tap_step = -axis.tap_step;
    axis.weight_first += (axis.taps - 1) * axis.weight_step, axis.weight_step = -axis.weight_step;
    return axis;
}

/* Of all taps in the forward pass, of those of a residue in the data gradient; `first` is left out. */
static struct tap_class class_of(const struct bl_conv *conv, enum bl_conv_pass pass, int index) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const struct tiled *d = conv->state[pass];
    const bool data = pass == BL_CONV_DATA;
    const int channels = data ? conv->group_out : conv->group_in;
    struct tap_class c = {
        .blocks = d->blocks, .outs = outs(d), .transposed = data, .chunk = 1, .elements = d->elements};
    if (is_matrix(conv, pass) || is_winograd(d)) c.chunk = d->t.chunk;
    c.down = data ? bl_conv_residue_axis(a, 0, conv->h, index / a->stride[1], a->kernel[1])
                  : bl_conv_forward_axis(a, 0, conv->out_h, a->kernel[1]);
    c.across = data ? bl_conv_residue_axis(a, 1, conv->w, index % a->stride[1], 1)
                    : bl_conv_forward_axis(a, 1, conv->out_w, 1);
    if (is_winograd(d) && data) c.down = reversed(c.down), c.across = reversed(c.across);
    const int64_t terms = is_winograd(d) ? channels : (int64_t)c.down.taps * c.across.taps * channels;
    c.depth = (int)bl_conv_div_up(terms, d->t.chunk) * d->t.chunk;
    return c;
}

/* Of its packed weights. */
static int64_t class_size(const struct bl_conv *conv, const struct tap_class *c) {
    return (int64_t)conv->attrs.groups * c->blocks * c->depth * c->outs * c->elements;
}

static int64_t packed_count(const struct bl_conv *conv, enum bl_conv_pass pass) {
    int64_t count = 0;
    for (int i = 0; i < classes_of(conv, pass); i++) {
        const struct tap_class c = class_of(conv, pass, i);
        count += class_size(conv, &c);
    }
    return count;
}

/* Those who pack them, in a group of channels: an item makes one value, or all elements of a transform. */
static int64_t packers_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct tiled *d = conv->state[pass];
    return packed_count(conv, pass) / (conv->attrs.groups * d->elements);
}

static int64_t partial_count(const struct bl_conv *conv, const struct tiled *d) {
    return (int64_t)conv->attrs.groups * (conv->taps * conv->group_in + 1) * d->blocks * outs(d);
}

static int setup_weights(struct bl_conv *conv, struct tiled *d) {
    const struct bl_conv_extent e = extent_of(conv, BL_CONV_WEIGHTS);
    int code = choose_tile(conv, BL_CONV_WEIGHTS, d);
    if (code) return code;
    const int64_t groups = tiles_of(d, e.lines) * d->blocks * conv->attrs.groups;
    const int64_t room =
        bl_conv_clamp(MOST_PARTIAL / (BL_FLOAT_BYTES * partial_count(conv, d)), 1, e.products / conv->attrs.groups);
    d->splits = (int)bl_conv_clamp(bl_conv_div_up(GROUPS_PER_UNIT * conv->units, groups), 1, room);
    d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, partial_count(conv, d) * d->splits);
    return d->partial ? 0 : BLANCH_ENOMEM;
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight);

/* Whether the weights are a parameter, which training passes find as it was when they began: then one launch packs
 * those of all such layers, for both passes. */
static bool is_ahead(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return !conv->cpu && bl_node_training(conv->node) && conv->packed == BL_LIFE_FORWARD && !is_matrix(conv, pass);
}

/* One launch packs the weights for both passes. */
static bool is_joint(const struct bl_conv *conv) {
    const struct bl_conv_engine *forward = conv->engine[BL_CONV_FORWARD], *data = conv->engine[BL_CONV_DATA];
    return !conv->adjoint && forward && data && forward->pack == pack && data->pack == pack &&
           is_matrix(conv, BL_CONV_FORWARD) == is_matrix(conv, BL_CONV_DATA);
}

static int declare_packed(struct bl_conv *conv, enum bl_conv_pass pass, struct tiled *d) {
    struct bl_node *node = conv->node;
    const struct tiled *forward = conv->state[BL_CONV_FORWARD];
    const bool data = pass == BL_CONV_DATA, joint = is_joint(conv);
    const int count = classes_of(conv, pass) + (joint ? classes_of(conv, BL_CONV_DATA) : 0);
    d->first_class = data && joint;
    d->classes = d->first_class ? forward->classes : bl_node_workspace(node, BL_LIFE_KEPT, count * CLASS_FLOATS);
    const int64_t packed = bl_conv_div_up(packed_count(conv, pass), is_matrix(conv, pass) ? 2 : 1);
    const enum bl_life life = is_ahead(conv, pass) ? BL_LIFE_KEPT
                              : data && joint      ? BL_LIFE_SAVED
                                                   : bl_conv_packed(conv, pass);
    d->packed = bl_node_workspace(node, life, packed);
    return d->packed && d->classes ? 0 : BLANCH_ENOMEM;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct tiled *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    if (pass == BL_CONV_WEIGHTS) return setup_weights(conv, d);
    int code = choose_tile(conv, pass, d);
    return code ? code : declare_packed(conv, pass, d);
}

struct packing { // as of kernels/conv/packing.cl
    struct bl_ahead head;
    struct tap_class c;
    int32_t group_in, group_out, taps, groups;
};
static const struct bl_define no_tree = {"TREE", 0};
static const struct bl_ahead_kind packing = {"conv/packing", "pack_ahead", &no_tree, 1, sizeof(struct packing)};

static int pack_ahead(const struct bl_conv *conv, const struct tiled *d, const struct tap_class *c) {
    const struct packing job = {.head = {.to = c->first},
                                .c = *c,
                                .group_in = conv->group_in,
                                .group_out = conv->group_out,
                                .taps = conv->taps,
                                .groups = conv->attrs.groups};
    return bl_ahead_add(conv->node, &packing, conv->node->param[0]->data.mem, d->packed->mem, &job,
                        class_size(conv, c));
}

/* The table that the kernels read. Classes without taps, whose results are zeros, come last. */
static int write_classes(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct tiled *d = conv->state[pass];
    const int count = classes_of(conv, pass);
    struct tap_class *classes = bl_calloc((size_t)count, sizeof *classes);
    if (!classes) return BLANCH_ENOMEM;
    int64_t first = 0;
    int at = 0, end = count, code = 0;
    for (int i = 0; i < count && !code; i++) {
        struct tap_class c = class_of(conv, pass, i);
        c.first = first;
        first += class_size(conv, &c);
        classes[c.depth ? at++ : --end] = c;
        if (is_ahead(conv, pass) && c.depth && (pass == BL_CONV_FORWARD || conv->node->in[0]->grad))
            code = pack_ahead(conv, d, &c);
    }
    if (!code)
        code = bl_mem_write(d->classes->mem, (size_t)d->first_class * sizeof *classes, (size_t)count * sizeof *classes,
                            classes);
    free(classes);
    return code;
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct tiled *d = conv->state[pass];
    const struct bl_define type = {"ACT_TYPE", is_matrix(conv, pass) ? (long)bl_node_type(conv->node) : 0};
    int code =
        bl_kernel_get(conv->node->dev, "conv/tiles", pass == BL_CONV_WEIGHTS ? "reduce" : "pack", &type, 1, &d->other);
    if (!code && pass == BL_CONV_FORWARD && conv->node->makes.of_chunks) code = get(conv, pass, d, &d->kernel);
    return code || pass == BL_CONV_WEIGHTS ? code : write_classes(conv, pass);
}

/* A group for each tile. */
static struct bl_range tiles_range(const struct bl_conv *conv, const struct tiled *d, int64_t tiles, int splits) {
    const size_t cols = (size_t)(d->t.cols * d->t.wave), rows = (size_t)d->t.rows, parts = (size_t)d->split;
    return (struct bl_range){
        .global = {(size_t)(tiles * d->blocks) * cols, (size_t)splits * rows, (size_t)conv->attrs.groups * parts},
        .local = {cols, rows, parts}};
}

/* --- forward, data gradient ------------------------------------------------------------------- */

/* What a launch packs for the pass, and in a training pass the forward pass for both. */
struct packed {
    struct bl_mem *to, *transposed;
    int64_t items; // of a group of channels
    int first, count;
};
static struct packed packed_of(const struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run) {
    const struct tiled *d = conv->state[pass];
    struct tiled *data = conv->state[BL_CONV_DATA];
    const bool both =
        pass == BL_CONV_FORWARD && !is_ahead(conv, pass) && is_joint(conv) && run->training && conv->node->in[0]->grad;
    if (is_joint(conv)) data->is_packed = both;
    return (struct packed){.to = d->packed->mem,
                           .transposed = both ? data->packed->mem : d->packed->mem,
                           .items = packers_of(conv, pass) + (both ? packers_of(conv, BL_CONV_DATA) : 0),
                           .first = d->first_class,
                           .count = classes_of(conv, pass) + (both ? classes_of(conv, BL_CONV_DATA) : 0)};
}

#define PACKED(conv, d, p)                                                                                             \
    BL_MEM((p).to), BL_MEM((p).transposed), BL_MEM((d)->classes->mem), BL_I32((p).first), BL_I32((p).count),           \
        BL_I32((conv)->group_in), BL_I32((conv)->group_out), BL_I32((conv)->taps), BL_I32((conv)->interleave)

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    const struct tiled *d = conv->state[pass], *data = conv->state[BL_CONV_DATA];
    if (is_ahead(conv, pass) && run->training)
        return bl_ahead_make(conv->node, &packing, run, pass == BL_CONV_DATA ? BL_BACKWARD_DATA : BL_FORWARD);
    if (pass == BL_CONV_DATA && data->is_packed && run->training) return 0;
    const struct packed p = packed_of(conv, pass, run);
    return bl_launch(d->other, BL_ITEMS((size_t)p.items, (size_t)conv->attrs.groups), BL_MEM(weight),
                     PACKED(conv, d, p));
}

static int pack_with_bias(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight,
                          const struct bl_conv_bias *b) {
    struct blanch_device *dev = conv->node->dev;
    const struct tiled *d = conv->state[BL_CONV_FORWARD];
    const struct packed p = packed_of(conv, BL_CONV_FORWARD, run);
    const struct bl_define tree = {"TREE", bl_tree(dev)};
    struct bl_kernel *kernel;
    int code = bl_kernel_get(dev, "conv/packing", "pack_with_bias", &tree, 1, &kernel);
    if (code) return code;
    const int64_t groups = conv->attrs.out_channels + bl_conv_div_up(p.items * conv->attrs.groups, tree.value);
    return bl_launch(kernel, bl_tree_rows(dev, groups), BL_MEM(weight), PACKED(conv, d, p), BL_I64(p.items),
                     BL_I32(conv->attrs.groups), BL_MEM(b->mean), BL_MEM(b->bias), BL_MEM(b->to),
                     BL_I32(conv->attrs.out_channels), BL_I32(b->interleave), BL_I32(b->features), BL_I32(b->matrices));
}

struct pass {
    enum bl_conv_pass pass;
    const struct blanch_tensor *x, *out, *beside; // the last NULL: none
    struct bl_mem *bias, *moments;                // NULL: none
    struct bl_conv_sizes sizes;
    struct bl_conv_finish finish;
};

/* Classes without taps are zeros: written, but not added, unless what is there is cut. */
static int convolve(const struct bl_conv *conv, const struct pass *p) {
    const struct tiled *d = conv->state[p->pass];
    int64_t tiles = 0;
    for (int i = 0; i < classes_of(conv, p->pass); i++) {
        const struct tap_class c = class_of(conv, p->pass, i);
        const int m = is_winograd(d) ? 2 : 1; // a line is of m by m outputs
        if (c.depth || !p->finish.accumulate || p->finish.cut)
            tiles += tiles_of(d, p->sizes.images * bl_conv_div_up(c.down.grid, m) * bl_conv_div_up(c.across.grid, m));
    }
    if (!tiles) return 0;
    return bl_launch(d->kernel, tiles_range(conv, d, tiles, 1), BL_MEM(p->x->mem), BL_MEM(d->packed->mem),
                     BL_MEM(d->classes->mem), BL_MEM(p->bias ? p->bias : d->packed->mem), BL_MEM(p->out->mem),
                     BL_MEM((p->beside ? p->beside : p->out)->mem), BL_MEM(p->moments ? p->moments : p->out->mem),
                     BL_STRUCT(p->sizes), BL_I32(d->first_class), BL_I32(d->blocks), BL_STRUCT(p->finish));
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct bl_node *node = conv->node;
    const bool moments = node->makes.of_chunks && run->training && !run->again;
    const struct pass pass = {.pass = BL_CONV_FORWARD,
                              .x = x,
                              .out = y,
                              .beside = node->addend,
                              .bias = bias,
                              .moments = moments ? node->makes.of_chunks->mem : NULL,
                              .sizes = bl_conv_sizes(conv, run->n),
                              .finish = {.has_bias = bias != NULL,
                                         .has_addend = node->addend != NULL,
                                         .activation = bl_node_activation(node),
                                         .moments = moments}};
    return convolve(conv, &pass);
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const bool cut = conv->node->cuts;
    const struct pass pass = {.pass = BL_CONV_DATA,
                              .x = dy,
                              .out = dx,
                              .beside = cut ? conv->node->in[0] : NULL,
                              .bias = conv->bias,
                              .sizes = bl_conv_data_sizes(conv, run->n),
                              .finish = {.has_bias = conv->bias != NULL, .accumulate = accumulate, .cut = cut}};
    return convolve(conv, &pass);
}

/* --- weight gradient -------------------------------------------------------------------------- */

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct tiled *d = conv->state[BL_CONV_WEIGHTS];
    const struct bl_conv_attrs *a = &conv->attrs;
    const int64_t pixels = run->n * conv->out_h * conv->out_w, rows = conv->taps * conv->group_in;
    const int64_t share = bl_conv_div_up(bl_conv_div_up(pixels, d->splits), d->t.chunk) * d->t.chunk;
    const int ones = is_matrix(conv, BL_CONV_WEIGHTS) && dbias; // the bias is a row of the product
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = bl_conv_forward_axes(a, conv->out_h, conv->out_w);
    int code = bl_launch(d->kernel, tiles_range(conv, d, tiles_of(d, rows + ones), d->splits), BL_MEM(x->mem),
                         BL_MEM(dy->mem), BL_MEM(d->partial->mem), BL_STRUCT(sizes), BL_STRUCT(axes.down),
                         BL_STRUCT(axes.across), BL_I32(d->blocks), BL_I32(d->splits), BL_I32(share));
    if (code) return code;
    return bl_launch(d->other, BL_ITEMS((size_t)((rows + 1) * d->blocks * outs(d)), (size_t)a->groups),
                     BL_MEM(d->partial->mem), BL_MEM(dweight), BL_MEM(dbias ? dbias : dweight), BL_I32(conv->group_in),
                     BL_I32(conv->group_out), BL_I32(conv->taps), BL_I32(conv->interleave), BL_I32(d->blocks * outs(d)),
                     BL_I32(d->splits), BL_I32(dbias != NULL));
}

/* Of Winograd's tiles where none is cut off: else blocks have unequally many. */
static int rows_of_moments(const struct bl_conv *conv) {
    const struct tiled *d = conv->state[BL_CONV_FORWARD];
    if (!is_winograd(d)) return bl_tile_deep(&d->t);
    return conv->out_h % 2 || conv->out_w % 2 ? 0 : 4 * bl_tile_deep(&d->t);
}

/* Above the direct engine's on what is not a CPU, where tiles are full: of outputs, and of terms of a sum or rows of
 * the weights' gradient, which a few channels have too. On CPUs it has been slower than every other one, and its
 * kernels take seconds to build. */
static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    if (conv->cpu) return -1;
    const int features = pass == BL_CONV_DATA ? conv->group_in : conv->group_in * conv->taps;
    return features >= WORTH_TILING && conv->group_out >= WORTH_TILING ? 20 : 0;
}

/* Of one tile, which is measured where the rule chooses another one, and where half of it would be used. */
static int preference_of(const struct bl_conv *conv, enum bl_conv_pass pass, int tile) {
    const struct bl_conv_tilings of = bl_conv_tilings_of(conv->node->dev, tile);
    const struct bl_conv_extent e = extent_of(conv, pass);
    if (conv->cpu || bl_conv_tile_by_rule(conv->node->dev, &of, &e, conv->units) == tile) return -1;
    return bl_conv_tile_filled(&of.tile[tile], &e) ? 0 : -1;
}

/* Never by rule: that a unit multiplies right on a device the tuner sees. */
static int preference_matrix(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    return conv->cpu ? -1 : 0;
}

static bool suits_by_rule(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    return suits(conv, BL_CONV_BY_RULE);
}
static bool suits_matrix(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    return suits(conv, BL_CONV_MATRIX);
}

#define ENGINE(engine, is_variant, is_types, suits_it, is_preferred, ...)                                              \
    {                                                                                                                  \
        .name = engine, .variant = is_variant, .types = is_types, .suits = suits_it, .preference = is_preferred,       \
        .setup = setup, .prepare = prepare, .pack = pack, .forward = forward, .backward_data = backward_data,          \
        .backward_weights = backward_weights, __VA_ARGS__                                                              \
    }
#define FINISHES                                                                                                       \
    .applies = true, .cuts = true, .biases = true, .rows_of_moments = rows_of_moments, .pack_with_bias = pack_with_bias
#define TILE(index, size)                                                                                              \
    static bool suits_##size(const struct bl_conv *conv, enum bl_conv_pass pass) {                                     \
        (void)pass;                                                                                                    \
        return suits(conv, index);                                                                                     \
    }                                                                                                                  \
    static int preference_##size(const struct bl_conv *conv, enum bl_conv_pass pass) {                                 \
        return preference_of(conv, pass, index);                                                                       \
    }                                                                                                                  \
    const struct bl_conv_engine bl_conv_tiled##size =                                                                  \
        ENGINE("tiled" #size, index, BL_ACTIVATION_TYPES, suits_##size, preference_##size, FINISHES);
TILE(0, 128x128)
TILE(1, 128x64)
TILE(2, 64x64)
TILE(3, 32x32)
const struct bl_conv_engine bl_conv_tiled = ENGINE("tiled", BL_CONV_BY_RULE, BL_ACTIVATION_TYPES, suits_by_rule,
                                                   preference, FINISHES),
                            bl_conv_matrix =
                                ENGINE("matrix", BL_CONV_MATRIX, BL_TYPE_BIT(BL_F16) | BL_TYPE_BIT(BL_BF16),
                                       suits_matrix, preference_matrix, .applies = false);

const struct bl_conv_engine bl_conv_winograd_fused =
    ENGINE("winograd", BL_CONV_WINOGRAD, BL_ACTIVATION_TYPES, NULL, NULL, FINISHES);

int bl_conv_winograd_fits(const struct bl_conv *conv, enum bl_conv_pass pass, bool *fits) {
    struct blanch_device *dev = conv->node->dev;
    const struct bl_conv_tilings of = bl_conv_tilings_of(dev, BL_CONV_WINOGRAD);
    struct tiled d = {.t = of.tile[0], .split = 1, .unit = of.unit, .elements = of.elements};
    *fits = bl_conv_tile_fits(dev, &of, 0);
    return *fits ? get_fitting(conv, pass, &d, fits) : 0;
}

bool bl_conv_winograd_busy(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct bl_conv_tilings of = bl_conv_tilings_of(conv->node->dev, BL_CONV_WINOGRAD);
    const struct bl_conv_extent e = winograd_extent_of(conv, pass);
    return bl_conv_tile_filled(&of.tile[0], &e) && bl_conv_tile_busy(conv->node->dev, &of.tile[0], &e, conv->units);
}
