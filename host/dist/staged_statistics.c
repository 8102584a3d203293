/* Statistics of all ranks' rows, of what each has: moments of channels, and sums in chunks. */
#include "dist/staged_internal.h"
#include "graph/phase.h"
#include <stdlib.h>

/* --- moments ------------------------------------------------------------------------------------ */

/* Mean and sum of squared differences of two sets of rows, n and m of them, become those of both: Chan, Golub and
 * LeVeque (1979). */
static void merge_two(double n, double *mean, double *squares, double m, double other_mean, double other_squares) {
    const double difference = other_mean - *mean;
    if (!(m > 0)) return;
    *mean += difference * m / (n + m);
    *squares += other_squares + difference * difference * n * m / (n + m);
}

/* own: (1 + 2 channels), of this rank's chunks. */
static int merge_chunks(const struct bl_moments *m, double *own) {
    const int64_t chunks = (m->rows + m->chunk - 1) / m->chunk, c = m->channels;
    float *values = bl_calloc((size_t)(2 * c * chunks), sizeof *values);
    int code = values ? bl_mem_read(m->partial, 0, (size_t)(2 * c * chunks) * sizeof *values, values) : BLANCH_ENOMEM;
    double *mean = own + 1, *squares = own + 1 + c, rows = 0;
    for (int64_t k = 0; k < chunks && !code; k++) {
        const double here = (double)(k + 1 < chunks ? m->chunk : m->rows - k * m->chunk);
        for (int64_t i = 0; i < c; i++)
            merge_two(rows, &mean[i], &squares[i], here, (double)values[2 * k * c + i],
                      (double)values[(2 * k + 1) * c + i]);
        rows += here;
    }
    own[0] = rows;
    free(values);
    return code;
}

static int merge_ranks(struct bl_staged *s, struct bl_moments *m, double *own, double *all) {
    const int64_t c = m->channels, each = 1 + 2 * c;
    int code = bl_staged_gather(s, own, (size_t)each * sizeof *own, all);
    float *values = code ? NULL : bl_calloc((size_t)(2 * c), sizeof *values);
    if (!values) return code ? code : BLANCH_ENOMEM;
    double rows = all[0];
    for (int k = 1; k < s->now.host.ranks; k++) {
        const double *other = all + k * each;
        for (int64_t i = 0; i < c; i++)
            merge_two(rows, &all[1 + i], &all[1 + c + i], other[0], other[1 + i], other[1 + c + i]);
        rows += other[0];
    }
    for (int64_t i = 0; i < 2 * c; i++) values[i] = (float)all[1 + i];
    m->rows = m->chunk = (int64_t)rows;
    code = bl_mem_write(m->partial, 0, (size_t)(2 * c) * sizeof *values, values);
    free(values);
    return code;
}

int bl_staged_merge(void *context, struct blanch_device *dev, struct bl_moments *m) {
    struct bl_staged *s = context;
    const size_t each = 1 + 2 * (size_t)m->channels;
    double *own = bl_calloc(each * (size_t)(s->now.host.ranks + 1), sizeof *own);
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = own ? merge_chunks(m, own) : BLANCH_ENOMEM;
    if (!code) code = merge_ranks(s, m, own, own + each);
    bl_tag_phase(dev, phase);
    free(own);
    return code;
}

/* --- sums in chunks ----------------------------------------------------------------------------- */

/* of: (size), of this rank's chunks. */
static int add_chunks(const struct bl_sums *sums, double *of) {
    const size_t size = (size_t)sums->size, count = size * (size_t)sums->chunks;
    float *values = bl_calloc(count, sizeof *values);
    int code = values ? bl_mem_read(sums->partial, 0, count * sizeof *values, values) : BLANCH_ENOMEM;
    for (size_t i = 0; i < count && !code; i++) of[i % size] += (double)values[i];
    free(values);
    return code;
}

static int write_floats(struct bl_mem *mem, const double *values, int64_t count) {
    float *floats = bl_calloc((size_t)count, sizeof *floats);
    if (!floats) return BLANCH_ENOMEM;
    for (int64_t i = 0; i < count; i++) floats[i] = (float)values[i];
    int code = bl_mem_write(mem, 0, (size_t)count * sizeof *floats, floats);
    free(floats);
    return code;
}

static int merge_plain_sums(struct bl_staged *s, struct blanch_device *dev, const struct bl_sums *sums) {
    const int64_t size = sums->size, all = size * sums->chunks, room = (int64_t)bl_staged_room(s, size);
    const struct bl_floats floats = {sums->partial, 0, all};
    struct bl_floats_view view;
    int code = bl_staged_look(s, dev, &floats, (size_t)(room > all ? room : all), &view);
    for (int64_t i = 0; i < size && sums->chunks > 1 && !code; i++) {
        double sum = 0;
        for (int64_t k = 0; k < sums->chunks; k++) sum += (double)view.values[k * size + i];
        view.values[i] = (float)sum;
    }
    if (!code) code = bl_staged_sum(s, view.values, size);
    view.bytes = (size_t)size * sizeof(float);
    return bl_staged_put_back(&view, code, true);
}

/* Means of each rank, with its rows, and of all; the origin is what a float holds of these, a sum what it lacks. */
static int merge_about_origin(struct bl_staged *s, struct bl_sums *sums, double *own, double *all) {
    const int64_t size = sums->size, each = 1 + size;
    float *origin = bl_calloc((size_t)size, sizeof *origin);
    int code = origin ? bl_mem_read(sums->origin, 0, (size_t)size * sizeof *origin, origin) : BLANCH_ENOMEM;
    own[0] = sums->rows;
    if (!code) code = add_chunks(sums, own + 1);
    for (int64_t i = 0; i < size && !code; i++) own[1 + i] = (double)origin[i] + own[1 + i] / sums->rows;
    if (!code) code = bl_staged_gather(s, own, (size_t)each * sizeof *own, all);
    double rows = 0;
    for (int k = 0; k < s->now.host.ranks && !code; k++) rows += all[k * each];
    for (int64_t i = 0; i < size && !code; i++) {
        double sum = 0;
        for (int k = 0; k < s->now.host.ranks; k++) sum += all[k * each] * all[k * each + 1 + i];
        origin[i] = (float)(sum / rows);
        own[1 + i] = sum - rows * (double)origin[i];
    }
    if (!code) code = bl_mem_write(sums->origin, 0, (size_t)size * sizeof *origin, origin);
    if (!code) code = write_floats(sums->partial, own + 1, size);
    sums->rows = rows;
    free(origin);
    return code;
}

int bl_staged_merge_sums(void *context, struct blanch_device *dev, struct bl_sums *sums) {
    struct bl_staged *s = context;
    const size_t each = 1 + (size_t)sums->size;
    double *own = sums->origin ? bl_calloc(each * (size_t)(s->table.ranks + 1), sizeof *own) : NULL;
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = !sums->origin ? merge_plain_sums(s, dev, sums)
               : own         ? merge_about_origin(s, sums, own, own + each)
                             : BLANCH_ENOMEM;
    sums->chunks = 1;
    bl_tag_phase(dev, phase);
    free(own);
    return code;
}
