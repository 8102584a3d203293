/* Depthwise layers' covariances and the way back through them, without rows: for nd/statistics.cl, whose head says what
 * the sizes mean. Vectors run over channels. */
#include "fetch.h"

/* An item forms its sums at once, or on Intel, where 16 lanes have registers for half of 45 sums, in two turns: those
 * of the first third of the taps and the others. */
#ifdef cl_intel_required_subgroup_size
#define FIRST_TAPS(first) ((first) ? TAPS : (TAPS + 2) / 3)
#else
#define FIRST_TAPS(first) TAPS
#endif
#define PAIR(a, b) ((a)*TAPS - (a) * ((a)-1) / 2 + (b) - (a))
#define IS_PAIR(a, b) ((a) >= first && (a) < end && (b) >= (a))

/* The channels of an item, where it has several vectors: dimension 0 divides them. */
#define FIND_CHANNELS(g)                                                                                               \
    const int vectors = (g.channels / VEC_SUM + (int)get_global_size(0) - 1) / (int)get_global_size(0);                \
    const int first = get_global_id(0) * vectors * VEC_SUM, end = min(first + vectors * VEC_SUM, g.channels);

/* partial[c] = sums of products of centred taps a <= b over patches c*chunk...: (chunks, TAPS*(TAPS+1)/2, C), a by a.
 */
kernel LANES16 void covariance_depthwise(global const ACT *x, global const struct geometry *layer, int patches,
                                         int chunk, global const float *high, global const float *low,
                                         global float *partial) {
    const struct geometry g = *layer;
    const int from = get_global_id(1) * chunk, to = min(from + chunk, patches), pairs = TAPS * (TAPS + 1) / 2;
    if (from >= patches) return;
    partial += (size_t)get_global_id(1) * pairs * g.channels;
#if LANES
    const int c = get_global_id(0) * VEC_SUM;
    if (c >= g.channels) return;
    UNROLL for (int first = 0; first < TAPS; first += FIRST_TAPS(first)) {
        vec_sum sums[TAPS * (TAPS + 1) / 2], tile[TAPS]; // of the pairs of taps first .. end - 1 with those behind
        const int end = first + FIRST_TAPS(first);
        UNROLL for (int a = 0; a < TAPS; a++) UNROLL for (int b = 0; b < TAPS; b++) if (IS_PAIR(a, b))
            sums[PAIR(a, b)] = (vec_sum)(0.0f);
        for (int p = from; p < to; p++) {
            UNROLL for (int tap = 0; tap < TAPS; tap++) if (tap >= first) {
                const long pixel = find_pixel(g, p, tap);
                tile[tap] = pixel < 0 ? (vec_sum)(0.0f) : LOAD_ACT_SUM(x + pixel * g.channels + c);
                tile[tap] -= LOAD_SUM(high + tap * g.channels + c);
                tile[tap] -= LOAD_SUM(low + tap * g.channels + c);
            }
            UNROLL for (int a = 0; a < TAPS; a++) UNROLL for (int b = 0; b < TAPS; b++) if (IS_PAIR(a, b))
                sums[PAIR(a, b)] += tile[a] * tile[b];
        }
        UNROLL for (int a = 0; a < TAPS; a++) UNROLL for (int b = 0; b < TAPS; b++) if (IS_PAIR(a, b))
            STORE_SUM(sums[PAIR(a, b)], partial + PAIR(a, b) * g.channels + c);
    }
#else
    FIND_CHANNELS(g)
    for (int c = first; c < end; c += VEC_SUM)
        for (int pair = 0; pair < pairs; pair++) STORE_SUM((vec_sum)(0.0f), partial + pair * g.channels + c);
    for (int p = from; p < to; p += 4) {
        long pixels[4][TAPS]; // -2: of no patch
        for (int i = 0; i < 4; i++)
            for (int tap = 0; tap < TAPS; tap++) pixels[i][tap] = p + i < to ? find_pixel(g, p + i, tap) : -2;
        for (int c = first; c < end; c += VEC_SUM) {
            vec_sum tile[4][TAPS]; // so that a sum is read and written once for four patches
            for (int tap = 0; tap < TAPS; tap++) {
                const vec_sum mean = LOAD_SUM(high + tap * g.channels + c), rest = LOAD_SUM(low + tap * g.channels + c);
                for (int i = 0; i < 4; i++) {
                    const long pixel = pixels[i][tap];
                    vec_sum value = (vec_sum)(0.0f);
                    if (pixel >= 0) value = LOAD_ACT_SUM(x + pixel * g.channels + c);
                    if (pixel >= -1) value = value - mean - rest;
                    tile[i][tap] = value;
                }
            }
            global float *out = partial + c;
            UNROLL for (int a = 0; a < TAPS; a++) {
                UNROLL for (int b = a; b < TAPS; b++) {
                    const vec_sum two = tile[0][a] * tile[0][b] + tile[1][a] * tile[1][b];
                    STORE_SUM(LOAD_SUM(out) + (two + (tile[2][a] * tile[2][b] + tile[3][a] * tile[3][b])), out);
                    out += g.channels;
                }
            }
        }
    }
#endif
}

