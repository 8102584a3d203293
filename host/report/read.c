/* Documents of a report from what stands on the disk: a comparison's folder or compare.json, a run directory, the JSON
 * of a bench. All become the form of a comparison: devices[], runs[], pairs[]. */
#include "report.h"
#include "html.h"
#include "io/files.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CURVE_POINTS = 120 };

static cJSON *item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static void take(cJSON *to, const char *key, const cJSON *from, const char *from_key) {
    const cJSON *value = item(from, from_key);
    if (value && !item(to, key)) cJSON_AddItemToObject(to, key, cJSON_Duplicate(value, true));
}

static void take_all(cJSON *to, const cJSON *from, const char *const *keys) {
    for (; *keys; keys++) take(to, *keys, from, *keys);
}

static cJSON *one_run(cJSON *document, const char *device, const char *norm) {
    cJSON *run = cJSON_CreateObject(), *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "name", device);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(document, "devices"), entry);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(document, "runs"), run);
    cJSON_AddArrayToObject(document, "pairs");
    cJSON_AddStringToObject(run, "device", device);
    cJSON_AddStringToObject(run, "norm", norm);
    cJSON_AddStringToObject(run, "setting", "");
    return run;
}

/* --- a bench ---------------------------------------------------------------------------------- */

static cJSON *from_bench(const cJSON *bench) {
    static const char *const facts[] = {"model", "batch", "steps", NULL};
    static const char *const results[] = {
        "step_ms",    "min_ms", "images_per_s", "coverage", "recording_cost", "startup_ms", "device_bytes",
        "host_bytes", "limits", "work",         "work_all", "layers",         NULL};
    cJSON *document = cJSON_CreateObject();
    cJSON_AddStringToObject(document, "kind", "bench");
    take_all(document, bench, facts);
    cJSON_AddStringToObject(document, "data", "synthetic");
    cJSON *run = one_run(document, bl_json_text(bench, "device"), bl_json_text(bench, "norm"));
    take_all(run, bench, results);
    take(run, "step_ms_quartile1", bench, "quartile1_ms");
    take(run, "step_ms_quartile3", bench, "quartile3_ms");
    return document;
}

/* --- a run directory -------------------------------------------------------------------------- */

struct point {
    double step, seconds, loss;
};
struct points {
    struct point *point;
    size_t count, capacity;
    double seconds;
};

static int add_point(struct points *points, const cJSON *line, double batch) {
    void *data = points->point;
    int code = bl_grow(&data, &points->capacity, points->count + 1, sizeof *points->point);
    if (code) return code;
    double rate = bl_json_get(line, "images_per_s");
    points->point = data;
    if (rate > 0 && batch > 0 && points->count) points->seconds += batch / rate; // the first step builds kernels
    points->point[points->count++] =
        (struct point){bl_json_get(line, "step"), points->seconds, bl_json_get(line, "loss")};
    return 0;
}

static cJSON *thinned(const struct points *points) {
    cJSON *curve = cJSON_CreateArray();
    size_t count = points->count, wanted = count < CURVE_POINTS ? count : CURVE_POINTS;
    for (size_t p = 0; p < wanted; p++) {
        size_t from = p * count / wanted, to = (p + 1) * count / wanted;
        double loss = 0;
        for (size_t i = from; i < to; i++) loss += points->point[i].loss / (double)(to - from);
        cJSON *point = cJSON_CreateObject();
        cJSON_AddItemToObject(point, "step", bl_json_number(points->point[(from + to) / 2].step, 8));
        cJSON_AddItemToObject(point, "seconds", bl_json_number(points->point[(from + to) / 2].seconds, 5));
        cJSON_AddItemToObject(point, "loss", bl_json_number(loss, 5));
        cJSON_AddItemToArray(curve, point);
    }
    return curve;
}

static int read_line(cJSON *run, struct points *points, char *text, double batch, const char *path, int number) {
    cJSON *line = cJSON_Parse(text);
    int code = cJSON_IsObject(line) ? 0 : bl_fail(BLANCH_EINPUT, "%s, line %d, is not a JSON object", path, number);
    if (!code && !strcmp(bl_json_text(line, "type"), "step")) code = add_point(points, line, batch);
    if (!code && !strcmp(bl_json_text(line, "type"), "epoch")) {
        cJSON_AddItemToArray(item(run, "epochs"), line);
        return 0;
    }
    cJSON_Delete(line);
    return code;
}

