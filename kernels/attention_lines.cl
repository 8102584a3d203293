/* Attention over heads (attention.cl has the formulas, the layouts and what each kernel computes), for CPUs: an item
 * takes blocks of TM tokens, whose scores with all others lie in a scratch of its own, (2, TM, lines) floats, and then
 * TM rows of HEAD floats, twice: memory in proportion to T.
 *   turn      channels `offset` on of the tokens, `step` apart, turned: (N, heads, HEAD, lines), `lines` T up to a
 * multiple of 16, zeros beyond; what rows are multiplied with
 *
 *   HEAD    channels of a head; required
 *   CAUSAL  1: a token sees itself and those before it (0)
 *   VEC     divides HEAD; required
 *   TM      tokens of a block (tile.h); required
 *   STRIPS  vectors of a line that are computed side by side where there are as many: 1 or 2 (1)
 */
#ifndef STRIPS
#define STRIPS 1
#endif
#ifndef CAUSAL
#define CAUSAL 0
#endif
#include "fetch.h"
#include "tile.h"
#include "transpose.h"
#include "vec.h"

#include "nd/total.h"

kernel void turn(global const ACT *restrict from, int offset, int step, int tokens, int heads, int lines,
                 global float *restrict to) {
    const size_t image = get_global_id(1), head = get_global_id(0);
    from += image * tokens * step + offset + head * HEAD;
    to += (image * heads + head) * HEAD * lines;
    for (int t = 0; t < lines; t += 16) {
        int d = 0;
        if (t + 16 <= tokens) {
#define TAKE_TOKEN(i) LOAD_ACT16(from + (size_t)(t + (i)) * step + d)
#define GIVE_CHANNEL(line, i) vstore16(line, 0, to + (size_t)(d + (i)) * lines + t);
            for (; d + 16 <= HEAD; d += 16) {
                for (int i = 0; i < 16; i++) FETCH(from + (size_t)(t + 16 + i) * step + d);
                TRANSPOSE(TAKE_TOKEN, GIVE_CHANNEL)
            }
        }
        for (; d < HEAD; d++)
            for (int u = t; u < t + 16; u++)
                to[(size_t)d * lines + u] = u < tokens ? LOAD_ACT1(from + (size_t)u * step + d) : 0.0f;
    }
}

/* TM tokens from `first` on as floats, times `by`; beyond the last it is that one again. */
void take_rows(global const ACT *from, int step, int first, int tokens, float by, global float *rows) {
    for (int r = 0; r < TM; r++)
        for (int d = 0; d < HEAD; d += VEC)
            STORE(by * LOAD_ACT(from + (size_t)min(first + r, tokens - 1) * step + d), rows + r * HEAD + d);
}

/* scores (TM, lines) = rows times what was turned, of its columns begin .. end. */
void multiply_rows(global const float *rows, global const float *turned, int lines, int begin, int end,
                   global float *scores) {
#define CLEAR(r) float16 sum##r = (float16)(0.0f);
#define CLEAR_NEXT(r) float16 next##r = (float16)(0.0f);
#define MULTIPLY(r) sum##r = FMA((float16)(rows[(r)*HEAD + d]), line, sum##r);
#define MULTIPLY_NEXT(r) next##r = FMA((float16)(rows[(r)*HEAD + d]), after, next##r);
#define KEEP(r) vstore16(sum##r, 0, scores + (size_t)(r)*lines + c);
#define KEEP_NEXT(r) vstore16(next##r, 1, scores + (size_t)(r)*lines + c);
    int c = begin;
#if STRIPS == 2
    for (; c + 32 <= end; c += 32) {
        EACH_ROW(CLEAR)
        EACH_ROW(CLEAR_NEXT)
        for (int d = 0; d < HEAD; d++) {
            global const float *at = turned + (size_t)d * lines + c;
            const float16 line = vload16(0, at), after = vload16(1, at);
            EACH_ROW(MULTIPLY)
            EACH_ROW(MULTIPLY_NEXT)
        }
        EACH_ROW(KEEP)
        EACH_ROW(KEEP_NEXT)
    }
#endif
    for (; c < end; c += 16) {
        EACH_ROW(CLEAR)
        for (int d = 0; d < HEAD; d++) {
            const float16 line = vload16(0, turned + (size_t)d * lines + c);
            EACH_ROW(MULTIPLY)
        }
        EACH_ROW(KEEP)
    }
}

