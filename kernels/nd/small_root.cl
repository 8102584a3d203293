/* The inverse root's iteration and its gradient for small matrices, each in one launch elsewhere than on CPUs: a
 * work-group does a matrix, all products of it one after the other (host/ops/nd/root_five.c has the polynomial, and the
 * same in a launch each).
 *
 * Matrices are symmetric (matrices, F, F), so that the factors of a product are both read by rows. An item computes
 * blocks of 4 by 4 of the upper half of a result in turn, and mirrors them. Iterates and tangents: one set behind the
 * other, `step` floats apart. All items of a group go through all its barriers, which stand outside of branches:
 * PoCL 6.0's compiler ends in an assertion otherwise.
 *
 *  ITEMS  of a group, a power of two; required
 */
#ifndef ITEMS
#error "nd/small_root.cl needs ITEMS"
#endif
#include "fma.h"
#include "loop.h"

/* As struct bl_root_polynomial of root_form.h. */
struct polynomial {
    float x1, x3, b_w, b_x, b_i, c_w, c_x, c_i, x4_square, x4_w, x4_b, x4_i, x5_square, x5_i, x6_square, x6_i;
    float r_w, r_b, r_x5, r_x6, r_i, z_w, z_b, z_i;
};
/* alpha P + d[0] D0 + d[1] D1 + d[2] D2 + unit I; a D whose factor is 0 is not read. */
struct sum {
    float alpha, d0, d1, d2, unit;
};
struct addends {
    global const float *d0, *d1, *d2;
};

float4 load_some(global const float *from, int width) {
    if (width >= 4) return vload4(0, from);
    return (float4)(from[0], width > 1 ? from[1] : 0.0f, width > 2 ? from[2] : 0.0f, 0.0f);
}

INLINE float4 sum_row(float4 product, const struct sum s, const struct addends d, int at, int width, float4 unit) {
    float4 value = s.alpha * product + s.unit * unit;
    if (s.d0 != 0.0f) value = FMA((float4)(s.d0), load_some(d.d0 + at, width), value);
    if (s.d1 != 0.0f) value = FMA((float4)(s.d1), load_some(d.d1 + at, width), value);
    if (s.d2 != 0.0f) value = FMA((float4)(s.d2), load_some(d.d2 + at, width), value);
    return value;
}

/* Row i of a result from column j on, what lies above the diagonal twice. */
INLINE void put(float4 value, int i, int j, int n, global float *to) {
    const float part[4] = {value.s0, value.s1, value.s2, value.s3};
    LOOP for (int l = 0; l < 4; l++) if (j + l < n && j + l >= i) to[i * n + j + l] = to[(j + l) * n + i] = part[l];
}

