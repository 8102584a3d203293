/* The ledger as plain values, and those as JSON. */
#include "sched/ledger_internal.h"
#include "io/document.h"
#include "io/files.h"
#include "ops/conv/conv.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- to plain values -------------------------------------------------------------------------- */

const char *bl_ledger_row_name(const struct bl_ledger *ledger, int row) {
    return row >= 0 && row < ledger->rows - 1 ? bl_graph_node(ledger->graph, row)->name : "(step)";
}

static void fill_row(const struct bl_ledger *ledger, int index, struct bl_ledger_row *row) {
    const struct bl_node *node = index < ledger->rows - 1 ? bl_graph_node(ledger->graph, index) : NULL;
    snprintf(row->name, sizeof row->name, "%s", bl_ledger_row_name(ledger, index));
    snprintf(row->op, sizeof row->op, "%s", node ? node->op->name : "(step)");
    row->role = node ? (int)node->op->role : -1;
    for (int pass = 0; node && pass < BL_CONV_PASSES; pass++)
        if (node->engine[pass]) snprintf(row->engine[pass], sizeof row->engine[pass], "%s", node->engine[pass]);
    for (int phase = 0; phase < BL_PHASES; phase++) {
        row->ms[phase] = bl_ledger_ms(ledger, index, phase);
        row->work[phase] = bl_ledger_work(ledger, index, phase);
    }
    row->all = bl_ledger_work(ledger, index, -1);
    row->quartile1_ms = bl_ledger_row_quantile(ledger, index, 0.25);
    row->quartile3_ms = bl_ledger_row_quantile(ledger, index, 0.75);
}

int bl_ledger_measured(const struct bl_ledger *ledger, struct bl_measured *measured) {
    *measured = (struct bl_measured){.limits = ledger->limits, .rows = ledger->rows};
    if (!(measured->row = bl_calloc((size_t)ledger->rows, sizeof *measured->row))) return BLANCH_ENOMEM;
    for (int row = 0; row < ledger->rows; row++) fill_row(ledger, row, &measured->row[row]);
    for (int phase = 0; phase < BL_PHASES; phase++) measured->work[phase] = bl_ledger_work(ledger, -1, phase);
    measured->all = bl_ledger_work(ledger, -1, -1);
    return 0;
}

void bl_measured_free(struct bl_measured *measured) {
    free(measured->row);
    *measured = (struct bl_measured){0};
}

double bl_row_ms(const struct bl_ledger_row *row) {
    double sum = 0;
    for (int phase = 0; phase < BL_PHASES; phase++) sum += row->ms[phase];
    return sum;
}

/* --- to JSON ---------------------------------------------------------------------------------- */

cJSON *bl_phases_json(const double *ms) {
    cJSON *phases = cJSON_CreateObject();
    for (int phase = 0; phase < BL_PHASES; phase++)
        if (ms[phase] > 0) cJSON_AddItemToObject(phases, bl_phase_names[phase], bl_json_number(ms[phase], 5));
    return phases;
}

static void add_number(cJSON *json, const char *key, double value, int digits) {
    if (isfinite(value)) cJSON_AddItemToObject(json, key, bl_json_number(value, digits));
}

/* Nothing where no command ran. */
static void add_work(cJSON *to, const char *key, const struct bl_work_done *work) {
    if (!(work->launches > 0)) return;
    cJSON *json = cJSON_AddObjectToObject(to, key);
    add_number(json, "device_ms", work->device_ms, 5);
    add_number(json, "host_ms", work->host_ms, 5);
    add_number(json, "launches", work->launches, 5);
    add_number(json, "bytes", work->bytes, 8);
    add_number(json, "operations", work->operations, 8);
    add_number(json, "arithmetic", work->arithmetic, 4);
    add_number(json, "bandwidth", work->bandwidth, 4);
}

static void add_works(cJSON *json, const struct bl_work_done *work, const struct bl_work_done *all) {
    cJSON *phases = cJSON_AddObjectToObject(json, "work");
    for (int phase = 0; phase < BL_PHASES; phase++) add_work(phases, bl_phase_names[phase], &work[phase]);
    add_work(json, "work_all", all);
}

