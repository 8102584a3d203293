/* Results as JSON: the one writer. */
#include "io/files.h"
#include "report/result_internal.h"
#include <math.h>
#include <string.h>

static void add_field(cJSON *json, const char *key, const struct bl_result_field *field, double value) {
    if (!isfinite(value)) return;
    cJSON_AddItemToObject(json, key,
                          field->digits == BL_FLAG         ? cJSON_CreateBool(value != 0)
                          : bl_field_is_auto(field, value) ? cJSON_CreateString("auto")
                          : field->digits > 0              ? bl_json_number(value, field->digits)
                                                           : cJSON_CreateNumber(value));
}

void bl_fields_add(cJSON *json, const struct bl_result_field *fields, const void *of) {
    for (; fields->key; fields++) add_field(json, fields->key, fields, bl_field_value(fields, of));
}

static cJSON *fields_json(const struct bl_result_field *fields, const void *of) {
    cJSON *json = cJSON_CreateObject();
    bl_fields_add(json, fields, of);
    return json;
}

static void add_text(cJSON *json, const char *key, const char *text) {
    if (text && *text) cJSON_AddStringToObject(json, key, text);
}

cJSON *bl_epoch_json(const struct bl_epoch_result *epoch) {
    cJSON *json = cJSON_CreateObject();
    const char *without = isnan(epoch->val_s) ? "val_" : "test_";          // of the images that were not measured
    for (const struct bl_result_field *f = bl_epoch_fields; f->key; f++) { // null where nothing finite came out
        if (!strncmp(f->key, without, strlen(without))) continue;
        cJSON_AddItemToObject(json, f->key,
                              f->digits ? bl_json_number(bl_field_value(f, epoch), f->digits)
                                        : cJSON_CreateNumber(bl_field_value(f, epoch)));
    }
    return json;
}

/* --- a budget --------------------------------------------------------------------------------- */

static cJSON *decision_json(const struct bl_decision_result *decision) {
    cJSON *json = cJSON_CreateObject(), *layers;
    cJSON_AddStringToObject(json, "reason", decision->reason);
    bl_fields_add(json, bl_decision_fields, decision);
    layers = cJSON_AddArrayToObject(json, "layers");
    for (int i = 0; i < decision->layers; i++) {
        cJSON *layer = cJSON_CreateObject();
        cJSON_AddStringToObject(layer, "name", decision->layer[i].name);
        bl_fields_add(layer, bl_decision_layer_fields, &decision->layer[i]);
        cJSON_AddItemToArray(layers, layer);
    }
    return json;
}

static void add_budget(cJSON *json, const struct bl_budget_result *budget) {
    if (isnan(budget->budget_pct)) return;
    cJSON *own = fields_json(bl_budget_fields, budget), *decisions = cJSON_CreateArray();
    cJSON_AddStringToObject(own, "yardstick", budget->baseline); // the key of earlier versions
    for (int i = 0; i < budget->decisions; i++) cJSON_AddItemToArray(decisions, decision_json(&budget->decision[i]));
    cJSON_AddItemToObject(own, "decisions", decisions);
    cJSON_AddItemToObject(json, "budget", own);
}

/* --- a run ------------------------------------------------------------------------------------ */

static void add_update(cJSON *json, const struct bl_update_result *update) {
    add_text(json, "optimiser", update->optimiser);
    add_text(json, "schedule", update->schedule);
    bl_fields_add(json, bl_update_fields, update);
}

static cJSON *run_start(const struct bl_result *result, const struct bl_run_result *run) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "device", result->device[run->device].label);
    cJSON_AddStringToObject(json, "norm", run->norm);
    cJSON_AddStringToObject(json, "setting", run->setting);
    add_text(json, "network_hash", run->network_hash);
    cJSON_AddItemToObject(json, "settings", fields_json(bl_nd_fields, &run->nd));
    add_update(json, &run->update);
    if (!run->blocks) return json;
    cJSON_AddItemToObject(json, "blocks", cJSON_Duplicate(run->blocks, true));
    cJSON_AddBoolToObject(json, "exact", run->blocks_exact);
    return json;
}

static void add_ranks(cJSON *json, const struct bl_run_result *run) {
    cJSON *list = cJSON_AddArrayToObject(json, "ranks");
    for (int k = 0; k < run->ranks; k++) {
        cJSON *rank = fields_json(bl_rank_fields, &run->rank[k]);
        add_text(rank, "host", run->rank[k].host);
        add_text(rank, "device", run->rank[k].device);
        cJSON_AddItemToArray(list, rank);
    }
}

static cJSON *run_json(const struct bl_result *result, const struct bl_run_result *run) {
    cJSON *json = run_start(result, run), *epochs, *curve;
    bl_fields_add(json, bl_run_fields, run);
    add_budget(json, &run->budget);
    bl_measured_json(&run->step, json);
    epochs = cJSON_AddArrayToObject(json, "epochs");
    for (int e = 0; e < run->epochs; e++) cJSON_AddItemToArray(epochs, bl_epoch_json(&run->epoch[e]));
    if (run->ranks) add_ranks(json, run);
    curve = cJSON_AddArrayToObject(json, "curve");
    for (int p = 0; p < run->points; p++) cJSON_AddItemToArray(curve, fields_json(bl_point_fields, &run->curve[p]));
    return json;
}

