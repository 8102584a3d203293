/* What surrounds the matrix products (symmetric_product.cl) of D = S^(-1/2), truncated Newton-Schulz iteration in the
 * form that carries W = ZY (W_0 = S/s, s = |S|, D = Z_K/sqrt(s)), and of its exact gradient, which is the derivative of
 * Z_K by W_0 in the direction G = sym(Dbar)/sqrt(s), as the derivative of a function of a symmetric matrix is its own
 * adjoint: Sbar = dZ_K[G]/s - W_0 (<dZ_K[G], W_0> + <Dbar, D>/2)/s
 *
 * Matrices: (matrices, F, F), features in the order of the weights: f = taps*i + r; back_finish() gives the order of
 * the sample rows (statistics.cl).
 * scalars: (matrices, 4): s, 1/s, 1/sqrt(s), and on CPUs the factor of W_0 in Sbar.
 *
 * A work-item takes `each` rows of a matrix (dimension 1, counted over all matrices) and vectors of columns in turn
 * (dimension 0; one item does a whole row where it is summed).
 *
 *  VEC   columns at once: 1, 2, 4, 8, 16; divides F
 *  TREE  items of a group that sums a row, or the rows' sums of a matrix (tree.h); 0: an item sums alone
 */
#include "vec.h"
#include "nd/total.h"
#include "tree.h"
#if TREE
TREE_SUM(tree_sum, float)

/* The sum of `count` values, in each item of the group. */
float sum_all(global const float *values, int count, local float *room) {
    float sum = 0.0f;
    for (int i = get_local_id(0); i < count; i += TREE) sum += values[i];
    return tree_sum(sum, room);
}
#endif
#if VEC == 1
#define DOWN(p, f) (*(p))
#elif VEC == 2
#define DOWN(p, f) (vec)((p)[0], (p)[f])
#elif VEC == 4
#define DOWN(p, f) (vec)((p)[0], (p)[f], (p)[2 * f], (p)[3 * f])
#elif VEC == 8
#define DOWN(p, f) (vec)((p)[0], (p)[f], (p)[2 * f], (p)[3 * f], (p)[4 * f], (p)[5 * f], (p)[6 * f], (p)[7 * f])
#elif VEC == 16
#define DOWN(p, f)                                                                                                     \
    (vec)((p)[0], (p)[f], (p)[2 * f], (p)[3 * f], (p)[4 * f], (p)[5 * f], (p)[6 * f], (p)[7 * f], (p)[8 * f],          \
          (p)[9 * f], (p)[10 * f], (p)[11 * f], (p)[12 * f], (p)[13 * f], (p)[14 * f], (p)[15 * f])
#endif

/* This item's rows first..end of all count = matrices*F. */
#define ROWS(count) const int first = get_global_id(1) * each, end = min(first + each, count)
#define LANES const int lane = get_global_id(0) * VEC, lanes = get_global_size(0) * VEC

/* Of the norm's square. A constant batch without eps stays finite. */
float norm_of(float sum) {
    return fmax(sqrt(sum), 1e-30f);
}

void keep_norm(float s, global float *scalars) {
    scalars[0] = s;
    scalars[1] = 1.0f / s;
    scalars[2] = 1.0f / sqrt(s);
}

#if TREE
/* W_0 = S/s in place, s = |S|. A group does a row, and finds s for itself; that of a matrix's first row keeps it. */
kernel void scale(global float *w, global const float *squares, int features, global float *scalars) {
    local float room[TREE];
    const int row = get_group_id(1), matrix = row / features;
    const float s = norm_of(sum_all(squares + (size_t)matrix * features, features, room)), scale = 1.0f / s;
    for (int j = get_local_id(0) * VEC; j < features; j += TREE * VEC) {
        const size_t at = (size_t)row * features + j;
        STORE(scale * LOAD(w + at), w + at);
    }
    if (row % features == 0 && get_local_id(0) == 0) keep_norm(s, scalars + 4 * matrix);
}
#else
/* s = |S|; an item does a matrix. */
kernel void norm(global const float *squares, int matrices, int features, global float *scalars) {
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int f = 0; f < features; f++) sum += squares[(size_t)matrix * features + f];
    keep_norm(norm_of(sum), scalars + 4 * matrix);
}

/* W_0 = S/s in place. */
kernel void scale(global float *w, global const float *scalars, int count, int features, int each) {
    ROWS(count);
    LANES;
    for (int row = first; row < end; row++) {
        const float scale = scalars[4 * (row / features) + 1];
        for (int j = lane; j < features; j += lanes) {
            const size_t at = (size_t)row * features + j;
            STORE(scale * LOAD(w + at), w + at);
        }
    }
}
#endif

