/* Whitens activations themselves (Ye et al., ICLR 2020): the leading multiple of `block` channels in blocks that
 * share one matrix, the rest shifted and scaled together. Channel i*G + j is feature i of block j, of G. Published
 * quirks kept: the matrix under the root is the second moment of samples that are not centred; the first batch is
 * copied to the running buffers, later ones are averaged in. Every stride^2-th column is a sample, columns in the
 * order (block, image, y, x). */
#include "blas/blas.h"
#include "ops/common.h"
#include "ops/nd/definition.h"
#include "ops/nd/inverse_root.h"
#include "ops/nd/onnx.h"
#include "ops/nd/phase.h"
#include <stdlib.h>

enum kernel {
    GATHER,
    SCATTER,
    SAMPLE,
    SUMS,
    MEAN,
    SQUARES,
    TRACK,
    TAIL_SUMS,
    TAIL_MERGE,
    TAIL_RECALL,
    TAIL_APPLY,
    BACK_SCATTER,
    TAIL_BACK_SUMS,
    TAIL_BACK_MERGE,
    TAIL_BACK,
    KERNELS
};
static const char *const kernel_names[KERNELS] = {
    "gather",         "scatter",         "sample",     "sums",        "mean",       "squares",
    "track",          "tail_sums",       "tail_merge", "tail_recall", "tail_apply", "back_scatter",
    "tail_back_sums", "tail_back_merge", "tail_back",
};
enum { RUNNING_MEAN1, RUNNING_DECONV, RUNNING_MEAN2, RUNNING_VAR, BATCHES };
enum { CHUNKS = 32 };             // partial sums of rows
enum { MOST_CHANNELS = 1 << 20 }; // of a block

struct state {
    int block, groups, step; // b; G; from one sample to the next
    int64_t head;            // channels that are whitened
    struct bl_kernel *kernel[KERNELS];
    struct bl_inverse_root root;
    struct blanch_tensor *mean, *deconv, *squares, *last;      // (b), (b, b), (b), (b, b)
    struct blanch_tensor *tail, *tail_partial;                 // mean, 1/deviation; per image
    struct blanch_tensor *columns, *white, *samples, *partial; // forward
    struct blanch_tensor *back_columns, *dy, *dcolumns, *back_samples, *dsamples, *back_partial, *dmean, *ddeconv;
    struct blanch_tensor *sbar, *tail_back, *tail_back_partial;
};

/* --- setup ------------------------------------------------------------------------------------ */

static void declare_workspaces(struct bl_node *node, int iterations) {
    struct state *s = node->state;
    const struct blanch_tensor *x = node->in[0];
    int64_t pixels = x->n * x->h * x->w, b = s->block, b2 = b * b, all = pixels * s->head;
    int64_t samples = (pixels * s->groups + s->step - 1) / s->step * b;
    struct {
        struct blanch_tensor **tensor;
        enum bl_life life;
        int64_t count;
    } wanted[] = {
        {&s->tail, BL_LIFE_PINNED, 2},
        {&s->columns, BL_LIFE_FORWARD, all},
        {&s->white, BL_LIFE_FORWARD, all},
        {&s->mean, BL_LIFE_PINNED, b},
        {&s->deconv, BL_LIFE_PINNED, b2},
        {&s->squares, BL_LIFE_FORWARD, b},
        {&s->last, BL_LIFE_FORWARD, b2},
        {&s->samples, BL_LIFE_FORWARD, samples},
        {&s->partial, BL_LIFE_FORWARD, CHUNKS * b},
        {&s->tail_partial, BL_LIFE_FORWARD, 2 * x->n},
        {&s->back_columns, BL_LIFE_BACKWARD, all},
        {&s->dy, BL_LIFE_BACKWARD, all},
        {&s->dcolumns, BL_LIFE_BACKWARD, all},
        {&s->back_samples, BL_LIFE_BACKWARD, samples},
        {&s->dsamples, BL_LIFE_BACKWARD, samples},
        {&s->back_partial, BL_LIFE_BACKWARD, CHUNKS * b},
        {&s->dmean, BL_LIFE_BACKWARD, b},
        {&s->ddeconv, BL_LIFE_BACKWARD, b2},
        {&s->sbar, BL_LIFE_BACKWARD, b2},
        {&s->tail_back, BL_LIFE_BACKWARD, 2},
        {&s->tail_back_partial, BL_LIFE_BACKWARD, 2 * x->n},
    };
    int count = bl_node_training(node) ? BL_COUNT(wanted) : 3;
    for (int i = 0; i < count; i++) *wanted[i].tensor = bl_node_workspace(node, wanted[i].life, wanted[i].count);
    if (bl_node_training(node)) bl_inverse_root_setup(&s->root, node, 1, b, iterations, s->last);
}

