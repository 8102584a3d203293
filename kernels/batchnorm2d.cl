/* Batch normalisation: y = x scale + shift, scale = weight / sqrt(var + eps), shift = bias - mean scale, per channel,
 * one multiply-add for each element, whose other roundings a channel's elements share.
 * Layout NHWC: rows are the pixels of all images, C = vectors*VEC channels.
 * Sums go over chunks of rows, merged in order:
 *   statistics   partial[k] = (mean, sum of (x - mean)^2) of chunk k: of each tile in two passes, then merged, as
 *                summarise merges chunks; means are summed from what is known of them, at first the chunk's first
 *                row, for channels whose mean is many deviations from zero
 *   summarise    merges: mean = sum n_k mean_k / rows (from mean_0), var = sum (M_k + n_k (mean_k - mean)^2) / rows;
 *                moves the running buffers
 *   recall       the same constants from the running buffers
 *   apply        y, activated
 *   gradients    partial[k] = (sum dy, sum dy (x - mean)) of chunk k
 *   finish       dweight = sum dy xhat, dbias = sum dy, and (b, c) of the next, of `all` rows on all ranks: they are
 *                sums over the ranks
 *   input_gradient  dx = scale dy + b (x - mean) + c; in training b and c are what flows through mean and variance,
 *                else zero
 * saved (4, C): mean, 1/sqrt(var + eps), scale, shift. partial (chunks, 2, C). coefficients (2, C).
 * statistics, gradients: an item takes some vectors (dimension 0) of one chunk (1). apply, input_gradient: of some
 * rows. The others: some vectors. Where an activation is applied, dy is the gradient of the activated values, and what
 * it cut is seen from y made again. input_gradient may be in place of dy. A vector of `tile` rows is taken at once:
 * sums and the channels' constants are in registers meanwhile. `add` other than 0 adds to what dx holds.
 *
 *  VEC         channels in a vector, 1 to 16, dividing the channels; required
 *  ACTIVATION  applied to y: 0 none (default), 1 relu, 2 relu6
 *  TREE        items of a group that summarises or finishes one vector together (tree.h); 0: an item does some alone
 */
#include "activation.h"

#include "fetch.h"
#include "fma.h"
#include "tree.h"
#if TREE
TREE_SUM(tree_sum, vec)
#endif

/* y before its activation: the same in every kernel, so that what is cut forwards is cut backwards. */
#define AFFINE(x, scale, shift) FMA(x, scale, shift)

/* dy, of the activated values, as the gradient of y. */
#ifdef ACTIVATED_GRADIENT
#define CUT(x, dy, scale, shift) ACTIVATED_GRADIENT(AFFINE(x, scale, shift), dy)
#else
#define CUT(x, dy, scale, shift) (dy)
#endif

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void statistics(global const ACT *restrict x, global float *restrict partial, long rows, int vectors, long chunk,
                       int tile) {
    const size_t channels = (size_t)vectors * VEC, first = get_global_id(1) * chunk, v0 = BEGIN(0, vectors),
                 v1 = END(0, vectors);
    if (first >= (size_t)rows) return;
    const size_t last = min(first + chunk, (size_t)rows);
    global float *means = partial + get_global_id(1) * 2 * channels, *squares = means + channels;
    for (size_t r = first; r < last; r += tile) {
        const size_t end = min(r + tile, last);
        const float before = (float)(r - first), part = (float)(end - r) / (float)(end - first);
        for (size_t v = v0; v < v1; v++) {
            global const ACT *column = x + v * VEC;
            const vec origin = r == first ? LOAD_ALIGNED(column + first * channels) : LOAD(means + v * VEC);
            vec sum = (vec)(0.0f), square = (vec)(0.0f);
            for (size_t q = r; q < end; q++) {
                FETCH(column + (q + tile) * channels);
                sum += LOAD_ALIGNED(column + q * channels) - origin;
            }
            const vec shift = sum / (float)(end - r), centre = origin + shift;
            for (size_t q = r; q < end; q++) {
                const vec d = LOAD_ALIGNED(column + q * channels) - centre;
                square = FMA(d, d, square);
            }
            if (r != first) square += LOAD(squares + v * VEC) + before * part * shift * shift;
            STORE(r == first ? centre : FMA((vec)(part), shift, origin), means + v * VEC);
            STORE(square, squares + v * VEC);
        }
    }
}

