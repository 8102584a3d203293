/* What folding W' = W D, b' = b - W' m hands back, in one launch elsewhere than on CPUs: from the gradient G of W' and
 * db, with dW' = G - db m^T (an outer product; db that of a row's output)
 *
 *   dW = dW' D        dD = (W^T dW' + dW'^T W) / 2        dm = - sum over rows of db W'
 *
 * and <dD, D>, a share for each tile (product.cl). Weights are rows (O, G, F); dW goes where its layout says; dm is
 * left in `parts` parts: (parts, matrices, F).
 *
 * The groups, of COLS by ROWS by SPLIT items, are first those of the tiles of dW, then of dD, then of dm, an item a
 * feature of a part. All items of a group do the same.
 *
 *  COLS, ROWS, TM, KC, SPLIT  as in product.h; required
 *  DW  whether dW is computed here; required
 */
#ifndef DW
#error "nd/fold_gradients.cl needs DW"
#endif
#include "product.h"

#if DW
#define TILE_OF weight_tile
#define TRANS_A 0
#define TRANS_B 0
#define SYMMETRIC 0
#define TWO 0
#define SCALED 0
#define DOTS 0
#define NORMED 0
#define CENTRED 1
#include "product_tile.h"
#endif

#define TILE_OF deconv_tile
#define TRANS_A 1
#define TRANS_B 0
#define SYMMETRIC 1
#define TWO 0
#define SCALED 0
#define DOTS 1
#define NORMED 0
#define CENTRED 2
#include "product_tile.h"

/* Of dm: an item does feature f of a part of a matrix's outputs. */
void mean_part(int part, int parts, int matrix, int matrices, int f, int outputs, int interleave, int features,
               global const float *folded, global const float *dbias, global float *partial) {
    const int count = outputs / matrices, share = (count + parts - 1) / parts;
    const int from = matrix * count + part * share, to = min(from + share, (matrix + 1) * count);
    float sum = 0.0f;
    for (int o = from; o < to; o++) {
        const float by = -dbias[o];
        for (int g = 0; g < interleave; g++) sum = FMA(by, folded[((size_t)o * interleave + g) * features + f], sum);
    }
    partial[((size_t)part * matrices + matrix) * features + f] = sum;
}

kernel LANES16 __attribute__((reqd_work_group_size(COLS, ROWS, SPLIT))) void
fold_gradients(global const float *gradient, global const float *dbias, global const float *mean,
               global const float *deconv, global const float *weight, global const float *folded,
               global float *dweight, global float *ddeconv, global float *dots, global float *partial,
               struct product by_weight, struct product by_deconv, int of_weight, int of_deconv, int outputs,
               int interleave, int features, int matrices, int parts) {
    PIECES;
    int group = get_group_id(0);
#if DW
    if (group < of_weight) {
        weight_tile(group % by_weight.tiles, group / by_weight.tiles, a_piece, b_piece, gradient, deconv, gradient,
                    deconv, gradient, gradient, gradient, dweight, dweight, by_weight, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f,
                    0.0f, 0.0f, 0.0f, 0.0f, 0.0f, dots, dots, dots, dbias, mean);
        return;
    }
#endif
    group -= of_weight;
    if (group < of_deconv) {
        deconv_tile(group % by_deconv.tiles, group / by_deconv.tiles, a_piece, b_piece, weight, gradient, gradient,
                    weight, weight, weight, weight, ddeconv, ddeconv, by_deconv, 0.5f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
                    0.0f, 0.0f, 0.0f, 0.0f, dots, (global float *)deconv, dots, dbias, mean);
        return;
    }
    group -= of_deconv;
    const int items = ITEMS * SPLIT, across = (features + items - 1) / items, unit = group / across;
    const int id = (get_local_id(2) * ROWS + get_local_id(1)) * COLS + get_local_id(0), f = group % across * items + id;
    if (f < features)
        mean_part(unit % parts, parts, unit / parts, matrices, f, outputs, interleave, features, folded, dbias,
                  partial);
}
