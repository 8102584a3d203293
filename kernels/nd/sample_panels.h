/* Covariances of few features, and what their gradient makes of the input, of one matrix whose patches have no pixel in
 * common: samples are gathered into panels (panels.h) that stay in the cache, and no row reaches memory. A work-item
 * takes a share of the patches and has a panel or two of the scratch. Written for work-groups of one item; a part of
 * statistics.cl.
 *
 *  TM, STRIPS  as in panels.h
 */
#include "nd/panels.h"

/* Where the first segment of a tap lies, as PLACE() says, and the one after another. */
struct spot {
    int run, sample;
};
struct spot first_spot(const struct geometry g, int tap) {
    struct spot spot = {tap / g.interleave, tap % g.interleave};
    return spot;
}
struct spot next_spot(const struct geometry g, struct spot spot) {
    spot.sample += TAPS;
    while (spot.sample >= g.interleave) spot.sample -= g.interleave, spot.run++;
    return spot;
}
#define IN_PANEL(position, row) ((position) / 16 * PANEL_STRIP + 16 * (row) + (position) % 16)

/* The samples of patches from .. to, less the mean. */
void gather_panel(const struct geometry g, global const ACT *x, int from, int to, global const float *high,
                  global const float *low, global float *panel) {
    for (int p = from; p < to; p++) {
        const int row = (p - from) * g.interleave;
        for (int tap = 0; tap < TAPS; tap++) {
            const long pixel = find_pixel(g, p, tap);
            global const ACT *in = x + pixel * g.channels;
            struct spot spot = first_spot(g, tap);
            for (int e = 0; e < g.interleave; e++, spot = next_spot(g, spot)) {
                for (int i = 0; i < g.block; i += VEC) {
                    const int at = spot.run * g.block + i;
                    const vec value = pixel < 0 ? (vec)(0.0f) : take(in + e * START + i * CHANNEL_STEP, g.interleave);
                    STORE(value - LOAD(high + at) - LOAD(low + at), panel + IN_PANEL(at, row + spot.sample));
                }
            }
        }
    }
}

void add_to_channels(vec v, global ACT *p, int step) {
#if VEC == 1
    STORE_ACT1(LOAD_ACT1(p) + v, p);
#elif STRIDED
    float part[VEC];
    STORE(take(p, step) + v, part);
    for (int i = 0; i < VEC; i++) STORE_ACT1(part[i], p + i * step);
#else
    STORE_ACT(LOAD_ACT(p) + v, p);
#endif
}

/* dx += what the panel has for the pixels of patches from .. to, and dmean. */
void scatter_panel(const struct geometry g, global const float *panel, global const float *dmean, int from, int to,
                   global ACT *dx) {
    for (int p = from; p < to; p++) {
        const int row = (p - from) * g.interleave;
        for (int tap = 0; tap < TAPS; tap++) {
            const long pixel = find_pixel(g, p, tap);
            if (pixel < 0) continue;
            global ACT *out = dx + pixel * g.channels;
            struct spot spot = first_spot(g, tap);
            for (int e = 0; e < g.interleave; e++, spot = next_spot(g, spot)) {
                for (int i = 0; i < g.block; i += VEC) {
                    const int at = spot.run * g.block + i;
                    add_to_channels(LOAD(panel + IN_PANEL(at, row + spot.sample)) + LOAD(dmean + at),
                                    out + e * START + i * CHANNEL_STEP, g.interleave);
                }
            }
        }
    }
}

/* This item's patches first .. end, `together` of them in a panel, whose last strip is cleared where it is not full. */
#define PATCHES                                                                                                        \
    const struct geometry g = *layer;                                                                                  \
    const int n = TAPS * g.block, parts = get_num_groups(0), part = get_group_id(0);                                   \
    const int each = (patches + parts - 1) / parts, first = min(part * each, patches);                                 \
    const int end = min(first + each, patches), together = PANEL_ROWS / g.interleave;                                  \
    const int size = (n + 15) / 16 * PANEL_STRIP;

/* sums = scale times the sums of products of the samples: (parts, n, n). */
kernel void covariance_panels(global const ACT *x, global const struct geometry *layer, int patches,
                              global const float *high, global const float *low, float scale, global float *scratch,
                              global float *sums) {
    PATCHES
    global float *panel = scratch + (size_t)part * size;
    sums += (size_t)part * n * n;
    for (int i = 0; i < n * n; i++) sums[i] = 0.0f;
    for (int i = size - PANEL_STRIP; i < size; i++) panel[i] = 0.0f;
    for (int from = first; from < end; from += together) {
        const int to = min(from + together, end);
        gather_panel(g, x, from, to, high, low, panel);
        add_panels(panel, panel, n, (to - from) * g.interleave, 1, scale, sums);
    }
    mirror(sums, n, 0, n, 0, n);
}

/* dx += the gradient of the samples, X B + dmean; packed: B, as multiply_panels() has it. */
kernel void scatter_panels(global const ACT *x, global const struct geometry *layer, int patches,
                           global const float *high, global const float *low, global const float *packed,
                           global const float *dmean, global float *scratch, global ACT *dx) {
    PATCHES
    global float *panel = scratch + (size_t)part * 2 * size, *result = panel + size;
    for (int from = first; from < end; from += together) {
        const int to = min(from + together, end);
        gather_panel(g, x, from, to, high, low, panel);
        multiply_panels(panel, packed, n, (to - from) * g.interleave, result);
        scatter_panel(g, result, dmean, from, to, dx);
    }
}
