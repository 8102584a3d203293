/* Where the time of a step goes. Device time comes from the queue's events, host time from the host's clock; the two meet
 * through one small command that both clocks see, run after every recorded step. */
#include "sched/ledger.h"
#include "io/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 256 };                   // the latest are kept: enough for a median, little memory in long runs

struct ledger_step {
    double wall, covered;                   // seconds; sum of all phases
    float *ms;                              // (rows, BL_PHASES)
};
struct last_step {                          // for the trace
    struct bl_span *spans;
    size_t capacity;
    int count;
    double loaded, end;                     // seconds since begin
    double offset;                          // device seconds at begin
};
struct bl_ledger {
    struct bl_graph *graph;
    struct blanch_device *dev;
    struct bl_mem *mark;                    // written to read the device's clock
    int rows;                               // nodes + 1
    double begin, loaded;
    struct ledger_step steps[MAX_STEPS];
    int64_t count;                          // recorded so far
    struct last_step last;
};

int bl_ledger_create(struct bl_ledger **ledger, struct bl_graph *graph) {
    struct bl_ledger *l = bl_calloc(1, sizeof *l);
    *ledger = NULL;
    if (!l) return BLANCH_ENOMEM;
    l->graph = graph;
    l->dev = bl_graph_device(graph);
    l->rows = bl_graph_nodes(graph) + 1;
    int code = bl_mem_alloc(l->dev, 64, &l->mark);
    if (code) bl_ledger_free(l);
    else *ledger = l;
    return code;
}

void bl_ledger_free(struct bl_ledger *ledger) {
    if (!ledger) return;
    for (int i = 0; i < MAX_STEPS; i++) free(ledger->steps[i].ms);
    free(ledger->last.spans);
    bl_mem_free(ledger->mark);
    free(ledger);
}

/* --- recording ------------------------------------------------------------------------------ */

void bl_ledger_begin(struct bl_ledger *ledger) {
    bl_record(ledger->dev, true);
    ledger->begin = ledger->loaded = bl_now();
}

void bl_ledger_loaded(struct bl_ledger *ledger) { ledger->loaded = bl_now(); }

static double seconds(uint64_t nanoseconds) { return 1e-9 * (double)nanoseconds; }

/* The device's clock minus the host's: a small transfer is queued between two looks at the host's clock. The best of a few,
 * the one whose two looks are nearest. */
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

static void book(struct ledger_step *step, int rows, int row, enum bl_phase phase, double time) {
    if (time <= 0) return;
    if (row < 0 || row >= rows) row = rows - 1;
    step->ms[row * BL_PHASES + (int)phase] += (float)(1e3 * time);
    step->covered += time;
}

/* A command's time runs from the later of the previous command's end and its own queueing to its end; before that the
 * device waited for the host. */
static void book_spans(const struct bl_ledger *ledger, struct ledger_step *step) {
    const struct last_step *last = &ledger->last;
    int rows = ledger->rows;
    double ready = last->offset + last->loaded;             // when the host turned to the device
    for (int i = 0; i < last->count; i++) {
        const struct bl_span *span = &last->spans[i];
        double queued = seconds(span->queued), end = seconds(span->end);
        double from = queued > ready ? queued : ready;
        if (i) book(step, rows, rows - 1, BL_WAIT, queued - ready);
        else book(step, rows, rows - 1, BL_OTHER, queued - ready);
        book(step, rows, span->layer, span->phase, end - from);
        if (end > ready) ready = end;
    }
    book(step, rows, rows - 1, BL_LOAD, last->loaded);
    book(step, rows, rows - 1, BL_OTHER, last->offset + last->end - ready);
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
    if (!count) goto done;                  // a device without profiling: nothing to book
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
done:
    bl_record(ledger->dev, false);
    return code;
}

/* --- looking -------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* part 0.5: the median, by linear interpolation. Sorts values. */
static double quantile(double *values, int count, double part) {
    if (count < 1) return 0;
    qsort(values, (size_t)count, sizeof *values, by_value);
    double at = part * (count - 1);
    int low = (int)at;
    double high = values[low + 1 < count ? low + 1 : low];
    return values[low] + (at - low) * (high - values[low]);
}

