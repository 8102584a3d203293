/* Sums over ranks, in the ranks' order whatever MPI would choose: the same ranks give the same bits. Of many values
 * each rank adds up a block of its own, which all then get; few are sent to everybody. What was begun is summed by a
 * thread meanwhile, by a table of its own; where there is none other calls wait for it, so that all ranks make them in
 * the same order. */
#include "dist/staged.h"
#include "graph/phase.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 4096 }; // floats that are sent to everybody

struct sum { // that was begun
    struct blanch_device *dev;
    struct bl_floats floats;
    float *values; // padded to a multiple of the ranks
    size_t capacity;
    struct bl_event *event;
    bool done;
};

struct lane { // of one thread
    struct blanch_collectives host;
    void *room; // of exchanges
    size_t room_bytes;
    double seconds; // under way
    uint64_t bytes; // sent
};

struct bl_staged {
    struct bl_collectives table;
    struct lane now, meanwhile;
    bool apart; // meanwhile has a table of its own
    float *staging;
    size_t staging_capacity;
    struct sum *sums;
    size_t capacity, begun, taken; // of sums; those behind `taken` are the thread's
    pthread_t thread;
    bool started, stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int code; // of the thread
    char *message;
    double waited; // seconds
};

/* --- sums on the host --------------------------------------------------------------------------- */

static int room_of(struct lane *lane, size_t bytes) {
    return bl_grow(&lane->room, &lane->room_bytes, bytes, 1);
}

static size_t padded(const struct bl_staged *s, int64_t count) {
    const size_t ranks = (size_t)s->table.ranks;
    return ((size_t)count + ranks - 1) / ranks * ranks;
}

/* parts: (ranks, count). */
static void add_up(float *sums, const float *parts, size_t count, int ranks) {
    for (size_t i = 0; i < count; i++) {
        double sum = (double)parts[i];
        for (int k = 1; k < ranks; k++) sum += (double)parts[(size_t)k * count + i];
        sums[i] = (float)sum;
    }
}

static int sum_few(struct lane *lane, float *values, int64_t count) {
    const struct blanch_collectives *h = &lane->host;
    const size_t bytes = (size_t)count * sizeof *values;
    int code = room_of(lane, bytes * (size_t)h->ranks);
    if (!code) code = h->gather(h->context, values, bytes, lane->room);
    if (code) return code;
    add_up(values, lane->room, (size_t)count, h->ranks);
    lane->bytes += bytes * (size_t)(h->ranks - 1);
    return 0;
}

/* values has room for so many in all. */
static int sum_many(struct lane *lane, float *values, int64_t count, size_t all) {
    const struct blanch_collectives *h = &lane->host;
    const size_t block = all / (size_t)h->ranks, bytes = block * sizeof *values;
    memset(values + count, 0, (all - (size_t)count) * sizeof *values);
    int code = room_of(lane, (all + block) * sizeof *values);
    if (code) return code;
    float *parts = lane->room, *own = parts + all;
    code = h->exchange(h->context, values, bytes, parts);
    if (code) return code;
    add_up(own, parts, block, h->ranks);
    lane->bytes += 2 * bytes * (size_t)(h->ranks - 1);
    return h->gather(h->context, own, bytes, values);
}

/* values has room for the padding. */
static int sum_values(struct bl_staged *s, struct lane *lane, float *values, int64_t count) {
    const double start = bl_now();
    int code = count <= FEW ? sum_few(lane, values, count) : sum_many(lane, values, count, padded(s, count));
    lane->seconds += bl_now() - start;
    return code;
}

/* --- the thread --------------------------------------------------------------------------------- */

static int sum_begun(struct bl_staged *s, struct sum *sum) {
    struct bl_event **const events[] = {&sum->event};
    int code = bl_await(sum->dev, events, 1);
    return code ? code : sum_values(s, &s->meanwhile, sum->values, sum->floats.count);
}

