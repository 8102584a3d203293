/* Where the time of a step goes. Device time comes from the queue's events, host time from the host's clock; the two
 * meet through one small command that both clocks see, run after every recorded step. */
#include "sched/ledger_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

int bl_ledger_create(struct bl_ledger **ledger, struct bl_graph *graph) {
    struct bl_ledger *l = bl_calloc(1, sizeof *l);
    *ledger = NULL;
    if (!l) return BLANCH_ENOMEM;
    l->graph = graph;
    l->dev = bl_graph_device(graph);
    l->rows = bl_graph_nodes(graph) + 1;
    l->work = bl_calloc((size_t)l->rows * BL_PHASES, sizeof *l->work);
    int code = l->work ? bl_mem_alloc(l->dev, 64, &l->mark) : BLANCH_ENOMEM;
    if (code)
        bl_ledger_free(l);
    else
        *ledger = l;
    return code;
}

void bl_ledger_free(struct bl_ledger *ledger) {
    if (!ledger) return;
    for (int i = 0; i < MAX_STEPS; i++) free(ledger->steps[i].ms);
    free(ledger->last.spans);
    free(ledger->work);
    bl_mem_free(ledger->mark);
    free(ledger);
}

/* --- recording ------------------------------------------------------------------------------ */

int bl_ledger_begin(struct bl_ledger *ledger) {
    bl_tag(ledger->dev, -1, BL_OTHER);
    int code = bl_record(ledger->dev, true);
    ledger->begin = ledger->loaded = bl_now();
    return code;
}

void bl_ledger_loaded(struct bl_ledger *ledger) {
    ledger->loaded = bl_now();
}

static double seconds(uint64_t nanoseconds) {
    return 1e-9 * (double)nanoseconds;
}

/* The device's clock minus the host's: a small transfer is queued between two looks at the host's clock. The best of a
 * few, the one whose two looks are nearest. */
static int clock_offset(struct bl_ledger *ledger, double *offset) {
    double narrowest = 1e9;
    for (int i = 0; i < 3; i++) {
        const struct bl_span *spans;
        int count, value = 0;
        double before = bl_now();
        int code = bl_mem_write(ledger->mark, 0, sizeof value, &value);
        double after = bl_now();
        if (code || (code = bl_record_take(ledger->dev, &spans, &count))) return code;
        if (count < 1 || after - before >= narrowest) continue;
        narrowest = after - before;
        double middle = 0.5 * (seconds(spans[0].queued) + seconds(spans[count - 1].end));
        *offset = middle - 0.5 * (before + after);
    }
    return narrowest < 1e9 ? 0 : bl_fail(BLANCH_EDEVICE, "the device reports no times of its commands");
}

static int keep_spans(struct last_step *last, const struct bl_span *spans, int count) {
    int code = bl_grow((void **)&last->spans, &last->capacity, (size_t)count + 1, sizeof *spans);
    if (code) return code;
    if (count) memcpy(last->spans, spans, (size_t)count * sizeof *spans);
    last->count = count;
    return 0;
}

static int row_of(const struct bl_ledger *ledger, int layer) {
    return layer < 0 || layer >= ledger->rows ? ledger->rows - 1 : layer;
}

static struct work_sum *work_at(const struct bl_ledger *ledger, int row, int phase) {
    return &ledger->work[row * BL_PHASES + phase];
}

static void book(const struct bl_ledger *ledger, struct ledger_step *step, int row, int phase, double time) {
    if (time <= 0) return;
    step->ms[row * BL_PHASES + phase] += (float)(1e3 * time);
    step->covered += time;
    work_at(ledger, row, phase)->time += time;
}

/* Sums over the steps; the time itself is booked apart. */
static void count_span(const struct bl_ledger *ledger, const struct bl_span *span, double host) {
    struct work_sum *work = work_at(ledger, row_of(ledger, span->layer), span->phase);
    work->device += span->end > span->start ? seconds(span->end - span->start) : 0;
    work->host += host > 0 ? host : 0;
    work->launches++;
    work->bytes += (double)span->bytes;
    work->operations += span->operations;
}

/* A command's time runs from the later of the previous command's end and its own queueing to its end; before that the
 * device waited for the host, on behalf of the layer whose command came late. */
static void book_spans(const struct bl_ledger *ledger, struct ledger_step *step) {
    const struct last_step *last = &ledger->last;
    double ready = last->offset + last->loaded; // when the host turned to the device
    for (int i = 0; i < last->count; i++) {
        const struct bl_span *span = &last->spans[i];
        double queued = seconds(span->queued), end = seconds(span->end);
        double from = queued > ready ? queued : ready;
        int row = row_of(ledger, span->layer);
        if (i)
            book(ledger, step, row, span->phase == BL_COMMUNICATE ? BL_COMMUNICATE : BL_WAIT, queued - ready);
        else
            book(ledger, step, ledger->rows - 1, BL_OTHER, queued - ready);
        book(ledger, step, row, span->phase, end - from);
        count_span(ledger, span, i ? queued - ready : 0);
        if (end > ready) ready = end;
    }
    book(ledger, step, ledger->rows - 1, BL_LOAD, last->loaded);
    book(ledger, step, ledger->rows - 1, BL_OTHER, last->offset + last->end - ready);
}

