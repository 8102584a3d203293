/* Samples of a layer's input for whitening: their sums, the centred rows, and the way back.
 *
 * Patches are counted after every skip-th alone is taken. A patch p gives `interleave` (G) samples of F = TAPS * block
 * features. The rows hold the features tap-major, which copies runs of channels: position r*block + i of a row is
 * feature f = TAPS*i + r. A segment e is a run of `block` channels of one pixel: one matrix (matrices == 1): with q =
 * e*TAPS + tap, segment e of tap `tap` is position q/G*block of sample q%G; its channels are e, e + G, e + 2G ...
 * (STRIDED, blocks interleave: flat feature f*G + g), or e*block ... (else) several matrices (groups whitened apart):
 * segment e belongs to matrix e, channels e*block ..., position tap*block. x, dx: (N, H, W, C). rows, drows: (patches,
 * G, matrices, F). Mean and its gradient in the rows' order: (matrices, F).
 *
 * A work-item takes a range of patches or image rows (dimension 1), a range of segments (dimension 2), and vectors of
 * channels in turn (dimension 0). Where blocks are NARROW, segments are counted in dimension 0 and 2 is not used.
 *
 *  VEC             channels of a segment at once: 1, 2, 4, 8, 16; divides block
 *  VEC_SUM         channels at once in sums: divides C
 *  STRIDED         1: the channels of a segment lie G apart
 *  NARROW          0, or the block where it is small and there are several matrices
 *  TAPS_Y, TAPS_X  size of a patch
 *  STEP_Y, STEP_X  distance of patches (1 where FLAT is set)
 *  FLAT            0: patches; n: every n-th pixel of the batch is a sample, of one tap
 *  KERNELS         0: sums, and rows there and back; 1: sums, and depthwise layers; 2: between refreshes;
 *                  3: rows there and back by panels (sample_panels.h)
 *  LANES           1: an item takes one vector of channels, so that nothing is kept for the next (0)
 *  APART           1: patches have no pixel in common, and items take several vectors of channels (0)
 *  CUT             1: x is rectified, and where it is not above 0 nothing is added to its gradient (0)
 *  ACT_TYPE        of x and dx (vec.h)
 *
 * Sums are of differences to the mean of a few patches, and the mean is taken out in two parts, rounded and what that
 * lacks: where samples lie close together far from 0, rows would else sum to the mean's rounding instead of to 0, and
 * the gradient of S, large where samples are fewer than features, makes an error of that.
 *
 * Depthwise layers (block 1, a matrix a channel) need no rows: vectors run over channels, and what other layers keep as
 * (matrices, F) or (matrices, F, F) has the channels last here. Their two kernels take channels in dimension 0.
 */
#if !defined(VEC) || !defined(VEC_SUM) || !defined(STRIDED) || !defined(NARROW) || !defined(TAPS_Y) ||                 \
    !defined(TAPS_X) || !defined(STEP_Y) || !defined(STEP_X) || !defined(FLAT) || !defined(KERNELS)
#error "nd/statistics.cl needs VEC, VEC_SUM, STRIDED, NARROW, TAPS_Y, TAPS_X, STEP_Y, STEP_X, FLAT and KERNELS"
#endif
#ifndef LANES
#define LANES 0
#endif
#ifndef APART
#define APART 0
#endif
#ifndef CUT
#define CUT 0
#endif
#define TAPS (TAPS_Y * TAPS_X)
#define PILOTS 8

#include "vec.h"
#include "loop.h"
#include "nd/geometry.h"

#if VEC_SUM == 1
typedef float vec_sum;
#define LOAD_SUM(p) (*(p))
#define STORE_SUM(v, p) (*(p) = (v))
#else
typedef JOIN(float, VEC_SUM) vec_sum;
#define LOAD_SUM(p) JOIN(vload, VEC_SUM)(0, p)
#define STORE_SUM(v, p) JOIN(vstore, VEC_SUM)(v, 0, p)
#endif
#define LOAD_ACT_SUM(p) JOIN(LOAD_ACT, VEC_SUM)(p)
#define STORE_ACT_SUM(v, p) JOIN(STORE_ACT, VEC_SUM)(v, p)

#if STRIDED
#define CHANNEL_STEP g.interleave
#define AT(i) LOAD_ACT1(p + (i)*step)
vec take(global const ACT *p, int step) {
#if ACT_TYPE && VEC > 1 && !LANES
    ushort part[VEC]; // converted at once: a GPU's compiler may keep it in memory
    for (int i = 0; i < VEC; i++) part[i] = ((global const ushort *)p)[i * step];
    return LOAD_ACT((const ACT *)part);
#elif VEC == 16
    return (vec)(AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7), AT(8), AT(9), AT(10), AT(11), AT(12), AT(13),
                 AT(14), AT(15));
