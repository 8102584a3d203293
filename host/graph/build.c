/* The builders that model definitions use. The rule that turns a batch-normalised network into a deconvolved one stands
 * here: every convolution becomes an ND convolution with a bias, every linear layer an ND linear layer, every batch
 * norm goes (Ye et al., ICLR 2020). */
#include "graph/internal.h"
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- names ------------------------------------------------------------------------------------ */

void blanch_scope(struct blanch_builder *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(b->prefix, sizeof b->prefix, format, args);
    va_end(args);
    if (length >= (int)sizeof b->prefix)
        bl_graph_stick(b->graph, bl_fail(BLANCH_EUSAGE, "the prefix %s... is longer than %zu bytes", b->prefix,
                                         sizeof b->prefix - 1));
}

void blanch_order(struct blanch_builder *b, const char *names) {
    if (names) bl_graph_order(b->graph, b->prefix, names);
}

/* What has parameters is found by its name. */
static bool is_named(struct blanch_builder *b, const char *op, const char *name) {
    enum { MOST = sizeof((struct bl_node *)0)->name - 1 };
    if (name && *name && strlen(b->prefix) + strlen(name) <= MOST) return true;
    bl_graph_stick(b->graph, bl_fail(BLANCH_EUSAGE, "the name of a %s, '%s%s', has to have 1 to %d bytes", op,
                                     b->prefix, name ? name : "", MOST));
    return false;
}

const char *blanch_name(struct blanch_builder *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(b->name, sizeof b->name, format, args);
    va_end(args);
    return b->name;
}

/* --- looking ---------------------------------------------------------------------------------- */

int blanch_channels(const struct blanch_tensor *x) {
    return x ? (int)x->c : 0;
}
int blanch_height(const struct blanch_tensor *x) {
    return x ? (int)x->h : 0;
}
int blanch_width(const struct blanch_tensor *x) {
    return x ? (int)x->w : 0;
}
int blanch_classes(const struct blanch_builder *b) {
    return b->classes;
}
enum blanch_norm blanch_norm_of(const struct blanch_builder *b) {
    return b->norm;
}

static void full_name(const struct blanch_builder *b, const char *name, char full[256]) {
    snprintf(full, 256, "%s%s", b->prefix, name);
}

static struct blanch_tensor *add(struct blanch_builder *b, const char *op, const char *name, const void *attrs,
                                 struct blanch_tensor *const *inputs, int count) {
    char full[256];
    if (name) full_name(b, name, full);
    return bl_graph_add(b->graph, op, name ? full : NULL, attrs, inputs, count);
}

static struct blanch_tensor *add1(struct blanch_builder *b, const char *op, const char *name, const void *attrs,
                                  struct blanch_tensor *x) {
    return add(b, op, name, attrs, &x, 1);
}

/* --- layers with parameters ------------------------------------------------------------------- */

static int gcd(int a, int b) {
    return b ? gcd(b, a % b) : a;
}
/* What of wanted divides the channels: all of them where there are no more. */
int bl_build_block(int wanted, int channels) {
    return wanted >= channels ? channels : gcd(wanted, channels);
}
static int or_else(int value, int otherwise) {
    return value ? value : otherwise;
}
static float number_or(float value, float otherwise) {
    return isnan(value) || value == 0.0f ? otherwise : value;
}

static struct bl_nd_attrs nd_attrs(const struct blanch_builder *b, int block, int n_iter, bool freeze) {
    return (struct bl_nd_attrs){.block = block,
                                .n_iter = n_iter,
                                .freeze_iter = 100,
                                .freeze = b->nd.freeze ? b->nd.freeze > 0 : freeze,
                                .eps = number_or(b->nd.eps, 1e-5f),
                                .momentum = number_or(b->nd.momentum, 0.1f),
                                .refresh = b->nd.refresh,
                                .variances = b->nd.whiten == BLANCH_WHITEN_VARIANCES,
                                .constant_grad = b->nd.constant_gradient > 0};
}