/* dx += scale (Sbar of this tap's row) (centred samples of the patch) + dmean, for every patch that a pixel is in.
 * APART: that is one at most, and the lines counted are patches. */
kernel void scatter_depthwise(global const ACT *x, global const float *high, global const float *low,
                              global const float *sbar, global const float *dmean, global const struct geometry *layer,
                              float scale, int line_count, int chunk, global ACT *dx) {
    const struct geometry g = *layer;
    const int from = get_global_id(1) * chunk, to = min(from + chunk, line_count);
#if APART
#define ALL _Pragma("unroll")
    FIND_CHANNELS(g)
    for (int p = from; p < to; p += 2) {
        long pixels[2][TAPS];
        for (int i = 0; i < 2; i++)
            for (int tap = 0; tap < TAPS; tap++) pixels[i][tap] = p + i < to ? find_pixel(g, p + i, tap) : -1;
        long later[2 * TAPS]; // of the next two: patches lie apart, which no hardware foresees
        for (int i = 0; i < 2 * TAPS; i++) later[i] = max(find_pixel(g, min(p + 2 + i / TAPS, to - 1), i % TAPS), 0L);
        for (int c = first; c < end; c += VEC_SUM) {
            vec_sum tile[2][TAPS];
            ALL for (int i = 0; i < 2 * TAPS; i++) {
                FETCH(x + later[i] * g.channels + c);
                FETCH(dx + later[i] * g.channels + c);
            }
            ALL for (int tap = 0; tap < TAPS; tap++) {
                const vec_sum mean = LOAD_SUM(high + tap * g.channels + c), rest = LOAD_SUM(low + tap * g.channels + c);
                ALL for (int i = 0; i < 2; i++) {
                    vec_sum value = (vec_sum)(0.0f);
                    if (pixels[i][tap] >= 0) value = LOAD_ACT_SUM(x + pixels[i][tap] * g.channels + c);
                    tile[i][tap] = value - mean - rest;
                }
            }
            ALL for (int tap = 0; tap < TAPS; tap++) {
                vec_sum sums[2] = {(vec_sum)(0.0f), (vec_sum)(0.0f)};
                ALL for (int other = 0; other < TAPS; other++) {
                    const vec_sum factor = LOAD_SUM(sbar + (size_t)(tap * TAPS + other) * g.channels + c);
                    ALL for (int i = 0; i < 2; i++) sums[i] += factor * tile[i][other];
                }
                const vec_sum mean = LOAD_SUM(dmean + tap * g.channels + c);
                ALL for (int i = 0; i < 2; i++) {
                    if (pixels[i][tap] < 0) continue;
                    global ACT *out = dx + pixels[i][tap] * g.channels + c;
                    STORE_ACT_SUM(LOAD_ACT_SUM(out) + (scale * sums[i] + mean), out);
                }
            }
        }
    }
#else
    for (int line = from; line < to; line++) {
        for (int column = 0; column < g.width; column++) {
            FIND_TAPS(g, line, column)
#if !LANES
            long pixels[TAPS][TAPS];
            for (int k = 0; k < count; k++)
                for (int other = 0; other < TAPS; other++) pixels[k][other] = find_pixel(g, patches[k], other);
#endif
            for (int c = get_global_id(0) * VEC_SUM; c < g.channels; c += get_global_size(0) * VEC_SUM) {
                global ACT *out = dx + ((long)line * g.width + column) * g.channels + c;
                vec_sum all = LOAD_ACT_SUM(out);
                for (int k = 0; k < count; k++) {
#if LANES
                    const int tap = k, p = patch_of(g, line, column, tap);
                    if (p < 0) continue;
#else
                    const int tap = taps[k];
#endif
                    vec_sum sum = (vec_sum)(0.0f);
                    for (int other = 0; other < TAPS; other++) {
                        vec_sum value = (vec_sum)(0.0f);
#if LANES
                        const long pixel = find_pixel(g, p, other);
#else
                        const long pixel = pixels[k][other];
#endif
                        if (pixel >= 0) value = LOAD_ACT_SUM(x + pixel * g.channels + c);
                        value -= LOAD_SUM(high + other * g.channels + c);
                        value -= LOAD_SUM(low + other * g.channels + c);
                        sum += LOAD_SUM(sbar + (size_t)(tap * TAPS + other) * g.channels + c) * value;
                    }
                    all += scale * sum + LOAD_SUM(dmean + tap * g.channels + c);
                }
                STORE_ACT_SUM(all, out);
            }
        }
    }
#endif
}
