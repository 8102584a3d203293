/* Sums over ranks, in the ranks' order whatever MPI would choose: the same ranks give the same bits. Of many values
 * each rank adds up a block of its own, which all then get; few are sent to everybody. What was begun is summed by a
 * thread meanwhile; other calls wait for it, so that all ranks make them in the same order. */
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

struct bl_staged {
    struct bl_collectives table;
    struct blanch_collectives host;
    void *room; // of exchanges
    size_t room_bytes;
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
    struct bl_traffic traffic;
};

/* --- sums on the host --------------------------------------------------------------------------- */

static int room_of(struct bl_staged *s, size_t bytes) {
    return bl_grow(&s->room, &s->room_bytes, bytes, 1);
}

static size_t padded(const struct bl_staged *s, int64_t count) {
    const size_t ranks = (size_t)s->host.ranks;
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

static int sum_few(struct bl_staged *s, float *values, int64_t count) {
    const struct blanch_collectives *h = &s->host;
    const size_t bytes = (size_t)count * sizeof *values;
    int code = room_of(s, bytes * (size_t)h->ranks);
    if (!code) code = h->gather(h->context, values, bytes, s->room);
    if (code) return code;
    add_up(values, s->room, (size_t)count, h->ranks);
    s->traffic.bytes += bytes * (size_t)(h->ranks - 1);
    return 0;
}

/* values has room for the padding. */
static int sum_many(struct bl_staged *s, float *values, int64_t count) {
    const struct blanch_collectives *h = &s->host;
    const size_t all = padded(s, count), block = all / (size_t)h->ranks, bytes = block * sizeof *values;
    memset(values + count, 0, (all - (size_t)count) * sizeof *values);
    int code = room_of(s, (all + block) * sizeof *values);
    if (code) return code;
    float *parts = s->room, *own = parts + all;
    code = h->exchange(h->context, values, bytes, parts);
    if (code) return code;
    add_up(own, parts, block, h->ranks);
    s->traffic.bytes += 2 * bytes * (size_t)(h->ranks - 1);
    return h->gather(h->context, own, bytes, values);
}

static int sum_values(struct bl_staged *s, float *values, int64_t count) {
    const double start = bl_now();
    int code = count <= FEW ? sum_few(s, values, count) : sum_many(s, values, count);
    s->traffic.seconds += bl_now() - start;
    return code;
}

/* --- the thread --------------------------------------------------------------------------------- */

static int sum_begun(struct bl_staged *s, struct sum *sum) {
    struct bl_event **const events[] = {&sum->event};
    int code = bl_await(sum->dev, events, 1);
    return code ? code : sum_values(s, sum->values, sum->floats.count);
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
    s->traffic.waited += bl_now() - start;
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

/* Those begun come first. */
static int enter(struct bl_staged *s, double *start) {
    int code = s->begun ? wait_for(s, s->begun) : 0;
    *start = bl_now();
    return code;
}

static void leave(struct bl_staged *s, double start) {
    s->traffic.waited += bl_now() - start;
}

static int stage(struct bl_staged *s, const struct bl_floats *f) {
    int code = bl_grow((void **)&s->staging, &s->staging_capacity, padded(s, f->count), sizeof *s->staging);
    return code ? code
                : bl_mem_read(f->mem, (size_t)f->offset * sizeof(float), (size_t)f->count * sizeof(float), s->staging);
}

static int unstage(struct bl_staged *s, const struct bl_floats *f) {
    return bl_mem_write(f->mem, (size_t)f->offset * sizeof(float), (size_t)f->count * sizeof(float), s->staging);
}

static int sum_staged(struct bl_staged *s, const struct bl_floats *f) {
    double start;
    int code = stage(s, f);
    if (!code) code = enter(s, &start);
    if (!code) code = sum_values(s, s->staging, f->count);
    if (code) return code;
    leave(s, start);
    return unstage(s, f);
}

static int spread_staged(struct bl_staged *s, const struct bl_floats *f, int root) {
    const size_t bytes = (size_t)f->count * sizeof(float);
    double start;
    int code = stage(s, f);
    if (!code) code = enter(s, &start);
    if (!code) code = s->host.spread(s->host.context, s->staging, bytes, root);
    if (code) return code;
    if (s->host.rank == root) s->traffic.bytes += bytes * (size_t)(s->host.ranks - 1);
    s->traffic.seconds += bl_now() - start;
    leave(s, start);
    return s->host.rank == root ? 0 : unstage(s, f);
}

/* Transfers count to the phase, in the layer that asks. */
static int sum(void *context, struct blanch_device *dev, const struct bl_floats *f) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = sum_staged(context, f);
    bl_tag_phase(dev, phase);
    return code;
}

static int spread(void *context, struct blanch_device *dev, const struct bl_floats *f, int root) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = spread_staged(context, f, root);
    bl_tag_phase(dev, phase);
    return code;
}

static int gather_bytes(struct bl_staged *s, const void *own, size_t bytes, void *all) {
    double start;
    int code = enter(s, &start);
    if (!code) code = s->host.gather(s->host.context, own, bytes, all);
    if (code) return code;
    s->traffic.bytes += bytes * (size_t)(s->host.ranks - 1);
    s->traffic.seconds += bl_now() - start;
    leave(s, start);
    return 0;
}

