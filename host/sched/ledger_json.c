/* The ledger as JSON. */
#include "sched/ledger_internal.h"
#include "io/document.h"
#include "io/files.h"
#include <math.h>

static cJSON *row_phases(const struct bl_ledger *ledger, int row) {
    cJSON *phases = cJSON_CreateObject();
    for (int phase = 0; phase < BL_PHASES; phase++) {
        double ms = bl_ledger_ms(ledger, row, (enum bl_phase)phase);
        if (ms > 0) cJSON_AddItemToObject(phases, bl_phase_names[phase], bl_json_number(ms, 5));
    }
    return phases;
}

static void add_number(cJSON *json, const char *key, double value, int digits) {
    if (isfinite(value)) cJSON_AddItemToObject(json, key, bl_json_number(value, digits));
}

/* NULL where no command ran. */
static cJSON *work_json(struct bl_work_done work) {
    if (!(work.launches > 0)) return NULL;
    cJSON *json = cJSON_CreateObject();
    add_number(json, "device_ms", work.device_ms, 5);
    add_number(json, "host_ms", work.host_ms, 5);
    add_number(json, "launches", work.launches, 5);
    add_number(json, "bytes", work.bytes, 8);
    add_number(json, "operations", work.operations, 8);
    add_number(json, "arithmetic", work.arithmetic, 4);
    add_number(json, "bandwidth", work.bandwidth, 4);
    return json;
}

static void add_work(cJSON *json, const char *key, struct bl_work_done work) {
    cJSON *done = work_json(work);
    if (done) cJSON_AddItemToObject(json, key, done);
}

static void add_row_work(const struct bl_ledger *ledger, cJSON *layer, int row) {
    cJSON *phases = cJSON_AddObjectToObject(layer, "work");
    for (int phase = 0; phase < BL_PHASES; phase++)
        add_work(phases, bl_phase_names[phase], bl_ledger_work(ledger, row, phase));
    add_work(layer, "work_all", bl_ledger_work(ledger, row, -1));
}

const char *bl_ledger_row_name(const struct bl_ledger *ledger, int row) {
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
        cJSON_AddStringToObject(layer, "name", bl_ledger_row_name(ledger, row));
        cJSON_AddStringToObject(layer, "op",
                                row < ledger->rows - 1 ? bl_graph_node(ledger->graph, row)->op->name : "(step)");
        cJSON_AddItemToObject(layer, "phases", phases);
        add_number(layer, "quartile1_ms", bl_ledger_row_quantile(ledger, row, 0.25), 5);
        add_number(layer, "quartile3_ms", bl_ledger_row_quantile(ledger, row, 0.75), 5);
        add_row_work(ledger, layer, row);
        cJSON_AddItemToArray(layers, layer);
    }
    return layers;
}

void bl_ledger_add_totals(const struct bl_ledger *ledger, cJSON *json) {
    cJSON *limits = cJSON_AddObjectToObject(json, "limits");
    if (ledger->limits.operations > 0) {
        add_number(limits, "operations_per_s", ledger->limits.operations, 5);
        add_number(limits, "bytes_per_s", ledger->limits.bytes, 5);
    }
    cJSON *phases = cJSON_AddObjectToObject(json, "work");
    for (int phase = 0; phase < BL_PHASES; phase++)
        add_work(phases, bl_phase_names[phase], bl_ledger_work(ledger, -1, phase));
    add_work(json, "work_all", bl_ledger_work(ledger, -1, -1));
}

cJSON *bl_ledger_json(struct bl_ledger *ledger, cJSON *settings) {
    struct bl_limits limits;
    if (!(ledger->limits.operations > 0) && !bl_limits_get(ledger->dev, false, &limits)) ledger->limits = limits;
    cJSON *json = bl_document("ledger", 2, blanch_device_info(ledger->dev), settings);
    cJSON_AddNumberToObject(json, "recorded_steps", (double)ledger->count);
    cJSON_AddNumberToObject(json, "steps", bl_ledger_steps(ledger));
    cJSON_AddItemToObject(json, "step_ms", bl_json_number(bl_ledger_step_ms(ledger), 6));
    cJSON_AddItemToObject(json, "min_ms", bl_json_number(bl_ledger_min_ms(ledger), 6));
    cJSON_AddItemToObject(json, "quartile1_ms", bl_json_number(bl_ledger_wall_quantile(ledger, 0.25), 6));
    cJSON_AddItemToObject(json, "quartile3_ms", bl_json_number(bl_ledger_wall_quantile(ledger, 0.75), 6));
    cJSON_AddItemToObject(json, "covered", bl_json_number(bl_ledger_covered(ledger), 4));
    bl_ledger_add_totals(ledger, json);
    cJSON_AddItemToObject(json, "layers", bl_ledger_layers(ledger));
    return json;
}