static void *work(void *argument) {
    struct bl_staged *s = argument;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && s->taken == s->begun) pthread_cond_wait(&s->changed, &s->lock);
        if (s->taken == s->begun) break;
        struct sum sum = s->sums[s->taken];
        const bool failed = s->code != 0;
        pthread_mutex_unlock(&s->lock);
        int code = failed ? 0 : sum_begun(s, &sum); // the array may move meanwhile
        pthread_mutex_lock(&s->lock);
        if (code) s->message = bl_strdup(blanch_error_message());
        if (code) s->code = code;
        s->sums[s->taken].event = sum.event;
        s->sums[s->taken++].done = true;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Until so many of those begun are done. */
static int wait_for(struct bl_staged *s, size_t done) {
    const double start = bl_now();
    pthread_mutex_lock(&s->lock);
    while (s->taken < done) pthread_cond_wait(&s->changed, &s->lock);
    const int code = s->code;
    pthread_mutex_unlock(&s->lock);
    s->waited += bl_now() - start;
    return code ? bl_fail(code, "%s", s->message ? s->message : blanch_error_text(code)) : 0;
}

static int begin(void *context, struct blanch_device *dev, const struct bl_floats *f) {
    struct bl_staged *s = context;
    if (!s->started && pthread_create(&s->thread, NULL, work, s))
        return bl_fail(BLANCH_ENOMEM, "the system starts no thread for what ranks exchange");
    s->started = true;
    pthread_mutex_lock(&s->lock);
    const size_t before = s->capacity;
    int code = bl_grow((void **)&s->sums, &s->capacity, s->begun + 1, sizeof *s->sums);
    if (!code) memset(s->sums + before, 0, (s->capacity - before) * sizeof *s->sums);
    pthread_mutex_unlock(&s->lock);
    if (code) return code;
    struct sum *sum = &s->sums[s->begun];
    code = bl_grow((void **)&sum->values, &sum->capacity, padded(s, f->count), sizeof *sum->values);
    sum->dev = dev, sum->floats = *f, sum->done = false;
    if (!code)
        code = bl_mem_read_later(f->mem, (size_t)f->offset * sizeof(float), (size_t)f->count * sizeof(float),
                                 sum->values, &sum->event);
    if (!code) code = bl_flush(dev);
    if (code) return code;
    pthread_mutex_lock(&s->lock);
    s->begun++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* Written while the later ones are under way; the next read into the same memory comes after it in the queue. */
static int finish(void *context, bool drop) {
    struct bl_staged *s = context;
    int code = 0;
    for (size_t i = 0; i < s->begun; i++) {
        const int done = wait_for(s, i + 1);
        if (!code) code = done;
        struct sum *sum = &s->sums[i];
        if (code || drop) continue;
        code = bl_mem_write_later(sum->floats.mem, (size_t)sum->floats.offset * sizeof(float),
                                  (size_t)sum->floats.count * sizeof(float), sum->values, &sum->event);
    }
    pthread_mutex_lock(&s->lock);
    s->begun = s->taken = 0;
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* --- what is waited for ------------------------------------------------------------------------- */

static int enter(struct bl_staged *s, double *start) {
    int code = s->begun && !s->apart ? wait_for(s, s->begun) : 0; // those begun come first
    *start = bl_now();
    return code;
}

static void leave(struct bl_staged *s, double start) {
    s->waited += bl_now() - start;
}

/* Floats of the device, for the host: where they are, or staged. */
struct view {
    struct bl_mem *mem;
    size_t offset, bytes;
    float *values;
    bool mapped;
};

/* With room for so many floats. */
static int look(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *f, size_t room,
                struct view *view) {
    const size_t offset = (size_t)f->offset * sizeof(float), bytes = (size_t)f->count * sizeof(float);
    void *at = NULL;
    *view =
        (struct view){f->mem, offset, bytes, NULL, blanch_device_info(dev)->unified_memory && room <= (size_t)f->count};
    int code = view->mapped ? bl_mem_map(f->mem, offset, bytes, &at)
                            : bl_grow((void **)&s->staging, &s->staging_capacity, room, sizeof *s->staging);
    view->values = view->mapped ? at : s->staging;
    return code || view->mapped ? code : bl_mem_read(f->mem, offset, bytes, s->staging);
}

/* code: of what was done with them. changed: they are others now. */
static int put_back(const struct view *view, int code, bool changed) {
    int own = view->mapped && view->values        ? bl_mem_unmap(view->mem, view->values)
              : changed && !view->mapped && !code ? bl_mem_write(view->mem, view->offset, view->bytes, view->values)
                                                  : 0;
    return code ? code : own;
}

static int sum_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *f) {
    double start;
    struct view view;
    int code = look(s, dev, f, f->count <= FEW ? (size_t)f->count : padded(s, f->count), &view);
    if (!code) code = enter(s, &start);
    if (!code) code = sum_values(s, &s->now, view.values, f->count);
    if (!code) leave(s, start);
    return put_back(&view, code, true);
}

static int spread_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *f, int root) {
    const size_t bytes = (size_t)f->count * sizeof(float);
    double start;
    struct view view;
    int code = look(s, dev, f, (size_t)f->count, &view);
    if (!code) code = enter(s, &start);
    if (!code) code = s->now.host.spread(s->now.host.context, view.values, bytes, root);
    if (!code) {
        if (s->table.rank == root) s->now.bytes += bytes * (size_t)(s->table.ranks - 1);
        s->now.seconds += bl_now() - start;
        leave(s, start);
    }
    return put_back(&view, code, s->table.rank != root);
}