#elif VEC == 8
    return (vec)(AT(0), AT(1), AT(2), AT(3), AT(4), AT(5), AT(6), AT(7));
#elif VEC == 4
    return (vec)(AT(0), AT(1), AT(2), AT(3));
#elif VEC == 2
    return (vec)(AT(0), AT(1));
#else
    return LOAD_ACT1(p);
#endif
}
void put(vec v, global ACT *p, int step) {
#if VEC == 1
    STORE_ACT1(v, p);
#elif ACT_TYPE && !LANES
    ushort part[VEC];
    STORE_ACT(v, (ACT *)part);
    for (int i = 0; i < VEC; i++) ((global ushort *)p)[i * step] = part[i];
#else
    float part[VEC];
    STORE(v, part);
    UNROLL for (int i = 0; i < VEC; i++) STORE_ACT1(part[i], p + i * step);
#endif
}
#define START 1
#else
#define CHANNEL_STEP 1
#define START g.block
#define take(p, step) LOAD_ACT(p)
#define put(v, p, step) STORE_ACT(v, p)
#endif

/* The pixel of a tap of patch p, or -1 in the padding. */
long find_pixel(const struct geometry g, int p, int tap) {
#if FLAT
    return g.first + (long)p * FLAT * g.skip;
#else
    const long place = g.first + (long)p * g.skip;
    const int image = place / (g.down * g.across), at = place % (g.down * g.across);
    const int y = at / g.across * STEP_Y - g.pad_y + tap / TAPS_X * g.dilation_y;
    const int x = at % g.across * STEP_X - g.pad_x + tap % TAPS_X * g.dilation_x;
    return y < 0 || y >= g.height || x < 0 || x >= g.width ? -1 : ((long)image * g.height + y) * g.width + x;
#endif
}

/* The number of a patch among those that are taken, or -1; `place` counts all. */
int find_patch(const struct geometry g, long place) {
    if (g.skip == 1) return (int)place;
    place -= g.first;
    return place < 0 || place % g.skip ? -1 : (int)(place / g.skip);
}

/* What this item does: segments first..end, and channels lane, lane + lanes, ... of each. */
struct share {
    int first, end, lane, lanes;
};
struct share share_of(const struct geometry g) {
    const int dimension = NARROW ? 0 : 2, segments = g.matrices > 1 ? g.matrices : g.interleave;
    const int each = (segments + (int)get_global_size(dimension) - 1) / (int)get_global_size(dimension);
    struct share share;
    share.first = get_global_id(dimension) * each;
    share.end = min(share.first + each, segments);
    share.lane = NARROW ? 0 : get_global_id(0) * VEC;
    share.lanes = NARROW ? VEC : get_global_size(0) * VEC;
    return share;
}
/* Where segment e of a tap lies in the rows: which sample of the patch, and the position in it. */
#define PLACE(e, tap)                                                                                                  \
    const int place = g.matrices > 1 ? (tap) : (e)*TAPS + (tap);                                                       \
    const int run = g.interleave > 1 ? place / g.interleave : place,                                                   \
              sample = g.interleave > 1 ? place % g.interleave : 0

/* The pixels of a patch's taps. */
#if LANES
#define FIND_PIXELS(p)
#define PIXEL(p, tap) find_pixel(g, p, tap)
#else
#define FIND_PIXELS(p)                                                                                                 \
    long pixels[TAPS];                                                                                                 \
    for (int i = 0; i < TAPS; i++) pixels[i] = find_pixel(g, p, i);
#define PIXEL(p, tap) pixels[tap]
#endif

