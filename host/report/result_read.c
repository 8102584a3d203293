/* Results from JSON: the one reader, also of what earlier versions wrote. */
#include "base/text.h"
#include "report/result_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cJSON *item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

void bl_fields_read(const cJSON *json, const struct bl_result_field *fields, void *of) {
    for (; fields->key; fields++) {
        const cJSON *value = item(json, fields->key);
        if (!value && fields->short_key) value = item(json, fields->short_key);
        if (fields->digits == BL_FLAG && cJSON_IsBool(value))
            *bl_field_of(fields, of) = cJSON_IsTrue(value);
        else if (fields->digits == BL_OR_AUTO && cJSON_IsString(value) && !strcmp(value->valuestring, "auto"))
            *bl_field_of(fields, of) = -1;
        else if (cJSON_IsNumber(value))
            *bl_field_of(fields, of) = bl_json_value(value);
    }
}

void bl_text_read(const cJSON *json, const char *key, char *text, size_t size) {
    const char *found = bl_json_text(json, key);
    snprintf(text, size, "%.*s", (int)bl_text_fit(found, size), found);
}

/* More than any network, comparison or training has: what is read is held in memory at many times a file's size, and
 * rows are looked up by name. */
enum { MOST_LAYERS = 5000, MOST_ROWS = 50000, MOST_RUNS = 256, MOST_POINTS = 100000, MOST_RANKS = 4096 };

static int check_size(const cJSON *list, const char *what, int most) {
    int count = cJSON_GetArraySize(list);
    return count <= most ? 0 : bl_fail(BLANCH_ELIMIT, "it holds %d %s, and at most %d are read", count, what, most);
}

/* count zeroed elements for what the list holds. */
static int make_list(const cJSON *list, const char *what, int most, size_t size, void **data, int *count) {
    *count = 0;
    if (!cJSON_IsArray(list) || !list->child) return 0;
    int code = check_size(list, what, most), wanted = cJSON_GetArraySize(list);
    if (code) return code;
    if (!(*data = bl_calloc((size_t)wanted, size))) return BLANCH_ENOMEM;
    *count = wanted;
    return 0;
}

void bl_epoch_read(const cJSON *json, struct bl_epoch_result *epoch) {
    bl_fields_read(json, bl_epoch_fields, epoch);
}

/* --- a measured step -------------------------------------------------------------------------- */

static void read_work(const cJSON *json, struct bl_work_done *work) {
    double launches = bl_json_get(json, "launches");
    *work = (struct bl_work_done){.ms = NAN,
                                  .device_ms = bl_json_get(json, "device_ms"),
                                  .host_ms = bl_json_get(json, "host_ms"),
                                  .launches = isnan(launches) ? 0 : launches,
                                  .bytes = bl_json_get(json, "bytes"),
                                  .operations = bl_json_get(json, "operations"),
                                  .arithmetic = bl_json_get(json, "arithmetic"),
                                  .bandwidth = bl_json_get(json, "bandwidth")};
}

static void read_works(const cJSON *json, struct bl_work_done *work, struct bl_work_done *all) {
    const cJSON *phases = item(json, "work");
    for (int p = 0; p < BL_PHASES; p++) read_work(item(phases, bl_phase_names[p]), &work[p]);
    read_work(item(json, "work_all"), all);
}

static void read_phases(const cJSON *json, double *ms) {
    for (int p = 0; p < BL_PHASES; p++) {
        double value = bl_json_get(json, bl_phase_names[p]);
        ms[p] = value > 0 ? value : 0;
    }
}

/* Files of format 1 do not tell roles: the operation's name does, where it is known. */
static int read_role(const cJSON *json) {
    const char *role = bl_json_text(json, "role");
    const struct bl_op *op = bl_op_find(bl_json_text(json, "op"));
    for (int i = 0; i < BL_ROLES; i++)
        if (!strcmp(role, bl_role_names[i])) return i;
    return op ? (int)op->role : -1;
}

static void read_row(const cJSON *json, const cJSON *engines, struct bl_ledger_row *row) {
    bl_text_read(json, "name", row->name, sizeof row->name);
    bl_text_read(json, "op", row->op, sizeof row->op);
    row->role = read_role(json);
    read_phases(item(json, "phases"), row->ms);
    row->quartile1_ms = bl_json_get(json, "quartile1_ms");
    row->quartile3_ms = bl_json_get(json, "quartile3_ms");
    read_works(json, row->work, &row->all);
    for (int pass = 0; pass < BL_COUNT(row->engine); pass++)
        bl_text_read(item(engines, row->name), bl_phase_names[BL_FORWARD + pass], row->engine[pass],
                     sizeof row->engine[pass]);
}