/* Transfers count to the phase, in the layer that asks. */
static int sum(void *context, struct blanch_device *dev, const struct bl_floats *f) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = sum_staged(context, dev, f);
    bl_tag_phase(dev, phase);
    return code;
}

static int spread(void *context, struct blanch_device *dev, const struct bl_floats *f, int root) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = spread_staged(context, dev, f, root);
    bl_tag_phase(dev, phase);
    return code;
}

static int gather_bytes(struct bl_staged *s, const void *own, size_t bytes, void *all) {
    double start;
    int code = enter(s, &start);
    if (!code) code = s->now.host.gather(s->now.host.context, own, bytes, all);
    if (code) return code;
    s->now.bytes += bytes * (size_t)(s->now.host.ranks - 1);
    s->now.seconds += bl_now() - start;
    leave(s, start);
    return 0;
}

static int gather_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *own,
                         struct bl_mem *all) {
    const size_t bytes = (size_t)own->count * sizeof(float), whole = bytes * (size_t)s->table.ranks;
    struct view view;
    void *to = NULL;
    int code = look(s, dev, own, (size_t)own->count, &view);
    const bool maps = view.mapped && !code;
    if (!code) code = maps ? bl_mem_map(all, 0, whole, &to) : room_of(&s->now, whole);
    if (!code) code = gather_bytes(s, view.values, bytes, maps ? to : s->now.room);
    const int unmapped = to ? bl_mem_unmap(all, to) : 0;
    if (!code) code = unmapped;
    if (!code && !maps) code = bl_mem_write(all, 0, whole, s->now.room);
    return put_back(&view, code, false);
}

static int gather(void *context, struct blanch_device *dev, const struct bl_floats *own, struct bl_mem *all) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = gather_staged(context, dev, own, all);
    bl_tag_phase(dev, phase);
    return code;
}

/* Shares are sent as if all were whole. */
static size_t share_of(const struct bl_staged *s, const struct bl_shared_rows *r) {
    return (size_t)((r->rows + s->now.host.ranks - 1) / s->now.host.ranks * r->width);
}

/* The others' rows from room to where the whole matrix is. */
static void take_others(const struct bl_staged *s, const struct bl_shared_rows *r, struct bl_interval own, float *to) {
    const size_t width = (size_t)r->width, first = (size_t)own.first * width, count = (size_t)own.count * width;
    const float *from = s->now.room;
    const size_t after = first + count, all = (size_t)r->rows * width;
    memcpy(to, from, first * sizeof *to);
    memcpy(to + after, from + after, (all - after) * sizeof *to);
}

