/* Winograd's convolution (conv/winograd.cl has the formulas) where many items work side by side: tiles are transformed
 * into memory, multiplied element by element of the transform in one batch of matrix products (bl_gemm), and
 * transformed back. Kernels of 3x3, stride 1, dilation 1, one group.
 *
 *   transformed weights (E*E, depth, results); transformed tiles (splits, E*E, share, channels), in each split `share`
 *   tiles, zeros beyond the last; products (E*E, tiles, results), or of the weight gradient (splits, E*E, in, out)
 *
 * Activations are NHWC, weights [O][G][F] (see host/ops/conv/conv.h). `first` is the tile with which a launch begins,
 * of `count`.
 *
 *  M         outputs of a tile along each axis: 2 or 4; required
 *  VEC       channels of an item: 1, 2 or 4; divides those that are read and written; required
 *  ACT_TYPE  as in vec.h
 */
#ifndef M
#error "conv/winograd_batch.cl needs M"
#endif
#include "activation.h"
#include "loop.h"

#include "conv/sizes.h"

#include "conv/classes.h"

#include "conv/winograd.h"

#define LOAD_FLOATS(p) (*(global const vec *)(p))
#define STORE_FLOATS(v, p) (*(global vec *)(p) = (v))

/* --- weights ---------------------------------------------------------------------------------- */

/* Where weight (o, c, tap) stands. */
size_t weight_at(int o, int c, int tap, int group_in, int interleave) {
    const size_t features = (size_t)group_in * 9, j = (size_t)c * 9 + tap;
    return o * features + j % interleave * (features / interleave) + j / interleave;
}

/* An item transforms one kernel. data: the results are input channels, the sum runs over outputs, and the kernel is
 * turned around. */
kernel void pack(global const float *restrict weight, global float *restrict packed, int group_in, int group_out,
                 int interleave, int data) {
    const int result = get_global_id(0), k = get_global_id(1);
    const int depth = data ? group_out : group_in, results = data ? group_in : group_out;
    if (result >= results || k >= depth) return;
    float g[9], half_way[3 * E], u[E];
    UNROLL for (int tap = 0; tap < 9; tap++) {
        const int from = data ? 8 - tap : tap;
        g[tap] = weight[data ? weight_at(k, result, from, group_in, interleave)
                             : weight_at(result, k, from, group_in, interleave)];
    }
    UNROLL for (int x = 0; x < 3; x++) {
        const float *line = g + x;
        WEIGHT_LINE(line, 3, u, float)
        UNROLL for (int i = 0; i < E; i++) half_way[i * 3 + x] = u[i];
    }
    UNROLL for (int i = 0; i < E; i++) {
        const float *line = half_way + i * 3;
        WEIGHT_LINE(line, 1, u, float)
        UNROLL for (int j = 0; j < E; j++) packed[((size_t)(i * E + j) * depth + k) * results + result] = u[j];
    }
}

/* --- tiles ------------------------------------------------------------------------------------ */

struct tile {
    int n, y, x;
};
struct tile tile_of(int tile, int h, int w) {
    const int down = (h + M - 1) / M, across = (w + M - 1) / M, row = tile / across;
    struct tile at;
    at.n = row / down;
    at.y = (row - at.n * down) * M;
    at.x = (tile - row * across) * M;
    return at;
}

/* Element e of tile t: to + e*step. */
size_t element_at(int t, int share, int channels) {
    return ((size_t)(t / share) * (E * E) * share + t % share) * channels;
}

/* B' d B of the patches of `count` tiles, of outputs of s.out_h x s.out_w; zeros for those up to `padded`. An item
 * takes VEC channels of one. */
kernel void input(global const ACT *restrict x, global float *restrict to, struct sizes s, int first_y, int first_x,
                  int first, int count, int padded, int share) {
    const int c = get_global_id(0) * VEC, t = get_global_id(1);
    if (c >= s.in_c || t >= padded) return;
    const struct tile at = tile_of(first + t, s.out_h, s.out_w);
    const int y0 = at.y + first_y, x0 = at.x + first_x;
    vec half_way[E * E], d[E], u[E];
    UNROLL for (int j = 0; j < E; j++) {
        UNROLL for (int i = 0; i < E; i++) {
            const bool inside = t < count && (uint)(y0 + i) < (uint)s.in_h && (uint)(x0 + j) < (uint)s.in_w;
            const long pixel = ((long)at.n * s.in_h + y0 + i) * s.in_w + x0 + j;
            d[i] = inside ? LOAD_ALIGNED(x + pixel * s.in_c + c) : (vec)(0.0f);
        }
        INPUT_LINE(d, 1, u)
        UNROLL for (int i = 0; i < E; i++) half_way[i * E + j] = u[i];
    }
    to += element_at(t, share, s.in_c) + c;
    const size_t step = (size_t)share * s.in_c;
    UNROLL for (int i = 0; i < E; i++) {
        const vec *line = half_way + i * E;
        INPUT_LINE(line, 1, u)
        UNROLL for (int j = 0; j < E; j++) STORE_FLOATS(u[j], to + (i * E + j) * step);
    }
}

