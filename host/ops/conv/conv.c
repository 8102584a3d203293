/* The table of the convolution's engines, the choice among them, and what they have in common. */
#include "ops/conv/engine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct bl_conv_engine *const engines[] = {
#define X(name) &bl_conv_##name,
#include "ops/conv/engines.h"
#undef X
};
const char *const bl_conv_pass_names[BL_CONV_PASSES] = {"forward", "backward_data", "backward_weights"};

static char chooser_key; // its address is the key

int bl_conv_choose_by(struct blanch_device *dev, struct bl_conv_chooser *chooser) {
    if (chooser) return bl_attach(dev, &chooser_key, chooser, NULL);
    bl_detach(dev, &chooser_key);
    return 0;
}

const char *bl_conv_engine_name(int index) {
    return index >= 0 && index < BL_COUNT(engines) ? engines[index]->name : NULL;
}

static const struct bl_conv_engine *find(const char *name) {
    for (int i = 0; name && i < BL_COUNT(engines); i++)
        if (!strcmp(engines[i]->name, name)) return engines[i];
    return NULL;
}

static bool suits(const struct bl_conv_engine *engine, const struct bl_conv *conv, enum bl_conv_pass pass) {
    return engine && engine->types & BL_TYPE_BIT(conv->type) && engine->suits(conv, pass);
}

bool bl_conv_suits(const struct bl_conv *conv, const char *name, enum bl_conv_pass pass) {
    return suits(find(name), conv, pass);
}

bool bl_conv_worth_measuring(const struct bl_conv *conv, const char *name, enum bl_conv_pass pass) {
    const struct bl_conv_engine *engine = find(name);
    return suits(engine, conv, pass) && engine->preference(conv, pass) >= 0;
}

static const struct bl_conv_engine *engine_of(const struct bl_node *node, enum bl_conv_pass pass) {
    return node->dev && blanch_device_info(node->dev)->kind != BLANCH_CPU ? find(node->engine[pass]) : NULL;
}

bool bl_conv_applies(const struct bl_node *node) {
    const struct bl_conv_engine *engine = engine_of(node, BL_CONV_FORWARD);
    return engine && engine->applies;
}

bool bl_conv_cuts(const struct bl_node *node) {
    const struct bl_conv_engine *engine = engine_of(node, BL_CONV_DATA);
    return engine && engine->cuts;
}

/* The engine direct suits everything, of every type. */
static const struct bl_conv_engine *by_rule(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct bl_conv_engine *best = &bl_conv_direct;
    int most = -1;
    for (int i = 0; i < BL_COUNT(engines); i++) {
        if (!suits(engines[i], conv, pass)) continue;
        int preference = engines[i]->preference(conv, pass);
        if (preference > most) most = preference, best = engines[i];
    }
    return best;
}

static int unknown_engine(const char *name) {
    char known[256] = "";
    for (int i = 0; i < BL_COUNT(engines); i++) {
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", engines[i]->name);
    }
    return bl_fail(BLANCH_EUSAGE, "BLANCH_CONV=%s: there is no such engine; known are %s", name, known);
}

/* In an inference that of the node's forward pass alone. */
static bool is_needed(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return bl_node_training(conv->node) || bl_conv_life(conv, pass) == BL_LIFE_FORWARD;
}

/* The pass of the node that a pass is: where the convolution is an adjoint, the first two change places. */
static enum bl_conv_pass of_node(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return conv->adjoint && pass != BL_CONV_WEIGHTS ? (enum bl_conv_pass)(BL_CONV_DATA - pass) : pass;
}