static cJSON *row_json(const struct bl_ledger_row *row) {
    cJSON *layer = cJSON_CreateObject();
    cJSON_AddStringToObject(layer, "name", row->name);
    cJSON_AddStringToObject(layer, "op", row->op);
    if (row->role >= 0) cJSON_AddStringToObject(layer, "role", bl_role_names[row->role]);
    cJSON_AddItemToObject(layer, "phases", bl_phases_json(row->ms));
    add_number(layer, "quartile1_ms", row->quartile1_ms, 5);
    add_number(layer, "quartile3_ms", row->quartile3_ms, 5);
    add_works(layer, row->work, &row->all);
    return layer;
}

/* Of every convolution: the engines of its passes, without which operations executed cannot be told from the ledger's.
 */
static void add_engines(cJSON *json, const struct bl_measured *measured) {
    cJSON *engines = cJSON_AddObjectToObject(json, "engines");
    for (int i = 0; i < measured->rows; i++) {
        const struct bl_ledger_row *row = &measured->row[i];
        cJSON *passes = *row->engine[0] ? cJSON_AddObjectToObject(engines, row->name) : NULL;
        for (int pass = 0; passes && pass < BL_CONV_PASSES; pass++)
            if (*row->engine[pass]) cJSON_AddStringToObject(passes, bl_conv_pass_names[pass], row->engine[pass]);
    }
}

void bl_measured_json(const struct bl_measured *measured, cJSON *json) {
    cJSON *limits = cJSON_AddObjectToObject(json, "limits"), *layers = cJSON_CreateArray();
    if (measured->limits.operations > 0) add_number(limits, "operations_per_s", measured->limits.operations, 5);
    if (measured->limits.bytes > 0) add_number(limits, "bytes_per_s", measured->limits.bytes, 5);
    add_works(json, measured->work, &measured->all);
    add_engines(json, measured);
    for (int i = 0; i < measured->rows; i++)
        if (bl_row_ms(&measured->row[i]) > 0) cJSON_AddItemToArray(layers, row_json(&measured->row[i]));
    cJSON_AddItemToObject(json, "layers", layers);
}

int bl_ledger_json(struct bl_ledger *ledger, bool last, cJSON *settings, cJSON **out) {
    struct bl_limits *limits = &ledger->limits;
    const bool known = limits->operations > 0;
    int code = last ? bl_limits_at_end(ledger->dev, limits) : known ? 0 : bl_limits_get(ledger->dev, false, limits);
    *out = NULL;
    if (code) return cJSON_Delete(settings), code;
    cJSON *json = *out = bl_document("ledger", blanch_device_info(ledger->dev), settings);
    cJSON_AddNumberToObject(json, "recorded_steps", (double)ledger->count);
    cJSON_AddNumberToObject(json, "steps", bl_ledger_steps(ledger));
    cJSON_AddItemToObject(json, "step_ms", bl_json_number(bl_ledger_step_ms(ledger), 6));
    cJSON_AddItemToObject(json, "min_ms", bl_json_number(bl_ledger_min_ms(ledger), 6));
    cJSON_AddItemToObject(json, "quartile1_ms", bl_json_number(bl_ledger_wall_quantile(ledger, 0.25), 6));
    cJSON_AddItemToObject(json, "quartile3_ms", bl_json_number(bl_ledger_wall_quantile(ledger, 0.75), 6));
    cJSON_AddItemToObject(json, "covered", bl_json_number(bl_ledger_covered(ledger), 4));
    if (bl_graph_collectives(ledger->graph))
        cJSON_AddItemToObject(json, "communicate_hidden_ms", bl_json_number(bl_ledger_hidden_ms(ledger), 5));
    struct bl_measured measured;
    if (!(code = bl_ledger_measured(ledger, &measured))) bl_measured_json(&measured, json);
    bl_measured_free(&measured);
    return code;
}
