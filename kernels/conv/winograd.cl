/* Winograd's convolution for kernels of 3x3, stride 1, one group.
 *
 *   Y  = A' [ sum over c: (G w G') . (B' d B) ] A       forward, data gradient
 *   dw = G' [ sum over tiles: (A dY A') . (B' d B) ] G  weight gradient
 * (' transposes, . multiplies element by element) for tiles of M x M outputs Y from patches d of E x E inputs,
 * E = M + 2: E*E products where the direct sum takes 9*M*M, 2.25 (M 2) or 4 (M 4) times as many. The matrices are Toom
 * and Cook's for the points 0, +-1, infinity, with M 4 also +-2, written for points +-P and +-Q. With a dilation the
 * pixels of a patch, and of its outputs, are so far apart: tiles side by side are those of neighbouring pixels.
 *
 * Activations are NHWC, weights [O][G][F] (see host/ops/conv/conv.h), packed as [E*E][block of 16 outputs][depth][16].
 * A work-item takes chunk after chunk of `chunk` tiles: it transforms their patches into its slice of `scratch`, forms
 * the products for `bunch` blocks of outputs at a time in register tiles of TM tiles by 16 outputs, and transforms them
 * back. The slice stays in its core's cache. Written for work-groups of one item. The transforms' loops are unrolled by
 * demand: left as loops, their values go through memory, and the transforms take half of the time.
 *
 *  M    outputs of a tile along each axis: 2 or 4
 *  TM   rows of a register tile, as tile.h has them
 *  BLOCKS  blocks of 16 outputs that the tile of a forward pass and a data gradient is wide: 1 or 2 (1), as
 *          conv/pointwise.cl's
 *  VEC  values that the transforms take at a time: 8 or 16
 *  DOWN, ACROSS  the dilation: rows and columns that a tile's are apart (1)
 *  ACT_TYPE    of activations (vec.h)
 *  ACTIVATION  what the forward pass applies to its results: 0 none (0), 1 relu, 2 relu6
 */
#ifndef M
#error "conv/winograd.cl needs M"
#endif
#ifndef BLOCKS
#define BLOCKS 1
#endif
#ifndef DOWN
#define DOWN 1
#define ACROSS 1
#endif
#include "activation.h"
#include "fetch.h"
#include "tile.h"

#include "conv/sizes.h"

#include "conv/winograd.h"

/* Tiles along an axis of so many outputs, one for each where a dilation is larger than that; the first output of one.
 */
#define TILES_ALONG(size, apart) min((((size) + (apart)-1) / (apart) + M - 1) / M * (apart), size)
#define FIRST_OF(tile, apart) ((tile) / (apart)*M * (apart) + (tile) % (apart))

vec load_some(global const float *from, int width) {
    if (width >= VEC) return LOAD(from);
    float part[VEC];
    for (int l = 0; l < VEC; l++) part[l] = l < width ? from[l] : 0.0f;
    return LOAD(part);
}

vec load_acts(global const ACT *from, int width) {
    if (width >= VEC) return LOAD_ACT(from);
    float part[VEC];
    for (int l = 0; l < VEC; l++) part[l] = l < width ? LOAD_ACT1(from + l) : 0.0f;
    return LOAD(part);
}

void store_some(vec value, global ACT *to, global const ACT *added, int width, int adds) {
    if (width >= VEC) {
        if (adds) value += LOAD_ACT(added);
        STORE_ACT(ACTIVATE(value), to);
        return;
    }
    float part[VEC];
    if (adds) value += load_acts(added, width);
    STORE(ACTIVATE(value), part);
    for (int l = 0; l < width; l++) STORE_ACT1(part[l], to + l);
}

/* --- weights ---------------------------------------------------------------------------------- */

/* An item packs `span` of the `depth` channels that are summed over, for one block of 16 results. data: the results are
 * input channels, the sum runs over outputs, and the kernel is turned around. */
