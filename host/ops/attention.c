/* Attention over heads (Vaswani et al., 2017): the input's channels are queries, keys and values, each of `heads` times
 * the channels of a head, and its pixels the tokens; y = softmax(q k^T / sqrt(channels of a head)) v in each head. What
 * is kept for the backward pass is one number a token and head; memory grows with the tokens, not with their square. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>
#include <stdlib.h>

enum { MOST_HEAD = 256, MOST_ITEMS = 64 };

struct group { // of items, elsewhere than on CPUs
    int cols, rows;
};

struct state {
    int head, tokens, lines; // channels of a head; lines: tokens up to a multiple of 16
    int tile, items;         // on a CPU: tokens of a block; items that share the work
    struct group group;
    struct bl_kernel *turn, *forward, *multiply, *queries, *others;
    struct blanch_tensor *levels, *dots;      // (n, heads, tokens)
    struct blanch_tensor *turned, *back[4];   // on CPUs: keys; keys, values, queries, gradients
    struct blanch_tensor *scratch, *scratch2; // of their items, forward and backward
};

static size_t local_bytes(const struct group *g, int head) {
    return sizeof(float) * (size_t)(2 * (g->rows + g->cols) * (head + 1) + 2 * g->rows * g->cols);
}

/* The largest that the device allows. */
static struct group group_of(const struct blanch_device *dev, int head) {
    static const struct group groups[] = {{16, 16}, {8, 8}, {4, 4}, {2, 2}, {1, 1}};
    const struct blanch_device_info *info = blanch_device_info(dev);
    int i = 0;
    for (; i < BL_COUNT(groups) - 1; i++)
        if ((size_t)(groups[i].cols * groups[i].rows) <= info->max_work_group &&
            (size_t)groups[i].cols <= info->max_work_item[0] && (size_t)groups[i].rows <= info->max_work_item[1] &&
            local_bytes(&groups[i], head) <= info->local_memory)
            break;
    return groups[i];
}

static void declare_workspaces(struct bl_node *node) {
    struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    const int64_t n = node->in[0]->n, turned = n * a->heads * s->head * s->lines;
    const int64_t scratch = (int64_t)s->items * 2 * s->tile * (s->lines + s->head);
    const bool cpu = bl_on_cpu(node->dev);
    s->levels = bl_node_workspace(node, BL_LIFE_SAVED, n * a->heads * s->tokens);
    if (cpu) s->turned = bl_node_workspace(node, BL_LIFE_FORWARD, turned);
    if (cpu) s->scratch = bl_node_workspace(node, BL_LIFE_FORWARD, scratch);
    if (!bl_node_training(node)) return;
    s->dots = bl_node_workspace(node, BL_LIFE_BACKWARD, n * a->heads * s->tokens);
    for (int i = 0; i < BL_COUNT(s->back) && cpu; i++) s->back[i] = bl_node_workspace(node, BL_LIFE_BACKWARD, turned);
    if (cpu) s->scratch2 = bl_node_workspace(node, BL_LIFE_BACKWARD, scratch);
}

static int setup(struct bl_node *node) {
    const struct bl_attention_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (a->heads < 1 || x->c % (3 * (int64_t)a->heads) || x->c / 3 / a->heads > MOST_HEAD)
        return bl_fail(BLANCH_EINPUT,
                       "%s: %lld channels are not queries, keys and values of %d heads of at most %d channels",
                       node->name, (long long)x->c, a->heads, MOST_HEAD);
    if (x->h * x->w > INT32_MAX / 64)
        return bl_fail(BLANCH_ELIMIT, "%s: %lld tokens are too many", node->name, (long long)(x->h * x->w));
    struct state *s = node->state = bl_calloc(1, sizeof *s);
    if (!s) return BLANCH_ENOMEM;
    s->head = (int)(x->c / 3 / a->heads);
    s->tokens = (int)(x->h * x->w);
    s->lines = (s->tokens + 15) / 16 * 16;
    bl_node_out(node, x->c / 3, x->h, x->w);
    node->multiply_adds = 2.0 * s->tokens * s->tokens * (double)(x->c / 3);
    s->tile = node->dev && bl_tile_rows(node->dev) > 6 ? 8 : 6;
    s->items = node->dev ? 4 * blanch_device_info(node->dev)->compute_units : 1;
    if (s->items > MOST_ITEMS) s->items = MOST_ITEMS;
    if (!bl_on_cpu(node->dev)) s->group = group_of(node->dev, s->head);
    declare_workspaces(node);
    return 0;
}