/* C = alpha A + gamma I, which a single step is. */
kernel void add_unit(global const float *a, float alpha, float gamma, int count, int features, int each,
                     global float *c) {
    ROWS(count);
    for (int row = first; row < end; row++)
        for (int j = get_global_id(0); j < features; j += get_global_size(0)) {
            const size_t at = (size_t)row * features + j;
            const float value = alpha * a[at];
            c[at] = row % features == j ? value + gamma : value;
        }
}

/* Of the form with six products (host/ops/nd/root_five.c): two sums of two matrices and I, one of four. */
kernel void combine_first(global const float *w, global const float *x, float b_w, float b_x, float b_i, float c_w,
                          float c_x, float c_i, int count, int features, int each, global float *b, global float *c) {
    ROWS(count);
    LANES;
    for (int row = first; row < end; row++) {
        for (int j = lane; j < features; j += lanes) {
            const size_t at = (size_t)row * features + j;
            const vec in_w = LOAD(w + at), in_x = LOAD(x + at);
            STORE(b_w * in_w + b_x * in_x, b + at);
            STORE(c_w * in_w + c_x * in_x, c + at);
        }
        const int f = row % features;
        if (f / VEC % (lanes / VEC) != lane / VEC) continue; // the item that wrote this place
        b[(size_t)row * features + f] += b_i;
        c[(size_t)row * features + f] += c_i;
    }
}

kernel void combine_last(global const float *w, global const float *b, global const float *x5, global const float *x6,
                         float r_w, float r_b, float r_5, float r_6, float r_i, int count, int features, int each,
                         global float *r) {
    ROWS(count);
    LANES;
    for (int row = first; row < end; row++) {
        for (int j = lane; j < features; j += lanes) {
            const size_t at = (size_t)row * features + j;
            STORE((r_w * LOAD(w + at) + r_b * LOAD(b + at)) + (r_5 * LOAD(x5 + at) + r_6 * LOAD(x6 + at)), r + at);
        }
        const int f = row % features;
        if (f / VEC % (lanes / VEC) == lane / VEC) r[(size_t)row * features + f] += r_i;
    }
}

/* D = Z_K/sqrt(s); running += momentum (D - running). */
kernel void finish(global const float *z, global const float *scalars, int count, int features, int each,
                   float momentum, global float *d, global float *running) {
    ROWS(count);
    LANES;
    for (int row = first; row < end; row++) {
        const float scale = scalars[4 * (row / features) + 2];
        for (int j = lane; j < features; j += lanes) {
            const size_t at = (size_t)row * features + j;
            const vec value = scale * LOAD(z + at), old = LOAD(running + at);
            STORE(value, d + at);
            STORE(old + momentum * (value - old), running + at);
        }
    }
}

/* G = sym(Dbar)/sqrt(s), and the rows of <Dbar, D>. */
kernel void back_begin(global const float *ddeconv, global const float *d, global const float *scalars, int count,
                       int features, int each, global float *direction, global float *dots) {
#if TREE
    local float room[TREE];
    const int row = get_group_id(1), f = row % features;
    const size_t matrix = (size_t)(row - f) * features;
    float sum = 0.0f;
    for (int j = get_local_id(0) * VEC; j < features; j += TREE * VEC) {
        const size_t at = (size_t)row * features + j;
        const vec value = 0.5f * (LOAD(ddeconv + at) + DOWN(ddeconv + matrix + (size_t)j * features + f, features));
        const vec product = value * LOAD(d + at);
        STORE(value * scalars[4 * (row / features) + 2], direction + at);
        sum += TOTAL(product);
    }
    sum = tree_sum(sum, room);
    if (get_local_id(0) == 0) dots[row] = sum;
#else
    ROWS(count);
    for (int row = first; row < end; row++) dots[row] = 0.0f;
    for (int j = 0; j < features; j += VEC) {
        for (int row = first; row < end; row++) {
            const int f = row % features;
            const size_t matrix = (size_t)(row - f) * features, at = (size_t)row * features + j;
            const vec value = 0.5f * (LOAD(ddeconv + at) + DOWN(ddeconv + matrix + (size_t)j * features + f, features));
            const vec product = value * LOAD(d + at);
            STORE(value * scalars[4 * (row / features) + 2], direction + at);
            dots[row] += TOTAL(product);
        }
    }
#endif
}