static struct bl_conv_attrs conv_attrs(const struct blanch_tensor *x, const struct blanch_conv_spec *s) {
    int stride = or_else(s->stride, 1), dilation = or_else(s->dilation, 1);
    bool square = !s->kernel_w;
    return (struct bl_conv_attrs){.in_channels = (int)x->c,
                                  .out_channels = s->out,
                                  .kernel = {s->kernel, square ? s->kernel : s->kernel_w},
                                  .stride = {stride, stride},
                                  .padding = {s->padding, square ? s->padding : s->padding_w},
                                  .dilation = {dilation, dilation},
                                  .groups = or_else(s->groups, 1),
                                  .bias = !s->no_bias};
}

/* NULL: the layer has what all have. */
static const struct blanch_nd_layer *own_of(const struct blanch_builder *b, const char *full) {
    for (int i = 0; i < b->nd.layers; i++)
        if (!strcmp(b->nd.layer[i].name, full)) return &b->nd.layer[i];
    return NULL;
}

/* A layer, or a batch norm, as it is; it remembers what would become of it. */
static struct blanch_tensor *add_plain(struct blanch_builder *b, const char *op, const char *name, const void *attrs,
                                       struct blanch_tensor *x, const struct bl_nd_rule *rule) {
    struct blanch_tensor *y = add1(b, op, name, attrs, x);
    if (y && b->norm != BLANCH_ND) bl_graph_producer(b->graph, y)->rule = *rule;
    return y;
}

static struct blanch_tensor *add_nd(struct blanch_builder *b, const char *op, const char *name, const void *attrs,
                                    struct blanch_tensor *x, const struct bl_nd_rule *rule) {
    if (*rule->name) return bl_graph_add(b->graph, op, rule->name, attrs, &x, 1);
    return add1(b, op, name, attrs, x);
}

/* covers: samples are no further apart than they are large, so that every pixel is in one. */
static struct blanch_tensor *nd_conv2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                       struct bl_conv_attrs conv, const struct bl_nd_rule *rule, bool covers) {
    char full[256];
    conv.bias = 1;
    full_name(b, name, full);
    const struct blanch_nd_layer *own = own_of(b, *rule->name ? rule->name : full);
    int wanted = or_else(rule->block, or_else(own ? own->block : b->nd.block, b->block));
    int block = conv.groups > 1 ? conv.in_channels / conv.groups : bl_build_block(wanted, conv.in_channels);
    int n_iter = rule->n_iter ? rule->n_iter : or_else(b->nd.iterations, 5);
    struct bl_nd_conv_attrs attrs = {conv, nd_attrs(b, block, n_iter, rule->freeze)};
    int sampling = or_else(b->nd.sampling_stride, 3);
    for (int i = 0; i < 2; i++)
        attrs.nd.cov_sampling_stride[i] =
            covers && conv.kernel[i] < sampling ? conv.kernel[i] : sampling * conv.stride[i];
    attrs.nd.whiten_channels = b->nd.whiten == BLANCH_WHITEN_CHANNELS && conv.kernel[0] * conv.kernel[1] > 1;
    attrs.nd.cov_samples = own ? own->cov_samples : b->nd.cov_samples;
    attrs.nd.chosen = own != NULL;
    return add_nd(b, "nd_conv2d", name, &attrs, x, rule);
}

struct blanch_tensor *bl_build_conv2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                      struct bl_conv_attrs conv, const struct bl_nd_rule *rule) {
    if (!x || !is_named(b, "conv2d", name)) return NULL;
    if (b->norm == BLANCH_NONE) conv.bias = 1;
    if (rule->keep || b->norm != BLANCH_ND) return add_plain(b, "conv2d", name, &conv, x, rule);
    return nd_conv2d(b, name, x, conv, rule, false);
}

struct blanch_tensor *blanch_conv2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                    struct blanch_conv_spec spec) {
    struct bl_nd_rule rule = {.keep = spec.plain, .block = spec.block, .n_iter = spec.n_iter, .freeze = spec.freeze};
    if (spec.nd_name) snprintf(rule.name, sizeof rule.name, "%s%s", b->prefix, spec.nd_name);
    return x ? bl_build_conv2d(b, name, x, conv_attrs(x, &spec), &rule) : NULL;
}