static int choose(struct bl_conv *conv) {
    const char *forced = getenv("BLANCH_CONV");
    if (forced && !*forced) forced = NULL;
    if (forced && !find(forced)) return unknown_engine(forced);
    const struct bl_conv_shape shape = {.attrs = conv->attrs,
                                        .interleave = conv->interleave,
                                        .n = bl_node_batch(conv->node),
                                        .h = conv->h,
                                        .w = conv->w,
                                        .type = conv->type,
                                        .inference = !bl_node_training(conv->node) && !conv->adjoint};
    const struct bl_conv_chooser *chooser = conv->node->dev ? bl_attached(conv->node->dev, &chooser_key) : NULL;
    for (int p = 0; p < BL_CONV_PASSES; p++) {
        const enum bl_conv_pass pass = (enum bl_conv_pass)p;
        if (!is_needed(conv, pass) || (chooser && chooser->only && *chooser->only != pass)) continue;
        const char *name = forced ? forced : chooser ? chooser->engine(chooser->context, &shape, pass) : NULL;
        const struct bl_conv_engine *engine = find(name);
        conv->engine[p] = suits(engine, conv, pass) ? engine : by_rule(conv, pass);
        conv->node->engine[of_node(conv, pass)] = conv->engine[p]->name;
    }
    return 0;
}

static int64_t out_size(int64_t in, int kernel, int stride, int padding, int dilation) {
    int64_t room = in + 2 * (int64_t)padding - (int64_t)dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

void bl_conv_out_size(const struct bl_conv_attrs *a, int64_t h, int64_t w, int64_t *out_h, int64_t *out_w) {
    *out_h = out_size(h, a->kernel[0], a->stride[0], a->padding[0], a->dilation[0]);
    *out_w = out_size(w, a->kernel[1], a->stride[1], a->padding[1], a->dilation[1]);
}

/* Kernels count features and pixels, and a position with its padding and dilation, in 32 bits. */
enum { LARGEST = 1 << 30 };

int bl_conv_check(const char *name, const struct bl_conv_attrs *a) {
    for (int i = 0; i < 2; i++)
        if (a->kernel[i] < 1 || a->stride[i] < 1 || a->dilation[i] < 1 || a->padding[i] < 0)
            return bl_fail(BLANCH_EINPUT,
                           "%s: kernel %dx%d, stride %dx%d, dilation %dx%d, padding %dx%d: the first three must be at "
                           "least 1, padding at least 0",
                           name, a->kernel[0], a->kernel[1], a->stride[0], a->stride[1], a->dilation[0], a->dilation[1],
                           a->padding[0], a->padding[1]);
    if (a->in_channels < 1 || a->out_channels < 1 || a->groups < 1 || a->in_channels % a->groups ||
        a->out_channels % a->groups)
        return bl_fail(BLANCH_EINPUT, "%s: groups %d must divide the input channels %d and the output channels %d",
                       name, a->groups, a->in_channels, a->out_channels);
    for (int i = 0; i < 2; i++)
        if ((double)a->kernel[i] * a->dilation[i] + a->padding[i] + a->stride[i] > LARGEST)
            return bl_fail(BLANCH_EINPUT, "%s: its kernel, padding or stride is beyond 2^30", name);
    if ((double)(a->in_channels / a->groups) * a->kernel[0] * a->kernel[1] > LARGEST)
        return bl_fail(BLANCH_EINPUT, "%s: a patch of %d channels and %dx%d pixels has more than 2^30 features", name,
                       a->in_channels / a->groups, a->kernel[0], a->kernel[1]);
    return 0;
}

static int check_sizes(const struct bl_conv *conv) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const struct bl_node *node = conv->node;
    double images = bl_node_batch(node);
    if (conv->out_h < 1 || conv->out_w < 1)
        return bl_fail(BLANCH_EINPUT,
                       "%s: an input of %lldx%lld is smaller than its kernel of %dx%d, padding %dx%d, dilation %dx%d",
                       node->name, (long long)conv->h, (long long)conv->w, a->kernel[0], a->kernel[1], a->padding[0],
                       a->padding[1], a->dilation[0], a->dilation[1]);
    if (images * (double)conv->h * (double)conv->w > LARGEST ||
        images * (double)conv->out_h * (double)conv->out_w > LARGEST)
        return bl_fail(BLANCH_ELIMIT, "%s: more than 2^30 pixels in a batch of %.0f; use a smaller one", node->name,
                       images);
    return 0;
}