static int read_share(struct bl_staged *s, const struct bl_shared_rows *r, struct bl_interval own) {
    const size_t width = (size_t)r->width * sizeof(float);
    int code = bl_grow((void **)&s->staging, &s->staging_capacity, share_of(s, r), sizeof *s->staging);
    return code || !own.count ? code
                              : bl_mem_read(r->mem, (size_t)own.first * width, (size_t)own.count * width, s->staging);
}

static int gather_shares_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_shared_rows *r) {
    const size_t share = share_of(s, r), bytes = share * sizeof(float), ranks = (size_t)s->table.ranks;
    const struct bl_interval own = bl_share_of(&s->table, r->rows);
    const struct bl_floats whole = {r->mem, 0, r->rows * r->width};
    const bool maps = blanch_device_info(dev)->unified_memory && share * ranks == (size_t)whole.count;
    struct view view = {0};
    int code = maps ? look(s, dev, &whole, (size_t)whole.count, &view) : read_share(s, r, own);
    if (!code) code = room_of(&s->now, bytes * ranks);
    if (!code) code = gather_bytes(s, maps ? view.values + own.first * r->width : s->staging, bytes, s->now.room);
    if (!code && maps) take_others(s, r, own, view.values);
    code = put_back(&view, code, false);
    return code || maps ? code : bl_mem_write(r->mem, 0, (size_t)whole.count * sizeof(float), s->now.room);
}

static int gather_shares(void *context, struct blanch_device *dev, const struct bl_shared_rows *rows) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = gather_shares_staged(context, dev, rows);
    bl_tag_phase(dev, phase);
    return code;
}

/* values: (rows, width) and zeros up to `ranks` whole shares; the sum of this rank's is written from `to` on. */
static int sum_own(struct bl_staged *s, const float *values, size_t share, float *to) {
    const struct blanch_collectives *h = &s->now.host;
    const size_t bytes = share * sizeof *values;
    double start;
    int code = enter(s, &start);
    if (!code) code = room_of(&s->now, bytes * (size_t)h->ranks);
    if (!code) code = h->exchange(h->context, values, bytes, s->now.room);
    if (code) return code;
    add_up(to, s->now.room, share, h->ranks);
    s->now.bytes += bytes * (size_t)(h->ranks - 1);
    s->now.seconds += bl_now() - start;
    leave(s, start);
    return 0;
}

static int sum_shares_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_shared_rows *r) {
    const size_t share = share_of(s, r), all = share * (size_t)s->table.ranks, width = (size_t)r->width;
    const struct bl_interval own = bl_share_of(&s->table, r->rows);
    const struct bl_floats whole = {r->mem, 0, r->rows * r->width};
    struct view view;
    int code = look(s, dev, &whole, all, &view);
    if (!code && !view.mapped) memset(view.values + whole.count, 0, (all - (size_t)whole.count) * sizeof(float));
    if (!code) code = sum_own(s, view.values, share, view.values + (view.mapped ? (size_t)own.first * width : 0));
    code = put_back(&view, code, false);
    if (code || view.mapped || !own.count) return code;
    return bl_mem_write(r->mem, (size_t)own.first * width * sizeof(float), (size_t)own.count * width * sizeof(float),
                        view.values);
}

static int sum_shares(void *context, struct blanch_device *dev, const struct bl_shared_rows *rows) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = sum_shares_staged(context, dev, rows);
    bl_tag_phase(dev, phase);
    return code;
}

static int gather_host(void *context, const double *own, int count, double *all) {
    return gather_bytes(context, own, (size_t)count * sizeof *own, all);
}

