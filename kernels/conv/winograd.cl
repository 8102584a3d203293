/* Winograd's convolution for kernels of 3x3, stride 1, dilation 1, one group: forward and data gradient.
 *
 *   Y = A' [ (sum over c: (G w G') . (B' d B)) ] A  (' transposes, . multiplies element by element) for tiles of M x M
 * outputs Y from patches d of E x E inputs, E = M + 2: E*E products where the direct sum takes 9*M*M, 2.25 (M 2) or
 * 4 (M 4) times as many. The matrices are Toom and Cook's for the points 0, +-1, infinity, with M 4 also +-2, written
 * for points +-P and +-Q.
 *
 * Activations are NHWC, weights [O][G][F] (see host/ops/conv/conv.h), packed as [E*E][block of 16 outputs][depth][16].
 * A work-item takes chunk after chunk of `chunk` tiles: it transforms their patches into its slice of `scratch`, forms
 * the products for `bunch` blocks of outputs at a time in register tiles of 6 tiles by 16 outputs, and transforms them
 * back. The slice stays in its core's cache. Written for work-groups of one item.
 *
 *  M  outputs of a tile along each axis: 2 or 4
 */
#ifndef M
#error "conv/winograd.cl needs M"
#endif
#define E (M + 2)
#define VEC 8
#include "vec.h"

#define TM 6
#include "tile.h"

/* --- the transforms of one line --------------------------------------------------------------- */

#if M == 2
#define INPUT_LINE(d, s, t)                                                         \
    t[0] = d[0] - d[2 * s];                                                         \
    t[1] = d[s] + d[2 * s];                                                         \
    t[2] = d[2 * s] - d[s];                                                         \
    t[3] = d[s] - d[3 * s];
#define OUTPUT_LINE(m, s, y)                                                        \
    y[0] = m[0] + m[s] + m[2 * s];                                                  \
    y[1] = m[s] - m[2 * s] - m[3 * s];
#define WEIGHT_LINE(g, s, u, type)                                                  \
    {                                                                               \
        const type even = 0.5f * (g[0] + g[2 * s]), odd = 0.5f * g[s];              \
        u[0] = g[0];                                                                \
        u[1] = even + odd;                                                          \
        u[2] = even - odd;                                                          \
        u[3] = g[2 * s];                                                            \
    }
#else
#define P 1.0f
#define Q 2.0f
#define PP (P * P)
#define QQ (Q * Q)
#define INPUT_LINE(d, s, t)                                                         \
    {                                                                               \
        const vec even_p = d[4 * s] - QQ * d[2 * s], odd_p = P * (d[3 * s] - QQ * d[s]);    \
        const vec even_q = d[4 * s] - PP * d[2 * s], odd_q = Q * (d[3 * s] - PP * d[s]);    \
        t[0] = d[4 * s] + (PP * QQ) * d[0] - (PP + QQ) * d[2 * s];                  \
        t[1] = even_p + odd_p;                                                      \
        t[2] = even_p - odd_p;                                                      \
        t[3] = even_q + odd_q;                                                      \
        t[4] = even_q - odd_q;                                                      \
        t[5] = d[5 * s] + (PP * QQ) * d[s] - (PP + QQ) * d[3 * s];                  \
    }
#define OUTPUT_LINE(m, s, y)                                                        \
    {                                                                               \
        const vec even_p = m[s] + m[2 * s], odd_p = m[s] - m[2 * s];                \
        const vec even_q = m[3 * s] + m[4 * s], odd_q = m[3 * s] - m[4 * s];        \
        y[0] = m[0] + even_p + even_q;                                              \
        y[1] = P * odd_p + Q * odd_q;                                               \
        y[2] = PP * even_p + QQ * even_q;                                           \
        y[3] = (P * PP) * odd_p + (Q * QQ) * odd_q + m[5 * s];                      \
    }
#define WEIGHT_LINE(g, s, u, type)                                                  \
    {                                                                               \
        const float over_p = 1.0f / (2.0f * PP * (PP - QQ)), over_q = 1.0f / (2.0f * QQ * (QQ - PP));  \
        const type even_p = (g[0] + PP * g[2 * s]) * over_p, odd_p = g[s] * (P * over_p);     \
        const type even_q = (g[0] + QQ * g[2 * s]) * over_q, odd_q = g[s] * (Q * over_q);     \
        u[0] = g[0] * (1.0f / (PP * QQ));                                           \
        u[1] = even_p + odd_p;                                                      \
        u[2] = even_p - odd_p;                                                      \
        u[3] = even_q + odd_q;                                                      \
        u[4] = even_q - odd_q;                                                      \
        u[5] = g[2 * s];                                                            \
    }