/* Under deconvolution batch norms go unless they are to be kept, layer norms stay. */
static bool keeps_norms(const struct blanch_builder *b, bool usual) {
    return b->nd.keep_norm ? b->nd.keep_norm > 0 : usual;
}

/* Groups of 16 channels, as Wu and He (2018) have them, or of as many as divide both; of all channels. */
static struct blanch_tensor *instead_of_batchnorm(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                                  float eps) {
    const int channels = (int)x->c, groups = b->norm == BLANCH_LN ? 1 : channels / bl_build_block(16, channels);
    return blanch_group_norm(b, name, x, groups, eps);
}

struct blanch_tensor *bl_build_batchnorm2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                           struct bl_batchnorm_attrs attrs, bool keep) {
    const struct bl_nd_rule rule = {.keep = keep};
    if (x && (b->norm == BLANCH_GN || b->norm == BLANCH_LN)) return instead_of_batchnorm(b, name, x, attrs.eps);
    if (!x || b->norm == BLANCH_NONE || (b->norm == BLANCH_ND && !keeps_norms(b, keep))) return x;
    return !is_named(b, "batchnorm2d", name) ? NULL : add_plain(b, "batchnorm2d", name, &attrs, x, &rule);
}

static struct bl_batchnorm_attrs usual_batchnorm(const struct blanch_tensor *x) {
    return (struct bl_batchnorm_attrs){blanch_channels(x), 1e-5f, 0.1f};
}

struct blanch_tensor *blanch_batchnorm2d_always(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    return bl_build_batchnorm2d(b, name, x, usual_batchnorm(x), true);
}

struct blanch_tensor *blanch_batchnorm2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    return bl_build_batchnorm2d(b, name, x, usual_batchnorm(x), false);
}

void blanch_batchnorm2d_unused(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    if (b->norm == BLANCH_BN) bl_graph_idle(b->graph, blanch_batchnorm2d(b, name, x));
}

struct blanch_tensor *bl_build_linear(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                      struct bl_linear_attrs linear, const struct bl_nd_rule *rule) {
    if (!x || !is_named(b, "linear", name)) return NULL;
    if (rule->keep || b->norm != BLANCH_ND) return add_plain(b, "linear", name, &linear, x, rule);
    linear.bias = 1;
    int block = bl_build_block(or_else(rule->block, or_else(b->nd.block_fc, b->block_fc)), linear.in_features);
    int n_iter = or_else(rule->n_iter, or_else(b->nd.iterations, 5));
    struct bl_nd_linear_attrs attrs = {linear, nd_attrs(b, block, n_iter, false)};
    attrs.nd.freeze = attrs.nd.freeze_iter = 0; // the published linear layer has no such option
    if (x->h * x->w > 1) attrs.nd.cov_sampling_stride[0] = or_else(b->nd.sampling_stride, 3); // nor this one
    return add_nd(b, "nd_linear", name, &attrs, x, rule);
}

static struct blanch_tensor *linear_of(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out,
                                       bool keep) {
    const struct bl_linear_attrs attrs = {blanch_channels(x), out, 1};
    return bl_build_linear(b, name, x, attrs, &(struct bl_nd_rule){.keep = keep});
}

struct blanch_tensor *blanch_linear_unbiased(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                             int out) {
    return bl_build_linear(b, name, x, (struct bl_linear_attrs){blanch_channels(x), out, 0}, &(struct bl_nd_rule){0});
}

struct blanch_tensor *blanch_position(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    return add1(b, "position", name, NULL, x);
}

struct blanch_tensor *blanch_class_token(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    return add1(b, "class_token", name, NULL, x);
}

struct blanch_tensor *bl_build_layernorm(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                         struct bl_layernorm_attrs attrs) {
    if (!x || b->norm == BLANCH_NONE || (b->norm == BLANCH_ND && !keeps_norms(b, true))) return x;
    return !is_named(b, "layernorm", name) ? NULL : add1(b, "layernorm", name, &attrs, x);
}