static int describe(struct bl_conv *conv, const struct bl_conv_attrs *a, int interleave,
                    const struct blanch_tensor *x) {
    struct bl_node *node = conv->node;
    if (x->c != a->in_channels)
        return bl_fail(BLANCH_EINPUT, "%s: takes %d channels, its input has %lld", node->name, a->in_channels,
                       (long long)x->c);
    conv->attrs = *a, conv->interleave = interleave;
    conv->h = x->h, conv->w = x->w, conv->type = x->type;
    bl_conv_out_size(a, x->h, x->w, &conv->out_h, &conv->out_w);
    conv->group_in = a->in_channels / a->groups, conv->group_out = a->out_channels / a->groups;
    conv->taps = a->kernel[0] * a->kernel[1];
    if (interleave < 1 || conv->group_in * conv->taps % interleave)
        return bl_fail(BLANCH_EINPUT, "%s: %d features of %d groups cannot interleave %d blocks", node->name,
                       conv->group_in * conv->taps, a->groups, interleave);
    const struct blanch_device_info *info = node->dev ? blanch_device_info(node->dev) : NULL;
    conv->cpu = !info || info->kind == BLANCH_CPU;
    conv->units = info && info->compute_units > 0 ? info->compute_units : 1;
    return check_sizes(conv);
}

/* like: with the node, what it packs for how long, and whether it is an adjoint. x: its input. */
static int set_up(const struct bl_conv *like, const struct bl_conv_attrs *attrs, int interleave,
                  const struct blanch_tensor *x, struct bl_conv **out) {
    int code = bl_conv_check(like->node->name, attrs);
    if (code) return code;
    struct bl_conv *conv = bl_calloc(1, sizeof *conv);
    if (!conv) return BLANCH_ENOMEM;
    *conv = *like;
    if ((code = describe(conv, attrs, interleave, x))) goto fail;
    if ((code = choose(conv))) goto fail;
    for (int p = 0; p < BL_CONV_PASSES; p++)
        if (conv->engine[p] && conv->engine[p]->settle && (code = conv->engine[p]->settle(conv, (enum bl_conv_pass)p)))
            goto fail;
    for (int p = 0; p < BL_CONV_PASSES; p++)
        if (conv->engine[p] && (code = conv->engine[p]->setup(conv, (enum bl_conv_pass)p))) goto fail;
    *out = conv;
    return 0;
fail:
    bl_conv_free(conv);
    return code;
}

int bl_conv_setup(struct bl_node *node, const struct bl_conv_attrs *attrs, int interleave, enum bl_life packed,
                  struct bl_conv **out) {
    const struct bl_conv like = {.node = node, .packed = packed};
    return set_up(&like, attrs, interleave, node->in[0], out);
}

int bl_conv_setup_adjoint(struct bl_node *node, const struct bl_conv_attrs *attrs, int64_t h, int64_t w,
                          struct bl_conv **out) {
    const struct bl_conv like = {.node = node, .packed = BL_LIFE_BACKWARD, .adjoint = true};
    const struct blanch_tensor y = {.c = attrs->in_channels, .h = h, .w = w, .type = bl_node_type(node)};
    return set_up(&like, attrs, 1, &y, out);
}

void bl_conv_free(struct bl_conv *conv) {
    if (!conv) return;
    for (int p = 0; p < BL_CONV_PASSES; p++) free(conv->state[p]);
    free(conv);
}

int bl_conv_prepare(struct bl_conv *conv) {
    int code = 0;
    for (int p = 0; p < BL_CONV_PASSES && !code; p++)
        if (conv->engine[p]) code = conv->engine[p]->prepare(conv, (enum bl_conv_pass)p);
    return code ? code : bl_conv_prepare_epilogue(conv);
}