kernel void pack(global const float *restrict weight, global float *restrict packed, int group_in, int group_out,
                 int interleave, int blocks, int span, int data) {
    const int depth = data ? group_out : group_in, results = data ? group_in : group_out;
    const int k0 = get_global_id(0) * span, block = get_global_id(1), k1 = min(k0 + span, depth);
    if (k0 >= depth || block >= blocks) return;
    const size_t features = (size_t)group_in * 9, length = features / interleave;
    const int width = min(16, results - block * 16);
    size_t at[16]; // of the next tap, by result, in a row of weights; the order of features is that of conv.h
    int part_of[16];
    for (int l = 0; l < 16 && data; l++) {
        const size_t first = (size_t)(block * 16 + min(l, width - 1)) * 9;
        at[l] = first / interleave, part_of[l] = first % interleave;
    }
    for (int k = k0; k < k1; k++) {
        float16 g[9], half_way[3 * E], u[E];
        global const float *row = weight + (size_t)(data ? k : block * 16) * features;
        if (data) {
            for (int l = 0; l < 16; l++) FETCH(row + (features + part_of[l] * length + at[l]));
            for (int tap = 0; tap < 9; tap++) {
                float part[16];
                for (int l = 0; l < 16; l++) {
                    const int later = part_of[l] + tap;
                    const size_t f = interleave == 1 ? at[l] + tap : at[l] + later / interleave;
                    part[l] = l < width ? row[(interleave == 1 ? 0 : later % interleave * length) + f] : 0.0f;
                }
                g[8 - tap] = vload16(0, part);
            }
        } else {
            size_t f = (size_t)k * 9 / interleave;
            int of = (size_t)k * 9 % interleave;
            for (int tap = 0; tap < 9; tap++) {
                float part[16];
                for (int l = 0; l < 16 && (tap == 0 || interleave > 1); l++)
                    FETCH(row + (l * features + of * length + f + 32));
                for (int l = 0; l < 16; l++) part[l] = l < width ? row[l * features + of * length + f] : 0.0f;
                g[tap] = vload16(0, part);
                if (++of == interleave) of = 0, f++;
            }
        }
#pragma unroll
        for (int x = 0; x < 3; x++) {
            const float16 *line = g + x;
            WEIGHT_LINE(line, 3, u, float16)
#pragma unroll
            for (int i = 0; i < E; i++) half_way[i * 3 + x] = u[i];
        }
#pragma unroll
        for (int i = 0; i < E; i++) {
            const float16 *line = half_way + i * 3;
            WEIGHT_LINE(line, 1, u, float16)
#pragma unroll
            for (int j = 0; j < E; j++)
                vstore16(u[j], 0, packed + (((size_t)(i * E + j) * blocks + block) * depth + k) * 16);
        }
    }
}

/* --- forward, data gradient ------------------------------------------------------------------- */

/* The patch whose first pixel is (y0, x0) of image n, `depth` of in_c channels: to[element of the patch * pitch +
 * channel]. */
void transform_input(global const ACT *restrict x, global float *restrict to, int n, int y0, int x0, struct sizes s,
                     int depth, size_t pitch) {
    const int in_h = s.in_h, in_w = s.in_w, in_c = s.in_c;
    global const ACT *from = x + (((long)n * in_h + y0) * in_w + x0) * in_c;
    const bool inside = y0 >= 0 && y0 + (E - 1) * DOWN < in_h && x0 >= 0 && x0 + (E - 1) * ACROSS < in_w;
    for (int c = 0; c < depth; c += VEC) {
        const int width = depth - c;
        vec d[E * E], half_way[E * E], t[E];
#if ACROSS == 1 // of the next tile
        for (int i = 0; i < E * M; i++) FETCH(from + ((long)(i / M) * DOWN * in_w + E + i % M) * in_c + c);
#else
        for (int i = 0; i < E * E; i++) FETCH(from + ((long)(i / E) * DOWN * in_w + i % E * ACROSS + 1) * in_c + c);
#endif
        if (inside && width >= VEC) {
#pragma unroll
            for (int i = 0; i < E; i++)
#pragma unroll
                for (int j = 0; j < E; j++)
                    d[i * E + j] = LOAD_ACT(from + ((size_t)i * DOWN * in_w + j * ACROSS) * in_c + c);
        } else {
#pragma unroll
            for (int i = 0; i < E; i++)
#pragma unroll
                for (int j = 0; j < E; j++) {
                    const bool valid = (uint)(y0 + i * DOWN) < (uint)in_h && (uint)(x0 + j * ACROSS) < (uint)in_w;
                    global const ACT *at = from + ((long)i * DOWN * in_w + j * ACROSS) * in_c + c;
                    d[i * E + j] = valid ? load_acts(at, width) : (vec)(0.0f);
                }
        }
#pragma unroll
        for (int j = 0; j < E; j++) {
            const vec *line = d + j;
            INPUT_LINE(line, E, t)
#pragma unroll
            for (int i = 0; i < E; i++) half_way[i * E + j] = t[i];
        }
#pragma unroll
        for (int i = 0; i < E; i++) {
            const vec *line = half_way + i * E;
            INPUT_LINE(line, 1, t)
#pragma unroll
            for (int j = 0; j < E; j++) STORE(t[j], to + (size_t)(i * E + j) * pitch + c);
        }
    }
}