int bl_ledger_steps(const struct bl_ledger *ledger) {
    return ledger->count < MAX_STEPS ? (int)ledger->count : MAX_STEPS;
}

static double wall_quantile(const struct bl_ledger *ledger, double part) {
    double values[MAX_STEPS];
    int count = bl_ledger_steps(ledger);
    for (int i = 0; i < count; i++) values[i] = 1e3 * ledger->steps[i].wall;
    return quantile(values, count, part);
}

double bl_ledger_step_ms(const struct bl_ledger *ledger) { return wall_quantile(ledger, 0.5); }
double bl_ledger_min_ms(const struct bl_ledger *ledger) { return wall_quantile(ledger, 0); }

double bl_ledger_ms(const struct bl_ledger *ledger, int row, enum bl_phase phase) {
    double values[MAX_STEPS];
    int count = bl_ledger_steps(ledger);
    if (row < 0 || row >= ledger->rows) return 0;
    for (int i = 0; i < count; i++) values[i] = (double)ledger->steps[i].ms[row * BL_PHASES + (int)phase];
    return quantile(values, count, 0.5);
}

double bl_ledger_covered(const struct bl_ledger *ledger) {
    double sum = 0;
    int count = bl_ledger_steps(ledger);
    for (int i = 0; i < count; i++) sum += ledger->steps[i].wall > 0 ? ledger->steps[i].covered / ledger->steps[i].wall : 0;
    return count ? sum / count : 0;
}

/* --- writing -------------------------------------------------------------------------------- */

static cJSON *row_phases(const struct bl_ledger *ledger, int row) {
    cJSON *phases = cJSON_CreateObject();
    for (int phase = 0; phase < BL_PHASES; phase++) {
        double ms = bl_ledger_ms(ledger, row, (enum bl_phase)phase);
        if (ms > 0) cJSON_AddItemToObject(phases, bl_phase_names[phase], bl_json_number(ms, 5));
    }
    return phases;
}

static const char *row_name(const struct bl_ledger *ledger, int row) {
    return row >= 0 && row < ledger->rows - 1 ? bl_graph_node(ledger->graph, row)->name : "(step)";
}

cJSON *bl_ledger_layers(const struct bl_ledger *ledger) {
    cJSON *layers = cJSON_CreateArray();
    for (int row = 0; row < ledger->rows; row++) {
        cJSON *phases = row_phases(ledger, row);
        if (!phases || !phases->child) {
            cJSON_Delete(phases);
            continue;
        }
        cJSON *layer = cJSON_CreateObject();
        cJSON_AddStringToObject(layer, "name", row_name(ledger, row));
        cJSON_AddStringToObject(layer, "op", row < ledger->rows - 1 ? bl_graph_node(ledger->graph, row)->op->name : "(step)");
        cJSON_AddItemToObject(layer, "phases", phases);
        cJSON_AddItemToArray(layers, layer);
    }
    return layers;
}

cJSON *bl_ledger_json(const struct bl_ledger *ledger) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "recorded_steps", (double)ledger->count);
    cJSON_AddNumberToObject(json, "steps", bl_ledger_steps(ledger));
    cJSON_AddItemToObject(json, "step_ms", bl_json_number(bl_ledger_step_ms(ledger), 6));
    cJSON_AddItemToObject(json, "min_ms", bl_json_number(bl_ledger_min_ms(ledger), 6));
    cJSON_AddItemToObject(json, "quartile1_ms", bl_json_number(wall_quantile(ledger, 0.25), 6));
    cJSON_AddItemToObject(json, "quartile3_ms", bl_json_number(wall_quantile(ledger, 0.75), 6));
    cJSON_AddItemToObject(json, "covered", bl_json_number(bl_ledger_covered(ledger), 4));
    cJSON_AddItemToObject(json, "layers", bl_ledger_layers(ledger));
    return json;
}

/* --- the trace ------------------------------------------------------------------------------ */

