/* The engine tiled (conv/tiled.cl: the same sums, classes and layouts) where activations are stored in 16 bits and
 * their channels come in eights, a group's too: both factors stay in 16 bits in local memory, weights too, and are
 * multiplied by the device's matrix units, or without any (matrix.h); sums are floats. Forward, data gradient, weight
 * gradient; conv/tiles.cl packs the weights and ends the weight gradient.
 *
 * A work-group has WAVES_DOWN by WAVES_ACROSS waves of WAVE items; a wave sums DOWN rows of the tile by ACROSS outputs.
 * It reads what comes next into registers while it multiplies, and of both pieces there are two in local memory. All
 * items of a group go through all its barriers.
 *
 *  UNIT, WAVE, ACT_TYPE  as in matrix.h; required
 *  WAVES_DOWN, WAVES_ACROSS, DOWN, ACROSS  as above; the last two are multiples of matrix.h's FM and FN; required
 *  KC  terms of a sum that are in local memory at a time: 16 or 32, with at least eight values of each factor an item;
 *      required
 */
#include "matrix_tile.h"

#include "conv/sizes.h"

#include "conv/classes.h"

#define LEFT (KC * DEEP / (8 * ITEMS)) // eights of the left factor that an item brings at a time, of the right one
#define RIGHT (KC * OUTS / (8 * ITEMS))

/* --- forward, data gradient ------------------------------------------------------------------- */

/* The arguments are those of conv/tiled.cl; of what finishes a result, bias and accumulation alone are asked of this
 * engine. */