/* 16 * many results of a tile, from from[element * pitch + result], to the outputs from (y0, x0) on. */
void transform_output(global const float *restrict from, global const float *restrict bias, global ACT *out,
                      global const ACT *added, int n, int y0, int x0, struct sizes s, int first, int many, size_t pitch,
                      int has_bias, int adds) {
    const int out_h = s.out_h, out_w = s.out_w, out_c = s.out_c;
    for (int o = first; o < min(first + 16 * many, out_c); o += VEC) {
        const int width = out_c - o;
        vec m[E * E], half_way[M * E], y[M];
        const vec more = has_bias ? load_some(bias + o, width) : (vec)(0.0f);
#pragma unroll
        for (int i = 0; i < E * E; i++) m[i] = LOAD(from + i * pitch + (o - first));
#pragma unroll
        for (int j = 0; j < E; j++) {
            const vec *line = m + j;
            OUTPUT_LINE(line, E, y)
#pragma unroll
            for (int i = 0; i < M; i++) half_way[i * E + j] = y[i];
        }
        for (int i = 0; i < M && y0 + i * DOWN < out_h; i++) {
            const vec *line = half_way + i * E;
            OUTPUT_LINE(line, 1, y)
            const size_t at = (((size_t)n * out_h + y0 + i * DOWN) * out_w + x0) * out_c + o;
#pragma unroll
            for (int j = 0; j < M; j++)
                if (x0 + j * ACROSS < out_w) {
                    const size_t to = at + (size_t)j * ACROSS * out_c;
                    store_some(y[j] + more, out + to, added + to, width, adds);
                }
        }
    }
}

/* to[t][16] = sum over k < depth of from[t][k] w[k][16] for TM tiles. */
void multiply(global const float *restrict from, global const float *restrict w, global float *restrict to, int depth,
              int pitch_from, int pitch_to) {
#define START(i)                                                                                                       \
    float16 sum##i = (float16)(0.0f);                                                                                  \
    global const float *a##i = from + i * pitch_from;
#define MULTIPLY(i) sum##i = FMA((float16)(a##i[k]), line, sum##i);
#define KEEP(i) vstore16(sum##i, 0, to + i * pitch_to);
    EACH_ROW(START)
    for (int k = 0; k < depth; k++, w += 16) {
        const float16 line = vload16(0, w);
        EACH_ROW(MULTIPLY)
    }
    EACH_ROW(KEEP)
}

#if BLOCKS == 2
/* The same for two blocks, whose weights are `step` apart and whose results lie side by side. Meanwhile as many lines
 * of memory as there are channels come nearer from `ahead` on. */
void multiply_two(global const float *restrict from, global const float *restrict w, size_t step,
                  global float *restrict to, int depth, int pitch_from, int pitch_to, global const float *ahead) {
#define START_NEXT(i) float16 next##i = (float16)(0.0f);
#define MULTIPLY_NEXT(i) next##i = FMA((float16)(a##i[k]), after, next##i);
#define KEEP_NEXT(i) vstore16(next##i, 1, to + i * pitch_to);
    EACH_ROW(START)
    EACH_ROW(START_NEXT)
    for (int k = 0; k < depth; k++, w += 16, ahead += 16) {
        const float16 line = vload16(0, w), after = vload16(0, w + step);
        FETCH(ahead);
        EACH_ROW(MULTIPLY)
        EACH_ROW(MULTIPLY_NEXT)
    }
    EACH_ROW(KEEP)
    EACH_ROW(KEEP_NEXT)
}
#endif