static int prepare(struct bl_node *node) {
    struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    const bool cpu = bl_on_cpu(node->dev);
    const struct bl_define lines[] = {
        {"HEAD", s->head}, {"CAUSAL", a->causal},           {"VEC", bl_vec(node->dev, s->head)},
        {"TM", s->tile},   {"STRIPS", s->tile > 6 ? 2 : 1}, BL_ACT(node)};
    const struct bl_define groups[] = {{"HEAD", s->head},       {"CAUSAL", a->causal},   {"VEC", 1},
                                       {"ROWS", s->group.rows}, {"COLS", s->group.cols}, BL_ACT(node)};
    const struct {
        const char *name;
        struct bl_kernel **kernel;
        bool cpu, training;
    } kernels[] = {{"turn", &s->turn, true, false},
                   {"forward", &s->forward, false, false},
                   {"multiply", &s->multiply, false, true},
                   {"queries", &s->queries, false, true},
                   {"others", &s->others, false, true}};
    int code = 0;
    for (int i = 0; i < BL_COUNT(kernels) && !code; i++) {
        if ((kernels[i].cpu && !cpu) || (kernels[i].training && !bl_node_training(node))) continue;
        code =
            cpu ? bl_kernel_get(node->dev, "attention_lines", kernels[i].name, lines, BL_COUNT(lines),
                                kernels[i].kernel)
                : bl_kernel_get(node->dev, "attention", kernels[i].name, groups, BL_COUNT(groups), kernels[i].kernel);
    }
    return code;
}

/* Of `products` products of all tokens with all. */
static void say_work(const struct bl_node *node, int n, int products) {
    const struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    const double pairs = a->causal ? 0.5 * s->tokens * (s->tokens + 1.0) : (double)s->tokens * s->tokens;
    bl_work(node->dev, 2.0 * products * n * pairs * a->heads * s->head,
            (uint64_t)bl_bytes_of(node->in[0], n * s->tokens * node->in[0]->c * 4 / 3));
}

static struct bl_range blocks_of(const struct bl_node *node, int n) {
    const struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    const size_t rows = (size_t)s->group.rows, cols = (size_t)s->group.cols;
    if (bl_on_cpu(node->dev)) return BL_GROUPS1((size_t)s->items);
    const size_t down = ((size_t)s->tokens + rows - 1) / rows;
    return (struct bl_range){.global = {cols, down * rows, (size_t)n * (size_t)a->heads}, .local = {cols, rows, 1}};
}

/* Channels `offset` on of tokens that are `step` channels. */
static int turn(struct bl_node *node, int n, struct bl_mem *from, int64_t offset, int64_t step, struct bl_mem *to) {
    const struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    const int64_t values = (int64_t)n * a->heads * s->head * s->lines;
    bl_work(node->dev, 0, (uint64_t)(bl_bytes_of(node->in[0], values) + BL_FLOAT_BYTES * values));
    return bl_launch(s->turn, BL_GROUPS1((size_t)a->heads, (size_t)n), BL_MEM(from), BL_I32(offset), BL_I32(step),
                     BL_I32(s->tokens), BL_I32(a->heads), BL_I32(s->lines), BL_MEM(to));
}

static double scale_of(const struct state *s) {
    return 1 / sqrt((double)s->head);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    struct bl_mem *x = node->in[0]->mem, *y = node->out[0]->mem;
    const int64_t width = node->out[0]->c;
    if (!bl_on_cpu(node->dev)) {
        say_work(node, run->n, 2);
        return bl_launch(s->forward, blocks_of(node, run->n), BL_MEM(x), BL_MEM(y), BL_MEM(s->levels->mem),
                         BL_I32(s->tokens), BL_I32(a->heads), BL_F32(scale_of(s)));
    }
    int code = turn(node, run->n, x, width, 3 * width, s->turned->mem);
    say_work(node, run->n, 2);
    return code ? code
                : bl_launch(s->forward, blocks_of(node, run->n), BL_MEM(x), BL_MEM(s->turned->mem), BL_MEM(y),
                            BL_MEM(s->levels->mem), BL_I32(s->tokens), BL_I32(a->heads), BL_I32(run->n),
                            BL_F32(scale_of(s)), BL_MEM(s->scratch->mem));
}