static int read_measured(const cJSON *json, struct bl_measured *step) {
    const cJSON *limits = item(json, "limits"), *layers = item(json, "layers"), *layer;
    double operations = bl_json_get(limits, "operations_per_s"), bytes = bl_json_get(limits, "bytes_per_s");
    void *rows = NULL;
    int code = check_size(item(json, "engines"), "layers with engines", MOST_LAYERS), at = 0;
    if (!code) code = make_list(layers, "layers", MOST_LAYERS, sizeof *step->row, &rows, &step->rows);
    if (code) return code;
    step->row = rows;
    step->limits =
        (struct bl_limits){.operations = isfinite(operations) ? operations : 0, .bytes = isfinite(bytes) ? bytes : 0};
    read_works(json, step->work, &step->all);
    if (step->rows) cJSON_ArrayForEach(layer, layers) read_row(layer, item(json, "engines"), &step->row[at++]);
    return 0;
}

static int read_ranks(const cJSON *json, struct bl_run_result *run) {
    const cJSON *rank;
    void *list = NULL;
    int at = 0, code = make_list(json, "ranks", MOST_RANKS, sizeof *run->rank, &list, &run->ranks);
    run->rank = list;
    if (code || !run->ranks) return code;
    cJSON_ArrayForEach(rank, json) {
        struct bl_rank_result *to = &run->rank[at++];
        bl_fields_clear(bl_rank_fields, to);
        bl_text_read(rank, "host", to->host, sizeof to->host);
        bl_text_read(rank, "device", to->device, sizeof to->device);
        bl_fields_read(rank, bl_rank_fields, to);
    }
    return 0;
}

int bl_run_read_measured(const cJSON *json, struct bl_run_result *run) {
    bl_fields_read(json, bl_run_fields, run);
    if (isnan(run->coverage)) run->coverage = bl_json_get(json, "covered"); // of a ledger
    int code = read_ranks(item(json, "ranks"), run);
    return code ? code : read_measured(json, &run->step);
}

/* --- a budget --------------------------------------------------------------------------------- */

int bl_decision_read(const cJSON *json, struct bl_decision_result *decision) {
    const cJSON *layers = item(json, "layers"), *layer;
    void *list = NULL;
    int at = 0, code = make_list(layers, "layers", MOST_LAYERS, sizeof *decision->layer, &list, &decision->layers);
    if (code) return code;
    decision->layer = list;
    bl_text_read(json, "reason", decision->reason, sizeof decision->reason);
    bl_fields_read(json, bl_decision_fields, decision);
    if (decision->layers) cJSON_ArrayForEach(layer, layers) {
            struct bl_decision_layer_result *to = &decision->layer[at++];
            bl_fields_clear(bl_decision_layer_fields, to);
            bl_text_read(layer, "name", to->name, sizeof to->name);
            bl_fields_read(layer, bl_decision_layer_fields, to);
        }
    return 0;
}

static int read_budget(const cJSON *json, struct bl_budget_result *budget) {
    const cJSON *decision;
    int code = check_size(item(json, "decisions"), "decisions", MOST_LAYERS);
    bl_fields_read(json, bl_budget_fields, budget);
    bl_text_read(json, item(json, "yardstick") ? "yardstick" : "baseline", budget->baseline, sizeof budget->baseline);
    cJSON_ArrayForEach(decision, item(json, "decisions")) {
        struct bl_decision_result *to = code ? NULL : bl_result_add_decision(budget);
        if (!to) return code ? code : BLANCH_ENOMEM;
        code = bl_decision_read(decision, to);
    }
    return code;
}

/* --- a run, a pair ---------------------------------------------------------------------------- */

static int read_curve(const cJSON *json, struct bl_run_result *run) {
    const cJSON *point;
    void *list = NULL;
    int at = 0, code = make_list(json, "points of a curve", MOST_POINTS, sizeof *run->curve, &list, &run->points);
    run->curve = list;
    if (code || !run->points) return code;
    cJSON_ArrayForEach(point, json) {
        bl_fields_clear(bl_point_fields, &run->curve[at]);
        bl_fields_read(point, bl_point_fields, &run->curve[at++]);
    }
    return 0;
}

static void read_update(const cJSON *json, struct bl_update_result *update) {
    if (item(json, "optimiser")) bl_text_read(json, "optimiser", update->optimiser, sizeof update->optimiser);
    if (item(json, "schedule")) bl_text_read(json, "schedule", update->schedule, sizeof update->schedule);
    bl_fields_read(json, bl_update_fields, update);
}

static int read_blocks(const cJSON *json, struct bl_run_result *run) {
    const cJSON *blocks = item(json, "blocks");
    if (!cJSON_IsObject(blocks)) return 0;
    int code = check_size(blocks, "layers with blocks", MOST_LAYERS);
    if (code) return code;
    run->blocks_exact = cJSON_IsTrue(item(json, "exact"));
    return (run->blocks = cJSON_Duplicate(blocks, true)) ? 0 : BLANCH_ENOMEM;
}