/* A' products A, with what follows (conv/classes.h). An item takes VEC results of a tile. */
kernel void output(global const float *restrict from, global const float *restrict bias, global ACT *out,
                   global const ACT *beside, struct sizes s, int first, int count, struct finish f) {
    const int o = get_global_id(0) * VEC, t = get_global_id(1), out_c = s.out_c;
    if (o >= out_c || t >= count) return;
    const struct tile at = tile_of(first + t, s.out_h, s.out_w);
    const vec more = f.has_bias ? LOAD_FLOATS(bias + o) : (vec)(0.0f);
    const size_t step = (size_t)count * out_c;
    vec half_way[M * E], m[E], y[M];
    from += (size_t)t * out_c + o;
    UNROLL for (int j = 0; j < E; j++) {
        UNROLL for (int i = 0; i < E; i++) m[i] = LOAD_FLOATS(from + (i * E + j) * step);
        OUTPUT_LINE(m, 1, y)
        UNROLL for (int i = 0; i < M; i++) half_way[i * E + j] = y[i];
    }
    UNROLL for (int i = 0; i < M; i++) {
        const vec *line = half_way + i * E;
        OUTPUT_LINE(line, 1, y)
        UNROLL for (int j = 0; j < M; j++) {
            if (at.y + i >= s.out_h || at.x + j >= s.out_w) continue;
            const size_t to = (((size_t)at.n * s.out_h + at.y + i) * s.out_w + at.x + j) * out_c + o;
            vec value = y[j] + more;
            if (f.accumulate) value += LOAD_ALIGNED(out + to);
            if (f.has_addend) value += LOAD_ALIGNED(beside + to);
            if (f.activation == 1) value = RELU(value);
            if (f.activation == 2) value = RELU6(value);
            if (f.cut) {
                const vec y = LOAD_ALIGNED(beside + to);
                value = RELU_GRADIENT(y, value);
            }
            STORE_ALIGNED(value, out + to);
        }
    }
}

/* --- weight gradient -------------------------------------------------------------------------- */

/* A dY A' of `count` tiles; zeros up to `padded`. An item takes VEC outputs of one. */
kernel void gradient(global const ACT *restrict dy, global float *restrict to, struct sizes s, int first, int count,
                     int padded, int share) {
    const int o = get_global_id(0) * VEC, t = get_global_id(1), out_c = s.out_c;
    if (o >= out_c || t >= padded) return;
    const struct tile at = tile_of(first + t, s.out_h, s.out_w);
    vec half_way[E * M], y[M], u[E];
    UNROLL for (int j = 0; j < M; j++) {
        UNROLL for (int i = 0; i < M; i++) {
            const bool inside = t < count && at.y + i < s.out_h && at.x + j < s.out_w;
            const size_t pixel = ((size_t)at.n * s.out_h + at.y + i) * s.out_w + at.x + j;
            y[i] = inside ? LOAD_ALIGNED(dy + pixel * out_c + o) : (vec)(0.0f);
        }
        GRADIENT_LINE(y, 1, u)
        UNROLL for (int i = 0; i < E; i++) half_way[i * M + j] = u[i];
    }
    to += element_at(t, share, out_c) + o;
    const size_t step = (size_t)share * out_c;
    UNROLL for (int i = 0; i < E; i++) {
        const vec *line = half_way + i * M;
        GRADIENT_LINE(line, 1, u)
        UNROLL for (int j = 0; j < E; j++) STORE_FLOATS(u[j], to + (i * E + j) * step);
    }
}

/* The element of a transformed gradient that is the sum of its tile: to[first + split][o], in order. */
kernel void bias(global const float *restrict gradients, global float *restrict to, int out_c, int share, int splits,
                 int first) {
    const int o = get_global_id(0), split = get_global_id(1);
    if (o >= out_c || split >= splits) return;
    global const float *from = gradients + ((size_t)split * (E * E) + E + 1) * share * out_c + o;
    float sum = 0.0f;
    for (int t = 0; t < share; t++) sum += from[(size_t)t * out_c];
    to[(size_t)(first + split) * out_c + o] = sum;
}

/* G' products G, of the sum over all splits in order. An item ends the gradient of one kernel. */
kernel void finish(global const float *restrict products, global float *restrict dweight, int group_in, int group_out,
                   int interleave, int splits) {
    const int o = get_global_id(0), c = get_global_id(1);
    if (o >= group_out || c >= group_in) return;
    const size_t step = (size_t)group_in * group_out;
    float half_way[3 * E], u[E], g[3];
    products += (size_t)c * group_out + o;
    UNROLL for (int j = 0; j < E; j++) {
        UNROLL for (int i = 0; i < E; i++) u[i] = products[(i * E + j) * step];
        for (int split = 1; split < splits; split++)
            UNROLL for (int i = 0; i < E; i++) u[i] += products[((size_t)split * (E * E) + i * E + j) * step];
        FINAL_LINE(u, 1, g, float)
        UNROLL for (int i = 0; i < 3; i++) half_way[i * E + j] = g[i];
    }
    UNROLL for (int i = 0; i < 3; i++) {
        const float *line = half_way + i * E;
        FINAL_LINE(line, 1, g, float)
        UNROLL for (int j = 0; j < 3; j++) dweight[weight_at(o, c, i * 3 + j, group_in, interleave)] = g[j];
    }
}
