/* The last recorded step in the Chrome trace-event format, which Perfetto opens: complete events (ph X) with ts and dur
 * in microseconds since the step's begin, one track for the device's queue and one for the host. */
#include "sched/ledger_internal.h"
#include "io/document.h"
#include "io/files.h"

static double seconds(uint64_t nanoseconds) {
    return 1e-9 * (double)nanoseconds;
}

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
static cJSON *add_event(cJSON *events, int track, const char *name, const char *category, double from, double to) {
    cJSON *event = cJSON_CreateObject();
    cJSON_AddStringToObject(event, "ph", "X");
    cJSON_AddStringToObject(event, "name", name ? name : "?");
    cJSON_AddStringToObject(event, "cat", category);
    cJSON_AddNumberToObject(event, "pid", 1);
    cJSON_AddNumberToObject(event, "tid", track);
    cJSON_AddItemToObject(event, "ts", bl_json_number(1e6 * from, 9));
    cJSON_AddItemToObject(event, "dur", bl_json_number(to > from ? 1e6 * (to - from) : 0, 9));
    cJSON_AddItemToArray(events, event);
    return event;
}

/* What a viewer shows around commands; commands themselves are all there, however short. */
static void add_slice(cJSON *events, int track, const char *name, const char *category, double from, double to) {
    if (to > from) add_event(events, track, name, category, from, to);
}

/* A command with all that the ledger knows of it. Operations that nobody stated are left out. */
static void add_command(const struct bl_ledger *ledger, const struct bl_span *span, cJSON *events) {
    const struct last_step *last = &ledger->last;
    cJSON *event = add_event(events, DEVICE_TRACK, span->kernel, span->library ? "library" : "kernel",
                             seconds(span->start) - last->offset, seconds(span->end) - last->offset);
    cJSON *args = cJSON_AddObjectToObject(event, "args");
    cJSON_AddStringToObject(args, "layer", bl_ledger_row_name(ledger, span->layer));
    cJSON_AddStringToObject(args, "phase", bl_phase_names[span->phase]);
    cJSON_AddNumberToObject(args, "bytes", (double)span->bytes);
    if (span->stated) cJSON_AddItemToObject(args, "operations", bl_json_number(span->operations, 8));
}

static bool same_layer(const struct bl_span *a, const struct bl_span *b) {
    return a->layer == b->layer;
}
static bool same_phase(const struct bl_span *a, const struct bl_span *b) {
    return same_layer(a, b) && a->phase == b->phase;
}

/* One slice over each run of commands that are alike; viewers nest slices of one track by their times. */
static void add_runs(const struct bl_ledger *ledger, cJSON *events, const char *category,
                     bool (*alike)(const struct bl_span *, const struct bl_span *)) {
    const struct last_step *last = &ledger->last;
    for (int i = 0, next; i < last->count; i = next) {
        const struct bl_span *span = &last->spans[i];
        for (next = i + 1; next < last->count && alike(span, &last->spans[next]);) next++;
        const char *name = alike == same_layer ? bl_ledger_row_name(ledger, span->layer) : bl_phase_names[span->phase];
        add_slice(events, DEVICE_TRACK, name, category, seconds(span->start) - last->offset,
                  seconds(last->spans[next - 1].end) - last->offset);
    }
}

static void add_host(const struct last_step *last, cJSON *events) {
    double first = last->loaded, final = last->loaded;
    if (last->count) {
        first = seconds(last->spans[0].queued) - last->offset;
        final = seconds(last->spans[last->count - 1].queued) - last->offset;
    }
    add_slice(events, HOST_TRACK, "load", "host", 0, last->loaded);
    add_slice(events, HOST_TRACK, "prepare", "host", last->loaded, first);
    add_slice(events, HOST_TRACK, "queue commands", "host", first, final);
    add_slice(events, HOST_TRACK, "wait for the device", "host", final, last->end);
}

int bl_ledger_trace(const struct bl_ledger *ledger, const char *path, cJSON *settings) {
    const struct last_step *last = &ledger->last;
    cJSON *json = bl_document("trace", blanch_device_info(ledger->dev), settings), *events = cJSON_CreateArray();
    cJSON_AddItemToObject(json, "traceEvents", events);
    cJSON_AddStringToObject(json, "displayTimeUnit", "ms");
    add_name(events, "process_name", DEVICE_TRACK, "blanch, one training step");
    add_name(events, "thread_name", DEVICE_TRACK, blanch_device_info(ledger->dev)->name);
    add_name(events, "thread_name", HOST_TRACK, "host");
    add_runs(ledger, events, "layer", same_layer);
    add_runs(ledger, events, "phase", same_phase);
    for (int i = 0; i < last->count; i++) add_command(ledger, &last->spans[i], events);
    add_host(last, events);
    int code = bl_json_write(path, json);
    cJSON_Delete(json);
    return code;
}