struct blanch_tensor *blanch_layernorm(struct blanch_builder *b, const char *name, struct blanch_tensor *x, float eps) {
    if (!x) return NULL;
    return bl_build_layernorm(b, name, x, (struct bl_layernorm_attrs){(int)x->c, number_or(eps, 1e-5f)});
}

struct blanch_tensor *bl_build_group_norm(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                          struct bl_group_norm_attrs attrs) {
    if (!x || b->norm == BLANCH_NONE || (b->norm == BLANCH_ND && !keeps_norms(b, true))) return x;
    return !is_named(b, "group_norm", name) ? NULL : add1(b, "group_norm", name, &attrs, x);
}

struct blanch_tensor *blanch_group_norm(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int groups,
                                        float eps) {
    if (!x) return NULL;
    return bl_build_group_norm(b, name, x, (struct bl_group_norm_attrs){groups, (int)x->c, number_or(eps, 1e-5f)});
}

/* No two pixels of the input meet in one of the output: a linear layer of each, whose outputs lie side by side. */
static bool is_of_pixels(const struct bl_conv_transpose_attrs *a, const struct blanch_tensor *x) {
    bool is = a->groups == 1 && a->kernel[0] == a->kernel[1];
    for (int i = 0; i < 2; i++)
        is = is && (a->kernel[i] == a->stride[i] || x->h * x->w == 1) && !a->padding[i] && !a->output_padding[i] &&
             a->dilation[i] == 1;
    return is;
}

/* Every pixel of the output sees as many of the input. What the operation itself refuses is left to it. */
static bool is_shuffled(const struct bl_conv_transpose_attrs *a) {
    enum { LARGEST = 1 << 30 };
    const int s = a->stride[0];
    bool is = s > 0 && a->stride[1] == s && a->out_channels > 0 && a->out_channels <= INT_MAX / s / s;
    for (int i = 0; i < 2; i++)
        is = is && a->kernel[i] >= s && a->padding[i] >= 0 && a->output_padding[i] >= 0 && a->output_padding[i] < s &&
             (a->dilation[i] == 1 || (s == 1 && a->dilation[i] > 0)) &&
             (int64_t)a->kernel[i] * a->dilation[i] + a->padding[i] + s <= LARGEST;
    return is;
}

/* A convolution whose outputs are those of every phase of the stride, as pixels side by side, less what lies beyond the
 * transposed convolution's edges; tests/reference/README.md has the mathematics. `reach` is how far back an output
 * sees, `last` where the last tap of the last pixel would fall, counted from that pixel. */
static struct blanch_tensor *shuffled(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                      const struct bl_conv_transpose_attrs *a, const struct bl_nd_rule *rule) {
    const int s = a->stride[0];
    struct bl_conv_attrs conv = {a->in_channels, a->out_channels * s * s, .stride = {1, 1}, .groups = a->groups};
    int before[2], after[2];
    for (int i = 0; i < 2; i++) {
        conv.kernel[i] = (a->kernel[i] + s - 1) / s, conv.dilation[i] = a->dilation[i];
        const int reach = a->dilation[i] * (conv.kernel[i] - 1), p = a->padding[i], begins = reach - p / s,
                  last = a->dilation[i] * (a->kernel[i] - 1) + a->output_padding[i] - p, ends = last < 0 ? 0 : last / s;
        const int padding = conv.padding[i] = begins > ends ? begins : ends;
        before[i] = p - s * (reach - padding), after[i] = s * (padding + 1) - 1 - last;
    }
    x = nd_conv2d(b, name, x, conv, rule, conv.kernel[0] * conv.kernel[1] > 1);
    if (s == 1 && !before[0] && !before[1] && !after[0] && !after[1]) return x;
    return add1(b, "pixel_shuffle", NULL, &(struct bl_pixel_shuffle_attrs){s, before[0], before[1], after[0], after[1]},
                x);
}

