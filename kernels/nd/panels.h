/* Sums of products of rows that lie in panels: strips of 16 features, one below another, (strips, PANEL_ROWS, 16), the
 * features from n on zero. A panel is packed by one work-item, and stays in its cache while it is used.
 *
 *  TM      rows of the register tile: 4 or 8 (4)
 *  STRIPS  its columns, in strips: 1 or 2 (1)
 */
#ifndef TM
#define TM 4
#endif
#ifndef STRIPS
#define STRIPS 1
#endif
#define PANEL_ROWS 128
#define PANEL_STRIP (PANEL_ROWS * 16)

#include "tile.h"
#include "transpose.h"

void add_some(float16 value, int width, global float *to) {
    if (width >= 16) {
        vstore16(vload16(0, to) + value, 0, to);
        return;
    }
    float part[16];
    vstore16(value, 0, part);
    for (int j = 0; j < width; j++) to[j] += part[j];
}

#define CLEAR(r) float16 sum##r = (float16)(0.0f);
#define CLEAR_NEXT(r) float16 next##r = (float16)(0.0f);
#define MULTIPLY(r) sum##r = FMA((float16)(left[16 * i + r]), line, sum##r);
#define MULTIPLY_NEXT(r) next##r = FMA((float16)(left[16 * i + r]), after, next##r);
#define ADD(r)                                                                                                         \
    if (row + r < n) add_some(alpha *sum##r, n - col, sums + (size_t)(row + r) * n + col);
#define ADD_NEXT(r)                                                                                                    \
    if (row + r < n) add_some(alpha *next##r, n - col - 16, sums + (size_t)(row + r) * n + col + 16);

/* The tile at (row, col) of sums += alpha A^T B, of `count` rows. */
void add_tile(global const float *a, global const float *b, int n, int count, int row, int col, float alpha,
              global float *sums) {
    global const float *left = a + row / 16 * PANEL_STRIP + row % 16, *right = b + col / 16 * PANEL_STRIP;
    EACH_ROW(CLEAR)
    for (int i = 0; i < count; i++) {
        const float16 line = vload16(i, right);
        EACH_ROW(MULTIPLY)
    }
    EACH_ROW(ADD)
}

#if STRIPS == 2
/* The same of two strips. */
void add_wide_tile(global const float *a, global const float *b, int n, int count, int row, int col, float alpha,
                   global float *sums) {
    global const float *left = a + row / 16 * PANEL_STRIP + row % 16, *right = b + col / 16 * PANEL_STRIP;
    EACH_ROW(CLEAR)
    EACH_ROW(CLEAR_NEXT)
    for (int i = 0; i < count; i++) {
        const float16 line = vload16(i, right), after = vload16(i, right + PANEL_STRIP);
        EACH_ROW(MULTIPLY)
        EACH_ROW(MULTIPLY_NEXT)
    }
    EACH_ROW(ADD)
    EACH_ROW(ADD_NEXT)
}
#endif

/* sums += alpha A^T B; where the result is symmetric, of tiles that meet the diagonal or lie above. */
void add_panels(global const float *a, global const float *b, int n, int count, int symmetric, float alpha,
                global float *sums) {
    for (int col = 0; col < n;) {
#if STRIPS == 2
        if (n - col > 16) {
            for (int row = 0; row < (symmetric ? min(col + 32, n) : n); row += TM)
                add_wide_tile(a, b, n, count, row, col, alpha, sums);
            col += 32;
            continue;
        }
#endif
        for (int row = 0; row < (symmetric ? min(col + 16, n) : n); row += TM)
            add_tile(a, b, n, count, row, col, alpha, sums);
        col += 16;
    }
}

/* c = a B for `count` rows in panels; B: strips of 16 columns, one below another (strips, n, 16). */
#define MULTIPLY_BY(r) sum##r = FMA((float16)(left[16 * (r) + j]), line, sum##r);
#define MULTIPLY_BY_NEXT(r) next##r = FMA((float16)(left[16 * (r) + j]), after, next##r);
#define PUT(r) vstore16(sum##r, r, to);
#define PUT_NEXT(r) vstore16(next##r, r, to + PANEL_STRIP);

void multiply_tile(global const float *a, global const float *b, int n, int row, int col, global float *c) {
    global const float *left = a + 16 * row, *right = b + col * n;
    global float *to = c + col / 16 * PANEL_STRIP + 16 * row;
    EACH_ROW(CLEAR)
    for (int k = 0; k < n; k += 16, left += PANEL_STRIP, right += 256)
        for (int j = 0; j < min(16, n - k); j++) {
            const float16 line = vload16(j, right);
            EACH_ROW(MULTIPLY_BY)
        }
    EACH_ROW(PUT)
}

#if STRIPS == 2
void multiply_wide_tile(global const float *a, global const float *b, int n, int row, int col, global float *c) {
    global const float *left = a + 16 * row, *right = b + col * n;
    global float *to = c + col / 16 * PANEL_STRIP + 16 * row;
    EACH_ROW(CLEAR)
    EACH_ROW(CLEAR_NEXT)
    for (int k = 0; k < n; k += 16, left += PANEL_STRIP, right += 256)
        for (int j = 0; j < min(16, n - k); j++) {
            const float16 line = vload16(j, right), after = vload16(n + j, right);
            EACH_ROW(MULTIPLY_BY)
            EACH_ROW(MULTIPLY_BY_NEXT)
        }
    EACH_ROW(PUT)
    EACH_ROW(PUT_NEXT)
}
#endif

void multiply_panels(global const float *a, global const float *b, int n, int count, global float *c) {
    for (int col = 0; col < n;) {
#if STRIPS == 2
        if (n - col > 16) {
            for (int row = 0; row < count; row += TM) multiply_wide_tile(a, b, n, row, col, c);
            col += 32;
            continue;
        }
#endif
        for (int row = 0; row < count; row += TM) multiply_tile(a, b, n, row, col, c);
        col += 16;
    }
}
