/* The results of a suite: making, looking, JSON. */
#include "report/suite.h"
#include "io/files.h"
#include "report/result_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the numbers and their keys --------------------------------------------------------------- */

#define FIELD(type, name, digits)                                                                                      \
    { #name, NULL, offsetof(struct type, name), digits }
#define ROW(name, digits) FIELD(bl_suite_row, name, digits)
#define SUITE(name, digits) FIELD(bl_suite_result, name, digits)

static const struct bl_result_field row_fields[] = {
    ROW(batch, BL_EXACT),
    ROW(steps, BL_EXACT),
    ROW(seconds, 4),
    ROW(ms, 5),
    ROW(quartile1_ms, 5),
    ROW(quartile3_ms, 5),
    ROW(min_ms, 5),
    ROW(mean_ms, 5),
    ROW(images_per_s, 5),
    ROW(joules_per_image, 4),
    ROW(watts, 4),
    ROW(clock_mhz, 5),
    ROW(planned_bytes, BL_EXACT),
    ROW(device_bytes, BL_EXACT),
    ROW(shapes_known, BL_EXACT),
    ROW(shapes_measured, BL_EXACT),
    ROW(shapes_left, BL_EXACT),
    ROW(shapes_refused, BL_EXACT),
    ROW(coverage, 5),
    ROW(arithmetic, 4),
    ROW(bandwidth, 4),
    ROW(sustained_s, 4),
    ROW(sustained_ms, 5),
    ROW(sustained_images_per_s, 5),
    ROW(sustained_watts, 4),
    ROW(sustained_clock_mhz, 5),
    ROW(target_top1, BL_EXACT),
    ROW(target_s, 5),
    ROW(target_s_least, 5),
    ROW(target_s_most, 5),
    ROW(target_steps, BL_EXACT),
    ROW(runs, BL_EXACT),
    ROW(reached, BL_EXACT),
    ROW(best_top1, 5),
    {NULL},
};
static const struct bl_result_field suite_fields[] = {
    SUITE(version, BL_EXACT),  SUITE(rows_of_set, BL_EXACT), SUITE(seconds, 6),
    SUITE(sustain_seconds, 6), SUITE(comparable, BL_FLAG),   SUITE(complete, BL_FLAG),
    SUITE(load_start, 3),      SUITE(load_end, 3),           {NULL},
};
static const struct bl_result_field case_fields[] = {
    {"passed", NULL, offsetof(struct bl_suite_result, cases_passed), BL_EXACT},
    {"failed", NULL, offsetof(struct bl_suite_result, cases_failed), BL_EXACT},
    {NULL},
};
static const struct bl_result_field check_fields[] = {
    FIELD(bl_suite_check, passed, BL_FLAG),
    FIELD(bl_suite_check, largest_error, 4),
    {NULL},
};

/* --- making and looking ----------------------------------------------------------------------- */

int bl_suite_init(struct bl_result *result) {
    struct bl_suite_result *suite = bl_calloc(1, sizeof *suite);
    if (!suite) return BLANCH_ENOMEM;
    bl_fields_clear(suite_fields, suite);
    bl_fields_clear(case_fields, suite);
    suite->price = suite->power = NAN;
    result->suite = suite;
    return 0;
}

void bl_suite_free(struct bl_suite_result *suite) {
    if (suite) free(suite->row);
    free(suite);
}

void bl_suite_row_clear(struct bl_suite_row *row) {
    *row = (struct bl_suite_row){0};
    bl_fields_clear(row_fields, row);
}

const struct bl_suite_row *bl_suite_find(const struct bl_suite_result *suite, const char *name) {
    for (int i = 0; i < suite->rows; i++)
        if (!strcmp(suite->row[i].name, name)) return &suite->row[i];
    return NULL;
}

struct bl_suite_row *bl_suite_add(struct bl_suite_result *suite, const char *name) {
    const struct bl_suite_row *known = bl_suite_find(suite, name);
    if (known) return &suite->row[known - suite->row];
    if (!suite->row && !(suite->row = bl_calloc(BL_SUITE_ROWS, sizeof *suite->row))) return NULL;
    if (suite->rows == BL_SUITE_ROWS) return NULL;
    struct bl_suite_row *row = &suite->row[suite->rows++];
    bl_suite_row_clear(row);
    snprintf(row->name, sizeof row->name, "%s", name);
    return row;
}

bool bl_suite_counts(const struct bl_suite_result *suite, char *why, size_t size) {
    const struct bl_suite_check *wrong = NULL;
    for (int i = 0; i < suite->checks && !wrong; i++)
        if (suite->check[i].passed != 1) wrong = &suite->check[i];
    *why = 0;
    if (suite->comparable != 1)
        snprintf(why, size, "%s", *suite->incomparable ? suite->incomparable : "it is not comparable");
    else if (wrong)
        snprintf(why, size, "%s was computed wrongly", wrong->name);
    else if (suite->cases_failed > 0)
        snprintf(why, size, "%.0f conformance cases failed", suite->cases_failed);
    else if (!suite->checks)
        snprintf(why, size, "nothing was checked");
    return !*why;
}

double bl_suite_spread(const struct bl_suite_row *row) {
    return row->ms > 0 ? 100 * (row->quartile3_ms - row->quartile1_ms) / row->ms : NAN;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void add_text(cJSON *json, const char *key, const char *text) {
    if (*text) cJSON_AddStringToObject(json, key, text);
}

static cJSON *row_json(const struct bl_suite_row *row) {
    cJSON *json = cJSON_CreateObject(), *phases = bl_phases_json(row->phase);
    cJSON_AddStringToObject(json, "name", row->name);
    cJSON_AddStringToObject(json, "model", row->model);
    cJSON_AddStringToObject(json, "norm", row->norm);
    cJSON_AddStringToObject(json, "setting", row->setting);
    cJSON_AddStringToObject(json, "precision", row->precision);
    cJSON_AddStringToObject(json, "mode", row->mode);
    cJSON_AddStringToObject(json, "status", row->status);
    add_text(json, "reason", row->reason);
    add_text(json, "ended", row->ended);
    bl_fields_add(json, row_fields, row);
    if (phases && phases->child)
        cJSON_AddItemToObject(json, "phases", phases);
    else
        cJSON_Delete(phases);
    return json;
}

static cJSON *limits_json(const struct bl_limits *limits) {
    cJSON *json = cJSON_CreateObject();
    if (limits->operations > 0) cJSON_AddItemToObject(json, "operations_per_s", bl_json_number(limits->operations, 5));
    if (limits->bytes > 0) cJSON_AddItemToObject(json, "bytes_per_s", bl_json_number(limits->bytes, 5));
    add_text(json, "reason", limits->lacking);
    return json;
}

static void add_limits(cJSON *json, const struct bl_suite_result *suite) {
    cJSON *limits = cJSON_AddObjectToObject(json, "limits");
    cJSON_AddItemToObject(limits, "start", limits_json(&suite->start));
    if (suite->end.operations > 0 || suite->end.bytes > 0 || *suite->end.lacking)
        cJSON_AddItemToObject(limits, "end", limits_json(&suite->end));
    cJSON_AddItemToObject(limits, "kept", limits_json(&suite->kept));
}

static void add_checks(cJSON *json, const struct bl_suite_result *suite) {
    cJSON *checks = cJSON_AddArrayToObject(json, "checks");
    for (int i = 0; i < suite->checks; i++) {
        cJSON *check = cJSON_CreateObject();
        cJSON_AddStringToObject(check, "name", suite->check[i].name);
        bl_fields_add(check, check_fields, &suite->check[i]);
        add_text(check, "message", suite->check[i].message);
        cJSON_AddItemToArray(checks, check);
    }
    if (!isnan(suite->cases_passed)) bl_fields_add(cJSON_AddObjectToObject(json, "cases"), case_fields, suite);
}

cJSON *bl_suite_json(const struct bl_result *result) {
    const struct bl_suite_result *suite = result->suite;
    cJSON *json = bl_header_json(&result->header, result->settings ? cJSON_Duplicate(result->settings, true) : NULL);
    cJSON *own = cJSON_AddObjectToObject(json, "suite"), *rows;
    if (result->source) add_text(json, "source", result->source);
    cJSON_AddStringToObject(own, "set", suite->set);
    bl_fields_add(own, suite_fields, suite);
    add_text(own, "incomparable", suite->incomparable);
    add_text(own, "note", suite->note);
    add_text(own, "energy", suite->energy);
    add_text(own, "clock", suite->clock);
    add_limits(own, suite);
    add_checks(own, suite);
    rows = cJSON_AddArrayToObject(json, "rows");
    for (int i = 0; i < suite->rows; i++) cJSON_AddItemToArray(rows, row_json(&suite->row[i]));
    return json;
}

/* --- reading ---------------------------------------------------------------------------------- */

static const cJSON *item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static int read_row(const cJSON *json, struct bl_suite_result *suite) {
    const char *name = bl_json_text(json, "name");
    if (!*name || !*bl_json_text(json, "model") || !*bl_json_text(json, "status"))
        return bl_fail(BLANCH_EINPUT, "a row has no name, model or status");
    if (bl_suite_find(suite, name)) return bl_fail(BLANCH_EINPUT, "two rows are called %s", name);
    const cJSON *median = item(json, "ms");
    if (median && !cJSON_IsNull(median) && !(cJSON_IsNumber(median) && median->valuedouble > 0))
        return bl_fail(BLANCH_EINPUT, "row %s: its ms is no number above 0", name);
    struct bl_suite_row *row = bl_suite_add(suite, name);
    if (!row) return BLANCH_ENOMEM;
    bl_text_read(json, "model", row->model, sizeof row->model);
    bl_text_read(json, "norm", row->norm, sizeof row->norm);
    bl_text_read(json, "setting", row->setting, sizeof row->setting);
    bl_text_read(json, "precision", row->precision, sizeof row->precision);
    bl_text_read(json, "mode", row->mode, sizeof row->mode);
    bl_text_read(json, "status", row->status, sizeof row->status);
    bl_text_read(json, "reason", row->reason, sizeof row->reason);
    bl_text_read(json, "ended", row->ended, sizeof row->ended);
    bl_fields_read(json, row_fields, row);
    for (int p = 0; p < BL_PHASES; p++) {
        double ms = bl_json_get(item(json, "phases"), bl_phase_names[p]);
        row->phase[p] = ms > 0 ? ms : 0;
    }
    return 0;
}

static void read_limits(const cJSON *json, struct bl_limits *limits) {
    double operations = bl_json_get(json, "operations_per_s"), bytes = bl_json_get(json, "bytes_per_s");
    *limits = (struct bl_limits){.operations = operations > 0 ? operations : 0, .bytes = bytes > 0 ? bytes : 0};
    bl_text_read(json, "reason", limits->lacking, sizeof limits->lacking);
}

static void read_checks(const cJSON *json, struct bl_suite_result *suite) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, item(json, "checks")) {
        if (suite->checks == BL_SUITE_CHECKS) return;
        struct bl_suite_check *check = &suite->check[suite->checks++];
        bl_fields_clear(check_fields, check);
        bl_text_read(entry, "name", check->name, sizeof check->name);
        bl_text_read(entry, "message", check->message, sizeof check->message);
        bl_fields_read(entry, check_fields, check);
    }
    bl_fields_read(item(json, "cases"), case_fields, suite);
}

