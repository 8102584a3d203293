/* Convolution as a product of matrices that are never written out, for devices with local memory: a work-group
 * computes a tile of pixels by output channels and keeps a piece of each factor in local memory. Forward, data
 * gradient, weight gradient, and the packing of weights.
 *
 *   y[n, y, x, o]  = bias[o] + sum over k of x[n, y*stride - padding + ky*dilation, ..., c] w[o, c, tap], k = (tap, c)
 *   dx[n, y, x, c] = sum over taps, o of dy[...] w[o, c, tap]: the same sum over other positions and packed weights
 *   dw[o, c, tap]  = sum over n, y, x of x[shifted by the tap, c] dy[n, y, x, o]
 *
 * Activations are NHWC. Weights come as [O][G][F] (see host/ops/conv/conv.h) and are packed as
 * [group][block of OUTS outputs][k][OUTS], k = tap*channels + c up to a multiple of KC, zeros beyond the last k and
 * output.
 *
 * A work-group has COLS by ROWS items; item (col, row) sums TM rows of the tile by 4 outputs. All items of a group go
 * through all its barriers: the loops around them depend on the arguments alone.
 *
 *  COLS  items of a group along the outputs: 4, 8 or 16; required
 *  ROWS  items of a group along the rows of the tile: 4 to 64, a power of two; required
 *  TM    rows of an item's tile: 4 or 8, no more than COLS (4)
 *  KC    terms of a sum that are in local memory at a time: 8 or 16, divides COLS*ROWS (8)
 *  ACT_TYPE  of activations (vec.h)
 */
#if !defined(COLS) || !defined(ROWS)
#error "conv/tiled.cl needs COLS and ROWS"
#endif
#ifndef TM
#define TM 4
#endif
#ifndef KC
#define KC 8
#endif

#define VEC 4
#include "vec.h"

#include "tile.h"

#include "loop.h"

#include "conv/sizes.h"

#define ITEMS (COLS * ROWS)
#define DEEP (TM * ROWS)          // rows of the tile
#define OUTS (4 * COLS)           // outputs of the tile
#define LOADS (KC * DEEP / ITEMS) // values of the left factor that an item brings to local memory at a time, of the
#define RIGHT (KC * OUTS / ITEMS) // right one
#define GROUP __attribute__((reqd_work_group_size(COLS, ROWS, 1)))

#define CLEAR(i) float4 sum##i = (float4)(0.0f);
#define MULTIPLY(i) sum##i = FMA((float4)(left[i]), line, sum##i);
#define LIST(i) sum##i,

/* --- classes of taps -------------------------------------------------------------------------- */

/* A part of a pass whose results are sums over the same taps: tap (jy, jx) of both axes is the kernel's tap
 * weight_first + j*weight_step of both. The forward pass is one, the data gradient one for each residue of the stride.
 * first: where its weights start in packed, as [group][block of `outs` results][k][outs]. transposed: the sum runs over
 * the outputs and the inputs come out, as in the data gradient. As struct tap_class of host/ops/conv/tiled.c. */
struct tap_class {
    long first;
    struct axis down, across;
    int depth, blocks, outs, transposed;
};

/* --- packing ---------------------------------------------------------------------------------- */

/* The weights of `count` classes from `first` on, to a memory for each of both passes. An item packs one value. */
kernel void pack(global const float *restrict weight, global float *restrict packed, global float *restrict transposed,
                 global const struct tap_class *restrict classes, int first, int count, int group_in, int group_out,
                 int taps, int interleave) {
    size_t at = get_global_id(0), matrix = 0;
    const int group = get_global_id(1);
    int i = first;
    for (; i < first + count; i++, at -= matrix) {
        matrix = (size_t)classes[i].depth * classes[i].blocks * classes[i].outs;
        if (at < matrix) break;
    }
    if (i == first + count) return;
    const struct tap_class c = classes[i];
    const int channels = c.transposed ? group_out : group_in, results = c.transposed ? group_in : group_out;
    const int l = at % c.outs, k = at / c.outs % c.depth, result = (int)(at / c.outs / c.depth) * c.outs + l;
    const int tap = k / channels, channel = k - tap * channels;
    float value = 0.0f;
    if (tap < c.down.taps * c.across.taps && result < results) {
        const int jy = tap / c.across.taps, jx = tap - jy * c.across.taps;
        const int from =
            c.down.weight_first + c.across.weight_first + jy * c.down.weight_step + jx * c.across.weight_step;
        const size_t o = c.transposed ? channel : result, in = c.transposed ? result : channel;
        const size_t features = (size_t)group_in * taps, j = in * taps + from;
        const size_t feature = j % interleave * (features / interleave) + j / interleave;
        value = weight[((size_t)group * group_out + o) * features + feature];
    }
    global float *to = c.transposed ? transposed : packed;
    to[c.first + group * matrix + at] = value;
}

/* --- forward, data gradient ------------------------------------------------------------------- */

