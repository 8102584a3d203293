/* What the operations outside conv/ share. */
#include "ops/common.h"
#include "graph/reference.h"
#include <stdlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A launch costs about 15 us and a CPU core moves about 10 GB/s: less than this is not worth another item. */
enum { BYTES_PER_ITEM = 128 * 1024, ITEMS_PER_CORE = 8 };

bool bl_on_cpu(const struct blanch_device *dev) {
    return !dev || blanch_device_info(dev)->kind == BLANCH_CPU;
}

int bl_vec(const struct blanch_device *dev, int64_t count) {
    int vec = bl_on_cpu(dev) ? 16 : 4;
    while (count % vec) vec /= 2;
    return vec;
}

static size_t cpu_items(const struct blanch_device *dev, int64_t units, int64_t bytes) {
    int64_t items = (units * bytes + BYTES_PER_ITEM - 1) / BYTES_PER_ITEM;
    int64_t most = (int64_t)blanch_device_info(dev)->compute_units * ITEMS_PER_CORE;
    if (items > most) items = most;
    if (items > units) items = units;
    return items < 1 ? 1 : (size_t)items;
}

struct bl_range bl_share(const struct blanch_device *dev, int64_t units, int64_t bytes) {
    return bl_on_cpu(dev) ? BL_GROUPS1(cpu_items(dev, units, bytes)) : BL_ITEMS((size_t)units);
}

struct bl_range bl_share_rows(const struct blanch_device *dev, int64_t vectors, int64_t units, int64_t bytes) {
    return bl_on_cpu(dev) ? BL_GROUPS1(1, cpu_items(dev, units, bytes)) : BL_ITEMS((size_t)vectors, (size_t)units);
}

struct bl_range bl_share_grid(const struct blanch_device *dev, int64_t vectors, int64_t columns, int64_t units,
                              int64_t bytes) {
    return bl_on_cpu(dev) ? BL_GROUPS1(1, 1, cpu_items(dev, units, bytes))
                          : BL_ITEMS((size_t)vectors, (size_t)columns, (size_t)units);
}

/* --- sums over pixels ------------------------------------------------------------------------- */

enum { MOST_TREE = 64 };

/* The largest that the device says and a kernel with such a sum gives: some drivers (rusticl's llvmpipe) let a kernel's
 * group have fewer items than the device's. */
static int find_tree(struct blanch_device *dev) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    const size_t most = info->max_work_group < info->max_work_item[0] ? info->max_work_group : info->max_work_item[0];
    int items = MOST_TREE;
    for (; items > 1; items /= 2) {
        const struct bl_define defines[] = {{"VEC", 1}, {"TREE", items}};
        struct bl_kernel *kernel;
        if ((size_t)items > most) continue;
        if (bl_kernel_get(dev, "chunks", "sum_chunks", defines, BL_COUNT(defines), &kernel)) break; // says so later
        if (bl_kernel_items(kernel) >= (size_t)items) break;
    }
    return items;
}

int bl_tree(struct blanch_device *dev) {
    static char key;
    if (bl_on_cpu(dev)) return 0;
    int *known = bl_attached(dev, &key), items = known ? *known : find_tree(dev);
    if (known || !(known = bl_malloc(sizeof *known))) return items;
    *known = items;
    if (bl_attach(dev, &key, known, free)) free(known);
    return items;
}

struct bl_range bl_tree_rows(struct blanch_device *dev, int64_t rows) {
    const size_t items = (size_t)bl_tree(dev);
    return (struct bl_range){.global = {items, (size_t)rows}, .local = {items, 1, 1}};
}

enum { CPU_CHUNK_BYTES = 128 * 1024, MIN_CHUNK = 32, GPU_ITEMS = 32768 };

int64_t bl_chunk(const struct bl_node *node, int vec) {
    return bl_chunk_of(node->dev, node->in[0], vec);
}