struct blanch_tensor *bl_build_conv_transpose2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                                struct bl_conv_transpose_attrs attrs, const struct bl_nd_rule *rule) {
    if (!x || !is_named(b, "conv_transpose2d", name)) return NULL;
    attrs.bias |= b->norm == BLANCH_NONE || (b->norm == BLANCH_ND && !rule->keep); // no norm that follows has one
    const bool whitens = b->norm == BLANCH_ND && !rule->keep, of_pixels = is_of_pixels(&attrs, x);
    if (whitens && !of_pixels && is_shuffled(&attrs)) return shuffled(b, name, x, &attrs, rule);
    if (!whitens || !of_pixels) return add_plain(b, "conv_transpose2d", name, &attrs, x, rule);
    struct bl_nd_rule own = *rule;
    own.block = or_else(own.block, or_else(b->nd.block, b->block)); // a convolution's, not a classifier's
    const int outs = attrs.out_channels, square = attrs.kernel[0] * attrs.kernel[1];
    if (outs > INT_MAX / square) // which no device holds
        return bl_graph_stick(b->graph, bl_fail(BLANCH_EINPUT, "%s: %d channels of %d taps", name, outs, square)), NULL;
    const struct bl_linear_attrs linear = {attrs.in_channels, outs * square, 1};
    return blanch_pixel_shuffle(b, bl_build_linear(b, name, x, linear, &own), attrs.kernel[0]);
}

struct blanch_tensor *blanch_conv_transpose2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                              struct blanch_conv_transpose_spec s) {
    if (!x) return NULL;
    const int stride = or_else(s.stride, 1), dilation = or_else(s.dilation, 1);
    const struct bl_conv_transpose_attrs attrs = {.in_channels = (int)x->c,
                                                  .out_channels = s.out,
                                                  .kernel = {s.kernel, s.kernel},
                                                  .stride = {stride, stride},
                                                  .padding = {s.padding, s.padding},
                                                  .output_padding = {s.output_padding, s.output_padding},
                                                  .dilation = {dilation, dilation},
                                                  .groups = or_else(s.groups, 1),
                                                  .bias = !s.no_bias};
    return bl_build_conv_transpose2d(b, name, x, attrs, &(struct bl_nd_rule){.keep = s.plain});
}

struct blanch_tensor *blanch_scale_from(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                        float begin) {
    return add1(b, "scale", name, &(struct bl_scale_attrs){begin}, x);
}

struct blanch_tensor *blanch_scale(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    return blanch_scale_from(b, name, x, 1);
}

struct blanch_tensor *blanch_linear_plain(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                          int out) {
    return linear_of(b, name, x, out, true);
}

struct blanch_tensor *blanch_linear(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out) {
    return linear_of(b, name, x, out, false);
}

/* --- layers without --------------------------------------------------------------------------- */

struct blanch_tensor *blanch_relu(struct blanch_builder *b, struct blanch_tensor *x) {
    return blanch_unary(b, "relu", x);
}
struct blanch_tensor *blanch_unary(struct blanch_builder *b, const char *op, struct blanch_tensor *x) {
    return add1(b, op, NULL, NULL, x);
}

struct blanch_tensor *blanch_leaky_relu(struct blanch_builder *b, struct blanch_tensor *x, float slope) {
    return add1(b, "leaky_relu", NULL, &(struct bl_leaky_relu_attrs){slope}, x);
}
struct blanch_tensor *blanch_elu(struct blanch_builder *b, struct blanch_tensor *x, float alpha) {
    return add1(b, "elu", NULL, &(struct bl_elu_attrs){alpha}, x);
}

struct blanch_tensor *blanch_maxpool2d(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                       int padding) {
    struct bl_pool_attrs attrs = {{kernel, kernel}, {stride, stride}, {padding, padding}};
    return add1(b, "maxpool2d", NULL, &attrs, x);
}

struct blanch_tensor *blanch_maxpool2d_ceil(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                            int padding) {
    struct bl_pool_attrs attrs = {{kernel, kernel}, {stride, stride}, {padding, padding}, .ceil_mode = 1};
    return add1(b, "maxpool2d", NULL, &attrs, x);
}

struct blanch_tensor *blanch_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                       int padding) {
    struct bl_pool_attrs attrs = {{kernel, kernel}, {stride, stride}, {padding, padding}, .count_include_pad = 1};
    return add1(b, "avgpool2d", NULL, &attrs, x);
}