#endif

vec load_some(global const float *from, int width)
{
    if (width >= VEC) return LOAD(from);
    float part[VEC];
    for (int l = 0; l < VEC; l++) part[l] = l < width ? from[l] : 0.0f;
    return LOAD(part);
}

void store_some(vec value, global float *to, int width, int accumulate)
{
    if (width >= VEC) {
        if (accumulate) value += LOAD(to);
        STORE(value, to);
        return;
    }
    float part[VEC];
    STORE(value, part);
    for (int l = 0; l < width; l++) to[l] = accumulate ? to[l] + part[l] : part[l];
}

/* --- weights ---------------------------------------------------------------------------------- */

/* An item packs `span` of the `depth` channels that are summed over, for one block of 16 results. data: the results are
 * input channels, the sum runs over outputs, and the kernel is turned around. */
kernel void pack(global const float *restrict weight, global float *restrict packed, int group_in, int group_out,
                 int interleave, int blocks, int span, int data)
{
    const int depth = data ? group_out : group_in, results = data ? group_in : group_out;
    const int k0 = get_global_id(0) * span, block = get_global_id(1), k1 = min(k0 + span, depth);
    if (k0 >= depth || block >= blocks) return;
    const size_t features = (size_t)group_in * 9, length = features / interleave;
    for (int k = k0; k < k1; k++) {
        float16 g[9], half_way[3 * E], u[E];
        for (int tap = 0; tap < 9; tap++) {
            float part[16];
            for (int l = 0; l < 16; l++) {
                const int result = min(block * 16 + l, results - 1), o = data ? k : result, c = data ? result : k;
                const size_t j = (size_t)c * 9 + (data ? 8 - tap : tap);
                const float value = weight[o * features + j % interleave * length + j / interleave];
                part[l] = block * 16 + l < results ? value : 0.0f;
            }
            g[tap] = vload16(0, part);
        }
        for (int x = 0; x < 3; x++) {
            const float16 *line = g + x;
            WEIGHT_LINE(line, 3, u, float16)
            for (int i = 0; i < E; i++) half_way[i * 3 + x] = u[i];
        }
        for (int i = 0; i < E; i++) {
            const float16 *line = half_way + i * 3;
            WEIGHT_LINE(line, 1, u, float16)
            for (int j = 0; j < E; j++)
                vstore16(u[j], 0, packed + (((size_t)(i * E + j) * blocks + block) * depth + k) * 16);
        }
    }
}

/* --- forward, data gradient ------------------------------------------------------------------- */

/* The patch whose first pixel is (y0, x0) of image n, all channels: to[element of the patch * pitch + channel]. */
void transform_input(global const float *restrict x, global float *restrict to, int n, int y0, int x0, int in_h,
                     int in_w, int in_c, size_t pitch)
{
    global const float *from = x + (((long)n * in_h + y0) * in_w + x0) * in_c;
    const bool inside = y0 >= 0 && y0 + E <= in_h && x0 >= 0 && x0 + E <= in_w;
    for (int c = 0; c < in_c; c += VEC) {
        const int width = in_c - c;
        vec d[E * E], half_way[E * E], t[E];
        if (inside && width >= VEC) {
            for (int i = 0; i < E; i++)
                for (int j = 0; j < E; j++) d[i * E + j] = LOAD(from + ((size_t)i * in_w + j) * in_c + c);
        } else {
            for (int i = 0; i < E; i++)
                for (int j = 0; j < E; j++) {
                    const bool valid = (uint)(y0 + i) < (uint)in_h && (uint)(x0 + j) < (uint)in_w;
                    d[i * E + j] = valid ? load_some(from + ((long)i * in_w + j) * in_c + c, width) : (vec)(0.0f);
                }
        }
        for (int j = 0; j < E; j++) {
            const vec *line = d + j;
            INPUT_LINE(line, E, t)
            for (int i = 0; i < E; i++) half_way[i * E + j] = t[i];
        }
        for (int i = 0; i < E; i++) {
            const vec *line = half_way + i * E;
            INPUT_LINE(line, 1, t)
            for (int j = 0; j < E; j++) STORE(t[j], to + (size_t)(i * E + j) * pitch + c);
        }
    }
}

