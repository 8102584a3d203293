/* Direct convolution, register-tiled: forward, data gradient, weight gradient, and the packing of weights.
 *
 *   y[n, y, x, o]  = bias[o] + sum over taps, c of x[n, y*stride - padding + ky*dilation, ..., c] w[o, c, tap]
 *   dx[n, y, x, c] = sum over taps, o of dy[...] w[o, c, tap]: the same sum over other positions and packed weights
 *   dw[o, c, tap]  = sum over n, y, x of x[shifted by the tap, c] dy[n, y, x, o]
 *
 * Activations are NHWC. Weights come as [O][G][F] (see host/ops/conv/conv.h) and are packed as
 * [group][block of TN outputs][tap][input channel][TN], zeros beyond the last output.
 *
 * Pixels are walked in sets of `together` images, within a set position by position and image by image: neighbours in
 * this order share their position, so that the taps that fall outside the image fall outside for a whole tile, and are
 * left out. On small maps that is much of the work: 5 of 9 taps of a 3x3 kernel on 2x2 pixels.
 *
 *  ACTIVATION  what the forward pass applies to its results: 0 none (0), 1 relu, 2 relu6
 *  WEIGHTS  the kernel of the weight gradient alone: 1 for CPUs, 2 for others; 0: the other kernels
 *  TM     pixels (channels in the weight gradient) of the register tile: 1 to 6, 8, 10, 12 (6 by TN 16 fill AVX2's
 *         registers)
 *  TN     outputs of a block: 4, 8 or 16 (16)
 *  BLOCKS  blocks that a CPU's register tile is wide: 1 or 2 (1), as conv/pointwise.cl's
 *  KB     pixels that the weight gradient of a CPU takes at a time (64)
 *  STRIP  channels that it packs at a time, a multiple of TM unless no more than TM are there (48)
 *  BUNCH  most blocks of outputs that one of its items computes (4)
 *  PATCH  kh*kw*channels of a group where channels are few: patches of that length are gathered first, and the sum runs
 *         over them as over the channels of a 1x1 kernel; 0: off (0)
 *  WIDE   1: convolve reads floats, whatever ACT_TYPE (0)
 */
#if !defined(TM) || !defined(WEIGHTS)
#error "conv/direct.cl needs TM and WEIGHTS"
#endif
#ifndef TN
#define TN 16
#endif
#ifndef BLOCKS
#define BLOCKS 1
#endif
#ifndef KB
#define KB 64
#endif
#ifndef STRIP
#define STRIP 48
#endif
#ifndef BUNCH
#define BUNCH 4
#endif
#ifndef PATCH
#define PATCH 0
#endif

#ifndef WIDE
#define WIDE 0
#endif

#define VEC TN
#include "activation.h"

#if WIDE
#define IN float
#define LOAD_IN1(p) (*(p))
#else
#define IN ACT
#define LOAD_IN1(p) LOAD_ACT1(p)
#endif

#include "fetch.h"
#include "loop.h"
#include "tile.h"

#include "conv/sizes.h"

#define CLEAR(i) vec sum##i = (vec)(0.0f);
#define CLEAR_NEXT(i) vec next##i = (vec)(0.0f);

/* A pixel in the order of the walk. */
struct place {
    int first, here, n, y, x;
}; // the set's first image and their number; image in the set, row, column

struct place place_of(int pixel, int images, int together, int h, int w) {
    struct place at;
    const int whole = together * h * w, set = pixel / whole, rest = pixel - set * whole;
    at.first = set * together;
    at.here = max(min(together, images - at.first), 1);
    const int position = rest / at.here;
    at.n = rest - position * at.here;
    at.y = position / w;
    at.x = position - at.y * w;
    return at;
}

struct place next_place(struct place at, int images, int together, int h, int w) {
    if (++at.n < at.here) return at;
    at.n = 0;
    if (++at.x < w) return at;
    at.x = 0;
    if (++at.y < h) return at;
    at.y = 0;
    at.first += together;
    at.here = max(min(together, images - at.first), 1);
    return at;
}