/* to = by times the weights (TM, lines) times tokens begin .. end of `from`. */
void combine_rows(global const float *weights, int lines, global const ACT *from, int step, int begin, int end,
                  float by, int first, int tokens, int add, global ACT *to, int to_step) {
#define CLEAR_PART(r) vec part##r = (vec)(0.0f);
#define CLEAR_OTHER(r) vec other##r = (vec)(0.0f);
#define ADD_PART(r) part##r = FMA((vec)(weights[(size_t)(r)*lines + t]), line, part##r);
#define ADD_OTHER(r) other##r = FMA((vec)(weights[(size_t)(r)*lines + t]), after, other##r);
#define PUT(r, part, d)                                                                                                \
    if (first + r < tokens) {                                                                                          \
        global ACT *at = to + (size_t)(first + r) * to_step + (d);                                                     \
        const vec result = by * part##r;                                                                               \
        STORE_ACT(add ? result + LOAD_ACT(at) : result, at);                                                           \
    }
#define PUT_PART(r) PUT(r, part, d)
#define PUT_OTHER(r) PUT(r, other, d + VEC)
    int d = 0;
#if STRIPS == 2
    for (; d + 2 * VEC <= HEAD; d += 2 * VEC) {
        EACH_ROW(CLEAR_PART)
        EACH_ROW(CLEAR_OTHER)
        for (int t = begin; t < end; t++) {
            global const ACT *at = from + (size_t)t * step + d;
            const vec line = LOAD_ACT(at), after = LOAD_ACT(at + VEC);
            EACH_ROW(ADD_PART)
            EACH_ROW(ADD_OTHER)
        }
        EACH_ROW(PUT_PART)
        EACH_ROW(PUT_OTHER)
    }
#endif
    for (; d < HEAD; d += VEC) {
        EACH_ROW(CLEAR_PART)
        for (int t = begin; t < end; t++) {
            const vec line = LOAD_ACT(from + (size_t)t * step + d);
            EACH_ROW(ADD_PART)
        }
        EACH_ROW(PUT_PART)
    }
}

/* This item's blocks, one after another. */
#define EACH_BLOCK                                                                                                     \
    const int width = heads * HEAD, lines = (tokens + 15) / 16 * 16, down = (tokens + TM - 1) / TM;                    \
    const size_t blocks = (size_t)images * heads * down, items = get_global_size(0);                                   \
    const size_t each = (blocks + items - 1) / items, begin_block = min(get_global_id(0) * each, blocks);              \
    const size_t end_block = min(begin_block + each, blocks);                                                          \
    global float *const scores = scratch + get_global_id(0) * 2 * TM * (lines + HEAD), *const products =               \
                                                                                           scores + TM * lines;        \
    global float *const left = products + TM * lines, *const right = left + TM * HEAD;                                 \
    for (size_t b = begin_block; b < end_block; b++)

#define WHERE                                                                                                          \
    const int first = b % down * TM, head = b / down % heads;                                                          \
    const size_t pair = b / down, image = pair / heads, start = image * tokens * width;                                \
    global const ACT *const query = x + 3 * start + head * HEAD, *const key = query + width, *const value = key + width;

kernel void forward(global const ACT *restrict x, global const float *restrict keys, global ACT *restrict y,
                    global float *restrict levels, int tokens, int heads, int images, float scale,
                    global float *restrict scratch) {
    EACH_BLOCK {
        WHERE
        const int end = CAUSAL ? min(first + TM, tokens) : tokens, last = (end + 15) / 16 * 16;
        take_rows(query, 3 * width, first, tokens, scale, left);
        multiply_rows(left, keys + pair * HEAD * lines, lines, 0, last, scores);
        for (int r = 0; r < TM && first + r < tokens; r++) {
            global float *line = scores + (size_t)r * lines;
            const int seen = CAUSAL ? first + r + 1 : tokens;
            for (int t = seen; t < last; t++) line[t] = -INFINITY;
            float16 most16 = vload16(0, line), sum16 = (float16)(0.0f);
            for (int t = 16; t < last; t += 16) most16 = fmax(most16, vload16(0, line + t));
            const float8 most8 = fmax(most16.lo, most16.hi);
            const float4 most4 = fmax(most8.lo, most8.hi);
            const float most = fmax(fmax(most4.s0, most4.s1), fmax(most4.s2, most4.s3));
            for (int t = 0; t < last; t += 16) {
                const float16 weight = exp(vload16(0, line + t) - most);
                vstore16(weight, 0, line + t);
                sum16 += weight;
            }
            const float8 sum8 = sum16.lo + sum16.hi;
            const float4 sum4 = sum8.lo + sum8.hi;
            const float sum = (sum4.s0 + sum4.s2) + (sum4.s1 + sum4.s3);
            levels[pair * tokens + first + r] = most + log(sum);
            for (int t = 0; t < last; t += 16) vstore16(vload16(0, line + t) / sum, 0, line + t);
        }
        combine_rows(scores, lines, value, 3 * width, 0, end, 1.0f, first, tokens, 0, y + start + head * HEAD, width);
    }
}