/* Pixel p of a grid of images. */
struct place {
    int n, y, x;
};

struct place place_of(int p, int h, int w) {
    struct place at;
    const int row = p / w;
    at.x = p - row * w;
    at.n = row / h;
    at.y = row - at.n * h;
    return at;
}

void store_some(float4 value, global ACT *to, int width, int accumulate) {
    if (width >= 4) {
        if (accumulate) value += LOAD_ACT(to);
        STORE_ACT(value, to);
        return;
    }
    float part[4];
    vstore4(value, 0, part);
    LOOP for (int l = 0; l < 3; l++) if (l < width)
        STORE_ACT1(accumulate ? LOAD_ACT1(to + l) + part[l] : part[l], to + l);
}

/* The groups of dimension 0 count the tiles of DEEP grid positions, class by class, and within one the blocks of
 * outputs. */
kernel GROUP void convolve(global const ACT *restrict x, global const float *restrict packed,
                           global const struct tap_class *restrict classes, global const float *restrict bias,
                           global ACT *restrict out, struct sizes s, int first_class, int blocks, int has_bias,
                           int accumulate) {
    local float a[KC * (DEEP + 1)], b[KC * OUTS]; // one more than DEEP: writers along k then use different banks
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col;
    const int block = get_group_id(0) % blocks, group = get_group_id(2), group_in = s.group_in;
    classes += first_class;
    int tile = get_group_id(0) / blocks, pixels = s.images * classes->down.grid * classes->across.grid;
    for (int left = (pixels + DEEP - 1) / DEEP; tile >= left; left = (pixels + DEEP - 1) / DEEP) {
        tile -= left;
        classes++;
        pixels = s.images * classes->down.grid * classes->across.grid;
    }
    const struct axis down = classes->down, across = classes->across;
    const int depth = classes->depth;
    x += (size_t)group * group_in;
    packed += classes->first + ((size_t)group * blocks + block) * depth * OUTS;

    /* The item brings term k of every chunk, for LOADS pixels. Beyond the last pixel it is that one again. */
    const int k = id % KC, line0 = id / KC;
    int c = k % group_in, jx = k / group_in, jy = 0;
    int y[LOADS], x0[LOADS];
    long start[LOADS];
    LOOP for (int r = 0; r < LOADS; r++) {
        const int p = (int)min((long)tile * DEEP + line0 + r * (ITEMS / KC), (long)pixels - 1);
        const struct place at = place_of(p, down.grid, across.grid);
        y[r] = at.y * down.in_step + down.in_first;
        x0[r] = at.x * across.in_step + across.in_first;
        start[r] = (((long)at.n * s.in_h + y[r]) * s.in_w + x0[r]) * s.in_c;
    }

    EACH_ROW(CLEAR)
    for (int done = 0; done < depth; done += KC, packed += KC * OUTS) {
        for (; jx >= across.taps && jy < down.taps; jx -= across.taps) jy++;
        const bool valid = jy < down.taps;
        const int dy = valid ? jy * down.tap_step : 0, dx = valid ? jx * across.tap_step : 0;
        const long shift = ((long)dy * s.in_w + dx) * s.in_c + c;
        LOOP for (int r = 0; r < LOADS; r++) {
            const bool inside = valid && (uint)(y[r] + dy) < (uint)s.in_h && (uint)(x0[r] + dx) < (uint)s.in_w;
            a[k * (DEEP + 1) + line0 + r * (ITEMS / KC)] = inside ? LOAD_ACT1(x + (start[r] + shift)) : 0.0f;
        }
        LOOP for (int r = 0; r < RIGHT; r++) b[id + r * ITEMS] = packed[id + r * ITEMS];
        barrier(CLK_LOCAL_MEM_FENCE);
        LOOP4 for (int i = 0; i < KC; i++) {
            local const float *left = a + i * (DEEP + 1) + row * TM;
            const float4 line = vload4(col, b + i * OUTS);
            EACH_ROW(MULTIPLY)
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (c += KC; c >= group_in; c -= group_in) jx++;
    }

    const int o = block * OUTS + 4 * col, width = s.group_out - o;
    float more[4];
    LOOP for (int l = 0; l < 4; l++) more[l] = has_bias && l < width ? bias[group * s.group_out + o + l] : 0.0f;
    const float4 sums[TM] = {EACH_ROW(LIST)};
    LOOP for (int i = 0; i < TM; i++) {
        const long p = (long)tile * DEEP + row * TM + i;
        if (p >= pixels) break;
        const struct place at = place_of((int)p, down.grid, across.grid);
        const size_t line = (size_t)at.n * s.out_h + at.y * down.out_step + down.out_first;
        const size_t pixel = line * s.out_w + at.x * across.out_step + across.out_first;
        store_some(sums[i] + vload4(0, more), out + pixel * s.out_c + (size_t)group * s.group_out + o, width,
                   accumulate);
    }
}

/* --- weight gradient -------------------------------------------------------------------------- */

/* The sums over one share of the pixels: partial[group][split][rows + 1][blocks*OUTS], rows = taps*group_in in the
 * order (tap, c); the last row is the bias's. The groups of dimension 0 count the tiles of DEEP rows, and within one
 * the blocks of outputs; those of dimension 1 the splits, of `share` pixels each, a multiple of KC. */
kernel GROUP void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                          struct sizes s, struct axis down, struct axis across, int blocks, int splits, int share) {
    local float a[KC * DEEP], b[KC * OUTS];
    local int y[2 * KC], x0[2 * KC]; // of the chunk being read, and of the next: the input position of
    local long start[2 * KC];        // each pixel's first tap, and its element of x
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col;
    const int block = get_group_id(0) % blocks, tile = get_group_id(0) / blocks;
    const int split = get_group_id(1), group = get_group_id(2);
    const int group_in = s.group_in, kernel_w = across.taps, rows = down.taps * kernel_w * group_in;
    const int pixels = s.images * s.out_h * s.out_w;
    const int begin = (int)min((long)split * share, (long)pixels), end = begin + min(share, pixels - begin);
    x += (size_t)group * group_in;
    dy += (size_t)group * s.group_out + (size_t)block * OUTS;

    /* The item brings one row of the tile, for LOADS pixels of every chunk. */
    const int j = tile * DEEP + id % DEEP, tap = j / group_in;
    const int ty = j < rows ? tap / kernel_w * down.tap_step : 0, tx = j < rows ? tap % kernel_w * across.tap_step : 0;
    const long shift = ((long)ty * s.in_w + tx) * s.in_c + (j - tap * group_in);

    EACH_ROW(CLEAR)
    float4 bias = (float4)(0.0f);
    /* The round before the first only finds the positions. */
    for (int p = begin - KC, now = 1; p < end; p += KC, now ^= 1) {
        if (id < KC) {
            const int next = p + KC + id, to = (now ^ 1) * KC + id;
            const struct place at = place_of(min(next, pixels - 1), s.out_h, s.out_w);
            const int top = at.y * down.in_step + down.in_first, left = at.x * across.in_step + across.in_first;
            y[to] = next < end ? top : s.in_h; // every tap is then outside
            x0[to] = left;
            start[to] = (((long)at.n * s.in_h + top) * s.in_w + left) * s.in_c;
        }
        if (p >= begin) {
            LOOP for (int r = 0; r < LOADS; r++) {
                const int i = id / DEEP + r * (ITEMS / DEEP), from = now * KC + i;
                const bool inside =
                    j < rows && (uint)(y[from] + ty) < (uint)s.in_h && (uint)(x0[from] + tx) < (uint)s.in_w;
                a[i * DEEP + id % DEEP] = inside ? LOAD_ACT1(x + (start[from] + shift)) : 0.0f;
            }
            LOOP for (int r = 0; r < RIGHT; r++) {
                const int i = id + r * ITEMS;
                const bool inside = p + i / OUTS < end && block * OUTS + i % OUTS < s.group_out;
                b[i] = inside ? LOAD_ACT1(dy + ((size_t)(p + i / OUTS) * s.out_c + i % OUTS)) : 0.0f;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (p >= begin) {
            LOOP4 for (int i = 0; i < KC; i++) {
                local const float *left = a + i * DEEP + row * TM;
                const float4 line = vload4(col, b + i * OUTS);
                EACH_ROW(MULTIPLY)
                bias += line;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const size_t width = (size_t)blocks * OUTS;
    global float *to = partial + ((size_t)group * splits + split) * (rows + 1) * width + block * OUTS + 4 * col;
    const int first = tile * DEEP + row * TM;
    const float4 sums[TM] = {EACH_ROW(LIST)};
    LOOP for (int i = 0; i < TM && first + i < rows; i++) vstore4(sums[i], 0, to + (first + i) * width);
    if (first == 0) vstore4(bias, 0, to + rows * width);
}

/* Sums the splits in order and writes [O][G][F], and dbias where has_bias. An item takes one output of one row. */
kernel void reduce(global const float *restrict partial, global float *restrict dweight, global float *restrict dbias,
                   int group_in, int group_out, int taps, int interleave, int blocks, int splits, int has_bias) {
    const size_t width = (size_t)blocks * OUTS, features = (size_t)group_in * taps, at = get_global_id(0);
    const size_t group = get_global_id(1), row = at / width, l = at % width, o = group * group_out + l;
    if (row > features || l >= group_out || (row == features && !has_bias)) return;
    global const float *from = partial + group * splits * (features + 1) * width + at;
    float sum = 0.0f;
    for (int s = 0; s < splits; s++) sum += from[s * (features + 1) * width];
    if (row == features) {
        dbias[o] = sum;
        return;
    }
    const size_t j = row % group_in * taps + row / group_in;
    dweight[o * features + j % interleave * (features / interleave) + j / interleave] = sum;
}