/* For the ledger: direct convolution's operations, whatever the engine does instead. */
static void count_work(const struct bl_conv *conv, const struct bl_run *run) {
    bl_work_begin(conv->node->dev, 2 * bl_conv_multiply_adds(conv) * run->n);
}

static int work_counted(const struct bl_conv *conv, int code) {
    bl_work_end(conv->node->dev);
    return code;
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    bl_work_begin(conv->node->dev, 0);
    return work_counted(conv, conv->engine[pass]->pack(conv, pass, run, weight));
}

int bl_conv_pack(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight, struct bl_mem *bias) {
    int code = 0;
    if (conv->norm) {
        bl_work_begin(conv->node->dev, 0);
        code = work_counted(conv, bl_conv_fold(conv, weight, bias));
        weight = conv->scaled->mem;
    }
    return code ? code : pack(conv, BL_CONV_FORWARD, run, weight);
}

int bl_conv_make_moments(struct bl_conv *conv) {
    struct bl_node *node = conv->node;
    const struct bl_conv_engine *engine = conv->engine[BL_CONV_FORWARD];
    if (conv->cpu || !engine || !engine->rows_of_moments) return 0;
    const int64_t rows = bl_node_batch(node) * conv->out_h * conv->out_w, chunk = engine->rows_of_moments(conv);
    if (!chunk) return 0;
    node->makes.of_chunks =
        bl_node_workspace(node, BL_LIFE_FORWARD, 2 * conv->attrs.out_channels * bl_conv_div_up(rows, chunk));
    node->makes.chunk = chunk;
    return node->makes.of_chunks ? 0 : BLANCH_ENOMEM;
}

bool bl_conv_packs_bias(const struct bl_conv *conv) {
    return !conv->cpu && !conv->norm && conv->engine[BL_CONV_FORWARD]->pack_with_bias;
}

int bl_conv_pack_with_bias(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight,
                           const struct bl_conv_bias *bias) {
    bl_work_begin(conv->node->dev, 0);
    return work_counted(conv, conv->engine[BL_CONV_FORWARD]->pack_with_bias(conv, run, weight, bias));
}

int bl_conv_forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                    const struct blanch_tensor *y) {
    if (conv->norm) bias = conv->scaled_bias->mem;
    count_work(conv, run);
    int code = work_counted(conv, conv->engine[BL_CONV_FORWARD]->forward(conv, run, x, bias, y));
    return code ? code : bl_conv_finish(conv, run->n, y);
}

int bl_conv_backward_data(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight,
                          const struct blanch_tensor *dy, const struct blanch_tensor *dx, bool accumulate) {
    const struct bl_conv_engine *engine = conv->engine[BL_CONV_DATA];
    int code = pack(conv, BL_CONV_DATA, run, weight);
    if (code) return code;
    count_work(conv, run);
    return work_counted(conv, engine->backward_data(conv, run, dy, dx, accumulate));
}

bool bl_conv_adjoint_biases(const struct bl_conv *conv) {
    return conv->engine[BL_CONV_DATA]->biases;
}

int bl_conv_adjoint(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight, struct bl_mem *bias,
                    const struct blanch_tensor *x, const struct blanch_tensor *y) {
    conv->bias = bl_conv_adjoint_biases(conv) ? bias : NULL;
    int code = bl_conv_backward_data(conv, run, weight, x, y, false);
    conv->bias = NULL;
    return code;
}

int bl_conv_backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                             const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    count_work(conv, run);
    return work_counted(conv, conv->engine[BL_CONV_WEIGHTS]->backward_weights(conv, run, x, dy, dweight, dbias));
}

double bl_conv_multiply_adds(const struct bl_conv *conv) {
    return (double)conv->out_h * (double)conv->out_w * conv->attrs.out_channels * conv->group_in * conv->taps;
}