static int setup(struct bl_node *node) {
    const struct bl_channel_deconv_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (!code) code = bl_check_statistics(node, a->eps, a->momentum);
    if (code) return code;
    if (a->block < 1 || a->block > MOST_CHANNELS || a->n_iter < 1 || a->n_iter > BL_MOST_ITERATIONS ||
        a->cov_sampling_stride < 1 || a->cov_sampling_stride > BL_MOST_SAMPLING)
        return bl_fail(BLANCH_EINPUT, "%s: block is 1 to %d, n_iter 1 to %d, cov_sampling_stride 1 to %d", node->name,
                       MOST_CHANNELS, BL_MOST_ITERATIONS, BL_MOST_SAMPLING);
    struct state *s = node->state = bl_calloc(1, sizeof *s);
    if (!s) return BLANCH_ENOMEM;
    const struct blanch_tensor *x = node->in[0];
    int stride = a->cov_sampling_stride;
    s->block = a->block, s->groups = (int)(x->c / a->block), s->head = (int64_t)s->groups * a->block;
    s->step = x->h >= stride && x->w >= stride ? stride * stride : 1;
    int64_t column[] = {a->block, 1}, square[] = {a->block, a->block}, one[] = {1, 1};
    bl_node_out(node, x->c, x->h, x->w);
    bl_node_buffer(node, "running_mean1", BL_INIT_ZEROS, 2, column);
    bl_node_buffer(node, "running_deconv", BL_INIT_EYE, 2, square);
    bl_node_buffer(node, "running_mean2", BL_INIT_ZEROS, 2, one);
    bl_node_buffer(node, "running_var", BL_INIT_ONES, 2, one);
    bl_node_counter(node, "num_batches_tracked", false);
    declare_workspaces(node, a->n_iter);
    return 0;
}

static int prepare(struct bl_node *node) {
    const struct bl_define defines[] = {{"VEC", 1}, BL_ACT(node)};
    struct state *s = node->state;
    int code = 0;
    for (int i = 0; i < KERNELS && !code; i++)
        code =
            bl_kernel_get(node->dev, "nd/channel_deconv", kernel_names[i], defines, BL_COUNT(defines), &s->kernel[i]);
    return code || !bl_node_training(node) ? code : bl_inverse_root_prepare(&s->root);
}

/* --- whitened channels ------------------------------------------------------------------------ */

static int64_t pixels_of(const struct bl_node *node, int n) {
    return n * node->out[0]->h * node->out[0]->w;
}
static int64_t samples_of(const struct bl_node *node, int n) {
    const struct state *s = node->state;
    return (pixels_of(node, n) * s->groups + s->step - 1) / s->step;
}
static struct bl_range over_rows(const struct bl_node *node) {
    const struct state *s = node->state;
    return bl_share(node->dev, s->block, 4 * BL_FLOAT_BYTES * s->block);
}

/* rows (pixels*G, b) of a tensor, less the mean where one is given; and back. */
static int gather(struct bl_node *node, int n, struct bl_mem *from, struct bl_mem *mean, struct bl_mem *to) {
    const struct state *s = node->state;
    int64_t pixels = pixels_of(node, n);
    return bl_launch(s->kernel[GATHER], bl_share(node->dev, pixels, 2 * BL_FLOAT_BYTES * s->head), BL_MEM(from),
                     BL_MEM(mean ? mean : from), BL_MEM(to), BL_I64(pixels), BL_I32(node->out[0]->c), BL_I32(s->groups),
                     BL_I32(s->block), BL_I32(mean != NULL));
}

static int sample(struct bl_node *node, int n, struct bl_mem *to) {
    const struct state *s = node->state;
    int64_t count = samples_of(node, n);
    return bl_launch_light(node->dev, s->kernel[SAMPLE], bl_share(node->dev, count, 2 * BL_FLOAT_BYTES * s->block),
                           BL_MEM(node->in[0]->mem), BL_MEM(to), BL_I64(count), BL_I32(s->step),
                           BL_I64(pixels_of(node, n)), BL_I32(node->out[0]->c), BL_I32(s->groups), BL_I32(s->block));
}