static int gather_staged(struct bl_staged *s, const struct bl_floats *own, struct bl_mem *all) {
    const size_t bytes = (size_t)own->count * sizeof(float), ranks = (size_t)s->host.ranks;
    int code = stage(s, own);
    if (!code && s->begun) code = wait_for(s, s->begun); // the thread has the room until then
    if (!code) code = room_of(s, bytes * ranks);
    if (!code) code = gather_bytes(s, s->staging, bytes, s->room);
    return code ? code : bl_mem_write(all, 0, bytes * ranks, s->room);
}

static int gather(void *context, struct blanch_device *dev, const struct bl_floats *own, struct bl_mem *all) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = gather_staged(context, own, all);
    bl_tag_phase(dev, phase);
    return code;
}

/* Shares are sent as if all were whole. */
static size_t share_of(const struct bl_staged *s, const struct bl_shared_rows *r) {
    return (size_t)((r->rows + s->host.ranks - 1) / s->host.ranks * r->width);
}

static int put_share(struct bl_staged *s, const struct bl_shared_rows *r, const float *values) {
    const struct bl_interval own = bl_share_of(&s->table, r->rows);
    const size_t width = (size_t)r->width * sizeof *values;
    return own.count ? bl_mem_write(r->mem, (size_t)own.first * width, (size_t)own.count * width, values) : 0;
}

static int gather_shares_staged(struct bl_staged *s, const struct bl_shared_rows *r) {
    const size_t share = share_of(s, r), bytes = share * sizeof *s->staging, width = (size_t)r->width * sizeof(float);
    const struct bl_interval own = bl_share_of(&s->table, r->rows);
    int code = bl_grow((void **)&s->staging, &s->staging_capacity, share, sizeof *s->staging);
    if (!code && own.count)
        code = bl_mem_read(r->mem, (size_t)own.first * width, (size_t)own.count * width, s->staging);
    if (!code && s->begun) code = wait_for(s, s->begun); // the thread has the room until then
    if (!code) code = room_of(s, bytes * (size_t)s->host.ranks);
    if (!code) code = gather_bytes(s, s->staging, bytes, s->room);
    return code ? code : bl_mem_write(r->mem, 0, (size_t)r->rows * width, s->room);
}

static int gather_shares(void *context, struct blanch_device *dev, const struct bl_shared_rows *rows) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = gather_shares_staged(context, rows);
    bl_tag_phase(dev, phase);
    return code;
}

static int sum_shares_staged(struct bl_staged *s, const struct bl_shared_rows *r) {
    const struct blanch_collectives *h = &s->host;
    const size_t share = share_of(s, r), whole = share * (size_t)h->ranks, count = (size_t)(r->rows * r->width);
    double start;
    int code = bl_grow((void **)&s->staging, &s->staging_capacity, whole, sizeof *s->staging);
    if (!code) code = bl_mem_read(r->mem, 0, count * sizeof *s->staging, s->staging);
    if (!code) code = enter(s, &start);
    if (!code) code = room_of(s, whole * sizeof *s->staging);
    if (code) return code;
    memset(s->staging + count, 0, (whole - count) * sizeof *s->staging);
    code = h->exchange(h->context, s->staging, share * sizeof *s->staging, s->room);
    if (code) return code;
    add_up(s->staging, s->room, share, h->ranks);
    s->traffic.bytes += share * sizeof *s->staging * (size_t)(h->ranks - 1);
    s->traffic.seconds += bl_now() - start;
    leave(s, start);
    return put_share(s, r, s->staging);
}

static int sum_shares(void *context, struct blanch_device *dev, const struct bl_shared_rows *rows) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = sum_shares_staged(context, rows);
    bl_tag_phase(dev, phase);
    return code;
}

static int gather_host(void *context, const double *own, int count, double *all) {
    return gather_bytes(context, own, (size_t)count * sizeof *own, all);
}

static int sum_host(void *context, double *values, int count) {
    struct bl_staged *s = context;
    const int ranks = s->host.ranks;
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
    for (int k = 1; k < s->host.ranks; k++) {
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
    double *own = bl_calloc(each * (size_t)(s->host.ranks + 1), sizeof *own);
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

static int merge_plain_sums(struct bl_staged *s, struct bl_sums *sums, double *of) {
    const struct bl_floats floats = {sums->partial, 0, sums->size};
    int code = add_chunks(sums, of);
    if (!code) code = write_floats(sums->partial, of, sums->size);
    return code ? code : sum_staged(s, &floats);
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
    for (int k = 0; k < s->host.ranks && !code; k++) rows += all[k * each];
    for (int64_t i = 0; i < size && !code; i++) {
        double sum = 0;
        for (int k = 0; k < s->host.ranks; k++) sum += all[k * each] * all[k * each + 1 + i];
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
    double *own = bl_calloc(each * (size_t)(s->host.ranks + 1), sizeof *own);
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = !own           ? BLANCH_ENOMEM
               : sums->origin ? merge_about_origin(s, sums, own, own + each)
                              : merge_plain_sums(s, sums, own);
    sums->chunks = 1;
    bl_tag_phase(dev, phase);
    free(own);
    return code;
}

/* --- the table ---------------------------------------------------------------------------------- */

static struct bl_traffic traffic(void *context) {
    return ((struct bl_staged *)context)->traffic;
}

int bl_staged_open(struct bl_staged **staged, const struct blanch_collectives *host) {
    struct bl_staged *s = *staged = bl_calloc(1, sizeof *s);
    if (!s) return BLANCH_ENOMEM;
    s->host = *host;
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
    free(s->sums), free(s->staging), free(s->room), free(s->message);
    free(s);
}

const struct bl_collectives *bl_staged_table(struct bl_staged *staged) {
    return &staged->table;
}
