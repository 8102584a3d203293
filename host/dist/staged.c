/* Sums over ranks, in the ranks' order whatever MPI would choose: the same ranks give the same bits. Of many values
 * each rank adds up a block of its own, which all then get; few are sent to everybody. What was begun is summed by a
 * thread meanwhile, by a table of its own; where there is none other calls wait for it, so that all ranks make them in
 * the same order. */
#include "dist/staged_internal.h"
#include "graph/phase.h"
#include <stdlib.h>
#include <string.h>

enum { FEW = 4096 }; // floats that are sent to everybody

struct bl_begun_sum {
    struct blanch_device *dev;
    struct bl_floats floats;
    size_t share;  // floats that each rank gives the others; 0: all are summed
    float *values; // padded to a multiple of the ranks; behind them this rank's share
    size_t capacity;
    struct bl_event *event;
};

/* --- sums on the host --------------------------------------------------------------------------- */

/* Of a call of the host's table, which says more, or nothing. */
static int noted(struct bl_lane *lane, int code, char hidden, const char *call) {
    const bool silent = bl_message_show(hidden);
    lane->left |= code != 0;
    return code && silent ? bl_fail(code, "the table of collectives failed in %s", call) : code;
}

static int host_gather(struct bl_lane *lane, const void *own, size_t bytes, void *all) {
    const char hidden = bl_message_hide();
    return noted(lane, lane->host.gather(lane->host.context, own, bytes, all), hidden, "gather");
}
static int host_exchange(struct bl_lane *lane, const void *from, size_t bytes, void *to) {
    const char hidden = bl_message_hide();
    return noted(lane, lane->host.exchange(lane->host.context, from, bytes, to), hidden, "exchange");
}
static int host_spread(struct bl_lane *lane, void *values, size_t bytes, int root) {
    const char hidden = bl_message_hide();
    return noted(lane, lane->host.spread(lane->host.context, values, bytes, root), hidden, "spread");
}