/* mean = scale times the sum of the rows. */
static int sum_rows(struct bl_node *node, struct bl_mem *rows, int64_t count, float scale, struct bl_mem *partial,
                    struct bl_mem *mean) {
    const struct state *s = node->state;
    struct bl_range range = bl_on_cpu(node->dev) ? BL_GROUPS1(1, CHUNKS) : BL_ITEMS((size_t)s->block, CHUNKS);
    int code = bl_launch_light(node->dev, s->kernel[SUMS], range, BL_MEM(rows), BL_MEM(partial), BL_I64(count),
                               BL_I32(s->block), BL_I32(CHUNKS));
    if (code) return code;
    return bl_launch_light(node->dev, s->kernel[MEAN], over_rows(node), BL_MEM(partial), BL_MEM(mean), BL_I32(CHUNKS),
                           BL_I32(s->block), BL_F32(scale));
}

static int track(struct bl_node *node, struct blanch_tensor *value, int buffer) {
    const struct bl_channel_deconv_attrs *a = node->attrs;
    const struct state *s = node->state;
    struct blanch_tensor *running = &node->buffer[buffer]->data;
    return bl_launch_light(node->dev, s->kernel[TRACK], bl_share(node->dev, running->count, 12), BL_MEM(value->mem),
                           BL_MEM(running->mem), BL_I64(running->count), BL_F32(a->momentum),
                           BL_I32(node->buffer[BATCHES]->value == 0));
}

/* Rows of a block's values by its matrix: what `product` says of operands, their number, alpha and transposing. */
static int apply_matrix(struct bl_node *node, struct bl_gemm product) {
    const struct state *s = node->state;
    product.n = product.k = product.lda = product.ldb = product.ldc = s->block;
    return bl_gemm(node->dev, &product);
}

static int outer(struct bl_node *node, struct bl_mem *left, struct bl_mem *right, int64_t count, float alpha,
                 struct bl_mem *to) {
    const struct state *s = node->state;
    struct bl_gemm product = {
        .trans_a = true,
        .symmetric = left == right,
        .m = s->block,
        .n = s->block,
        .k = count,
        .alpha = alpha,
        .a = left,
        .b = right,
        .c = to,
        .lda = s->block,
        .ldb = s->block,
        .ldc = s->block,
    };
    return bl_gemm(node->dev, &product);
}

/* again: mean, moment and D are there, the iterates that the gradient reads are not. */
static int measure(struct bl_node *node, int n, bool again) {
    const struct bl_channel_deconv_attrs *a = node->attrs;
    struct state *s = node->state;
    struct bl_mem *moment = s->root.s->mem;
    int64_t count = samples_of(node, n);
    float scale = (float)(1.0 / (double)count);
    if (again) return bl_inverse_root_iterate_again(&s->root, NULL);
    bl_node_phase(node, BL_COVARIANCE);
    int code = sample(node, n, s->samples->mem);
    if (!code) code = sum_rows(node, s->samples->mem, count, scale, s->partial->mem, s->mean->mem);
    if (!code) code = outer(node, s->samples->mem, s->samples->mem, count, scale, moment);
    if (!code)
        code = bl_launch_light(node->dev, s->kernel[SQUARES], over_rows(node), BL_MEM(moment), BL_MEM(s->squares->mem),
                               BL_I32(s->block), BL_F32(a->eps));
    bl_node_phase(node, BL_INVERSE_SQRT);
    const struct bl_root_result to = {node->buffer[BATCHES]->value ? a->momentum : 1, s->deconv->mem,
                                      node->buffer[RUNNING_DECONV]->data.mem};
    if (!code) code = bl_inverse_root_iterate(&s->root, NULL, s->squares->mem, &to);
    if (!code) code = bl_inverse_root_finish(&s->root, &to);
    if (!code) code = track(node, s->mean, RUNNING_MEAN1);
    bl_node_phase(node, BL_NORM);
    return code;
}

static struct bl_mem *mean_of(const struct bl_node *node, bool training) {
    const struct state *s = node->state;
    return training ? s->mean->mem : node->buffer[RUNNING_MEAN1]->data.mem;
}
static struct bl_mem *deconv_of(const struct bl_node *node, bool training) {
    const struct state *s = node->state;
    return training ? s->deconv->mem : node->buffer[RUNNING_DECONV]->data.mem;
}