struct blanch_tensor *blanch_adaptive_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x, int height,
                                                int width) {
    struct bl_adaptive_attrs attrs = {{height, width}};
    return add1(b, "adaptive_avgpool2d", NULL, &attrs, x);
}

struct blanch_tensor *blanch_global_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x) {
    return blanch_unary(b, "global_avgpool2d", x);
}

struct blanch_tensor *blanch_upsample(struct blanch_builder *b, struct blanch_tensor *x, int height, int width,
                                      bool bilinear) {
    return add1(b, "upsample", NULL, &(struct bl_upsample_attrs){.out = {height, width}, .bilinear = bilinear}, x);
}

struct blanch_tensor *blanch_pixel_shuffle(struct blanch_builder *b, struct blanch_tensor *x, int factor) {
    return add1(b, "pixel_shuffle", NULL, &(struct bl_pixel_shuffle_attrs){.factor = factor}, x);
}

/* What is flattened enters the classifier: here a BN network's features are whitened where --channel-deconv asks for
 * it. */
struct blanch_tensor *bl_build_flatten(struct blanch_builder *b, const char *name, struct blanch_tensor *x) {
    if (b->nd.channel_deconv && b->norm == BLANCH_BN) {
        struct bl_channel_deconv_attrs attrs = {.block = b->nd.channel_deconv,
                                                .n_iter = or_else(b->nd.iterations, 5),
                                                .cov_sampling_stride = or_else(b->nd.sampling_stride, 3),
                                                .eps = number_or(b->nd.eps, 1e-2f),
                                                .momentum = number_or(b->nd.momentum, 0.1f)};
        x = add1(b, "channel_deconv", "channel_deconv", &attrs, x);
    }
    return add1(b, "flatten", name, NULL, x);
}

struct blanch_tensor *blanch_flatten(struct blanch_builder *b, struct blanch_tensor *x) {
    return bl_build_flatten(b, NULL, x);
}

struct blanch_tensor *blanch_add(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *y) {
    return add(b, "add", NULL, NULL, (struct blanch_tensor *[]){x, y}, 2);
}

struct blanch_tensor *blanch_mul(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *y) {
    return add(b, "mul", NULL, NULL, (struct blanch_tensor *[]){x, y}, 2);
}

struct blanch_tensor *blanch_cat(struct blanch_builder *b, struct blanch_tensor *const *x, int count) {
    return add(b, "cat", NULL, NULL, x, count);
}

struct blanch_tensor *blanch_slice(struct blanch_builder *b, struct blanch_tensor *x, int begin, int end) {
    struct bl_slice_attrs attrs = {begin, end};
    return add1(b, "slice_channels", NULL, &attrs, x);
}

struct blanch_tensor *blanch_channel_shuffle(struct blanch_builder *b, struct blanch_tensor *x, int groups) {
    struct bl_shuffle_attrs attrs = {groups};
    return add1(b, "channel_shuffle", NULL, &attrs, x);
}

struct blanch_tensor *blanch_attention(struct blanch_builder *b, struct blanch_tensor *x, int heads, bool causal) {
    return add1(b, "attention", NULL, &(struct bl_attention_attrs){heads, causal}, x);
}

struct blanch_tensor *blanch_token(struct blanch_builder *b, struct blanch_tensor *x, int index) {
    return add1(b, "token", NULL, &(struct bl_token_attrs){index}, x);
}

struct blanch_tensor *blanch_sequence_pool(struct blanch_builder *b, struct blanch_tensor *x,
                                           struct blanch_tensor *scores) {
    return add(b, "sequence_pool", NULL, NULL, (struct blanch_tensor *[]){x, scores}, 2);
}

struct blanch_tensor *blanch_dropout(struct blanch_builder *b, struct blanch_tensor *x, float p) {
    struct bl_dropout_attrs attrs = {p};
    return add1(b, "dropout", NULL, &attrs, x);
}

struct blanch_tensor *blanch_stochastic_depth(struct blanch_builder *b, struct blanch_tensor *x, float p) {
    struct bl_dropout_attrs attrs = {p};
    return add1(b, "stochastic_depth", NULL, &attrs, x);
}