int64_t bl_chunk_of(const struct blanch_device *dev, const struct blanch_tensor *x, int vec) {
    int64_t rows = x->n * x->h * x->w,
            chunk = bl_on_cpu(dev) ? CPU_CHUNK_BYTES / bl_bytes_of(x, x->c) : rows * (x->c / vec) / GPU_ITEMS;
    return chunk < MIN_CHUNK ? MIN_CHUNK : chunk;
}

struct bl_range bl_share_chunks(const struct blanch_device *dev, int64_t vectors, int64_t chunks) {
    return bl_on_cpu(dev) ? BL_GROUPS1(1, (size_t)chunks) : BL_ITEMS((size_t)vectors, (size_t)chunks);
}

struct bl_range bl_share_merge(struct blanch_device *dev, int64_t vectors, int64_t bytes) {
    return bl_on_cpu(dev) ? bl_share(dev, vectors, bytes) : bl_tree_rows(dev, vectors);
}

int bl_sum_chunks(const struct bl_node *node, struct bl_chunk_sums from, int64_t channels, struct bl_mem *to) {
    int vec = bl_vec(node->dev, channels);
    struct bl_kernel *kernel;
    int code = bl_kernel_get(node->dev, "chunks", "sum_chunks",
                             (struct bl_define[]){{"VEC", vec}, {"TREE", bl_tree(node->dev)}}, 2, &kernel);
    if (code) return code;
    return bl_launch(kernel, bl_share_merge(node->dev, channels / vec, BL_FLOAT_BYTES * vec * from.chunks),
                     BL_MEM(from.partial), BL_I64(from.chunks), BL_I64(from.stride), BL_I64(from.offset), BL_MEM(to),
                     BL_I32(channels / vec));
}

/* --- shapes ----------------------------------------------------------------------------------- */

int64_t bl_features(const struct blanch_tensor *tensor) {
    return tensor->c * tensor->h * tensor->w;
}

bool bl_same_shape(const struct blanch_tensor *a, const struct blanch_tensor *b) {
    return a->c == b->c && a->h == b->h && a->w == b->w;
}

int bl_check_inputs(const struct bl_node *node, int low, int high) {
    if (node->inputs >= low && node->inputs <= high) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: %s takes %s %d input%s, not %d", node->name, node->op->name,
                   low == high ? "exactly" : "at least", low, low == 1 ? "" : "s", node->inputs);
}

int bl_check_statistics(const struct bl_node *node, float eps, float momentum) {
    if (!(eps >= 0 && isfinite(eps)))
        return bl_fail(BLANCH_EINPUT, "%s: eps is %g, must be finite and not negative", node->name, (double)eps);
    if (momentum >= 0 && momentum <= 1) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: momentum is %g, must be 0 to 1", node->name, (double)momentum);
}

/* --- plain state ------------------------------------------------------------------------------ */

struct bl_plain_state *bl_plain_state(struct bl_node *node) {
    if (!node->state) node->state = bl_calloc(1, sizeof(struct bl_plain_state));
    return node->state;
}

int bl_plain_prepare(struct bl_node *node, int vec, const char *file, const char *forward, const char *backward) {
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = vec;
    struct bl_define defines[] = {{"VEC", vec}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, file, forward, defines, 2, &state->forward);
    if (code || !backward || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, file, backward, defines, 2, &state->backward);
}

void bl_plain_release(struct bl_node *node) {
    free(node->state);
    node->state = NULL;
}

/* --- copies ----------------------------------------------------------------------------------- */

int bl_copy(const struct bl_node *node, struct bl_mem *from, struct bl_mem *to, int64_t count, int vec, bool add) {
    struct bl_kernel *kernel;
    struct bl_define defines[] = {{"VEC", vec}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "elementwise", "copy", defines, 2, &kernel);
    if (code) return code;
    int64_t vectors = count / vec, bytes = bl_bytes_of(node->out[0], 2 * vec);
    return bl_launch(kernel, bl_share(node->dev, vectors, bytes), BL_MEM(from), BL_MEM(to), BL_I64(vectors),
                     BL_I32(add));
}