static int whiten(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    int64_t pixels = pixels_of(node, run->n);
    int code = run->training ? measure(node, run->n, run->again) : 0;
    if (!code) code = gather(node, run->n, node->in[0]->mem, mean_of(node, run->training), s->columns->mem);
    if (!code)
        code = apply_matrix(node, (struct bl_gemm){.trans_b = true,
                                                   .m = pixels * s->groups,
                                                   .alpha = 1,
                                                   .a = s->columns->mem,
                                                   .b = deconv_of(node, run->training),
                                                   .c = s->white->mem});
    if (code) return code;
    return bl_launch(s->kernel[SCATTER], bl_share(node->dev, pixels, 2 * BL_FLOAT_BYTES * s->head),
                     BL_MEM(s->white->mem), BL_MEM(node->out[0]->mem), BL_I64(pixels), BL_I32(node->out[0]->c),
                     BL_I32(s->groups), BL_I32(s->block));
}

/* --- the rest of the channels ----------------------------------------------------------------- */

static int64_t tail_samples(const struct bl_node *node) { // of an image
    const struct state *s = node->state;
    return ((node->out[0]->c - s->head) * node->out[0]->h * node->out[0]->w + s->step - 1) / s->step;
}

static int scale_rest(struct bl_node *node, const struct bl_run *run) {
    const struct bl_channel_deconv_attrs *a = node->attrs;
    const struct state *s = node->state;
    const struct blanch_tensor *x = node->in[0];
    struct bl_range once = bl_share(node->dev, 1, 1);
    struct bl_mem *mean = node->buffer[RUNNING_MEAN2]->data.mem, *var = node->buffer[RUNNING_VAR]->data.mem;
    int64_t pixels = pixels_of(node, run->n);
    int code = 0;
    if (run->training && !run->again) {
        code = bl_launch(s->kernel[TAIL_SUMS], bl_share(node->dev, run->n, BL_FLOAT_BYTES * bl_features(x)),
                         BL_MEM(x->mem), BL_MEM(s->tail_partial->mem), BL_I32(run->n), BL_I32(x->h * x->w),
                         BL_I32(x->c), BL_I32(s->head), BL_I32(s->step));
        if (!code)
            code = bl_launch(s->kernel[TAIL_MERGE], once, BL_MEM(s->tail_partial->mem), BL_MEM(s->tail->mem),
                             BL_MEM(mean), BL_MEM(var), BL_I32(run->n), BL_I32(tail_samples(node)), BL_F32(a->eps),
                             BL_F32(a->momentum), BL_I32(node->buffer[BATCHES]->value == 0));
    } else if (!run->training)
        code = bl_launch(s->kernel[TAIL_RECALL], once, BL_MEM(mean), BL_MEM(var), BL_MEM(s->tail->mem), BL_F32(a->eps));
    if (code) return code;
    return bl_launch(s->kernel[TAIL_APPLY], bl_share(node->dev, pixels, 2 * BL_FLOAT_BYTES * (x->c - s->head)),
                     BL_MEM(x->mem), BL_MEM(s->tail->mem), BL_MEM(node->out[0]->mem), BL_I64(pixels), BL_I32(x->c),
                     BL_I32(s->head));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    int code = s->head ? whiten(node, run) : 0;
    if (!code && s->head < node->out[0]->c) code = scale_rest(node, run);
    if (!code && run->training && !run->again) node->buffer[BATCHES]->value++;
    return code;
}

/* --- backward --------------------------------------------------------------------------------- */

/* The moment's gradient, then the samples' to dsamples. */
static int through_statistics(struct bl_node *node, int n) {
    struct state *s = node->state;
    int64_t rows = pixels_of(node, n) * s->groups, count = samples_of(node, n);
    bl_node_phase(node, BL_WHITEN_BACKWARD);
    int code =
        sum_rows(node, s->dcolumns->mem, rows, (float)(-1.0 / (double)count), s->back_partial->mem, s->dmean->mem);
    if (!code) code = outer(node, s->dy->mem, s->back_columns->mem, rows, 1, s->ddeconv->mem);
    const struct bl_root_gradient gradient = {
        .ddeconv = s->ddeconv->mem, .deconv = s->deconv->mem, .sbar = s->sbar->mem, .taps = 1};
    if (!code) code = bl_inverse_root_backward(&s->root, NULL, &gradient);
    if (!code) code = sample(node, n, s->back_samples->mem);
    if (code) return code;
    return apply_matrix(node, (struct bl_gemm){.m = count,
                                               .alpha = (float)(2.0 / (double)count),
                                               .a = s->back_samples->mem,
                                               .b = s->sbar->mem,
                                               .c = s->dsamples->mem});
}