#define ROW(r, y) sum##r = FMA((float4)(x.s##r), y, sum##r);
#define END(r)                                                                                                         \
    if (top + r < n) {                                                                                                 \
        const int at = (top + r) * n + left;                                                                           \
        const float4 unit = select((float4)(0.0f), (float4)(1.0f), (int4)(top + r - left) == (int4)(0, 1, 2, 3));      \
        const float4 value = sum_row(sum##r, of_c, d, at, width, unit);                                                \
        if (e) put(sum_row(sum##r, of_e, d, at, width, unit), top + r, left, n, e);                                    \
        put(value, top + r, left, n, c);                                                                               \
        if (w) {                                                                                                       \
            const float4 twice = clamp(convert_float4((int4)(1, 2, 3, 4) - (top + r - left)), 0.0f, 2.0f);             \
            dots = FMA(value * load_some(w + at, width), twice, dots);                                                 \
        }                                                                                                              \
    }

/* C and E, which may be NULL, of A B or A B + A2 B2. C and E are no factors; they may be addends. Of the blocks of this
 * item, <C, W>, where W is not NULL. */
INLINE float multiply(int n, global const float *a, global const float *b, global const float *a2,
                      global const float *b2, const struct addends d, const struct sum of_c, global float *c,
                      const struct sum of_e, global float *e, global const float *w) {
    const int across = (n + 3) / 4;
    float4 dots = (float4)(0.0f);
    for (int block = get_local_id(0); block < across * (across + 1) / 2; block += ITEMS) {
        int column = block, row = 0;
        for (int rest = across; column >= rest; rest--) column -= rest, row++;
        const int top = 4 * row, left = 4 * (column + row), high = n - top, width = n - left;
        float4 sum0 = (float4)(0.0f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
        for (int k = 0; k < n; k++) {
            const float4 x = load_some(a + k * n + top, high), y = load_some(b + k * n + left, width);
            ROW(0, y) ROW(1, y) ROW(2, y) ROW(3, y)
        }
        for (int k = 0; a2 && k < n; k++) {
            const float4 x = load_some(a2 + k * n + top, high), y = load_some(b2 + k * n + left, width);
            ROW(0, y) ROW(1, y) ROW(2, y) ROW(3, y)
        }
        END(0) END(1) END(2) END(3)
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    return dots.s0 + dots.s1 + dots.s2 + dots.s3;
}

enum { B = 1, C, X3, X4, X5, X6, R };
#define AT(i) (iterates + ((i)-1) * step)
#define NONE ((struct sum){0.0f, 0.0f, 0.0f, 0.0f, 0.0f})

/* Where `scales` is set, W = S/|S| first, by the sums of squares of S's rows, and |S|, 1/|S|, 1/sqrt(|S|) to scalars
 * (matrices, 4); where `ends` is, D to z, and running += momentum (D - running); else Z to z. */
kernel void iterate(global const float *s, global const float *squares, int features, struct polynomial k, int scales,
                    int ends, float momentum, long step, global float *scalars, global float *w, global float *iterates,
                    global float *z, global float *running) {
    const int n = features, matrix = get_group_id(1);
    const size_t place = (size_t)matrix * n * n;
    w += place, iterates += place, z += place, running += place, scalars += 4 * matrix;
    if (scales) {
        float sum = 0.0f;
        for (int f = 0; f < n; f++) sum += squares[(size_t)matrix * n + f];
        const float norm = fmax(sqrt(sum), 1e-30f), by = 1.0f / norm; // finite for a constant batch
        for (int i = get_local_id(0); i < n * n; i += ITEMS) w[i] = by * s[place + i];
        if (get_local_id(0) == 0) {
            scalars[0] = norm;
            scalars[1] = by;
            scalars[2] = 1.0f / sqrt(norm);
        }
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    const struct addends own = {w, AT(B), AT(X5)};
    const struct sum of_b = {k.b_x, k.b_w, 0.0f, 0.0f, k.b_x * k.x1 + k.b_i},
                     of_c = {k.c_x, k.c_w, 0.0f, 0.0f, k.c_x * k.x1 + k.c_i};
    multiply(n, w, w, 0, 0, own, of_b, AT(B), of_c, AT(C), 0);
    multiply(n, AT(B), AT(C), 0, 0, own, (struct sum){1.0f, 0.0f, 0.0f, 0.0f, k.x3}, AT(X3), NONE, 0, 0);
    multiply(n, AT(X3), AT(X3), 0, 0, own, (struct sum){k.x4_square, k.x4_w, k.x4_b, 0.0f, k.x4_i}, AT(X4), NONE, 0, 0);
    multiply(n, AT(X4), AT(X4), 0, 0, own, (struct sum){k.x5_square, 0.0f, 0.0f, 0.0f, k.x5_i}, AT(X5), NONE, 0, 0);
    const struct sum of_r = {k.r_x6 * k.x6_square, k.r_w, k.r_b, k.r_x5, k.r_x6 * k.x6_i + k.r_i};
    multiply(n, AT(X5), AT(X5), 0, 0, own, (struct sum){k.x6_square, 0.0f, 0.0f, 0.0f, k.x6_i}, AT(X6), of_r, AT(R), 0);
    const struct sum of_z = {1.0f, k.z_w, k.z_b, 0.0f, k.z_i};
    const float by = ends ? scalars[2] : 1.0f, part = momentum * by;
    const struct addends last = {w, AT(B), running};
    multiply(n, AT(X6), AT(R), 0, 0, last, (struct sum){by, by * of_z.d0, by * of_z.d1, 0.0f, by * of_z.unit}, z,
             (struct sum){part, part * of_z.d0, part * of_z.d1, 1.0f - momentum, part * of_z.unit}, ends ? running : 0,
             0);
}

/* dZ, the derivative in the direction G, to the tangent 2, and <dZ, W> of each matrix. */
kernel void differentiate(global const float *direction, global const float *w, global const float *iterates,
                          int features, struct polynomial k, long step, global float *tangents, global float *dots) {
    local float room[ITEMS];
    const int n = features, matrix = get_group_id(1), lane = get_local_id(0);
    const size_t place = (size_t)matrix * n * n;
    direction += place, w += place, iterates += place, tangents += place;
    global const float *g = direction;
    global float *b = tangents + step, *t2 = tangents + 2 * step, *t3 = tangents + 3 * step, *t4 = tangents + 4 * step;
    const struct addends own = {g, b, t2};
    multiply(n, w, g, g, w, own, (struct sum){k.b_x, k.b_w, 0.0f, 0.0f, 0.0f}, b,
             (struct sum){k.c_x, k.c_w, 0.0f, 0.0f, 0.0f}, t3, 0);
    multiply(n, b, AT(C), AT(B), t3, own, (struct sum){1.0f, 0.0f, 0.0f, 0.0f, 0.0f}, t2, NONE, 0, 0);
    multiply(n, AT(X3), t2, t2, AT(X3), own, (struct sum){k.x4_square, k.x4_w, k.x4_b, 0.0f, 0.0f}, t3, NONE, 0, 0);
    multiply(n, AT(X4), t3, t3, AT(X4), own, (struct sum){k.x5_square, 0.0f, 0.0f, 0.0f, 0.0f}, t2, NONE, 0, 0);
    multiply(n, AT(X5), t2, t2, AT(X5), own, (struct sum){k.x6_square, 0.0f, 0.0f, 0.0f, 0.0f}, t3,
             (struct sum){k.r_x6 * k.x6_square, k.r_w, k.r_b, k.r_x5, 0.0f}, t4, 0);
    room[lane] = multiply(n, t3, AT(R), AT(X6), t4, own, (struct sum){1.0f, k.z_w, k.z_b, 0.0f, 0.0f}, t2, NONE, 0, w);
    for (int half_way = ITEMS / 2; half_way > 0; half_way /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < half_way) room[lane] += room[lane + half_way];
    }
    if (lane == 0) dots[matrix] = room[0];
}