static int sum_host(void *context, double *values, int count) {
    struct bl_staged *s = context;
    const int ranks = s->now.host.ranks;
    double *all = bl_calloc((size_t)ranks * (size_t)count, sizeof *all);
    int code = all ? gather_bytes(s, values, (size_t)count * sizeof *values, all) : BLANCH_ENOMEM;
    for (int i = 0; i < count && !code; i++) {
        values[i] = all[i];
        for (int k = 1; k < ranks; k++) values[i] += all[k * count + i];
    }
    free(all);
    return code;
}

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
    int code = gather_bytes(s, own, (size_t)each * sizeof *own, all);
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

static int merge(void *context, struct blanch_device *dev, struct bl_moments *m) {
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
    const int64_t size = sums->size, all = size * sums->chunks, padding = size <= FEW ? size : (int64_t)padded(s, size);
    const struct bl_floats floats = {sums->partial, 0, all};
    double start;
    struct view view;
    int code = look(s, dev, &floats, (size_t)(padding > all ? padding : all), &view);
    for (int64_t i = 0; i < size && sums->chunks > 1 && !code; i++) {
        double sum = 0;
        for (int64_t k = 0; k < sums->chunks; k++) sum += (double)view.values[k * size + i];
        view.values[i] = (float)sum;
    }
    if (!code) code = enter(s, &start);
    if (!code) code = sum_values(s, &s->now, view.values, size);
    if (!code) leave(s, start);
    view.bytes = (size_t)size * sizeof(float);
    return put_back(&view, code, true);
}

/* Means of each rank, with its rows, and of all; the origin is what a float holds of these, a sum what it lacks. */
static int merge_about_origin(struct bl_staged *s, struct bl_sums *sums, double *own, double *all) {
    const int64_t size = sums->size, each = 1 + size;
    float *origin = bl_calloc((size_t)size, sizeof *origin);
    int code = origin ? bl_mem_read(sums->origin, 0, (size_t)size * sizeof *origin, origin) : BLANCH_ENOMEM;
    own[0] = sums->rows;
    if (!code) code = add_chunks(sums, own + 1);
    for (int64_t i = 0; i < size && !code; i++) own[1 + i] = (double)origin[i] + own[1 + i] / sums->rows;
    if (!code) code = gather_bytes(s, own, (size_t)each * sizeof *own, all);
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

static int merge_sums(void *context, struct blanch_device *dev, struct bl_sums *sums) {
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

/* --- the table ---------------------------------------------------------------------------------- */

static struct bl_traffic traffic(void *context) {
    const struct bl_staged *s = context;
    return (struct bl_traffic){s->now.seconds + s->meanwhile.seconds, s->waited, s->now.bytes + s->meanwhile.bytes};
}

int bl_staged_open(struct bl_staged **staged, const struct blanch_collectives *host) {
    struct bl_staged *s = *staged = bl_calloc(1, sizeof *s);
    if (!s) return BLANCH_ENOMEM;
    s->now.host = *host;
    s->apart = host->meanwhile != NULL;
    s->meanwhile.host = s->apart ? *host->meanwhile : *host;
    s->now.host.meanwhile = NULL; // is its caller's
    s->table = (struct bl_collectives){.rank = host->rank,
                                       .ranks = host->ranks,
                                       .context = s,
                                       .sum = sum,
                                       .begin = begin,
                                       .finish = finish,
                                       .spread = spread,
                                       .gather = gather,
                                       .sum_shares = sum_shares,
                                       .gather_shares = gather_shares,
                                       .merge = merge,
                                       .merge_sums = merge_sums,
                                       .sum_host = sum_host,
                                       .gather_host = gather_host,
                                       .traffic = traffic};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    return 0;
}

void bl_staged_close(struct bl_staged *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->started) pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->capacity; i++) {
        bl_event_drop(&s->sums[i].event);
        free(s->sums[i].values);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->sums), free(s->staging), free(s->now.room), free(s->meanwhile.room), free(s->message);
    free(s);
}

const struct bl_collectives *bl_staged_table(struct bl_staged *staged) {
    return &staged->table;
}