/* The patch whose tap sees column x of an image row (of N*H), or -1. */
int patch_of(const struct geometry g, int line, int x, int tap) {
#if FLAT
    const long pixel = (long)line * g.width + x - g.first, step = (long)FLAT * g.skip;
    return pixel < 0 || pixel % step ? -1 : (int)(pixel / step);
#else
    const long image = line / g.height;
    const int ty = line % g.height + g.pad_y - tap / TAPS_X * g.dilation_y;
    const int tx = x + g.pad_x - tap % TAPS_X * g.dilation_x;
    if (ty < 0 || ty % STEP_Y != 0 || ty / STEP_Y >= g.down || tx < 0 || tx % STEP_X != 0 || tx / STEP_X >= g.across)
        return -1;
    return find_patch(g, (image * g.down + ty / STEP_Y) * g.across + tx / STEP_X);
#endif
}
/* The columns of a row that any tap may see: from FIRST_SEEN on in steps of SEEN_STEP. */
#if FLAT
#define SEEN_STEP(g) (FLAT * g.skip)
int first_seen(const struct geometry g, int line) {
    const long step = (long)SEEN_STEP(g), at = (long)line * g.width - g.first;
    return (int)(at < 0 ? -at : (step - at % step) % step);
}
#define FIRST_SEEN(g, line) first_seen(g, line)
#else
#define SEEN_STEP(g) 1
#define FIRST_SEEN(g, line) 0
#endif
/* The taps that see a pixel and their patches, count of them; with LANES all taps, of which patch_of tells. */
#if LANES
#define FIND_TAPS(g, line, x) const int count = TAPS;
#else
#define FIND_TAPS(g, line, x)                                                                                          \
    int taps[TAPS], patches[TAPS], count = 0;                                                                          \
    for (int tap = 0; tap < TAPS; tap++) {                                                                             \
        taps[count] = tap;                                                                                             \
        patches[count] = patch_of(g, line, x, tap);                                                                    \
        count += patches[count] >= 0;                                                                                  \
    }                                                                                                                  \
    if (count == 0) continue;
#endif

#if KERNELS < 2
/* The mean of what a tap meets in PILOTS patches, evenly spread. */
vec_sum pilot_of(const struct geometry g, global const ACT *x, int patches, int tap, int c) {
    const int count = min(PILOTS, patches);
    vec_sum sum = (vec_sum)(0.0f);
    for (int i = 0; i < count; i++) {
        const long pixel = find_pixel(g, (long)i * patches / count, tap);
        if (pixel >= 0) sum += LOAD_ACT_SUM(x + pixel * g.channels + c);
    }
    return sum * (1.0f / count);
}

#if !LANES
/* pilot: (TAPS, C). An item takes taps in turn (dimension 1). */
kernel void pilot_samples(global const ACT *x, global const struct geometry *layer, int patches, global float *pilot) {
    const struct geometry g = *layer;
    const int lane = get_global_id(0) * VEC_SUM, lanes = get_global_size(0) * VEC_SUM;
    for (int tap = get_global_id(1); tap < TAPS; tap += get_global_size(1))
        for (int c = lane; c < g.channels; c += lanes)
            STORE_SUM(pilot_of(g, x, patches, tap, c), pilot + tap * g.channels + c);
}
#endif

/* partial[c] = sums of what each tap meets less its pilot, over patches c*chunk...: (chunks, TAPS, C). With LANES the
 * items of a tap and vector find its pilot themselves, and the first keeps it. */
kernel void sum_samples(global const ACT *x, global const struct geometry *layer, int patches, int chunk,
                        global float *pilot, global float *partial) {
    const struct geometry g = *layer;
    const int lane = get_global_id(0) * VEC_SUM, lanes = get_global_size(0) * VEC_SUM;
    const int from = get_global_id(1) * chunk, to = min(from + chunk, patches);
    if (from >= patches) return;
    partial += (size_t)get_global_id(1) * TAPS * g.channels;
#if LANES
    for (int tap = get_global_id(2); tap < TAPS; tap += get_global_size(2)) {
        for (int c = lane; c < g.channels; c += lanes) {
            const vec_sum left_out = pilot_of(g, x, patches, tap, c);
            vec_sum sum = (vec_sum)(0.0f);
            for (int p = from; p < to; p++) {
                const long pixel = find_pixel(g, p, tap);
                sum += (pixel < 0 ? (vec_sum)(0.0f) : LOAD_ACT_SUM(x + pixel * g.channels + c)) - left_out;
            }
            STORE_SUM(sum, partial + tap * g.channels + c);
            if (from == 0) STORE_SUM(left_out, pilot + tap * g.channels + c);
        }
    }
#else
    for (int tap = 0; tap < TAPS; tap++)
        for (int c = lane; c < g.channels; c += lanes) STORE_SUM((vec_sum)(0.0f), partial + tap * g.channels + c);
    for (int p = from; p < to; p++) {
        for (int tap = 0; tap < TAPS; tap++) {
            const long pixel = find_pixel(g, p, tap);
            global const ACT *in = x + (pixel < 0 ? 0 : pixel) * g.channels;
            global const float *left_out = pilot + tap * g.channels;
            global float *out = partial + tap * g.channels;
            for (int c = lane; c < g.channels; c += lanes) {
                const vec_sum value = pixel < 0 ? (vec_sum)(0.0f) : LOAD_ACT_SUM(in + c);
                STORE_SUM(LOAD_SUM(out + c) + (value - LOAD_SUM(left_out + c)), out + c);
            }
        }
    }
#endif
}