static int multiply(struct bl_node *node, int n) {
    const struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    const int64_t pairs = (int64_t)n * s->tokens * a->heads;
    bl_work(node->dev, 2.0 * (double)pairs * s->head,
            (uint64_t)(bl_bytes_of(node->in[0], 2 * pairs * s->head) + BL_FLOAT_BYTES * pairs));
    return bl_launch(s->multiply, bl_share(node->dev, pairs, bl_bytes_of(node->in[0], 2 * s->head)),
                     BL_MEM(node->out[0]->mem), BL_MEM(node->out[0]->grad->mem), BL_MEM(s->dots->mem),
                     BL_I32(s->tokens), BL_I32(a->heads), BL_I32(n));
}

static int backward_groups(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    struct bl_kernel *const kernels[] = {s->queries, s->others};
    int code = 0;
    for (int i = 0; i < 2 && !code; i++) {
        say_work(node, run->n, i ? 4 : 3);
        code = bl_launch(kernels[i], blocks_of(node, run->n), BL_MEM(node->in[0]->mem), BL_MEM(node->out[0]->grad->mem),
                         BL_MEM(s->levels->mem), BL_MEM(s->dots->mem), BL_MEM(node->in[0]->grad->mem),
                         BL_I32(s->tokens), BL_I32(a->heads), BL_F32(scale_of(s)), BL_I32(node->accumulate[0]));
    }
    return code;
}

static int backward_lines(struct bl_node *node, const struct bl_run *run) {
    const struct state *s = node->state;
    const struct bl_attention_attrs *a = node->attrs;
    struct bl_mem *x = node->in[0]->mem, *dy = node->out[0]->grad->mem, *dx = node->in[0]->grad->mem;
    const int64_t width = node->out[0]->c;
    struct bl_kernel *const kernels[] = {s->queries, s->others};
    int code = 0;
    for (int i = 0; i < 4 && !code; i++) // keys, values, queries, dy
        code = i < 3 ? turn(node, run->n, x, (i + 1) % 3 * width, 3 * width, s->back[i]->mem)
                     : turn(node, run->n, dy, 0, width, s->back[i]->mem);
    for (int i = 0; i < 2 && !code; i++) {
        say_work(node, run->n, i ? 4 : 3);
        code = bl_launch(kernels[i], blocks_of(node, run->n), BL_MEM(x), BL_MEM(dy), BL_MEM(s->back[2 * i]->mem),
                         BL_MEM(s->back[2 * i + 1]->mem), BL_MEM(s->levels->mem), BL_MEM(s->dots->mem), BL_MEM(dx),
                         BL_I32(s->tokens), BL_I32(a->heads), BL_I32(run->n), BL_F32(scale_of(s)),
                         BL_I32(node->accumulate[0]), BL_MEM(s->scratch2->mem));
    }
    return code;
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    if (!node->in[0]->grad) return 0;
    int code = multiply(node, run->n);
    if (code) return code;
    return bl_on_cpu(node->dev) ? backward_lines(node, run) : backward_groups(node, run);
}

static void release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

/* A head of an image, in NCHW: channel d of token t of q is q[d * tokens + t]; keys and values lie behind all heads'.
 */
static void define_head(const struct bl_attention_attrs *a, const double *q, int head, int tokens, double *weights,
                        double *y) {
    const double *k = q + (size_t)a->heads * (size_t)head * (size_t)tokens, *v = k + (k - q);
    for (int t = 0; t < tokens; t++) {
        const int seen = a->causal ? t + 1 : tokens;
        double most = -INFINITY, sum = 0;
        for (int u = 0; u < seen; u++) {
            weights[u] = 0;
            for (int d = 0; d < head; d++) weights[u] += q[d * tokens + t] * k[d * tokens + u];
            weights[u] /= sqrt((double)head);
            most = fmax(most, weights[u]);
        }
        for (int u = 0; u < seen; u++) sum += weights[u] = exp(weights[u] - most);
        for (int d = 0; d < head; d++) {
            double value = 0;
            for (int u = 0; u < seen; u++) value += weights[u] * v[d * tokens + u];
            y[d * tokens + t] = value / sum;
        }
    }
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_attention_attrs *a = l->attrs;
    const int tokens = x->h * x->w, head = x->c / 3 / a->heads;
    const size_t of_head = (size_t)head * (size_t)tokens, of_all = of_head * (size_t)a->heads;
    double *weights = bl_calloc((size_t)tokens, sizeof *weights);
    int code = weights ? bl_ref_new(y, x->n, x->c / 3, x->h, x->w) : BLANCH_ENOMEM;
    for (int i = 0; i < x->n * a->heads && !code; i++) {
        const size_t image = (size_t)(i / a->heads), of = (size_t)(i % a->heads) * of_head;
        define_head(a, x->v + image * 3 * of_all + of, head, tokens, weights, y->v + image * of_all + of);
    }
    free(weights);
    return code;
}

