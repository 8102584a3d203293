/* C = alpha (A B + A2 B2) + beta D + beta2 D2 + gamma I for symmetric n by n matrices whose result is known to be
 * symmetric: half of it is computed, then mirrored. A second pair of operands (`pairs` 2) makes the derivative of a
 * product, which is symmetric only as a whole. Row-major and dense; C may not be an operand of a product, but it may be
 * D.
 *
 * A work-item computes a square block of `each` matrices in turn, by even chunks of at most KC along k: columns of B
 * are packed into strips of 16, STRIPS of them at a time; then register tiles of TM rows by as many columns are summed
 * along the chunk and added to C. The accumulators are named variables: as an array they would leave the registers.
 * While tiles are summed, the lines that the next strip is packed from are fetched, a few for every tile: they lie a
 * row apart, which no hardware foresees. Written for work-groups of one item.
 *
 * Blocks on the diagonal are half the work. They are spread evenly among the others, since a driver gives its threads
 * runs of items that follow each other. Item i computes the (first + i step)-th. Where several ranks divide a product,
 * each has every step-th one, and give_blocks and take_blocks bring them to the others.
 *
 *  TM      rows of the register tile: 6 or 8 (6)
 *  STRIPS  its columns, in strips: 1 or 2 (1)
 */
#ifndef TM
#define TM 6
#endif
#ifndef STRIPS
#define STRIPS 1
#endif
#define KC (384 / STRIPS) /* longest chunk of k that strips of B are packed for */

#include "tile.h"
#include "transpose.h"

#include "fetch.h"

/* Rows k0..k0+kn of B, columns col..col+15 (zeros from n on). */
void pack_strip(global const float *b, int n, int col, int k0, int kn, float16 *packed) {
    if (n - col >= 16) {
        for (int i = 0; i < kn; i++) packed[i] = vload16(0, b + (size_t)(k0 + i) * n + col);
        return;
    }
    float *to = (float *)packed;
    for (int i = 0; i < kn; i++)
        for (int j = 0; j < 16; j++) to[i * 16 + j] = j < n - col ? b[(size_t)(k0 + i) * n + col + j] : 0.0f;
}

/* What is added to a product: of D and D2, or for a later chunk of what C holds. */
struct addends {
    float alpha, beta, beta2;
    global const float *d, *d2;
};

/* C = alpha sum + beta D + beta2 D2 for one row of a tile, which begins at `at`. */
void put(float16 sum, const struct addends add, size_t at, int width, global float *c) {
    sum *= add.alpha;
    if (width >= 16) {
        if (add.beta != 0.0f) sum = FMA((float16)(add.beta), vload16(0, add.d + at), sum);
        if (add.beta2 != 0.0f) sum = FMA((float16)(add.beta2), vload16(0, add.d2 + at), sum);
        vstore16(sum, 0, c + at);
        return;
    }
    float part[16];
    vstore16(sum, 0, part);
    for (int j = 0; j < width; j++) {
        float value = part[j];
        if (add.beta != 0.0f) value = FMA(add.beta, add.d[at + j], value);
        if (add.beta2 != 0.0f) value = FMA(add.beta2, add.d2[at + j], value);
        c[at + j] = value;
    }
}

/* What rows k0..k0+kn of one pair add to the tiles of columns col..col+width: C = alpha sum + beta D. next: what will
 * be packed after these strips, as many rows or fewer. */
