/* y = (x - mean) / sqrt(var + eps) * weight + bias per channel: the batch's mean and biased variance in training, the
 * running ones in evaluation (Ioffe and Szegedy, ICML 2015). The variance is of centred data in two passes over a few
 * rows at a time, merged after Chan, Golub and LeVeque (1979): memory is read once for both. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <stdlib.h>
#include <math.h>

struct state {
    int vec, tile; // rows of which a vector is taken at once, its sums in registers
    int64_t chunk; // rows (pixels) of a partial sum
    struct bl_kernel *statistics, *summarise, *recall, *apply, *gradients, *finish, *input_gradient;
    struct blanch_tensor *saved;                  // mean, 1/deviation, scale, shift: (4, C)
    struct blanch_tensor *partial, *partial_back; // (chunks, 2, C)
    struct blanch_tensor *coefficients;           // b, c of dx = scale dy + b (x - mean) + c: (2, C)
};

enum { CPU_TILE = 8, CPU_TILE_BYTES = 512 };

static int64_t rows_of(const struct bl_node *node, int n) {
    return n * node->out[0]->h * node->out[0]->w;
}

/* Memory is best read in order: wide rows are summed one by one, narrow ones some at once, for sums in registers. What
 * reads twice takes more, and fetches ahead. */
static int cpu_tile(const struct blanch_tensor *x) {
    int64_t rows = CPU_TILE_BYTES / bl_bytes_of(x, x->c);
    return rows < 1 ? 1 : rows > CPU_TILE ? CPU_TILE : (int)rows;
}

static int setup(struct bl_node *node) {
    const struct bl_batchnorm_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (!code) code = bl_check_statistics(node, attrs->eps, attrs->momentum);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (attrs->channels != x->c)
        return bl_fail(BLANCH_EINPUT, "%s: made for %d channels, given %lld", node->name, attrs->channels,
                       (long long)x->c);
    int64_t shape[] = {x->c};
    bl_node_out(node, x->c, x->h, x->w);
    bl_node_param(node, "weight", BL_INIT_ONES, 1, shape);
    bl_node_param(node, "bias", BL_INIT_ZEROS, 1, shape);
    bl_node_buffer(node, "running_mean", BL_INIT_ZEROS, 1, shape);
    bl_node_buffer(node, "running_var", BL_INIT_ONES, 1, shape);
    bl_node_counter(node, "num_batches_tracked", false);
    struct state *state = node->state = bl_calloc(1, sizeof *state);
    if (!state) return BLANCH_ENOMEM;
    int64_t rows = x->n * x->h * x->w;
    state->vec = bl_vec(node->dev, x->c);
    state->chunk = bl_chunk(node, state->vec);
    state->tile = bl_on_cpu(node->dev) ? cpu_tile(x) : (int)state->chunk;
    state->saved = bl_node_workspace(node, BL_LIFE_PINNED, 4 * x->c);
    if (!bl_node_training(node)) return 0;
    state->partial = bl_node_workspace(node, BL_LIFE_FORWARD, 2 * x->c * bl_chunks(rows, state->chunk));
    state->partial_back = bl_node_workspace(node, BL_LIFE_BACKWARD, 2 * x->c * bl_chunks(rows, state->chunk));
    state->coefficients = bl_node_workspace(node, BL_LIFE_BACKWARD, 2 * x->c);
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *state = node->state;
    struct {
        const char *name;
        struct bl_kernel **kernel;
    } wanted[] = {
        {"recall", &state->recall},
        {"apply", &state->apply},
        {"statistics", &state->statistics},
        {"summarise", &state->summarise},
        {"gradients", &state->gradients},
        {"finish", &state->finish},
        {"input_gradient", &state->input_gradient},
    };
    int count = bl_node_training(node) ? BL_COUNT(wanted) : 2, code = 0;
    for (int i = 0; i < count && !code; i++)
        code = bl_kernel_get(node->dev, "batchnorm2d", wanted[i].name,
                             (struct bl_define[]){{"VEC", state->vec},
                                                  {"ACTIVATION", bl_node_activation(node)},
                                                  {"TREE", bl_tree(node->dev)},
                                                  BL_ACT(node)},
                             4, wanted[i].kernel);
    return code;
}