static int read_own(const cJSON *json, struct bl_suite_result *suite) {
    const cJSON *limits = item(json, "limits");
    bl_fields_read(json, suite_fields, suite);
    bl_text_read(json, "set", suite->set, sizeof suite->set);
    bl_text_read(json, "incomparable", suite->incomparable, sizeof suite->incomparable);
    bl_text_read(json, "note", suite->note, sizeof suite->note);
    bl_text_read(json, "energy", suite->energy, sizeof suite->energy);
    bl_text_read(json, "clock", suite->clock, sizeof suite->clock);
    read_limits(item(limits, "start"), &suite->start);
    read_limits(item(limits, "end"), &suite->end);
    read_limits(item(limits, "kept"), &suite->kept);
    read_checks(json, suite);
    return suite->version >= 1 && *suite->set ? 0 : bl_fail(BLANCH_EINPUT, "it has no version or set of a suite");
}

int bl_suite_read(const cJSON *json, struct bl_result *result) {
    const cJSON *settings = item(json, "settings"), *rows = item(json, "rows"), *row;
    int code = bl_suite_init(result);
    if (code) return code;
    bl_header_read(json, &result->header);
    snprintf(result->model, sizeof result->model, "suite");
    if (!*result->header.device.name) return bl_fail(BLANCH_EINPUT, "it names no device");
    struct bl_device_result *device = bl_result_add_device(result, result->header.device.name);
    if (!device || !(result->data = bl_strdup(""))) return BLANCH_ENOMEM;
    device->facts = result->header.device;
    if (cJSON_IsObject(settings) && !(result->settings = cJSON_Duplicate(settings, true))) return BLANCH_ENOMEM;
    if (cJSON_GetArraySize(rows) > BL_SUITE_ROWS)
        return bl_fail(BLANCH_ELIMIT, "it has %d rows, and at most %d are read", cJSON_GetArraySize(rows),
                       BL_SUITE_ROWS);
    code = read_own(item(json, "suite"), result->suite);
    cJSON_ArrayForEach(row, rows) if (!code) code = read_row(row, result->suite);
    return code;
}