kernel GROUP void convolve(global const ACT *restrict x, global const ACT *restrict packed,
                           global const struct tap_class *restrict classes, global const float *restrict bias,
                           global ACT *restrict out, global const ACT *beside, global float *moments, struct sizes s,
                           int first_class, int blocks, struct finish f) {
    local uint4 a[2 * DEEP * PITCH / 4], b[2 * OUTS * PITCH / 4];
    WHERE
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
    global const uint4 *weights =
        (global const uint4 *)(packed + classes->first + ((size_t)group * blocks + block) * depth * OUTS) + id;

    /* The item brings eight terms from k on of every chunk, for LEFT pixels. Beyond the last pixel it is that one
     * again.
     */
    const int eighth = id % (KC / 8), line0 = id / (KC / 8);
    int c = eighth * 8 % group_in, jx = eighth * 8 / group_in, jy = 0;
    int y[LEFT], x0[LEFT];
    long start[LEFT];
    LOOP for (int r = 0; r < LEFT; r++) {
        const int p = (int)min((long)tile * DEEP + line0 + r * (ITEMS * 8 / KC), (long)pixels - 1);
        const struct place at = place_of(p, down.grid, across.grid);
        y[r] = at.y * down.in_step + down.in_first;
        x0[r] = at.x * across.in_step + across.in_first;
        start[r] = (((long)at.n * s.in_h + y[r]) * s.in_w + x0[r]) * s.in_c;
    }

    sums_part sums[PARTS_DOWN * PARTS_ACROSS];
    CLEAR_SUMS
    uint4 next_a[LEFT], next_b[RIGHT];
    for (int done = 0, now = 0; done <= depth; done += KC, now ^= 1) {
        if (done < depth) {
            for (; jx >= across.taps && jy < down.taps; jx -= across.taps) jy++;
            const bool valid = jy < down.taps;
            const int dy = valid ? jy * down.tap_step : 0, dx = valid ? jx * across.tap_step : 0;
            const long shift = ((long)dy * s.in_w + dx) * s.in_c + c;
            LOOP for (int r = 0; r < LEFT; r++) {
                const bool inside = valid && (uint)(y[r] + dy) < (uint)s.in_h && (uint)(x0[r] + dx) < (uint)s.in_w;
                next_a[r] = inside ? *(global const uint4 *)(x + start[r] + shift) : (uint4)(0u);
            }
            LOOP for (int r = 0; r < RIGHT; r++) next_b[r] = weights[r * ITEMS];
            weights += KC * OUTS / 8;
            for (c += KC; c >= group_in; c -= group_in) jx++;
        }
        if (done > 0) {
            local const uint *from = (local const uint *)(a + (now ^ 1) * (DEEP * PITCH / 4));
            local const uint *with = (local const uint *)(b + (now ^ 1) * (OUTS * PITCH / 4));
            MULTIPLY_PIECE(from, with)
        }
        if (done < depth) {
            LOOP for (int r = 0; r < LEFT; r++) a[(now * DEEP + line0 + r * (ITEMS * 8 / KC)) * (PITCH / 4) + eighth] =
                next_a[r];
            LOOP for (int r = 0; r < RIGHT; r++) b[(now * OUTS + line0 + r * (ITEMS * 8 / KC)) * (PITCH / 4) + eighth] =
                next_b[r];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    /* Where the tile's rows are written; -1: nowhere. */
    local long *places = (local long *)a;
    for (int i = id; i < DEEP; i += ITEMS) {
        const long p = (long)tile * DEEP + i;
        const struct place at = place_of((int)min(p, (long)pixels - 1), down.grid, across.grid);
        const long above = (long)at.n * s.out_h + at.y * down.out_step + down.out_first;
        const long pixel = above * s.out_w + at.x * across.out_step + across.out_first;
        places[i] = p < pixels ? pixel * s.out_c : -1;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    out += (size_t)group * s.group_out;
    if (f.has_bias) bias += group * s.group_out;
    LOOP for (int i = 0; i < PARTS_DOWN; i++) {
        LOOP for (int j = 0; j < PARTS_ACROSS; j++) {
#define WRITE(l, member)                                                                                               \
    {                                                                                                                  \
        const long at = places[FIRST_ROW(i) + SUM_ROW(l) * STEP_DOWN];                                                 \
        const int o = block * OUTS + FIRST_COLUMN(j) + SUM_COLUMN(l) * STEP_ACROSS;                                    \
        if (at >= 0 && o < s.group_out) {                                                                              \
            float value = sums[i * PARTS_ACROSS + j].member;                                                           \
            if (f.has_bias) value += bias[o];                                                                          \
            if (f.accumulate) value += LOAD_ACT1(out + at + o);                                                        \
            STORE_ACT1(value, out + at + o);                                                                           \
        }                                                                                                              \
    }
            EACH_SUM(WRITE)
        }
    }
}

/* --- weight gradient -------------------------------------------------------------------------- */

/* Of two pixels' eight values the pairs of each: lines of a piece from `to` on. */
void put_pairs(uint4 first, uint4 second, local uint *to) {
    const uint4 low = (first & 0xffffu) | second << 16, high = first >> 16 | (second & 0xffff0000u);
    to[0] = low.s0;
    to[PITCH] = high.s0;
    to[2 * PITCH] = low.s1;
    to[3 * PITCH] = high.s1;
    to[4 * PITCH] = low.s2;
    to[5 * PITCH] = high.s2;
    to[6 * PITCH] = low.s3;
    to[7 * PITCH] = high.s3;
}
#if ACT_TYPE == 1
#define ONE 0x3c00u
#else
#define ONE 0x3f80u
#endif

/* The sums over one share of the pixels, as those of conv/tiled.cl. The bias's row is one of the product: what it is
 * multiplied with is 1. An item brings eight rows, and outputs, for two pixels. */
kernel GROUP void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                          struct sizes s, struct axis down, struct axis across, int blocks, int splits, int share) {
    local uint4 a[2 * DEEP * PITCH / 4], b[2 * OUTS * PITCH / 4];
    local uint *a_pairs = (local uint *)a, *b_pairs = (local uint *)b;
    WHERE
    const int block = get_group_id(0) % blocks, tile = get_group_id(0) / blocks;
    const int split = get_group_id(1), group = get_group_id(2);
    const int group_in = s.group_in, kernel_w = across.taps, rows = down.taps * kernel_w * group_in;
    const int pixels = s.images * s.out_h * s.out_w;
    const int begin = (int)min((long)split * share, (long)pixels), end = begin + min(share, pixels - begin);
    x += (size_t)group * group_in;
    dy += (size_t)group * s.group_out;

    /* Where there are more items than eights of lines, some bring nothing. */
    enum { APART = ITEMS * 16 / KC, PIECES_A = (DEEP + APART - 1) / APART, PIECES_B = (OUTS + APART - 1) / APART };
    const int pair = id % (KC / 2), line0 = id / (KC / 2) * 8;
    struct place at[2];
    at[0] = place_of(begin + 2 * pair, s.out_h, s.out_w);
    at[1] = place_of(begin + 2 * pair + 1, s.out_h, s.out_w);
    int ty[PIECES_A], tx[PIECES_A];
    long shift[PIECES_A];
    LOOP for (int r = 0; r < PIECES_A; r++) {
        const int j = tile * DEEP + line0 + r * APART, tap = j / group_in;
        ty[r] = tap / kernel_w * down.tap_step, tx[r] = tap % kernel_w * across.tap_step;
        shift[r] = ((long)ty[r] * s.in_w + tx[r]) * s.in_c + (j - tap * group_in);
    }

    sums_part sums[PARTS_DOWN * PARTS_ACROSS];
    CLEAR_SUMS
    uint4 next_a[2 * PIECES_A], next_b[2 * PIECES_B];
    const int chunks = (end - begin + KC - 1) / KC;
    for (int done = 0, p = begin, now = 0; done <= chunks; done++, p += KC, now ^= 1) {
        if (done < chunks) {
            LOOP for (int h = 0; h < 2; h++) {
                const int pixel = p + 2 * pair + h;
                const int top = at[h].y * down.in_step + down.in_first;
                const int left = at[h].x * across.in_step + across.in_first;
                const long start = (((long)at[h].n * s.in_h + top) * s.in_w + left) * s.in_c;
                LOOP for (int r = 0; r < PIECES_A; r++) {
                    const int line = line0 + r * APART, j = tile * DEEP + line;
                    if (line >= DEEP) continue;
                    const bool inside = pixel < end && j < rows && (uint)(top + ty[r]) < (uint)s.in_h &&
                                        (uint)(left + tx[r]) < (uint)s.in_w;
                    next_a[2 * r + h] = inside ? *(global const uint4 *)(x + start + shift[r])
                                               : (uint4)(pixel < end && j == rows ? ONE : 0u, 0u, 0u, 0u);
                }
                LOOP for (int r = 0; r < PIECES_B; r++) {
                    const int line = line0 + r * APART, o = block * OUTS + line;
                    if (line >= OUTS) continue;
                    const bool inside = pixel < end && o < s.group_out;
                    next_b[2 * r + h] =
                        inside ? *(global const uint4 *)(dy + (size_t)pixel * s.out_c + o) : (uint4)(0u);
                }
                for (at[h].x += KC; at[h].x >= s.out_w; at[h].x -= s.out_w)
                    if (++at[h].y == s.out_h) at[h].y = 0, at[h].n++;
            }
        }
        if (done > 0) {
            local const uint *from = a_pairs + (now ^ 1) * (DEEP * PITCH), *with = b_pairs + (now ^ 1) * (OUTS * PITCH);
            MULTIPLY_PIECE(from, with)
        }
        if (done < chunks) {
            LOOP for (int r = 0; r < PIECES_A; r++) {
                const int line = line0 + r * APART;
                if (line < DEEP)
                    put_pairs(next_a[2 * r], next_a[2 * r + 1], a_pairs + (now * DEEP + line) * PITCH + pair);
            }
            LOOP for (int r = 0; r < PIECES_B; r++) {
                const int line = line0 + r * APART;
                if (line < OUTS)
                    put_pairs(next_b[2 * r], next_b[2 * r + 1], b_pairs + (now * OUTS + line) * PITCH + pair);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const size_t width = (size_t)blocks * OUTS;
    global float *to = partial + ((size_t)group * splits + split) * (rows + 1) * width + block * OUTS;
    LOOP for (int i = 0; i < PARTS_DOWN; i++) {
        LOOP for (int j = 0; j < PARTS_ACROSS; j++) {
#define KEEP(l, member)                                                                                                \
    {                                                                                                                  \
        const int row = tile * DEEP + FIRST_ROW(i) + SUM_ROW(l) * STEP_DOWN;                                           \
        const int column = FIRST_COLUMN(j) + SUM_COLUMN(l) * STEP_ACROSS;                                              \
        if (row <= rows) to[row * width + column] = sums[i * PARTS_ACROSS + j].member;                                 \
    }
            EACH_SUM(KEEP)
        }
    }
}