/* The rows of the inner product of two matrices. */
kernel void back_dots(global const float *a, global const float *b, int count, int features, int each,
                      global float *dots) {
#if TREE
    local float room[TREE];
    const int row = get_group_id(1);
    const size_t at = (size_t)row * features;
    vec sum = (vec)(0.0f);
    for (int j = get_local_id(0) * VEC; j < features; j += TREE * VEC) sum += LOAD(a + at + j) * LOAD(b + at + j);
    const float total = tree_sum(TOTAL(sum), room);
    if (get_local_id(0) == 0) dots[row] = total;
#else
    ROWS(count);
    for (int row = first; row < end; row++) {
        const size_t at = (size_t)row * features;
        vec sum = (vec)(0.0f);
        for (int j = 0; j < features; j += VEC) sum += LOAD(a + at + j) * LOAD(b + at + j);
        dots[row] = TOTAL(sum);
    }
#endif
}

/* Sbar in the rows' order: what lies at tap r of channel i of a row. */
void finish_one(const float value, int depthwise, int r, int i, int block, size_t lane, size_t step, global float *sbar,
                global float *to) {
    if (depthwise)
        sbar[lane + r * step] = value;
    else
        to[r * block + i] = value;
}

#if TREE
/* A group does a row, and finds the factor of W_0 for itself. dots_w, dots_d: shares of the inner products of each
 * matrix. scaled: the direction has been divided by sqrt(s), else its derivative is here. Brings the mean's gradient,
 * in parts (parts, matrices, F), to the rows' order too, times mean_scale; parts 0: there is none. */
kernel void back_finish(global const float *wbar, global const float *w, global const float *scalars,
                        global const float *dots_w, int shares_w, global const float *dots_d, int shares_d, int scaled,
                        int matrices, int block, int taps, int depthwise, global float *sbar, global const float *dmean,
                        int parts, float mean_scale, global float *row_mean) {
    local float room[TREE];
    const int features = block * taps, row = get_group_id(1), f = row % features, matrix = row / features;
    const float dot_w = sum_all(dots_w + (size_t)matrix * shares_w, shares_w, room);
    const float dot_d = sum_all(dots_d + (size_t)matrix * shares_d, shares_d, room);
    const float z = scaled ? 1.0f : scalars[4 * matrix + 2], s = scalars[4 * matrix + 1];
    const float a = s * z, b = s * (z * dot_w + 0.5f * dot_d);
    const size_t at = (size_t)row * features, lane = (size_t)f * features * matrices + matrix;
    global float *to = sbar + ((size_t)(row - f) + f % taps * block + f / taps) * features;
    for (int column = get_local_id(0); column < features; column += TREE)
        finish_one(a * wbar[at + column] - b * w[at + column], depthwise, column % taps, column / taps, block, lane,
                   matrices, sbar, to);
    float mean = 0.0f;
    for (int p = get_local_id(0); p < parts; p += TREE) mean += dmean[(size_t)p * matrices * features + row];
    mean = mean_scale * tree_sum(mean, room);
    const int place = f % taps * block + f / taps;
    if (parts && get_local_id(0) == 0) row_mean[depthwise ? place * matrices + matrix : row - f + place] = mean;
}
#else
/* The factor of W_0; an item does a matrix. */
kernel void back_norm(global const float *dots_w, global const float *dots_d, int matrices, int features,
                      global float *scalars) {
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float w = 0.0f, d = 0.0f;
    for (int f = 0; f < features; f++) {
        w += dots_w[(size_t)matrix * features + f];
        d += dots_d[(size_t)matrix * features + f];
    }
    scalars[4 * matrix + 3] = scalars[4 * matrix + 1] * (w + 0.5f * d);
}

kernel void back_finish(global const float *wbar, global const float *w, global const float *scalars, int matrices,
                        int block, int taps, int depthwise, int each, global float *sbar) {
    const int features = block * taps, count = matrices * features;
    ROWS(count);
    for (int row = first; row < end; row++) {
        const int f = row % features;
        const float a = scalars[4 * (row / features) + 1], b = scalars[4 * (row / features) + 3];
        const size_t at = (size_t)row * features, lane = (size_t)f * features * matrices + row / features;
        global float *to = sbar + ((size_t)(row - f) + f % taps * block + f / taps) * features;
        for (int r = 0; r < taps; r++)
            for (int i = 0; i < block; i++) {
                const size_t from = at + taps * i + r;
                finish_one(a * wbar[from] - b * w[from], depthwise, r, i, block, lane, matrices, sbar, to);
            }
    }
}
#endif
