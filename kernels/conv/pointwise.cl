/* Convolution by one tap without padding in one group: a matrix product of pixels and weights, without copies.
 *
 *   y[p, o] = bias[o] + sum over c of x[pixel of p, c] w[o, c]
 *
 * forwards, and with stride 1 the data gradient, whose pixels are dy's. Activations are NHWC; weights are packed as the
 * direct engine's (conv/direct.cl), [block of TN outputs][channel][TN], zeros beyond the last output, and the sums run
 * in its order, so that both give the same bits. Written for work-groups of one item.
 *
 *  TM          pixels of the register tile, as tile.h has them
 *  TN          outputs of a block: 16
 *  BLOCKS      blocks that the register tile is wide: 1 or 2 (1; 1 with DEEP). Fewer rows then fill as many registers:
 *              rows that lie a power of two apart share lines of the first cache, which holds eight of them
 *  DEEP        0: an item's tiles one after the other, each with all its blocks (0); else so many tiles at a time,
 *              block by block and CHUNK channels of it at a time, whose weights stay close while the tiles pass
 *  CHUNK       channels
 *  ACTIVATION  what the forward pass applies to its results: 0 none (0), 1 relu, 2 relu6
 *  STRIDED     1: the pixels of x are apart; 0: those of the result (0)
 *  WIDE        1: x is of floats, whatever ACT_TYPE (0)
 */
#if !defined(TM) || !defined(TN)
#error "conv/pointwise.cl needs TM and TN"
#endif
#ifndef BLOCKS
#define BLOCKS 1
#endif
#ifndef DEEP
#define DEEP 0
#endif
#ifndef STRIDED
#define STRIDED 0
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
#include "conv/edge.h"

struct product { // of the host's too (host/ops/conv/pointwise.c)
    int pixels, depth, outputs, blocks, bunch, strip, blocks_first;
    int out_h, out_w, in_h, in_w, step_y, step_x; // STRIDED
    int begin;                                    // out and added have the pixels from this one on
};

/* Where x has the pixel p of the result. */
size_t pixel_of(int p, struct product s) {
#if STRIDED
    const int row = p / s.out_w, n = row / s.out_h, y = row - n * s.out_h, x = p - row * s.out_w;
    return ((size_t)n * s.in_h + y * s.step_y) * s.in_w + x * s.step_x;
#else
    return p;
#endif
}

/* An item computes `strip` tiles of pixels by `bunch` blocks of outputs. blocks_first: dimension 0 counts the bunches
 * and dimension 1 the strips; else the other way round. adds other than 0: `added`, of the result's shape and perhaps
 * the result itself, is added before the activation. */
kernel void multiply(global const IN *restrict x, global const float *restrict packed,
                     global const float *restrict bias, global ACT *out, global const ACT *added, struct product s,
                     int has_bias, int adds) {
    const int pixels = s.pixels, depth = s.depth, outputs = s.outputs;
    const int outer = get_global_id(1), inner = get_global_id(0);
    const int block0 = (s.blocks_first ? inner : outer) * s.bunch, block1 = min(block0 + s.bunch, s.blocks);
    const long first = (long)(s.blocks_first ? outer : inner) * s.strip * TM;
    const int end = (int)min(first + (long)s.strip * TM, (long)pixels);
    out += (size_t)s.begin * outputs;
    added += (size_t)s.begin * outputs;
#define PLACE(i) global const IN *a##i = x + pixel_of(min(p + i, pixels - 1), s) * depth;
#define CLEAR(i) vec sum##i = (vec)(0.0f);
#define CLEAR_NEXT(i) vec next##i = (vec)(0.0f);
#define MULTIPLY(i) sum##i = FMA((vec)(LOAD_IN1(a##i + k)), line, sum##i);
#define MULTIPLY_NEXT(i) next##i = FMA((vec)(LOAD_IN1(a##i + k)), after, next##i);
#define FINISH_AS(i, sum, b)                                                                                           \
    if (p + i < end) {                                                                                                 \
        const size_t at = (size_t)(p + i) * outputs + (b)*TN;                                                          \
        store_some(sum##i + more, out + at, added + at, outputs - (b)*TN, adds);                                       \
    }
#define FINISH(i) FINISH_AS(i, sum, block)
#define FINISH_NEXT(i) FINISH_AS(i, next, block + 1)
#define BIAS(b) has_bias ? load_some(bias + (b)*TN, outputs - (b)*TN) : (vec)(0.0f)
#if DEEP
    vec parts[DEEP * TM];
    for (int begin = (int)first; begin < end; begin += DEEP * TM)
        for (int block = block0; block < block1; block++) {
            const vec more = BIAS(block);
            for (int k0 = 0; k0 < depth; k0 += CHUNK) {
                const int k1 = min(k0 + CHUNK, depth);
                vec *part = parts;
                for (int p = begin; p < min(begin + DEEP * TM, end); p += TM, part += TM) {
                    global const float *w = packed + ((size_t)block * depth + k0) * TN;
#define RESUME(i) vec sum##i = k0 ? part[i] : (vec)(0.0f);
#define KEEP(i) part[i] = sum##i;
                    EACH_ROW(PLACE)
                    EACH_ROW(RESUME)
                    for (int k = k0; k < k1; k++, w += TN) {
                        const vec line = LOAD(w);
                        EACH_ROW(MULTIPLY)
                    }
                    if (k1 == depth) {
                        EACH_ROW(FINISH)
                    } else {
                        EACH_ROW(KEEP)
                    }
                }
            }
        }
#else
    enum { LINE = 16, STEP = 2 * LINE };
    const size_t later = (size_t)TM * (STRIDED ? s.step_x : 1) * depth;
    for (int p = (int)first; p < end; p += TM) {
        EACH_ROW(PLACE)
        for (int block = block0; block < block1; block += BLOCKS) {
            global const float *w = packed + (size_t)block * depth * TN;
            EACH_ROW(CLEAR)
#define FETCH_ADDED(i) FETCH(added + ((size_t)min(p + i, end - 1) * outputs + block * TN));
            EACH_ROW(FETCH_ADDED)
/* The rows of the next tile, as far as this one is: short rows side by side are no order that hardware foresees. */
#define FETCH_LATER(i)                                                                                                 \
    FETCH(a##i + later + k0);                                                                                          \
    FETCH(a##i + later + k0 + LINE);
#if BLOCKS == 2
            if (block + 1 < block1) {
#define FETCH_NEXT(i) FETCH(added + ((size_t)min(p + i, end - 1) * outputs + (block + 1) * TN));
                EACH_ROW(FETCH_NEXT)
                EACH_ROW(CLEAR_NEXT)
                for (int k0 = 0; k0 < depth; k0 += STEP) {
                    if (block == block0) {
                        EACH_ROW(FETCH_LATER)
                    }
                    for (int k = k0; k < min(k0 + STEP, depth); k++, w += TN) {
                        const vec line = LOAD(w), after = LOAD(w + (size_t)depth * TN);
                        EACH_ROW(MULTIPLY)
                        EACH_ROW(MULTIPLY_NEXT)
                    }
                }
                const vec more = BIAS(block + 1);
                EACH_ROW(FINISH_NEXT)
            } else
#endif
                for (int k0 = 0; k0 < depth; k0 += STEP) {
                    if (block == block0) {
                        EACH_ROW(FETCH_LATER)
                    }
                    for (int k = k0; k < min(k0 + STEP, depth); k++, w += TN) {
                        const vec line = LOAD(w);
                        EACH_ROW(MULTIPLY)
                    }
                }
            const vec more = BIAS(block);
            EACH_ROW(FINISH)
        }
    }
#endif
}