static int measure(struct bl_node *node, const struct bl_run *run) {
    const struct bl_batchnorm_attrs *attrs = node->attrs;
    struct state *state = node->state;
    int64_t rows = rows_of(node, run->n), chunks = bl_chunks(rows, state->chunk),
            vectors = node->out[0]->c / state->vec;
    if (rows == 1 && !run->all)
        return bl_fail(BLANCH_EINPUT,
                       "expected more than 1 value per channel when training; give a larger batch or larger images");
    struct bl_moments moments = {state->partial->mem, rows, state->chunk, node->out[0]->c};
    int code = 0;
    if (node->given.of_chunks) {
        moments.partial = node->given.of_chunks->mem, moments.chunk = node->given.chunk;
        chunks = bl_chunks(rows, moments.chunk);
    } else
        code = bl_launch(state->statistics, bl_share_chunks(node->dev, vectors, chunks), BL_MEM(node->in[0]->mem),
                         BL_MEM(state->partial->mem), BL_I64(rows), BL_I32(vectors), BL_I64(state->chunk),
                         BL_I32(bl_on_cpu(node->dev) ? CPU_TILE : state->tile));
    if (!code) code = bl_merge(run->all, node->dev, &moments);
    if (code) return code;
    node->buffer[2]->value++;
    return bl_launch(state->summarise, bl_share_merge(node->dev, vectors, 2 * BL_FLOAT_BYTES * state->vec * chunks),
                     BL_MEM(moments.partial), BL_MEM(node->param[0]->data.mem), BL_MEM(node->param[1]->data.mem),
                     BL_MEM(node->buffer[0]->data.mem), BL_MEM(node->buffer[1]->data.mem), BL_MEM(state->saved->mem),
                     BL_I64(moments.rows), BL_I32(vectors), BL_I64(moments.chunk), BL_F32(attrs->eps),
                     BL_F32(attrs->momentum));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_batchnorm_attrs *attrs = node->attrs;
    struct state *state = node->state;
    int64_t rows = rows_of(node, run->n), vectors = node->out[0]->c / state->vec;
    int code = 0;
    if (run->training && !run->again)
        code = measure(node, run);
    else if (!run->training)
        code = bl_launch(state->recall, bl_share(node->dev, vectors, 8 * BL_FLOAT_BYTES * state->vec),
                         BL_MEM(node->param[0]->data.mem), BL_MEM(node->param[1]->data.mem),
                         BL_MEM(node->buffer[0]->data.mem), BL_MEM(node->buffer[1]->data.mem),
                         BL_MEM(state->saved->mem), BL_I32(vectors), BL_F32(attrs->eps));
    if (code) return code;
    return bl_launch(state->apply,
                     bl_share_rows(node->dev, vectors, rows, bl_bytes_of(node->out[0], 2 * node->out[0]->c)),
                     BL_MEM(node->in[0]->mem), BL_MEM(state->saved->mem), BL_MEM(node->out[0]->mem), BL_I64(rows),
                     BL_I32(vectors), BL_I32(state->tile));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    struct state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    int64_t rows = rows_of(node, run->n), chunks = bl_chunks(rows, state->chunk), vectors = x->c / state->vec;
    struct bl_mem *dy = node->out[0]->grad->mem;
    int code = bl_launch(state->gradients, bl_share_chunks(node->dev, vectors, chunks), BL_MEM(x->mem), BL_MEM(dy),
                         BL_MEM(state->saved->mem), BL_MEM(state->partial_back->mem), BL_I64(rows), BL_I32(vectors),
                         BL_I64(state->chunk), BL_I32(state->tile));
    if (code) return code;
    code = bl_launch(state->finish, bl_share_merge(node->dev, vectors, 2 * BL_FLOAT_BYTES * state->vec * chunks),
                     BL_MEM(state->partial_back->mem), BL_MEM(state->saved->mem), BL_MEM(node->param[0]->grad.mem),
                     BL_MEM(node->param[1]->grad.mem), BL_MEM(state->coefficients->mem), BL_I64(rows), BL_I32(vectors),
                     BL_I64(state->chunk), BL_I64(run->whole * x->h * x->w), BL_I32(run->training));
    if (code || !x->grad) return code;
    if (run->training && (code = bl_sum(run->all, node->dev, state->coefficients->mem, 0, 2 * x->c))) return code;
    return bl_launch(state->input_gradient, bl_share_rows(node->dev, vectors, rows, bl_bytes_of(x, 3 * x->c)),
                     BL_MEM(x->mem), BL_MEM(dy), BL_MEM(state->saved->mem), BL_MEM(state->coefficients->mem),
                     BL_MEM(x->grad->mem), BL_I64(rows), BL_I32(vectors), BL_I32(state->tile),
                     BL_I32(node->accumulate[0]));
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

static void channel_moments(const struct bl_ref_tensor *x, int c, double *mean, double *var) {
    int plane = x->h * x->w;
    double count = (double)x->n * plane;
    *mean = *var = 0;
    for (int n = 0; n < x->n; n++)
        for (int i = 0; i < plane; i++) *mean += bl_ref_at(x, n, c, 0, 0)[i] / count;
    for (int n = 0; n < x->n; n++)
        for (int i = 0; i < plane; i++) {
            double d = bl_ref_at(x, n, c, 0, 0)[i] - *mean;
            *var += d * d / count;
        }
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_batchnorm_attrs *a = l->attrs;
    int plane = x->h * x->w, code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    double count = (double)x->n * plane;
    for (int c = 0; c < x->c && !code; c++) {
        double mean = l->buffer[0][c], var = l->buffer[1][c];
        if (l->training) {
            channel_moments(x, c, &mean, &var);
            l->buffer[0][c] += a->momentum * (mean - l->buffer[0][c]);
            l->buffer[1][c] += a->momentum * (var * count / (count - 1) - l->buffer[1][c]);
        }
        for (int n = 0; n < x->n; n++)
            for (int i = 0; i < plane; i++)
                bl_ref_at(y, n, c, 0, 0)[i] =
                    (bl_ref_at(x, n, c, 0, 0)[i] - mean) / sqrt(var + a->eps) * l->param[0][c] + l->param[1][c];
    }
    l->counter[2] += l->training;
    return code;
}

static const struct bl_field fields[] = {
    {"channels", BL_FIELD_INT, offsetof(struct bl_batchnorm_attrs, channels), true},
    {"eps", BL_FIELD_FLOAT, offsetof(struct bl_batchnorm_attrs, eps), true, 1e-5},
    {"momentum", BL_FIELD_FLOAT, offsetof(struct bl_batchnorm_attrs, momentum), true, 0.1},
    {NULL},
};

static const struct bl_fusion fusions[] = {{&bl_op_relu}, {&bl_op_relu6}, {NULL}};

/* The format's momentum is that of what is kept: 0.9 is 0.1. */
static float momentum_of(const struct bl_onnx_node *n) {
    return roundf((1 - bl_onnx_float(n, "momentum", 0.9f)) * 1e6f) / 1e6f;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    const struct bl_batchnorm_attrs attrs = {x ? (int)x->c : 0, bl_onnx_float(n, "epsilon", 1e-5f), momentum_of(n)};
    const struct bl_onnx_param params[] = {
        {"weight", n, 1}, {"bias", n, 2}, {"running_mean", n, 3}, {"running_var", n, 4}, {NULL}};
    return bl_onnx_add(r, n, &attrs, &x, 1, params, bl_onnx_view(r, n, 0));
}

static void affine(struct bl_onnx_writer *w, const struct bl_node *node, double *scale, double *shift) {
    const struct bl_batchnorm_attrs *a = node->attrs;
    const float *weight = bl_onnx_values(w, node->param[0]), *bias = bl_onnx_values(w, node->param[1]),
                *mean = bl_onnx_values(w, node->buffer[0]), *var = bl_onnx_values(w, node->buffer[1]);
    for (int c = 0; weight && bias && mean && var && c < a->channels; c++) {
        scale[c] = (double)weight[c] / sqrt((double)var[c] + (double)a->eps);
        shift[c] = (double)bias[c] - (double)mean[c] * scale[c];
    }
}

static const struct bl_onnx_form forms[] = {{"BatchNormalization", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .affine = affine};

const struct bl_op bl_op_batchnorm2d = {
    .name = "batchnorm2d",
    .role = BL_ROLE_NORMALISATION,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_batchnorm_attrs),
    .fields = fields,
    .reads = BL_IN(0),
    .in_place = BL_IN_PLACE_GRAD,
    .fusions = fusions,
    .normalises = true,
    .takes_moments = true,
    .phase_forward = BL_NORM,
    .phase_backward = BL_NORM,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = release,
    .onnx = &onnx,
};