/* --- a pair ----------------------------------------------------------------------------------- */

static cJSON *row_json(const struct bl_pair_row *row) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", row->name);
    cJSON_AddStringToObject(json, "bn_name", row->bn_name);
    cJSON_AddStringToObject(json, "op", row->op);
    if (row->role >= 0) cJSON_AddStringToObject(json, "role", bl_role_names[row->role]);
    cJSON_AddItemToObject(json, "bn_ms", bl_json_number(row->bn_ms, 5));
    cJSON_AddItemToObject(json, "nd_ms", bl_json_number(row->nd_ms, 5));
    cJSON_AddItemToObject(json, "overhead_ms", bl_json_number(row->nd_ms - row->bn_ms, 5));
    cJSON_AddItemToObject(json, "bn_phases", bl_phases_json(row->bn));
    cJSON_AddItemToObject(json, "nd_phases", bl_phases_json(row->nd));
    return json;
}

static cJSON *pair_json(const struct bl_result *result, const struct bl_pair_result *pair) {
    cJSON *json = cJSON_CreateObject(), *layers;
    cJSON_AddStringToObject(json, "device", result->device[pair->device].label);
    cJSON_AddStringToObject(json, "setting", pair->setting);
    cJSON_AddItemToObject(json, "settings", fields_json(bl_nd_fields, &pair->nd));
    bl_fields_add(json, bl_pair_fields, pair);
    layers = cJSON_AddArrayToObject(json, "layers");
    for (int r = 0; r < pair->rows; r++) cJSON_AddItemToArray(layers, row_json(&pair->row[r]));
    return json;
}

/* --- a document ------------------------------------------------------------------------------- */

static cJSON *device_json(const struct bl_device_result *device) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", device->label);
    if (strcmp(device->label, device->facts.name)) cJSON_AddStringToObject(json, "device_name", device->facts.name);
    add_text(json, "kind", device->facts.kind);
    add_text(json, "platform", device->facts.platform);
    add_text(json, "vendor", device->vendor);
    add_text(json, "version", device->facts.version);
    add_text(json, "driver", device->facts.driver);
    if (device->facts.compute_units > 0) cJSON_AddNumberToObject(json, "compute_units", device->facts.compute_units);
    if (device->clock_mhz > 0) cJSON_AddNumberToObject(json, "clock_mhz", device->clock_mhz);
    if (device->facts.memory > 0) cJSON_AddNumberToObject(json, "memory_bytes", device->facts.memory);
    if (device->max_alloc_bytes > 0) cJSON_AddNumberToObject(json, "max_alloc_bytes", device->max_alloc_bytes);
    return json;
}

static cJSON *start(const struct bl_result *result) {
    struct bl_header header = result->header;
    if (result->devices && !*header.device.name) header.device = result->device[0].facts;
    cJSON *json = bl_header_json(&header, result->settings ? cJSON_Duplicate(result->settings, true) : NULL);
    add_text(json, "source", result->source);
    cJSON_AddStringToObject(json, "model", result->model);
    add_text(json, "precision", result->precision);
    add_text(json, "data", result->data);
    add_text(json, "augment", result->augment);
    add_update(json, &result->update);
    bl_fields_add(json, bl_document_fields, result);
    cJSON *devices = cJSON_AddArrayToObject(json, "devices");
    for (int d = 0; d < result->devices; d++) cJSON_AddItemToArray(devices, device_json(&result->device[d]));
    return json;
}

cJSON *bl_result_config_json(const struct bl_result *result) {
    cJSON *json = start(result), *runs = cJSON_AddArrayToObject(json, "runs");
    for (int r = 0; r < result->runs; r++) cJSON_AddItemToArray(runs, run_start(result, &result->run[r]));
    return json;
}

cJSON *bl_result_json(const struct bl_result *result) {
    if (result->suite) return bl_suite_json(result);
    cJSON *json = start(result), *runs = cJSON_AddArrayToObject(json, "runs"), *pairs;
    for (int r = 0; r < result->runs; r++) cJSON_AddItemToArray(runs, run_json(result, &result->run[r]));
    pairs = cJSON_AddArrayToObject(json, "pairs");
    for (int p = 0; p < result->pairs; p++) cJSON_AddItemToArray(pairs, pair_json(result, &result->pair[p]));
    if (result->eval) cJSON_AddItemToObject(json, "eval", bl_eval_json(result->eval));
    return json;
}

cJSON *bl_result_bench_json(const struct bl_result *result) {
    const struct bl_run_result *run = &result->run[0];
    cJSON *json = bl_header_json(&result->header, result->settings ? cJSON_Duplicate(result->settings, true) : NULL);
    cJSON_AddStringToObject(json, "model", result->model);
    cJSON_AddStringToObject(json, "norm", run->norm);
    add_text(json, "network_hash", run->network_hash);
    add_text(json, "precision", result->precision);
    cJSON_AddNumberToObject(json, "batch", result->batch);
    cJSON_AddNumberToObject(json, "steps", result->steps);
    for (const struct bl_result_field *f = bl_run_fields; f->key; f++)
        add_field(json, f->short_key ? f->short_key : f->key, f, bl_field_value(f, run));
    bl_measured_json(&run->step, json);
    return json;
}
