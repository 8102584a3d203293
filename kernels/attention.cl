/* Attention over heads (Vaswani et al., 2017): of an image's T tokens, in each head, y = P v, P = softmax(s q k^T), s
 * the `scale`. Without a matrix of T x T in memory: a row of P is formed from the largest score and the sum so far
 * (Milakov and Gimelshein, 2018), in the backward pass from the logarithm of the sum, `levels`. Layouts: x and dx (N,
 * T, 3, heads, HEAD), a token's queries, keys and values; y and dy (N, T, heads, HEAD); levels and dots (N, heads, T).
 *   forward   y, levels
 *   multiply  dots = <dy, y> of a token's head; an item does one
 *   queries   dx of the queries: dS k s, dS = P (dy v^T - dots); `add` other than 0 adds to what dx holds
 *   others    dx of keys, dS^T q s, and values, P^T dy
 * forward, queries and others: a group of COLS x ROWS items has ROWS tokens (dimension 1) of one head of one image (2);
 * it goes through the others COLS at a time, which it brings into local memory. Item (col, row) computes a score, and
 * every COLS-th channel of the token's result.
 *
 *   HEAD        channels of a head; required
 *   ROWS, COLS  items of a group; required
 *   CAUSAL      1: a token sees itself and those before it (0)
 *   VEC         1; required, for vec.h
 */
#ifndef CAUSAL
#define CAUSAL 0
#endif
#include "loop.h"
#include "vec.h"

#define ITEMS (ROWS * COLS)
#define PITCH (HEAD + 1)
#define CHANNELS ((HEAD + COLS - 1) / COLS) // of an item
#define GROUP __attribute__((reqd_work_group_size(COLS, ROWS, 1)))
#define SEES(query, key) (!CAUSAL || (key) <= (query))

#define WHERE                                                                                                          \
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col;                                     \
    const int first = get_group_id(1) * ROWS, image = get_group_id(2) / heads, head = get_group_id(2) % heads;         \
    const int width = heads * HEAD;                                                                                    \
    const size_t start = (size_t)image * tokens * width;                                                               \
    global const ACT *const query = x + 3 * start + head * HEAD, *const key = query + width, *const value = key + width;

/* Tokens from `first` on, `step` elements apart, times `by`; zeros beyond the last. */
void bring(global const ACT *from, size_t step, int first, int tokens, int count, float by, int id, local float *to) {
    for (int i = id; i < count * HEAD; i += ITEMS) {
        const int t = i / HEAD, d = i % HEAD;
        to[t * PITCH + d] = first + t < tokens ? by * LOAD_ACT1(from + (first + t) * step + d) : 0.0f;
    }
}

float dot_of(local const float *a, local const float *b) {
    float sum = 0.0f;
    for (int d = 0; d < HEAD; d++) sum += a[d] * b[d];
    return sum;
}

/* On Intel four terms of a sum at once: all would take more registers than 16 lanes have. */
#ifdef cl_intel_required_subgroup_size
#define TERMS LOOP4
#else
#define TERMS
#endif

/* sums += the row's weights times its column's channels of the lines. */
void add_lines(local const float *weights, local const float *lines, int col, float *sums) {
    LOOP for (int j = 0; j < CHANNELS; j++) {
        const int d = min(col + j * COLS, HEAD - 1);
        TERMS for (int c = 0; c < COLS; c++) sums[j] += weights[c] * lines[c * PITCH + d];
    }
}

void put(const float *sums, float by, int col, int add, global ACT *to) {
    LOOP for (int j = 0; j < CHANNELS; j++) {
        const int d = col + j * COLS;
        if (d < HEAD) STORE_ACT1(by * sums[j] + (add ? LOAD_ACT1(to + d) : 0.0f), to + d);
    }
}

kernel GROUP void forward(global const ACT *restrict x, global ACT *restrict y, global float *restrict levels,
                          int tokens, int heads, float scale) {
    local float q[ROWS * PITCH], k[COLS * PITCH], v[COLS * PITCH], weights[ROWS * COLS];
    WHERE
    bring(query, 3 * width, first, tokens, ROWS, scale, id, q);
    float most = -INFINITY, sum = 0.0f, sums[CHANNELS];
    LOOP for (int j = 0; j < CHANNELS; j++) sums[j] = 0.0f;
    const int end = CAUSAL ? min(first + ROWS, tokens) : tokens;
    for (int from = 0; from < end; from += COLS) {
        barrier(CLK_LOCAL_MEM_FENCE);
        bring(key, 3 * width, from, tokens, COLS, 1.0f, id, k);
        bring(value, 3 * width, from, tokens, COLS, 1.0f, id, v);
        barrier(CLK_LOCAL_MEM_FENCE);
        const bool seen = from + col < tokens && SEES(first + row, from + col);
        const float score = seen ? dot_of(q + row * PITCH, k + col * PITCH) : -INFINITY;
        weights[id] = score;
        barrier(CLK_LOCAL_MEM_FENCE);
        const float before = most;
        for (int c = 0; c < COLS; c++) most = fmax(most, weights[row * COLS + c]);
        barrier(CLK_LOCAL_MEM_FENCE);
        weights[id] = exp(score - most);
        barrier(CLK_LOCAL_MEM_FENCE);
        const float keep = exp(before - most);
        float part = 0.0f;
        for (int c = 0; c < COLS; c++) part += weights[row * COLS + c];
        sum = sum * keep + part;
        LOOP for (int j = 0; j < CHANNELS; j++) sums[j] *= keep;
        add_lines(weights + row * COLS, v, col, sums);
    }
    if (first + row >= tokens) return;
    put(sums, 1.0f / sum, col, 0, y + start + (size_t)(first + row) * width + head * HEAD);
    if (col == 0) levels[(size_t)get_group_id(2) * tokens + first + row] = most + log(sum);
}