#endif
#if KERNELS == 0
/* The rows of patch p: samples less the mean, whose parts are high and low; what lies in the padding is 0. */
void gather_patch(const struct geometry g, global const ACT *x, int p, const struct share share,
                  global const float *high, global const float *low, global float *rows) {
    const int features = TAPS * g.block;
#if NARROW && LANES
    global float *out = rows + (size_t)p * g.matrices * features;
    for (int tap = 0; tap < TAPS; tap++) {
        const long pixel = find_pixel(g, p, tap);
        for (int at = share.first * NARROW; at < share.end * NARROW; at++) {
            const int to = (at / NARROW * TAPS + tap) * NARROW + at % NARROW;
            out[to] = (pixel < 0 ? 0.0f : LOAD_ACT1(x + (pixel * g.channels + at))) - high[to] - low[to];
        }
    }
#elif NARROW
    global const ACT *in[TAPS];
    bool inside[TAPS];
    for (int tap = 0; tap < TAPS; tap++) {
        const long pixel = find_pixel(g, p, tap);
        inside[tap] = pixel >= 0;
        in[tap] = x + (pixel < 0 ? 0 : pixel) * g.channels;
    }
    global float *out = rows + (size_t)p * g.matrices * features;
    for (int e = share.first; e < share.end; e++) {
        for (int i = 0; i < NARROW; i++) {
            for (int tap = 0; tap < TAPS; tap++) {
                const float value = LOAD_ACT1(in[tap] + (e * NARROW + i));
                const int at = (e * TAPS + tap) * NARROW + i;
                out[at] = (inside[tap] ? value : 0.0f) - high[at] - low[at];
            }
        }
    }
#else
    for (int tap = 0; tap < TAPS; tap++) {
        const long pixel = find_pixel(g, p, tap);
        for (int e = share.first; e < share.end; e++) {
            PLACE(e, tap);
            const int matrix = g.matrices > 1 ? e : 0;
            global const ACT *in = x + pixel * g.channels + e * START;
            const size_t begin = (size_t)matrix * features + run * g.block;
            global float *out =
                rows + (((size_t)p * g.interleave + sample) * g.matrices + matrix) * features + run * g.block;
            for (int i = share.lane; i < g.block; i += share.lanes) {
                const vec value = pixel < 0 ? (vec)(0.0f) : take(in + i * CHANNEL_STEP, g.interleave);
                STORE(value - LOAD(high + begin + i) - LOAD(low + begin + i), out + i);
            }
        }
    }
#endif
}

kernel void gather_samples(global const ACT *x, global const struct geometry *layer, int patches, int chunk,
                           global const float *high, global const float *low, global float *rows) {
    const struct geometry g = *layer;
    const struct share share = share_of(g);
    const int from = get_global_id(1) * chunk, to = min(from + chunk, patches);
    for (int p = from; p < to; p++) gather_patch(g, x, p, share, high, low, rows);
}

#if CUT
#define KEPT(x, value) ((x) <= (vec)(0.0f) ? (vec)(0.0f) : (value))
#else
#define KEPT(x, value) (value)
#endif

/* Where segment e of a tap lies in a patch's rows and in the mean. */
struct spot {
    size_t row;
    int mean;
};
struct spot spot_of(const struct geometry g, int p, int e, int tap) {
    PLACE(e, tap);
    const int features = TAPS * g.block, matrix = g.matrices > 1 ? e : 0;
    struct spot spot;
    spot.mean = matrix * features + run * g.block;
    spot.row = ((size_t)p * g.interleave + sample) * g.matrices * features + spot.mean;
    return spot;
}

/* On Intel four taps at once: all would take more registers than 16 lanes have. */
#if LANES && defined(cl_intel_required_subgroup_size)
#define EACH_TAP LOOP4
#else
#define EACH_TAP
#endif

/* dx += the gradients of the samples that a pixel is in, taps in order, rounded once; dmean is added to every sample.
 * line_count image rows (N*H); `chunk` of them an item. */
