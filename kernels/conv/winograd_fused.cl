/* Winograd's convolution by tiles of 2x2 outputs (conv/winograd.cl has the formulas) in one launch, for devices with
 * local memory: a work-group takes a block of tiles by a block of outputs through all three steps. Forward, data
 * gradient. Kernels of 3x3, stride 1, dilation 1, one group; conv/packing.h transforms the weights.
 *
 * Activations are NHWC. The transformed weights come as [block][piece of KC channels][element][KC][OUTS], zeros beyond
 * the last channel and output. The data gradient is the forward pass of the kernels turned around, as their class of
 * taps has it.
 *
 * Of each piece an item reads the patch of one tile in one channel, transforms it in its registers and puts its 16
 * elements into local memory, where the weights of the piece go as they are. 16 items share an element of the
 * transform, a product of TILES by OUTS, and each sums TM tiles by 8 outputs of it, in fours that lie 16 apart. What
 * comes next is read into registers while they multiply. In the end the sums go through the same memory, half of the
 * tiles at a time, so that an item has all elements of a tile in four outputs, of which it computes a line. All items
 * of a group go through all its barriers.
 *
 *  OUT4      whether channels of what is written are multiples of four, as in conv/finish.h; required
 *  ACT_TYPE  as in vec.h
 */
#define M 2
#define VEC 4
#define TM 8
#include "activation.h"
#include "loop.h"
#include "tile.h"

#include "conv/sizes.h"

#include "conv/classes.h"
#include "conv/winograd.h"

#define COLS 8  // items along the outputs, four each, as results are finished
#define ROWS 32 // along half of the tiles' lines of outputs
#include "conv/finish.h"

#define KC 8
#define ELEMENTS (E * E)
#define TILES 32
#define OUTS 32
#define PIECE (ELEMENTS * KC * OUTS / 4) // fours of either factor
#define HALF (TILES / 2)
#define RIGHT (PIECE / (COLS * ROWS))

#define CLEAR(i) float8 sum##i = (float8)(0.0f);
#define MULTIPLY(i) sum##i = FMA((float8)(left.s##i), right, sum##i);

/* Sums of tile 4*down + i of the item's element. */
#define PUT(i, sum) to[(i) * (OUTS / 4)] = sum.lo, to[(i) * (OUTS / 4) + 4] = sum.hi
/* Half of the tiles: two outputs side by side of the item's line and tile. */
#define HALF_WAY(a, b, c, d, results)                                                                                  \
    {                                                                                                                  \
        local float4 *to = room + (element * HALF + 4 * down) * (OUTS / 4) + across;                                   \
        local const float4 *from = room + row / M * COLS + col;                                                        \
        float4 line[E];                                                                                                \
        PUT(0, a), PUT(1, b), PUT(2, c), PUT(3, d);                                                                    \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                  \
        LOOP for (int j = 0; j < E; j++) line[j] =                                                                     \
            FMA((float4)(sign), from[(edge * E + j) * (HALF * COLS)] + from[(2 * E + j) * (HALF * COLS)],              \
                from[(E + j) * (HALF * COLS)]);                                                                        \
        OUTPUT_LINE(line, 1, (results))                                                                                \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                  \
    }