static int room_of(struct bl_lane *lane, size_t bytes) {
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

static int sum_few(struct bl_lane *lane, float *values, int64_t count) {
    const struct blanch_collectives *h = &lane->host;
    const size_t bytes = (size_t)count * sizeof *values;
    int code = room_of(lane, bytes * (size_t)h->ranks);
    if (!code) code = host_gather(lane, values, bytes, lane->room);
    if (code) return code;
    add_up(values, lane->room, (size_t)count, h->ranks);
    lane->bytes += bytes * (size_t)(h->ranks - 1);
    return 0;
}

/* values has room for so many in all. */
static int sum_many(struct bl_lane *lane, float *values, int64_t count, size_t all) {
    const struct blanch_collectives *h = &lane->host;
    const size_t block = all / (size_t)h->ranks, bytes = block * sizeof *values;
    memset(values + count, 0, (all - (size_t)count) * sizeof *values);
    int code = room_of(lane, (all + block) * sizeof *values);
    if (code) return code;
    float *parts = lane->room, *own = parts + all;
    code = host_exchange(lane, values, bytes, parts);
    if (code) return code;
    add_up(own, parts, block, h->ranks);
    lane->bytes += 2 * bytes * (size_t)(h->ranks - 1);
    return host_gather(lane, own, bytes, values);
}

/* values has room for the padding. */
static int sum_values(struct bl_staged *s, struct bl_lane *lane, float *values, int64_t count) {
    const double start = bl_now();
    int code = count <= FEW ? sum_few(lane, values, count) : sum_many(lane, values, count, padded(s, count));
    lane->seconds += bl_now() - start;
    return code;
}

/* --- the thread --------------------------------------------------------------------------------- */

static int sum_begun(struct bl_staged *s, struct bl_begun_sum *sum) {
    struct bl_event **const events[] = {&sum->event};
    int code = bl_await(sum->dev, events, 1);
    if (code || !sum->share) return code ? code : sum_values(s, &s->meanwhile, sum->values, sum->floats.count);
    const struct blanch_collectives *h = &s->meanwhile.host;
    const size_t bytes = sum->share * sizeof *sum->values;
    const double start = bl_now();
    code = host_gather(&s->meanwhile, sum->values + sum->share * (size_t)h->ranks, bytes, sum->values);
    s->meanwhile.bytes += bytes * (size_t)(h->ranks - 1);
    s->meanwhile.seconds += bl_now() - start;
    return code;
}

/* What this rank gives of its floats: all, or its share. */
static struct bl_interval given(const struct bl_staged *s, const struct bl_begun_sum *sum) {
    const int64_t all = sum->floats.count, share = sum->share ? (int64_t)sum->share : all;
    const int64_t first = sum->share ? share * s->table.rank : 0;
    return (struct bl_interval){first < all ? first : all, first >= all          ? 0
                                                           : all - first < share ? all - first
                                                                                 : share};
}

static void *work(void *argument) {
    struct bl_staged *s = argument;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && s->taken == s->begun) pthread_cond_wait(&s->changed, &s->lock);
        if (s->taken == s->begun) break;
        struct bl_begun_sum sum = s->sums[s->taken];
        const bool skip = s->code != 0;
        pthread_mutex_unlock(&s->lock);
        int code = skip ? 0 : sum_begun(s, &sum); // the array may move meanwhile
        pthread_mutex_lock(&s->lock);
        if (code && !s->code) s->code = code, s->message = bl_strdup(blanch_error_message());
        s->traffic = (struct bl_traffic){s->meanwhile.seconds, 0, s->meanwhile.bytes};
        s->sums[s->taken].event = sum.event;
        s->taken++;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Of a step before, or of what was begun in this one. */
static int failed(struct bl_staged *s) {
    pthread_mutex_lock(&s->lock);
    const int code = s->code;
    pthread_mutex_unlock(&s->lock);
    return code ? bl_fail(code, "%s%s", s->given_up ? "an earlier step or join has failed: " : "",
                          s->message ? s->message : blanch_error_text(code))
                : 0;
}

/* Until so many of those begun are done. */
static int wait_for(struct bl_staged *s, size_t done) {
    const double start = bl_now();
    pthread_mutex_lock(&s->lock);
    while (s->taken < done) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    s->waited += bl_now() - start;
    return failed(s);
}

static int start_thread(struct bl_staged *s) {
    if (!s->started && pthread_create(&s->thread, NULL, work, s))
        return bl_fail(BLANCH_ENOMEM, "the system starts no thread for what ranks exchange");
    s->started = true;
    pthread_mutex_lock(&s->lock);
    const size_t before = s->capacity;
    int code = bl_grow((void **)&s->sums, &s->capacity, s->begun + 1, sizeof *s->sums);
    if (!code) memset(s->sums + before, 0, (s->capacity - before) * sizeof *s->sums);
    pthread_mutex_unlock(&s->lock);
    return code;
}

static int begin_shares(void *context, struct blanch_device *dev, const struct bl_floats *f, int64_t share) {
    struct bl_staged *s = context;
    int code = failed(s);
    if (!code) code = start_thread(s);
    if (code) return code;
    struct bl_begun_sum *sum = &s->sums[s->begun];
    const size_t all = share ? (size_t)share * (size_t)s->table.ranks : padded(s, f->count);
    sum->dev = dev, sum->floats = *f, sum->share = (size_t)share;
    const struct bl_interval own = given(s, sum);
    code = bl_grow((void **)&sum->values, &sum->capacity, all + (size_t)share, sizeof *sum->values);
    if (!code && own.count)
        code = bl_mem_read_later(f->mem, (size_t)(f->offset + own.first) * sizeof(float),
                                 (size_t)own.count * sizeof(float), sum->values + (share ? all : 0), &sum->event);
    if (!code) code = bl_flush(dev);
    if (code) return code;
    pthread_mutex_lock(&s->lock);
    s->begun++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int begin(void *context, struct blanch_device *dev, const struct bl_floats *f) {
    return begin_shares(context, dev, f, 0);
}

static int write_later(struct bl_begun_sum *sum, int64_t first, int64_t end) {
    const size_t offset = (size_t)(sum->floats.offset + first), count = (size_t)(end - first);
    return count ? bl_mem_write_later(sum->floats.mem, offset * sizeof(float), count * sizeof(float),
                                      sum->values + first, &sum->event)
                 : 0;
}

/* Written while the later ones are under way; the next read into the same memory comes after it in the queue. */
static int finish(void *context, bool drop) {
    struct bl_staged *s = context;
    int code = 0;
    for (size_t i = 0; i < s->begun; i++) {
        const int done = wait_for(s, i + 1);
        if (!code) code = done;
        struct bl_begun_sum *sum = &s->sums[i];
        if (code || drop) continue;
        const struct bl_interval own = sum->share ? given(s, sum) : (struct bl_interval){0, 0};
        code = write_later(sum, 0, own.first);
        if (!code) code = write_later(sum, own.first + own.count, sum->floats.count);
    }
    pthread_mutex_lock(&s->lock);
    s->begun = s->taken = 0;
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* The thread's call ends where the host's table can be told. */
static void give_up(void *context, int code) {
    struct bl_staged *s = context;
    char *message = bl_strdup(blanch_error_message());
    pthread_mutex_lock(&s->lock);
    const bool first = !s->code, again = s->given_up;
    if (first) s->code = code, s->message = message;
    s->given_up = true;
    pthread_mutex_unlock(&s->lock);
    if (s->now.host.give_up && !again) s->now.host.give_up(s->now.host.context, code);
    if (s->apart && s->meanwhile.host.give_up && !again) s->meanwhile.host.give_up(s->meanwhile.host.context, code);
    pthread_mutex_lock(&s->lock);
    while (s->meanwhile.host.give_up && s->taken < s->begun) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (!first) free(message);
}

/* --- what is waited for ------------------------------------------------------------------------- */

static int enter(struct bl_staged *s, double *start) {
    int code = s->begun && !s->apart ? wait_for(s, s->begun) : failed(s); // those begun come first
    *start = bl_now();
    return code;
}

static void leave(struct bl_staged *s, double start) {
    s->waited += bl_now() - start;
}

int bl_staged_look(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *f, size_t room,
                   struct bl_floats_view *view) {
    const size_t offset = (size_t)f->offset * sizeof(float), bytes = (size_t)f->count * sizeof(float);
    void *at = NULL;
    *view = (struct bl_floats_view){f->mem, offset, bytes, NULL,
                                    blanch_device_info(dev)->unified_memory && room <= (size_t)f->count};
    int code = view->mapped ? bl_mem_map(f->mem, offset, bytes, true, &at)
                            : bl_grow((void **)&s->staging, &s->staging_capacity, room, sizeof *s->staging);
    view->values = view->mapped ? at : s->staging;
    return code || view->mapped ? code : bl_mem_read(f->mem, offset, bytes, s->staging);
}

int bl_staged_put_back(const struct bl_floats_view *view, int code, bool changed) {
    int own = view->mapped && view->values        ? bl_mem_unmap(view->mem, view->values)
              : changed && !view->mapped && !code ? bl_mem_write(view->mem, view->offset, view->bytes, view->values)
                                                  : 0;
    return code ? code : own;
}

size_t bl_staged_room(const struct bl_staged *s, int64_t count) {
    return count <= FEW ? (size_t)count : padded(s, count);
}

int bl_staged_sum(struct bl_staged *s, float *values, int64_t count) {
    double start;
    int code = enter(s, &start);
    if (!code) code = sum_values(s, &s->now, values, count);
    if (!code) leave(s, start);
    return code;
}

static int sum_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *f) {
    struct bl_floats_view view;
    int code = bl_staged_look(s, dev, f, bl_staged_room(s, f->count), &view);
    if (!code) code = bl_staged_sum(s, view.values, f->count);
    return bl_staged_put_back(&view, code, true);
}

static int spread_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *f, int root) {
    const size_t bytes = (size_t)f->count * sizeof(float);
    double start;
    struct bl_floats_view view;
    int code = bl_staged_look(s, dev, f, (size_t)f->count, &view);
    if (!code) code = enter(s, &start);
    if (!code) code = host_spread(&s->now, view.values, bytes, root);
    if (!code) {
        if (s->table.rank == root) s->now.bytes += bytes * (size_t)(s->table.ranks - 1);
        s->now.seconds += bl_now() - start;
        leave(s, start);
    }
    return bl_staged_put_back(&view, code, s->table.rank != root);
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

/* own and all live as long as s, or on the device. */
static int gather_kept(struct bl_staged *s, const void *own, size_t bytes, void *all) {
    double start;
    int code = enter(s, &start);
    if (!code) code = host_gather(&s->now, own, bytes, all);
    if (code) return code;
    s->now.bytes += bytes * (size_t)(s->now.host.ranks - 1);
    s->now.seconds += bl_now() - start;
    leave(s, start);
    return 0;
}

int bl_staged_gather(struct bl_staged *s, const void *own, size_t bytes, void *all) {
    const size_t whole = bytes * (size_t)s->table.ranks;
    int code = room_of(&s->now, whole + bytes);
    if (code) return code;
    char *from = (char *)s->now.room + whole;
    memcpy(from, own, bytes);
    code = gather_kept(s, from, bytes, s->now.room);
    if (!code) memcpy(all, s->now.room, whole);
    return code;
}

static int gather_staged(struct bl_staged *s, struct blanch_device *dev, const struct bl_floats *own,
                         struct bl_mem *all) {
    const size_t bytes = (size_t)own->count * sizeof(float), whole = bytes * (size_t)s->table.ranks;
    const bool maps = blanch_device_info(dev)->unified_memory;
    struct bl_floats_view view = {0};
    void *to = NULL;
    int code = maps ? bl_mem_map(all, 0, whole, false, &to) : room_of(&s->now, whole); // the look waits for both
    if (!code) code = bl_staged_look(s, dev, own, (size_t)own->count, &view);
    if (!code) code = gather_kept(s, view.values, bytes, maps ? to : s->now.room);
    const int unmapped = to ? bl_mem_unmap(all, to) : 0;
    if (!code) code = unmapped;
    if (!code && !maps) code = bl_mem_write(all, 0, whole, s->now.room);
    return bl_staged_put_back(&view, code, false);
}

static int gather(void *context, struct blanch_device *dev, const struct bl_floats *own, struct bl_mem *all) {
    const int phase = bl_tag_phase(dev, BL_COMMUNICATE);
    int code = gather_staged(context, dev, own, all);
    bl_tag_phase(dev, phase);
    return code;
}

/* Shares are sent as if all were whole. */
static size_t share_of(const struct bl_staged *s, const struct bl_shared_rows *r) {
    return (size_t)(bl_most_of_share(&s->table, r->rows) * r->width);
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
    struct bl_floats_view view = {0};
    int code = maps ? bl_staged_look(s, dev, &whole, (size_t)whole.count, &view) : read_share(s, r, own);
    if (!code) code = room_of(&s->now, bytes * ranks);
    if (!code) code = gather_kept(s, maps ? view.values + own.first * r->width : s->staging, bytes, s->now.room);
    if (!code && maps) take_others(s, r, own, view.values);
    code = bl_staged_put_back(&view, code, false);
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
    if (!code) code = host_exchange(&s->now, values, bytes, s->now.room);
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
    struct bl_floats_view view;
    int code = bl_staged_look(s, dev, &whole, all, &view);
    if (!code && !view.mapped) memset(view.values + whole.count, 0, (all - (size_t)whole.count) * sizeof(float));
    if (!code) code = sum_own(s, view.values, share, view.values + (view.mapped ? (size_t)own.first * width : 0));
    code = bl_staged_put_back(&view, code, false);
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
    return bl_staged_gather(context, own, (size_t)count * sizeof *own, all);
}

static int sum_host(void *context, double *values, int count) {
    struct bl_staged *s = context;
    const int ranks = s->now.host.ranks;
    double *all = bl_calloc((size_t)ranks * (size_t)count, sizeof *all);
    int code = all ? bl_staged_gather(s, values, (size_t)count * sizeof *values, all) : BLANCH_ENOMEM;
    for (int i = 0; i < count && !code; i++) {
        values[i] = all[i];
        for (int k = 1; k < ranks; k++) values[i] += all[k * count + i];
    }
    free(all);
    return code;
}

/* --- the table ---------------------------------------------------------------------------------- */

static struct bl_traffic traffic(void *context) {
    struct bl_staged *s = context;
    pthread_mutex_lock(&s->lock);
    const struct bl_traffic meanwhile = s->traffic;
    pthread_mutex_unlock(&s->lock);
    return (struct bl_traffic){s->now.seconds + meanwhile.seconds, s->waited, s->now.bytes + meanwhile.bytes};
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
                                       .begin_shares = begin_shares,
                                       .finish = finish,
                                       .spread = spread,
                                       .gather = gather,
                                       .sum_shares = sum_shares,
                                       .gather_shares = gather_shares,
                                       .merge = bl_staged_merge,
                                       .merge_sums = bl_staged_merge_sums,
                                       .sum_host = sum_host,
                                       .gather_host = gather_host,
                                       .traffic = traffic,
                                       .give_up = give_up};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    return 0;
}

bool bl_staged_close(struct bl_staged *s) {
    if (!s) return false;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->started) pthread_join(s->thread, NULL);
    if (s->now.left || s->meanwhile.left) return true;
    for (size_t i = 0; i < s->capacity; i++) {
        bl_event_drop(&s->sums[i].event);
        free(s->sums[i].values);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->sums), free(s->staging), free(s->now.room), free(s->meanwhile.room), free(s->message);
    free(s);
    return false;
}

const struct bl_collectives *bl_staged_table(struct bl_staged *staged) {
    return &staged->table;
}