enum { DEVICE_TRACK = 1, HOST_TRACK = 2 };

static void add_name(cJSON *events, const char *what, int track, const char *name) {
    cJSON *event = cJSON_CreateObject(), *args = cJSON_CreateObject();
    cJSON_AddStringToObject(event, "ph", "M");
    cJSON_AddStringToObject(event, "name", what);
    cJSON_AddNumberToObject(event, "pid", 1);
    cJSON_AddNumberToObject(event, "tid", track);
    cJSON_AddStringToObject(args, "name", name);
    cJSON_AddItemToObject(event, "args", args);
    cJSON_AddItemToArray(events, event);
}

/* A complete event; times in seconds since the step's begin. */
static void add_event(cJSON *events, int track, const char *name, const char *category, double from, double to) {
    if (to <= from) return;
    cJSON *event = cJSON_CreateObject();
    cJSON_AddStringToObject(event, "ph", "X");
    cJSON_AddStringToObject(event, "name", name ? name : "?");
    cJSON_AddStringToObject(event, "cat", category);
    cJSON_AddNumberToObject(event, "pid", 1);
    cJSON_AddNumberToObject(event, "tid", track);
    cJSON_AddItemToObject(event, "ts", bl_json_number(1e6 * from, 9));
    cJSON_AddItemToObject(event, "dur", bl_json_number(1e6 * (to - from), 9));
    cJSON_AddItemToArray(events, event);
}

static bool same_layer(const struct bl_span *a, const struct bl_span *b) { return a->layer == b->layer; }
static bool same_phase(const struct bl_span *a, const struct bl_span *b) { return same_layer(a, b) && a->phase == b->phase; }

/* One slice over each run of commands that are alike; viewers nest slices of one track by their times. */
static void add_runs(const struct bl_ledger *ledger, cJSON *events, const char *category,
                     bool (*alike)(const struct bl_span *, const struct bl_span *)) {
    const struct last_step *last = &ledger->last;
    for (int i = 0, next; i < last->count; i = next) {
        const struct bl_span *span = &last->spans[i];
        for (next = i + 1; next < last->count && alike(span, &last->spans[next]);) next++;
        const char *name = alike == same_layer ? row_name(ledger, span->layer) : bl_phase_names[span->phase];
        add_event(events, DEVICE_TRACK, name, category, seconds(span->start) - last->offset,
                  seconds(last->spans[next - 1].end) - last->offset);
    }
}

static void add_host(const struct last_step *last, cJSON *events) {
    double first = last->loaded, final = last->loaded;
    if (last->count) {
        first = seconds(last->spans[0].queued) - last->offset;
        final = seconds(last->spans[last->count - 1].queued) - last->offset;
    }
    add_event(events, HOST_TRACK, "load", "host", 0, last->loaded);
    add_event(events, HOST_TRACK, "prepare", "host", last->loaded, first);
    add_event(events, HOST_TRACK, "queue commands", "host", first, final);
    add_event(events, HOST_TRACK, "wait for the device", "host", final, last->end);
}

int bl_ledger_trace(const struct bl_ledger *ledger, const char *path) {
    const struct last_step *last = &ledger->last;
    cJSON *json = cJSON_CreateObject(), *events = cJSON_CreateArray();
    cJSON_AddItemToObject(json, "traceEvents", events);
    cJSON_AddStringToObject(json, "displayTimeUnit", "ms");
    add_name(events, "process_name", DEVICE_TRACK, "blanch, one training step");
    add_name(events, "thread_name", DEVICE_TRACK, blanch_device_info(ledger->dev)->name);
    add_name(events, "thread_name", HOST_TRACK, "host");
    add_runs(ledger, events, "layer", same_layer);
    add_runs(ledger, events, "phase", same_phase);
    for (int i = 0; i < last->count; i++)
        add_event(events, DEVICE_TRACK, last->spans[i].kernel, "kernel", seconds(last->spans[i].start) - last->offset,
                  seconds(last->spans[i].end) - last->offset);
    add_host(last, events);
    int code = bl_json_write(path, json);
    cJSON_Delete(json);
    return code;
}