kernel LANES16 void scatter_samples(global const float *drows, global const float *dmean, global const ACT *input,
                                    global const struct geometry *layer, int line_count, int chunk, global ACT *dx) {
    const struct geometry g = *layer;
    const struct share share = share_of(g);
    const int from = get_global_id(1) * chunk, to = min(from + chunk, line_count);
    for (int line = from; line < to; line++) {
        for (int x = FIRST_SEEN(g, line); x < g.width; x += SEEN_STEP(g)) {
            const long at = ((long)line * g.width + x) * g.channels;
            global ACT *pixel = dx + at;
            FIND_TAPS(g, line, x)
            for (int e = share.first; e < share.end; e++) {
#if !LANES
                struct spot spots[TAPS];
                for (int k = 0; k < count; k++) spots[k] = spot_of(g, patches[k], e, taps[k]);
#endif
                for (int i = share.lane; i < g.block; i += share.lanes) {
                    global ACT *out = pixel + e * START + i * CHANNEL_STEP;
                    vec sum = take(out, g.interleave);
                    EACH_TAP for (int k = 0; k < count; k++) {
#if LANES
                        const int p = patch_of(g, line, x, k);
                        if (p < 0) continue;
                        const struct spot spot = spot_of(g, p, e, k);
#else
                        const struct spot spot = spots[k];
#endif
                        sum += LOAD(drows + spot.row + i) + LOAD(dmean + spot.mean + i);
                    }
                    put(KEPT(take(input + at + e * START + i * CHANNEL_STEP, g.interleave), sum), out, g.interleave);
                }
            }
        }
    }
}

#elif KERNELS == 1
#include "nd/sample_channels.h"

#elif KERNELS == 3
#include "nd/sample_panels.h"

#else
/* Between refreshes (refresh.cl). partial[c] = sums of (x - mean)^2 over all taps and patches c*chunk...:
 * (chunks, C). mean: (TAPS, C), of what a tap sees of a channel. Channels in dimension 0. */
kernel void square_samples(global const ACT *x, global const struct geometry *layer, int patches, int chunk,
                           global const float *mean, global float *partial) {
    const struct geometry g = *layer;
    const int lane = get_global_id(0) * VEC_SUM, lanes = get_global_size(0) * VEC_SUM;
    const int from = get_global_id(1) * chunk, to = min(from + chunk, patches);
    if (from >= patches) return;
    partial += (size_t)get_global_id(1) * g.channels;
    for (int c = lane; c < g.channels; c += lanes) STORE_SUM((vec_sum)(0.0f), partial + c);
    for (int p = from; p < to; p++) {
        FIND_PIXELS(p)
        for (int c = lane; c < g.channels; c += lanes) {
            vec_sum sum = LOAD_SUM(partial + c);
            for (int tap = 0; tap < TAPS; tap++) {
                vec_sum value = LOAD_SUM(mean + tap * g.channels + c);
                const long pixel = PIXEL(p, tap);
                if (pixel >= 0) value = LOAD_ACT_SUM(x + pixel * g.channels + c) - value;
                sum += value * value;
            }
            STORE_SUM(sum, partial + c);
        }
    }
}

/* dx += slope + factor x for every tap that sees a pixel. slopes: (TAPS + 1, C), the factors last. Channels in
 * dimension 0. */
kernel void scatter_reused(global const ACT *x, global const float *slopes, global const struct geometry *layer,
                           int line_count, int chunk, global ACT *dx) {
    const struct geometry g = *layer;
    const int lane = get_global_id(0) * VEC_SUM, lanes = get_global_size(0) * VEC_SUM;
    const int from = get_global_id(1) * chunk, to = min(from + chunk, line_count);
    for (int line = from; line < to; line++) {
        for (int column = FIRST_SEEN(g, line); column < g.width; column += SEEN_STEP(g)) {
            FIND_TAPS(g, line, column)
#if LANES
            int seen = 0;
            for (int tap = 0; tap < TAPS; tap++) seen += patch_of(g, line, column, tap) >= 0;
            if (seen == 0) continue;
#define IS_TAP(i) (patch_of(g, line, column, i) >= 0)
#define TAP(i) (i)
#else
            const int seen = count;
#define IS_TAP(i) true
#define TAP(i) taps[i]
#endif
            const size_t pixel = ((size_t)line * g.width + column) * g.channels;
            for (int c = lane; c < g.channels; c += lanes) {
                vec_sum sum = (float)seen * LOAD_SUM(slopes + TAPS * g.channels + c) * LOAD_ACT_SUM(x + pixel + c);
                for (int i = 0; i < count; i++)
                    if (IS_TAP(i)) sum += LOAD_SUM(slopes + TAP(i) * g.channels + c);
                STORE_ACT_SUM(LOAD_ACT_SUM(dx + pixel + c) + sum, dx + pixel + c);
            }
        }
    }
}
#endif