struct chunks { // of the host's too (host/ops/conv/winograd.c)
    int padded, blocks, bunch, chunk, parts, items;
};

/* Each of the chunks is made in `parts` shares of the blocks. adds other than 0: `added`, of the output's shape and
 * perhaps the output itself, is added before the activation. `items` items have these. first_y, first_x: the input
 * position of the patch of output (0, 0). padded: in_c rounded up to a multiple of VEC. scratch: of every item,
 * (E*E*(chunk*(padded + 16*bunch) + 32)) floats. */
kernel void convolve(global const ACT *restrict x, global const float *restrict packed,
                     global const float *restrict bias, global ACT *out, global const ACT *added,
                     global float *restrict scratch, struct sizes s, int first_y, int first_x, struct chunks c,
                     int has_bias, int adds) {
    const int tiles_y = TILES_ALONG(s.out_h, DOWN), tiles_x = TILES_ALONG(s.out_w, ACROSS);
    const int tiles = s.images * tiles_y * tiles_x;
    const int depth = s.in_c, padded = c.padded, blocks = c.blocks, bunch = c.bunch, chunk = c.chunk, items = c.items;
    const size_t pitch = (size_t)chunk * padded + 16, product_pitch = (size_t)chunk * bunch * 16 + 16;
    const int item = get_global_id(0);
    if (item >= items) return;
    global float *inputs = scratch + (size_t)item * E * E * (pitch + product_pitch);
    global float *products = inputs + E * E * pitch;
    const int share = (blocks + c.parts * bunch - 1) / (c.parts * bunch) * bunch;
    const int jobs = (tiles + chunk - 1) / chunk * c.parts;
    for (int job = item; job < jobs; job += items) {
        const long begin = (long)(job / c.parts) * chunk;
        const int block0 = job % c.parts * share, block1 = min(block0 + share, blocks);
        const int count = (int)min((long)chunk, tiles - begin);
        for (int t = 0; t < count; t++) {
            const int tile = (int)begin + t, n = tile / (tiles_y * tiles_x), rest = tile - n * tiles_y * tiles_x;
            const int y0 = FIRST_OF(rest / tiles_x, DOWN), x0 = FIRST_OF(rest % tiles_x, ACROSS);
            transform_input(x, inputs + (size_t)t * padded, n, y0 + first_y, x0 + first_x, s, depth, pitch);
        }
        for (int block = block0; block < block1; block += bunch) {
            const int many = min(bunch, block1 - block);
            const size_t step = (size_t)depth * 16;
            for (int e = 0; e < E * E; e++)
                for (int b = 0; b < many; b += BLOCKS) {
                    global const float *w = packed + ((size_t)e * blocks + block + b) * step;
                    for (int t = 0; t < count; t += TM) {
                        global const float *from = inputs + e * pitch + (size_t)t * padded;
                        global float *to = products + e * product_pitch + ((size_t)t * bunch + b) * 16;
#if BLOCKS == 2
                        if (b + 1 < many) { // what comes next: a block with the first tiles, the other with the second
                            const int coming = block + bunch < block1 ? block + bunch : block0;
                            global const float *next = e + 1 < E * E ? w + blocks * step : packed + coming * step;
                            global const float *ahead = t == 0 ? next : t == TM ? next + step : w;
                            multiply_two(from, w, step, to, depth, padded, bunch * 16, ahead);
                        } else
#endif
                            multiply(from, w, to, depth, padded, bunch * 16);
                    }
                }
            for (int t = 0; t < count; t++) {
                const int tile = (int)begin + t, n = tile / (tiles_y * tiles_x), rest = tile - n * tiles_y * tiles_x;
                const int y0 = FIRST_OF(rest / tiles_x, DOWN), x0 = FIRST_OF(rest % tiles_x, ACROSS);
                transform_output(products + (size_t)t * bunch * 16, bias, out, added, n, y0, x0, s, block * 16, many,
                                 product_pitch, has_bias, adds);
            }
        }
    }
}