#if PATCH
/* One pixel's patch, zeros outside the image; (y, x) is the input position of the first tap. */
void gather(global const ACT *x, float *patch, int n, int y, int x0, int in_h, int in_w, int in_c, int group_c,
            int kernel_h, int kernel_w, int dilation_y, int dilation_x) {
    const bool inside = x0 >= 0 && x0 + kernel_w <= in_w && in_c == group_c && dilation_x == 1;
    for (int ky = 0; ky < kernel_h; ky++, y += dilation_y) {
        global const ACT *row = x + (size_t)((long)n * in_h + y) * in_w * in_c;
        const bool valid = y >= 0 && y < in_h;
        if (valid && inside) { // the taps of a kernel row lie in one run
            for (int i = 0; i < kernel_w * group_c; i++) patch[i] = LOAD_ACT1(row + ((long)x0 * in_c + i));
            patch += kernel_w * group_c;
            continue;
        }
        for (int kx = 0, at = x0; kx < kernel_w; kx++, at += dilation_x, patch += group_c)
            for (int c = 0; c < group_c; c++)
                patch[c] = valid && at >= 0 && at < in_w ? LOAD_ACT1(row + ((long)at * in_c + c)) : 0.0f;
    }
}
#endif

#if !WEIGHTS
/* --- packing ---------------------------------------------------------------------------------- */

/* For the forward pass: packed[group][block][tap][c][TN]. An item packs `span` input channels of one block. */
kernel void pack_forward(global const float *restrict weight, global float *restrict packed, int group_in,
                         int group_out, int taps, int interleave, int blocks, int span) {
    const int c0 = get_global_id(0) * span, block = get_global_id(1), group = get_global_id(2);
    const int width = min(TN, group_out - block * TN), c1 = min(c0 + span, group_in);
    if (c0 >= group_in || block >= blocks) return;
    const size_t features = (size_t)group_in * taps, length = features / interleave;
    global const float *from = weight + ((size_t)group * group_out + (size_t)block * TN) * features;
    global float *to = packed + ((size_t)group * blocks + block) * features * TN;
    size_t f = (size_t)c0 * taps / interleave;
    int g = (size_t)c0 * taps % interleave;
    for (int c = c0; c < c1; c++) {
        for (int tap = 0; tap < taps; tap++) {
            global const float *at = from + g * length + f;
            float part[TN];
            for (int l = 0; l < TN; l++) part[l] = l < width ? at[l * features] : 0.0f;
            STORE(LOAD(part), to + ((size_t)tap * group_in + c) * TN);
            if (++g == interleave) g = 0, f++;
        }
    }
}

/* For the data gradient: packed[group][block of TN input channels][tap][o][TN]. An item packs `span` outputs of one. */
kernel void pack_data(global const float *restrict weight, global float *restrict packed, int group_in, int group_out,
                      int taps, int interleave, int blocks, int span) {
    const int o0 = get_global_id(0) * span, block = get_global_id(1), group = get_global_id(2);
    const int width = min(TN, group_in - block * TN), o1 = min(o0 + span, group_out);
    if (o0 >= group_out || block >= blocks) return;
    const size_t features = (size_t)group_in * taps, length = features / interleave;
    global float *to = packed + ((size_t)group * blocks + block) * group_out * taps * TN;
    for (int tap = 0; tap < taps; tap++) {
        const size_t first = (size_t)block * TN * taps + tap;
        const int step_f = taps / interleave, step_g = taps % interleave;
        size_t at[TN], f = first / interleave;
        int g = first % interleave;
        for (int l = 0; l < TN; l++) {
            at[l] = g * length + f;
            f += step_f, g += step_g;
            if (g >= interleave) g -= interleave, f++;
        }
        for (int o = o0; o < o1; o++) {
            global const float *from = weight + ((size_t)group * group_out + o) * features;
            float part[TN];
            for (int l = 0; l < TN; l++) part[l] = l < width ? from[at[l]] : 0.0f;
            STORE(LOAD(part), to + ((size_t)tap * group_out + o) * TN);
        }
    }
}

