#include "base/divide.h"

static int64_t least_of(const struct bl_division_of *d) {
    return d->least > 1 ? d->least : 1;
}

/* In proportion, rounded down, with room for the least of those before and behind. */
struct bl_own_part bl_divide(const struct bl_division_of *d, int images) {
    if (d->ranks < 2) return (struct bl_own_part){0, images, false};
    const int64_t least = least_of(d);
    if (images < least * d->ranks) return (struct bl_own_part){0, images, true};
    int64_t all = 0, sum = 0, first = 0, end = 0;
    for (int k = 0; k < d->ranks; k++) all += d->share[k];
    for (int k = 0; k <= d->rank; k++) {
        const int64_t most = images - least * (d->ranks - 1 - k);
        first = end, sum += d->share[k];
        end = (int64_t)images * sum / all;
        if (end < first + least) end = first + least;
        if (end > most) end = most;
    }
    return (struct bl_own_part){(int)first, (int)(end - first), false};
}

int bl_divide_most(const struct bl_division_of *d, int images) {
    if (d->ranks < 2) return images;
    int64_t all = 0, most = least_of(d) * d->ranks - 1; // of a batch that is not shared
    for (int k = 0; k < d->ranks; k++) all += d->share[k];
    const int64_t own = ((int64_t)images * d->share[d->rank] + all - 1) / all;
    if (own > most) most = own;
    return most < images ? (int)most : images;
}