/* The groups of dimension 0 count the blocks of tiles, and within one the blocks of outputs. */
kernel __attribute__((reqd_work_group_size(COLS, ROWS, 1))) void
winograd(global const ACT *restrict x, global const float *restrict packed,
         global const struct tap_class *restrict classes, global const float *restrict bias, global ACT *out,
         global const ACT *beside, global float *moments, struct sizes s, int first_class, int blocks,
         struct finish f) {
    local float4 room[2 * PIECE];
    local float4 *inputs = room, *weights = room + PIECE;
    local float *elements = (local float *)inputs;
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col;
    const int block = get_group_id(0) % blocks, first = get_group_id(0) / blocks * TILES;
    classes += first_class;
    const int tiles_down = (classes->down.grid + M - 1) / M, tiles_across = (classes->across.grid + M - 1) / M;
    const int tiles = s.images * tiles_down * tiles_across, depth = classes->depth;
    global const float4 *next_weights =
        (global const float4 *)(packed + classes->first) + (size_t)block * (depth / KC) * PIECE;

    /* The item brings channel k of every piece for this tile. Beyond the last tile it is that one again. Fours of tiles
     * change places by the channel, so that items side by side write to different banks. */
    const int k = id % KC, tile = id / KC, put = k * TILES + ((tile / 4) ^ k) * 4 + tile % 4;
    const struct place at = place_of(min(first + tile, tiles - 1), tiles_down, tiles_across);
    const int y0 = at.y * M + classes->down.in_first, x0 = at.x * M + classes->across.in_first;
    const long below = (long)s.in_w * s.in_c;
    long start = (((long)at.n * s.in_h + y0) * s.in_w + x0) * s.in_c + k;
    uint inside = 0; // a bit for each pixel of the patch
    LOOP for (int i = 0; i < ELEMENTS; i++) {
        const bool is_inside = (uint)(y0 + i / E) < (uint)s.in_h && (uint)(x0 + i % E) < (uint)s.in_w;
        inside |= is_inside ? 1u << i : 0u;
    }

    /* It multiplies fours `down` and down + 4 of the tiles by fours `across` and across + 4 of the outputs. */
    const int element = id / 16, down = id / 4 % 4, across = id % 4;
    local const float4 *lefts = inputs + element * (KC * TILES / 4);
    local const float4 *rights = weights + element * (KC * OUTS / 4) + across;

    EACH_ROW(CLEAR)
    float patch[ELEMENTS];
    float4 next[RIGHT];
    for (int c = 0; c <= depth; c += KC) {
        if (c < depth) {
            const uint valid = c + k < s.group_in ? inside : 0u;
            LOOP for (int i = 0; i < ELEMENTS; i++) {
                const long pixel = start + i / E * below + i % E * s.in_c;
                patch[i] = valid >> i & 1u ? LOAD_ACT1(x + pixel) : 0.0f;
            }
            LOOP for (int r = 0; r < RIGHT; r++) next[r] = next_weights[id + r * (COLS * ROWS)];
            start += KC, next_weights += PIECE;
        }
        if (c > 0) {
            _Pragma("unroll 1") for (int i = 0; i < KC; i++) { // more at once take more than 128 registers
                const int four = down ^ i;
                const float8 left = (float8)(lefts[i * (TILES / 4) + four], lefts[i * (TILES / 4) + (four ^ 4)]);
                const float8 right = (float8)(rights[i * (OUTS / 4)], rights[i * (OUTS / 4) + 4]);
                EACH_ROW(MULTIPLY)
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (c < depth) {
            float half_way[ELEMENTS], u[E];
            LOOP for (int j = 0; j < E; j++) {
                const float *line = patch + j;
                INPUT_LINE(line, E, u)
                LOOP for (int i = 0; i < E; i++) half_way[i * E + j] = u[i];
            }
            LOOP for (int i = 0; i < E; i++) {
                const float *line = half_way + i * E;
                INPUT_LINE(line, 1, u)
                LOOP for (int j = 0; j < E; j++) elements[(i * E + j) * (KC * TILES) + put] = u[j];
            }
            LOOP for (int r = 0; r < RIGHT; r++) weights[id + r * (COLS * ROWS)] = next[r];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    /* Line row % M of a tile is from lines 1, 2 and `edge` of its elements. */
    const float sign = row % M ? -1.0f : 1.0f;
    const int edge = row % M ? 3 : 0, o = block * OUTS + 4 * col, width = s.group_out - o;
    const float4 more = f.has_bias ? load_bias(bias + o, width) : (float4)(0.0f);
    float4 results[2 * M];
    HALF_WAY(sum0, sum1, sum2, sum3, results)
    HALF_WAY(sum4, sum5, sum6, sum7, (results + M))
    LOOP for (int i = 0; i < 2 * M; i++) results[i] += more;
    const int last = min(tiles - first, TILES); // tiles of this block
    if (f.moments) {
        /* Of the block's pixels, all of their tiles, as in conv/tiled.cl. */
        const float count = (float)(last * (M * M));
        room[id] = results[0];
        barrier(CLK_LOCAL_MEM_FENCE);
        const float4 origin = room[col];
        float4 sum = (float4)(0.0f), square = (float4)(0.0f);
        LOOP for (int i = 0; i < 2 * M; i++) sum +=
            i / M * HALF + row / M < last ? results[i] - origin : (float4)(0.0f);
        const float4 centre = origin + sum_rows(sum, room, col, row) / count;
        LOOP for (int i = 0; i < 2 * M; i++) {
            const float4 d = i / M * HALF + row / M < last ? results[i] - centre : (float4)(0.0f);
            square = FMA(d, d, square);
        }
        square = sum_rows(square, room, col, row);
        if (row == 0) {
            global float *to = moments + (size_t)(first / TILES) * 2 * s.out_c + o;
            put_moments(centre, to, width);
            put_moments(square, to + s.out_c, width);
        }
    }
    LOOP for (int i = 0; i < 2 * M; i++) {
        const int t = i / M * HALF + row / M;
        if (t >= last) continue;
        const struct place of = place_of(first + t, tiles_down, tiles_across);
        const int above = of.y * M + row % M, left = of.x * M + i % M;
        if (above >= s.out_h || left >= s.out_w) continue;
        const size_t to = (((size_t)of.n * s.out_h + above) * s.out_w + left) * s.out_c + o;
        store_some(finish_some(results[i], out + to, beside + to, width, f), out + to, width);
    }
}