kernel void multiply(global const ACT *restrict y, global const ACT *restrict dy, global float *restrict dots,
                     int tokens, int heads, int images) {
    const size_t i = get_global_id(0);
    if (i >= (size_t)images * heads * tokens) return;
    const size_t t = i % tokens, head = i / tokens % heads, image = i / tokens / heads;
    const size_t at = ((image * tokens + t) * heads + head) * HEAD;
    float sum = 0.0f;
    for (int d = 0; d < HEAD; d++) sum += LOAD_ACT1(y + at + d) * LOAD_ACT1(dy + at + d);
    dots[i] = sum;
}

kernel GROUP void queries(global const ACT *restrict x, global const ACT *restrict dy,
                          global const float *restrict levels, global const float *restrict dots,
                          global ACT *restrict dx, int tokens, int heads, float scale, int add) {
    local float q[ROWS * PITCH], g[ROWS * PITCH], k[COLS * PITCH], v[COLS * PITCH], weights[ROWS * COLS];
    WHERE
    global const ACT *const gradient = dy + start + head * HEAD;
    bring(query, 3 * width, first, tokens, ROWS, scale, id, q);
    bring(gradient, width, first, tokens, ROWS, 1.0f, id, g);
    const size_t of = (size_t)get_group_id(2) * tokens + min(first + row, tokens - 1);
    const float level = levels[of], dot = dots[of];
    float sums[CHANNELS];
    LOOP for (int j = 0; j < CHANNELS; j++) sums[j] = 0.0f;
    const int end = CAUSAL ? min(first + ROWS, tokens) : tokens;
    for (int from = 0; from < end; from += COLS) {
        barrier(CLK_LOCAL_MEM_FENCE);
        bring(key, 3 * width, from, tokens, COLS, 1.0f, id, k);
        bring(value, 3 * width, from, tokens, COLS, 1.0f, id, v);
        barrier(CLK_LOCAL_MEM_FENCE);
        float ds = 0.0f;
        if (from + col < tokens && SEES(first + row, from + col))
            ds = exp(dot_of(q + row * PITCH, k + col * PITCH) - level) *
                 (dot_of(g + row * PITCH, v + col * PITCH) - dot);
        weights[id] = ds;
        barrier(CLK_LOCAL_MEM_FENCE);
        add_lines(weights + row * COLS, k, col, sums);
    }
    if (first + row < tokens)
        put(sums, scale, col, add, dx + 3 * (start + (size_t)(first + row) * width) + head * HEAD);
}

kernel GROUP void others(global const ACT *restrict x, global const ACT *restrict dy,
                         global const float *restrict levels, global const float *restrict dots,
                         global ACT *restrict dx, int tokens, int heads, float scale, int add) {
    local float k[ROWS * PITCH], v[ROWS * PITCH], q[COLS * PITCH], g[COLS * PITCH];
    local float weights[ROWS * COLS], gradients[ROWS * COLS];
    WHERE
    global const ACT *const gradient = dy + start + head * HEAD;
    bring(key, 3 * width, first, tokens, ROWS, 1.0f, id, k);
    bring(value, 3 * width, first, tokens, ROWS, 1.0f, id, v);
    levels += (size_t)get_group_id(2) * tokens;
    dots += (size_t)get_group_id(2) * tokens;
    float of_key[CHANNELS], of_value[CHANNELS];
    LOOP for (int j = 0; j < CHANNELS; j++) of_key[j] = of_value[j] = 0.0f;
    for (int from = CAUSAL ? first / COLS * COLS : 0; from < tokens; from += COLS) {
        barrier(CLK_LOCAL_MEM_FENCE);
        bring(query, 3 * width, from, tokens, COLS, scale, id, q);
        bring(gradient, width, from, tokens, COLS, 1.0f, id, g);
        barrier(CLK_LOCAL_MEM_FENCE);
        float p = 0.0f, ds = 0.0f;
        if (from + col < tokens && SEES(from + col, first + row)) {
            p = exp(dot_of(k + row * PITCH, q + col * PITCH) - levels[from + col]);
            ds = p * (dot_of(v + row * PITCH, g + col * PITCH) - dots[from + col]);
        }
        weights[id] = p;
        gradients[id] = ds;
        barrier(CLK_LOCAL_MEM_FENCE);
        add_lines(gradients + row * COLS, q, col, of_key);
        add_lines(weights + row * COLS, g, col, of_value);
    }
    if (first + row >= tokens) return;
    global ACT *to = dx + 3 * (start + (size_t)(first + row) * width) + head * HEAD;
    put(of_key, 1.0f, col, add, to + width);
    put(of_value, 1.0f, col, add, to + 2 * width);
}