static int channels_kernel(const struct bl_node *node, int vec, struct bl_kernel **kernel) {
    return bl_kernel_get(node->dev, "layout", "copy_channels", (struct bl_define[]){{"VEC", vec}, BL_ACT(node)}, 2,
                         kernel);
}

int bl_prepare_channels(const struct bl_node *node, int64_t channels) {
    struct bl_kernel *kernel;
    return channels_kernel(node, bl_vec(node->dev, channels), &kernel);
}

int bl_copy_channels(const struct bl_node *node, struct bl_channels from, struct bl_channels to, int64_t channels,
                     int64_t pixels, bool add) {
    int vec = bl_vec(node->dev, channels);
    struct bl_kernel *kernel;
    int code = channels_kernel(node, vec, &kernel);
    if (code) return code;
    int64_t bytes = bl_bytes_of(node->out[0], 2 * channels);
    return bl_launch(kernel, bl_share_rows(node->dev, channels / vec, pixels, bytes), BL_MEM(from.mem),
                     BL_I64(from.stride), BL_I64(from.offset), BL_MEM(to.mem), BL_I64(to.stride), BL_I64(to.offset),
                     BL_I32(channels / vec), BL_I64(pixels), BL_I32(add));
}

/* --- activations ------------------------------------------------------------------------------ */

int bl_activation_setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (!code) bl_node_out(node, node->in[0]->c, node->in[0]->h, node->in[0]->w);
    return code;
}

int bl_activation_prepare(struct bl_node *node, const char *name, float a) {
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, bl_features(node->out[0]));
    int32_t bits;
    memcpy(&bits, &a, sizeof bits);
    const struct bl_define defines[] = {{"VEC", state->vec}, {"A_BITS", bits}, BL_ACT(node)};
    char kernel[32];
    snprintf(kernel, sizeof kernel, "%s_forward", name);
    int code = bl_kernel_get(node->dev, "activations", kernel, defines, BL_COUNT(defines), &state->forward);
    if (code || !bl_node_training(node)) return code;
    snprintf(kernel, sizeof kernel, "%s_backward", name);
    return bl_kernel_get(node->dev, "activations", kernel, defines, BL_COUNT(defines), &state->backward);
}

int bl_activation_forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    int64_t vectors = run->n * bl_features(node->out[0]) / state->vec;
    return bl_launch(state->forward, bl_share(node->dev, vectors, bl_bytes_of(node->out[0], 2 * state->vec)),
                     BL_MEM(node->in[0]->mem), BL_MEM(node->out[0]->mem), BL_I64(vectors));
}

int bl_activation_backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *kept = node->op->reads & BL_OUT(0) ? node->out[0] : node->in[0];
    if (!node->in[0]->grad) return 0;
    int64_t vectors = run->n * bl_features(node->out[0]) / state->vec;
    return bl_launch(state->backward, bl_share(node->dev, vectors, bl_bytes_of(node->out[0], 3 * state->vec)),
                     BL_MEM(kept->mem), BL_MEM(node->out[0]->grad->mem), BL_MEM(node->in[0]->grad->mem),
                     BL_I64(vectors), BL_I32(node->accumulate[0]));
}

/* --- pooling ---------------------------------------------------------------------------------- */

static int64_t windows(const struct bl_pool_attrs *pool, int axis, int64_t size) {
    int64_t k = pool->kernel[axis], s = pool->stride[axis], p = pool->padding[axis],
            span = size + 2 * p - k + (pool->ceil_mode ? s - 1 : 0);
    if (span < 0) return 0;
    int64_t count = span / s + 1;
    return pool->ceil_mode && (count - 1) * s >= size + p ? count - 1 : count;
}