/* 16 * many results of a tile, from from[element * pitch + result], to the outputs from (y0, x0) on. */
void transform_output(global const float *restrict from, global const float *restrict bias, global float *restrict out,
                      int n, int y0, int x0, int out_h, int out_w, int out_c, int first, int many, size_t pitch,
                      int has_bias, int accumulate)
{
    for (int o = first; o < min(first + 16 * many, out_c); o += VEC) {
        const int width = out_c - o;
        vec m[E * E], half_way[M * E], y[M];
        const vec more = has_bias ? load_some(bias + o, width) : (vec)(0.0f);
        for (int i = 0; i < E * E; i++) m[i] = LOAD(from + i * pitch + (o - first));
        for (int j = 0; j < E; j++) {
            const vec *line = m + j;
            OUTPUT_LINE(line, E, y)
            for (int i = 0; i < M; i++) half_way[i * E + j] = y[i];
        }
        for (int i = 0; i < M && y0 + i < out_h; i++) {
            const vec *line = half_way + i * E;
            OUTPUT_LINE(line, 1, y)
            global float *to = out + (((size_t)n * out_h + y0 + i) * out_w + x0) * out_c + o;
            for (int j = 0; j < M; j++)
                if (x0 + j < out_w) store_some(y[j] + more, to + (size_t)j * out_c, width, accumulate);
        }
    }
}

/* to[t][16] = sum over k < depth of from[t][k] w[k][16] for 6 tiles. */
void multiply(global const float *restrict from, global const float *restrict w, global float *restrict to, int depth,
              int pitch_from, int pitch_to)
{
#define START(i) float16 sum##i = (float16)(0.0f); global const float *a##i = from + i * pitch_from;
#define MULTIPLY(i) sum##i = FMA((float16)(a##i[k]), line, sum##i);
#define KEEP(i) vstore16(sum##i, 0, to + i * pitch_to);
    EACH_ROW(START)
    for (int k = 0; k < depth; k++, w += 16) {
        const float16 line = vload16(0, w);
        EACH_ROW(MULTIPLY)
    }
    EACH_ROW(KEEP)
}

/* `items` items share the chunks. first_y, first_x: the input position of the patch of output (0, 0). padded: in_c
 * rounded up to a multiple of 8. scratch: of every item, (E*E*(chunk*(padded + 16*bunch) + 32)) floats. */
kernel void convolve(global const float *restrict x, global const float *restrict packed,
                     global const float *restrict bias, global float *restrict out, global float *restrict scratch,
                     int images, int in_h, int in_w, int in_c, int padded, int out_h, int out_w, int out_c,
                     int first_y, int first_x, int blocks, int bunch, int chunk, int items, int has_bias,
                     int accumulate)
{
    const int tiles_y = (out_h + M - 1) / M, tiles_x = (out_w + M - 1) / M, tiles = images * tiles_y * tiles_x;
    const size_t pitch = (size_t)chunk * padded + 16, product_pitch = (size_t)chunk * bunch * 16 + 16;
    const int item = get_global_id(0);
    if (item >= items) return;
    global float *inputs = scratch + (size_t)item * E * E * (pitch + product_pitch);
    global float *products = inputs + E * E * pitch;
    for (long begin = (long)item * chunk; begin < tiles; begin += (long)items * chunk) {
        const int count = (int)min((long)chunk, tiles - begin);
        for (int t = 0; t < count; t++) {
            const int tile = (int)begin + t, n = tile / (tiles_y * tiles_x), rest = tile - n * tiles_y * tiles_x;
            const int ty = rest / tiles_x, tx = rest - ty * tiles_x;
            transform_input(x, inputs + (size_t)t * padded, n, ty * M + first_y, tx * M + first_x, in_h, in_w, in_c,
                            pitch);
        }
        for (int block = 0; block < blocks; block += bunch) {
            const int many = min(bunch, blocks - block);
            for (int e = 0; e < E * E; e++)
                for (int b = 0; b < many; b++) {
                    global const float *w = packed + ((size_t)e * blocks + block + b) * in_c * 16;
                    for (int t = 0; t < count; t += 6)
                        multiply(inputs + e * pitch + (size_t)t * padded, w,
                                 products + e * product_pitch + ((size_t)t * bunch + b) * 16, in_c, padded, bunch * 16);
                }
            for (int t = 0; t < count; t++) {
                const int tile = (int)begin + t, n = tile / (tiles_y * tiles_x), rest = tile - n * tiles_y * tiles_x;
                const int ty = rest / tiles_x, tx = rest - ty * tiles_x;
                transform_output(products + (size_t)t * bunch * 16, bias, out, n, ty * M, tx * M, out_h, out_w, out_c,
                                 block * 16, many, product_pitch, has_bias, accumulate);
            }
        }
    }
}