static int read_run(const cJSON *json, struct bl_run_result *run) {
    const cJSON *epoch;
    bl_text_read(json, "norm", run->norm, sizeof run->norm);
    bl_text_read(json, "setting", run->setting, sizeof run->setting);
    bl_text_read(json, "network_hash", run->network_hash, sizeof run->network_hash);
    bl_fields_read(item(json, "settings"), bl_nd_fields, &run->nd);
    read_update(json, &run->update);
    int code = read_blocks(json, run);
    if (!code) code = bl_run_read_measured(json, run);
    if (!code) code = read_budget(item(json, "budget"), &run->budget);
    if (!code) code = check_size(item(json, "epochs"), "epochs", MOST_POINTS);
    cJSON_ArrayForEach(epoch, item(json, "epochs")) {
        struct bl_epoch_result *to = code ? NULL : bl_result_add_epoch(run);
        if (!to) return code ? code : BLANCH_ENOMEM;
        bl_epoch_read(epoch, to);
    }
    return code ? code : read_curve(item(json, "curve"), run);
}

static void read_pair_row(const cJSON *json, struct bl_pair_row *row) {
    double bn = bl_json_get(json, "bn_ms"), nd = bl_json_get(json, "nd_ms");
    bl_text_read(json, "name", row->name, sizeof row->name);
    bl_text_read(json, "bn_name", row->bn_name, sizeof row->bn_name);
    bl_text_read(json, "op", row->op, sizeof row->op);
    row->role = read_role(json);
    row->bn_ms = bn > 0 ? bn : 0;
    row->nd_ms = nd > 0 ? nd : 0;
    read_phases(item(json, "bn_phases"), row->bn);
    read_phases(item(json, "nd_phases"), row->nd);
}

static int read_pair(const cJSON *json, struct bl_pair_result *pair) {
    const cJSON *layers = item(json, "layers"), *layer;
    void *list = NULL;
    int at = 0, code = make_list(layers, "layers", MOST_LAYERS, sizeof *pair->row, &list, &pair->rows);
    pair->row = list;
    bl_text_read(json, "setting", pair->setting, sizeof pair->setting);
    bl_fields_read(item(json, "settings"), bl_nd_fields, &pair->nd);
    bl_fields_read(json, bl_pair_fields, pair);
    if (pair->rows) cJSON_ArrayForEach(layer, layers) read_pair_row(layer, &pair->row[at++]);
    return code;
}

/* --- a document ------------------------------------------------------------------------------- */

static int read_device(const cJSON *json, struct bl_result *result) {
    struct bl_device_result *device = bl_result_add_device(result, bl_json_text(json, "name"));
    double units = bl_json_get(json, "compute_units"), memory = bl_json_get(json, "memory_bytes");
    if (!device) return BLANCH_ENOMEM;
    if (*bl_json_text(json, "device_name"))
        bl_text_read(json, "device_name", device->facts.name, sizeof device->facts.name);
    bl_text_read(json, "kind", device->facts.kind, sizeof device->facts.kind);
    bl_text_read(json, "vendor", device->vendor, sizeof device->vendor);
    bl_text_read(json, "platform", device->facts.platform, sizeof device->facts.platform);
    bl_text_read(json, "version", device->facts.version, sizeof device->facts.version);
    bl_text_read(json, "driver", device->facts.driver, sizeof device->facts.driver);
    device->facts.compute_units = isfinite(units) ? units : 0;
    device->facts.memory = isfinite(memory) ? memory : 0;
    device->clock_mhz = bl_json_get(json, "clock_mhz");
    device->max_alloc_bytes = bl_json_get(json, "max_alloc_bytes");
    return 0;
}

/* The position of the device of that label, made where the document does not list it; negative: no memory. */
static int find_device(struct bl_result *result, const char *label) {
    for (int d = 0; d < result->devices; d++)
        if (!strcmp(result->device[d].label, label)) return d;
    return bl_result_add_device(result, label) ? result->devices - 1 : BLANCH_ENOMEM;
}

static int read_start(const cJSON *json, struct bl_result *result) {
    const cJSON *settings = item(json, "settings");
    bl_header_read(json, &result->header);
    bl_text_read(json, "model", result->model, sizeof result->model);
    bl_text_read(json, "precision", result->precision, sizeof result->precision);
    bl_text_read(json, "augment", result->augment, sizeof result->augment);
    read_update(json, &result->update);
    bl_fields_read(json, bl_document_fields, result);
    if (cJSON_IsObject(settings) && !(result->settings = cJSON_Duplicate(settings, true))) return BLANCH_ENOMEM;
    return (result->data = bl_strdup(bl_json_text(json, "data"))) ? 0 : BLANCH_ENOMEM;
}