/* --- weight gradient -------------------------------------------------------------------------- */

/* The gradient of the tile whose first output is (y0, x0) of image n, 16 * blocks channels of which `depth` are there:
 * to[element * pitch + block * step + channel in the block]. Adds the tile's sum to `bias`. */
void transform_gradient(global const ACT *restrict dy, global float *restrict to, global float *restrict bias, int n,
                        int y0, int x0, struct sizes s, int depth, int blocks, size_t pitch, size_t step) {
    const int out_h = s.out_h, out_w = s.out_w, out_c = s.out_c;
    global const ACT *from = dy + (((size_t)n * out_h + y0) * out_w + x0) * out_c;
    const bool inside = y0 + (M - 1) * DOWN < out_h && x0 + (M - 1) * ACROSS < out_w;
    for (int o = 0; o < 16 * blocks; o += VEC) {
        const int width = depth - o;
        vec y[M * M], half_way[E * M], t[E], sum = LOAD(bias + o);
        for (int i = 0; i < M * M; i++)
            FETCH(from + ((size_t)(i / M) * DOWN * out_w + (ACROSS == 1 ? M : 1) + i % M * ACROSS) * out_c + o);
#pragma unroll
        for (int i = 0; i < M; i++)
#pragma unroll
            for (int j = 0; j < M; j++) {
                const bool valid = inside || (y0 + i * DOWN < out_h && x0 + j * ACROSS < out_w);
                global const ACT *at = from + ((size_t)i * DOWN * out_w + j * ACROSS) * out_c + o;
                y[i * M + j] = valid ? load_acts(at, width) : (vec)(0.0f);
                sum += y[i * M + j];
            }
        STORE(sum, bias + o);
#pragma unroll
        for (int j = 0; j < M; j++) {
            const vec *line = y + j;
            GRADIENT_LINE(line, M, t)
#pragma unroll
            for (int i = 0; i < E; i++) half_way[i * M + j] = t[i];
        }
#pragma unroll
        for (int i = 0; i < E; i++) {
            const vec *line = half_way + i * M;
            GRADIENT_LINE(line, 1, t)
#pragma unroll
            for (int j = 0; j < E; j++) STORE(t[j], to + (i * E + j) * pitch + o / 16 * step + o % 16);
        }
    }
}

/* to[c][16] += sum over t < count of inputs[t][c] gradients[t][16] for TM channels; `first`: overwrites. */
void add_products(global const float *restrict inputs, global const float *restrict gradients,
                  global float *restrict to, int count, int pitch, bool first) {
#define CLEAR(i) float16 sum##i = (float16)(0.0f);
#define ADD(i) sum##i = FMA((float16)(inputs[i]), line, sum##i);
#define ADD_TO(i) sum##i += vload16(i, to);
#define WRITE(i) vstore16(sum##i, i, to);
    EACH_ROW(CLEAR)
    for (int t = 0; t < count; t++, inputs += pitch) {
        const float16 line = vload16(t, gradients);
        EACH_ROW(ADD)
    }
    if (!first) {
        EACH_ROW(ADD_TO)
    }
    EACH_ROW(WRITE)
}

/* The sums of channels c0..c0+depth and of one block: the gradients of the nine taps, to[tap*in_c + c][16]. */
void finish_weights(global const float *restrict sums, global float *restrict to, int depth, int in_c, size_t pitch) {
    for (int c = 0; c < depth; c++) {
        float16 u[E * E], half_way[3 * E], g[3];
#pragma unroll
        for (int i = 0; i < E * E; i++) u[i] = vload16(c, sums + i * pitch);
#pragma unroll
        for (int j = 0; j < E; j++) {
            const float16 *line = u + j;
            FINAL_LINE(line, E, g, float16)
#pragma unroll
            for (int i = 0; i < 3; i++) half_way[i * E + j] = g[i];
        }
#pragma unroll
        for (int i = 0; i < 3; i++) {
            const float16 *line = half_way + i * E;
            FINAL_LINE(line, 1, g, float16)
#pragma unroll
            for (int j = 0; j < 3; j++) vstore16(g[j], (size_t)(i * 3 + j) * in_c + c, to);
        }
    }
}

