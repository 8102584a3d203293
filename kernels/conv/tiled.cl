/* Convolution as a product of matrices that are never written out, for devices with local memory: a work-group
 * computes a tile of pixels by output channels and keeps a piece of each factor in local memory. Forward, data
 * gradient, weight gradient; conv/tiles.cl packs the weights and ends the weight gradient.
 *
 *   y[n, y, x, o]  = bias[o] + sum over k of x[n, y*stride - padding + ky*dilation, ..., c] w[o, c, tap], k = (tap, c)
 *   dx[n, y, x, c] = sum over taps, o of dy[...] w[o, c, tap]: the same sum over other positions and packed weights
 *   dw[o, c, tap]  = sum over n, y, x of x[shifted by the tap, c] dy[n, y, x, o]
 *
 * Activations are NHWC. Weights come as [O][G][F] (see host/ops/conv/conv.h) and are packed as
 * [group][block of OUTS outputs][k][OUTS], k = tap*channels + c up to a multiple of KC, zeros beyond the last k and
 * output.
 *
 * A work-group has COLS by ROWS items; item (col, row) sums TM rows of the tile by TN outputs, in fours that lie 4*COLS
 * apart. It reads what comes next into registers while it multiplies, and of both pieces there are two in local memory:
 * one is read while the other is written. All items of a group go through all its barriers: the loops around them
 * depend on the arguments alone. Where tiles are few, SPLIT parts of a group, each of COLS by ROWS items with pieces of
 * their own, share the terms of a convolution's sums and add up in the end, in order.
 *
 *  COLS  items of a group along the outputs; required
 *  ROWS  items of a group along the rows of the tile; required
 *  TM    rows of an item's tile: 4 or 8; required
 *  TN    outputs of an item's tile: 4 or 8; required
 *  KC    terms of a sum that are in local memory at a time: 8 or 16, with at least four values of each factor an item;
 *        required
 *  SPLIT  parts of a group of convolve: 1 (1), 2 or 4; more than one with TN 4 alone
 *  IN4   whether channels of what is read are multiples of four, of a group too (0)
 *  OUT4  the same of what is written, as in conv/finish.h (0)
 *  ACT_TYPE   as in vec.h
 *  MOMENTS    1: a convolution tells the moments of what it writes (0)
 */
#if !defined(COLS) || !defined(ROWS) || !defined(TM) || !defined(TN) || !defined(KC)
#error "conv/tiled.cl needs COLS, ROWS, TM, TN and KC"
#endif
#ifndef SPLIT
#define SPLIT 1
#endif
#ifndef IN4
#define IN4 0
#endif
#ifndef OUT4
#define OUT4 0
#endif
#ifndef MOMENTS
#define MOMENTS 0
#endif
#define VEC 4
#include "activation.h"
#include "loop.h"
#include "tile.h"

#include "conv/sizes.h"

#include "conv/classes.h"

#define ITEMS (COLS * ROWS)
#define DEEP (TM * ROWS) // rows of the tile
#define OUTS (TN * COLS) // outputs of the tile
#define GROUP(parts) LANES16 __attribute__((reqd_work_group_size(COLS, ROWS, parts)))

/* Of the left factor an item reads LEFT times four values side by side, or one. */
#if IN4
#define AT_ONCE 4
typedef float4 some;
#define LOAD_SOME(p) LOAD_ALIGNED(p)
#else
#define AT_ONCE 1
typedef float some;
#define LOAD_SOME(p) LOAD_ACT1(p)
#endif
#define LEFT (KC * DEEP / (ITEMS * AT_ONCE))
#define RIGHT (KC * OUTS / (ITEMS * 4)) // fours of the right factor

/* Item's rows and outputs of one term. */
#if TM == 8
typedef float8 rows_vec;
#define ROWS_AT(p) (rows_vec)((p)[0], (p)[1])
#else
typedef float4 rows_vec;
#define ROWS_AT(p) (p)[0]
#endif
#if TN == 8
typedef float8 line_vec;
#define LINE_AT(p) (line_vec)((p)[0], (p)[COLS])
#else
typedef float4 line_vec;
#define LINE_AT(p) (p)[0]
#endif
#define CLEAR(i) line_vec sum##i = (line_vec)(0.0f);
#define MULTIPLY(i) sum##i = FMA((line_vec)(left.s##i), right, sum##i);
#define LIST(i) sum##i,
/* The terms of a piece; pitch: fours from term to term of the left factor. */
#define MULTIPLY_PIECE(a, pitch, b)                                                                                    \
    LOOP_TERMS for (int i = 0; i < KC; i++) {                                                                          \
        const rows_vec left = ROWS_AT((a) + i * (pitch) + row * (TM / 4));                                             \
        const line_vec right = LINE_AT((b) + i * (OUTS / 4) + col);                                                    \
        EACH_ROW(MULTIPLY)                                                                                             \
    }