static struct ledger_step *new_step(struct bl_ledger *ledger) {
    struct ledger_step *step = &ledger->steps[ledger->count % MAX_STEPS];
    size_t size = (size_t)ledger->rows * BL_PHASES;
    if (!step->ms && !(step->ms = bl_calloc(size, sizeof *step->ms))) return NULL;
    memset(step->ms, 0, size * sizeof *step->ms);
    step->covered = 0;
    return step;
}

int bl_ledger_end(struct bl_ledger *ledger, double *wall_ms) {
    const struct bl_span *spans;
    int count, code = bl_finish(ledger->dev);
    double end = bl_now(), offset = 0;
    struct last_step *last = &ledger->last;
    if (code || (code = bl_record_take(ledger->dev, &spans, &count))) goto done;
    if (wall_ms) *wall_ms = 1e3 * (end - ledger->begin);
    if (!count) goto done;
    if ((code = keep_spans(last, spans, count)) || (code = clock_offset(ledger, &offset))) goto done;
    last->loaded = ledger->loaded - ledger->begin;
    last->end = end - ledger->begin;
    last->offset = offset + ledger->begin;
    struct ledger_step *step = new_step(ledger);
    if (!step) {
        code = BLANCH_ENOMEM;
        goto done;
    }
    step->wall = last->end;
    book_spans(ledger, step);
    ledger->count++;
done:;
    int ended = bl_record(ledger->dev, false);
    return code ? code : ended;
}

/* --- looking -------------------------------------------------------------------------------- */

void bl_ledger_hide(struct bl_ledger *ledger, double ms) {
    ledger->hidden += ms;
}
double bl_ledger_hidden_ms(const struct bl_ledger *ledger) {
    return ledger->count ? ledger->hidden / (double)ledger->count : 0;
}

int bl_ledger_steps(const struct bl_ledger *ledger) {
    return ledger->count < MAX_STEPS ? (int)ledger->count : MAX_STEPS;
}

double bl_ledger_wall_quantile(const struct bl_ledger *ledger, double part) {
    double values[MAX_STEPS];
    int count = bl_ledger_steps(ledger);
    for (int i = 0; i < count; i++) values[i] = 1e3 * ledger->steps[i].wall;
    return bl_quantile(values, count, part);
}

double bl_ledger_step_ms(const struct bl_ledger *ledger) {
    return bl_ledger_wall_quantile(ledger, 0.5);
}
double bl_ledger_min_ms(const struct bl_ledger *ledger) {
    return bl_ledger_wall_quantile(ledger, 0);
}

/* What happens in some of the steps only (a refresh of the whitening) counts by its share of them. */
double bl_ledger_ms(const struct bl_ledger *ledger, int row, int phase) {
    double values[MAX_STEPS];
    int count = bl_ledger_steps(ledger), seen = 0;
    if (row < 0 || row >= ledger->rows) return 0;
    for (int i = 0; i < count; i++) {
        double ms = (double)ledger->steps[i].ms[row * BL_PHASES + phase];
        if (ms > 0) values[seen++] = ms;
    }
    return count ? bl_quantile(values, seen, 0.5) * seen / count : 0;
}

double bl_ledger_row_quantile(const struct bl_ledger *ledger, int row, double part) {
    double values[MAX_STEPS] = {0};
    int count = bl_ledger_steps(ledger);
    for (int i = 0; i < count; i++)
        for (int phase = 0; phase < BL_PHASES; phase++)
            values[i] += (double)ledger->steps[i].ms[row * BL_PHASES + phase];
    return bl_quantile(values, count, part);
}

void bl_ledger_limits(struct bl_ledger *ledger, const struct bl_limits *limits) {
    ledger->limits = *limits;
}

static double fraction(double amount, double time, double limit) {
    return time > 0 && limit > 0 ? amount / time / limit : NAN;
}

struct bl_work_done bl_ledger_work(const struct bl_ledger *ledger, int row, int phase) {
    struct work_sum sum = {0};
    double steps = ledger->count ? (double)ledger->count : 1;
    for (int r = 0; r < ledger->rows; r++)
        for (int p = 0; p < BL_PHASES; p++) {
            const struct work_sum *work = work_at(ledger, r, p);
            if ((row >= 0 && r != row) || (phase >= 0 && p != phase)) continue;
            sum.time += work->time, sum.device += work->device, sum.host += work->host;
            sum.launches += work->launches, sum.bytes += work->bytes, sum.operations += work->operations;
        }
    return (struct bl_work_done){.ms = 1e3 * sum.time / steps,
                                 .device_ms = 1e3 * sum.device / steps,
                                 .host_ms = 1e3 * sum.host / steps,
                                 .launches = sum.launches / steps,
                                 .bytes = sum.bytes / steps,
                                 .operations = sum.operations / steps,
                                 .arithmetic = fraction(sum.operations, sum.time, ledger->limits.operations),
                                 .bandwidth = fraction(sum.bytes, sum.time, ledger->limits.bytes)};
}

double bl_ledger_last_ms(const struct bl_ledger *ledger, int row, int phase) {
    if (!ledger->count || row < 0 || row >= ledger->rows) return 0;
    return (double)ledger->steps[(ledger->count - 1) % MAX_STEPS].ms[row * BL_PHASES + phase];
}

double bl_ledger_covered(const struct bl_ledger *ledger) {
    double sum = 0;
    int count = bl_ledger_steps(ledger);
    for (int i = 0; i < count; i++)
        sum += ledger->steps[i].wall > 0 ? ledger->steps[i].covered / ledger->steps[i].wall : 0;
    return count ? sum / count : 0;
}