/* dots = <dy, y> of a token's head; an item takes some heads of tokens. */
kernel void multiply(global const ACT *restrict y, global const ACT *restrict dy, global float *restrict dots,
                     int tokens, int heads, int images) {
    const size_t all = (size_t)images * tokens * heads, each = (all + get_global_size(0) - 1) / get_global_size(0);
    const size_t end = min((get_global_id(0) + 1) * each, all);
    for (size_t i = get_global_id(0) * each; i < end; i++) {
        vec sum = (vec)(0.0f);
        for (int d = 0; d < HEAD; d += VEC) sum += LOAD_ACT(y + i * HEAD + d) * LOAD_ACT(dy + i * HEAD + d);
        const size_t image = i / heads / tokens, head = i % heads, t = i / heads % tokens;
        dots[(image * heads + head) * tokens + t] = TOTAL(sum);
    }
}

kernel void queries(global const ACT *restrict x, global const ACT *restrict dy, global const float *restrict keys,
                    global const float *restrict values, global const float *restrict levels,
                    global const float *restrict dots, global ACT *restrict dx, int tokens, int heads, int images,
                    float scale, int add, global float *restrict scratch) {
    EACH_BLOCK {
        WHERE
        const int end = CAUSAL ? min(first + TM, tokens) : tokens, last = (end + 15) / 16 * 16;
        take_rows(query, 3 * width, first, tokens, scale, left);
        take_rows(dy + start + head * HEAD, width, first, tokens, 1.0f, right);
        multiply_rows(left, keys + pair * HEAD * lines, lines, 0, last, scores);
        multiply_rows(right, values + pair * HEAD * lines, lines, 0, last, products);
        for (int r = 0; r < TM && first + r < tokens; r++) {
            global float *line = scores + (size_t)r * lines;
            const float level = levels[pair * tokens + first + r], dot = dots[pair * tokens + first + r];
            for (int t = 0; t < last; t += 16)
                vstore16(exp(vload16(0, line + t) - level) * (vload16(0, products + (size_t)r * lines + t) - dot), 0,
                         line + t);
            for (int t = CAUSAL ? first + r + 1 : last; t < last; t++) line[t] = 0.0f;
        }
        combine_rows(scores, lines, key, 3 * width, 0, end, scale, first, tokens, add, dx + 3 * start + head * HEAD,
                     3 * width);
    }
}

kernel void others(global const ACT *restrict x, global const ACT *restrict dy,
                   global const float *restrict turned_queries, global const float *restrict gradients,
                   global const float *restrict levels, global const float *restrict dots, global ACT *restrict dx,
                   int tokens, int heads, int images, float scale, int add, global float *restrict scratch) {
    EACH_BLOCK {
        WHERE
        const int begin = CAUSAL ? first : 0, from = begin / 16 * 16;
        take_rows(key, 3 * width, first, tokens, scale, left);
        take_rows(value, 3 * width, first, tokens, 1.0f, right);
        multiply_rows(left, turned_queries + pair * HEAD * lines, lines, from, lines, scores);
        multiply_rows(right, gradients + pair * HEAD * lines, lines, from, lines, products);
        for (int r = 0; r < TM && first + r < tokens; r++) {
            global float *line = scores + (size_t)r * lines, *other = products + (size_t)r * lines;
            for (int t = from; t < lines; t += 16) {
                float16 level, dot;
                if (t + 16 <= tokens) {
                    level = vload16(0, levels + pair * tokens + t);
                    dot = vload16(0, dots + pair * tokens + t);
                } else {
                    float some[32];
                    for (int j = 0; j < 16; j++) {
                        const size_t at = pair * tokens + min(t + j, tokens - 1);
                        some[j] = levels[at], some[16 + j] = dots[at];
                    }
                    level = vload16(0, some), dot = vload16(1, some);
                }
                const float16 weight = exp(vload16(0, line + t) - level);
                vstore16(weight * (vload16(0, other + t) - dot), 0, other + t);
                vstore16(weight, 0, line + t);
            }
            for (int t = from; CAUSAL && t < first + r; t++) line[t] = other[t] = 0.0f;
        }
        global ACT *const to = dx + 3 * start + head * HEAD;
        combine_rows(products, lines, query, 3 * width, begin, tokens, scale, first, tokens, add, to + width,
                     3 * width);
        combine_rows(scores, lines, dy + start + head * HEAD, width, begin, tokens, 1.0f, first, tokens, add,
                     to + 2 * width, 3 * width);
    }
}