/* --- forward, data gradient ------------------------------------------------------------------- */

#include "conv/edge.h"

/* Outputs at (grid position)*out_step + out_first from inputs at (grid position)*in_step + in_first + tap*tap_step; tap
 * (jy, jx) of taps_y by taps_x has the packed weights of index weight_first + jy*weight_step_y + jx*weight_step_x.
 * An item computes `strip` tiles of TM pixels by BLOCKS blocks of TN outputs.
 * blocks_first: dimension 0 counts the blocks of outputs and dimension 1 the strips; else the other way round.
 * zeros: at least group_c zeros.
 * adds other than 0: `added`, of the output's shape and perhaps the output itself, is added before the activation.
 * x has `images` images; out and added have them from image `begin` on.
 * Its sizes are arguments of their own: as structs by value they cost 1x1 layers of few channels 8 per cent (PoCL). */
kernel LANES16 void convolve(global const IN *restrict x, global const float *restrict packed,
                             global const float *restrict bias, global ACT *out, global const ACT *added,
                             global const IN *restrict zeros, int images, int begin, int together, int grid_h,
                             int grid_w, int in_h, int in_w, int in_c, int group_c, int out_h, int out_w, int out_c,
                             int group_o, int in_step_y, int in_step_x, int in_first_y, int in_first_x, int tap_step_y,
                             int tap_step_x, int taps_y, int taps_x, int weight_first, int weight_step_y,
                             int weight_step_x, int taps, int out_step_y, int out_step_x, int out_first_y,
                             int out_first_x, int blocks, int strip, int blocks_first, int adds) {
    const int group = get_global_id(2);
    /* Values first: PoCL 3.1 fails to link a choice between the two calls. */
    const int inner = get_global_id(0), outer = get_global_id(1);
    const int block = (blocks_first ? inner : outer) * BLOCKS;
    const long first = (long)(blocks_first ? outer : inner) * strip * TM;
    const int pixels = images * grid_h * grid_w;
    if (first >= pixels || block >= blocks) return;
    const int end = (int)min(first + (long)strip * TM, (long)pixels);

    x += (size_t)group * group_c;
    bias += (size_t)group * group_o;
    out += (size_t)begin * out_h * out_w * out_c + (size_t)group * group_o;
    added += (size_t)begin * out_h * out_w * out_c + (size_t)group * group_o;
    for (int p = (int)first; p < end; p += TM) {
#define PLACE(i)                                                                                                       \
    const struct place g##i = place_of(min(p + i, pixels - 1), images, together, grid_h, grid_w);                      \
    const int n##i = g##i.first + g##i.n;                                                                              \
    const int y##i = g##i.y * in_step_y + in_first_y, x##i = g##i.x * in_step_x + in_first_x;
#define FINISH_AS(i, sum, b)                                                                                           \
    if (p + i < end) {                                                                                                 \
        const size_t row = (size_t)n##i * out_h + g##i.y * out_step_y + out_first_y;                                   \
        const size_t at = (row * out_w + g##i.x * out_step_x + out_first_x) * out_c + (b)*TN;                          \
        store_some(sum##i + more, out + at, added + at, group_o - (b)*TN, adds);                                       \
    }
#define FINISH(i) FINISH_AS(i, sum, block)
#define FINISH_NEXT(i) FINISH_AS(i, next, block + 1)
        EACH_ROW(PLACE)
#if PATCH
        float patches[TM * PATCH];
#define GATHER(i)                                                                                                      \
    gather(x, patches + i * PATCH, n##i, y##i, x##i, in_h, in_w, in_c, group_c, taps_y, taps_x, tap_step_y, tap_step_x);
        EACH_ROW(GATHER)
        for (int block = 0; block < blocks; block += BLOCKS) {
            global const float *w = packed + ((size_t)group * blocks + block) * PATCH * TN;
            EACH_ROW(CLEAR)
#define MULTIPLY(i) sum##i = FMA((vec)(patches[i * PATCH + k]), line, sum##i);
#define MULTIPLY_NEXT(i) next##i = FMA((vec)(patches[i * PATCH + k]), after, next##i);
#if BLOCKS == 2
            if (block + 1 < blocks) {
                EACH_ROW(CLEAR_NEXT)
                for (int k = 0; k < PATCH; k++) {
                    const vec line = LOAD(w + k * TN), after = LOAD(w + (PATCH + k) * TN);
                    EACH_ROW(MULTIPLY)
                    EACH_ROW(MULTIPLY_NEXT)
                }
                const vec more = load_some(bias + (block + 1) * TN, group_o - (block + 1) * TN);
                EACH_ROW(FINISH_NEXT)
            } else
#endif
                for (int k = 0; k < PATCH; k++) {
                    const vec line = LOAD(w + k * TN);
                    EACH_ROW(MULTIPLY)
                }
            const vec more = load_some(bias + block * TN, group_o - block * TN);
            EACH_ROW(FINISH)
        }
#else
#define START(i) const long at##i = (((long)n##i * in_h + y##i) * in_w + x##i) * in_c;
        EACH_ROW(START)
        const size_t block_step = (size_t)taps * group_c * TN;
        global const float *weights = packed + ((size_t)group * blocks + block) * block_step;
        const bool two = BLOCKS == 2 && block + 1 < blocks;
        EACH_ROW(CLEAR)
#if BLOCKS == 2
        EACH_ROW(CLEAR_NEXT)
#endif
        for (int jy = 0, dy = 0; jy < taps_y; jy++, dy += tap_step_y) {
            for (int jx = 0, dx = 0; jx < taps_x; jx++, dx += tap_step_x) {
                const long shift = ((long)dy * in_w + dx) * in_c;
#define INSIDE(i) const bool in##i = (uint)(y##i + dy) < (uint)in_h && (uint)(x##i + dx) < (uint)in_w;
                EACH_ROW(INSIDE)
#define OR(i) || in##i
                if (!(false EACH_ROW(OR))) continue;
#define POINT(i) global const IN *a##i = in##i ? x + (at##i + shift) : zeros;
                EACH_ROW(POINT)
                const int tap = weight_first + jy * weight_step_y + jx * weight_step_x;
                global const float *w = weights + (size_t)tap * group_c * TN;
#define MULTIPLY(i) sum##i = FMA((vec)(LOAD_IN1(a##i + k)), line, sum##i);
#define MULTIPLY_NEXT(i) next##i = FMA((vec)(LOAD_IN1(a##i + k)), after, next##i);
#if BLOCKS == 2
                if (two) {
                    for (int k = 0; k < group_c; k++, w += TN) {
                        const vec line = LOAD(w), after = LOAD(w + block_step);
                        EACH_ROW(MULTIPLY)
                        EACH_ROW(MULTIPLY_NEXT)
                    }
                } else
#endif
                    for (int k = 0; k < group_c; k++, w += TN) {
                        const vec line = LOAD(w);
                        EACH_ROW(MULTIPLY)
                    }
            }
        }
#if BLOCKS == 2
        if (two) {
            const vec more = load_some(bias + (block + 1) * TN, group_o - (block + 1) * TN);
            EACH_ROW(FINISH_NEXT)
        }
#endif
        const vec more = load_some(bias + block * TN, group_o - block * TN);
        EACH_ROW(FINISH)
#endif
    }
}

#else
/* --- weight gradient -------------------------------------------------------------------------- */

/* The first `width` of TN values; zeros beyond. */
vec load_some(global const ACT *from, int width) {
    if (width >= TN) return LOAD_ACT(from);
    float part[TN];
    for (int l = 0; l < TN; l++) part[l] = l < width ? LOAD_ACT1(from + l) : 0.0f;
    return LOAD(part);
}

#if WEIGHTS == 2
/* The sums over one share of the pixels: partial[group][block][split][rows + 1][TN], rows = taps*group_in in the order
 * (tap, c); the last row is the bias's. Items of dimension 0 take a tap and TM channels, all taps of a tile of channels
 * far apart, so that neighbours read neighbouring channels; those of 1 a split, those of 2 a block of a group. */
kernel void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                    struct sizes s, struct axis down, struct axis across, int blocks, int splits) {
    const int tiles = (s.group_in + TM - 1) / TM, tap = get_global_id(0) / tiles, c = get_global_id(0) % tiles * TM;
    const int split = get_global_id(1), block = get_global_id(2) % blocks, group = get_global_id(2) / blocks;
    const int taps = down.taps * across.taps, rows = taps * s.group_in, pixels = s.images * s.out_h * s.out_w;
    if (tap >= taps || split >= splits || group * s.group_in >= s.in_c) return;
    const int share = (pixels + splits - 1) / splits;
    const int begin = (int)min((long)split * share, (long)pixels), end = begin + min(share, pixels - begin);
    const int ty = down.in_first + tap / across.taps * down.tap_step;
    const int tx = across.in_first + tap % across.taps * across.tap_step, width = min(TN, s.group_out - block * TN);
    global const ACT *gradient = dy + (size_t)group * s.group_out + (size_t)block * TN;
    x += (size_t)group * s.group_in;
    EACH_ROW(CLEAR)
    vec bias = (vec)(0.0f);
#define CHANNEL(i) const int c##i = min(c + i, s.group_in - 1);
    EACH_ROW(CHANNEL)
    for (int p = begin; p < end; p++) {
        const int row = p / s.out_w, n = row / s.out_h;
        const int iy = (row - n * s.out_h) * down.in_step + ty, ix = (p - row * s.out_w) * across.in_step + tx;
        const vec line = load_some(gradient + (size_t)p * s.out_c, width);
        bias += line;
        if ((uint)iy >= (uint)s.in_h || (uint)ix >= (uint)s.in_w) continue;
        global const ACT *from = x + (((size_t)n * s.in_h + iy) * s.in_w + ix) * s.in_c;
#define ADD_PIXEL(i) sum##i = FMA((vec)(LOAD_ACT1(from + c##i)), line, sum##i);
        EACH_ROW(ADD_PIXEL)
    }
    global float *to = partial + (((size_t)group * blocks + block) * splits + split) * (rows + 1) * TN;
#define KEEP(i)                                                                                                        \
    if (c + i < s.group_in) STORE(sum##i, to + ((size_t)tap * s.group_in + c + i) * TN);
    EACH_ROW(KEEP)
    if (get_global_id(0) == 0) STORE(bias, to + (size_t)rows * TN);
}

#else
/* What the next chunk reads, a line of TN of each pixel at a time: of dy, then of x. Pixel k's are `by` further than
 * the rows here. Bringing it all while the chunk is packed has memory idle while the products are computed. */
struct ahead {
    global const ACT *dy[KB];
#if !PATCH
    global const ACT *x[KB];
#endif
    long by_dy, by_x;
    int lines, lines_x, line;
};

/* to[block][c][TN] += sum over j < count of panel[j][c] gradient[block][at[j]]; `first`: overwrites. Beyond depth, the
 * rows of the panel have something up to a multiple of TM. */
void add_products(const float *panel, int pitch, int depth, const vec *gradient, const short *at, int count,
                  global float *to, size_t block_step, int blocks, bool first, struct ahead *next) {
#define ADD_PRODUCT(i) sum##i = FMA((vec)(a[i]), line, sum##i);
#define ADD_NEXT(i) next##i = FMA((vec)(a[i]), after, next##i);
#define KEEP_AS(i, sum, here)                                                                                          \
    if (c + i < depth) {                                                                                               \
        if (!first) sum##i += LOAD((here) + i * TN);                                                                   \
        STORE(sum##i, (here) + i * TN);                                                                                \
    }
#define KEEP(i) KEEP_AS(i, sum, here)
#define KEEP_NEXT(i) KEEP_AS(i, next, here + block_step)
    for (int b = 0; b < blocks; b += BLOCKS)
        for (int c = 0; c < depth; c += TM) {
            global float *here = to + b * block_step + c * TN;
            global const ACT *const *rows = next->dy;
            long by = next->by_dy + next->line * TN;
#if !PATCH
            if (next->line >= next->lines) rows = next->x, by = next->by_x + (next->line - next->lines) * TN;
#endif
            if (next->line < next->lines + next->lines_x - 1) next->line++;
            EACH_ROW(CLEAR)
#if BLOCKS == 2
            if (b + 1 < blocks) {
                EACH_ROW(CLEAR_NEXT)
                for (int j = 0; j < count; j++) {
                    FETCH(rows[j] + by);
                    const float *a = panel + j * pitch + c;
                    const vec line = gradient[b * KB + at[j]], after = gradient[(b + 1) * KB + at[j]];
                    EACH_ROW(ADD_PRODUCT)
                    EACH_ROW(ADD_NEXT)
                }
                EACH_ROW(KEEP_NEXT)
            } else
#endif
                for (int j = 0; j < count; j++) {
                    FETCH(rows[j] + by);
                    const float *a = panel + j * pitch + c;
                    const vec line = gradient[b * KB + at[j]];
                    EACH_ROW(ADD_PRODUCT)
                }
            EACH_ROW(KEEP)
        }
}

#if !PATCH
#define PITCH (STRIP % 32 ? STRIP : STRIP + TN) // no power of two

/* Of the pixels with their first tap at (py, px), element `start` of x, those that a tap (ty, tx) further finds inside
 * the image: where their row then is, and which they are. Returns how many. */
int list_inside(global const ACT *x, const long *start, const int *py, const int *px, int count, int ty, int tx,
                int in_h, int in_w, int in_c, global const ACT **row, short *at) {
    const long shift = ((long)ty * in_w + tx) * in_c;
    int valid = 0;
    for (int k = 0; k < count; k++) {
        row[valid] = x + (start[k] + shift);
        at[valid] = k;
        valid += (uint)(py[k] + ty) < (uint)in_h & (uint)(px[k] + tx) < (uint)in_w;
    }
    return valid;
}

/* Channels c..c+depth of the listed rows, side by side, then zeros up to a multiple of TM. */
void pack_panel(global const ACT *const *row, int count, int c, int depth, float *panel) {
    const int padded = (depth + TM - 1) / TM * TM, whole = depth / TN * TN;
    for (int j = 0; j < count; j++) {
        for (int i = 0; i < whole; i += TN) STORE(LOAD_ACT(row[j] + (c + i)), panel + j * PITCH + i);
        for (int i = whole; i < padded; i++) panel[j * PITCH + i] = i < depth ? LOAD_ACT1(row[j] + (c + i)) : 0.0f;
    }
}
#endif

/* The sums over one share of the pixels: partial[group][block][split][rows + 1][TN], rows = taps*group_in in the order
 * (tap, c); the last row is the bias's. An item computes `bunch` blocks of outputs, one split, and one of `ranges`
 * ranges of `span` channels (PATCH: all), chunk by chunk of at most KB pixels: packs their dy, lists for each tap the
 * pixels that it finds inside the image, packs their x strip by strip, and multiplies in tiles of TM channels by TN
 * outputs. */
kernel void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                    struct sizes s, struct axis down, struct axis across, int together, int blocks, int bunch,
                    int splits, int ranges, int span) {
    const int block = get_global_id(0) * bunch, split = get_global_id(1);
    const int group = get_global_id(2) / ranges, range = get_global_id(2) % ranges;
    if (block >= blocks || split >= splits || group * s.group_in >= s.in_c) return;
    const int group_in = s.group_in, kernel_w = across.taps, taps = down.taps * kernel_w;
    const int rows = taps * group_in, pixels = s.images * s.out_h * s.out_w, many = min(bunch, blocks - block);
    const int share = (pixels + splits - 1) / splits, chunks = (share + KB - 1) / KB;
    const int chunk = (share + chunks - 1) / chunks;
    const int begin = (int)min((long)split * share, (long)pixels), end = begin + min(share, pixels - begin);
    const size_t block_step = (size_t)splits * (rows + 1) * TN;
    global float *sums = partial + ((size_t)group * blocks + block) * block_step + (size_t)split * (rows + 1) * TN;
    x += (size_t)group * group_in;
    dy += (size_t)group * s.group_out + (size_t)block * TN;

    vec gradient[BUNCH * KB], bias[BUNCH];
    short at[KB];
    struct ahead next;
    next.lines = many, next.lines_x = 0;
    for (int b = 0; b < many; b++) bias[b] = (vec)(0.0f);
#if PATCH
    const int pitch = (PATCH + TM - 1) / TM * TM;
    float panel[KB * ((PATCH + TM - 1) / TM * TM)];
    for (int k = 0; k < KB; k++)
        for (int i = PATCH; i < pitch; i++) panel[k * pitch + i] = 0.0f;
#else
    float panel[KB * PITCH];
    global const ACT *row[KB];
    long start[KB];
    int py[KB], px[KB];
    const int c_begin = range * span, c_end = min(c_begin + span, group_in);
    next.lines_x = (c_end - c_begin + TN - 1) / TN;
#endif

    struct place out = place_of(begin, s.images, together, s.out_h, s.out_w);
    for (int p = begin; p == begin || p < end; p += chunk) { // at least once: an empty share has zeros
        const int count = min(chunk, end - p);
        const long ahead = chunk / out.here; // pixels of an image: those of the next chunk
        next.by_dy = ahead * s.out_c, next.line = 0;
#if !PATCH
        next.by_x = ahead * across.in_step * s.in_c + c_begin;
#endif
        for (int k = 0; k < count; k++, out = next_place(out, s.images, together, s.out_h, s.out_w)) {
            const int n = out.first + out.n, y = out.y * down.in_step + down.in_first,
                      x0 = out.x * across.in_step + across.in_first;
            global const ACT *from = dy + (((size_t)n * s.out_h + out.y) * s.out_w + out.x) * s.out_c;
            next.dy[k] = from;
            for (int b = 0; b < many; b++) {
                gradient[b * KB + k] = load_some(from + b * TN, s.group_out - (block + b) * TN);
                bias[b] += gradient[b * KB + k];
            }
#if PATCH
            at[k] = k;
            gather(x, panel + k * pitch, n, y, x0, s.in_h, s.in_w, s.in_c, group_in, down.taps, kernel_w, down.tap_step,
                   across.tap_step);
#else
            py[k] = y, px[k] = x0;
            start[k] = (((long)n * s.in_h + y) * s.in_w + x0) * s.in_c;
            next.x[k] = x + max(start[k], 0L);
#endif
        }
#if PATCH
        add_products(panel, pitch, PATCH, gradient, at, count, sums, block_step, many, p == begin, &next);
#else
        for (int tap = 0; tap < taps; tap++) {
            const int valid = list_inside(x, start, py, px, count, tap / kernel_w * down.tap_step,
                                          tap % kernel_w * across.tap_step, s.in_h, s.in_w, s.in_c, row, at);
            if (valid == 0 && p != begin) continue;
            for (int c = c_begin; c < c_end; c += STRIP) {
                const int depth = min(STRIP, c_end - c);
                pack_panel(row, valid, c, depth, panel);
                add_products(panel, PITCH, depth, gradient, at, valid, sums + ((size_t)tap * group_in + c) * TN,
                             block_step, many, p == begin, &next);
            }
        }
#endif
    }
    if (range == 0)
        for (int b = 0; b < many; b++) STORE(bias[b], sums + b * block_step + (size_t)rows * TN);
}
#endif
#endif
