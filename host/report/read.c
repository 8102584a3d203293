/* Results from what stands on the disk: a comparison's folder or compare.json, a run directory, the JSON of a bench or
 * a suite. */
#include "base/private.h"
#include "io/files.h"
#include "io/json.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const int most_epochs = 100000;
static const int64_t most_bytes = 64 << 20;

/* JSON takes forty times its size in memory. */
static int read_json(const char *path, bool given, cJSON **json) {
    struct stat info;
    bool there = !stat(path, &info);
    if (there && (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)))
        return bl_fail(BLANCH_EINPUT, "%s is a device, not a file", path);
    if (there && info.st_size > most_bytes)
        return bl_fail(BLANCH_ELIMIT, "%s has %lld bytes; a report reads files of at most %lld", path,
                       (long long)info.st_size, (long long)most_bytes);
    return given ? bl_json_read_given(path, json) : bl_json_read(path, json);
}

/* --- a run directory -------------------------------------------------------------------------- */

struct log {
    struct bl_step_sample *sample;
    size_t count, capacity;
    double seconds, batch;
};

static int add_step(struct log *log, const cJSON *line) {
    void *data = log->sample;
    int code = bl_grow(&data, &log->capacity, log->count + 1, sizeof *log->sample);
    if (code) return code;
    double rate = bl_json_get(line, "images_per_s");
    log->sample = data;
    if (rate > 0 && log->batch > 0 && log->count) log->seconds += log->batch / rate; // the first step builds kernels
    log->sample[log->count++] =
        (struct bl_step_sample){bl_json_get(line, "step"), log->seconds, bl_json_get(line, "loss")};
    return 0;
}

static int read_line(struct bl_run_result *run, struct log *log, const cJSON *line) {
    const char *type = bl_json_text(line, "type");
    if (!strcmp(type, "step")) return add_step(log, line);
    if (strcmp(type, "epoch")) return 0;
    if (run->epochs == most_epochs) return bl_fail(BLANCH_ELIMIT, "at most %d epochs are read", most_epochs);
    struct bl_epoch_result *epoch = bl_result_add_epoch(run);
    if (!epoch) return BLANCH_ENOMEM;
    bl_epoch_read(line, epoch);
    return 0;
}

/* A last line without an end is what a crash left of it, and counts for nothing. */
static int read_log(struct bl_run_result *run, const char *path, double batch) {
    struct log log = {.batch = batch};
    char *text = NULL, *end;
    size_t size;
    int code = bl_file_read(path, &text, &size), number = 0;
    for (char *line = text; !code && (end = memchr(line, '\n', size - (size_t)(line - text))); line = end + 1) {
        cJSON *json = bl_json_parse(line, (size_t)(end - line), NULL);
        number++;
        if (cJSON_IsObject(json))
            code = read_line(run, &log, json);
        else if (!(code = bl_memory_lacked()))
            code = bl_fail(BLANCH_EINPUT, "it is not a JSON object");
        if (code) bl_fail_in(code, "%s, line %d", path, number);
        cJSON_Delete(json);
    }
    if (!code) code = bl_result_set_curve(run, log.sample, log.count);
    free(log.sample);
    free(text);
    return code;
}

static int read_ledger(struct bl_run_result *run, const char *path, double batch) {
    cJSON *ledger = NULL;
    if (!bl_path_exists(path)) return 0; // an early end: no step was recorded
    int code = read_json(path, false, &ledger);
    if (code) return code;
    if ((code = bl_run_read_measured(ledger, run))) bl_fail_in(code, "%s", path);
    if (run->step_ms > 0) run->images_per_s = 1e3 * batch / run->step_ms;
    cJSON_Delete(ledger);
    return code;
}

/* The picture beside it, where there is one of that kind. */
static int read_overlays(const char *folder, struct bl_eval_result *eval) {
    static const char signature[] = "\x89PNG\r\n\x1a\n";
    enum { MOST_BYTES = 16 << 20 };
    char *path = bl_format("%s/overlays.png", folder), *bytes = NULL;
    size_t size = 0;
    int code = path ? 0 : BLANCH_ENOMEM;
    if (!code && bl_path_exists(path)) code = bl_file_read(path, &bytes, &size);
    if (!code && bytes && size < MOST_BYTES && size > strlen(signature) && !memcmp(bytes, signature, strlen(signature)))
        eval->overlays = (uint8_t *)bytes, eval->overlays_size = size;
    else
        free(bytes);
    free(path);
    return code;
}

/* What `blanch eval --run` left, if it did. */
static int read_eval(const char *folder, struct bl_result *result) {
    char *path = bl_format("%s/eval.json", folder);
    cJSON *json = NULL;
    int code = path ? 0 : BLANCH_ENOMEM;
    if (!code && bl_path_exists(path)) code = read_json(path, false, &json);
    if (json && (code = bl_eval_read(json, &result->eval))) bl_fail_in(code, "%s", path);
    if (!code && result->eval && !isnan(result->eval->pixels)) code = read_overlays(folder, result->eval);
    cJSON_Delete(json);
    free(path);
    return code;
}

static int from_run(const char *folder, struct bl_result *result) {
    char *config_path = bl_format("%s/config.json", folder), *log = bl_format("%s/log.jsonl", folder),
         *ledger = bl_format("%s/ledger.json", folder);
    cJSON *config = NULL;
    int code = config_path && log && ledger ? read_json(config_path, false, &config) : BLANCH_ENOMEM;
    if (!code && (code = bl_result_read_config(config, result)) == BLANCH_EINPUT)
        bl_fail(code, "%s names no model and norm: not the folder of a training run", config_path);
    if (!code) code = read_log(&result->run[0], log, result->batch);
    if (!code) code = read_ledger(&result->run[0], ledger, result->batch);
    if (!code) code = read_eval(folder, result);
    cJSON_Delete(config);
    free(config_path);
    free(log);
    free(ledger);
    return code;
}

/* --- any of them ------------------------------------------------------------------------------ */

static int from_file(const char *path, bool given, struct bl_result *result) {
    cJSON *json = NULL;
    int code = read_json(path, given, &json);
    if (!code && (code = bl_result_read(json, result)) == BLANCH_EINPUT && !result->suite)
        bl_fail(code, "%s is neither what `blanch compare` or `suite` nor what `blanch bench --json` writes", path);
    else if (json && code)
        bl_fail_in(code, "%s", path);
    cJSON_Delete(json);
    return code;
}

int bl_report_read(const char *path, struct bl_result *result) {
    struct stat info;
    bl_result_init(result);
    bl_folder_warn(path);
    if (stat(path, &info)) return bl_fail(BLANCH_EINPUT, "%s: there is no such file or folder", path);
    char *inside = bl_format("%s/compare.json", path), *config = bl_format("%s/config.json", path);
    int code = inside && config ? 0 : BLANCH_ENOMEM;
    if (!code && !S_ISDIR(info.st_mode))
        code = from_file(path, true, result);
    else if (!code && bl_path_exists(inside))
        code = from_file(inside, false, result);
    else if (!code && bl_path_exists(config))
        code = from_run(path, result);
    else if (!code)
        code =
            bl_fail(BLANCH_EINPUT, "%s is no run's and no comparison's folder: no config.json, no compare.json", path);
    if (!code && !(result->source = bl_strdup(path))) code = BLANCH_ENOMEM;
    free(inside);
    free(config);
    return code;
}