/* --- ONNX --------------------------------------------------------------------------------------- */

/* In parts, as graph/onnx_attention.c reads them: opset 17 has no such operator. */
static const char *reordered(struct bl_onnx_writer *w, const struct bl_node *node, const char *from, const char *to,
                             const int64_t *order, int count) {
    const char *name = bl_onnx_between(w, node, to);
    bl_onnx_emit(w, "Transpose", (const char *[4]){from}, name,
                 (const struct bl_onnx_attribute[]){{"perm", BL_ONNX_INTS, .count = count, .ints = order}, {NULL}});
    return name;
}

static const char *join(struct bl_onnx_writer *w, const struct bl_node *node, const char *type, const char *a,
                        const char *b, const char *to) {
    const char *name = bl_onnx_between(w, node, to);
    bl_onnx_emit(w, type, (const char *[4]){a, b}, name, NULL);
    return name;
}

static const char *mask(struct bl_onnx_writer *w, const struct bl_node *node, int64_t tokens) {
    double *hidden = bl_ref_doubles((size_t)(tokens * tokens));
    if (!hidden) return bl_onnx_failed(w, BLANCH_ENOMEM), "";
    for (int64_t i = 0; i < tokens * tokens; i++) hidden[i] = i % tokens > i / tokens ? -INFINITY : 0;
    const char *name = bl_onnx_put(w, node, "mask", hidden, 2, (const int64_t[]){tokens, tokens});
    free(hidden);
    return name;
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_attention_attrs *a = node->attrs;
    const int64_t tokens = node->in[0]->h * node->in[0]->w, channels = node->out[0]->c, head = channels / a->heads,
                  sizes[] = {0, tokens, 3, a->heads, head}, back[] = {0, tokens, channels};
    const double by = 1 / sqrt((double)head);
    const char *part[3] = {bl_onnx_in(w, node, 0, BL_ONNX_TOKENS)};
    const char *apart = join(w, node, "Reshape", part[0], bl_onnx_put_whole(w, node, "sizes", sizes, 5), "apart");
    apart = reordered(w, node, apart, "parts", (const int64_t[]){2, 0, 3, 1, 4}, 5);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"queries", "keys", "values"}, *const indices[] = {"0", "1", "2"};
        part[i] =
            join(w, node, "Gather", apart, bl_onnx_put_whole(w, node, indices[i], (const int64_t[]){i}, 0), names[i]);
    }
    part[0] = join(w, node, "Mul", part[0], bl_onnx_put(w, node, "factor", &by, 0, NULL), "scaled");
    part[1] = reordered(w, node, part[1], "turned", (const int64_t[]){0, 1, 3, 2}, 4);
    const char *scores = join(w, node, "MatMul", part[0], part[1], "scores"), *weights;
    if (a->causal) scores = join(w, node, "Add", scores, mask(w, node, tokens), "masked");
    bl_onnx_emit(w, "Softmax", (const char *[4]){scores}, weights = bl_onnx_between(w, node, "weights"),
                 (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = -1}, {NULL}});
    const char *heads = join(w, node, "MatMul", weights, part[2], "heads");
    heads = reordered(w, node, heads, "together", (const int64_t[]){0, 2, 1, 3}, 4);
    bl_onnx_emit(w, "Reshape", (const char *[4]){heads, bl_onnx_put_whole(w, node, "back", back, 3)},
                 bl_onnx_out(w, node, BL_ONNX_TOKENS), NULL);
}

static const struct bl_onnx_op onnx = {.write = write}; // read by graph/onnx_attention.c

static const struct bl_field fields[] = {
    {"heads", BL_FIELD_INT, offsetof(struct bl_attention_attrs, heads), false},
    {"causal", BL_FIELD_BOOL, offsetof(struct bl_attention_attrs, causal), true},
    {NULL},
};

const struct bl_op bl_op_attention = {
    .name = "attention",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_attention_attrs),
    .fields = fields,
    .reads = BL_IN(0) | BL_OUT(0),
    .phase_forward = BL_FORWARD,
    .phase_backward = BL_BACKWARD_DATA,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = release,
    .onnx = &onnx,
};