static void constants(global float *saved, size_t channels, size_t at, vec mean, vec var, vec weight, vec bias,
                      float eps) {
    const vec inverse = 1.0f / sqrt(var + eps), scale = weight * inverse;
    STORE(mean, saved + at);
    STORE(inverse, saved + channels + at);
    STORE(scale, saved + 2 * channels + at);
    STORE(FMA(-mean, scale, bias), saved + 3 * channels + at);
}

kernel void summarise(global const float *partial, global const float *weight, global const float *bias,
                      global float *running_mean, global float *running_var, global float *saved, long rows,
                      int vectors, long chunk, float eps, float momentum) {
    const size_t channels = (size_t)vectors * VEC, chunks = ((size_t)rows + chunk - 1) / chunk;
#if TREE
    local vec room[TREE];
    const size_t at = get_group_id(1) * VEC, lane = get_local_id(0);
    const vec origin = LOAD(partial + at);
    vec shift = (vec)(0.0f), square = (vec)(0.0f);
    for (size_t k = lane; k < chunks; k += TREE) {
        const float share = (float)min((size_t)chunk, (size_t)rows - k * chunk) / (float)rows;
        shift = FMA((vec)(share), LOAD(partial + k * 2 * channels + at) - origin, shift);
    }
    const vec mean = origin + tree_sum(shift, room);
    for (size_t k = lane; k < chunks; k += TREE) {
        const float n = (float)min((size_t)chunk, (size_t)rows - k * chunk);
        const vec d = LOAD(partial + k * 2 * channels + at) - mean;
        square += LOAD(partial + (k * 2 + 1) * channels + at) + n * d * d;
    }
    square = tree_sum(square, room);
    if (lane == 0) {
#else
    for (size_t v = BEGIN(0, vectors); v < END(0, vectors); v++) {
        const size_t at = v * VEC;
        const vec origin = LOAD(partial + at);
        vec shift = (vec)(0.0f), square = (vec)(0.0f);
        for (size_t k = 1; k < chunks; k++) {
            const float share = (float)min((size_t)chunk, (size_t)rows - k * chunk) / (float)rows;
            shift = FMA((vec)(share), LOAD(partial + k * 2 * channels + at) - origin, shift);
        }
        const vec mean = origin + shift;
        for (size_t k = 0; k < chunks; k++) {
            const float n = (float)min((size_t)chunk, (size_t)rows - k * chunk);
            const vec d = LOAD(partial + k * 2 * channels + at) - mean;
            square += LOAD(partial + (k * 2 + 1) * channels + at) + n * d * d;
        }
#endif
        constants(saved, channels, at, mean, square / (float)rows, LOAD(weight + at), LOAD(bias + at), eps);
        const vec old_mean = LOAD(running_mean + at), old_var = LOAD(running_var + at);
        STORE(old_mean + momentum * (mean - old_mean), running_mean + at);
        STORE(old_var + momentum * (square / (float)(rows - 1) - old_var), running_var + at);
    }
}

kernel void recall(global const float *weight, global const float *bias, global const float *running_mean,
                   global const float *running_var, global float *saved, int vectors, float eps) {
    const size_t channels = (size_t)vectors * VEC;
    for (size_t v = BEGIN(0, vectors); v < END(0, vectors); v++) {
        const size_t at = v * VEC;
        constants(saved, channels, at, LOAD(running_mean + at), LOAD(running_var + at), LOAD(weight + at),
                  LOAD(bias + at), eps);
    }
}

kernel void apply(global const ACT *restrict x, global const float *restrict saved, global ACT *restrict y, long rows,
                  int vectors, int tile) {
    const size_t channels = (size_t)vectors * VEC, last = END(1, rows), v0 = BEGIN(0, vectors), v1 = END(0, vectors);
    for (size_t r = BEGIN(1, rows); r < last; r += tile) {
        const size_t end = min(r + tile, last);
        for (size_t v = v0; v < v1; v++) {
            const vec scale = LOAD(saved + 2 * channels + v * VEC), shift = LOAD(saved + 3 * channels + v * VEC);
            for (size_t q = r; q < end; q++) {
                const size_t at = q * channels + v * VEC;
                STORE_ALIGNED(ACTIVATE(AFFINE(LOAD_ALIGNED(x + at), scale, shift)), y + at);
            }
        }
    }
}

kernel void gradients(global const ACT *restrict x, global const ACT *restrict dy, global const float *restrict saved,
                      global float *restrict partial, long rows, int vectors, long chunk, int tile) {
    const size_t channels = (size_t)vectors * VEC, first = get_global_id(1) * chunk, v0 = BEGIN(0, vectors),
                 v1 = END(0, vectors);
    if (first >= (size_t)rows) return;
    const size_t last = min(first + chunk, (size_t)rows);
    global float *sums = partial + get_global_id(1) * 2 * channels, *products = sums + channels;
    for (size_t r = first; r < last; r += tile) {
        const size_t end = min(r + tile, last);
        for (size_t v = v0; v < v1; v++) {
            const vec mean = LOAD(saved + v * VEC), scale = LOAD(saved + 2 * channels + v * VEC),
                      shift = LOAD(saved + 3 * channels + v * VEC);
            vec sum = (vec)(0.0f), product = (vec)(0.0f);
            for (size_t q = r; q < end; q++) {
                const vec value = LOAD_ALIGNED(x + q * channels + v * VEC);
                const vec g = CUT(value, LOAD_ALIGNED(dy + q * channels + v * VEC), scale, shift);
                sum += g;
                product = FMA(g, value - mean, product);
            }
            if (r != first) sum += LOAD(sums + v * VEC), product += LOAD(products + v * VEC);
            STORE(sum, sums + v * VEC);
            STORE(product, products + v * VEC);
        }
    }
}

kernel void finish(global const float *partial, global const float *saved, global float *dweight, global float *dbias,
                   global float *coefficients, long rows, int vectors, long chunk, long all, int training) {
    const size_t channels = (size_t)vectors * VEC, chunks = ((size_t)rows + chunk - 1) / chunk;
#if TREE
    local vec room[TREE];
    const size_t at = get_group_id(1) * VEC, lane = get_local_id(0);
    const vec inverse = LOAD(saved + channels + at), scale = LOAD(saved + 2 * channels + at);
    vec sum = (vec)(0.0f), product = (vec)(0.0f);
    for (size_t k = lane; k < chunks; k += TREE) {
        sum += LOAD(partial + k * 2 * channels + at);
        product += LOAD(partial + (k * 2 + 1) * channels + at);
    }
    sum = tree_sum(sum, room);
    product = tree_sum(product, room);
    if (lane == 0) {
#else
    for (size_t v = BEGIN(0, vectors); v < END(0, vectors); v++) {
        const size_t at = v * VEC;
        const vec inverse = LOAD(saved + channels + at), scale = LOAD(saved + 2 * channels + at);
        vec sum = (vec)(0.0f), product = (vec)(0.0f);
        for (size_t k = 0; k < chunks; k++) {
            sum += LOAD(partial + k * 2 * channels + at);
            product += LOAD(partial + (k * 2 + 1) * channels + at);
        }
#endif
        product *= inverse;
        STORE(product, dweight + at);
        STORE(sum, dbias + at);
        const float through = training ? -1.0f / (float)all : 0.0f;
        STORE(through * scale * inverse * product, coefficients + at);
        STORE(through * scale * sum, coefficients + channels + at);
    }
}

kernel void input_gradient(global const ACT *restrict x, global const ACT *dy, global const float *restrict saved,
                           global const float *restrict coefficients, global ACT *dx, long rows, int vectors, int tile,
                           int add) {
    const size_t channels = (size_t)vectors * VEC, last = END(1, rows), v0 = BEGIN(0, vectors), v1 = END(0, vectors);
    for (size_t r = BEGIN(1, rows); r < last; r += tile) {
        const size_t end = min(r + tile, last);
        for (size_t v = v0; v < v1; v++) {
            const vec mean = LOAD(saved + v * VEC), scale = LOAD(saved + 2 * channels + v * VEC),
                      shift = LOAD(saved + 3 * channels + v * VEC);
            const vec b = LOAD(coefficients + v * VEC), c = LOAD(coefficients + channels + v * VEC);
            for (size_t q = r; q < end; q++) {
                const size_t at = q * channels + v * VEC;
                const vec value = LOAD_ALIGNED(x + at);
                vec g = CUT(value, LOAD_ALIGNED(dy + at), scale, shift);
                g = FMA(b, value - mean, FMA(scale, g, c));
                if (add) g += LOAD_ALIGNED(dx + at);
                STORE_ALIGNED(g, dx + at);
            }
        }
    }
}