static bool runs_are_whole(const cJSON *json) {
    const cJSON *runs = item(json, "runs"), *run;
    if (!cJSON_IsArray(runs) || !runs->child || !cJSON_IsArray(item(json, "devices"))) return false;
    cJSON_ArrayForEach(run, runs) if (!*bl_json_text(run, "device") || !*bl_json_text(run, "norm")) return false;
    return true;
}

/* So many lists as runs and pairs may have are together more than memory should hold. */
static int check_rows(const struct bl_result *result) {
    int64_t rows = 0;
    for (int r = 0; r < result->runs; r++) {
        rows += result->run[r].step.rows + (result->run[r].epochs + result->run[r].points) / 10;
        for (int d = 0; d < result->run[r].budget.decisions; d++) rows += result->run[r].budget.decision[d].layers;
    }
    for (int p = 0; p < result->pairs; p++) rows += result->pair[p].rows;
    return rows <= MOST_ROWS ? 0 : bl_fail(BLANCH_ELIMIT, "its runs and pairs hold more than %d rows", MOST_ROWS);
}

static int check_lists(const cJSON *json) {
    int code = check_size(item(json, "devices"), "devices", MOST_RUNS);
    if (!code) code = check_size(item(json, "runs"), "runs", MOST_RUNS);
    return code ? code : check_size(item(json, "pairs"), "pairs", MOST_RUNS);
}

static int read_comparison(const cJSON *json, struct bl_result *result) {
    const cJSON *entry;
    int code = check_lists(json);
    if (!code) code = read_start(json, result);
    cJSON_ArrayForEach(entry, item(json, "devices")) if (!code) code = read_device(entry, result);
    cJSON_ArrayForEach(entry, item(json, "runs")) {
        int device = code ? code : find_device(result, bl_json_text(entry, "device"));
        struct bl_run_result *run = device < 0 ? NULL : bl_result_add_run(result, device);
        if (!run) return code ? code : BLANCH_ENOMEM;
        code = read_run(entry, run);
        if (!code) code = check_rows(result);
    }
    cJSON_ArrayForEach(entry, item(json, "pairs")) {
        int device = code ? code : find_device(result, bl_json_text(entry, "device"));
        struct bl_pair_result *pair = device < 0 ? NULL : bl_result_add_pair(result, device);
        if (!pair) return code ? code : BLANCH_ENOMEM;
        code = read_pair(entry, pair);
        if (!code) code = check_rows(result);
    }
    return code;
}

/* A document of one run on the header's device. */
static int add_only_run(const cJSON *json, struct bl_result *result) {
    struct bl_device_result *device = bl_result_add_device(result, result->header.device.name);
    struct bl_run_result *run = device ? bl_result_add_run(result, 0) : NULL;
    if (!run) return BLANCH_ENOMEM;
    device->facts = result->header.device;
    bl_text_read(json, "norm", run->norm, sizeof run->norm);
    bl_text_read(json, "network_hash", run->network_hash, sizeof run->network_hash);
    return 0;
}

static bool is_bench(const cJSON *json, const struct bl_header *header) {
    return *bl_json_text(json, "model") && *bl_json_text(json, "norm") && *header->device.name &&
           (bl_json_get(json, "step_ms") > 0 || bl_json_get(json, "inference_ms") > 0) &&
           cJSON_IsArray(item(json, "layers"));
}

static int read_bench(const cJSON *json, struct bl_result *result) {
    int code = read_start(json, result);
    if (!code) code = add_only_run(json, result);
    if (code) return code;
    snprintf(result->header.kind, sizeof result->header.kind, "bench");
    free(result->data);
    if (!(result->data = bl_strdup("synthetic"))) return BLANCH_ENOMEM;
    return bl_run_read_measured(json, &result->run[0]);
}

int bl_result_read(const cJSON *json, struct bl_result *result) {
    struct bl_header header;
    bl_result_init(result);
    bl_header_read(json, &header);
    if (!strcmp(header.kind, "suite")) return bl_suite_read(json, result);
    if (runs_are_whole(json)) return read_comparison(json, result);
    return is_bench(json, &header) ? read_bench(json, result) : BLANCH_EINPUT;
}

int bl_result_read_config(const cJSON *json, struct bl_result *result) {
    bl_result_init(result);
    if (!*bl_json_text(json, "model") || !*bl_json_text(json, "norm")) return BLANCH_EINPUT;
    int code = read_start(json, result);
    snprintf(result->header.kind, sizeof result->header.kind, "train");
    return code ? code : add_only_run(json, result);
}