/* --- forward, data gradient ------------------------------------------------------------------- */

#include "conv/finish.h"

#if SPLIT > 1
/* A row's sums of all parts to the first one. */
#define ADD_PARTS(i)                                                                                                   \
    a[part * ITEMS + id] = sum##i;                                                                                     \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                                      \
    if (part == 0) {                                                                                                   \
        LOOP for (int other = 1; other < SPLIT; other++) sum##i += a[other * ITEMS + id];                              \
    }                                                                                                                  \
    barrier(CLK_LOCAL_MEM_FENCE);
#endif

/* The groups of dimension 0 count the tiles of DEEP grid positions, class by class, and within one the blocks of
 * outputs. */
kernel GROUP(SPLIT) void convolve(global const ACT *restrict x, global const float *restrict packed,
                                  global const struct tap_class *restrict classes, global const float *restrict bias,
                                  global ACT *out, global const ACT *beside, global float *moments, struct sizes s,
                                  int first_class, int blocks, struct finish f) {
    enum { PITCH = DEEP / 4 + 1 }; // one more: writers along the terms then use different banks
    local float4 a[SPLIT * 2 * KC * PITCH], b[SPLIT * 2 * KC * OUTS / 4];
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col;
    const int part = SPLIT > 1 ? get_local_id(2) : 0;
    local float4 *own_a = a + part * (2 * KC * PITCH), *own_b = b + part * (2 * KC * OUTS / 4);
    local float *a_values = (local float *)own_a;
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
    global const float4 *weights = (global const float4 *)packed + part * (KC * OUTS / 4) + id;

    /* The item brings the terms from k on of every chunk of its part, for LEFT pixels. Beyond the last pixel it is that
     * one again. */
    const int k = id % (KC / AT_ONCE) * AT_ONCE, line0 = id / (KC / AT_ONCE), begin = part * KC + k;
    int c = begin % group_in, jx = begin / group_in, jy = 0;
    int y[LEFT], x0[LEFT];
    long start[LEFT];
    LOOP for (int r = 0; r < LEFT; r++) {
        const int p = (int)min((long)tile * DEEP + line0 + r * (ITEMS * AT_ONCE / KC), (long)pixels - 1);
        const struct place at = place_of(p, down.grid, across.grid);
        y[r] = at.y * down.in_step + down.in_first;
        x0[r] = at.x * across.in_step + across.in_first;
        start[r] = (((long)at.n * s.in_h + y[r]) * s.in_w + x0[r]) * s.in_c;
    }

    EACH_ROW(CLEAR)
    some next_a[LEFT];
    float4 next_b[RIGHT];
    const int rounds = (depth + SPLIT * KC - 1) / (SPLIT * KC);
    for (int done = 0, now = 0; done <= rounds; done++, now ^= 1) {
        if (done < rounds) {
            for (; jx >= across.taps && jy < down.taps; jx -= across.taps) jy++;
            const bool valid = jy < down.taps;
            const int dy = valid ? jy * down.tap_step : 0, dx = valid ? jx * across.tap_step : 0;
            const long shift = ((long)dy * s.in_w + dx) * s.in_c + c;
            LOOP for (int r = 0; r < LEFT; r++) {
                const bool inside = valid && (uint)(y[r] + dy) < (uint)s.in_h && (uint)(x0[r] + dx) < (uint)s.in_w;
                next_a[r] = inside ? LOAD_SOME(x + start[r] + shift) : (some)(0.0f);
            }
            const bool more = SPLIT == 1 || (done * SPLIT + part) * KC < depth;
            LOOP for (int r = 0; r < RIGHT; r++) next_b[r] = more ? weights[r * ITEMS] : (float4)(0.0f);
            weights += SPLIT * (KC * OUTS / 4);
            for (c += SPLIT * KC; c >= group_in; c -= group_in) jx++;
        }
        if (done > 0) {
            local const float4 *from = own_a + (now ^ 1) * KC * PITCH, *with = own_b + (now ^ 1) * (KC * OUTS / 4);
            MULTIPLY_PIECE(from, PITCH, with)
        }
        if (done < rounds) {
            LOOP for (int r = 0; r < LEFT; r++) {
                local float *to = a_values + (now * KC + k) * 4 * PITCH + line0 + r * (ITEMS * AT_ONCE / KC);
#if IN4
                to[0] = next_a[r].s0;
                to[4 * PITCH] = next_a[r].s1;
                to[8 * PITCH] = next_a[r].s2;
                to[12 * PITCH] = next_a[r].s3;
#else
                to[0] = next_a[r];
#endif
            }
            LOOP for (int r = 0; r < RIGHT; r++) own_b[now * (KC * OUTS / 4) + id + r * ITEMS] = next_b[r];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

#if SPLIT > 1
    EACH_ROW(ADD_PARTS) // what was in `a` was read
#endif
    const line_vec sums[TM] = {EACH_ROW(LIST)};
    const int first = block * OUTS + 4 * col;
    if (f.has_bias) bias += group * s.group_out;
    LOOP for (int h = 0; h < TN / 4; h++) {
        const int o = first + h * 4 * COLS, width = s.group_out - o;
        const float4 more = f.has_bias ? load_bias(bias + o, width) : (float4)(0.0f);
        float4 results[TM];
#if TN == 8
        LOOP for (int i = 0; i < TM; i++) results[i] = (h ? sums[i].hi : sums[i].lo) + more;
#else
        LOOP for (int i = 0; i < TM; i++) results[i] = sums[i] + more;
#endif
#if MOMENTS
        /* Of the tile's pixels, a chunk, mean and sum of squares of differences from it, by channel: (tiles, 2, C). The
         * mean is summed from the tile's first pixel. */
        const int line = row * TM, count = (int)min((long)DEEP, pixels - (long)tile * DEEP);
        barrier(CLK_LOCAL_MEM_FENCE); // what was in `a` was read
        own_a[row * COLS + col] = results[0];
        barrier(CLK_LOCAL_MEM_FENCE);
        const float4 origin = own_a[col];
        float4 sum = (float4)(0.0f), square = (float4)(0.0f);
        LOOP for (int i = 0; i < TM; i++) sum += line + i < count ? results[i] - origin : (float4)(0.0f);
        const float4 centre = origin + sum_rows(sum, own_a, col, row) / (float)count;
        LOOP for (int i = 0; i < TM; i++) {
            const float4 d = line + i < count ? results[i] - centre : (float4)(0.0f);
            square = FMA(d, d, square);
        }
        square = sum_rows(square, own_a, col, row);
        if (f.moments && row == 0 && part == 0) {
            global float *to = moments + (size_t)tile * 2 * s.out_c + group * s.group_out + o;
            put_moments(centre, to, width);
            put_moments(square, to + s.out_c, width);
        }
#endif
        LOOP for (int i = 0; i < TM; i++) {
            const long p = (long)tile * DEEP + row * TM + i;
            if (p >= pixels || part > 0) continue;
            const struct place at = place_of((int)p, down.grid, across.grid);
            const size_t above = (size_t)at.n * s.out_h + at.y * down.out_step + down.out_first;
            const size_t pixel = above * s.out_w + at.x * across.out_step + across.out_first;
            const size_t to = pixel * s.out_c + (size_t)group * s.group_out + o;
            store_some(finish_some(results[i], out + to, beside + to, width, f), out + to, width);
        }
    }
}

/* --- weight gradient -------------------------------------------------------------------------- */

#if OUT4
#define OUT_AT_ONCE 4
typedef float4 some_out;
#define LOAD_OUT(p) LOAD_ALIGNED(p)
#else
#define OUT_AT_ONCE 1
typedef float some_out;
#define LOAD_OUT(p) LOAD_ACT1(p)
#endif
#define GRADIENTS (KC * OUTS / (ITEMS * OUT_AT_ONCE))

/* The sums over one share of the pixels: partial[group][split][rows + 1][blocks*OUTS], rows = taps*group_in in the
 * order (tap, c); the last row is the bias's. The groups of dimension 0 count the tiles of DEEP rows, and within one
 * the blocks of outputs; those of dimension 1 the splits, of `share` pixels each. */
kernel GROUP(1) void weights(global const ACT *restrict x, global const ACT *restrict dy,
                             global float *restrict partial, struct sizes s, struct axis down, struct axis across,
                             int blocks, int splits, int share) {
    local float4 a[2 * KC * DEEP / 4], b[2 * KC * OUTS / 4];
    local some *a_some = (local some *)a;
    local some_out *b_some = (local some_out *)b;
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col;
    const int block = get_group_id(0) % blocks, tile = get_group_id(0) / blocks;
    const int split = get_group_id(1), group = get_group_id(2);
    const int group_in = s.group_in, kernel_w = across.taps, rows = down.taps * kernel_w * group_in;
    const int pixels = s.images * s.out_h * s.out_w;
    const int begin = (int)min((long)split * share, (long)pixels), end = begin + min(share, pixels - begin);
    x += (size_t)group * group_in;
    dy += (size_t)group * s.group_out;

    /* The item brings the rows from j on of the tile, for LEFT pixels of every chunk, and the outputs from o on. */
    const int lane = id % (DEEP / AT_ONCE), below = id / (DEEP / AT_ONCE), step = ITEMS * AT_ONCE / DEEP;
    const int j = tile * DEEP + lane * AT_ONCE, tap = j / group_in;
    const int ty = j < rows ? tap / kernel_w * down.tap_step : 0, tx = j < rows ? tap % kernel_w * across.tap_step : 0;
    const long shift = ((long)ty * s.in_w + tx) * s.in_c + (j - tap * group_in);
    struct place at = place_of(begin + below, s.out_h, s.out_w); // of the next of its pixels, `step` apart
    const int out_lane = id % (OUTS / OUT_AT_ONCE), out_below = id / (OUTS / OUT_AT_ONCE);
    const int out_step = ITEMS * OUT_AT_ONCE / OUTS, o = block * OUTS + out_lane * OUT_AT_ONCE;

    EACH_ROW(CLEAR)
    some_out bias = (some_out)(0.0f); // of the outputs that the item brings
    some next_a[LEFT];
    some_out next_b[GRADIENTS];
    const int chunks = (end - begin + KC - 1) / KC;
    for (int done = 0, p = begin, now = 0; done <= chunks; done++, p += KC, now ^= 1) {
        if (done < chunks) {
            LOOP for (int r = 0; r < LEFT; r++) {
                const int top = at.y * down.in_step + down.in_first, left = at.x * across.in_step + across.in_first;
                const bool inside = j < rows && p + below + r * step < end && (uint)(top + ty) < (uint)s.in_h &&
                                    (uint)(left + tx) < (uint)s.in_w;
                const long pixel = ((long)at.n * s.in_h + top) * s.in_w + left;
                next_a[r] = inside ? LOAD_SOME(x + pixel * s.in_c + shift) : (some)(0.0f);
                for (at.x += step; at.x >= s.out_w; at.x -= s.out_w)
                    if (++at.y == s.out_h) at.y = 0, at.n++;
            }
            LOOP for (int r = 0; r < GRADIENTS; r++) {
                const int pixel = p + out_below + r * out_step;
                const bool inside = pixel < end && o < s.group_out;
                next_b[r] = inside ? LOAD_OUT(dy + (size_t)pixel * s.out_c + o) : (some_out)(0.0f);
            }
        }
        if (done > 0) {
            local const float4 *from = a + (now ^ 1) * (KC * DEEP / 4), *with = b + (now ^ 1) * (KC * OUTS / 4);
            MULTIPLY_PIECE(from, DEEP / 4, with)
        }
        if (done < chunks) {
            LOOP for (int r = 0; r < LEFT; r++) a_some[now * (KC * DEEP / AT_ONCE) + id + r * ITEMS] = next_a[r];
            LOOP for (int r = 0; r < GRADIENTS; r++) {
                b_some[now * (KC * OUTS / OUT_AT_ONCE) + id + r * ITEMS] = next_b[r];
                bias += next_b[r];
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const size_t width = (size_t)blocks * OUTS;
    global float *to = partial + ((size_t)group * splits + split) * (rows + 1) * width + block * OUTS + 4 * col;
    const int first = tile * DEEP + row * TM;
#if TN == 8
#define PUT(value, at)                                                                                                 \
    {                                                                                                                  \
        *(global float4 *)(at) = value.lo;                                                                             \
        *(global float4 *)((at) + 4 * COLS) = value.hi;                                                                \
    }
#else
#define PUT(value, at) *(global float4 *)(at) = value;
#endif
#define PUT_ROW(i)                                                                                                     \
    if (first + i < rows) PUT(sum##i, to + (first + i) * width)
    EACH_ROW(PUT_ROW)
    b_some[id] = bias;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (tile > 0 || id >= OUTS / OUT_AT_ONCE) return;
    LOOP for (int i = 1; i < ITEMS * OUT_AT_ONCE / OUTS; i++) bias += b_some[id + i * (OUTS / OUT_AT_ONCE)];
    ((global some_out *)(to - 4 * col + rows * width))[id] = bias;
}