void add_strips(global const float *left, int k0, const float16 *strips, int kn, int n, int row0, int row1, int col,
                int width, const struct addends add, global float *c, global const float *next) {
    const int end = min(row1, col + width); // tiles wholly below the diagonal are left out
    const int share = (kn * TM + end - row0 - 1) / (end - row0);
    for (int row = row0; row < end; row += TM) {
        for (int i = 0; i < share; i++) FETCH(next + (size_t)i * n);
        next += (size_t)share * n;
        const size_t at = (size_t)row * n + col;
#define POINT(r) global const float *a##r = left + (size_t)min(row + r, row1 - 1) * n + k0;
        EACH_ROW(POINT)
#define CLEAR(r) float16 sum##r = (float16)(0.0f);
        EACH_ROW(CLEAR)
#define MULTIPLY(r) sum##r = FMA((float16)(a##r[i]), line, sum##r);
#if STRIPS == 2
        if (width > 16) {
#define CLEAR_NEXT(r) float16 next##r = (float16)(0.0f);
            EACH_ROW(CLEAR_NEXT)
#define MULTIPLY_NEXT(r) next##r = FMA((float16)(a##r[i]), after, next##r);
            for (int i = 0; i < kn; i++) {
                const float16 line = strips[i], after = strips[KC + i];
                EACH_ROW(MULTIPLY)
                EACH_ROW(MULTIPLY_NEXT)
            }
#define PUT_NEXT(r)                                                                                                    \
    if (row + r < row1) put(next##r, add, at + (size_t)r * n + 16, n - col - 16, c);
            EACH_ROW(PUT_NEXT)
        } else
#endif
            for (int i = 0; i < kn; i++) {
                const float16 line = strips[i];
                EACH_ROW(MULTIPLY)
            }
#define PUT(r)                                                                                                         \
    if (row + r < row1) put(sum##r, add, at + (size_t)r * n, n - col, c);
        EACH_ROW(PUT)
    }
}

/* Of the matrices, and of how the work is shared: kept on the device. */
struct shape {
    int n, matrices;
    int each, rows; // matrices of an item; rows of a block
};

/* Which matrices and rows and columns of them the at-th block is; false: there are fewer blocks. */
struct block {
    int first, last, row0, row1, col0, col1;
};
bool find_block(const struct shape *shape, int at, struct block *block) {
    const int n = shape->n, rows = shape->rows, down = (n + rows - 1) / rows;
    const int groups = (shape->matrices + shape->each - 1) / shape->each, above = down * (down - 1) / 2;
    const long all = (long)groups * (above + down), before = (long)at * down / (above + down); // on the diagonal
    if (at >= all) return false;
    const bool diagonal = (long)(at + 1) * down / (above + down) > before;
    at = (int)(diagonal ? before : at - before);
    const int group = at / (diagonal ? down : above);
    int row = 0, col = at - group * (diagonal ? down : above);
    if (diagonal) {
        row = col;
    } else {
        while (col >= down - 1 - row) col -= down - 1 - row++;
        col += row + 1;
    }
    block->first = group * shape->each, block->last = min(block->first + shape->each, shape->matrices);
    block->row0 = row * rows, block->row1 = min(block->row0 + rows, n);
    block->col0 = col * rows, block->col1 = min(block->col0 + rows, n);
    return true;
}

kernel void symmetric_product(global const float *a, global const float *b, global const float *a2,
                              global const float *b2, global const float *d, global const float *d2, global float *c,
                              global const struct shape *kept, int first, int step, int pairs, float alpha, float beta,
                              float beta2, float gamma) {
    const struct shape shape = *kept;
    struct block block;
    if (!find_block(&shape, first + (int)get_global_id(0) * step, &block)) return;
    const int n = shape.n, row0 = block.row0, row1 = block.row1, col0 = block.col0, col1 = block.col1;

    float16 strips[STRIPS * KC];
    const int chunks = (n + KC - 1) / KC, chunk = (n + chunks - 1) / chunks;
    for (int matrix = block.first; matrix < block.last; matrix++) {
        const size_t at = (size_t)matrix * n * n;
        global float *to = c + at;
        for (int pair = 0; pair < pairs; pair++) {
            global const float *left = (pair ? a2 : a) + at;
            global const float *right = (pair ? b2 : b) + at;
            for (int k0 = 0; k0 < n; k0 += chunk) {
                struct addends add = {alpha, beta, beta2, d + at, d2 + at};
                if (pair > 0 || k0 > 0) add.beta = 1.0f, add.beta2 = 0.0f, add.d = to; // to what the first has stored
                for (int col = col0; col < col1; col += 16 * STRIPS) {
                    const int width = min(16 * STRIPS, col1 - col);
                    global const float *next = col + width < col1 ? right + (size_t)k0 * n + col + width
                                               : k0 + chunk < n   ? right + (size_t)(k0 + chunk) * n + col0
                                                                  : b2 + at + col0;
                    for (int i = 0; 16 * i < width; i++)
                        pack_strip(right, n, col + 16 * i, k0, min(chunk, n - k0), strips + i * KC);
                    add_strips(left, k0, strips, min(chunk, n - k0), n, row0, row1, col, width, add, to, next);
                }
            }
        }
        if (row0 == col0)
            for (int row = row0; row < row1; row++) to[(size_t)row * n + row] += gamma;
        mirror(to, n, row0, row1, col0, col1);
    }
}

/* This rank's blocks of C, (blocks, each, rows, rows), one after another. */
kernel void give_blocks(global const float *c, global const struct shape *kept, int first, int step,
                        global float *own) {
    const struct shape shape = *kept;
    struct block block;
    if (!find_block(&shape, first + (int)get_global_id(0) * step, &block)) return;
    const size_t size = (size_t)shape.rows * shape.rows;
    global float *to = own + get_global_id(0) * shape.each * size;
    for (int matrix = block.first; matrix < block.last; matrix++, to += size)
        for (int row = block.row0; row < block.row1; row++) {
            global const float *from = c + ((size_t)matrix * shape.n + row) * shape.n;
            for (int col = block.col0; col < block.col1; col++)
                to[(size_t)(row - block.row0) * shape.rows + col - block.col0] = from[col];
        }
}

/* C of all ranks' blocks: (step, slots, each, rows, rows), of which this item has the get_global_id(0)-th of C. */
kernel void take_blocks(global const float *all, global const struct shape *kept, int slots, int step,
                        global float *c) {
    const struct shape shape = *kept;
    const int at = get_global_id(0);
    struct block block;
    if (!find_block(&shape, at, &block)) return;
    const size_t size = (size_t)shape.rows * shape.rows;
    global const float *from = all + ((size_t)(at % step) * slots + at / step) * shape.each * size;
    for (int matrix = block.first; matrix < block.last; matrix++, from += size) {
        global float *to = c + (size_t)matrix * shape.n * shape.n;
        for (int row = block.row0; row < block.row1; row++)
            for (int col = block.col0; col < block.col1; col++)
                to[(size_t)row * shape.n + col] = from[(size_t)(row - block.row0) * shape.rows + col - block.col0];
        mirror(to, shape.n, block.row0, block.row1, block.col0, block.col1);
    }
}