int bl_pool_setup(struct bl_node *node, struct bl_pool_attrs *pool) {
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    int64_t size[2] = {node->in[0]->h, node->in[0]->w}, out[2];
    for (int i = 0; i < 2; i++) {
        int k = pool->kernel[i], p = pool->padding[i];
        if (!pool->stride[i]) pool->stride[i] = k;
        if (k < 1 || k > 255 || pool->stride[i] < 1 || p < 0 || p > k / 2)
            return bl_fail(BLANCH_EINPUT,
                           "%s: a window of %d at a step of %d with %d of padding: the window is 1 to 255, the "
                           "step at least 1, the padding at most half the window",
                           node->name, k, pool->stride[i], p);
        out[i] = windows(pool, i, size[i]);
    }
    bl_node_out(node, node->in[0]->c, out[0], out[1]);
    return 0;
}

/* Which of a window's values count in avgpool2d.cl's mean: 0 all, 1 those in the padding too, 2 the image's. */
static int divisor(const struct bl_pool_attrs *pool) {
    bool padded = pool->padding[0] || pool->padding[1];
    return !pool->count_include_pad && padded ? 2 : pool->ceil_mode != 0;
}

int bl_pool_prepare(struct bl_node *node, const char *file, const struct bl_pool_attrs *pool, int index_bytes) {
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, node->out[0]->c);
    struct bl_define defines[] = {
        {"VEC", state->vec},
        BL_ACT(node),
        {"KH", pool->kernel[0]},
        {"KW", pool->kernel[1]},
        {"SH", pool->stride[0]},
        {"SW", pool->stride[1]},
        {"PH", pool->padding[0]},
        {"PW", pool->padding[1]},
        {"DIVISOR", divisor(pool)},
        {"INDEX_BYTES", index_bytes},
        {"RELU", bl_node_activation(node) == bl_op_relu.activation},
    };
    int count = BL_COUNT(defines) - (index_bytes == 0 ? 2 : 0);
    int code = bl_kernel_get(node->dev, file, "forward", defines, count, &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, file, "backward", defines, count, &state->backward);
}

/* A window of a plane. Of the values outside it, those of the padding count in a mean unless they are excluded. */
static double pooled(const struct bl_pool_attrs *a, struct bl_ref_tensor x, int i, int j, bool max) {
    int top = i * a->stride[0] - a->padding[0], left = j * a->stride[1] - a->padding[1], count = 0;
    double largest = -INFINITY, sum = 0;
    for (int t = 0; t < a->kernel[0] * a->kernel[1]; t++) {
        int p = top + t / a->kernel[1], q = left + t % a->kernel[1];
        bool inside = p >= 0 && q >= 0 && p < x.h && q < x.w;
        count += a->count_include_pad ? p < x.h + a->padding[0] && q < x.w + a->padding[1] : inside;
        if (inside) largest = fmax(largest, x.v[p * x.w + q]), sum += x.v[p * x.w + q];
    }
    return max ? largest : sum / count;
}

/* The windows that lie within the padded axis; with ceil_mode also the next, if it starts before the padding behind. */
static int windows_of(const struct bl_pool_attrs *a, int axis, int size) {
    int step = a->stride[axis], before = a->padding[axis], count = 0;
    while (count * step + a->kernel[axis] <= size + 2 * before) count++;
    bool rest = (count - 1) * step + a->kernel[axis] < size + 2 * before;
    return count + (a->ceil_mode && rest && count * step < size + before);
}

int bl_pool_definition(const struct bl_pool_attrs *a, const struct bl_ref_tensor *x, struct bl_ref_tensor *y,
                       bool max) {
    int code = bl_ref_new(y, x->n, x->c, windows_of(a, 0, x->h), windows_of(a, 1, x->w));
    for (int n = 0; n < y->n && !code; n++)
        for (int c = 0; c < y->c; c++) {
            const struct bl_ref_tensor from = bl_ref_plane(x, n, c), to = bl_ref_plane(y, n, c);
            for (int i = 0; i < y->h * y->w; i++) to.v[i] = pooled(a, from, i / y->w, i % y->w, max);
        }
    return code;
}