static int whiten_backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    int64_t pixels = pixels_of(node, run->n);
    bool training = run->training;
    int code = gather(node, run->n, node->out[0]->grad->mem, NULL, s->dy->mem);
    if (!code)
        code = apply_matrix(node, (struct bl_gemm){.m = pixels * s->groups,
                                                   .alpha = 1,
                                                   .a = s->dy->mem,
                                                   .b = deconv_of(node, training),
                                                   .c = s->dcolumns->mem});
    if (!code && training) code = gather(node, run->n, node->in[0]->mem, mean_of(node, training), s->back_columns->mem);
    if (!code && training) code = through_statistics(node, run->n);
    if (code) return code;
    return bl_launch_light(node->dev, s->kernel[BACK_SCATTER],
                           bl_share(node->dev, pixels, 3 * BL_FLOAT_BYTES * s->head), BL_MEM(s->dcolumns->mem),
                           BL_MEM(s->dsamples->mem), BL_MEM(s->dmean->mem), BL_MEM(node->in[0]->grad->mem),
                           BL_I64(pixels), BL_I32(node->out[0]->c), BL_I32(s->groups), BL_I32(s->block),
                           BL_I32(training ? s->step : 0), BL_I32(node->accumulate[0]));
}

static int scale_rest_backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    const struct blanch_tensor *x = node->in[0];
    struct bl_mem *dy = node->out[0]->grad->mem;
    int code = 0;
    if (run->training) {
        code = bl_launch_light(node->dev, s->kernel[TAIL_BACK_SUMS],
                               bl_share(node->dev, run->n, 2 * BL_FLOAT_BYTES * bl_features(x)), BL_MEM(x->mem),
                               BL_MEM(dy), BL_MEM(s->tail->mem), BL_MEM(s->tail_back_partial->mem), BL_I32(run->n),
                               BL_I32(x->h * x->w), BL_I32(x->c), BL_I32(s->head));
        if (!code)
            code = bl_launch_light(node->dev, s->kernel[TAIL_BACK_MERGE], bl_share(node->dev, 1, 1),
                                   BL_MEM(s->tail_back_partial->mem), BL_MEM(s->tail->mem), BL_MEM(s->tail_back->mem),
                                   BL_I32(run->n), BL_I32(tail_samples(node)));
    }
    if (code) return code;
    return bl_launch_light(node->dev, s->kernel[TAIL_BACK],
                           bl_share(node->dev, run->n, 3 * BL_FLOAT_BYTES * bl_features(x)), BL_MEM(x->mem), BL_MEM(dy),
                           BL_MEM(s->tail->mem), BL_MEM(s->tail_back->mem), BL_MEM(x->grad->mem), BL_I32(run->n),
                           BL_I32(x->h * x->w), BL_I32(x->c), BL_I32(s->head), BL_I32(run->training ? s->step : 0),
                           BL_I32(node->accumulate[0]));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    if (!node->in[0]->grad) return 0;
    int code = s->head ? whiten_backward(node, run) : 0;
    return code || s->head == node->out[0]->c ? code : scale_rest_backward(node, run);
}

static void release(struct bl_node *node) {
    struct state *s = node->state;
    if (s) bl_inverse_root_free(&s->root);
    free(s);
    node->state = NULL;
}

#define FIELD(name, kind)                                                                                              \
    { #name, kind, offsetof(struct bl_channel_deconv_attrs, name), false }
static const struct bl_field fields[] = {
    FIELD(block, BL_FIELD_INT), FIELD(n_iter, BL_FIELD_INT),     FIELD(cov_sampling_stride, BL_FIELD_INT),
    FIELD(eps, BL_FIELD_FLOAT), FIELD(momentum, BL_FIELD_FLOAT), {NULL},
};

const struct bl_op bl_op_channel_deconv = {
    .name = "channel_deconv",
    .alone = true,
    .role = BL_ROLE_NORMALISATION,
    .tolerance = 1e-2,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_channel_deconv_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .phase_forward = BL_NORM,
    .phase_backward = BL_NORM,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = bl_channel_deconv_definition,
    .release = release,
    .onnx = &bl_channel_deconv_onnx,
};