struct jobs { // of the host's too
    int blocks, bunch, ranges, span, splits, chunk, pitch, items;
};

/* partial[block][split][9*in_c + 1][16], as conv/reduce.cl takes it: rows (tap, c), the last one the bias's.
 * `items` items share the jobs; a job is one of `ranges` ranges of `span` channels (a multiple of 8), one bunch of
 * blocks and one split of the tiles, which it takes `chunk` at a time: it transforms their patches and gradients into
 * its slice of `scratch` and adds the products to the sums there. The slice: inputs[element][tile][pitch],
 * gradients[element][block][tile][16], sums[element][block][pitch][16], each with 16 floats after an element, and the
 * bias's sums; pitch: at least span rounded up to a multiple of TM. */
kernel void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                    global float *restrict scratch, struct sizes s, int first_y, int first_x, struct jobs j) {
    const int tiles_y = TILES_ALONG(s.out_h, DOWN), tiles_x = TILES_ALONG(s.out_w, ACROSS);
    const int tiles = s.images * tiles_y * tiles_x;
    const int blocks = j.blocks, bunch = j.bunch, ranges = j.ranges, splits = j.splits, chunk = j.chunk;
    const int pitch = j.pitch, items = j.items, in_c = s.in_c;
    const int bunches = (blocks + bunch - 1) / bunch, jobs = splits * bunches * ranges, item = get_global_id(0);
    const int share = (tiles + splits - 1) / splits;
    const size_t input_pitch = (size_t)chunk * pitch + 16;
    const size_t step = (size_t)chunk * 16, gradient_pitch = bunch * step + 16;
    const size_t sum_step = (size_t)pitch * 16, sum_pitch = bunch * sum_step + 16;
    if (item >= items) return;
    global float *inputs = scratch + item * (E * E * (input_pitch + gradient_pitch + sum_pitch) + bunch * 16);
    global float *gradients = inputs + E * E * input_pitch, *sums = gradients + E * E * gradient_pitch;
    global float *bias = sums + E * E * sum_pitch;
    for (int job = item; job < jobs; job += items) {
        const int split = job / (bunches * ranges), block = job / ranges % bunches * bunch, c0 = job % ranges * j.span;
        const int many = min(bunch, blocks - block), depth = min(j.span, in_c - c0);
        const int begin = (int)min((long)split * share, (long)tiles), end = begin + min(share, tiles - begin);
        for (int o = 0; o < many * 16; o++) bias[o] = 0.0f;
        for (int p = begin; p == begin || p < end; p += chunk) { // at least once: an empty share has zeros
            const int count = min(chunk, end - p);
            for (int t = 0; t < count; t++) {
                const int n = (p + t) / (tiles_y * tiles_x), rest = p + t - n * tiles_y * tiles_x;
                const int y = FIRST_OF(rest / tiles_x, DOWN), x0 = FIRST_OF(rest % tiles_x, ACROSS);
                transform_input(x + c0, inputs + (size_t)t * pitch, n, y + first_y, x0 + first_x, s, depth,
                                input_pitch);
                transform_gradient(dy + block * 16, gradients + t * 16, bias, n, y, x0, s, s.out_c - block * 16, many,
                                   gradient_pitch, step);
            }
            for (int e = 0; e < E * E; e++)
                for (int c = 0; c < depth; c += TM)
                    for (int b = 0; b < many; b++)
                        add_products(inputs + e * input_pitch + c, gradients + e * gradient_pitch + b * step,
                                     sums + e * sum_pitch + b * sum_step + c * 16, count, pitch, p == begin);
        }
        for (int b = 0; b < many; b++) {
            global float *to = partial + ((size_t)(block + b) * splits + split) * (9 * (size_t)in_c + 1) * 16;
            finish_weights(sums + b * sum_step, to + (size_t)c0 * 16, depth, in_c, sum_pitch);
            if (c0 == 0) vstore16(vload16(b, bias), 9 * (size_t)in_c, to);
        }
    }
}