static int read_log(cJSON *run, const char *path, double batch) {
    struct points points = {0};
    char *text = NULL, *rest = NULL;
    size_t size;
    int code = bl_file_read(path, &text, &size), number = 0;
    cJSON_AddArrayToObject(run, "epochs");
    for (char *line = code ? NULL : strtok_r(text, "\n", &rest); line && !code; line = strtok_r(NULL, "\n", &rest))
        code = read_line(run, &points, line, batch, path, ++number);
    if (!code) cJSON_AddItemToObject(run, "curve", thinned(&points));
    free(points.point);
    free(text);
    return code;
}

static int read_ledger(cJSON *run, const char *path, double batch) {
    static const char *const keys[] = {"step_ms", "min_ms", "limits", "work", "work_all", "layers", NULL};
    cJSON *ledger = NULL;
    if (!bl_path_exists(path)) return 0; // an early end: no step was recorded
    int code = bl_json_read(path, &ledger);
    if (code) return code;
    take_all(run, ledger, keys);
    take(run, "step_ms_quartile1", ledger, "quartile1_ms");
    take(run, "step_ms_quartile3", ledger, "quartile3_ms");
    take(run, "coverage", ledger, "covered");
    double ms = bl_json_get(run, "step_ms");
    if (ms > 0) cJSON_AddItemToObject(run, "images_per_s", bl_json_number(1e3 * batch / ms, 6));
    cJSON_Delete(ledger);
    return 0;
}

static int from_run(const char *folder, cJSON **document) {
    static const char *const facts[] = {"blanch", "model",    "data",     "augment",      "batch", "steps", "epochs",
                                        "lr",     "schedule", "momentum", "weight_decay", "seed",  NULL};
    char *config_path = bl_format("%s/config.json", folder), *log = bl_format("%s/log.jsonl", folder),
         *ledger = bl_format("%s/ledger.json", folder);
    cJSON *config = NULL;
    int code = config_path && log && ledger ? bl_json_read(config_path, &config) : BLANCH_ENOMEM;
    if (!code && (!*bl_json_text(config, "model") || !*bl_json_text(config, "norm")))
        code = bl_fail(BLANCH_EINPUT, "%s names no model and norm: not the folder of a training run", config_path);
    if (code) goto done;
    *document = cJSON_CreateObject();
    cJSON_AddStringToObject(*document, "kind", "train");
    take_all(*document, config, facts);
    const char *name = bl_json_text(item(config, "device_info"), "name");
    cJSON *run = one_run(*document, *name ? name : bl_json_text(config, "device"), bl_json_text(config, "norm"));
    double batch = bl_json_get(config, "batch");
    code = read_log(run, log, batch);
    if (!code) code = read_ledger(run, ledger, batch);
done:
    cJSON_Delete(config);
    free(config_path);
    free(log);
    free(ledger);
    return code;
}

/* --- any of them ------------------------------------------------------------------------------ */

static bool runs_are_whole(const cJSON *document) {
    const cJSON *runs = item(document, "runs"), *run;
    if (!cJSON_IsArray(runs) || !runs->child || !cJSON_IsArray(item(document, "devices"))) return false;
    cJSON_ArrayForEach(run, runs) if (!*bl_json_text(run, "device") || !*bl_json_text(run, "norm")) return false;
    return true;
}

static int from_file(const char *path, cJSON **document) {
    cJSON *json = NULL;
    int code = bl_json_read(path, &json);
    if (code) return code;
    if (runs_are_whole(json)) {
        *document = json;
        return 0;
    }
    if (*bl_json_text(json, "model") && *bl_json_text(json, "norm") && *bl_json_text(json, "device") &&
        bl_json_get(json, "step_ms") > 0 && cJSON_IsArray(item(json, "layers")))
        *document = from_bench(json);
    else
        code =
            bl_fail(BLANCH_EINPUT, "%s is neither what `blanch compare` nor what `blanch bench --json` writes", path);
    cJSON_Delete(json);
    return code;
}

int bl_report_read(const char *path, cJSON **document) {
    struct stat info;
    *document = NULL;
    if (stat(path, &info)) return bl_fail(BLANCH_EINPUT, "%s: there is no such file or folder", path);
    char *inside = bl_format("%s/compare.json", path), *config = bl_format("%s/config.json", path);
    int code = inside && config ? 0 : BLANCH_ENOMEM;
    if (!code && !S_ISDIR(info.st_mode))
        code = from_file(path, document);
    else if (!code && bl_path_exists(inside))
        code = from_file(inside, document);
    else if (!code && bl_path_exists(config))
        code = from_run(path, document);
    else if (!code)
        code =
            bl_fail(BLANCH_EINPUT, "%s is no run's and no comparison's folder: no config.json, no compare.json", path);
    if (!code) cJSON_AddStringToObject(*document, "source", path);
    if (code) cJSON_Delete(*document), *document = NULL;
    free(inside);
    free(config);
    return code;
}
